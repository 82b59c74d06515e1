"""Finding, downloading and reading the publishers' files."""

import bz2
import csv
import gzip
import io
import lzma
import os
import re
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pandas as pd
from pyarrow import parquet
from tqdm.auto import tqdm

from ..common import DataError, sha256

MINIATURE = Path(__file__).parent / "miniature"
DATA_VARIABLE = "ULMFIT_EXP_DATA"


@dataclass(frozen=True)
class Source:
    """A publisher's file: its place below a data directory, its address, and its published digest."""

    path: str
    url: str
    sha256: str = ""
    """Of the published file; empty where none is published."""
    unpacked: str = ""
    """The folder that an archive unpacks to, read just as well where the archive is not there."""
    by_hand: bool = False
    """True where no file address is known or a log-in is wanted: `url` is then the page to get the file from."""


def find(source: Source, data_dir: Path | None, download: bool = True) -> Path:
    """The path of `source`: in `data_dir`, in the cache, or downloaded into it.

    A file listed in the data directory's `SHA256SUMS` is checked against it. Raises `DataError`.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ulmfit_exp"
    if data_dir is not None and not data_dir.is_dir():
        raise DataError(f"the data directory {data_dir} does not exist or is not a directory")
    if data_dir is not None and not os.access(data_dir, os.R_OK | os.X_OK):
        raise DataError(f"the data directory {data_dir} is not readable; mend its permissions")
    for folder in [MINIATURE] if data_dir == MINIATURE else filter(None, (data_dir, cache)):
        places = [p for p in (source.path, source.unpacked) if p]
        for path in [folder / p for p in places] + [folder / Path(p).name for p in places]:
            if path.exists():
                if not os.access(path, os.R_OK):
                    raise DataError(f"{path} is not readable")
                _check_sums(folder, path)
                return path
    if data_dir == MINIATURE:
        raise DataError(f"there is no miniature of {source.path}; run without --miniature")
    if not download:
        raise DataError(f"{source.path} is neither in the data directory nor in the cache")
    return _download(source, cache, data_dir)


def _check_sums(folder: Path, path: Path) -> None:
    sums = folder / "SHA256SUMS"
    if not sums.is_file() or not path.is_file():
        return
    name = path.relative_to(folder).as_posix()
    for line in sums.read_text().splitlines():
        expected, _, listed = line.partition(" ")
        if listed.strip(" *").removeprefix("./") == name and sha256(path) != expected:
            raise DataError(f"{path} has another SHA-256 than {sums} says; fetch the file again or mend the list")


def _download(source: Source, cache: Path, data_dir: Path | None) -> Path:
    target = (data_dir or cache) / source.path
    help_line = f"put it at {target}, or try the bundled texts with --miniature"
    if source.by_hand:
        raise DataError(f"{target.name} is not there and has to be fetched by hand from {source.url}; {help_line}")
    final = cache / source.path
    part = final.with_name(final.name + ".part")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(source.url, timeout=30) as response, open(part, "wb") as out:
            size = int(response.headers.get("Content-Length") or 0)
            with tqdm(total=size or None, unit="B", unit_scale=True, desc=final.name, disable=None) as bar:
                while block := response.read(1 << 20):
                    out.write(block)
                    bar.update(len(block))
        if size and part.stat().st_size != size:
            raise OSError(f"{part.stat().st_size:,} of {size:,} bytes came")
        if source.sha256 and (found := sha256(part)) != source.sha256:
            raise DataError(f"{source.url} gave a file with SHA-256 {found}, not {source.sha256}; {help_line}")
        part.replace(final)
    except (OSError, urllib.error.URLError) as e:
        raise DataError(f"{final.name} is not there and {source.url} could not be downloaded ({e}); {help_line}") from e
    finally:
        part.unlink(missing_ok=True)
    return final


csv.field_size_limit(sys.maxsize)
MOST_COLUMNS = 1000
PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
"""What opens a compressed file, by its first bytes."""
SUFFIXES = (".gz", ".bz2", ".xz")
MOST_UNPACKED = 100
"""Times its size that a compressed file may unpack to, if it is more than `SMALL`; text has three to twenty times."""
SMALL = 2**26


def no_bomb(path: Path, unpacked: int, packed: int) -> None:
    """Raises `DataError` where so many bytes cannot be text packed into so few."""
    if unpacked > max(SMALL, MOST_UNPACKED * packed):
        raise DataError(
            f"{path} unpacks to more than {MOST_UNPACKED} times its size, as no text does; "
            "if it is what it should be, unpack it first"
        )


class _Unpacked(io.RawIOBase):
    """What a decompressor reads from `raw`, as long as it is no bomb."""

    def __init__(self, stream: BinaryIO, raw: BinaryIO, path: Path):
        self.stream, self.raw, self.path, self.size = stream, raw, path, 0

    def readable(self):
        return True

    def readinto(self, buffer):
        n = self.stream.readinto(buffer)
        self.size += n
        no_bomb(self.path, self.size, self.raw.tell())
        return n


def unpacked(raw: BinaryIO, path: Path) -> tuple[BinaryIO, str]:
    """What an open file holds, and its name: gzip, bzip2, xz or a zip of one file unpacked, anything else as it is.

    Raises `DataError` where it is a bomb, once so much of it has been read.
    """
    head = raw.read(6)
    raw.seek(0)
    name = path.stem if path.suffix in SUFFIXES else path.name
    if head.startswith(b"PK\3\4"):
        inside = zipfile.ZipFile(raw)
        files = [i for i in inside.infolist() if not i.is_dir() and not i.filename.startswith("__MACOSX")]
        if len(files) != 1:
            raise DataError(f"{path} holds {len(files)} files; it should hold the table alone")
        stream, name = inside.open(files[0]), files[0].filename
    elif opener := next((opener for magic, opener in PACKED.items() if head.startswith(magic)), None):
        stream = opener(raw)
    else:
        return raw, name
    return io.BufferedReader(_Unpacked(stream, raw, path), 2**16), name


def csv_table(data: bytes, where: str, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    """A CSV in UTF-8 whose rows have these columns, or those that its first row names; all values are texts.

    Raises `DataError`, soon even where a row has a million cells.
    """
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline=""), strict=True)
    rows = []
    try:
        columns = columns or tuple(next(reader, ()))
        for row in filter(None, reader):
            if len(row) != len(columns):
                expected = f"{', '.join(columns[:-1])} and {columns[-1]}" if columns else "a header"
                raise DataError(f"{where}, line {reader.line_num}: {len(row)} columns where {expected} are expected")
            rows.append(row)
    except (csv.Error, UnicodeDecodeError) as e:
        raise DataError(f"{where}, line {reader.line_num}: not a CSV in UTF-8 ({e})") from e
    if len(columns) > MOST_COLUMNS or len(set(columns)) < len(columns) or not rows:
        raise DataError(f"{where}: no rows, columns of the same name or too many of them")
    return pd.DataFrame(rows, columns=list(columns))


def parquet_rows(path: Path) -> Iterator[pd.DataFrame]:
    """The rows of a Parquet file, a thousand at a time. Raises `DataError`."""
    size = 0
    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=1000):
            size += batch.nbytes
            no_bomb(path, size, path.stat().st_size)
            yield batch.to_pandas().astype(object)
    except DataError:
        raise
    except Exception as e:  # bytes of any kind fail in any way
        raise DataError(f"{path} is damaged or not Parquet ({str(e) or type(e).__name__}); make it again") from e


# What the standard library raises for damaged files; RuntimeError for zips that claim encryption or an unknown method.
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    csv.Error,
    EOFError,
    OSError,
    UnicodeDecodeError,
    RuntimeError,
    MemoryError,  # a size of nonsense
)


@contextmanager
def readable(path: Path):
    """Turn every way in which a damaged or unreadable file can fail into one `DataError` that names it."""
    try:
        yield
    except UnicodeDecodeError as e:
        raise DataError(f"{path} is not UTF-8 text ({e}); convert it, with iconv for example") from e
    except DAMAGE as e:
        what = str(e) or type(e).__name__
        raise DataError(f"{path} is damaged or not what it should be ({what}); fetch it again") from e


def members(path: Path, pattern: str) -> Iterator[tuple[re.Match, bytes]]:
    """(match, bytes) of every file in a zip, tar or folder whose name ends in a match of `pattern`.

    Nothing is unpacked to disk, so a member's name (`../../x`, `/etc/x`, a link) can never become a path.
    """
    wanted = re.compile(f"(?s)(?:^|/){pattern}$")
    size = 0
    with readable(path):
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if (m := wanted.search(file.relative_to(path).as_posix())) and file.is_file():
                    yield m, file.read_bytes()
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as z:
                for info in z.infolist():
                    if (m := wanted.search(info.filename)) and not info.is_dir():
                        size += info.file_size
                        no_bomb(path, size, path.stat().st_size)
                        yield m, z.read(info)
        else:
            with open(path, "rb") as raw, tarfile.open(fileobj=unpacked(raw, path)[0], mode="r|") as t:
                for info in t:
                    if (m := wanted.search(info.name)) and info.isfile():
                        size += info.size  # of a sparse member, more than the archive holds
                        no_bomb(path, size, path.stat().st_size)
                        yield m, t.extractfile(info).read()


def bz2_lines(path: Path) -> Iterator[str]:
    """The lines of a bzip2 file, as a stream, with a progress bar over the compressed bytes."""
    bar = tqdm(total=path.stat().st_size, unit="B", unit_scale=True, desc=path.name, leave=False, disable=None)
    with readable(path), bar, open(path, "rb") as raw:
        for n, line in enumerate(io.TextIOWrapper(unpacked(raw, path)[0], encoding="utf-8")):
            if n % 10_000 == 0:
                bar.update(raw.tell() - bar.n)
            yield line
