"""A grid of runs: what it will take, and which cell is next.

A cell is finished when its record is there; a stage that cells share is computed once.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ..corpora.splits import SPLITS
from .plan import Run
from .run import data_directory, prepare, result
from .settings import Experiment
from .view import View, duration
from .workers import Workers, reason

GUESS = 4_000
"""Tokens a second of one thread, where the home has no finished stage to go by."""
CHARACTERS = 4.3
"""Of a token, spaces and marks counted in."""
MOVES = 3
"""How many times a cell whose process died is run again."""


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

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.cell.settings.home / "logs" / f"{self.path.parent.name}.log"

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
            failed[cell] = reason(e)
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


def run_grid(planned: list[Planned], workers: Workers) -> dict[Cell, str]:
    """Run the cells that are not finished; says why of those that fail. The others still run.

    A cell whose process or machine died runs again from its last checkpoint, at most `MOVES` times.
    """
    waiting, running, failed, moves = [p for p in planned if not p.finished], {}, {}, Counter()
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
                moves[ended.cell] += died
                if died and moves[ended.cell] <= MOVES:
                    waiting.insert(0, ended)
                    view.moved(ended, f"{error} ({moves[ended.cell]} of at most {MOVES} times)")
                    continue
                if error:
                    failed[ended.cell] = error
                view.ended(ended, error)
            view.now(list(running.values()), failed, slots)
            if not running:  # no machine is there: wait for one
                time.sleep(0.2)
    return failed


def _next(waiting: list[Planned], running: Iterable[Planned]) -> Planned | None:
    """The first cell that needs no stage which another one is computing."""
    busy = {path for p in running for path in p.to_do()}
    return next((p for p in waiting if not busy & p.to_do().keys()), None)


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
        stages = (path / "stage.json" for path in (home / "stages").glob(f"{kind}-*"))
        infos = []
        for path in stages:
            with suppress(OSError, ValueError, LookupError, TypeError):  # a damaged stage is computed again
                info = json.loads(path.read_text("utf-8"))["info"]
                infos.append((info["tokens_per_second"] * info["seconds"], info["seconds"]))
        tokens, seconds = map(sum, zip(*infos)) if infos else (0, 0)
        if tokens:
            rates[kind] = tokens / seconds
    return rates
