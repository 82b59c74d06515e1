"""End runs on the bundled texts at random moments, by SIGKILL, SIGTERM and Ctrl-C in turn; print a line per attempt.

python scripts/dev/faults.py --times 30

The same command is then run again, and must give the figures of an undisturbed run. After SIGTERM and Ctrl-C the run
must also end within two seconds, with exit code 130, its W&B runs closed and no process left. A full disk, a flipped
bit, a broken W&B and other faults that need no random moment are in tests/test_store.py and tests/test_tracking.py.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import psutil
import tyro

from ulmfit_exp.cli import clean_exit
from ulmfit_exp.runs.store import why_unfinished

ROOT = Path(__file__).parents[2]
RUN = [sys.executable, "-m", "experiments.sfu", "--miniature", "--precision", "fp32", "--pretrained", "none"]
RUN += ["--recipe.direction", "forward", "--recipe.model.emb-sz", "24", "--recipe.model.n-hid", "32"]
RUN += ["--recipe.lm.phases.0.epochs", "3", "--recipe.clas.phases.4.epochs", "3", "--wandb", "offline"]
ENDS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def main(times: int = 9, seed: int = 0) -> None:
    """End runs early.

    Args:
        times: Number of attempts.
        seed: Seed of the random moments.
    """
    rng, good, tried = Random(seed), 0, 0
    with TemporaryDirectory() as folder:
        whole = figures(Path(folder))
        seconds = sum(json.loads(p.read_text())["info"]["seconds"] for p in Path(folder).glob("stages/*/stage.json"))
    while tried < times:
        end, moment = ENDS[tried % len(ENDS)], rng.uniform(0, 1.3 * seconds)
        with TemporaryDirectory() as folder:
            where, problems = ended(Path(folder), end, moment)
            if not where:  # the run had already ended
                continue
            problems += ["other figures"] * (figures(Path(folder)) != whole)
        tried += 1
        good += not problems
        print(f"{tried}: {end.name} after {moment:.1f} s in {where}: {', '.join(problems) or 'passed'}", flush=True)
    print(f"{good} of {tried} passed")
    sys.exit(good < tried)


def start(home: Path) -> subprocess.Popen:
    """Start the experiment in a process group of its own."""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    return subprocess.Popen([*RUN, "--home", str(home)], cwd=ROOT, start_new_session=True, **pipes)


def figures(home: Path) -> dict:
    """Run the experiment to its end, and return the figures that the same command must reproduce."""
    process = start(home)
    _, err = process.communicate(timeout=900)
    if process.returncode:
        raise SystemExit(f"the run failed: {err[-2000:]}")
    (path,) = home.glob("runs/*/result.json")
    record = json.loads(path.read_text())
    return {k: record[k] for k in ("valid", "test", "directions", "baseline", "calibration")}


def ended(home: Path, end: signal.Signals, moment: float) -> tuple[str, list[str]]:
    """Send a run a signal `moment` seconds after its first stage began; return the stage, and what went wrong then."""
    process = start(home)
    while not (home / "unfinished").exists() and process.poll() is None:
        time.sleep(0.01)
    try:
        process.communicate(timeout=moment)
        return "", []
    except subprocess.TimeoutExpired:
        where = ", ".join(p.name.rpartition("-")[0] for p in home.glob("unfinished/*")) or "between stages"
    began = time.monotonic()
    os.kill(process.pid, end) if end == signal.SIGTERM else os.killpg(process.pid, end)
    _, err = process.communicate()
    problems = [f"{p.name} is damaged" for p in home.glob("stages/*") if why_unfinished(p)]
    if end != signal.SIGKILL:
        seconds, runs = time.monotonic() - began, [*home.glob("wandb/offline-run-*/*.wandb")]
        problems += [f"ended after {seconds:.1f} s"] * (seconds > 2)
        problems += [f"exit code {process.returncode}: {err[-200:]!r}"] * (process.returncode != 130)
        problems += [f"{run.parent.name} is not closed" for run in runs if not closed(run)]
        problems += [f"process {p.pid} is left" for p in psutil.process_iter() if in_group(p, process.pid)]
    return where, problems


def closed(run: Path) -> bool:
    """Return whether W&B's file says that its run has ended."""
    wandb = Path(sys.executable).with_name("wandb")
    shown = subprocess.run([wandb, "leet", "inspect", "--json", run.parent], capture_output=True, text=True).stdout
    return '"exit"' in shown


def in_group(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.Error):
        return False


if __name__ == "__main__":
    with clean_exit():
        tyro.cli(main, description=__doc__)
