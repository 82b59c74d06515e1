"""The paper's tables and figures: their runs, the committed records of these, and their rendering.

What the command, the scripts and the notebooks share. A module of this package says what is in one table or figure.
"""

import re
from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from ulmfit_exp.record import read_all

from .. import RECORDS as RECORDS
from .. import settings_of
from .base import miniature_of, replicates

NAMES = ("table2", "table3", "table4", "table5", "table6", "table7", "figure3", "figure4", "directions", "few_shot")
MOST_SEEDS = 10
LINK = re.compile(r"\[([^]]+)\]\(([^)]+)\)")


def module(name: str):
    """The module of a table or figure."""
    return import_module(f".{name}", __package__)


def cells(name: str, data: tuple[str, ...], seeds: int, miniature: bool = False, recipe: str | None = None) -> list:
    """Every run of a table or figure; without a `recipe`, with that of the committed records."""
    from ulmfit_exp.runs.grid import Cell

    found = []
    for d in dict.fromkeys(data or (("sfu",) if miniature else module(name).DATA)):
        usual = getattr(module(name), "RECIPES", {}).get(d, "small")
        for i, base in enumerate(replicates(d, seeds, recipe or usual)):
            base = miniature_of(base) if miniature else base
            for row, settings in module(name).variants(base).items():
                sized = module(name).sized(settings, d) if hasattr(module(name), "sized") else [settings]
                found += [Cell(row, d, i, each) for each in sized]
    return found


def labelled(name: str, cell, **where):
    """The cell with a label and tags for records and W&B; without a label where the recipe's name says enough.

    `where` has the settings that say where to run it, and how precisely.
    """
    label = f"{name} {cell.row}" if set(cell.settings.changes) - {"direction"} else ""
    return replace(cell, settings=replace(cell.settings, label=label, tags=("paper", name), **where))


def committed(folder: Path) -> list[dict]:
    """The records of a folder."""
    return [record for _, record in read_all([folder])[0]]


def recorded(name: str, records: list[dict], data: tuple[str, ...] = (), recipe: str | None = None) -> list[tuple]:
    """The cells of a table or figure that have a record of the same settings, in any precision; and that record.

    A data set of which an ablation has records of a single row is left out.
    """
    results = with_records(cells(name, data or module(name).DATA, MOST_SEEDS, recipe=recipe), records)
    rows = Counter(data for data, _ in {(cell.data, cell.row) for cell, _ in results})
    return [(c, r) for c, r in results if rows[c.data] > 1 or c.settings.recipe.direction == "both"]


def with_records(found: list, records: list[dict]) -> list[tuple]:
    """The cells that have a record of the same settings, in any precision; and that record."""
    by_settings = {settings_of(r, precision="auto"): r for r in records}
    return [(cell, by_settings[cell.settings]) for cell in found if cell.settings in by_settings]


def not_varied(records: list[dict]) -> list[dict]:
    """The records without those that a table or figure varies: of one direction, or of few labels per class."""
    grids = [result for name in NAMES for result in recorded(name, records)]
    varied = {id(record) for cell, record in grids if cell.settings.recipe.direction != "both" or cell.settings.shots}
    return [r for r in records if id(r) not in varied]


def drawn(name: str, results: list[tuple], records: str = "") -> tuple:
    """Markdown tables and plot of these (cell, record) pairs.

    `records` is the folder of committed records, as the page is to link to it; without it, nothing is linked.
    """
    text, figure = module(name).render(results)
    return LINK.sub(rf"[\1]({records}/\2)" if records else r"\1", text), figure


def rendered(name: str, results: list[tuple], records: str = "") -> tuple:
    """`drawn`, with what the table or figure is, and what its runs took."""
    from ulmfit_exp.results.figures import cost_line

    text, figure = drawn(name, results, records)
    about = module(name).__doc__.strip()
    return f"## {module(name).TITLE}\n\n{about}\n\n{text}\n{cost_line(results)}\n", figure


def files(name: str, results: list[tuple], records: str = "") -> dict[str, str]:
    """NAME.md and NAME.svg of these (cell, record) pairs, as `rendered` makes them."""
    from ulmfit_exp.results.figures import svg

    text, figure = rendered(name, results, records)
    return {f"{name}.md": text, f"{name}.svg": svg(figure, name)}
