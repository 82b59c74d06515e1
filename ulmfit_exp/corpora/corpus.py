"""`Corpus`: a table of texts with labels and splits, checked; and the splits, which are columns, not random calls."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from ..common import DataError

SPLITS = ("train", "valid", "test", "unlabelled")
LABELLED = SPLITS[:3]


def sound(text: str) -> str:
    """`text` with each lone surrogate, which JSON and file names may bring and no file can hold, as U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@dataclass(frozen=True)
class Corpus:
    """A text-classification corpus.

    `df` has the columns `text` (str), `label` (str; empty where `split` is unlabelled) and `split`
    (train, valid, test, unlabelled). Raises `DataError` where a row or a class cannot be used.
    """

    name: str
    df: pd.DataFrame
    least: int = 2
    """Fewest labelled rows that a class may have."""

    def __post_init__(self):
        df = self.df[["text", "label", "split"]].reset_index(drop=True)
        if df.isna().any(axis=None):
            raise DataError(f"{self.name}: column {df.columns[df.isna().any()][0]!r} has missing values; say ''")
        object.__setattr__(self, "df", df.map(lambda value: sound(str(value))).astype(str))
        object.__setattr__(self, "name", sound(self.name))
        self._check()

    def _check(self):
        if unknown := set(self.df["split"]) - set(SPLITS):
            raise DataError(f"{self.name}: unknown split {sorted(unknown)}; known are {', '.join(SPLITS)}")
        empty = self.df.index[self.df["text"].str.strip() == ""]
        if len(empty):
            row = self.df.loc[empty[0]]
            raise DataError(
                f"{self.name}: {len(empty)} empty text(s), the first in split {row['split']!r} with label "
                f"{row['label']!r}; remove the row or give it a text"
            )
        labelled = self.df[self.df["split"] != "unlabelled"]
        for label, n in labelled["label"].value_counts(sort=False).items():
            if n < self.least:
                raise DataError(f"{self.name}: class {label!r} has one example; a class needs two or more")
        for split in LABELLED:
            if split not in set(labelled["split"]):
                raise DataError(f"{self.name}: no rows in the {split} split")
        seen = set(labelled.loc[labelled["split"] == "train", "label"])
        if unseen := sorted(set(labelled["label"]) - seen):
            raise DataError(f"{self.name}: class {unseen[0]!r} has no training example")

    @classmethod
    def from_csv(cls, path: str | Path, text_col: str | tuple[str, ...] = (), label_col: str | None = None, **options):
        """Your own table or folder of texts, with a note of what was found; options as of `table.load`."""
        from .own import load

        text_cols = (text_col,) if isinstance(text_col, str) else text_col
        corpus, notes = load(Path(path), text_cols, label_col, **options)
        print("\n".join(notes))
        return corpus

    @classmethod
    def from_folder(cls, path: str | Path, **options) -> "Corpus":
        """A folder of texts, CLASS/NAME.txt or SPLIT/CLASS/NAME.txt; options as of `from_csv`."""
        return cls.from_csv(path, **options)

    @cached_property
    def classes(self) -> list[str]:
        """Class names, sorted: a label's id is its place here."""
        return sorted(set(self.df.loc[self.df["split"] != "unlabelled", "label"]))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over every text, label and split, in order."""
        return _digest(chain.from_iterable(self.df[["text", "label", "split"]].itertuples(index=False)))

    @cached_property
    def text_digest(self) -> str:
        """SHA-256 over what a language model may see: the texts and which of them are held out, no labels."""
        role = self.df["split"].replace("unlabelled", "train")
        return _digest(chain.from_iterable(zip(self.df["text"], role)))

    def split(self, *names: str) -> pd.DataFrame:
        """The rows of these splits; the index stays the row number in `df`."""
        return self.df[self.df["split"].isin(names)]

    def documents(self) -> Iterator[tuple[str, str]]:
        """(text, split) of each row, with a progress bar."""
        rows = zip(self.df["text"], self.df["split"])
        return iter(tqdm(rows, total=len(self.df), desc="tokens", unit=" texts", leave=False, disable=None))

    def counts(self) -> dict[str, int]:
        """Rows by split."""
        return {s: int((self.df["split"] == s).sum()) for s in SPLITS}

    def with_train_size(self, size: int | None) -> "Corpus":
        """Keep the labels of `size` training rows, stratified by class; the other texts stay in as unlabelled."""
        train = self.split("train")
        if size is None or size == len(train):
            return self
        if not len(self.classes) <= size <= len(train):
            raise DataError(
                f"{self.name}: --train-size {size} is impossible: there are {len(train)} training rows "
                f"and {len(self.classes)} classes, each of which needs one"
            )
        drop = train.index.difference(stratified(train, size))
        df = self.df.copy()
        df.loc[drop, ["split", "label"]] = ["unlabelled", ""]
        return replace(self, df=df, least=1)

    def labelled(self) -> "Corpus":
        """Without the unlabelled texts."""
        return replace(self, df=self.split(*LABELLED))


def _digest(fields) -> str:
    h = hashlib.sha256()
    for field in fields:
        data = field.encode("utf-8", "surrogatepass")
        h.update(len(data).to_bytes(8, "little") + data)
    return h.hexdigest()


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
    names = pd.Series(sorted(set(groups)))
    order = names[text_order(names).sort_values(kind="stable").index].tolist()
    split, start = {}, 0
    for name, share in shares.items():
        n = max(1, round(share * len(order)))
        split.update(dict.fromkeys(order[start : start + n], name))
        start += n
    return groups.map(lambda g: split.get(g, "train"))
