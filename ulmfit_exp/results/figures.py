"""Make Markdown tables and plots from the records of a grid.

The figures in a table link to the folder of their records, DATASET/VARIANT, relative to that of all committed records.
"""

import io
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from ..common import counted
from ..record import cost, variant_folder
from ..runs.grid import duration
from ..runs.settings import Cell
from .statistics import ALPHA, FEWEST, p_against
from .tables import markdown, mean_sd

Results = list[tuple[Cell, dict]]
"""The finished cells with their records."""
TITLES = {
    "imdb": "IMDb, a fifth",
    "imdb-full": "IMDb",
    "trec": "TREC-6",
    "sfu": "SFU sentiment",
    "dbpedia": "DBpedia",
    "squad": "SQuAD topic",
    "ag_news": "AG News",
    "yelp-polarity": "Yelp polarity",
    "yelp-full": "Yelp full",
}
"""Titles of data sets; one that is not listed is shown under its own name."""
COLUMNS = ["row", "data", "replicate", "error", "records"]
SIGNIFICANCE = (
    f"\\* significantly different from the reference in bold: two-sided paired t-test over at least {FEWEST} seeds, "
    f"folds or draws, p < {ALPHA} after Holm's correction for all comparisons in the table. Over folds p is too small, "
    "because their training texts overlap."
)
UNTESTED = (
    "Not tested: rows with early stopping choose their epoch on the same validation texts, so their validation errors "
    "are optimistic."
)
OURS, THEIRS = "#1f77b4", "#d62728"


def title(data: str) -> str:
    """Return the title of a data set."""
    return TITLES.get(data, data)


def measure_cells(results: Results, measure: Callable, parts: Callable = lambda cell, record: {}) -> pd.DataFrame:
    """Return `measure` of each cell's record, and of its `parts` (row -> part), with `COLUMNS` and the labels."""
    rows = [
        (row, c.data, c.replicate, measure(part), variant_folder(r), r["corpus"]["rows"]["train"])
        for c, r in results
        for row, part in ({c.row: r} | parts(c, r)).items()
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, "labels"])


def errors(results: Results, split: str, *parts: Callable) -> pd.DataFrame:
    """Return the error in % of each cell and of its `parts`, in the columns of `measure_cells`."""
    return measure_cells(results, lambda r: 100 * r[split]["error"], *parts)


def test_errors(results: Results, reference: str) -> pd.DataFrame:
    """Return each cell's test error in %; for the row `reference` also that of each direction and of the baseline."""

    def parts(cell: Cell, r: dict) -> dict[str, dict]:
        alone = {f"{direction} alone": part for direction, part in r["directions"].items()}
        return alone | _baseline(cell, r) if cell.row == reference else {}

    return errors(results, "test", parts)


def errors_with_baseline(results: Results) -> pd.DataFrame:
    """Return the test error in % of each cell and of its baseline, without duplicates."""
    return errors(results, "test", _baseline).drop_duplicates(["data", "labels", "replicate", "row"])


def _baseline(_: Cell, record: dict) -> dict[str, dict]:
    return {record["baseline"]["method"]: {"test": record["baseline"]}}


def curve(record: dict) -> pd.Series:
    """Return the validation error in % of the forward classifier after each epoch."""
    return 100 * pd.Series([epoch["valid_error_rate"] for epoch in record["history"]["clas forward"]])


def ablation(
    found: pd.DataFrame,
    paper: dict,
    reference: str,
    what: str = "validation",
    test: pd.DataFrame | None = None,
    tested: bool = True,
) -> tuple[str, Figure]:
    """Tabulate and plot rows by data set: our mean, deviation and n, the paper's figure, and what is significant.

    `found` is a table from `errors`; `paper` is data -> row -> error in %; `reference` is the row that the others are
    compared with. The plot also marks the mean of `test`, the test errors of the same runs.
    """
    columns = found["data"].unique()
    published = [row for data in columns for row in paper.get(data, {})]
    fullest = found.groupby("data")["row"].nunique().idxmax()  # a row of one data set keeps its place
    order = list(dict.fromkeys([*found["row"][found["data"] == fullest], *found["row"], *published]))
    p = p_against(found, reference) if tested else {}
    table = {"": [f"**{row}**" if row == reference else row for row in order]}
    for data in columns:
        part = found[found["data"] == data]
        n = part["replicate"].nunique()
        table[f"{title(data)} (n = {n})"] = [_cell(part[part["row"] == row], n, p.get((data, row))) for row in order]
        if theirs := paper.get(data):
            table[f"{title(data)}, the paper"] = [f"{theirs[row]:.2f}" if row in theirs else "" for row in order]
    text = f"{what.capitalize()} error in %, mean ± standard deviation over seeds or folds.\n\n"
    text += f"{markdown(pd.DataFrame(table))}\n\n{SIGNIFICANCE if tested else UNTESTED}\n"
    return text, _dots(found, paper, order, columns, what, test)


def both_errors(results: Results, paper: dict, reference: str, best: str = "") -> tuple[str, Figure]:
    """Make the `ablation` of the validation error, as in the paper's analyses, and add the same runs' test error.

    The row `best` has the error of the best epoch of the row `reference`. Validation errors are not tested if any row
    chooses its epoch by them.
    """
    valid, test = errors(results, "valid"), errors(results, "test")
    if best:
        lowest = measure_cells([(c, r) for c, r in results if c.row == reference], lambda r: curve(r).min())
        valid = pd.concat([valid, lowest.assign(row=best)])
    recipes = [c.settings.recipe for c, _ in results]
    chosen = any(task.patience is not None for recipe in recipes for task in (recipe.lm, recipe.clas))
    text, figure = ablation(valid, paper, reference, test=test, tested=not chosen)
    return f"{text}\n{ablation(test, {}, reference, 'test')[0]}", figure


def _cell(runs: pd.DataFrame, n: int, p: float | None) -> str:
    """Return a row's mean ± deviation on a data set, its mark, and the number of runs if it is less than `n`."""
    if runs.empty:
        return ""
    few = f" (n = {len(runs)})" if len(runs) < n else ""
    return f"[{mean_sd(runs.set_index('replicate')['error'])}]({runs['records'].iloc[0]}){significance_mark(p)}{few}"


def significance_mark(p: float | None) -> str:
    """Return the mark of a significant difference, or nothing; p is NaN or None if there is no test."""
    return "\\*" if p is not None and p < ALPHA else ""


def _dots(found: pd.DataFrame, paper: dict, order, columns, what: str, test: pd.DataFrame | None) -> Figure:
    """Plot a panel per data set: each run, the mean with its deviation, the mean on test, and the paper's figure."""
    figure = Figure(figsize=(1.8 + 3 * len(columns), 1.1 + 0.32 * len(order)), layout="constrained")
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    place = {row: -i for i, row in enumerate(order)}
    for panel, data in zip(panels, columns):
        part = found[found["data"] == data]
        panel.plot(part["error"], part["row"].map(place), ".", color=OURS, alpha=0.35)
        stats = part.groupby("row")["error"].agg(["mean", "std"]).fillna(0)
        panel.errorbar(stats["mean"], stats.index.map(place), xerr=stats["std"], fmt="o", color=OURS, label="ours")
        if test is not None:
            means = test[test["data"] == data].groupby("row")["error"].mean()
            panel.plot(means, means.index.map(place), "|", ms=11, mew=2, color="0.4", label="ours on test")
        if theirs := {r: e for r, e in paper.get(data, {}).items() if r in place}:
            panel.plot([*theirs.values()], [*map(place.get, theirs)], "D", mfc="none", color=THEIRS, label="the paper")
        panel.set(title=title(data), xlabel=f"{what} error, %")
        panel.grid(axis="x", alpha=0.3)
    panels[0].set(yticks=list(place.values()), yticklabels=list(place), ylim=(0.5 - len(order), 0.5))
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    """Add a legend with each name once, below the panels so that it hides nothing."""
    handles = {name: handle for p in figure.axes for handle, name in zip(*p.get_legend_handles_labels())}
    columns = min(4, 2 * len(figure.axes))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=columns, fontsize="small")


def by_labels(found: pd.DataFrame, ours: str, theirs: str) -> tuple[str, Figure]:
    """Plot and tabulate the test error by number of labels, a line per row, a panel per data set (paper, figure 3).

    `found` is a table from `errors_with_baseline`. The Markdown table has `ours` in bold, and says how many times as
    many labels `theirs` needs for the same errors.
    """
    columns = found["data"].unique()
    figure = Figure(figsize=(1 + 3.4 * len(columns), 3.4), layout="constrained")
    text = (
        "Test error in % by number of labelled texts, mean ± standard deviation over seeds, folds or draws. "
        f"The reference is {ours}. The last column says how many times as many labels {theirs} needs for the error of "
        f"{ours}, interpolated on its line.\n"
    )
    for panel, data in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns):
        part = found[found["data"] == data]
        for i, row in enumerate(found["row"].unique()):
            stats = part[part["row"] == row].groupby("labels")["error"].agg(["mean", "std"]).fillna(0)
            panel.errorbar(stats.index, stats["mean"], yerr=stats["std"], fmt=".-", color=f"C{i}", label=row)
        panel.set(title=title(data), xscale="log", xlabel="labelled texts", ylabel="test error, %")
        panel.set_xticks(part["labels"].unique(), map("{:,}".format, part["labels"].unique()))
        panel.minorticks_off()
        panel.grid(alpha=0.3)
        text += f"\n{title(data)} (n = {part['replicate'].nunique()})\n\n{_table_by_labels(part, ours, theirs)}\n"
    _legend(figure)
    return f"{text}\n{SIGNIFICANCE}\n", figure


def _table_by_labels(part: pd.DataFrame, ours: str, theirs: str) -> str:
    """Return the table of one data set for `by_labels`."""
    p = p_against(part.assign(data=part["labels"]), ours)
    n = part["replicate"].nunique()
    lines = {}
    for row, line in part.groupby("row", sort=False):
        cells = {labels: _cell(runs, n, p.get((labels, row))) for labels, runs in line.groupby("labels")}
        lines[f"**{row}**" if row == ours else row] = cells
    means = part.pivot_table("error", "labels", "row")
    if {ours, theirs} <= set(means):
        lines[f"{theirs} needs"] = labels_needed(means[ours], means[theirs])
    return markdown(pd.DataFrame(lines).sort_index().fillna("").rename_axis("labels").reset_index())


def labels_needed(ours: pd.Series, theirs: pd.Series) -> pd.Series:
    """Return how many times as many labels `theirs` needs for the errors of `ours`, both indexed by labels.

    Interpolated linearly between the points of `theirs`, over the logarithm of the labels; absent beyond the last one.
    """
    theirs = theirs.dropna().cummin()[::-1]

    def times(labels: int, error: float) -> str:
        beyond = ">" if error < theirs.iloc[0] else "<" if error > theirs.iloc[-1] else ""
        return f"{beyond} {math.exp(np.interp(error, theirs, np.log(theirs.index))) / labels:.1f} ×".strip()

    return pd.Series({labels: times(labels, error) for labels, error in ours.dropna().loc[: theirs.index[0]].items()})


BY_EPOCH = {
    "best epoch": lambda r: curve(r).min(),
    "last epoch": lambda r: curve(r).iloc[-1],
    "rise since the best": lambda r: curve(r).iloc[-1] - curve(r).min(),
    "test": lambda r: 100 * r["test"]["error"],
}


def by_epoch(results: Results, reference: str) -> tuple[str, Figure]:
    """Plot and tabulate validation error by classifier epoch, a line per row, a panel per data set (paper, figure 4).

    The table also has the test error after the last epoch. Figures that depend on the best epoch are not tested,
    because that epoch is chosen on the same validation texts.
    """
    columns = list(dict.fromkeys(c.data for c, _ in results))
    figure = Figure(figsize=(1 + 3.4 * len(columns), 3.4), layout="constrained")
    for panel, data in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns):
        for i, row in enumerate(dict.fromkeys(c.row for c, _ in results)):
            curves = pd.DataFrame([curve(r) for c, r in results if (c.row, c.data) == (row, data)]).T
            if curves.empty:
                continue
            mean, sd, colour = curves.mean(axis=1), curves.std(axis=1), f"C{i}"
            panel.errorbar(curves.index + 1, mean, yerr=sd, color=colour, label=row, capsize=2)
            panel.plot(curves.index + 1, curves, color=colour, alpha=0.25, lw=0.7)
        panel.set(title=title(data), xlabel="epoch", ylabel="validation error, %")
        panel.grid(alpha=0.3)
    _legend(figure)
    head = (
        "Validation error of the classifier by epoch, and test error after the last epoch, in %, mean ± standard "
        "deviation over seeds or folds. The errors of the last epoch and the test errors are tested.\n\n"
    )
    return f"{head}{_table_by_epoch(results, reference)}\n\n{SIGNIFICANCE}\n", figure


def errors_by_epoch(results: Results) -> pd.DataFrame:
    """Return each cell's validation and test error in % after the last epoch, which are the ones `by_epoch` tests."""
    tested = {name: measure_cells(results, BY_EPOCH[name]) for name in ("last epoch", "test")}
    return pd.concat([part.assign(data=part["data"] + f", {name}") for name, part in tested.items()])


def _table_by_epoch(results: Results, reference: str) -> str:
    """Return the table of `by_epoch`."""
    found = {name: measure_cells(results, measure) for name, measure in BY_EPOCH.items()}
    p, table = p_against(errors_by_epoch(results), reference), []
    for data, row in dict.fromkeys((c.data, c.row) for c, _ in results):
        runs = {name: part[(part["data"] == data) & (part["row"] == row)] for name, part in found.items()}
        cells = {name: _cell(part, 0, p.get((f"{data}, {name}", row))) for name, part in runs.items()}
        named = f"**{row}**" if row == reference else row
        table.append({"data": title(data), "": named, "n": len(runs["test"]), **cells})
    return markdown(pd.DataFrame(table))


def cost_line(results: Results) -> str:
    """Return a sentence on the time that the runs took, and would have taken without shared stages."""
    shared, alone = cost([r for _, r in results])
    took = f"Their stages took {duration(shared)}, each computed once, and would have taken {duration(alone)}"
    return f"{counted(len(results), 'run')}. {took} had every run computed its own."


def svg(figure: Figure, name: str) -> str:
    """Return the figure as SVG, always the same text for the same figure; `name` keeps ids of several figures apart."""
    text = io.StringIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
