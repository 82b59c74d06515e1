"""Options for a user's own table, on the command line or in Python. Imports nothing heavy, so that --help is fast."""

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..common import DataError

TAB = {"tab": "\t", "\\t": "\t"}
"""What may stand for a tab on a command line."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a table is written, as far as the user specifies it."""

    encoding: str | None = None
    """Encoding of the file, such as cp1250. Default: UTF-8, or a guess if the file is not UTF-8."""
    delimiter: str | None = None
    """Character between the columns of a CSV, or tab. Default: detected."""
    header: Literal["auto", "yes", "no"] = "auto"
    """Whether the first line of a CSV names the columns; without names they are called 0, 1, ..."""
    quotes: Literal["auto", "yes", "no"] = "auto"
    """Whether a cell of a CSV may be in double quotes; with no, quotes are part of the text."""

    def checked(self) -> "Format":
        """Return the options with `tab` as a character and a standard name of the encoding.

        Raises `DataError` if the encoding or the delimiter is not possible."""
        encoding = self.encoding
        try:
            if encoding:
                " ".encode(encoding).decode(encoding, "replace")
                name = codecs.lookup(encoding).name
                encoding = "utf-8-sig" if name == "utf-8" else name
        except (LookupError, UnicodeError) as e:
            names = "utf-8, cp1252 or utf-16"
            raise DataError(f"--encoding {self.encoding} is no encoding of text; give a name such as {names}") from e
        delimiter = TAB.get(self.delimiter, self.delimiter)
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
            raise DataError(f"--delimiter {self.delimiter}: give one character, or tab")
        return Format(encoding=encoding, delimiter=delimiter, header=self.header, quotes=self.quotes)


AUTO = Format()


@dataclass(frozen=True, kw_only=True)
class OwnTable(Format):
    """Options for a table of labelled texts; its format options apply to `unlabelled` too."""

    text_col: tuple[str, ...] = ()
    """Column of the text, by name or by number from 0; several are joined by line breaks. Default: the column called
    text, or the one with the longest texts."""
    label_col: str | tuple[str, ...] | None = None
    """Column of the class; several names are 0/1 columns, one per label. Default: a column with a name such as label,
    or the one with the fewest different values."""
    multi_label: bool = False
    """A text may have several labels, in a cell such as billing;urgent. Not needed for lists or 0/1 objects in
    JSON, or for several --label-col."""
    label_sep: str | None = None
    """Separator of the labels in a cell (default: ;). Implies --multi-label."""
    bins: int | None = None
    """Cut a numeric label into this many classes with about equally many training rows; 0 makes each number a class.
    Default: numbers that look like a measure, not like classes, are refused."""
    split_col: str | None = None
    """Column with the values train, valid, test or unlabelled, or true for valid. Default: a column whose values are
    all splits, or is_valid; without one, rows are held out (--valid-pct, --test-pct)."""
    id_col: str | None = None
    """Column that identifies each row in the predictions. Default: the row's number in the table, from 0."""
    valid_pct: float = 0.1
    """Share of the training rows to hold out for validation."""
    test_pct: float = 0.2
    """Share of the rows to hold out for the test."""
    unlabelled: Path | None = None
    """Another table, or a folder of .txt files, with texts for the language model alone."""

    @property
    def columns(self) -> list[str]:
        """All columns given in the options, by name or by number."""
        return [*self.text_col, *self.label_cols, *filter(None, (self.split_col, self.id_col))]

    @property
    def label_cols(self) -> tuple[str, ...]:
        """The columns of `label_col`; empty if the label is to be guessed."""
        names = (self.label_col,) if isinstance(self.label_col, str) else self.label_col or ()
        return tuple(dict.fromkeys(names))
