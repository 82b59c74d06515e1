"""The README's results, made from the records in experiments/results/ and nothing else.

python scripts/results.py            rewrite what stands between README's two marks, and experiments/results/paper/
python scripts/results.py --check    exit 1 if the README differs from the records, its findings' figures too

python scripts/results.py --add runs/runs/NAME ...    take in the records of runs before
"""

import re
import sys
import tempfile
from filecmp import cmp
from pathlib import Path

import tyro

from experiments.paper.__main__ import NAMES, RECORDS, committed, module, own, recorded, write
from ulmfit_exp.common import write_json
from ulmfit_exp.record import folder_of, read
from ulmfit_exp.results.figures import SIGNIFICANCE
from ulmfit_exp.results.tables import summary

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
START, END = "<!-- results: made by scripts/results.py -->\n", "<!-- end of results -->"


def rebuilt(readme: str, folder: Path) -> str:
    """`readme` with the tables of the records between its two marks; the paper's tables and plots go to `folder`."""
    before, _, rest = readme.partition(START)
    _, _, after = rest.partition(END)
    texts, records = [], committed(RECORDS)
    for name in NAMES:
        if results := recorded(name, records):
            write(name, results, folder)
            texts.append(brief(name, results))
    return (
        before
        + START
        + "\n\n".join([summary(own(records)), f"#### The paper's tables and figures\n\n{SIGNIFICANCE}", *texts])
        + END
        + after
    )


def brief(name: str, results: list[tuple]) -> str:
    """A table or figure in short: what it is, its first table, its plot, and where the rest stands."""
    about, where = module(name).__doc__.strip().partition("\n\n")[0], f"experiments/results/paper/{name}"
    table = module(name).render(results)[0].partition(SIGNIFICANCE)[0].strip()
    return (
        f"#### {module(name).TITLE}\n\n{about}\n\n{table}\n\n![{name}]({where}.svg)\n\n"
        f"`python -m experiments.paper {name}`; what differs from the paper, and the cost: [{name}.md]({where}.md)\n"
    )


def unsupported(readme: str, folder: Path) -> list[str]:
    """The figures "mean ± deviation" of the README's findings that stand in no table made from the records."""
    written, _, rest = readme.partition(START)
    findings = written.partition("### Findings")[2]
    made = rest.partition(END)[0] + "".join(p.read_text(encoding="utf-8") for p in folder.glob("*.md"))
    return [figure for figure in re.findall(r"\d+\.\d+ ± \d+\.\d+", findings) if figure not in made]


def take_in(run: Path) -> None:
    """Put a run's record among the committed ones, in the place of an older one of the same data set and variant."""
    record = read(run)
    target = RECORDS / folder_of(record)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_json(target, record)


def main(check: bool = False, add: tuple[Path, ...] = ()) -> None:
    """Rebuild the README's results.

    Args:
        check: Only say whether the README, and the paper's tables and plots, are as the records make them.
        add: Folders of finished runs, whose records are to be committed.
    """
    for run in add:
        take_in(run)
    readme, folder = README.read_text(encoding="utf-8"), RECORDS / "paper"
    if not check:
        README.write_text(rebuilt(readme, folder), encoding="utf-8")
        return
    with tempfile.TemporaryDirectory() as elsewhere:
        if rebuilt(readme, Path(elsewhere)) != readme:
            sys.exit("README.md differs from the records: run python scripts/results.py")
        for made in Path(elsewhere).glob("*.md"):
            if not (folder / made.name).is_file() or not cmp(made, folder / made.name, shallow=False):
                sys.exit(f"{folder / made.name} differs from the records: run python scripts/results.py")
    if wrong := unsupported(readme, folder):
        sys.exit(f"README.md, findings: no table of the records has {', '.join(wrong)}")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
