"""Read tables; training, unlabelled texts, pretraining and prediction all use this reader.

Formats are CSV and similar, JSON, Parquet, fastText's lines and one text per line; a file may be compressed or the only
one in a zip. A table is read as a stream of chunks in bounded memory; training reads all of them. Its format is first
detected from the whole file, so all uses read it alike. All values are strings: no type is guessed.
"""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import pandas as pd
from tqdm.auto import tqdm

from ..common import DataError, chunked, quote_names
from . import csv_dialect, encodings
from .archives import opened, with_progress
from .csv_dialect import Dialect, normalised
from .fasttext import COLUMNS, fasttext_rows, is_fasttext
from .json_parquet import Row, json_rows, parquet_names, parquet_rows
from .options import AUTO, Format

TABLES = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
"""Suffix of a table -> its usual delimiter."""
JSON = (".jsonl", ".ndjson", ".json")
PARQUET = (".parquet", ".pq")
CHUNK_ROWS, CHUNK_CHARS = 2_000, 2**22
"""Maximum number of rows in a chunk, and approximate maximum number of characters."""


@dataclass(frozen=True)
class Table:
    """A file of rows, and how it is written."""

    path: Path
    kind: Literal["delimited", "json", "parquet", "fasttext", "lines"]
    name: str
    """Name of the file, or of the file packed in it."""
    encoding: str = ""
    dialect: Dialect | None = None
    """Dialect of a CSV; None for other kinds."""
    skip: int = 0
    """Number of lines above the header."""
    header: bool = False
    columns: tuple[str, ...] = ("text",)
    """Column names. For JSON: the fields of the rows read until all requested columns were found."""
    notes: tuple[str, ...] = ()
    """Messages for the user on how the table is read."""

    def chunks(self, columns: Collection[str] = (), bar: tqdm | None = None) -> Iterator[pd.DataFrame]:
        """Yield the rows in chunks, with these columns or all. The index is the number of the row, from 0; blank lines
        are not counted.

        Raises `DataError`.
        """
        start = 0
        for rows in chunked(self._rows(columns, bar), CHUNK_CHARS, _row_size):
            index = range(start, start + len(rows))
            yield pd.DataFrame(rows, index, columns=list(columns) or None, dtype=object).fillna("")
            start += len(rows)

    def lines(self, bar: tqdm | None = None) -> Iterator[str]:
        """Yield the decoded lines. Line ends of a CSV are kept unchanged, since a cell may contain them."""
        with opened(self.path) as (content, _, raw):
            newline = "" if self.kind == "delimited" else None
            text = io.TextIOWrapper(content, self.encoding, errors="replace", newline=newline)
            mark = codecs.BOM_UTF8.decode(self.encoding, "replace") or "\ufeff"  # may precede text in any encoding
            lines = iter(lambda: text.readline(csv_dialect.MAX_ROW_CHARS), "")
            lines = (line.removeprefix(mark) for line in lines)  # on every line: files with a mark may have been joined
            yield from islice(with_progress(lines, raw, bar), self.skip, None)

    def _rows(self, columns: Collection[str], bar: tqdm | None) -> Iterator[Row]:
        match self.kind:
            case "parquet":
                return parquet_rows(self.path, columns or self.columns, bar)
            case "json":
                return json_rows(self.lines(bar), self.path, columns)
            case "fasttext":
                return fasttext_rows(self.lines(bar))
            case "lines":
                return ({"text": line.rstrip("\n")} for line in self.lines(bar))
        return self._delimited_rows(bar)

    def _delimited_rows(self, bar: tqdm | None) -> Iterator[Row]:
        try:
            for line, row in islice(self.dialect.rows(self.lines(bar)), int(self.header), None):
                cells = row if len(row) == len(self.columns) else self._padded(row, line + self.skip)
                yield dict(zip(self.columns, cells))
        except csv.Error as e:
            raise DataError(f"{self.path}: {e}; see --quotes") from e

    def _padded(self, row: list[str], line: int) -> list[str]:
        """Return a row cut or padded to the length of the first row. Raises `DataError` unless the cells cut are
        empty and the missing columns are nameless ones of a header."""
        n = len(self.columns)
        nameless = self.header and all(self.columns[i] == str(i) for i in range(len(row), n))
        if any(cell.strip() for cell in row[n:]) or (len(row) < n and not nameless):
            raise DataError(
                f"{self.path}, line {line}: {len(row)} columns, but the first line has {n}; a text with "
                f"{self.delimiter} or line breaks in it must be in double quotes (see --delimiter and --quotes)"
            )
        return [*row[:n], *[""] * (n - len(row))]

    @property
    def delimiter(self) -> str:
        """The separator of the columns, in words."""
        return csv_dialect.DELIMITERS.get(self.dialect.delimiter, repr(self.dialect.delimiter))

    def find_columns(self, columns: Iterable[str], option: str) -> list[str]:
        """Return the names of `columns`, without duplicates.

        Raises `DataError` if the table lacks one; `option` is the option with which the user can name another."""
        try:
            return list(dict.fromkeys(find_column(column, self.columns) for column in columns))
        except DataError as e:
            raise DataError(f"{self.path}: {e}. Name another with {option}") from e


def find_column(column: str, columns: Sequence[str]) -> str:
    """Return the name of a column given by name or by number. Raises `DataError` if there is no such column."""
    if column in columns:
        return column
    alike = [name for name in columns if normalised(name) == normalised(column)]
    if len(alike) == 1:
        return alike[0]
    if column.isdecimal() and int(column) < len(columns):
        return columns[int(column)]
    raise DataError(f"no column {column!r}; it has {quote_names(columns[:50])}")


def join_columns(rows: pd.DataFrame, columns: Collection[str]) -> pd.Series:
    """Return the texts of one column, or those of several columns joined by line breaks."""
    texts = map("\n".join, rows[list(columns)].itertuples(index=False))
    return pd.Series(texts, rows.index, dtype=object)


def read_table(path: Path, format: Format = AUTO, names: Collection[str] = (), must_be_table: bool = True):
    """Read a table; return all its rows and the `Table`. Raises `DataError`.

    Unless it `must_be_table`, `header`, which is that of another file, does not make a table of texts one per line."""
    if not must_be_table and format.header != "auto":
        detected = replace(format, header="auto")
        format = detected if open_table(path, detected, names, False).kind == "lines" else format
    table = open_table(path, format, names, must_be_table)
    rows = pd.concat([pd.DataFrame(columns=list(table.columns), dtype=object), *table.chunks()])
    return rows.fillna(""), table


def open_table(path: Path, format: Format = AUTO, names: Collection[str] = (), must_be_table: bool = True) -> Table:
    """Detect how a table is written. `names` are columns that it may have: requested ones, or those used in training.

    Unless it `must_be_table`, a file that does not look like a table by its suffix, `format` or first rows is read as
    `lines`: one text per line. Raises `DataError`.
    """
    if not path.is_file():
        raise DataError(f"{path} is a folder, a pipe or a device" if path.exists() else f"there is no file {path}")
    format, names = format.checked(), [normalised(name) for name in names]
    name, suffix = _packed_name(path)
    must_be_table = must_be_table or suffix in TABLES
    if suffix in PARQUET:
        return Table(path, "parquet", name, columns=parquet_names(path), notes=(f"{path.name}: Parquet",))
    words = [name for name in names if not name.isdecimal()]  # a number may be in any row
    encoding, notes = _detect_encoding(path, format)
    table = Table(path, "lines", name, encoding)
    head = csv_dialect.head_lines(table.lines())
    _refuse_other_formats(table, head, format, must_be_table)
    if head and (excel := re.fullmatch(r'(?i)"?sep=(.)"?\s*', head[0])):
        table, head = replace(table, skip=1), head[1:]
        format = replace(format, delimiter=format.delimiter or excel[1])
    above = csv_dialect.count_lines_above(head, words) if format.header != "no" else 0
    if above and not must_be_table:
        below = head[above:]
        above *= _is_table(csv_dialect.likely_dialect(below, format, words), below, words, ())
    if above:
        table, head = replace(table, skip=table.skip + above), head[above:]
        notes.append(f"lines above the header, not read: {above}")
    if not format.delimiter and is_fasttext(head):
        table = replace(table, kind="fasttext", columns=COLUMNS)
    elif suffix in JSON or (not format.delimiter and re.match(r'\s*(\[\s*)?\{\s*"', "".join(head))):
        table = _json_table(replace(table, kind="json"), words)
    else:
        likely = csv_dialect.likely_dialect(head, format, words, TABLES.get(suffix, ""))
        described = bool(format.delimiter) or format.header != "auto"
        if must_be_table or described or _is_table(likely, head, words, names):
            table = _delimited_table(replace(table, kind="delimited"), likely, format, names)
    shown = {"utf-8-sig": "UTF-8"}.get(encoding, encoding)
    return replace(table, notes=(f"{path.name}: {shown}, {_describe_layout(table, head)}", *notes, *table.notes))


def _refuse_other_formats(table: Table, head: list[str], format: Format, must_be_table: bool) -> None:
    """Raise `DataError` if the first lines are binary, or those of another format of text than a table's."""
    if not format.delimiter and encodings.is_binary("".join(head), table.encoding):
        raise DataError(
            f"{table.path} is not text: save a spreadsheet as CSV, Feather, Arrow or a pickle as Parquet; "
            "unpack what is not gzip, bzip2, xz or zip"
        )
    if must_be_table and head and re.match(r"(?i)\s*<(!doctype|html|\?xml)\b(?!.*(\t|</html>))", head[0]):
        raise DataError(f"{table.path} is a web page or XML, not a table; download or export it as CSV")


def _packed_name(path: Path) -> tuple[str, str]:
    """Return the name of a file's unpacked content, and the suffix that says how to read it. Raises `DataError`."""
    with opened(path) as (content, name, raw):
        suffix, start = Path(name).suffix.lower(), content.read(262)
        if start.startswith(b"PAR1"):
            suffix = PARQUET[0]
        if start[257:].startswith(b"ustar"):
            raise DataError(f"{path} is a tar archive; unpack it first")
        if suffix in PARQUET and content is not raw:
            raise DataError(f"{path} is a packed Parquet file; unpack it first")
        return name, suffix


def _describe_layout(table: Table, head: list[str]) -> str:
    """Describe in words how the rows are written."""
    if table.kind in ("lines", "fasttext"):
        return "one text per line" + ", after its labels, as fastText has them" * (table.kind == "fasttext")
    if table.kind == "json":
        return "a JSON array" if "".join(head).lstrip().startswith("[") else "JSON lines"
    layout = f"columns separated by {table.delimiter}"
    if table.dialect.delimiter == csv_dialect.ONE_COLUMN:
        layout = "one column" + ", named by the first line (see --header)" * bool(table.header)
    layout += "" if table.dialect.quotes else ", quotes are part of the text"
    return layout + ("" if table.header else "; no header line, so the columns are named 0, 1, ... (see --header)")


def _detect_encoding(path: Path, format: Format) -> tuple[str, list[str]]:
    """Return the encoding of a file, and notes for the user if it was guessed or some bytes are not valid in it."""
    with opened(path) as (content, _, _):
        encoding, invalid = (format.encoding, 0) if format.encoding else encodings.detect_unicode(content)
    if encoding and (format.encoding or encoding != "utf-8-sig"):
        with opened(path) as (content, _, _):
            text = io.TextIOWrapper(content, encoding, errors="replace")
            invalid = sum(block.count("\ufffd") for block in iter(lambda: text.read(encodings.BLOCK), ""))
    if encoding:
        shown = "UTF-8" if encoding == "utf-8-sig" else encoding
        notes = [f"invalid {shown} sequences, replaced by U+FFFD: {invalid:,} (see --encoding)"]
        return encoding, notes if invalid else []
    with opened(path) as (content, _, _):
        encoding = encodings.guess_encoding(iter(lambda: content.readline(encodings.BLOCK), b""))
    return encoding, [f"the encoding {encoding} is a guess (see --encoding)"]


def _json_table(table: Table, words: Collection[str]) -> Table:
    columns: dict[str, None] = {}
    for rows in table.chunks():  # until all requested columns are found
        columns |= dict.fromkeys(rows)
        if set(words) <= {normalised(column) for column in columns}:
            break
    return replace(table, columns=tuple(columns))


def _delimited_table(table: Table, likely: Dialect, format: Format, names: Collection[str]) -> Table:
    dialect, scanned = csv_dialect.final_dialect(likely, table.lines, format)
    head = csv_dialect.first_rows(dialect, table.lines())
    if not head:
        raise DataError(f"{table.path} is empty, or its first row never ends; see --quotes")
    if len(head[0]) > csv_dialect.MAX_COLUMNS:
        raise DataError(f"{table.path} seems to have {len(head[0]):,} columns; is it a table of texts?")
    header = format.header == "yes" or (format.header == "auto" and csv_dialect.has_header(head, names))
    cells = head[0] if header else [""] * len(head[0])
    notes = scanned.notes(table.skip)
    if header and csv_dialect.first_column_is_index(head):
        cells = ["", *cells]
        notes.append("the first column has no name, and names the rows")
    if again := [name for name, times in Counter(map(normalised, cells)).items() if name and times > 1]:
        notes.append(f"columns of the same name: {again[0]!r}; the second is {again[0] + '.1'!r}")
    columns = csv_dialect.column_names(cells)
    return replace(table, dialect=dialect, header=header, columns=tuple(columns), notes=tuple(notes))


def _is_table(dialect: Dialect, head: list[str], words: Collection[str], names: Collection[str]) -> bool:
    """Whether a file without a table's suffix is a table: its first row has one of `words`; or all rows have the same
    number of columns, separated by tabs or, if `names` are all numbers, not by commas, which occur in any text."""
    rows = csv_dialect.first_rows(dialect, head)
    if not rows or len(rows[0]) > csv_dialect.MAX_COLUMNS:
        return False
    even = len(set(map(len, rows))) == 1 < len(rows[0]) and dialect.delimiter != ","
    numbers = names and all(name.isdecimal() and int(name) < len(rows[0]) for name in names)
    tabs = dialect.delimiter == "\t" and len(rows) > 1
    return bool(even and (numbers or tabs)) or not {normalised(cell) for cell in rows[0]}.isdisjoint(words)


def _row_size(row: Row) -> int:
    """Return the share of a chunk's `CHUNK_CHARS` that a row uses."""
    return CHUNK_CHARS // CHUNK_ROWS + sum(map(len, row.values()))
