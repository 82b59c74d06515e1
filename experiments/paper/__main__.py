"""A table or figure of the paper: its runs, the table and the plot.

    ulmfit-exp paper table7 --data trec sfu --seeds 3 --jobs 2

The plan is printed first: the number of runs, the stages that they share, and the estimated time. Finished runs are not
run again, so the same command resumes an interrupted grid. The exit code is 1 if a run failed; the table then shows the
others.
"""

import sys
from pathlib import Path
from typing import Literal

import tyro

from ulmfit_exp.cli import command
from ulmfit_exp.record import read
from ulmfit_exp.runs.interrupt import interruptible, leave

from . import tables
from .base import DATA


def main(
    name: tyro.conf.Positional[Literal[tables.NAMES]],
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
        results, failed = tables.recorded(name, tables.committed(tables.RECORDS), data, recipe), {}
    else:
        chosen = data or (("sfu",) if miniature else tables.module(name).DATA)
        where = {"home": home, "data_dir": data_dir, "wandb": wandb}
        seeds = 1 if miniature else seeds
        found = tables.cells(name, chosen, seeds, miniature, recipe, **where)
        plain = tables.cells(name, chosen, seeds, miniature, recipe)
        if kept := len(tables.with_records(plain, tables.committed(tables.RECORDS))):
            print(f"{kept} of {len(found)} cells are committed: --render shows them")
        results, failed = compute([tables.labelled(name, cell) for cell in found], jobs, plan)
    show(name, results, home / "paper")
    for cell, error in failed.items():
        print(f"failed: {cell}: {error}", file=sys.stderr)
    sys.exit(1 if failed else 0)  # W&B, told of the exit, takes no bool


def show(name: str, results: list[tuple], folder: Path) -> None:
    """Write the table or figure to a folder, and print it."""
    if results:
        print("\n" + tables.write(name, results, folder))
        print(folder / f"{name}.svg")
    else:
        print(f"no run of {name} is finished yet")


def compute(found: list, jobs: int, only_plan: bool = False) -> tuple[list[tuple], dict]:
    """Plan and run the cells; the (cell, record) pairs of finished runs, and why others failed."""
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
