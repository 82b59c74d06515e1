"""The README's results, made from the records in experiments/results/ and nothing else.

python scripts/results.py            rewrite what stands between README's two marks, and experiments/results/paper/
python scripts/results.py --check    exit 1 if the README differs from the records

A run's record comes there by hand: cp runs/runs/NAME/result.json experiments/results/NAME.json
"""

import json
import sys
import tempfile
from pathlib import Path

import tyro

from experiments.paper.__main__ import NAMES, cells, recorded, write
from experiments.paper.base import DATA
from ulmfit_exp.report import summary

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "experiments" / "results"
START, END = "<!-- results: made by scripts/results.py -->\n", "<!-- end of results -->"
MOST_SEEDS = 10
OWN_RUNS = ("table2", "table3", "directions")  # tables of the data sets' own runs, which the summary has too


def rebuilt(readme: str, folder: Path) -> str:
    """`readme` with the tables of the records between its two marks; the paper's tables and plots go to `folder`."""
    before, _, rest = readme.partition(START)
    _, _, after = rest.partition(END)
    texts, varied = [], set()
    for name in NAMES:
        results = recorded(cells(name, tuple(DATA), MOST_SEEDS), RESULTS)
        if results:
            plot = f"![{name}](experiments/results/paper/{name}.svg)"
            texts.append(f"##{write(name, results, folder)}\n{plot}\n\n`python -m experiments.paper {name}`\n")
            if name not in OWN_RUNS:
                varied |= {json.dumps(r) for _, r in results}
    records = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(RESULTS.glob("*.json"))]
    own = [r for r in records if json.dumps(r) not in varied or r["settings"]["recipe"]["direction"] == "both"]
    return before + START + "\n\n".join([summary(own), *texts]) + "\n" + END + after


def main(check: bool = False) -> None:
    """Rebuild the README's results table.

    Args:
        check: Only say whether the README is as the records make it.
    """
    readme = README.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as elsewhere:
        new = rebuilt(readme, Path(elsewhere) if check else RESULTS / "paper")
    if check and new != readme:
        sys.exit("README.md differs from the records: run python scripts/results.py")
    README.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
