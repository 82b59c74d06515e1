"""The paper's tables and figures: their runs, the committed records of these, and their rendering.

Shared by the command, the scripts and the notebooks. Each table or figure is defined in a module of its own.
"""

import re
from collections import Counter
from dataclasses import replace
from importlib import import_module

from ulmfit_exp.record import read_all
from ulmfit_exp.runs.settings import Cell

from .. import RECORDS, settings_of
from .base import miniature_of, replicates

NAMES = ("table2", "table3", "table4", "table5", "table6", "table7", "figure3", "figure4", "directions", "few_shot")
MOST_SEEDS = 10
LINK = re.compile(r"\[([^]]+)\]\(([^)]+)\)")


def module(name: str):
    """Return the module of a table or figure."""
    return import_module(f".{name}", __package__)


def cells(
    name: str, data: tuple[str, ...], seeds: int, miniature: bool = False, recipe: str | None = None
) -> list[Cell]:
    """Return every run of a table or figure; `recipe` defaults to the one of the committed records."""
    found = []
    for d in dict.fromkeys(data or (("sfu",) if miniature else module(name).DATA)):
        usual = getattr(module(name), "RECIPES", {}).get(d, "small")
        for i, base in enumerate(replicates(d, seeds, recipe or usual)):
            base = miniature_of(base) if miniature else base
            for row, settings in module(name).variants(base).items():
                sized = module(name).sized(settings, d) if hasattr(module(name), "sized") else [settings]
                found += [Cell(row, d, i, each) for each in sized]
    return found


def labelled(name: str, cell: Cell, **where) -> Cell:
    """Return the cell with a label and tags for records and W&B; no label if the recipe's name says enough.

    `where` has the settings for where to run it, and in which precision.
    """
    label = f"{name} {cell.row}" if set(cell.settings.changes) - {"direction"} else ""
    return replace(cell, settings=replace(cell.settings, label=label, tags=("paper", name), **where))


def committed() -> list[dict]:
    """Return the committed records."""
    return [record for _, record in read_all([RECORDS])[0]]


def recorded(name: str, records: list[dict], data: tuple[str, ...] = (), recipe: str | None = None) -> list[tuple]:
    """Return the cells of a table or figure with a record of the same settings, in any precision, and that record.

    Data sets for which an ablation has records of only one row are left out.
    """
    results = with_records(cells(name, data, MOST_SEEDS, recipe=recipe), records)
    rows = Counter(data for data, _ in {(cell.data, cell.row) for cell, _ in results})
    return [(c, r) for c, r in results if rows[c.data] > 1 or c.settings.recipe.direction == "both"]


def with_records(found: list[Cell], records: list[dict]) -> list[tuple]:
    """Return the cells that have a record of the same settings, in any precision, each with that record."""
    by_settings = {settings_of(r, precision="auto"): r for r in records}
    return [(cell, by_settings[cell.settings]) for cell in found if cell.settings in by_settings]


def not_varied(records: list[dict]) -> list[dict]:
    """Return the records without those of a table or figure in one direction or with few labels per class."""
    grids = [result for name in NAMES for result in recorded(name, records)]
    varied = {id(record) for cell, record in grids if cell.settings.recipe.direction != "both" or cell.settings.shots}
    return [r for r in records if id(r) not in varied]


def drawn(name: str, results: list[tuple], records: str = "") -> tuple:
    """Return Markdown tables and a plot of these (cell, record) pairs.

    `records` is the folder of committed records that the tables link to; without it, nothing is linked.
    """
    text, figure = module(name).render(results)
    return LINK.sub(rf"[\1]({records}/\2)" if records else r"\1", text), figure


def rendered(name: str, results: list[tuple], records: str = "") -> tuple:
    """Return `drawn` with a description of the table or figure, the models of its runs, and the time they took."""
    from ulmfit_exp.results.figures import cost_line

    text, figure = drawn(name, results, records)
    about = module(name).__doc__.strip()
    return f"## {module(name).TITLE}\n\n{about}\n\n{text}\n{models_line(results)}\n\n{cost_line(results)}\n", figure


def command_line(name: str, results: list[tuple]) -> str:
    """Return the command that runs these data sets of a table or figure."""
    return f"python -m experiments.paper {name} --data {' '.join(dict.fromkeys(cell.data for cell, _ in results))}"


def models_line(results: list[tuple]) -> str:
    """Return a line with the recipe and the pretrained model of each data set's runs; several, if they differ."""
    from ulmfit_exp.results.figures import title
    from ulmfit_exp.results.tables import pretrained

    recipes, starts = {}, {}
    for cell, record in results:
        if (model := pretrained(record)) != "none":
            recipes.setdefault((title(cell.data), model), {})[cell.settings.recipe_name] = None
    for (data, model), names in recipes.items():
        recipe = f"recipe{'s' * (len(names) > 1)} {' and '.join(names)}"
        starts.setdefault(f"{recipe}, starting from {model}", []).append(data)
    return "; ".join(f"{', '.join(data)}: {start}" for start, data in starts.items()) + "." * bool(starts)


def files(name: str, results: list[tuple], records: str = "", plots: bool = True) -> dict[str, str]:
    """Return NAME.md and, unless without `plots`, NAME.svg with the text of each, made by `rendered` from these (cell,
    record) pairs."""
    from ulmfit_exp.results.figures import svg

    text, figure = rendered(name, results, records)
    return {f"{name}.md": text, **({f"{name}.svg": svg(figure, name)} if plots else {})}
