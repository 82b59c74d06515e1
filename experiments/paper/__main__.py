"""A table or figure of the paper: its runs, the table and the plot.

    ulmfit-exp paper table7 --data trec sfu --seeds 3 --jobs 2

The plan is printed first: the number of runs, the stages that they share, and the estimated time. Finished runs are not
run again, so the same command resumes an interrupted grid. The exit code is 1 if a run failed; the table then shows the
others.
"""

import sys
from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Literal

import tyro

from ulmfit_exp.cli import command
from ulmfit_exp.record import read, read_all
from ulmfit_exp.runs.interrupt import interruptible, leave

from .. import settings_of
from .base import DATA, miniature_of, replicates

NAMES = ("table2", "table3", "table4", "table5", "table6", "table7", "figure3", "figure4", "directions")
RECORDS = Path(__file__).parents[1] / "results"
MOST_SEEDS = 10


def module(name: str):
    """The module of a table or figure."""
    return import_module(f".{name}", __package__)


def cells(
    name: str, data: tuple[str, ...], seeds: int, miniature: bool = False, recipe: str = "small", **where
) -> list:
    """Every run of a table or figure."""
    from ulmfit_exp.runs.grid import Cell

    found = []
    for d in data:
        for i, base in enumerate(replicates(d, seeds, recipe)):
            base = replace(miniature_of(base) if miniature else base, **where)
            for row, settings in module(name).variants(base).items():
                sized = module(name).sized(settings, d) if hasattr(module(name), "sized") else [settings]
                found += [Cell(row, d, i, each) for each in sized]
    return found


def labelled(name: str, cell):
    """The cell with a label and tags for records and W&B; without one where the recipe's own name says enough."""
    label = f"{name} {cell.row}" if set(cell.settings.changes) - {"direction"} else ""
    return replace(cell, settings=replace(cell.settings, label=label, tags=("paper", name)))


def committed(folder: Path) -> list[dict]:
    """The records of a folder."""
    return [record for _, record in read_all([folder])[0]]


def recorded(name: str, records: list[dict], data: tuple[str, ...] = (), recipe: str = "small") -> list[tuple]:
    """The cells of a table or figure with a record of the same settings, in any precision; and that.

    A data set of which an ablation has a single row yet is left out.
    """
    by_settings = {settings_of(r, precision="auto"): r for r in records}
    found = cells(name, data or module(name).DATA, MOST_SEEDS, recipe=recipe)
    results = [(cell, by_settings[cell.settings]) for cell in found if cell.settings in by_settings]
    rows = Counter(data for data, _ in {(cell.data, cell.row) for cell, _ in results})
    return [(c, r) for c, r in results if rows[c.data] > 1 or c.settings.recipe.direction == "both"]


def own(records: list[dict]) -> list[dict]:
    """The records without those that a table or figure varies, which are of one direction."""
    grids = [result for name in NAMES for result in recorded(name, records)]
    varied = {id(record) for cell, record in grids if cell.settings.recipe.direction != "both"}
    return [r for r in records if id(r) not in varied]


def rendered(name: str, results: list[tuple]) -> tuple:
    """Markdown and plot of these (cell, record) pairs."""
    from ulmfit_exp.results.figures import cost_line

    text, figure = module(name).render(results)
    about = module(name).__doc__.strip()
    return f"## {module(name).TITLE}\n\n{about}\n\n{text}\n{cost_line(results)}\n", figure


def write(name: str, results: list[tuple], folder: Path) -> str:
    """NAME.md and NAME.svg of these (cell, record) pairs; returns the Markdown."""
    from ulmfit_exp.results.figures import svg

    text, figure = rendered(name, results)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    (folder / f"{name}.svg").write_text(svg(figure, name), encoding="utf-8")
    return text


def main(
    name: tyro.conf.Positional[Literal[NAMES]],
    data: tuple[Literal[tuple(DATA)], ...] = (),
    seeds: int = 3,
    jobs: int = 1,
    recipe: Literal["small", "paper"] = "small",
    plan: bool = False,
    render: bool = False,
    miniature: bool = False,
    home: Path = Path("runs"),
    data_dir: Path | None = None,
    wandb: Literal["auto", "online", "offline", "disabled"] = "auto",
) -> None:
    """Run a table or figure of the paper.

    Args:
        name: Which.
        data: Data sets (default: those of the table). imdb is a fifth of the reviews, imdb-full all.
        seeds: Runs of each variant; of SFU, for 3 or more, its five folds.
        jobs: Runs at once; the processor's threads are shared out between them, unless OMP_NUM_THREADS says how many.
        recipe: paper has the paper's sizes and epochs, for a GPU.
        plan: Run nothing: only the plan, and the table of the runs that are finished.
        render: Only draw from the committed records in experiments/results/, of all seeds that are there.
        miniature: On the bundled hand-written texts, in a minute or two; of SFU, DBpedia and SQuAD.
        home: Where stages and records go.
        data_dir: As of the experiments.
        wandb: As of the experiments.
    """
    if render:
        results, failed = recorded(name, committed(RECORDS), data, recipe), {}
    else:
        chosen = data or (("sfu",) if miniature else module(name).DATA)
        where = {"home": home, "data_dir": data_dir, "wandb": wandb}
        found = cells(name, chosen, 1 if miniature else seeds, miniature, recipe, **where)
        results, failed = compute([labelled(name, cell) for cell in found], jobs, plan)
    if results:
        print("\n" + write(name, results, home / "paper"))
        print(home / "paper" / f"{name}.svg")
    else:
        print(f"no run of {name} is there yet")
    for cell, error in failed.items():
        print(f"failed: {cell}: {error}", file=sys.stderr)
    sys.exit(1 if failed else 0)  # W&B, told of the exit, takes no bool


def compute(found: list, jobs: int, only_plan: bool = False) -> tuple[list[tuple], dict]:
    """Plan and run the cells; the (cell, record) pairs that are there then, and why others are not."""
    from ulmfit_exp.runs import grid

    print(f"reading the data of {len(found)} runs", flush=True)
    planned, failed = grid.plan(found)
    print(grid.describe(planned, jobs), flush=True)
    interruptible()
    try:
        failed |= {} if only_plan else grid.run_grid(planned, jobs)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command resumes from the last checkpoints", file=sys.stderr, flush=True)
        leave()
    return [(p.cell, read(p.path)) for p in planned if p.finished], failed


if __name__ == "__main__":
    command("paper", main)
