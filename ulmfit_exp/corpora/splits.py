"""Splits of a corpus, stored as a column and fixed by the texts themselves, never by a random state."""

import hashlib
import math
import re
from collections.abc import Iterable
from itertools import chain, islice

import pandas as pd

from ..common import DataError

SPLITS = ("train", "valid", "test", "unlabelled")
LABELLED = SPLITS[:3]
SPLIT_NAMES = {"train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid"} | {
    "validate": "valid", "development": "valid", "trn": "train", "tst": "test",
    "dev": "valid", "eval": "valid", "evaluation": "valid", "test": "test", "testing": "test", "unsup": "unlabelled",
    "unlabelled": "unlabelled", "unlabeled": "unlabelled", "unsupervised": "unlabelled",
}  # fmt: skip
"""Names that publishers give the splits, and the split that each means; see `split_names` for eval."""
VALID_FLAGS = ("isvalid", "isvalidation", "isval")
"""Names of a column that says of each row whether it is of the valid split; the first is fastai's."""
BOOLEANS = dict.fromkeys(("true", "1", "1.0", "yes", "y", "t"), True)
BOOLEANS |= dict.fromkeys(("false", "0", "0.0", "no", "n", "f", ""), False)
"""Cells, in lower case, that mean yes or no."""
WORD = re.compile("[A-Z]?[a-z]+|[A-Z]+")
"""A word of a name such as PublicTest or is_valid."""


def split_names(found: Iterable[str]) -> dict[str, str]:
    """Return `SPLIT_NAMES`; in it eval is the test split if `found` has another name of the valid split and none of the
    test split, as in train, dev, eval."""
    evaluation = dict.fromkeys(("eval", "evaluation"), "test")
    kinds = {SPLIT_NAMES.get(name) for name in set(found) - set(evaluation)}
    return SPLIT_NAMES | evaluation if "valid" in kinds and "test" not in kinds else SPLIT_NAMES


def text_order(texts: pd.Series) -> pd.Series:
    """Return keys for a fixed shuffle, the SHA-1 of each text: splits do not depend on row order or a random state."""
    return texts.map(lambda t: hashlib.sha1(t.encode("utf-8", "surrogatepass")).hexdigest())


def stratified(df: pd.DataFrame, size: int, by: str | list[str] = "label", left: int = 0) -> pd.Index:
    """Return `size` row indices of `df`, shared out over the groups of `by` by largest remainder, at least one each;
    at least `left` rows of each group are not among them."""
    order = text_order(df["text"]).sort_values(kind="stable").index
    groups = df.loc[order].groupby(by, sort=True).groups
    exact = {g: size * len(rows) / len(df) for g, rows in groups.items()}
    most = {g: len(rows) - left for g, rows in groups.items()}
    take = {g: min(most[g], max(1, math.floor(x))) for g, x in exact.items()}
    while (missing := size - sum(take.values())) != 0:
        step = 1 if missing > 0 else -1  # "at least one" may have taken too many
        able = [g for g in groups if 1 <= take[g] + step <= most[g]]
        take[max(able, key=lambda g: step * (exact[g] - take[g]))] += step
    return df.index[df.index.isin(list(chain.from_iterable(rows[: take[g]] for g, rows in groups.items())))]


def hold_out(df: pd.DataFrame, by: str | list[str] = "label") -> pd.DataFrame:
    """Turn 10% of the train rows into the valid split, as in the paper, stratified by `by`."""
    train = df[df["split"] == "train"]
    groups = train.groupby(by).ngroups
    df = df.copy()
    df.loc[stratified(train, max(groups, round(0.1 * len(train))), by), "split"] = "valid"
    return df


def hold_out_groups(groups: pd.Series, shares: dict[str, float]) -> pd.Series:
    """Return a split name per row, the same in all rows of a group: `shares` of the groups by split, the rest train."""
    names = pd.Series(groups.unique())
    order = iter(names[text_order(names).sort_values().index])
    split = {g: name for name, share in shares.items() for g in islice(order, max(1, round(share * len(names))))}
    return groups.map(split).fillna("train")


def merge_test_flag(table: pd.DataFrame, named: list[str], notes: list[str]) -> pd.DataFrame:
    """Merge the true/false columns is_valid and is_test into one split column, is_valid, unless they are `named`."""
    flags = {_compact_name(column): column for column in table.columns.drop(named) if is_flag(table[column])}
    valid, test = next((flags[name] for name in VALID_FLAGS if name in flags), None), flags.get("istest")
    if not (valid and test):
        return table
    notes.append(f"columns {valid!r} and {test!r} name the splits together")
    splits = row_splits(table[test])
    return table.drop(columns=test).assign(**{valid: splits.where(splits == "test", row_splits(table[valid]))})


def _compact_name(column: str) -> str:
    """Return a column's name in a form that is the same for fastai's is_valid, Is Valid and isValid."""
    return re.sub("[ _-]", "", column.lower())


def is_flag(column: pd.Series) -> bool:
    """Whether all cells mean yes or no, and both occur."""
    return {BOOLEANS.get(value.strip().lower()) for value in column.unique()} == {True, False}


def guess_split_columns(table: pd.DataFrame, notes: list[str]) -> list[str]:
    """Return the columns whose values all name splits, train and another, and a true/false column is_valid; those that
    name test rows come first. Raises `DataError` if a split column is empty in some rows."""
    found = {}
    for column in table:
        values, name = set(table[column].str.strip().str.lower()), _compact_name(column)
        kinds, unknown = set(map(split_names(values).get, values)), sorted(values - SPLIT_NAMES.keys())
        if (name in VALID_FLAGS and is_flag(table[column])) or ({"train"} < kinds and None not in kinds):
            found[column] = ("test" not in kinds, name not in ("split", "set", "subset", *VALID_FLAGS))
        elif unknown == [""] and {"train"} < kinds - {None}:
            raise DataError(f"column {column!r} names the split of each row, but is empty in some: fill it there")
        elif len(values) > 1 and (
            name in ("split", "fold", "kfold", *(f"is{split}" for split in SPLIT_NAMES))
            or (name in SPLIT_NAMES and is_flag(table[column]))
            or _look_like_splits(table[column])
        ):
            why = f"because of {unknown[0]!r}" if unknown else "because no row is of train and another split"
            notes.append(f"column {column!r} is not taken as the split, {why} (--split-col)")
    return sorted(found, key=found.get)


def _look_like_splits(column: pd.Series) -> bool:
    """Whether every value is a name of one or two words that contains a word for a split: PublicTest, test_a."""
    return all(
        len(value.split()) < 3 and not SPLIT_NAMES.keys().isdisjoint(map(str.lower, WORD.findall(value)))
        for value in column.unique()
    )


def row_splits(column: pd.Series) -> pd.Series:
    """Return each row's split from a column of split names, or of true/false as in is_valid, is_test or is_train."""
    values = column.str.strip().str.lower()
    if values.isin(list(BOOLEANS)).all():
        words = map(str.lower, WORD.findall(str(column.name)))
        named = {SPLIT_NAMES.get(word.removeprefix("is")) for word in words}
        held_out = values.map(BOOLEANS) != ("train" in named)
        return held_out.map({True: "test" if "test" in named else "valid", False: "train"})
    splits = values.map(split_names(values))
    if splits.isna().any():
        raise DataError(
            f"column {column.name!r}: unknown split {column[splits.isna()].iloc[0]!r}; known are "
            f"{', '.join(SPLIT_NAMES)}, or true for valid and false for train"
        )
    return splits
