"""`Documents`: texts for training a language model only, read as a stream, so they may be many and large."""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from io import BytesIO
from itertools import chain
from pathlib import Path

from tqdm.auto import tqdm

from ..common import DataError, as_utf8, chunked
from . import imdb
from .archives import files_below, is_archive, members, opened, readable
from .encodings import ENCODINGS, decode_bytes, detect_unicode, guess_encoding
from .options import AUTO, Format
from .sources import Source, find
from .table import join_columns, open_table

HELD_OUT = 500
"""In each run of this many documents, the first is held out for validation and the second for testing."""
PIECE = 20_000
"""Number of characters after which plain text is cut into another document, at the end of a line."""
START = 2**24
"""Number of bytes at the start of a file from which its encoding is guessed."""
MEMBER = r".*\.(txt|tokens)"
WIKITEXT_2 = Source(
    "wikitext-2/wikitext-2-v1.zip",
    "https://s3.amazonaws.com/research.metamind.io/wikitext/wikitext-2-v1.zip",
    unpacked="wikitext-2",
)
AS_LINES = " and rewritten as JSON lines with a field `text`"
WIKIPEDIA = Source("wikipedia", f"https://dumps.wikimedia.org{AS_LINES}", by_hand=True)
PRODUCTS = Source(
    "multi_domain/reviews.jsonl.xz",
    f"https://www.cs.jhu.edu/~mdredze/datasets/sentiment{AS_LINES}",
    by_hand=True,
)
UNLABELLED = r"train/unsup/\d+_0\.txt"
NAMED = {
    "wikipedia": ((WIKIPEDIA,), MEMBER),
    "wikitext-2": ((WIKITEXT_2,), MEMBER),
    "imdb": ((imdb.SOURCE,), UNLABELLED),
    "reviews": ((PRODUCTS, imdb.SOURCE), UNLABELLED),
}
"""Named corpora: the sources of each, and a pattern of the files to read from an archive or folder."""


@dataclass(frozen=True)
class Documents:
    """Texts in files, in the order of the files. How a file is read depends on its name:

    .csv .jsonl ... a table, as for training, with the texts in `text_col`
    .zip .tar.gz    each member that matches `member` is a document; a zip of one file is read like that file
    .tokens         WikiText, cut at the titles of articles; wiki.valid.tokens and wiki.test.tokens are held out whole
    other names     WikiExtractor's <doc> elements if it starts with one, a table if it looks like one, else plain text;
                    .txt files of a folder are plain text or JSON, unless an option names their columns or delimiter

    Files other than archives may be compressed with xz, gzip or bzip2. An archive member, a .tokens file or a line is
    in memory as a whole. Files that are not Unicode are assumed to have the same encoding. How files are read is
    printed to standard error. Raises `DataError`.
    """

    name: str
    files: tuple[Path, ...]
    text_col: tuple[str, ...] = ("text",)
    """JSON field or CSV column of the text; several are joined."""
    member: str = MEMBER
    format: Format = AUTO

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the files' bytes and how they are read."""
        text_col = self.text_col[0] if len(self.text_col) == 1 else self.text_col
        reading = [text_col, self.member, HELD_OUT, PIECE, *([astuple(self.format)] if self.format != AUTO else [])]
        h = hashlib.sha256(json.dumps(reading).encode())
        for path in self.files:
            h.update(os.fsencode("".join(path.suffixes)))  # how a file is read depends on its suffixes
            with readable(path), open(path, "rb") as f:
                h.update(hashlib.file_digest(f, "sha256").digest())
        return h.hexdigest()

    @cached_property
    def guess(self) -> str:
        """Encoding of the files that are not Unicode, guessed from the start of each and reported to the user."""
        starts = (data for data in self._starts() if not detect_unicode(BytesIO(data))[0])
        guess = guess_encoding(line for data in starts for line in data.splitlines(True))
        note = f"{self.name}: some files are not UTF-8; their encoding {guess} is a guess (see --encoding)"
        tqdm.write(note, sys.stderr)
        return guess

    def _starts(self) -> Iterator[bytes]:
        for path in self.files:
            if is_archive(path):
                yield from (data for _, data in members(path, f"(?i:{self.member})"))
            else:
                with opened(path) as (content, _, _):
                    yield content.read(START)

    @property
    def text_digest(self) -> str:
        """The same as `digest`, since documents have no labels."""
        return self.digest

    def documents(self) -> Iterator[tuple[str, str]]:
        """Yield (text, split) for each document; the split is train, valid or test."""
        n, found = 0, set()
        with tqdm(total=sum(f.stat().st_size for f in self.files), unit="B", unit_scale=True, disable=None) as bar:
            for path in self.files:
                bar.set_description(path.name)
                with readable(path):
                    for text, split in self._read(path, bar):
                        if text.strip():
                            split = split or {0: "valid", 1: "test"}.get(n % HELD_OUT, "train")
                            found.add(split)
                            yield text, split
                            n += 1
        if n < 3:
            raise DataError(
                f"{self.name}: {n} document(s) found; three or more are needed, since two are held out. Plain text "
                f"is cut into documents of {PIECE:,} characters; of an archive, .txt and .tokens files are read"
            )
        if lacks := {"train", "valid", "test"} - found:
            raise DataError(
                f"{self.name}: all documents are of the {' and '.join(sorted(found))} split, by their file's name; "
                f"name the folder that also has wiki.{min(lacks)}.tokens, or rename the file to have texts held out"
            )

    def _read(self, path: Path, bar: tqdm) -> Iterator[tuple[str, str | None]]:
        if is_archive(path):
            for m, data in members(path, f"(?i:{self.member})"):
                text = decode_bytes(data, self.format.encoding or detect_unicode(BytesIO(data))[0] or self.guess)
                texts = _wikitext(text) if m[0].lower().endswith(".tokens") else [text]
                yield from ((each, _split(m[0])) for each in texts)
            bar.update(path.stat().st_size)
            return
        table = open_table(path, self.format, self.text_col, must_be_table=False)
        if len(self.files) > 1 and not self.format.encoding and table.encoding in ENCODINGS:
            table = open_table(path, replace(self.format, encoding=self.guess), self.text_col, must_be_table=False)
        if table.kind == "delimited" and self._is_plain(path):
            table = replace(table, kind="lines", skip=0, notes=())
        for note in table.notes[len(self.files) > 1 :]:
            tqdm.write(note, sys.stderr)
        if table.kind == "lines":
            texts = _documents(table.lines(bar), Path(table.name).suffix)
        else:
            columns = table.find_columns(self.text_col, "--text-col")
            texts = chain.from_iterable(join_columns(rows, columns) for rows in table.chunks(columns, bar))
        yield from ((text, _split(table.name)) for text in texts)

    def _is_plain(self, path: Path) -> bool:
        """Whether a file that looks like a table is a text: .txt in a folder, if no option describes a table."""
        described = (self.text_col, self.format.delimiter, self.format.header) != (("text",), None, "auto")
        return len(self.files) > 1 and path.suffix.lower() == ".txt" and not described


def _documents(lines: Iterator[str], suffix: str) -> Iterator[str]:
    """Return the documents of a file that is not a table."""
    first = next(lines, "")
    lines = chain([first], lines)
    if first.startswith("<doc "):
        return _wikiextractor(lines)
    return _wikitext("".join(lines)) if suffix == ".tokens" else map("".join, chunked(lines, PIECE))


def _split(name: str) -> str | None:
    """Return the split in the name of a WikiText file, such as wiki.valid.tokens; None for other names."""
    found = re.search(r"wiki\.(train|valid|test)\.(tokens|raw)", name)
    return found and found[1]


def _wikiextractor(lines: Iterable[str]) -> Iterator[str]:
    text: list[str] = []
    for line in lines:
        if line.startswith("<doc "):
            text = []
        elif line.startswith("</doc>"):
            yield "".join(text)
            text = []
        else:
            text.append(line)
    if "".join(text).strip():  # the file was cut
        yield "".join(text)


def _wikitext(text: str) -> Iterator[str]:
    """Yield the articles of a WikiText file, with @-@ joins and <unk> replaced by what our tokenizer produces."""
    for article in re.split(r"^ ?(?== [^=].*[^=] = ?$)", text, flags=re.MULTILINE):
        yield re.sub(r" @([-,.])@ ", r"\1", article).replace("<unk>", "xxunk")


def open_documents(
    corpus: str,
    data_dir: Path | None,
    text_col: tuple[str, ...] = ("text",),
    download: bool = True,
    format: Format = AUTO,
) -> Documents:
    """Return the documents of a corpus in `NAMED` (imdb: its unlabelled reviews; reviews: product reviews, then those
    of imdb), a folder or a file. Raises `DataError` if there are no such files."""
    sources, member = NAMED.get(corpus, ((), MEMBER))
    paths = [find(source, data_dir, download) for source in sources] or [Path(corpus).expanduser()]
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"there is no file or folder {corpus}; named corpora are {', '.join(NAMED)}")
        below = files_below(path) if path.is_dir() else [path]
        found = [p for p in below if p == path or member == MEMBER or re.search(member, p.as_posix())]
        if not found:
            raise DataError(f"{path} holds no texts to read; name the folder or file that has them")
        files += found
    name = corpus if sources else as_utf8(paths[0].name)[:60]
    return Documents(name, tuple(files), text_col, member, format.checked())
