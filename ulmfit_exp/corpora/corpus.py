"""`Corpus`: a checked table of texts with labels and splits."""

import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from numbers import Integral
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..bounds import check_type
from ..common import DataError, quote_names
from . import multilabel, user_table
from .encodings import replace_surrogates
from .multilabel import SEP, each_label, join_labels
from .options import OwnTable
from .splits import LABELLED, SPLITS, stratified

NO_CLASS = -100
"""Class number that PyTorch's cross-entropy ignores."""
Columns = str | int | Iterable[str | int]
"""One column of a table, by name or by number from 0, or several."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text-classification corpus.

    `df` has the columns `text` (str), `label` (str; empty for unlabelled texts and for test texts that are only to be
    predicted), `split` (train, valid, test, unlabelled) and `row`, the name of the row in its source; by default its
    number in `df`. Raises `DataError` if a row or a class cannot be used.
    """

    name: str
    df: pd.DataFrame
    least: int = 2
    """Minimum number of labelled rows of a class."""
    text_cols: tuple[str, ...] = ()
    """Columns of a user's table that the texts come from; predictions read the same columns."""
    notes: tuple[str, ...] = ()
    """How a user's table was read, anything unusual in it, and what was left out."""
    multi_label: bool = False
    """Whether a text may have several labels. `label` then holds them joined by `;`, or a lone `;` if the text has none
    of them; lists are accepted, too. Each label is a class."""

    def __post_init__(self):
        check_type(self.name, str, "name")
        if not isinstance(self.df, pd.DataFrame) or not {"text", "label", "split"} <= set(self.df):
            raise DataError(f"{self.name}: df must be a DataFrame with columns text, label, split; see Corpus.from_df")
        if not self.df.columns.is_unique:
            raise DataError(f"{self.name}: df has two columns of the same name")
        df = self.df[["text", "label", "split"]].reset_index(drop=True)
        if df.isna().any(axis=None):
            raise DataError(f"{self.name}: column {df.columns[df.isna().any()][0]!r} has missing values; put '' there")
        if self.multi_label:
            one = pd.api.types.is_scalar
            labels = [str(cell).split(SEP) if one(cell) and cell != "" else cell for cell in df["label"]]
            df["label"] = [cell if isinstance(cell, str) else join_labels(cell) for cell in labels]
        df = df.map(lambda value: replace_surrogates(str(value))).astype(str)
        rows = [row if isinstance(row, int) else replace_surrogates(str(row)) for row in self.df.get("row", df.index)]
        object.__setattr__(self, "df", df.assign(row=pd.Series(rows, dtype=object)))
        object.__setattr__(self, "name", replace_surrogates(self.name))
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
        labelled = labelled[(labelled["label"] != "") | (labelled["split"] != "test")]
        if n := (labelled["label"] == "").sum():
            raise DataError(f"{self.name}: {n} train or valid row(s) without a label; make their split unlabelled")
        for label, n in self._each(labelled).value_counts(sort=False).items():
            if n < self.least:
                raise DataError(f"{self.name}: class {label!r} has one example; a class needs two or more")
        for split in LABELLED:
            if split not in set(self.df["split"]):
                raise DataError(f"{self.name}: no rows in the {split} split")
        train = self.split("train")
        seen = self._each(train).value_counts()
        if unseen := sorted(set(self._each(labelled)) - set(seen.index)):
            raise DataError(f"{self.name}: class {unseen[0]!r} has no training example; leave its rows out")
        if len(seen) < 2:
            names = quote_names(seen.index) or "none"
            raise DataError(f"{self.name}: the training texts' classes are {names}; two or more are needed")
        if self.multi_label and seen.iloc[0] == len(train):
            raise DataError(f"{self.name}: every training text has the label {seen.index[0]!r}; leave it out")

    @classmethod
    def from_csv(cls, path: str | Path, text_col: Columns = (), label_col: Columns | None = None, **options):
        """Read your own table or folder of texts, and print notes of what was found.

        Options, as in `experiments.own_csv`: `multi_label`, `label_sep` and `bins` describe the labels; `split_col` and
        `id_col` name columns; `valid_pct` (0.1) and `test_pct` (0.2) are the shares to hold out for splits that are not
        in the table; `unlabelled` is a file or folder of more texts; `encoding`, `delimiter`, `header` and `quotes`
        describe the file format. Raises `DataError`.
        """
        if not isinstance(path, str | Path):
            raise DataError(f"from_csv reads a file or folder, not {type(path).__name__}; from_df reads a DataFrame")
        return cls.from_fields(user_table.load(Path(path), _own_table(text_col, label_col, options)))

    @classmethod
    def from_df(cls, df: pd.DataFrame, text_col: Columns = (), label_col: Columns | None = None, **options):
        """Read a DataFrame whose index names the rows; otherwise, and in its options, the same as `from_csv`."""
        if not isinstance(df, pd.DataFrame):
            raise DataError(f"from_df reads a pandas DataFrame, not a {type(df).__name__}")
        return cls.from_fields(user_table.from_frame(df, "table", _own_table(text_col, label_col, options), []))

    @classmethod
    def from_fields(cls, found: dict) -> "Corpus":
        """Return a corpus with these fields, found in a user's table, and print its notes."""
        encoding = sys.stdout.encoding or "utf-8"  # a terminal's encoding may lack letters of the labels
        print("\n".join(found["notes"]).encode(encoding, "replace").decode(encoding), flush=True)
        return cls(**found)

    @classmethod
    def from_folder(cls, path: str | Path, **options) -> "Corpus":
        """Read a folder of texts, CLASS/NAME.txt or SPLIT/CLASS/NAME.txt; options as in `from_csv`."""
        return cls.from_csv(path, **options)

    @cached_property
    def classes(self) -> list[str]:
        """Class names, sorted; the number of a class is its position in this list."""
        return sorted(set(self._each(self.df[self.df["split"] != "unlabelled"])) - {""})

    def _each(self, rows: pd.DataFrame) -> pd.Series:
        """Return the class of each row; with several labels, one row per label of each row."""
        return each_label(rows["label"], self.multi_label)

    def numbers(self, rows: pd.DataFrame) -> np.ndarray:
        """Return class numbers (`NO_CLASS` without a label) or, if `multi_label`, a 0/1 matrix `rows x labels`."""
        if self.multi_label:
            return multilabel.indicators(rows["label"], self.classes)
        return rows["label"].map({c: i for i, c in enumerate(self.classes)}).fillna(NO_CLASS).to_numpy(int)

    @property
    def class_weights(self) -> np.ndarray:
        """Weight of each class in the loss, inverse to its number of training texts, so that all have the same share.
        If `multi_label`, the weight of the texts with a label: the number of texts without it for each one with it."""
        numbers = self.numbers(self.split("train"))
        if self.multi_label:
            return (1 - numbers).sum(axis=0) / numbers.sum(axis=0)
        sizes = np.bincount(numbers, minlength=len(self.classes))
        return sizes.sum() / (len(sizes) * sizes)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over every text, label and split, in order."""
        fields = chain.from_iterable(self.df[["text", "label", "split"]].itertuples(index=False))
        return _digest(chain(["several labels"] * self.multi_label, fields))

    @cached_property
    def text_digest(self) -> str:
        """SHA-256 over what a language model may see: the texts and which of them are held out, no labels."""
        role = self.df["split"].replace("unlabelled", "train")
        return _digest(chain.from_iterable(zip(self.df["text"], role)))

    def split(self, *names: str) -> pd.DataFrame:
        """Return the rows of these splits; their index remains the row number in `df`."""
        return self.df[self.df["split"].isin(names)]

    def documents(self) -> Iterator[tuple[str, str]]:
        """Iterate over (text, split) of each row, with a progress bar."""
        rows = zip(self.df["text"], self.df["split"])
        return iter(tqdm(rows, total=len(self.df), desc="tokens", unit=" texts", leave=False, disable=None))

    def counts(self) -> dict[str, int]:
        """Return the number of rows in each split."""
        return {s: int((self.df["split"] == s).sum()) for s in SPLITS}

    def with_train_size(self, size: int | None) -> "Corpus":
        """Keep the labels of `size` training rows, stratified by class; the other texts stay in as unlabelled."""
        check_type(size, int | None, "train_size")
        train = self.split("train")
        if size is None or size == len(train):
            return self
        groups = train.assign(label=multilabel.rarest_label(train["label"])) if self.multi_label else train
        if not (least := groups["label"].nunique()) <= size <= len(train):
            raise DataError(
                f"{self.name}: --train-size {size} is impossible: there are {len(train)} training rows "
                f"and {least} classes, each of which needs one"
            )
        try:
            return self._with_labels(stratified(groups, size))
        except DataError as e:  # with several labels, all texts may share one
            raise DataError(f"--train-size {size} is too small: {e}") from e

    def with_shots(self, shots: int | None, draw: int = 0) -> "Corpus":
        """Keep the labels of `shots` training rows per class, at random; the others stay in as unlabelled."""
        check_type(shots, int | None, "shots")
        check_type(draw, int, "draw")
        if shots is None:
            return self
        if self.multi_label:
            raise DataError("--shots draws texts per class, but a text has several labels; use --train-size")
        groups = self.split("train").groupby("label")
        sizes = groups.size()
        if not 1 <= shots <= sizes.min():
            raise DataError(
                f"{self.name}: --shots {shots} is impossible: it must be 1 to {sizes.min()}, the number of training "
                f"rows of the smallest class, {sizes.idxmin()!r}"
            )
        if not 0 <= draw < 2**32:
            raise DataError(f"--draw {draw} is impossible: it must be 0 to 2**32 - 1")
        return self._with_labels(groups.sample(shots, random_state=draw).index)

    def _with_labels(self, kept: pd.Index) -> "Corpus":
        df = self.df.copy()
        df.loc[self.split("train").index.difference(kept), ["split", "label"]] = ["unlabelled", ""]
        return replace(self, df=df, least=1)

    def labelled(self) -> "Corpus":
        """Return the corpus without its unlabelled texts."""
        return replace(self, df=self.split(*LABELLED))


def _own_table(text_col: Columns, label_col: Columns | None, options: dict) -> OwnTable:
    column = str | Integral | None
    hints = get_type_hints(OwnTable) | {"unlabelled": str | Path | None, "split_col": column, "id_col": column}
    for name, value in options.items():
        if name not in hints:
            raise DataError(f"there is no option {name!r}; the options are {', '.join(hints)}")
        check_type(value, hints[name], name)
    for name, columns in {"text_col": text_col, "label_col": label_col}.items():
        check_type(columns, str | Integral | Iterable[str | Integral] | None, name)
        columns = (columns,) if isinstance(columns, str | Integral) else () if columns is None else columns
        options[name] = tuple(map(str, columns))
    options |= {k: str(options[k]) for k in ("split_col", "id_col") if options.get(k) is not None}
    return OwnTable(**options)


def _digest(fields) -> str:
    h = hashlib.sha256()
    for field in fields:
        data = field.encode("utf-8", "surrogatepass")
        h.update(len(data).to_bytes(8, "little") + data)
    return h.hexdigest()
