"""Write the generated parts of README.md and docs/ from the committed records in experiments/results/.

    ulmfit-exp results            rewrite README's table, docs/results.md and experiments/results/paper/
    ulmfit-exp results --check    exit with 1 if one of them, or a figure in hand-written text, differs from records
    ulmfit-exp results --add runs/runs/NAME ...    add the records of these runs first

Works in a checkout of the project.
"""

import ast
import re
import sys
import tempfile
from dataclasses import replace
from filecmp import cmp
from pathlib import Path
from statistics import mean

from ulmfit_exp.cli import INSTALLED, ROOT, command, part, typed
from ulmfit_exp.common import write_json
from ulmfit_exp.record import folder_of, read

experiments, paper = part("experiments"), part("experiments.paper.tables")
replicates, MOST_SEEDS, RECORDS = part("experiments.paper.base").replicates, paper.MOST_SEEDS, paper.RECORDS
README, RESULTS, FINDINGS = ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "docs" / "findings.md"
START, END = "<!-- made by scripts/results.py -->\n", "<!-- end of what scripts/results.py made -->"
HEADLINE = {
    "TREC-6: type of question": replicates("trec", MOST_SEEDS),
    "IMDb: sentiment": replicates("imdb-full", MOST_SEEDS),
    "DBpedia ontology: 14 classes, 8,000 texts": replicates("dbpedia", MOST_SEEDS),
    "… with 100 labels": [replace(run, train_size=100) for run in replicates("dbpedia", MOST_SEEDS, "few")],
    "SQuAD: which of 35 articles": replicates("squad", MOST_SEEDS),
    "SFU reviews: sentiment": replicates("sfu", MOST_SEEDS),
}
"""The rows of README's table: the runs whose records each is the mean of."""
FIGURE = re.compile(r"(?<!Python )(?<![\d.])\d+\.\d\d(?!\d)(?: ± \d+\.\d\d)?")
NOTE = re.compile(r"\[([^][]*)\]\(([^)\s]*notes/[^)\s]*)\)")
NO_RECORDS = ("own_csv", "pretrain")
"""Experiments without committed records, whose figures are in their notes alone."""


def rebuilt(folder: Path) -> dict[Path, str]:
    """The files with a generated part, as the records make them; the paper's tables and plots go to `folder`."""
    records = paper.committed(RECORDS)
    return {README: filled(README, headline(records)), RESULTS: filled(RESULTS, tables(records, folder))}


def filled(path: Path, made: str) -> str:
    """The file's text with `made` between its two marks."""
    before, _, rest = path.read_text(encoding="utf-8").partition(START)
    return before + START + made + "\n" + END + rest.partition(END)[2]


def headline(records: list[dict]) -> str:
    """README's table."""
    import pandas as pd

    from ulmfit_exp.results.tables import markdown

    by_settings = {experiments.settings_of(r, precision="auto"): r for r in records}
    found = {data: [by_settings[run] for run in runs if run in by_settings] for data, runs in HEADLINE.items()}
    return markdown(pd.DataFrame([row(data, runs) for data, runs in found.items() if runs]))


def row(data: str, records: list[dict]) -> dict:
    """A row of README's table: test error of ULMFiT, of the baseline and in the paper; the lower of ours in bold."""
    from ulmfit_exp.results.tables import spread

    folds = len({r["corpus"]["name"] for r in records}) > 1
    errors = {
        "ULMFiT": [100 * r["test"]["error"] for r in records],
        "TF-IDF + LR": [100 * r["baseline"]["error"] for r in records],
    }
    best = min(errors, key=lambda method: mean(errors[method]))
    of_paper = None if records[0]["settings"]["train_size"] else records[0]["paper"]
    return {
        "data set": data,
        "runs": f"{len(records)} {'fold' if folds else 'seed'}{'s' * (len(records) > 1)}",
        **{method: f"**{spread(e)}**" if method == best else spread(e) for method, e in errors.items()},
        "the paper": "" if of_paper is None else f"{of_paper:.2f}",
        "minutes per run": f"{mean(sum(s['seconds'] for s in r['stages']) for r in records) / 60:.0f}",
    }


def tables(records: list[dict], folder: Path) -> str:
    """docs/results.md: a row for each recipe on each data set, and the paper's tables and figures in short."""
    from ulmfit_exp.results.figures import SIGNIFICANCE
    from ulmfit_exp.results.tables import summary

    texts = []
    for name in paper.NAMES:
        if results := paper.recorded(name, records):
            paper.write(name, results, folder)
            texts.append(brief(name, results))
    heading = f"## The paper's tables and figures\n\n{SIGNIFICANCE}"
    return "\n\n".join(["## All recipes", summary(paper.own(records)), heading, *texts])


def brief(name: str, results: list[tuple]) -> str:
    """A table or figure in short: what it is, its first table, its plot, and a link to the rest."""
    from ulmfit_exp.results.figures import SIGNIFICANCE

    module, file = paper.module(name), f"../experiments/results/paper/{name}"
    about = module.__doc__.strip().partition("\n\n")[0]
    table = module.render(results)[0].partition(SIGNIFICANCE)[0].strip()
    return (
        f"### {module.TITLE}\n\n{about}\n\n{table}\n\n![{name}]({file}.svg)\n\n"
        f"`python -m experiments.paper {name}`. Differences from the paper, and run times: [{name}.md]({file}.md)"
    )


def stale() -> list[str]:
    """What differs from the records, a line each."""
    with tempfile.TemporaryDirectory() as folder:
        texts, paper = rebuilt(Path(folder)), sorted(Path(folder).glob("*.md"))
        lines = [f"{path.relative_to(ROOT)} differs" for path in texts if path.read_text("utf-8") != texts[path]]
        for made in paper:
            kept = RECORDS / "paper" / made.name
            if not kept.is_file() or not cmp(made, kept, shallow=False):
                lines.append(f"{kept.relative_to(ROOT)} differs")
        known = texts[RESULTS] + "".join(made.read_text("utf-8") for made in paper)
    for path, text in hand_written().items():
        lines += [f"{path.relative_to(ROOT)}: no table has {f}" for f in unsupported(text, known, path.parent)]
    return lines


def hand_written() -> dict[Path, str]:
    """The texts whose figures are checked: README, the findings, and the lab records, which are docstrings."""
    modules = [p for p in ROOT.glob("experiments/*.py") if p.stem not in NO_RECORDS]
    records = {p: ast.get_docstring(ast.parse(p.read_text("utf-8"))) or "" for p in sorted(modules)}
    return {p: p.read_text("utf-8") for p in (README, FINDINGS)} | records


def unsupported(text: str, known: str, folder: Path) -> list[str]:
    """The figures with two decimals in `text` that are in no table of `known`, neither in full nor as a mean alone.

    Figures in a link to a note have to be in that note instead; `folder` is the one that links start from.
    """
    figures = set(FIGURE.findall(known))
    figures |= {figure.partition(" ")[0] for figure in figures}
    missing = [figure for figure in FIGURE.findall(NOTE.sub("", text)) if figure not in figures]
    for linked, target in NOTE.findall(text):
        note = folder / target.partition("#")[0]
        missing += [figure for figure in FIGURE.findall(linked) if figure not in note.read_text(encoding="utf-8")]
    return missing


def take_in(run: Path) -> None:
    """Put a run's record among the committed ones, in the place of an older one of the same data set and variant."""
    record = read(run)
    target = RECORDS / folder_of(record)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_json(target, record)


def main(check: bool = False, add: tuple[Path, ...] = ()) -> None:
    """Rebuild the results.

    Args:
        check: Change nothing; only report what differs from the records.
        add: Folders of finished runs whose records are to be added to the committed ones.
    """
    if INSTALLED:
        sys.exit("error: results works in a checkout of the project, whose README.md and docs/ it writes")
    for run in add:
        take_in(run)
    if not check:
        for path, text in rebuilt(RECORDS / "paper").items():
            path.write_text(text, encoding="utf-8")
    elif lines := stale():
        sys.exit("\n".join([*lines, f"run {typed('ulmfit-exp')} results, and correct the text where a figure changed"]))


if __name__ == "__main__":
    command("results", main)
