"""Generate parts of README.md and docs/ from the committed records in experiments/results/."""

import ast
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pandas as pd

from experiments import RECORDS, settings_of
from experiments.paper import tables
from experiments.paper.base import replicates, with_recipe
from experiments.paper.tables import MOST_SEEDS, module
from ulmfit_exp.common import DataError, counted, relative, write_json
from ulmfit_exp.record import read, read_all, variant_folder
from ulmfit_exp.results.figures import SIGNIFICANCE, errors_with_baseline, significance_mark
from ulmfit_exp.results.statistics import p_against
from ulmfit_exp.results.tables import markdown, mean_sd, pretrained, summary
from ulmfit_exp.runs.settings import Cell

from . import claims

ROOT = Path(__file__).parents[1]
README, RESULTS, FINDINGS = ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "docs" / "findings.md"
CLAIMS = ROOT / "docs" / "claims"
START, END = "<!-- made by scripts/results.py -->\n", "<!-- end of what scripts/results.py made -->"
HEADLINE = {
    "TREC-6: type of question": replicates("trec", MOST_SEEDS, "default"),
    "IMDb: sentiment": replicates("imdb-full", MOST_SEEDS, "default"),
    "DBpedia ontology: 14 classes, 8,000 texts": replicates("dbpedia", MOST_SEEDS, "default"),
    "… with 100 labels, recipe `lp-ft`": [
        replace(run, train_size=100) for run in replicates("dbpedia", MOST_SEEDS, "lp-ft")
    ],
    "AG News: 4 classes, 5,040 texts": replicates("ag_news", MOST_SEEDS, "default"),
    "SQuAD: which of 35 articles": replicates("squad", MOST_SEEDS, "default"),
    "SFU reviews: sentiment, recipe `lp-ft`": replicates("sfu", MOST_SEEDS, "lp-ft"),
    "… from `reviews-small`": [
        with_recipe(replace(run, seed=seed), pretrained="reviews-small")
        for seed in range(2)
        for run in replicates("sfu", MOST_SEEDS, "lp-ft")
    ],
}
"""Rows of README's table -> the runs whose records are averaged in the row."""
COMPARED = (
    ("dbpedia-ontology/default", "dbpedia-ontology/scratch"),
    ("dbpedia-ontology/lp-ft-100-labels", "dbpedia-ontology/scratch-100-labels-clas.min_steps=400"),
    ("dbpedia-ontology/lp-ft-100-labels", "dbpedia-ontology/default-100-labels"),
    ("dbpedia-ontology/lp-ft-100-labels", "dbpedia-ontology/default-100-labels-head=features"),
    ("squad-topic/default", "squad-topic/scratch-forward"),
    ("sfu-sentiment/default", "sfu-sentiment/default-pretrained=reviews-small"),
    ("sfu-sentiment/default-pretrained=reviews-small", "sfu-sentiment/lp-ft-pretrained=reviews-small"),
    ("sfu-sentiment/lp-ft", "sfu-sentiment/lp-ft-pretrained=reviews-small"),
    ("sfu-sentiment/lp-ft", "sfu-sentiment/default"),
)
"""Pairs of record folders that docs/findings.md compares and no other table does."""
NOT_IN_TABLES = (
    "One row per variant; runs in one direction or with few labels that belong to a table or figure below are left "
    'out. The test error is in %. Where the variant has "features", it is that of logistic regression on the states '
    "of the language model."
)
OTHER = (
    "Pairs of variants that [findings.md](findings.md) compares and that are in no table of the paper. The figures are "
    "test errors in %, of the forward classifiers if one of the two has no others. \\* marks a significant difference, "
    "tested as in the tables below."
)
FIGURE = re.compile(r"(?<!Python )(?<![\d.])\d+\.\d\d(?!\d)(?: ± \d+\.\d\d)?")
NOTE = re.compile(r"\[([^][]*)\]\(([^)\s]*notes/[^)\s]*)\)")
FROM_DOCS = "../experiments/results"
WITHOUT_RECORDS = ("own_csv", "pretrain")
"""Experiments without committed records; their figures are only in their notes."""


def rebuilt(plots: bool = True) -> dict[Path, str]:
    """Return path -> text of the files that are generated or have a generated part, with or without the plots."""
    records = tables.committed()
    grids = {name: results for name in tables.NAMES if (results := tables.recorded(name, records))}
    made = {README: filled(README, headline(records)), RESULTS: filled(RESULTS, overview(records, grids))}
    made |= {CLAIMS / page: text for page, text in claims.pages(grids).items()}
    for name, results in grids.items():
        made |= {RECORDS / "paper" / file: text for file, text in tables.files(name, results, "..", plots).items()}
    return made


def filled(path: Path, made: str) -> str:
    """Return the file's text with `made` between its two marks."""
    before, _, rest = path.read_text(encoding="utf-8").partition(START)
    return before + START + made + "\n" + END + rest.partition(END)[2]


def headline(records: list[dict]) -> str:
    """Return README's table."""
    cells = [Cell("ULMFiT", data, run.replicate, run) for data, runs in HEADLINE.items() for run in runs]
    results = tables.with_records(cells, records)
    found, rows = errors_with_baseline(results), []
    p = p_against(found, "ULMFiT")
    for data, errors in found.groupby("data", sort=False):
        runs = [record for cell, record in results if cell.data == data]
        rows.append(row(data, runs, errors, p[data, runs[0]["baseline"]["method"]]))
    return markdown(pd.DataFrame(rows))


def row(data: str, records: list[dict], errors: pd.DataFrame, p: float) -> dict:
    """Return a row of README's table: test error of ULMFiT, the baseline and the paper, the lower of ours in bold."""
    folds, seeds = len({r["corpus"]["name"] for r in records}), len({r["seed"] for r in records})
    counts = [counted(n, what) for n, what in ((folds, "fold"), (seeds, "seed")) if n > 1]
    ours, baseline = (part for _, part in errors.set_index("replicate").groupby("row", sort=False)["error"])
    methods = {"ULMFiT": ours, "TF-IDF + LR": baseline}
    best = min(methods, key=lambda method: methods[method].mean())
    of_paper = None if records[0]["settings"]["train_size"] else records[0]["paper"]
    minutes = [sum(s["seconds"] for s in r["stages"]) / 60 for r in records]
    one_machine = max(minutes) < 2 * min(minutes)
    return {
        "data set": f"[{data}](experiments/results/{variant_folder(records[0])})",
        "language model": pretrained(records[0]).partition(", ")[2],
        "runs": ", ".join(counts) or counted(1, "seed"),
        **{m: f"**{mean_sd(e)}**{significance_mark(p)}" if m == best else mean_sd(e) for m, e in methods.items()},
        "the paper": "" if of_paper is None else f"{of_paper:.2f}",
        "minutes per run": f"{mean(minutes):.0f}" if one_machine else f"{min(minutes):.0f} to {max(minutes):.0f}",
    }


def overview(records: list[dict], grids: dict[str, list[tuple]]) -> str:
    """Return the generated part of docs/results.md: a row per variant, and short forms of the tables and figures."""
    parts = [
        f"## Runs of each data set\n\n{NOT_IN_TABLES}\n\n{summary(tables.not_varied(records), FROM_DOCS)}",
        f"## Other comparisons\n\n{OTHER}\n\n{comparisons(records)}",
        f"## The paper's tables and figures\n\n{SIGNIFICANCE}",
    ]
    return "\n\n".join([*parts, *(brief(name, results) for name, results in grids.items())])


def comparisons(records: list[dict]) -> str:
    """Return the test errors of the pairs in `COMPARED`, of the forward classifiers if one of a pair has no other."""
    groups, rows, table = {}, [], []
    for record in sorted(records, key=lambda r: r["replicate"]):
        groups.setdefault(variant_folder(record), []).append(record)
    for pair in COMPARED:
        forward = any(len(r["directions"]) == 1 for variant in pair for r in groups[variant])
        rows += [(i, pair, r["replicate"], _error(r, forward)) for i, v in enumerate(pair) for r in groups[v]]
    found = pd.DataFrame(rows, columns=["row", "data", "replicate", "error"])
    p = p_against(found, 0)
    for pair, errors in found.groupby("data", sort=False):
        variants = {f"variant {i}": f"[{variant}]({FROM_DOCS}/{variant})" for i, variant in enumerate(pair, 1)}
        first, second = (mean_sd(runs) for _, runs in errors.set_index("replicate").groupby("row")["error"])
        table.append({**variants, "error of 1": first, "error of 2": second + significance_mark(p[pair, 1])})
    return markdown(pd.DataFrame(table))


def _error(record: dict, forward: bool) -> float:
    """Return the test error in %, with `forward` that of the forward classifier alone."""
    return 100 * (record["directions"]["forward"] if forward else record)["test"]["error"]


def brief(name: str, results: list[tuple]) -> str:
    """Return a table or figure in short: its description, tables and plot, and a link to the rest."""
    about, file = module(name).__doc__.strip().partition("\n\n")[0], f"{FROM_DOCS}/paper/{name}"
    table = tables.drawn(name, results, FROM_DOCS)[0].replace(f"\n{SIGNIFICANCE}\n", "").strip()
    models = tables.models_line(results)
    return (
        f"### {module(name).TITLE}\n\n{about}\n\n{table}\n\n{models}\n\n![{name}]({file}.svg)\n\n"
        f"`{tables.command_line(name, results)}`. Differences from the paper, and run times: [{name}.md]({file}.md)"
    )


def stale() -> list[str]:
    """Return a line for each file or figure that differs from the records."""
    texts = rebuilt(plots=False)  # they differ between versions
    kept = {path: path.read_text("utf-8") for path in {*texts, *CLAIMS.glob("*")} if path.is_file()}
    lines = [f"{p.relative_to(ROOT)} differs" for p in sorted(texts | kept) if texts.get(p) != kept.get(p)]
    known = "".join(texts.values())
    for path, text in hand_written().items():
        lines += [f"{path.relative_to(ROOT)}: no table has {f}" for f in unsupported(text, known, path.parent)]
    return lines


def hand_written() -> dict[Path, str]:
    """Return the texts whose figures are checked: README, the findings, and the lab records (docstrings)."""
    modules = [p for p in ROOT.glob("experiments/*.py") if p.stem not in WITHOUT_RECORDS]
    records = {p: ast.get_docstring(ast.parse(p.read_text("utf-8"))) or "" for p in sorted(modules)}
    return {p: p.read_text("utf-8") for p in (README, FINDINGS)} | records


def unsupported(text: str, known: str, folder: Path) -> list[str]:
    """Return the figures with two decimals in `text` that no table in `known` has, in full or as a mean alone.

    Figures in the text of a link to a note must be in that note instead; links are relative to `folder`.
    """
    text, figures = " ".join(text.split()), set(FIGURE.findall(known))
    figures |= {figure.partition(" ")[0] for figure in figures}
    missing = [figure for figure in FIGURE.findall(NOTE.sub("", text)) if figure not in figures]
    for linked, target in NOTE.findall(text):
        note = folder / target.partition("#")[0]
        missing += [figure for figure in FIGURE.findall(linked) if figure not in note.read_text(encoding="utf-8")]
    return missing


def rewrite() -> None:
    """Rewrite the generated files and parts, and delete pages of former claims."""
    made = rebuilt()
    for page in set(CLAIMS.glob("*.md")) - made.keys():
        page.unlink()
    for path, text in made.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def take_in(runs: Iterable[Path]) -> None:
    """Add the records of runs to the committed ones. Each replaces the one of the same data set, variant and seed or
    fold, and one of the same settings in another variant. Raises `DataError` for a run on bundled texts."""
    kept = {settings_of(record, precision="auto"): path for path, record in read_all([RECORDS])[0]}
    for run, record in [(run, read(run)) for run in runs]:
        if record["settings"].get("miniature"):
            raise DataError(f"{run} is a run on bundled texts (--miniature), whose records are not committed")
        target = RECORDS / variant_folder(record) / f"{record['replicate']}.json"
        former = kept.get(settings_of(record, precision="auto"), target)
        print(f"{'replaced' if former.exists() else 'added'} {relative(former)}", flush=True)
        former.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_json(target, record)
