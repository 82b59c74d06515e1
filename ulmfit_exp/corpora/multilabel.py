"""Texts with several labels: how tables write them, how a corpus stores them, and how their error is computed."""

import ast
import csv
import json
import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from ..common import DataError, quote_names
from .encodings import replace_surrogates
from .fasttext import without_marks
from .labels import DOUBTFUL, NO_LABEL, unify_spelling
from .options import TAB, OwnTable
from .splits import BOOLEANS

SEP = ";"
"""Separator of the labels of a text, in corpora and predictions."""
UNQUOTED_LIST = r"\[.*\]|\{.*\}|\(.*\)|(?:<[^<>]+>)+"
"""How PostgreSQL, Java and Stack Overflow write a list: {java,"two words"}, [java, spring], <java><spring>."""
NONE = SEP
"""Label of a text that has none of the labels; an unlabelled text has an empty label."""


def join_labels(labels: Iterable) -> str:
    """Return a text's labels sorted, each once and joined by `SEP`. Raises `DataError` if a label contains `SEP`."""
    names = sorted({replace_surrogates(str(label)).strip() for label in labels if label is not None} - {""})
    if odd := [name for name in names if SEP in name]:
        raise DataError(f"label {odd[0]!r} has a {SEP!r} in it, which separates labels; use another character")
    return SEP.join(names) or NONE


def split_labels(label: str) -> list:
    """Return the list of the labels that `join_labels` joined."""
    return [name for name in label.split(SEP) if name]


def each_label(labels: pd.Series, multi_label: bool = True) -> pd.Series:
    """Return one row per label of each text, with the text's index; unless `multi_label`, the labels unchanged."""
    if not multi_label:
        return labels
    found = labels.str.split(SEP).explode()
    return found[found != ""]


def indicators(labels: pd.Series, classes: list[str]) -> np.ndarray:
    """Return a matrix `texts x classes` that is 1 where the text has the label and 0 elsewhere."""
    return labels.str.get_dummies(SEP).reindex(columns=classes, fill_value=0).to_numpy(int, copy=True)


def rarest_label(labels: pd.Series) -> pd.Series:
    """Return the rarest label of each text, by which splits are stratified; empty for a text without labels."""
    sizes = each_label(labels).value_counts()
    return labels.map(lambda cell: min(split_labels(cell), key=sizes.get, default=""))


def f1(predicted: np.ndarray, truth: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Return the F1 of 0/1 decisions: micro F1 over all of them, or the F1 of each label with `axis=0`. It is 1 if
    there is nothing to find and nothing was found."""
    hits, marks = (predicted * truth).sum(axis), predicted.sum(axis) + truth.sum(axis)
    return np.where(marks > 0, 2 * hits / np.maximum(marks, 1), 1.0)


def error(predicted: np.ndarray, truth: np.ndarray, thresholds: float | np.ndarray = 1) -> float:
    """Return the error of multi-label classification that training, records and tables use: 1 - micro F1.

    `predicted` are 0/1 decisions, or probabilities if `thresholds` are given.
    """
    return 1 - float(f1(predicted >= thresholds, truth))


def read_labels(table: pd.DataFrame, options: OwnTable, notes: list[str]) -> tuple[pd.Series, bool]:
    """Return the label of each row, or its labels as `join_labels` joins them; and whether texts may have several, by
    the options or because the cells are lists. Raises `DataError`."""
    columns, multi_label = options.label_cols, options.multi_label or options.label_sep is not None
    if (multi_label or len(columns) > 1) and options.bins is not None:
        raise DataError(f"--bins {options.bins} cuts one numeric label; it cannot be used where a text has several")
    if len(columns) > 1:
        return _unify_spelling(_labels_from_columns(table[list(columns)], notes), notes), True
    cells = without_marks(table[columns[0]].str.strip())
    known = (cells != "") & ~cells.isin(NO_LABEL)
    lists = cells.where(known, "").map(_parse_list)
    if lists.notna().any() and lists[known].notna().all():
        _check_lists(lists[known], columns[0])
        labels = [cell if names is None else join_labels(names) for names, cell in zip(lists, cells)]
        return _unify_spelling(pd.Series(labels, cells.index), notes), True
    if not multi_label:
        notes += _hints(cells[known], lists.notna())
        return cells, False
    if known.any() and cells[known].str.match(r'\{\s*".*":').all():
        raise DataError(f"column {columns[0]!r} holds JSON objects; give a list of the labels, or a 0/1 column each")
    if not options.label_sep and cells[known].str.fullmatch(UNQUOTED_LIST).all():
        lists = lists.where(lists.notna(), cells.where(known, "").map(_parse_unquoted_list))
    if (cells == "").any():
        notes.append("label: a text whose cell is empty has none of the labels")
    sep = SEP if options.label_sep is None else TAB.get(options.label_sep, options.label_sep)
    if not sep:
        raise DataError("--label-sep is empty; give the character between two labels of a cell")
    if lists.isna().all() and not cells.str.contains(sep, regex=False).any():
        notes += [f"label: no cell has the separator {sep!r} (--label-sep)", *_hints(cells[known], lists.notna())]
    parts = cells.str.split(sep, regex=False)
    labels = [join_labels(p if names is None else names) for names, p in zip(lists, parts)]
    return _unify_spelling(pd.Series(labels, cells.index, dtype=object), notes), True


def _check_lists(lists: pd.Series, column: str) -> None:
    """Raise `DataError` if the lists do not name labels: they hold lists or objects, or a 0 or 1 for each label."""
    members = [member for each in lists for member in each]
    if any(isinstance(member, dict | list | tuple) for member in members):
        raise DataError(f"column {column!r} has lists of objects; write a list of the labels' names")
    if any(isinstance(member, float) and member % 1 > 0 for member in members):
        raise DataError(f"column {column!r} has lists of fractions; write a list of the labels' names")
    marks = {str(member) for member in members} == {"0", "1"} and lists.map(len).nunique() == 1
    if marks and len(lists.iloc[0]) > 1:
        raise DataError(
            f"column {column!r} has a 0 or 1 for each label; write a list of the labels' names, or a column of 0 and 1 "
            "per label, all named with --label-col"
        )


def _unify_spelling(labels: pd.Series, notes: list[str]) -> pd.Series:
    """Return the labels of each row in one spelling, without those that mean a missing value."""
    each = each_label(labels)
    spelling = dict(zip(each, unify_spelling(each, notes)))

    def spelt(cell: str) -> str:
        names = [spelling[name] for name in split_labels(cell)]
        return join_labels(names) if any(names) or cell == NONE else ""

    return labels.map(spelt)


def _labels_from_columns(table: pd.DataFrame, notes: list[str]) -> pd.Series:
    """Return the names of the columns that are 1 in each row; a row is unlabelled if its cells are all empty, or all
    mean no label, such as -1, ? or NONE. Raises `DataError` if another row has a cell that is neither 0 nor 1."""
    table = table.apply(lambda column: column.str.strip())
    cells = table.apply(lambda column: column.str.lower().str.replace(r"^(-?[01])\.0*$", r"\1", regex=True))
    blank = table.isin(["", *NO_LABEL]).all(axis=1) | cells.isin(["-1", *DOUBTFUL]).all(axis=1)
    known = cells[~blank].stack()
    wrong = known[~known.isin(set(BOOLEANS) - {""})]
    if len(wrong):
        row, column = wrong.index[0]
        raise DataError(
            f"column {column!r}, row {row}: {wrong.iloc[0]!r} is neither 0 nor 1, as in each of several --label-col; "
            "leave all of these cells empty in a row that is not labelled"
        )
    marks = cells.map(BOOLEANS.get).to_numpy(bool) & ~blank.to_numpy()[:, None]
    if never := list(cells.columns[~marks.any(axis=0)]):
        notes.append(f"left out: labels of no text: {quote_names(never[:10])}")
    names = ["" if none else join_labels(cells.columns[row]) for none, row in zip(blank, marks)]
    return pd.Series(names, cells.index)


def rare_labels(df: pd.DataFrame, least: int) -> list[str]:
    """Return the labels that fewer than `least` different texts have."""
    each = each_label(df.set_index("text")["label"]).reset_index().drop_duplicates()
    sizes = each["label"].value_counts()
    return sorted(sizes.index[sizes < least])


def drop_labels(labels: pd.Series, left_out: list[str], what: str, notes: list[str]) -> pd.Series:
    """Return the labels of each row without those in `left_out`, and add a note of them."""
    if left_out:
        notes.append(f"left out: labels {what}: {quote_names(left_out[:10])}")
    return labels.map(lambda cell: cell and join_labels(set(split_labels(cell)) - set(left_out)))


def _parse_list(cell: str) -> Iterable | None:
    """Return the items of a cell that is a list as JSON, Python or NumPy (without commas) writes it, or an object: the
    {"choices": [...]} of Label Studio, or the {"a": 1, "b": 0} of spaCy, with a 0 or 1 for each label. Else None."""
    if cell == "set()":
        return ()
    whole = cell.startswith("[") and cell.endswith("]")
    if whole and all(re.fullmatch(r"\d+(\.0*)?", number) for number in cell[1:-1].split()):
        return [number.partition(".")[0] for number in cell[1:-1].split()]  # as NumPy writes numbers
    for read in (json.loads, ast.literal_eval) if cell.startswith(("[", "(", "{")) else ():
        try:
            value = read(cell if read is json.loads else re.sub(r"""(['"])\s+(?=['"])""", r"\1, ", cell))
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict) and [*value] == ["choices"]:
            value = value["choices"]
        elif isinstance(value, dict) and len(value) > 1 and all(mark in (0, 1) for mark in value.values()):
            value = [name for name, mark in value.items() if mark]
        return value if isinstance(value, list | tuple | set) else None
    return None


def _parse_unquoted_list(cell: str) -> list[str] | None:
    """Return the items of a list that is written as `UNQUOTED_LIST`, or None of an empty cell."""
    if cell.startswith("<"):
        return re.findall("<([^<>]+)>", cell)
    inside = " ".join(cell[1:-1].splitlines())
    delimiter = next((sep for sep in ",;|" if sep in inside), ",")
    return next(csv.reader([inside], delimiter=delimiter, skipinitialspace=True), []) if cell else None


def _hints(labels: pd.Series, lists: pd.Series) -> list[str]:
    """Return a note if the cells look as if they held several labels; that is suggested to the user, never assumed."""
    if labels.str.match(r"\{\s*[\"']").mean() > 0.5:
        return [
            f"label: column {labels.name!r} holds JSON, which is read as it is written; choose others with --label-col"
        ]
    if lists.any():
        return [f"label: {lists.sum():,} cells are lists; if they hold several labels, use --multi-label"]
    tags = labels[labels.str.fullmatch(r"(?:<[^<>]+>){2,}")]
    if len(tags) > 0.05 * len(labels):
        return [f"label: {tags.iloc[0]!r} looks like several labels; if a text may have several, use --multi-label"]
    for sep in (SEP, "|", ",", "#"):
        several = labels[labels.str.contains(sep, regex=False)]
        parts = labels.str.split(sep, regex=False).explode().str.strip()
        if len(several) > 0.05 * len(labels) and parts.nunique() < labels.nunique():
            option = "--multi-label" if sep == SEP else f"--label-sep '{sep}'"
            return [f"label: {several.iloc[0]!r} looks like several labels; if a text may have several, use {option}"]
    return []
