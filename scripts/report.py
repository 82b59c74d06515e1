"""One HTML file in which runs are looked at and compared; it needs no network and nothing besides itself.

python scripts/report.py                       of runs/ and of the committed records
python scripts/report.py /data/runs --out report.html --open

Every run in a table to search, narrow down and sort; of the runs that are chosen there the learning curves, the rates,
the settings that differ, the confusion and the most confident mistakes; below, the paper's tables and figures that the
records make.
"""

import sys
import webbrowser
from pathlib import Path

import tyro

from experiments import settings_of
from experiments.paper.tables import NAMES, RECORDS, module, recorded, rendered
from ulmfit_exp.common import DataError
from ulmfit_exp.results import page
from ulmfit_exp.results.figures import svg


def sections(records: list[dict]) -> list[page.Section]:
    """The paper's tables and figures that these records make."""
    made, known = [], [r for r in records if _known(r)]
    for name in NAMES:
        if results := recorded(name, known):
            text, figure = rendered(name, results)
            made.append(page.Section(module(name).TITLE, text.partition("\n\n")[2], svg(figure, name)))
    return made


def _known(record: dict) -> bool:
    """Has this commit the settings of the record? Those of another one are listed, and are in no table."""
    try:
        return bool(settings_of(record))
    except DataError:
        return False


def main(
    folders: tyro.conf.Positional[tuple[Path, ...]] = (),
    out: Path = Path("report.html"),
    open: bool = False,
) -> None:
    """Write the page.

    Args:
        folders: Homes of runs, or folders of records (default: runs, where there is one, and the committed records).
        out: The file.
        open: Show it in the browser.
    """
    folders = folders or tuple(f for f in (Path("runs"), RECORDS) if f.is_dir())
    if absent := [f for f in folders if not f.is_dir()]:
        sys.exit(f"error: there is no folder {', '.join(map(str, absent))}")
    found, skipped = page.read(folders)
    for line in skipped:
        print(f"left out: {line}", file=sys.stderr)
    if not found:
        sys.exit(f"error: no record of a run in {', '.join(map(str, folders))}; make one: make demo")
    out.write_text(page.page(found, sections([record for _, record in found])), encoding="utf-8")
    print(f"{len(found)} runs, {out.stat().st_size / 2**20:.1f} MB")
    print(out)
    if open:
        webbrowser.open(out.resolve().as_uri())


if __name__ == "__main__":
    tyro.cli(main, description=__doc__, config=(tyro.conf.FlagCreatePairsOff,))
