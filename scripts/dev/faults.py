"""Fault injection: break a run on the bundled texts in one way at a time, and print one line per attempt.

python scripts/dev/faults.py kill --times 30     SIGKILL at random moments
python scripts/dev/faults.py all                 every fault below; those at random moments three times each
python scripts/dev/faults.py stop|full|read-only|flip|wandb

After each fault the same command is run again without a fault and must produce the figures of an undisturbed run. The
full and the read-only disk are small file systems in memory, which needs Linux's `unshare`.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import psutil
import tyro

from ulmfit_exp.cli import ending_well
from ulmfit_exp.runs.store import _changed

ROOT = Path(__file__).parents[2]
ARGS = ["--miniature", "--precision", "fp32", "--pretrained", "none", "--recipe.direction", "forward"]
ARGS += ["--recipe.model.emb-sz", "24", "--recipe.model.n-hid", "32"]
ARGS += ["--recipe.lm.phases.0.epochs", "3", "--recipe.clas.phases.4.epochs", "3"]
RUN = [sys.executable, "-m", "experiments.sfu", *ARGS]
# Ways to break W&B: Python code that runs in the experiment's process before it starts.
BROKEN = {
    "not installed": "import sys; sys.modules['wandb'] = None",
    "init raises": "import wandb; wandb.init = None",
    "init exits the process": "import wandb; wandb.init = lambda **k: sys.exit(3)",
    "log raises": "import wandb; wandb.Run.log = None",
    "finish raises": "import wandb; wandb.Run.finish = None",
    "its process is killed": (
        "import wandb, psutil; log = wandb.Run.log\n"
        "def dies(*a, **k):\n"
        "    [p.kill() for p in psutil.Process().children(True) if 'wandb' in p.name() or 'gpu' in p.name()]\n"
        "    return log(*a, **k)\n"
        "wandb.Run.log = dies"
    ),
    "no server": "os.environ.update(WANDB_MODE='online', WANDB_API_KEY='a' * 40, WANDB_BASE_URL='http://127.0.0.1:9')",
    "a key of nonsense": "os.environ.update(WANDB_MODE='online', WANDB_API_KEY='no key')",
    "a mode of nonsense": "os.environ.update(WANDB_MODE='sideways')",
    "a folder that is a file": "Path(home).mkdir(parents=True); (Path(home) / 'wandb').write_text('')",
    "no folder for its settings": "os.environ.update(WANDB_CONFIG_DIR='/dev/null', WANDB_CACHE_DIR='/dev/null')",
}  # fmt: skip


def start(home: Path, args: tuple = ("--wandb", "disabled"), before: str = "", **env) -> subprocess.Popen:
    """Start the experiment in its own process group; `before` is Python code that its process runs first."""
    command = [*RUN, "--home", str(home), *args]
    if before:
        code = f"import os, sys; from pathlib import Path; home = {str(home)!r}\n{before}\nimport runpy\n"
        code += f"sys.argv = {command[2:]!r}\nrunpy.run_module('experiments.sfu', run_name='__main__', alter_sys=True)"
        command = [sys.executable, "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **env}, start_new_session=True, **pipes)


def finish(home: Path, **kwargs) -> tuple[dict, str]:
    """Run to the end and return (figures, output)."""
    process = start(home, **kwargs)
    out, err = process.communicate(timeout=900)
    if process.returncode:
        raise SystemExit(f"the run failed: {err[-2000:]}")
    return figures(home), out + err


def figures(home: Path) -> dict:
    """The figures that the same command must reproduce."""
    (path,) = home.glob("runs/*/result.json")
    record = json.loads(path.read_text())
    return {k: record[k] for k in ("valid", "test", "directions", "baseline", "calibration")}


def under_way(home: Path) -> str:
    """The stage in progress, and how many are finished."""
    names = [p.name.rsplit("-", 1)[0] for p in home.glob("unfinished/*")]
    return f"{', '.join(names) or 'between stages'}, {len(list(home.glob('stages/*')))} finished"


def broken(home: Path) -> list[str]:
    """Finished stages with an incomplete or modified file."""
    return [p.name for p in home.glob("stages/*") if _changed(p)]


def moments(whole: Path, times: int, seed: int) -> list[float]:
    """Random moments during a run, in seconds after its first stage starts."""
    infos = [json.loads(p.read_text())["info"] for p in whole.glob("stages/*/stage.json")]
    return [Random(seed + i).uniform(0, 1.3 * sum(i["seconds"] for i in infos)) for i in range(times)]


def wait_for_stages(process: subprocess.Popen, home: Path, seconds: float) -> bool:
    """Wait until `seconds` after the first stage started; True if the run is still in progress."""
    while not (home / "unfinished").exists() and process.poll() is None:
        time.sleep(0.01)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


class Tries:
    """Counts the attempts and those that passed, and prints a line per attempt."""

    def __init__(self, what: str):
        self.what, self.good, self.all = what, 0, 0

    def add(self, good: bool, text: str) -> None:
        self.all += 1
        self.good += good
        print(f"{self.what} {self.all}: {'passed' if good else 'FAILED'}: {text}", flush=True)

    def end(self) -> bool:
        print(f"{self.what}: {self.good} of {self.all} passed\n", flush=True)
        return self.good == self.all > 0


def kill(folder: Path, whole: dict, times: int, seed: int) -> bool:
    """Send SIGKILL to the run and all its processes at random moments."""
    tries, offset = Tries("kill"), 0
    while tries.all < times:
        for moment in moments(folder / "whole", times - tries.all, seed + offset):
            home = folder / "killed"
            process = start(home)
            alive = wait_for_stages(process, home, moment)
            os.killpg(process.pid, signal.SIGKILL) if alive else None
            process.communicate()
            if alive:
                where, bad = under_way(home), broken(home)
                again, _ = finish(home)
                left = list(home.glob("unfinished/*"))
                well = again == whole and not bad and not left
                tries.add(well, f"after {moment:.1f} s in {where}; broken stages {bad}, same figures {again == whole}")
            shutil.rmtree(home)
        offset += times
    return tries.end()


def stop(folder: Path, whole: dict, times: int, seed: int) -> bool:
    """Send SIGTERM to the run, or Ctrl-C to its group: it must end within two seconds with its W&B run closed."""
    tries = Tries("stop")
    for i, moment in enumerate(moments(folder / "whole", 10 * times, seed)):
        if tries.all == times:
            break
        home, ctrl_c = folder / "stopped", i % 2
        process = start(home, ("--wandb", "offline"))
        if wait_for_stages(process, home, moment):
            where, began = under_way(home), time.monotonic()
            (os.killpg if ctrl_c else os.kill)(process.pid, signal.SIGINT if ctrl_c else signal.SIGTERM)
            _, err = process.communicate()
            seconds = time.monotonic() - began
            left = [p for p in psutil.process_iter() if _in_group(p, process.pid)]
            closed = [_closed(path) for path in home.glob("wandb/offline-run-*/*.wandb")]
            again, _ = finish(home)
            well = process.returncode == 130 and seconds < 2 and all(closed) and not left and again == whole
            how = f"{'Ctrl-C' if ctrl_c else 'SIGTERM'} in {where}: {seconds:.2f} s, exit code {process.returncode}"
            left_over = f"{sum(closed)} of {len(closed)} W&B runs closed, {len(left)} processes left"
            tries.add(well and "Traceback" not in err, f"{how}, {left_over}; {err.strip()[-200:]!r}")
        else:
            process.communicate()
        shutil.rmtree(home)
    return tries.end()


def _in_group(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.Error):
        return False


def _closed(path: Path) -> bool:
    """True if W&B's file states that the run ended."""
    wandb = Path(sys.executable).with_name("wandb")
    shown = subprocess.run([wandb, "leet", "inspect", "--json", path.parent], capture_output=True, text=True).stdout
    return '"exit"' in shown


def mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)


def full(folder: Path, whole: dict, times: int, seed: int) -> bool:
    """Fill the disk in the middle of each stage, then make room again."""
    tries, used = Tries("full"), 0
    stages = sorted((folder / "whole" / "stages").iterdir(), key=lambda p: (p / "stage.json").stat().st_mtime)
    for i, path in enumerate(stages):
        size = sum(-(-f.stat().st_size // 4096) * 4096 for f in path.iterdir())
        home = folder / "full"
        home.mkdir()
        mount(home, f"size={used + size // 8192 * 4096 + 4096}")
        for finished in stages[:i]:
            shutil.copytree(finished, home / "stages" / finished.name)
        used += size
        (home / "filler").write_bytes(bytes(4096))
        process = start(home)
        _, err = process.communicate()
        bad, there = broken(home), len(list(home.glob("stages/*")))
        mount(home, "remount,size=1g")
        again, _ = finish(home)
        reported = err.startswith("error: the disk of") and len(err.splitlines()) == 1
        well = reported and process.returncode == 1 and there == i and again == whole and not bad
        tries.add(well, f"{path.name.rsplit('-', 1)[0]} : {err.strip()[-300:]!r}; same figures {again == whole}")
        subprocess.run(["umount", home], check=True)
        home.rmdir()
    return tries.end()


def read_only(folder: Path, whole: dict, times: int, seed: int) -> bool:
    """A read-only --home must give a one-line error; a read-only home directory of the user must change nothing."""
    tries = Tries("read-only")
    home, user = folder / "read-only", folder / "user"
    for f in (home, user):
        f.mkdir()
        mount(f, "ro")
    process = start(home)
    _, err = process.communicate()
    tries.add(process.returncode == 1 and err.startswith("error:") and len(err.splitlines()) == 1, err.strip())
    elsewhere = {f"XDG_{k}_HOME": str(user) for k in ("CACHE", "CONFIG", "DATA", "STATE")} | {"HOME": str(user)}
    again, _ = finish(folder / "writable", args=("--wandb", "offline"), **elsewhere)
    tries.add(again == whole, f"read-only HOME, W&B offline: same figures {again == whole}")
    for f in (home, user):
        subprocess.run(["umount", f], check=True)
    shutil.rmtree(folder / "writable")
    return tries.end()


def flip(folder: Path, whole: dict, times: int, seed: int) -> bool:
    """Flip a bit in each file of the finished stages: it must be detected, reported and the stage recomputed."""
    tries, rng = Tries("flip"), Random(seed)
    for path in sorted((folder / "whole").glob("stages/*/*")):
        home = folder / "flipped"
        shutil.copytree(folder / "whole", home)
        file = home / path.relative_to(folder / "whole")
        data = bytearray(file.read_bytes())
        at = rng.randrange(len(data))
        data[at] ^= 1 << rng.randrange(8)
        file.write_bytes(data)
        again, out = finish(home)
        report = next((line for line in out.splitlines() if f"{path.parent.name}: {path.name}" in line), "")
        tries.add(again == whole and bool(report) and not broken(home), f"byte {at:,}: {report or 'not detected'}")
        shutil.rmtree(home)
    return tries.end()


def wandb(folder: Path, whole: dict, times: int, seed: int) -> bool:
    """Break Weights & Biases in each of the ways above."""
    tries = Tries("wandb")
    for how, before in BROKEN.items():
        home, began = folder / "wandb-run", time.monotonic()
        args = ("--wandb", "auto") if "MODE" in before else ("--wandb", "offline")
        again, out = finish(home, args=args, before=before)
        warned = next(
            (x.split("Warning: ")[1] for x in out.splitlines() if "Warning: " in x and "W" in x), "no warning"
        )
        tries.add(again == whole, f"{how}: {time.monotonic() - began:.0f} s; {warned[:150]}")
        shutil.rmtree(home)
    return tries.end()


FAULTS = {f.__name__.replace("_", "-"): f for f in (kill, stop, full, read_only, flip, wandb)}


def main(faults: tyro.conf.Positional[tuple[str, ...]], times: int = 3, seed: int = 0) -> None:
    """Inject faults.

    Args:
        faults: kill, stop, full, read-only, flip, wandb; or all.
        times: Number of attempts, for faults at random moments.
        seed: Seed of the random moments.
    """
    names = tuple(FAULTS) if faults == ("all",) else faults
    if unknown := set(names) - set(FAULTS):
        sys.exit(f"error: there is no fault {sorted(unknown)[0]!r}; there are {', '.join(FAULTS)}, and all")
    if {"full", "read-only"} & set(names) and "OWN_MOUNTS" not in os.environ:
        os.execvpe("unshare", ["unshare", "-rm", sys.executable, *sys.argv], {**os.environ, "OWN_MOUNTS": "1"})
    with tempfile.TemporaryDirectory() as folder:
        whole, _ = finish(Path(folder) / "whole")
        ended = [FAULTS[name](Path(folder), whole, times, seed) for name in names]
    sys.exit(not all(ended))


if __name__ == "__main__":
    with ending_well():
        tyro.cli(main, description=__doc__)
