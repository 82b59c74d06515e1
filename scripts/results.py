"""The README's results table, made from the records in experiments/results/ and nothing else.

python scripts/results.py            rewrite the table between README's two marks
python scripts/results.py --check    exit 1 if the README differs from the records

A run's record comes there by hand: cp runs/runs/NAME/result.json experiments/results/NAME.json
"""

import json
import sys
from pathlib import Path

import tyro

from ulmfit_exp.report import summary

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
START, END = "<!-- results: made by scripts/results.py -->\n", "<!-- end of results -->"


def rebuilt(readme: str, records: list[dict]) -> str:
    """`readme` with the table of these records between its two marks."""
    before, _, rest = readme.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}{summary(records)}\n{END}{after}"


def main(check: bool = False) -> None:
    """Rebuild the README's results table.

    Args:
        check: Only say whether the README is as the records make it.
    """
    records = [json.loads(p.read_text()) for p in sorted((ROOT / "experiments" / "results").glob("*.json"))]
    readme = README.read_text()
    new = rebuilt(readme, records)
    if check and new != readme:
        sys.exit("README.md differs from the records: run python scripts/results.py")
    README.write_text(new)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
