"""The classes of a label column: missing labels, spellings of one class, and numbers that are a measurement."""

import re
import unicodedata
from collections.abc import Collection
from itertools import pairwise

import numpy as np
import pandas as pd

from ..common import DataError, quote_names
from .options import OwnTable

MAX_OTHER_SHARE = 0.05
"""A label column counts as numeric if less than this share of its labels are not numbers."""
MAX_NUMBER_CLASSES = 20
"""Up to this many different numbers may be classes; more may if they have at least as many rows each on average."""
NO_LABEL = ("nan", "NaN", "NAN", "NaT", "<NA>", r"\N")
NO_LABEL += ("#n/a", "#NV", "#WERT!", "#BEZUG!", "#N/D", "#VALEUR!")  # also in German and French
NO_LABEL += ("#N/A", "#REF!", "#NULL!", "#VALUE!", "#NAME?", "#NUM!", "#DIV/0!")
"""How pandas, spreadsheets and MySQL write a missing value."""
DOUBTFUL = ("na", "n/a", "n.a.", "none", "null", "unlabeled", "unlabelled", "unsup", "unsupervised", "?", "-")
DOUBTFUL += ("[null]", "(null)", "(blank)")  # DBeaver, Oracle, pivot tables
"""Labels, in lower case, that may mean a missing value or be a class."""


def class_labels(labels: pd.Series, train: pd.Series, options: OwnTable, notes: list[str]) -> pd.Series:
    """Return the labels; `options.bins` cuts numbers into this many classes with about equally many `train` rows each.

    Raises `DataError` if the bins are impossible or, without them, if the labels look like a measurement: numbers with
    fractions other than halves, or many different values with few rows each.
    """
    if options.bins and (doubtful := labels.str.lower().isin(DOUBTFUL)).any():
        notes.append(f"label {labels[doubtful].iloc[0]!r} is not a number, so it is no label; rows: {doubtful.sum():,}")
        labels = labels.mask(doubtful, "")
    column, bins = options.label_cols[0], options.bins
    labels = unify_spelling(labels, notes, (*NO_LABEL, "-") if column == "gold_label" else NO_LABEL)  # as SNLI
    known = labels[(labels != "") & ~labels.str.lower().isin(DOUBTFUL)]
    values = _parse_numbers(known)
    other = known[values.isna()]
    if bins:
        if bins < 2 or values.empty:
            why = "it must be 2 or more" if bins < 2 else f"column {column!r} has no number"
            raise DataError(f"--bins {bins} is impossible: {why}")
        if len(other):
            raise DataError(f"--bins {bins} is impossible: column {column!r} has {other.iloc[0]!r}, which is no number")
        return _cut_into_bins(values, values[train], bins, notes).reindex(labels.index, fill_value="")
    kinds = values.nunique()
    measured = (2 * values.dropna() % 1 != 0).any() or kinds > max(MAX_NUMBER_CLASSES, len(values) / MAX_NUMBER_CLASSES)
    if bins is None and measured and len(other) < MAX_OTHER_SHARE * len(values):
        also = f", and {other.iloc[0]!r}, which is none" if len(other) else ""
        raise DataError(
            f"column {column!r} has {kinds:,} different numbers{also}; a classifier needs classes: --bins 3 cuts "
            "them into three classes, --bins 0 makes each number a class, --label-col names another column"
        )
    return labels


def unify_spelling(labels: pd.Series, notes: list[str], no_label: Collection[str] = NO_LABEL) -> pd.Series:
    """Return the labels with those in `no_label` made empty and, if a number is written in several ways (1.0, 1. and
    +1), with each number written in one way. Add notes on both, on labels that look alike and on doubtful ones."""
    missing = labels.isin(no_label)
    if missing.any():
        notes.append(f"label {labels[missing].iloc[0]!r} is treated as a missing label; rows: {missing.sum():,}")
        labels = labels.mask(missing, "")
    plain = {label: _plain_number(label) for label in labels.unique() if label}
    if None in plain.values():  # among other labels, 3.10 may be a version
        plain = {label: number for label, number in plain.items() if number and "." not in number}
    spellings = pd.Series(plain.keys(), dtype=object).groupby(list(plain.values())).agg(list)
    if several := [names for names in spellings if len(names) > 1]:
        notes.append(f"label: {' and '.join(map(repr, several[0]))} are one number, so they are one class")
        labels = labels.map(lambda label: plain.get(label, label))
    kinds = pd.Series(labels.unique())
    for alike in kinds.groupby(kinds.map(_normalised_label)).agg(list):
        if len(alike) > 1:
            notes.append(f"classes {quote_names(alike)} look alike; if they are one, write them the same")
    for label in kinds[kinds.str.lower().isin(DOUBTFUL)]:
        notes.append(f"label {label!r} is a class like the others; leave its cells empty if it means no label")
    return labels


def _plain_number(label: str) -> str | None:
    """Return a number in its shortest form (+1.50 as 1.5), or None for other labels; 007 is a name, not a number."""
    if not (number := re.fullmatch(r"([-+]?)(0|[1-9]\d*)(?:\.(\d*)|,(\d{1,2}))?", label)):
        return None
    sign, whole, fraction = number[1], number[2], (number[3] or number[4] or "").rstrip("0")
    return "-" * (sign == "-" and whole + fraction != "0") + whole + "." * bool(fraction) + fraction


def _normalised_label(label: str) -> str:
    """Return a label without differences that a reader hardly sees, such as case and spacing."""
    letters = unicodedata.normalize("NFKC", label.casefold())
    visible = (c for c in letters if unicodedata.category(c) != "Cf" and not "\ufe00" <= c <= "\ufe0f")
    plain = " ".join("".join(visible).split())
    return {"true": "1", "false": "0"}.get(plain, plain.lstrip("0") or "0" if plain.isdecimal() else plain)


def _cut_into_bins(values: pd.Series, train: pd.Series, bins: int, notes: list[str]) -> pd.Series:
    """Return the name of each number's interval; the intervals have about equally many numbers of `train` each."""
    values, train = (numbers.map(lambda number: float(f"{number:.15g}")) for numbers in (values, train))  # as named
    shares = np.linspace(0, 1, bins + 1)[1:-1]
    cuts = (train if len(train) else values).quantile(shares, "lower").unique()
    edges = [f"{cut:.15g}" for cut in cuts if np.isfinite(cut)]
    if not edges:
        raise DataError(f"--bins {bins} is impossible: most of the numbers are infinite")
    names = [f"up to {edges[0]}", *(f"{low} to {high}" for low, high in pairwise(edges)), f"above {edges[-1]}"]
    notes.append(f"label: {len(names)} classes of about as many training rows each (--bins): {', '.join(names)}")
    return pd.cut(values, [-np.inf, *map(float, edges), np.inf], labels=names, include_lowest=True).astype(str)


def _parse_numbers(labels: pd.Series) -> pd.Series:
    """Return the labels as numbers or NaN; commas separate thousands if they can in all labels, otherwise decimals.

    Dots separate thousands if they precede a comma, as in 1.250,00; and if each is followed by three digits and some
    labels have three digits alone, or two dots, as in 900, 1.250 and 1.250.000."""
    labels = _strip_unit(labels).str.replace(r"(?<=\d)['’\s](?=\d{3}(?!\d))", "", regex=True)
    both = labels[labels.str.contains(r"\..*,", regex=True)]
    dotted = len(both) > 0 and both.str.fullmatch(r"-?[1-9]\d{0,2}(\.\d{3})+,\d*").all()
    whole = (
        labels.str.fullmatch(r"0|-?[1-9]\d{0,2}(\.\d{3})*").all() and labels.str.fullmatch(r"-?\d{3}|.*\..*\..*").any()
    )
    labels = labels.str.replace(".", "") if dotted or whole else labels
    thousands = labels[labels.str.contains(",")].str.fullmatch(r"-?[1-9]\d{0,2}(,\d{3})+(\.\d*)?").all()
    return pd.to_numeric(labels.str.replace(",", "" if thousands else "."), errors="coerce")


def _strip_unit(labels: pd.Series) -> pd.Series:
    """Remove the unit that most labels have, before the number (a sign such as $) or after it (kg, %)."""
    for unit in (r"^([^\w\s.,+-]\s?)(?=[\d.,+-])", r"(?<=[\d.,])(\s?[^\W\d]{1,4}|\s?[^\w\s.,])$"):
        units = labels.str.extract(unit)[0]
        if units.notna().mean() > 1 - MAX_OTHER_SHARE and units.nunique() == 1:
            labels = labels.str.replace(unit, "", regex=True)
    return labels
