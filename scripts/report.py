"""Compare runs in one HTML file, which needs no network.

    ulmfit-exp report                                   the runs in runs/, and the committed records
    ulmfit-exp report /data/runs --out report.html --open

The page has a table of all variants to search, filter and sort; a row opens to its runs. For selected variants it shows
mean learning curves, the settings that differ, learning rates, figures per class, calibration, confusion matrices and
the most confident mistakes. Below are the paper's tables and figures for which there are records; every figure links to
its runs. The page's URL stores the selection.
"""

import os
import re
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from ulmfit_exp.cli import command, import_part, shell_command
from ulmfit_exp.common import DataError, counted, relative
from ulmfit_exp.record import variant_folder

OPENING = "table7"
"""The table whose reference and best other row the page opens with if all records are committed ones."""

if TYPE_CHECKING:
    from ulmfit_exp.results.page import Section

experiments = import_part("experiments")
paper = import_part("experiments.paper.tables")
DATA = import_part("experiments.paper.base").DATA


def sections(records: list[dict]) -> list["Section"]:
    """Return the paper's tables and figures that have records here, and the variants that the page opens with."""
    from ulmfit_exp.results.figures import svg
    from ulmfit_exp.results.page import LINK, Section

    made, known = [], [r for r in reversed(records) if _known(r)]  # of two with the same settings the last is used
    for name in paper.NAMES:
        if results := paper.recorded(name, known):
            text, figure = paper.rendered(name, results, LINK)
            text = re.sub(rf"\[([^]]+)\]\({LINK}/\.\.[^)]*\)", r"\1", text)  # figures that are not from records
            module = paper.module(name)
            rows = {variant_folder(r): c.row for c, r in results}
            opening = best(results, module.REFERENCE) if name == OPENING else ()
            made.append(Section(module.TITLE, text.partition("\n\n")[2], svg(figure, name), rows, opening))
    return made


def best(results: list[tuple], reference: str) -> tuple[str, ...]:
    """Return the folders of a table's reference and its other row with the lowest test error on the first data set."""
    from ulmfit_exp.results.figures import errors

    found = errors(results, "test")
    rows = found[found["data"] == found["data"][0]].groupby("row")
    places, means = rows["records"].first(), rows["error"].mean().sort_values()
    return tuple(places[row] for row in sorted(means.index, key=lambda row: row != reference)[:2])


def titles() -> dict[str, str]:
    """Return data set -> title, under the names that records use."""
    from ulmfit_exp.results.figures import title

    return {settings.dataset: title(data) for data, settings in DATA.items()} | {
        "sfu-category": "SFU category",
        "squad-answerable": "SQuAD answerable",
        **{f"dbpedia-l{i}": f"DBpedia long abstracts, level l{i}" for i in (1, 2, 3)},
    }


def _known(record: dict) -> bool:
    """Return whether this commit knows all settings of the record. Other records are listed, but are in no table."""
    try:
        return bool(experiments.settings_of(record))
    except DataError:
        return False


def main(
    folders: tyro.conf.Positional[tuple[Path, ...]] = (),
    out: Path = Path("report.html"),
    open: bool = False,
) -> None:
    """Write the page.

    Args:
        folders: Folders given as --home, or folders of records. Default: runs/ if it exists, and the committed records.
        out: File to write.
        open: Open the file in the browser.
    """
    folders = folders or tuple(f for f in (Path("runs"), relative(paper.RECORDS)) if f.is_dir())
    if absent := [f for f in folders if not f.is_dir()]:
        raise DataError(f"there is no folder {', '.join(map(str, absent))}")
    if out.is_dir() or not os.access(out.parent, os.W_OK):  # checked before the work, not after it
        raise DataError(f"--out {out} is a folder, or its folder does not exist or cannot be written; name another")

    from ulmfit_exp.results import page  # imported late: torch would slow down --help

    found, skipped = page.read(folders)
    for line in skipped:
        print(f"left out: {line}", file=sys.stderr)
    if not found:
        demo = f"{shell_command('ulmfit-exp')} demo"
        raise DataError(f"there is no record of a run in {', '.join(map(str, folders))}; to make one: {demo}")
    made = sections([record for _, record in found])
    out.write_text(
        page.page(found, made, titles(), f"{shell_command('ulmfit-exp')} reproduce", out.parent), encoding="utf-8"
    )
    print(f"{counted(len(found), 'run')}, {out.stat().st_size / 2**20:.1f} MB")
    print(out)
    if open:
        webbrowser.open(out.resolve().as_uri())


if __name__ == "__main__":
    command("report", main)
