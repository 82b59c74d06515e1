"""How a table is written: encoding, delimiter, quotes, header line. What its owner does not say is detected.

clevercsv was tried for the delimiter and the quotes: on the tables in tests/test_table.py it took the space between
words for the delimiter in 5 of 14, saw no quotes around texts of several lines, and called `text,label` no header. Its
measure expects short cells of known types; ours are sentences.
"""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import BinaryIO

from charset_normalizer import from_bytes

from .options import Format

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
LABEL_NAMES = ("label", "class", "category", "target", "sentiment", "topic", "stars", "rating", "score", "type")
NAMES = {*LABEL_NAMES, "text", "body", "content", "review", "comment", "message", "title", "sentence", "id", "split"}
"""Words that, as a table's first cell in a column, are the column's name."""
ENCODINGS = ("cp1252", "cp1250", "iso8859_2", "cp1254", "cp1257", "cp1251", "koi8_r", "koi8_u", "cp866", "iso8859_5")
ENCODINGS += ("cp1253", "cp1255", "cp1256", "mac_roman", "cp850", "cp852")
ENCODINGS += ("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr")
"""Guesses for what is not UTF-8, the likelier first. Others, such as Thai cp874, only --encoding can name."""
LACKING = {"cp1252": "šžŠŽ", "cp1257": "éÉóÓøØæÆåÅ"}
"""Letters of an encoding that its languages do not have, but those of cp1250 or cp1252."""
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
ONE_COLUMN = "\x1f"
MOST_COLUMNS = 1000
BLOCK, SAMPLE, HEAD_ROWS = 2**20, 2**16, 200
CONTROLS = r"[\0-\x08\x0e-\x1a\x7f]"
LONGEST = 2**25
"""Characters of a row: more is a quote that never ends, or no table."""
csv.field_size_limit(2**31 - 1)  # the largest that Windows takes


def sound(text: str) -> str:
    """`text` with each lone surrogate, which JSON and file names may bring and no file can hold, as U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# Encoding

_INVALID = re.compile("[\udce0-\udcef][\udc80-\udcbf]|[\udcf0-\udcf4][\udc80-\udcbf]{1,2}|[\udc80-\udcff]")
_CUT = re.compile("\udcf0[\udc90-\udcbf][\udc80-\udcbf]|\udce2[\udc80-\udc9f]")
"""An emoji or a dash that lost its last byte; no other encoding has these bytes in a row in a text."""


def unicode_encoding(stream: BinaryIO) -> tuple[str, int]:
    """UTF-8 or UTF-16 by all of a file's bytes, nothing if it is neither; and how many places in it are not valid.

    UTF-8 with fewer invalid places than characters beyond ASCII is UTF-8: an export may cut characters at a length, and
    tables are joined from several sources.
    """
    block = stream.read(BLOCK)
    mark = next((m for m in MARKS if block.startswith(m)), None)
    if mark and mark != codecs.BOM_UTF8:
        return MARKS[mark], 0
    even, odd = (block[start:SAMPLE:2].count(0) for start in (0, 1))
    if max(even, odd) > max(len(block[:SAMPLE]) / 100, 4 * min(even, odd)):  # UTF-16: of ASCII, every second byte is 0
        return ("utf-16-be" if even > odd else "utf-16-le"), 0
    decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
    valid, invalid, cut = -bool(mark), 0, 0
    while block:
        following = stream.read(BLOCK)
        text = decode(block, not following)
        try:
            text.encode()
            valid += len(block.translate(None, bytes(range(0xC0))))  # first bytes of characters beyond ASCII
        except UnicodeEncodeError:
            found = _INVALID.findall(text)
            invalid += len(found)
            cut += sum(map(bool, map(_CUT.match, found)))
            valid += len(re.findall("[^\0-\x7f\udc80-\udcff]", text))
        block = following
    return ("utf-8-sig", invalid) if valid + cut >= invalid else ("", 0)


def is_binary(text: str, encoding: str) -> bool:
    """Whether the beginning of a file has more characters than any text that no text has."""
    return len(re.findall(r"\0" if encoding == "utf-8-sig" else CONTROLS, text[:SAMPLE])) > len(text[:SAMPLE]) / 50


def guessed_encoding(stream: BinaryIO) -> str:
    """Of a file that is not Unicode, by its first lines that are not ASCII: the encoding in which the fewest characters
    are odd, then the one with the least mess as charset-normalizer measures it, whose letters are as frequent as those
    of a language, then the likeliest."""
    sample = b""
    while len(sample) < SAMPLE and (line := stream.readline(BLOCK)):
        sample += b"" if line.isascii() else line
    found = [
        (_odd(str(match), encoding), round(match.chaos, 2), -round(match.coherence, 1), ENCODINGS.index(encoding))
        for match in from_bytes(sample, cp_isolation=list(ENCODINGS), threshold=0.6)
        for encoding in match.could_be_from_charset
        if encoding in ENCODINGS
    ]
    return ENCODINGS[min(found)[-1]] if found else ENCODINGS[0]


def _odd(text: str, encoding: str) -> int:
    """Characters beyond ASCII that no word has: a capital after a small letter, a sign between two letters; and letters
    that the languages of an encoding lack."""
    return sum(map(text.count, LACKING.get(encoding, ""))) + sum(
        (before.islower() and char.isupper()) or (before.isalpha() and after.isalpha() and not char.isalpha())
        for before, char, after in zip(text, text[1:], text[2:])
        if "\x7f" < char < "\u3000" and char not in "‘’–—"  # from there on are signs of scripts without spaces
    )


# Delimiter and quotes

_OPENED = re.compile(r'(?m)(?:^|[,;\t|]) *"(?:(?:[^"\\]|""|\\(?s:.))*+"(?= *(?:[,;\t|\r\n]|\Z)))?+')
"""A quote that begins a cell, and the cell as far as a quote ends it."""


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
        """(number of its last line, cells) of each row that is not blank. Raises `csv.Error`."""
        size = 0

        def fed():
            nonlocal size
            for line in lines:
                size += len(line)
                if size > LONGEST:
                    raise csv.Error(f"a row of more than {LONGEST:,} characters; does a quote not end?")
                yield re.sub(r'(?<!\\)((?:\\\\)*)\\"', r'\1""', line) if self.escapes else line

        quoting = csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE
        rows = csv.reader(fed(), delimiter=self.delimiter, quoting=quoting, skipinitialspace=self.spaces, strict=strict)
        for row in rows:
            size = 0
            empty_text = row == [""] and self.delimiter == ONE_COLUMN  # written as "", not a blank line
            if len(row) > 1 or empty_text or (row and row[0].strip()):
                yield rows.line_num, row

    def of_several_lines(self, lines: Iterable[str]) -> tuple[int, int, int]:
        """How many rows there are; how many with a line break in a cell; and the last line of the first of these."""
        ends = [line if any("\n" in cell for cell in row) else 0 for line, row in self.rows(lines)]
        return len(ends), len(ends) - ends.count(0), next(filter(None, ends), 0)

    def consistent(self, lines: Iterable[str]) -> bool:
        """Whether all rows have as many cells, and each quote that begins a cell ends one."""
        size = None
        try:
            return all(len(row) == (size := size or len(row)) for _, row in self.rows(lines, strict=True))
        except csv.Error:
            return False


def likely_dialect(head: list[str], format: Format, names: Collection[str], usual: str = "") -> Dialect:
    """The dialect that explains a table's first lines best; `names` are columns that it may have, in small letters, and
    `usual` is the delimiter that its suffix suggests."""
    quotes = format.quotes == "yes" or (format.quotes == "auto" and _mostly_quoted(head, True))
    delimiters = [format.delimiter] if format.delimiter else list(DELIMITERS)
    spaces = {d: quotes and any(re.search(re.escape(d) + ' +"', line) for line in head) for d in delimiters}
    candidates = [Dialect(d, quotes, spaces=s) for d in delimiters for s in sorted({False, spaces[d]})]
    best = max(candidates, key=lambda dialect: _fit(dialect, head, names, usual))
    return best if format.delimiter or any(_fit(best, head, names, usual)) else Dialect(ONE_COLUMN, quotes)


def settled_dialect(likely: Dialect, lines: Callable[[], Iterable[str]], format: Format) -> Dialect:
    """`likely` with what quotes mean in all of the table, which `lines` opens.

    They are syntax where each that begins a cell ends one. Where some do not, they are part of the texts if most in the
    table's head do not, and each line is a row of as many cells; so they are where they join a few of such lines.
    """
    if format.quotes == "no":
        return likely
    quoted, plain = replace(likely, quotes=True), replace(likely, quotes=False, spaces=False)
    for dialect in (quoted, replace(quoted, escapes=True)):
        if dialect.consistent(lines()):
            rows, long, _ = dialect.of_several_lines(lines())
            joins = format.quotes == "auto" and likely.delimiter != ONE_COLUMN and 0 < long < rows / 2
            return plain if joins and plain.consistent(lines()) else dialect
    if format.quotes == "auto" and not _mostly_quoted(head_lines(lines()), False) and plain.consistent(lines()):
        return plain
    return quoted


def _mostly_quoted(head: list[str], without: bool) -> bool:
    """Whether most quotes that begin a cell end one; `without` where there are none."""
    closed = [m[0].count('"') > 1 for m in _OPENED.finditer("".join(head))]
    return 2 * sum(closed) > len(closed) if closed else without


def head_lines(lines: Iterable[str], most: int = 200_000) -> list[str]:
    """The first lines, until there are so many characters."""
    head, size = [], 0
    for line in lines:
        head.append(line)
        size += len(line)
        if size >= most:
            break
    return head


def first_rows(dialect: Dialect, lines: Iterable[str]) -> list[list[str]]:
    """The first rows of a table; none where they are not of this dialect."""
    try:
        return [row for _, row in islice(dialect.rows(lines), HEAD_ROWS)]
    except csv.Error:
        return []


def _fit(dialect: Dialect, head: list[str], names: Collection[str], usual: str) -> tuple[float, ...]:
    """How well a dialect explains a table's head: whether its first row has one of `names`; the share of rows with the
    commonest number of cells; that of cells that begin as after a comma in a sentence, less; whether its delimiter is
    the usual one; and that number of cells. Nothing where the first row is one cell."""
    rows = first_rows(dialect, head)
    if not rows or len(rows[0]) == 1:
        return False, 0.0, 0.0, False, 0
    size, times = Counter(map(len, rows)).most_common(1)[0]
    cells = [cell for row in rows for cell in row[1:]]
    spaced = sum(cell.startswith(" ") for cell in cells) / max(1, len(cells))
    named = not {cell.strip().lower() for cell in rows[0]}.isdisjoint(names)
    return named, times / len(rows), -round(spaced, 1), dialect.delimiter == usual, size


# The header line


def has_header(rows: list[list[str]], names: Collection[str]) -> bool:
    """Whether the first of a table's first rows names its columns. `names` are those asked for, or known.

    A name in the row settles it. Numbers count columns, usually of a table without a header line.
    """
    first = [cell.strip() for cell in rows[0]]
    words = {name for name in names if not (name.isdecimal() and int(name) < len(first))}
    if not words.isdisjoint(map(str.lower, first)) or first == [str(i) for i in range(len(first))]:
        return True
    below = [row for row in rows[1:] if len(row) == len(first) and row != rows[0]]
    votes = sum(_vote(cell, [row[i].strip() for row in below]) for i, cell in enumerate(first))
    sentence = len(first) == 1 and " " in first[0]
    return votes > 0 or (votes == 0 and not sentence and not (names and not words))


def _vote(cell: str, values: list[str]) -> int:
    """How much a column suggests that its first cell is a name: above 0 for, below 0 against."""
    if not cell:
        return 0
    kinds = Counter(values)
    few = len(kinds) <= len(values) / 2
    if few and kinds[cell] > 1:
        return -2
    if cell.lower() in NAMES:
        return 2
    if not any(values):
        return 0
    if all(map(_number, filter(None, values))):
        return -1 if _number(cell) else 2
    if few:
        return 1 - kinds[cell]
    lengths = sorted(map(len, values))
    if len(values) < 5 or len(cell) > lengths[-1]:
        return 0
    return (len(cell) < lengths[len(values) // 20]) - (len(cell) > lengths[len(values) // 2])


def _number(cell: str) -> bool:
    return len(cell) < 40 and bool(re.fullmatch(r"[-+]?[\d.,]*\d[\d.,]*([eE][-+]?\d+)?%?", cell))


def column_names(cells: list[str]) -> list[str]:
    """A header's cells as names: the place of a nameless column; `text.1` for a second `text`."""
    names: dict[str, None] = {}
    for i, cell in enumerate(cells):
        plain = name = sound(cell).replace("\ufeff", "").strip() or str(i)
        n = 0
        while name in names:
            n += 1
            name = f"{plain}.{n}"
        names[name] = None
    return list(names)
