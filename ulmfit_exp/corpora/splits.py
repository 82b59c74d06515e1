"""Splits are columns: fixed by the texts themselves, never by a random state."""

import hashlib
import math
import re
from itertools import chain, islice

import pandas as pd

from ..common import DataError

SPLITS = ("train", "valid", "test", "unlabelled")
LABELLED = SPLITS[:3]
SPLIT_NAMES = {"train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid"} | {
    "validate": "valid", "trn": "train", "tst": "test",
    "dev": "valid", "eval": "valid", "evaluation": "valid", "test": "test", "testing": "test", "unsup": "unlabelled",
    "unlabelled": "unlabelled", "unlabeled": "unlabelled", "unsupervised": "unlabelled",
}  # fmt: skip
"""What publishers call the splits."""
BOOLEANS = dict.fromkeys(("true", "1", "1.0", "yes", "y", "t"), True)
BOOLEANS |= dict.fromkeys(("false", "0", "0.0", "no", "n", "f", ""), False)
"""Cells that say yes or no."""


def text_order(texts: pd.Series) -> pd.Series:
    """A fixed shuffle: the SHA-1 of each text, so that a split depends neither on row order nor on a random state."""
    return texts.map(lambda t: hashlib.sha1(t.encode("utf-8", "surrogatepass")).hexdigest())


def stratified(df: pd.DataFrame, size: int, by: str | list[str] = "label") -> pd.Index:
    """`size` row indices of `df`, shared out over the groups of `by` by largest remainder, at least one each."""
    order = text_order(df["text"]).sort_values(kind="stable").index
    groups = df.loc[order].groupby(by, sort=True).groups
    exact = {g: size * len(rows) / len(df) for g, rows in groups.items()}
    take = {g: min(len(groups[g]), max(1, math.floor(x))) for g, x in exact.items()}
    while (missing := size - sum(take.values())) != 0:
        step = 1 if missing > 0 else -1  # "at least one" may have taken too many
        able = [g for g in groups if 1 <= take[g] + step <= len(groups[g])]
        take[max(able, key=lambda g: step * (exact[g] - take[g]))] += step
    return df.index[df.index.isin(list(chain.from_iterable(rows[: take[g]] for g, rows in groups.items())))]


def hold_out(df: pd.DataFrame, share: float = 0.1, by: str | list[str] = "label") -> pd.DataFrame:
    """Turn `share` of the train rows into the valid split (the paper's 10%), stratified by `by`."""
    train = df[df["split"] == "train"]
    groups = train.groupby(by).ngroups
    df = df.copy()
    df.loc[stratified(train, max(groups, round(share * len(train))), by), "split"] = "valid"
    return df


def hold_out_groups(groups: pd.Series, shares: dict[str, float]) -> pd.Series:
    """A split name a row such that all rows of a group stay together: `shares` of the groups, the rest train."""
    names = pd.Series(groups.unique())
    order = iter(names[text_order(names).sort_values().index])
    split = {g: name for name, share in shares.items() for g in islice(order, max(1, round(share * len(names))))}
    return groups.map(split).fillna("train")


def merge_test_flag(table: pd.DataFrame, named: list[str], notes: list[str]) -> pd.DataFrame:
    """Columns is_valid and is_test of true and false as one column of splits, is_valid, unless they are `named`."""
    flags = {_compact_name(column): column for column in table.columns.drop(named)}
    valid, test = flags.get("isvalid"), flags.get("istest")
    if not (valid and test and _is_flag(table[valid]) and _is_flag(table[test])):
        return table
    notes.append(f"columns {valid!r} and {test!r} name the splits together")
    splits = row_splits(table[test])
    return table.drop(columns=test).assign(**{valid: splits.where(splits == "test", row_splits(table[valid]))})


def _compact_name(column: str) -> str:
    """A column's name as fastai's is_valid may be written: Is Valid, isValid."""
    return re.sub("[ _-]", "", column.lower())


def _is_flag(column: pd.Series) -> bool:
    return set(column.str.strip().str.lower().map(BOOLEANS.get)) == {True, False}


def guess_split_columns(table: pd.DataFrame, notes: list[str]) -> list[str]:
    """The columns all of whose values name a split, train and another, and a column is_valid of true and false; first
    those that name test rows."""
    found = {}
    for column in table:
        values, name = set(table[column].str.strip().str.lower()), _compact_name(column)
        kinds, unknown = {SPLIT_NAMES.get(value) for value in values}, sorted(values - SPLIT_NAMES.keys())
        if (name == "isvalid" and _is_flag(table[column])) or ({"train"} < kinds and None not in kinds):
            found[column] = ("test" not in kinds, name not in ("split", "set", "subset", "isvalid"))
        elif unknown == [""] and {"train"} < kinds - {None}:
            raise DataError(f"column {column!r} names the split of each row, but is empty in some: fill it there")
        elif len(values) > 1 and (
            name in ("split", "isvalid", "istest", "istrain") or _look_like_splits(table[column])
        ):
            why = f"because of {unknown[0]!r}" if unknown else "because no row is of train and another split"
            notes.append(f"column {column!r} is not taken as the split, {why} (--split-col)")
    return sorted(found, key=found.get)


def _look_like_splits(column: pd.Series) -> bool:
    """Whether every value has a word for a split in it, such as PublicTest or test_a."""
    return all(
        not SPLIT_NAMES.keys().isdisjoint(map(str.lower, re.findall("[A-Z]?[a-z]+|[A-Z]+", value)))
        for value in column.unique()
    )


def row_splits(column: pd.Series) -> pd.Series:
    """The split of each row, by its name; or fastai's true for valid, of a column such as is_test for test."""
    values = column.str.strip().str.lower()
    if values.isin(list(BOOLEANS)).all():
        name = str(column.name).lower()
        held_out = values.map(BOOLEANS) != ("train" in name)
        return held_out.map({True: "test" if "test" in name else "valid", False: "train"})
    splits = values.map(SPLIT_NAMES)
    if splits.isna().any():
        raise DataError(
            f"column {column.name!r}: unknown split {column[splits.isna()].iloc[0]!r}; known are "
            f"{', '.join(SPLIT_NAMES)}, or true for valid and false for train"
        )
    return splits
