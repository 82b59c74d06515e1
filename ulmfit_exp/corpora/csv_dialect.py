"""Detect what the user does not specify about how a table is written: delimiter, quotes and header line.

clevercsv was tried for the delimiter and the quotes: on the tables in tests/test_user_table.py it took the space
between words for the delimiter in 5 of 14, saw no quotes around texts of several lines, and did not recognise the
header `text,label`. Its measure expects short cells of known types; our cells are sentences.
"""

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, islice
from typing import NamedTuple

from ..common import chunked
from .encodings import replace_surrogates
from .options import Format

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
LABEL_NAMES = ("label", "class", "category", "target", "sentiment", "topic", "stars", "rating", "score", "type")
LABEL_NAMES += ("gold_label", "labels", "emotion", "intent", "overall")  # after the others: a table may have both
TEXT_NAMES = ("text", "body", "content", "review", "comment", "message", "title", "sentence", "tweet", "headline")
TEXT_NAMES += ("description", "question", "document", "article", "post", "abstract", "summary", "email", "sms", "query")
NAMES = {*LABEL_NAMES, *TEXT_NAMES, "id", "split"}
"""Words that, in the first cell of a column, are taken as the name of the column."""
ONE_COLUMN = "\x1f"
MAX_COLUMNS = 1000
HEAD_ROWS = 200
MAX_LINES_ABOVE = 20
"""Maximum number of lines above a header."""
MAX_ROW_CHARS = 2**25
"""Maximum characters of a row: a longer one has a quote that never ends, or the file is not a table."""
csv.field_size_limit(2**31 - 1)  # the largest that Windows takes


# Delimiter and quotes

_OPENED = re.compile(r'(?m)(?:^|[,;\t|]) *"(?:(?:[^"\\]|""|\\(?s:.))*+"(?= *(?:[,;\t|\r\n]|\Z)))?+')
"""A quote that opens a cell, with the rest of the cell if a quote closes it."""


@dataclass(frozen=True)
class Dialect:
    """How lines are cut into rows of cells."""

    delimiter: str
    quotes: bool = True
    escapes: bool = False
    """Whether a backslash, not another quote, marks a quote within a cell."""
    spaces: bool = False
    """Whether spaces after a delimiter are skipped."""

    def rows(self, lines: Iterable[str], strict: bool = False) -> Iterator[tuple[int, list[str]]]:
        """Yield (number of its last line, cells) for each row that is not blank. Raises `csv.Error`."""
        size = 0

        def fed():
            nonlocal size
            for line in lines:
                size += len(line)
                if size > MAX_ROW_CHARS:
                    raise csv.Error(f"a row of more than {MAX_ROW_CHARS:,} characters; does a quote not end?")
                yield re.sub(r'(?<!\\)((?:\\\\)*)\\"', r'\1""', line) if self.escapes else line

        quoting = csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE
        rows = csv.reader(fed(), delimiter=self.delimiter, quoting=quoting, skipinitialspace=self.spaces, strict=strict)
        for row in rows:
            size = 0
            empty_text = row == [""] and self.delimiter == ONE_COLUMN  # written as "", not a blank line
            if len(row) > 1 or empty_text or (row and row[0].strip().strip("\0\x1a")):  # DOS ends files with them
                yield rows.line_num, row

    def scan(self, lines: Iterable[str], strict: bool = True) -> "Scan":
        """Summarise all rows; a `strict` scan stops at the first row that shows that the table is not `regular`."""
        sizes, before, multiline, bad_quote = Counter(), 0, [], 0
        try:
            for line, row in self.rows(lines, strict):
                sizes[len(row)] += 1
                if strict and len(sizes) > 1:
                    break
                if line > before + 1 and any("\n" in cell for cell in row):
                    multiline.append(line)
                before = line
        except csv.Error:
            bad_quote = before + 1
        few = 2 * len(multiline) < sizes.total()
        return Scan(len(sizes) < 2 and not bad_quote, multiline if few else [], bad_quote)


class Scan(NamedTuple):
    """Summary of the rows of a table."""

    regular: bool
    """Whether all rows have the same number of cells, and each quote that opens a cell is closed at a cell's end."""
    multiline: Sequence[int] = ()
    """Last line of each row in which quotes join several lines; none if they are half of the rows or more."""
    bad_quote: int = 0
    """First line of the first row with a quote that ends no cell, if a `strict` scan found one; else 0."""

    def notes(self, above: int) -> list[str]:
        """Return notes for the user on how quotes are read; `above` is the number of lines above the table."""
        notes = []
        if n := len(self.multiline):
            first = f"the first ends in line {self.multiline[0] + above}"
            notes.append(f"rows of several lines, joined by quotes: {n:,}, {first} (see --quotes)")
        if self.bad_quote:
            line = self.bad_quote + above
            notes.append(f"line {line}: a quote within quotes, or one that never ends; check such texts (see --quotes)")
        return notes


def likely_dialect(head: list[str], format: Format, names: Collection[str], usual: str = "") -> Dialect:
    """Return the dialect that best explains the first lines of a table. `names` are columns that it may have, in lower
    case; `usual` is the delimiter that its suffix suggests."""
    quotes = format.quotes == "yes" or (format.quotes == "auto" and _mostly_quoted(head, True))
    delimiters = [format.delimiter] if format.delimiter else list(DELIMITERS)
    spaces = {d: quotes and any(re.search(re.escape(d) + ' +"', line) for line in head) for d in delimiters}
    candidates = [Dialect(d, quotes, spaces=s) for d in delimiters for s in sorted({False, spaces[d]})]
    best = max(candidates, key=lambda dialect: _score(dialect, head, names, usual))
    return best if format.delimiter or any(_score(best, head, names, usual)) else Dialect(ONE_COLUMN, quotes)


def final_dialect(likely: Dialect, lines: Callable[[], Iterable[str]], format: Format) -> tuple[Dialect, Scan]:
    """Return `likely` with the meaning of quotes decided from the whole table, which `lines` opens, and a `Scan` of it.

    The first rule that applies decides; the exception and the third rule apply only if `format.quotes` is auto:

    - `format` says that there are no quotes: they are part of the texts, and the rows are not scanned.
    - Read as syntax, with or without escapes, quotes make the table regular: they are syntax. Exception: if they only
      join a few lines, and the table is also regular with each line alone as a row, they are part of the texts.
    - Most quotes that open a cell in the table's head are not closed at a cell's end, and the table is regular with
      each line as a row: they are part of the texts.
    - Otherwise they are syntax, and the table is not regular.
    """
    if format.quotes == "no":
        return likely, Scan(True)
    quoted, plain = replace(likely, quotes=True), replace(likely, quotes=False, spaces=False)
    auto, scans = format.quotes == "auto", []
    for dialect in (quoted, replace(quoted, escapes=True)):
        scans.append(found := dialect.scan(lines()))
        if found.regular:
            joins = auto and found.multiline and likely.delimiter != ONE_COLUMN
            if joins and not _has_quoted_cell(likely, lines()) and (lines_alone := plain.scan(lines())).regular:
                return plain, lines_alone
            return dialect, found
    if auto and not _mostly_quoted(head_lines(lines()), False) and (found := plain.scan(lines())).regular:
        return plain, found
    return quoted, quoted.scan(lines(), strict=False)._replace(bad_quote=scans[0].bad_quote)


def _has_quoted_cell(dialect: Dialect, lines: Iterable[str]) -> bool:
    """Whether any cell is enclosed in quotes within one line."""
    by = re.escape(dialect.delimiter)
    cell = re.compile(rf'(?:^|{by}) *"(?:[^"\n]|"")*" *(?={by}|\r?\n?$)')
    return any(map(cell.search, lines))


def _mostly_quoted(head: list[str], if_none: bool) -> bool:
    """Whether most quotes that open a cell are closed at a cell's end; `if_none` if there are no such quotes."""
    closed = [m[0].count('"') > 1 for m in _OPENED.finditer("".join(head))]
    return 2 * sum(closed) > len(closed) if closed else if_none


def head_lines(lines: Iterable[str], most: int = 200_000) -> list[str]:
    """Return the first lines, just enough to have `most` characters."""
    return next(chunked(lines, most), [])


def first_rows(dialect: Dialect, lines: Iterable[str]) -> list[list[str]]:
    """Return the first rows of a table, or no rows if the lines cannot be read in this dialect."""
    try:
        return [row for _, row in islice(dialect.rows(lines), HEAD_ROWS)]
    except csv.Error:
        return []


def _score(dialect: Dialect, head: list[str], names: Collection[str], usual: str) -> tuple[float, ...]:
    """Return how well a dialect explains a table's head, as a tuple: whether the first row has one of `names`; share of
    the rows with the most common number of cells; minus the share of cells that begin with a space, as after a comma in
    a sentence; share of the rows with a decimal comma in a cell; whether the delimiter is `usual`; that number of
    cells. All are 0 if the first row is a single cell."""
    rows = first_rows(dialect, head)
    if not rows or len(rows[0]) == 1:
        return False, 0.0, 0.0, 0.0, False, 0
    size, times = Counter(map(len, rows)).most_common(1)[0]
    cells = [cell for row in rows for cell in row[1:]]
    spaced = sum(cell.startswith(" ") for cell in cells) / max(1, len(cells))
    decimals = sum(any(re.fullmatch(r" *-?\d+,\d+ *", cell) for cell in row) for row in rows) / len(rows)
    named = not {normalised(cell) for cell in rows[0]}.isdisjoint(names)
    return named, times / len(rows), -round(spaced, 1), round(decimals, 1), dialect.delimiter == usual, size


# The header line


def has_header(rows: list[list[str]], names: Collection[str]) -> bool:
    """Whether the first of `rows` is a header. `names` are the requested columns, or those used in training.

    A row that contains one of these names is a header. Columns requested by number suggest that there is no header.
    """
    first = [cell.strip() for cell in rows[0]]
    words = {name for name in names if not (name.isdecimal() and int(name) < len(first))}
    if not words.isdisjoint(map(normalised, first)) or first == [str(i) for i in range(len(first))]:
        return True
    below = [row for row in rows[1:] if len(row) == len(first) and row != rows[0]]
    votes = sum(_header_vote(cell, [row[i].strip() for row in below]) for i, cell in enumerate(first))
    sentence = len(first) == 1 and " " in first[0]
    return votes > 0 or (votes == 0 and not sentence and not (names and not words))


def first_column_is_index(rows: list[list[str]]) -> bool:
    """Whether a header lacks a name for the first column, which contains row names, as in files that R writes.

    If the last cells are all empty, the rows have a delimiter at their end instead."""
    size, ids = len(rows[0]) + 1, [row[0].strip() for row in rows[1:]]
    if not any(row[-1].strip() for row in rows[1:] if row):
        return False
    return all(len(row) == size > 2 for row in rows[1:]) and len(set(ids)) == len(ids) and " " not in "".join(ids)


def count_lines_above(head: list[str], names: Collection[str]) -> int:
    """Return the number of lines above a table's header, such as titles and empty rows. The header has a requested or
    usual column name, or is filled below a first line that has one cell and then empty ones; the rows below it have the
    same number of cells; a line above has another number of cells, at most one that is filled, or a # at its start."""
    known, titled = {*names, *NAMES}, re.fullmatch(r"[^;,\t|]+([;,\t|])\1+\s*", "".join(head[:1]))
    for above, line in enumerate(head[:MAX_LINES_ABOVE]):
        cells = (cell.strip(' "\r\n') for delimiter in DELIMITERS for cell in line.split(delimiter))
        named = not known.isdisjoint(map(normalised, cells))
        if not (named or (titled and above)) or "".join(head[:above]).count('"') % 2:
            continue
        dialect = likely_dialect(head[above:], Format(), names)
        rows, lines = first_rows(dialect, head[above:]), first_rows(dialect, head[:above])
        if len(rows) > 2 and len(set(map(len, rows))) == 1 < len(rows[0]) and (named or all(map(str.strip, rows[0]))):
            alike = (row for row in lines if len(row) == len(rows[0]) and not row[0].startswith("#"))
            other = all(sum(map(bool, map(str.strip, row))) < 2 for row in alike)
            return above if lines and other and has_header(rows, names) else 0
    return 0


def _header_vote(cell: str, values: list[str]) -> int:
    """Return how much a column suggests that its first cell is its name: positive if for, negative if against."""
    if not cell:
        return 0
    kinds = Counter(values)
    few = len(kinds) <= len(values) / 2
    if set(kinds) == {"", cell}:  # the box of a survey, whose cells repeat its name if it was ticked
        return 0
    if few and kinds[cell] > 1:
        return -2
    if cell.lower() in NAMES:
        return 2
    if not any(values):
        return 0
    if all(map(_is_number, filter(None, values))):
        return -1 if _is_number(cell) else 2
    if few:  # a class that only the first row has is likely if many classes have a single row
        singles = sum(times == 1 for times in kinds.values())
        return -1 if cell in kinds else int(singles < len(values) / 20)
    lengths = sorted(map(len, values))
    if len(values) < 5 or len(cell) > lengths[-1]:
        return 0
    if len(cell) < lengths[len(values) // 20]:
        return 1
    return -1 if len(cell) > lengths[len(values) // 2] or len(cell.split()) > 3 else 0


def _is_number(cell: str) -> bool:
    return len(cell) < 40 and bool(re.fullmatch(r"[-+]?[\d.,]*\d[\d.,]*([eE][-+]?\d+)?%?", cell))


def normalised(column: str) -> str:
    """Return a column name without differences that are hard to see: case, outer spaces, variant forms of letters."""
    return unicodedata.normalize("NFKC", column).strip().casefold()


def column_names(cells: list[str]) -> list[str]:
    """Return unique names from the cells of a header: the position for an empty cell, `text.1` for a second `text`."""
    names: dict[str, None] = {}
    for i, cell in enumerate(cells):
        plain = re.sub("[\u200b\ufeff]", "", replace_surrogates(cell)).strip() or str(i)
        possible = chain([plain], (f"{plain}.{n}" for n in count(1)))
        names[next(name for name in possible if name not in names)] = None
    return list(names)
