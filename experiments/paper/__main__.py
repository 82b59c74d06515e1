"""The paper's tables and figures, each one command: a grid of runs, its table and its plot.

python -m experiments.paper table7 --data trec sfu --seeds 3 --jobs 2

First the plan: how many runs there are, which stages they share, how long it may take. Finished runs are not run
again, so the same command goes on where it was interrupted. Exit code 1 if a run failed; the others are then in the
table all the same.
"""

import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Literal

import tyro

from experiments.paper.base import DATA, miniature_of, replicates

NAMES = ("table2", "table3", "table4", "table5", "table6", "table7", "figure3", "figure4", "directions")
RECORDS = Path(__file__).parents[1] / "results"


def cells(name: str, data: tuple[str, ...], seeds: int, miniature: bool = False, **where) -> list:
    """Every run of a table or figure."""
    from ulmfit_exp.grid import Cell

    module = import_module(f"experiments.paper.{name}")
    found = []
    for d in data:
        for i, base in enumerate(replicates(d, seeds)):
            base = replace(miniature_of(base) if miniature else base, **where)
            for row, settings in module.variants(base).items():
                sizes = module.sizes(settings, d) if hasattr(module, "sizes") else (None,)
                found += [Cell(row, d, i, replace(settings, train_size=n)) for n in sizes]
    return found


def recorded(found: list, folder: Path) -> list[tuple]:
    """The cells that have a record in `folder`, with it: one of the same settings, whatever its precision."""
    records = {_key(r["experiment"], r["settings"]): r for r in map(_read, sorted(folder.glob("*.json")))}
    keys = [(cell, _key(cell.settings.name, cell.settings.settings())) for cell in found]
    return [(cell, records[key]) for cell, key in keys if key in records]


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _key(experiment: str, settings: dict) -> str:
    what = {k: v for k, v in settings.items() if k != "precision"}
    return json.dumps([experiment, what], sort_keys=True)


def write(name: str, results: list[tuple], folder: Path) -> str:
    """NAME.md and NAME.svg of these (cell, record) pairs; returns the Markdown."""
    from ulmfit_exp.figures import cost_line, save

    module = import_module(f"experiments.paper.{name}")
    text, figure = module.render(results)
    text = f"## {module.TITLE}\n\n{text}\n{cost_line(results)}\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    save(figure, folder / f"{name}.svg")
    return text


def main(
    name: tyro.conf.Positional[Literal[NAMES]],
    data: tuple[Literal[tuple(DATA)], ...] = (),
    seeds: int = 3,
    jobs: int = 1,
    render: bool = False,
    miniature: bool = False,
    home: Path = Path("runs"),
    data_dir: Path | None = None,
    wandb: Literal["auto", "online", "offline", "disabled"] = "auto",
) -> None:
    """Run a table or figure of the paper.

    Args:
        name: Which.
        data: Data sets (default: those of the table).
        seeds: Runs of each variant; of SFU, for 3 or more, its five folds.
        jobs: Runs at once; the processor's threads are shared out between them.
        render: Only draw from the committed records in experiments/results/.
        miniature: On the bundled hand-written texts, in a minute or two; of SFU, DBpedia and SQuAD.
        home: Where stages and records go.
        data_dir: As of the experiments.
        wandb: As of the experiments.
    """
    module = import_module(f"experiments.paper.{name}")
    data = data or (("sfu",) if miniature else module.DATA)
    seeds = 1 if miniature else seeds
    found = cells(name, data, seeds, miniature, home=home, data_dir=data_dir, wandb=wandb)
    failed = {}
    if render:
        results = recorded(found, RECORDS)
    else:
        results, failed = compute(found, jobs)
    if results:
        folder = home / "paper"
        print("\n" + write(name, results, folder))
        print(folder / f"{name}.svg")
    else:
        print(f"no run of {name} is there yet")
    for cell, error in failed.items():
        print(f"failed: {cell}: {error}", file=sys.stderr)
    sys.exit(bool(failed))


def compute(found: list, jobs: int) -> tuple[list[tuple], dict]:
    """Plan and run the cells; the (cell, record) pairs that are there then, and why others are not."""
    from ulmfit_exp import grid

    print(f"reading the data of {len(found)} runs", flush=True)
    planned, failed = grid.plan(found)
    print(grid.describe(planned, jobs), flush=True)
    failed |= grid.run_grid(planned, jobs)
    return [(p.cell, _read(p.path)) for p in planned if p.finished], failed


if __name__ == "__main__":
    tyro.cli(main, description=__doc__, config=(tyro.conf.FlagCreatePairsOff,))
