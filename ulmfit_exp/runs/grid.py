"""A grid of runs: planning it, with an estimate of the time, and running its cells.

A cell is finished when its record exists; a stage that several cells share is computed once.
"""

import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ..common import DataError
from ..method.checkpoint import CHECKPOINT
from ..record import read
from . import estimate
from .run import prepare
from .settings import Cell
from .workers import Workers, appears, error_line

SAME_TEXTS = {"recipe_name": "", "recipe": None, "seed": 0, "label": "", "tags": ()}
SAME_TEXTS |= {"train_size": None, "shots": None, "draw": 0, "labelled_only": False}
"""Settings that do not change which texts are read."""
MOVES = 3
"""Largest number of restarts of a cell whose process died, without a new checkpoint in between."""


@dataclass(frozen=True)
class Planned:
    """A cell that can be run."""

    cell: Cell
    path: Path
    """Path of its record."""
    stages: dict[Path, float]
    """Folder of each stage, with its estimated seconds."""

    @property
    def finished(self) -> bool:
        return self.path.exists()

    @property
    def log(self) -> Path:
        """Path of the file that its output is written to."""
        return self.cell.settings.home / "logs" / f"{self.path.parent.name}.log"

    def to_do(self) -> dict[Path, float]:
        return {} if self.finished else {p: s for p, s in self.stages.items() if not p.exists()}

    def progress(self) -> tuple[tuple[Path, float], ...]:
        """Return the checkpoint file of each unfinished stage, with its modification time, or 0 if there is no file."""
        files = [p.parents[1] / "unfinished" / p.name / CHECKPOINT for p in self.to_do()]
        return tuple((file, file.stat().st_mtime if file.exists() else 0) for file in files)


def unfinished_stages(planned: Iterable[Planned]) -> dict[Path, float]:
    """Return the stages that still have to be computed, each once, with their estimated seconds."""
    return {path: s for p in planned for path, s in p.to_do().items()}


def plan(cells: list[Cell], elsewhere: bool = False) -> tuple[list[Planned], dict[Cell, str]]:
    """Return the cells with what they need, and those that cannot be run, with the reason. Computes nothing.

    If the cells run `elsewhere`, this machine needs no GPU.
    """
    planned, failed, read_texts = [], {}, {}
    trained = estimate.finished_trainings(cells[0].settings.home)
    for cell in cells:
        try:
            all_texts = replace(cell.settings, **SAME_TEXTS)
            if all_texts not in read_texts:
                read_texts[all_texts] = all_texts.texts()
            device = cell.settings.device
            here = replace(cell.settings, device="auto" if elsewhere and device.startswith("cuda") else device)
            run = prepare(here, cell.settings.select_labels(read_texts[all_texts]))
            _drop_if_damaged(run.record)
        except Exception as e:
            failed[cell] = error_line(e)
            continue
        stages = {run.path(name): estimate.seconds(run, name, trained) for name in run.plan}
        row = run.command.variant if cell.row == cell.settings.variant else cell.row  # what `auto` stands for is known
        known = replace(cell, row=row, settings=replace(run.command, device=device))
        planned.append(Planned(known, run.record, stages))
    return planned, failed


def _drop_if_damaged(record: Path) -> None:
    """Delete a record that cannot be read, so that its cell writes it again from its finished stages."""
    if not record.exists():
        return
    try:
        read(record)
    except DataError as e:
        print(f"{e}; it is written again", flush=True)
        record.unlink()


def describe(planned: list[Planned], slots: int, elsewhere: bool = False) -> str:
    """Describe the plan: cells, stages to compute and to reuse, time and cost. Times are those of this machine."""
    cells = [p for p in planned if not p.finished]
    to_do = unfinished_stages(cells)
    wanted = {path for p in cells for path in p.stages}
    kinds = Counter(path.name.rsplit("-", 1)[0] for path in to_do)
    by_kind = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
    whole, separate = sum(to_do.values()), sum(sum(p.stages.values()) for p in cells)
    lines = [
        f"cells:   {len(planned)}, of which {len(planned) - len(cells)} are finished",
        f"stages:  {len(to_do)} to compute{f' ({by_kind})' * bool(by_kind)}, {len(wanted) - len(to_do)} reused",
        f"time:    about {duration(makespan(planned, slots))} with {slots} process{'es' * (slots > 1)}, "
        f"{duration(makespan(planned, len(cells)))} with unlimited processes{', as on this machine' * elsewhere}",
        f"cost:    {duration(whole)} of computing time in total; {duration(separate)} without shared stages",
    ]
    return "\n".join(lines[:1] if not cells else lines)


def makespan(planned: list[Planned], slots: int) -> float:
    """Return the seconds that `slots` processes need for all cells, in the order of `run_grid`, by the estimates."""
    waiting, ends = [to_do for p in planned if (to_do := p.to_do())], {}  # cells, and when each stage ends
    free = [0.0] * slots  # when each process becomes free
    while waiting:
        now = heappop(free)
        cell = next((cell for cell in waiting if all(ends.get(stage, 0) <= now for stage in cell)), None)
        if cell is None:  # every cell waits for a stage that another process computes
            now = min(end for end in ends.values() if end > now)
        else:
            waiting.remove(cell)
            for stage in [stage for stage in cell if stage not in ends]:
                now = ends[stage] = now + cell[stage]
        heappush(free, now)
    return max(ends.values(), default=0.0)


def run_grid(planned: list[Planned], workers: Workers) -> dict[Cell, str]:
    """Run the unfinished cells, and return those that failed, with the reason. The others still run.

    A cell whose process or machine died runs again from its last checkpoint, at most `MOVES` times without a new one.
    """
    waiting, running, failed = [p for p in planned if not p.finished], {}, {}
    cells, deaths = len(waiting), Counter()  # deaths of each cell at each state of its progress
    progress = Progress(TextColumn("{task.description}", markup=False), BarColumn(), console=Console(), transient=True)
    view = View(progress, waiting)
    with progress:
        while waiting or running:
            slots = workers.slots()
            while len(running) < slots and (following := _next(waiting, running.values())):
                waiting.remove(following)
                running[workers.submit(following.cell.settings, following.log)] = following
            for future in wait(running, timeout=1, return_when=FIRST_COMPLETED).done:
                ended, (error, died) = running.pop(future), workers.outcome(future)
                deaths[at := (ended.cell, ended.progress())] += int(died)
                if died and deaths[at] <= MOVES:
                    waiting.insert(0, ended)
                    again = f"runs again from its last checkpoint: {ended.cell}: {error}"
                    view.print(f"{again} ({deaths[at]} of at most {MOVES} times)")
                    continue
                if not error and not appears(ended.path):
                    error = f"this machine does not see {ended.path}; does the other one share --home?"
                if error:
                    failed[ended.cell] = error
                outcome = f"failed: {error}" if error else _result_line(ended.path)
                view.print(f"{cells - len(waiting) - len(running)}/{cells}  {ended.cell}  {outcome}")
            view.update(waiting, list(running.values()), len(failed), slots)
            if not slots:  # no machine is left: wait for one
                time.sleep(1)
    return failed


def _next(waiting: list[Planned], running: Iterable[Planned]) -> Planned | None:
    """Return the first cell that needs no stage that another cell is computing, or None."""
    busy = {path for cell in running for path in cell.to_do()}
    return next((cell for cell in waiting if not busy & cell.to_do().keys()), None)


class View:
    """View of a running grid: a line per finished cell; on a terminal, a bar and the last line of each running cell."""

    def __init__(self, progress: Progress, planned: list[Planned]):
        self.progress, self.cells, self.tasks = progress, len(planned), {}
        self.running: dict[Path, tuple[Planned, float, float]] = {}  # with when it started, and its estimated seconds
        self.took = self.estimated = 0.0  # seconds of the cells that have ended
        self.bar = progress.add_task("", total=len(planned))

    def print(self, line: str) -> None:
        self.progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def update(self, waiting: list[Planned], running: list[Planned], failed: int, slots: int) -> None:
        left = duration(self.seconds_left(waiting, running, slots))
        ended = self.cells - len(waiting) - len(running)
        text = f"{ended} ended, {len(running)} running, {failed} failed, {left} left"
        self.progress.update(self.bar, description=text, completed=ended)
        for path in self.tasks.keys() - {p.path for p in running}:
            self.progress.remove_task(self.tasks.pop(path))
        for p in running:
            if p.path not in self.tasks:
                self.tasks[p.path] = self.progress.add_task("", total=None)
            last = p.log.read_text("utf-8", errors="replace").strip().splitlines()[-1:] if p.log.exists() else []
            self.progress.update(self.tasks[p.path], description=f"  {p.cell}  {''.join(last)[:80]}")

    def seconds_left(self, waiting: list[Planned], running: list[Planned], slots: int) -> float:
        """Return the plan's estimate for what is left, times how much longer than estimated the ended cells took."""
        now, to_do = time.monotonic(), unfinished_stages(running)
        for path in self.running.keys() - {p.path for p in running}:
            ended, start, estimated = self.running.pop(path)
            if ended.finished:
                self.took, self.estimated = self.took + now - start, self.estimated + estimated
        for p in running:
            self.running.setdefault(p.path, (p, now, sum(p.to_do().values())))
        ratio = self.took / self.estimated if self.estimated else 1.0
        each = [max(0.0, ratio * estimated - (now - start)) for _, start, estimated in self.running.values()]
        queued = sum(s for stage, s in unfinished_stages(waiting).items() if stage not in to_do)
        return max([(ratio * queued + sum(each)) / max(slots, 1), *each])


def _result_line(path: Path) -> str:
    record = read(path)
    errors = [f"{split} {100 * record[split]['error']:.2f} %" for split in ("valid", "test") if split in record]
    took = duration(sum(s["seconds"] for s in record["stages"] if not s["reused"]))
    return "  ".join([*errors, took])


def duration(seconds: float) -> str:
    """Return a duration in words: hours and minutes, or seconds if it is shorter than a minute."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes > 59 else f"{minutes} min"
