"""Run the experiments of a table or figure of the paper, and make its table and plot.

    ulmfit-exp paper table7 --data trec sfu --seeds 3 --jobs 2

The plan is printed first: the number of runs, the stages that they share, and the estimated time. Finished runs are not
run again, so the same command resumes an interrupted grid. The exit code is 1 if a run failed; the table then shows the
others.
"""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from ulmfit_exp.cli import command, compute, exit_with_failures
from ulmfit_exp.common import DataError
from ulmfit_exp.runs.settings import HERE, Grid, Precision, Where

from . import tables
from .base import DATA

THREE = Grid(seeds=3)


def main(
    name: tyro.conf.Positional[Literal[tables.NAMES]],
    data: tuple[Literal[tuple(DATA)], ...] = (),
    recipe: Literal["small", "default", "paper"] | None = None,
    plan: bool = False,
    render: bool = False,
    miniature: bool = False,
    precision: Precision = "auto",
    where: Annotated[Where, tyro.conf.arg(name="")] = HERE,
    grid: Annotated[Grid, tyro.conf.arg(name="")] = THREE,
) -> None:
    """Run the experiments of a table or figure of the paper.

    Args:
        name: Name of the table or figure.
        data: Data sets (default: those of the table). imdb is a fifth of the reviews, imdb-full all of them.
        recipe: Recipe of the runs; paper has the paper's sizes, for a GPU. Default: as in the committed records.
        plan: Run nothing; only print the plan, and the table of the finished runs.
        render: Run nothing; only draw from the committed records in experiments/results/, with all their seeds.
        miniature: Run one seed on bundled texts, in a minute or two: SFU's, or --data's (not those of trec and imdb).
        precision: As in the experiments; auto is resolved once for all runs, on the machine of this command.
        where: Device, folders and W&B.
        grid: Seeds and processes.
    """
    if render and (plan or miniature):
        raise DataError("--render draws the committed records: leave out --plan and --miniature")
    if miniature and recipe:
        raise DataError(f"--recipe {recipe} has no meaning with --miniature, whose recipe is tiny; leave one out")
    folder = where.home / "paper" / ("committed" if render else "miniature" if miniature else "")
    if render:
        results, failed = tables.recorded(name, tables.committed(), data, recipe), {}
    else:
        found = tables.cells(name, data, 1 if miniature else grid.seeds, miniature, recipe)
        if kept := len(tables.with_records(found, tables.committed())):
            print(f"{kept} of {len(found)} cells are committed: --render shows them")
        runs = [tables.labelled(name, cell, precision=precision, **vars(where)) for cell in found]
        results, failed = compute(runs, grid, plan)
    if results or not failed:
        show(name, results, folder)
    exit_with_failures(failed)


def show(name: str, results: list[tuple], folder: Path) -> None:
    """Write the table or figure to a folder, and print it."""
    if results:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in (files := tables.files(name, results)).items():
            (folder / file).write_text(text, encoding="utf-8")
        print("\n" + files[f"{name}.md"])
        print(folder / f"{name}.svg")
    else:
        print(f"there is no record of {name} with these options yet")


if __name__ == "__main__":
    command("paper", main)
