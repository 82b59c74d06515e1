"""Records of a grid -> Markdown tables and plots."""

import io
import math

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy.stats import ttest_1samp

from ..record import cost
from ..runs.grid import Cell
from ..runs.view import duration
from .tables import markdown, spread

Results = list[tuple[Cell, dict]]
"""The finished cells with their records."""
NAMES = {
    "imdb": "IMDb, a fifth",
    "imdb-full": "IMDb",
    "trec": "TREC-6",
    "sfu": "SFU sentiment",
    "dbpedia": "DBpedia",
    "squad": "SQuAD topic",
}
COLUMNS = ["row", "data", "replicate", "error"]
P = 0.05
SIGNIFICANCE = (
    f"\\* differs from the row in bold: paired t-test over the same seeds or folds, three or more, two-sided, p < {P}, "
    "not corrected for the number of rows; over folds it is too bold, since their training texts overlap."
)
OURS, THEIRS = "#1f77b4", "#d62728"


def errors(results: Results, split: str) -> pd.DataFrame:
    """Error in % of each cell: columns row, data, replicate, error."""
    rows = [(c.row, c.data, c.replicate, 100 * r[split]["error"]) for c, r in results]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_errors(results: Results, reference: str) -> pd.DataFrame:
    """Test error in % of each cell; of the row `reference` also that of either direction alone and of the baseline."""
    rows = []
    for cell, r in results:
        found = {cell.row: r["test"]["error"]}
        if cell.row == reference:
            found |= {f"{d} alone": figures["test"]["error"] for d, figures in r["directions"].items()}
            found |= {r["baseline"]["method"]: r["baseline"]["error"]}
        rows += [(row, cell.data, cell.replicate, 100 * error) for row, error in found.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def ablation(
    found: pd.DataFrame, paper: dict, reference: str, what: str = "validation", test: pd.DataFrame | None = None
) -> tuple[str, Figure]:
    """Rows against data sets: mean, deviation and n of ours, the paper's figure beside it, and what differs for sure.

    `found` is as `errors` makes it; `paper` is data -> row -> error in %; `reference` is the row that the others are
    compared with. The plot marks the mean of `test`, the test errors of the same runs, too.
    """
    columns = found["data"].unique()
    published = [row for data in columns for row in paper.get(data, {})]
    order = list(dict.fromkeys([*found["row"], *published]))
    table = {"": [f"**{row}**" if row == reference else row for row in order]}
    for data in columns:
        part = found[found["data"] == data].pivot(index="replicate", columns="row", values="error")
        table[f"{NAMES[data]} (n = {len(part)})"] = [_cell(part, row, reference) for row in order]
        if theirs := paper.get(data):
            table[f"{NAMES[data]}, the paper"] = [f"{theirs[row]:.2f}" if row in theirs else "" for row in order]
    text = f"{what.capitalize()} error in %, mean ± standard deviation over seeds or folds.\n\n"
    text += f"{markdown(pd.DataFrame(table))}\n\n{SIGNIFICANCE}\n"
    return text, _dots(found, paper, order, columns, what, test)


def both_errors(results: Results, paper: dict, reference: str) -> tuple[str, Figure]:
    """`ablation` of the validation error, as in the paper's analyses; and below it the test error of the same runs."""
    valid, test = errors(results, "valid"), errors(results, "test")
    text, figure = ablation(valid, paper, reference, test=test)
    return f"{text}\n{ablation(test, {}, reference, 'test')[0]}", figure


def _cell(part: pd.DataFrame, row: str, reference: str) -> str:
    """Mean ± deviation of a row's column, its mark, and its n where it has fewer runs than the table."""
    if row not in part:
        return ""
    errors = part[row].dropna()
    mark = ""
    if reference in part and row != reference:
        differences = (part[row] - part[reference]).dropna().round(9)  # equal ones are to be equal
        certain = len(differences) > 2 and differences.std() > 0 and ttest_1samp(differences, 0).pvalue < P
        mark = "\\*" if certain else ""
    return spread(errors) + mark + (f" (n = {len(errors)})" if len(errors) < len(part) else "")


def _dots(found: pd.DataFrame, paper: dict, order, columns, what: str, test: pd.DataFrame | None) -> Figure:
    """A panel a data set: each run, the mean with its deviation, the mean on test, and the paper's figure."""
    figure = Figure(figsize=(1.8 + 3 * len(columns), 0.8 + 0.32 * len(order)), layout="constrained")
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
            panel.plot(
                list(theirs.values()), [place[r] for r in theirs], "D", mfc="none", color=THEIRS, label="the paper"
            )
        panel.set(title=NAMES[data], xlabel=f"{what} error, %")
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(list(place.values()), list(place))
    panels[0].legend(fontsize="small")
    return figure


def by_labels(results: Results, ours: str, theirs: str, split: str = "test") -> tuple[str, Figure]:
    """Error against the number of labelled texts, a line a row of the grid, a panel a data set (paper, figure 3).

    The table says how many times as many labels the row `theirs` needs for the errors of the row `ours`.
    """
    rows = []
    for c, r in results:
        one = {"data": c.data, "labels": r["corpus"]["rows"]["train"], "replicate": c.replicate}
        rows.append({**one, "row": c.row, "error": 100 * r[split]["error"]})
        rows.append({**one, "row": r["baseline"]["method"], "error": 100 * r["baseline"]["error"]})
    found = pd.DataFrame(rows).drop_duplicates(["data", "labels", "replicate", "row"])
    columns = found["data"].unique()
    figure = Figure(figsize=(1 + 3.4 * len(columns), 3.4), layout="constrained")
    text = (
        f"{split.capitalize()} error in % by number of labelled texts, mean ± standard deviation over seeds or folds. "
        f"The last column: how many times as many labels {theirs} needs for the error of {ours}, read off its line.\n"
    )
    for panel, data in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns):
        part, lines = found[found["data"] == data], {}
        for row, line in part.groupby("row", sort=False):
            stats = line.groupby("labels")["error"].agg(["mean", "std"]).fillna(0)
            panel.errorbar(stats.index, stats["mean"], yerr=stats["std"], fmt=".-", label=row)
            lines[row] = line.groupby("labels")["error"].agg(spread)
        means = part.pivot_table("error", "labels", "row")
        if {ours, theirs} <= set(means):
            lines[f"{theirs} needs"] = as_many(means[ours], means[theirs])
        panel.set(title=NAMES[data], xscale="log", xlabel="labelled texts", ylabel=f"{split} error, %")
        panel.grid(alpha=0.3)
        table = pd.DataFrame(lines).sort_index().fillna("").rename_axis("labels").reset_index()
        text += f"\n{NAMES[data]} (n = {part['replicate'].nunique()})\n\n{markdown(table)}\n"
    figure.legend(
        *panel.get_legend_handles_labels(), loc="outside lower center", ncols=min(4, 2 * len(columns)), fontsize="small"
    )
    return text, figure


def as_many(ours: pd.Series, theirs: pd.Series) -> pd.Series:
    """Times as many labels as `theirs` needs for the errors of `ours`; both are errors by number of labels.

    Read off straight lines between the points of `theirs`, over the logarithm of the labels.
    """
    theirs = theirs.dropna().cummin()[::-1]

    def times(labels: int, error: float) -> str:
        beyond = ">" if error < theirs.iloc[0] else "<" if error > theirs.iloc[-1] else ""
        return f"{beyond} {math.exp(np.interp(error, theirs, np.log(theirs.index))) / labels:.1f} ×".strip()

    return pd.Series({labels: times(labels, error) for labels, error in ours.dropna().items()})


def by_epoch(results: Results, reference: str) -> tuple[str, Figure]:
    """Validation error after each epoch of the classifier, a line a row, a panel a data set (paper, figure 4).

    The table has the test error of the last epoch, too, and says what differs from the row `reference` for sure.
    """
    columns = list(dict.fromkeys(c.data for c, _ in results))
    figure = Figure(figsize=(1 + 3.4 * len(columns), 3.4), layout="constrained")
    table = []
    for panel, data in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns):
        found = []
        for c, r in results:
            if c.data == data:
                curve = 100 * pd.Series([e["valid_error_rate"] for e in r["history"]["clas forward"]])
                best, last, test = curve.min(), curve.iloc[-1], 100 * r["test"]["error"]
                measured = {"best epoch": best, "last epoch": last, "lost since the best": last - best, "test": test}
                found.append({"row": c.row, "replicate": c.replicate, "curve": curve, **measured})
        found = pd.DataFrame(found)
        parts = found.drop(columns="curve").pivot(index="replicate", columns="row")
        for row, runs in found.groupby("row", sort=False):
            curves = pd.concat(list(runs["curve"]), axis=1)
            line = panel.errorbar(curves.index + 1, curves.mean(axis=1), yerr=curves.std(axis=1), label=row, capsize=2)
            panel.plot(curves.index + 1, curves, color=line[0].get_color(), alpha=0.25, lw=0.7)
            cells = {what: _cell(parts[what], row, reference) for what in parts.columns.unique(0)}
            table.append({"data": NAMES[data], "": f"**{row}**" if row == reference else row, "n": len(runs), **cells})
        panel.set(title=NAMES[data], xlabel="epoch", ylabel="valid error, %")
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
    head = (
        "Validation error in % of the classifier by epoch and test error after the last, mean ± standard deviation "
        "over seeds or folds.\n\n"
    )
    return f"{head}{markdown(pd.DataFrame(table))}\n\n{SIGNIFICANCE}\n", figure


def cost_line(results: Results) -> str:
    """What the runs took, and would have taken without shared stages."""
    shared, alone = cost([r for _, r in results])
    return (
        f"{len(results)} runs. Their stages took {duration(shared)}, each computed once, and would have taken "
        f"{duration(alone)} had every run computed its own ({shared / alone:.0%})."
    )


def svg(figure: Figure, name: str) -> str:
    """The figure as SVG, the same text for the same figure; `name` keeps the identifiers of several apart."""
    text = io.StringIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
