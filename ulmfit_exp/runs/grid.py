"""A grid of runs: what it will take, running it by several processes, what it cost.

A cell is finished when its record is there; a stage that cells share is computed once.
"""

import json
import os
import signal
import time
import traceback
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ..common import DataError
from ..corpora.splits import SPLITS
from ..method.machine import cores, end_with_parent
from .settings import Experiment, data_directory, interruptible, leave, prepare, result, run
from .stages import Run

SPAWN = get_context("spawn")
GUESS = 4_000
"""Tokens a second of one thread, where the home has no finished stage to go by."""
CHARACTERS = 4.3
"""Of a token, spaces and marks counted in."""


@dataclass(frozen=True)
class Cell:
    """One run of a table or figure."""

    row: str
    """Which variant."""
    data: str
    """Which data set."""
    replicate: int
    """Which seed, or fold."""
    settings: Experiment

    def __str__(self):
        labels = f", {n} labels" if (n := self.settings.train_size) else ""
        return f"{self.data} {self.replicate}: {self.row}{labels}"


@dataclass(frozen=True)
class Planned:
    """A cell that can be run."""

    cell: Cell
    path: Path
    """Its record."""
    stages: dict[Path, float]
    """Folder of each stage, with the seconds that it may take."""

    @property
    def finished(self) -> bool:
        return self.path.exists()

    def to_do(self) -> dict[Path, float]:
        return {} if self.finished else {p: s for p, s in self.stages.items() if not p.exists()}


def plan(cells: list[Cell]) -> tuple[list[Planned], dict[Cell, str]]:
    """The cells with what they need; and those that cannot be run, with the reason. Computes nothing."""
    planned, failed, texts, rates = [], {}, {}, None
    for cell in cells:
        try:
            same = replace(cell.settings, recipe_name="small", recipe=None, seed=0)  # these change no text
            if same not in texts:
                texts[same] = cell.settings.texts(cell.settings.data_dir or data_directory())
            settings, this = prepare(cell.settings, texts[same])
        except Exception as e:
            failed[cell] = _reason(e)
            continue
        rates = rates or _rates(settings.home)
        stages = {this.path(name): _seconds(this, name, rates) for name in this.plan}
        planned.append(Planned(replace(cell, settings=settings), result(settings, this), stages))
    return planned, failed


def describe(planned: list[Planned], jobs: int) -> str:
    """The plan in words: cells, stages to compute and to reuse, time."""
    cells = [p for p in planned if not p.finished]
    to_do = {path: s for p in cells for path, s in p.to_do().items()}
    wanted = {path for p in cells for path in p.stages}
    kinds = Counter(path.name.rsplit("-", 1)[0] for path in to_do)
    lines = [
        f"cells:   {len(planned)}, of which {len(planned) - len(cells)} are finished",
        f"stages:  {len(to_do)} to compute ({', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))}), "
        f"{len(wanted) - len(to_do)} reused",
        f"time:    about {duration(sum(to_do.values()) / jobs)} with {jobs} process{'es' * (jobs > 1)}; "
        f"without shared stages {duration(sum(sum(p.stages.values()) for p in cells) / jobs)}",
    ]
    return "\n".join(lines[:1] if not cells else lines)


def run_grid(planned: list[Planned], jobs: int) -> dict[Cell, str]:
    """Run the cells that are not finished, `jobs` at once; says why of those that fail. The others still run."""
    waiting, failed = [p for p in planned if not p.finished], {}
    workers: list[Worker] = []
    progress = Progress(TextColumn("{task.description}", markup=False), BarColumn(), console=Console(), transient=True)
    view = View(progress, waiting, jobs)
    with progress:
        try:
            workers += [Worker(jobs) for _ in range(min(jobs, len(waiting)))]
            while waiting or any(w.at for w in workers):
                for i, w in enumerate(workers):
                    if w.at and w.ready():
                        at, error = w.at, w.answer()
                        if error:
                            failed[at.cell] = error
                        view.ended(at, error)
                    if not w.process.is_alive():
                        workers[i] = Worker(jobs)
                for w in workers:
                    busy = {path for other in workers if other.at for path in other.at.to_do()}
                    if not w.at and (following := next((p for p in waiting if not busy & p.to_do().keys()), None)):
                        waiting.remove(following)
                        w.give(following)
                view.now([w.at for w in workers if w.at], failed)
                wait([w.connection for w in workers], timeout=1)
        finally:
            for w in workers:
                w.stop()
            for w in workers:
                w.end()
    return failed


class Worker:
    """A process that runs one cell after the other, with its share of the threads."""

    def __init__(self, jobs: int):
        threads = str(max(1, cores() // jobs))
        self.connection, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_work, args=(theirs,))
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = before or threads  # the new process's torch reads it
        try:
            self.process.start()
        finally:
            if before is None:
                del os.environ["OMP_NUM_THREADS"]
        theirs.close()
        self.at: Planned | None = None

    def give(self, planned: Planned) -> None:
        self.at = planned
        with suppress(OSError):  # it died; `answer` will say so
            self.connection.send((planned.cell.settings, log(planned)))

    def ready(self) -> bool:
        return self.connection.poll() or not self.process.is_alive()

    def answer(self) -> str | None:
        """What went wrong with the cell that was given; None if nothing."""
        self.at = None
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return f"its process ended with exit code {self.process.exitcode}; was it killed, or is memory short?"

    def stop(self) -> None:
        """Ask it to end: a cell under way closes its W&B run, and goes on from its checkpoint next time."""
        if self.at:
            self.process.terminate()
        else:
            with suppress(OSError):
                self.connection.send(None)

    def end(self) -> None:
        """Wait for it, not for long."""
        self.process.join(timeout=1.5)
        self.process.kill()
        self.process.join()


def log(planned: Planned) -> Path:
    """Where a cell's output goes."""
    return planned.cell.settings.home / "logs" / f"{planned.path.parent.name}.log"


def _work(connection: Connection) -> None:
    end_with_parent()
    interruptible()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal; ours ends its workers
    try:
        _work_through(connection)
    except KeyboardInterrupt:
        leave()


def _work_through(connection: Connection) -> None:
    while work := connection.recv():
        path = work[1]
        try:
            _logged(*work)
            error = None
        except Exception as e:
            error = _reason(e) + ("" if isinstance(e, DataError) else f"; see {path}")
        connection.send(error)


def _logged(settings: Experiment, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", buffering=1) as out, redirect_stdout(out), redirect_stderr(out):
        try:
            run(settings)
        except Exception:
            traceback.print_exc()
            raise


def _reason(e: Exception) -> str:
    return str(e) if isinstance(e, (DataError, OSError)) and str(e) else repr(e)


class View:
    """What the grid is doing: a bar and the running cells' last words on a terminal, a line a cell anywhere."""

    def __init__(self, progress: Progress, waiting: list[Planned], jobs: int):
        self.progress, self.left, self.jobs, self.cells = progress, list(waiting), jobs, len(waiting)
        self.start, self.tasks = time.monotonic(), {}
        self.whole = self._to_do()
        self.bar = progress.add_task("", total=len(waiting))

    def _to_do(self) -> float:
        return sum({path: s for p in self.left for path, s in p.to_do().items()}.values())

    def ended(self, planned: Planned, error: str | None) -> None:
        self.left.remove(planned)
        if planned.path in self.tasks:
            self.progress.remove_task(self.tasks.pop(planned.path))
        how = f"failed: {error}" if error else _outcome(planned.path)
        at = f"{self.cells - len(self.left)}/{self.cells}"
        self.progress.console.print(f"{at}  {planned.cell}  {how}", markup=False, highlight=False, soft_wrap=True)

    def now(self, running: list[Planned], failed: dict) -> None:
        spent, to_do = time.monotonic() - self.start, self._to_do()
        done = self.whole - to_do
        left = spent * to_do / done if done > 0.05 * self.whole else to_do / self.jobs
        ends = self.cells - len(self.left)
        text = f"{ends} ended, {len(running)} running, {len(failed)} failed, {duration(left)} left"
        self.progress.update(self.bar, description=text, completed=ends)
        for p in running:
            if p.path not in self.tasks:
                self.tasks[p.path] = self.progress.add_task("", total=None)
            last = log(p).read_text(errors="replace").strip().splitlines()[-1:] if log(p).exists() else []
            self.progress.update(self.tasks[p.path], description=f"  {p.cell}  {''.join(last)[:80]}")


def _outcome(path: Path) -> str:
    record = json.loads(path.read_text())
    valid, test = (100 * record[split]["error"] for split in ("valid", "test"))
    took = duration(sum(s["seconds"] for s in record["stages"] if not s["reused"]))
    return f"valid {valid:.2f} %  test {test:.2f} %  {took}"


def cost(records: list[dict]) -> tuple[float, float]:
    """Seconds that these records' stages took, each counted once; and if every record had computed its own."""
    stages = [(s["path"], s["seconds"]) for r in records for s in r["stages"]]
    return sum(dict(stages).values()), sum(seconds for _, seconds in stages)


def _seconds(run: Run, name: str, rates: dict[str, float]) -> float:
    """An estimate of what a stage takes."""
    kind, recipe, df = name.split()[0], run.recipe, run.corpus.df
    texts, passes = {
        "baseline": (("train", "valid", "test"), 0.1),
        "tokens": (SPLITS, 0.1),
        "lm": (("train", "unlabelled"), sum(p.epochs for p in recipe.lm.phases)),
        "clas": (("train",), sum(p.epochs for p in recipe.clas.phases)),
        "features": (("train", "valid", "valid", "test"), 0.3),
        "eval": (("valid", "test"), 0.3 * len(run.directions)),
    }[kind]
    tokens = df["text"].str.len()[df["split"].isin(texts)].sum() / CHARACTERS
    if kind == "lm":
        tokens = min(tokens, recipe.max_tokens or tokens)
    return 1 + tokens * passes / rates.get(kind, GUESS)


def _rates(home: Path) -> dict[str, float]:
    """Tokens a second of the home's finished stages by kind."""
    rates = {}
    for kind in ("lm", "clas"):
        infos = [json.loads((path / "stage.json").read_text())["info"] for path in (home / "stages").glob(f"{kind}-*")]
        tokens = sum(i["tokens_per_second"] * i["seconds"] for i in infos)
        if tokens:
            rates[kind] = tokens / sum(i["seconds"] for i in infos)
    return rates


def duration(seconds: float) -> str:
    """Hours and minutes."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes > 59 else f"{minutes} min" if minutes else "a minute"
