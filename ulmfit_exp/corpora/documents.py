"""`Documents`: texts for a language model alone, read as a stream, however many and however large."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from tqdm.auto import tqdm

from ..common import DataError
from . import imdb
from .archives import members, parquet_rows, readable, unpacked
from .sources import Source, find

HELD_OUT = 500
"""Of so many documents, the first is held out for validation and the second for test."""
PIECE = 20_000
"""Characters after which plain text is cut, at a line's end, into another document."""
TABLES = (".csv", ".tsv")
JSON_LINES = (".jsonl", ".ndjson", ".json")
MEMBER = r".*\.(txt|tokens)"
WIKITEXT_2 = Source(
    "wikitext-2/wikitext-2-v1.zip",
    "https://s3.amazonaws.com/research.metamind.io/wikitext/wikitext-2-v1.zip",
    unpacked="wikitext-2",
)
NAMED = {
    "wikipedia": (Source("wikipedia", "https://dumps.wikimedia.org (as JSON lines)", by_hand=True), MEMBER),
    "wikitext-2": (WIKITEXT_2, MEMBER),
    "imdb": (imdb.SOURCE, r"train/unsup/\d+_0\.txt"),
}


@dataclass(frozen=True)
class Documents:
    """Texts in files, in the files' order. How each is read hangs on its name:

    .jsonl .json    JSON lines with a text field (WikiExtractor --json writes such)
    .csv .tsv       a column; so .parquet
    .zip .tar.gz    members that match `member`, a document each
    .tokens         WikiText, cut at its articles' titles; wiki.valid.tokens and wiki.test.tokens are held out whole
    another         WikiExtractor's <doc> elements if it starts with one, JSON lines if with {, else plain text

    All but archives may be compressed by xz, gzip or bzip2. A member of an archive, and a line, is in memory whole.
    Raises `DataError`.
    """

    name: str
    files: tuple[Path, ...]
    text_col: str = "text"
    """JSON field or CSV column of the text. A number counts the columns, from 0, of a CSV without header."""
    member: str = MEMBER

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the files' bytes and how they are read."""
        h = hashlib.sha256(json.dumps([self.text_col, self.member, HELD_OUT, PIECE]).encode())
        for path in self.files:
            h.update("".join(path.suffixes).encode())  # how a file is read hangs on them
            with readable(path), open(path, "rb") as f:
                h.update(hashlib.file_digest(f, "sha256").digest())
        return h.hexdigest()

    @property
    def text_digest(self) -> str:
        """All there is, is text."""
        return self.digest

    def documents(self) -> Iterator[tuple[str, str]]:
        """(text, split) of each document; the split is train, valid or test."""
        n = 0
        bar = tqdm(total=sum(f.stat().st_size for f in self.files), unit="B", unit_scale=True, disable=None)
        with bar:
            for path in self.files:
                bar.set_description(path.name)
                with readable(path):
                    for text, split in self._read(path, bar):
                        if text.strip():
                            yield text, split or {0: "valid", 1: "test"}.get(n % HELD_OUT, "train")
                            n += 1
        if n < 3:
            raise DataError(
                f"{self.name}: {n} document(s) found, and two are to be held out; three or more are wanted. Plain text "
                f"is cut into documents of {PIECE:,} characters; of an archive, .txt and .tokens files are read"
            )

    def _read(self, path: Path, bar: tqdm) -> Iterator[tuple[str, str | None]]:
        if path.suffix in (".zip", ".tgz") or path.name.endswith((".tar.gz", ".tar.xz", ".tar.bz2")):
            for m, data in members(path, self.member):
                text = data.decode("utf-8")
                yield from ((t, _split(m[0])) for t in (_wikitext(text) if m[0].endswith(".tokens") else [text]))
            bar.update(path.stat().st_size)
            return
        if path.suffix == ".parquet":
            yield from ((text, None) for text in parquet_texts(path, self.text_col))
            bar.update(path.stat().st_size)
            return
        with open(path, "rb") as raw:
            lines, suffix = text_lines(raw, path)
            table = suffix in TABLES
            texts = csv_texts(lines, path, self.text_col, suffix) if table else self._lines(lines, path, suffix)
            before = 0
            for text in texts:
                yield text, _split(path.name)
                bar.update(raw.tell() - before)
                before = raw.tell()

    def _lines(self, lines: Iterable[str], path: Path, suffix: str) -> Iterator[str]:
        lines = iter(lines)
        first = next(lines, "")
        lines = chain([first], lines)
        if suffix in JSON_LINES or (not suffix and first.startswith("{")):
            return json_texts(lines, path, self.text_col)
        if first.startswith("<doc "):
            return _wikiextractor(lines)
        return _wikitext("".join(lines)) if suffix == ".tokens" else _plain(lines)


def text_lines(raw: BinaryIO, path: Path) -> tuple[Iterable[str], str]:
    """The lines of an open file, unpacked, and the suffix of what is in it."""
    content, name = unpacked(raw, path)
    suffix = Path(name).suffix
    return io.TextIOWrapper(content, encoding="utf-8-sig", newline="" if suffix in TABLES else None), suffix


def _split(name: str) -> str | None:
    """The split that a WikiText file's name says."""
    found = re.search(r"wiki\.(train|valid|test)\.(tokens|raw)", name)
    return found and found[1]


def json_texts(lines: Iterable[str], path: Path, field: str) -> Iterator[str]:
    for n, line in enumerate(lines, 1):
        try:
            text = json.loads(line)[field] if line.strip() else ""
        except (ValueError, KeyError, TypeError, RecursionError) as e:
            raise DataError(f"{path}, line {n}: not a JSON object with a field {field!r}; see --text-col") from e
        if not isinstance(text, str):
            raise DataError(f"{path}, line {n}: field {field!r} is not a text")
        yield text


def csv_texts(lines: Iterable[str], path: Path, column: str, suffix: str) -> Iterator[str]:
    rows = csv.reader(lines, delimiter="\t" if suffix == ".tsv" else ",")
    if column.isdecimal():
        place = int(column)
    else:
        header = next(rows, [])
        if column not in header:
            raise DataError(
                f"{path} has no column {column!r}; it has {header}. Name one with --text-col (0, 1, … if none)"
            )
        place = header.index(column)
    for row in rows:
        if row and place >= len(row):
            raise DataError(f"{path}, line {rows.line_num}: {len(row)} column(s), no column {place}")
        yield row[place] if row else ""


def parquet_texts(path: Path, column: str) -> Iterator[str]:
    for rows in parquet_rows(path):
        if column not in rows:
            raise DataError(f"{path} has no column {column!r}; it has {list(rows)}. Name one with --text-col")
        yield from rows[column].where(rows[column].notna(), "").map(str)


def _wikiextractor(lines: Iterable[str]) -> Iterator[str]:
    text: list[str] = []
    for line in lines:
        if line.startswith("<doc "):
            text = []
        elif line.startswith("</doc>"):
            yield "".join(text)
        else:
            text.append(line)


def _plain(lines: Iterable[str]) -> Iterator[str]:
    text, size = [], 0
    for line in lines:
        text.append(line)
        size += len(line)
        if size >= PIECE:
            yield "".join(text)
            text, size = [], 0
    yield "".join(text)


def _wikitext(text: str) -> Iterator[str]:
    """Articles of a WikiText file; its @-@ joins and <unk> become what our tokenizer gives."""
    for article in re.split(r"^ ?(?== [^=].*[^=] = ?$)", text, flags=re.MULTILINE):
        yield re.sub(r" @([-,.])@ ", r"\1", article).replace("<unk>", "xxunk")


def open_documents(corpus: str, data_dir: Path | None, text_col: str = "text", download: bool = True) -> Documents:
    """The documents of a named corpus (wikipedia, wikitext-2, imdb: its unlabelled reviews), a folder or a file."""
    source, member = NAMED.get(corpus, (None, MEMBER))
    path = find(source, data_dir, download) if source else Path(corpus)
    if not path.exists():
        raise DataError(f"there is no file or folder {corpus}; named corpora are {', '.join(NAMED)}")
    if path.is_dir():
        found = (p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        files = tuple(sorted(p for p in found if member == MEMBER or re.search(member, p.as_posix())))
    else:
        files = (path,)
    if not files:
        raise DataError(f"{path} holds no files")
    return Documents(corpus if source else path.name, files, text_col, member)
