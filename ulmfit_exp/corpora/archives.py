"""Compressed files and archives, whose content is read in bounded memory, without unpacking to disk."""

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from tqdm.auto import tqdm

from ..common import DataError

PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
"""Function that opens a compressed file, by the first bytes of the file."""
SUFFIXES = (".gz", ".bz2", ".xz")
MAX_RATIO = 100
"""Highest ratio of unpacked to compressed size for more than `SMALL` unpacked bytes; that of text is 3 to 20."""
SMALL = 2**26


def check_not_bomb(path: Path, unpacked: int, packed: int) -> None:
    """Raise `DataError` if `unpacked` bytes are too many to be text that was compressed to `packed` bytes."""
    if unpacked > max(SMALL, MAX_RATIO * packed):
        raise DataError(
            f"{path} unpacks to more than {MAX_RATIO} times its size, which text does not; "
            "if you trust the file, unpack it and name the result"
        )


class _Unpacked(io.RawIOBase):
    """Stream of the bytes decompressed from `raw`; reading raises `DataError` if it is a decompression bomb."""

    def __init__(self, stream: BinaryIO, raw: BinaryIO, path: Path):
        self.stream, self.raw, self.path, self.size = stream, raw, path, 0

    def readable(self):
        return True

    def readinto(self, buffer):
        n = self.stream.readinto(buffer)
        self.size += n
        check_not_bomb(self.path, self.size, self.raw.tell())
        return n


def hidden(name: str) -> bool:
    """Whether a path in a folder or archive is hidden or left there by a system, as `.DS_Store` and `__MACOSX/._x`."""
    return any(p == "__MACOSX" or (p.startswith((".", "~$")) and p.strip(".")) for p in name.split("/"))


def files_below(folder: Path) -> list[Path]:
    """Return all files below a folder, sorted by path, without hidden files and those that a system leaves there."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and not hidden(p.relative_to(folder).as_posix()))


def zip_files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the files in a zip, without folders, `hidden` files and a file without a name."""
    named = [i for i in archive.infolist() if i.filename]  # is_dir fails without a name
    return [i for i in named if not i.is_dir() and not hidden(i.filename)]


def unpacked(raw: BinaryIO, path: Path) -> tuple[BinaryIO, str]:
    """Return an open file's content and its name: gzip, bzip2, xz or a zip of one file unpacked, others unchanged.

    Raises `DataError` if a zip does not hold one file, or during reading if the content is a decompression bomb.
    """
    head = raw.read(6)
    raw.seek(0)
    name = path.stem if path.suffix.lower() in SUFFIXES else path.name
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        inside = zipfile.ZipFile(raw)
        files = zip_files(inside)
        if len(files) != 1:
            raise DataError(f"{path} holds {len(files)} files: unpack it, or save a spreadsheet as CSV")
        stream, name = inside.open(files[0]), files[0].filename
    elif opener := next((opener for magic, opener in PACKED.items() if head.startswith(magic)), None):
        stream = opener(raw)
    else:
        return raw, name
    return io.BufferedReader(_Unpacked(stream, raw, path), 2**16), name


# Raised by the standard library for damaged files; RuntimeError for zips that claim encryption or an unknown method.
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)
DAMAGE += (MemoryError,)  # the file gives a nonsensical size


@contextmanager
def readable(path: Path):
    """Turn every exception that a damaged or unreadable file can cause into one `DataError` that names the file."""
    try:
        yield
    except UnicodeError as e:
        raise DataError(f"{path} is not text in its encoding ({e}); convert it to UTF-8, with iconv for example") from e
    except PermissionError as e:
        raise DataError(f"{e.filename or path} is not readable; change its permissions") from e
    except DAMAGE as e:
        what = str(e) or type(e).__name__
        raise DataError(f"{path} is damaged or of another format ({what}); download or make it again") from e


TARS = (".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2")


def is_archive(path: Path) -> bool:
    """Whether a file is a tar, or a zip that does not hold exactly one file."""
    if path.name.lower().endswith(TARS):
        return True
    with readable(path):
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as z:
            return len(zip_files(z)) != 1


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, str, BinaryIO]]:
    """Open a file: its unpacked content, its name, and the raw file, whose position shows how much has been read."""
    with readable(path), open(path, "rb") as raw:
        content, name = unpacked(raw, path)
        yield content, name, raw


def with_progress(lines: Iterable[str], raw: BinaryIO, bar: tqdm | None) -> Iterator[str]:
    """Yield `lines` and move `bar` to the position in `raw` up to which it has been read."""
    before = 0
    for n, line in enumerate(lines):
        yield line
        if bar is not None and n % 100 == 0:
            bar.update(raw.tell() - before)
            before = raw.tell()
    if bar is not None:
        bar.update(raw.seek(0, io.SEEK_END) - before)


def members(path: Path, pattern: str) -> Iterator[tuple[re.Match, bytes]]:
    """Yield (match, bytes) for every file in a zip, tar or folder whose path ends in a match of `pattern`.

    Nothing is unpacked to disk, so a member's name (`../../x`, `/etc/x`, a link) can never become a path.
    """
    wanted, total = re.compile(f"(?s)(?:^|/){pattern}$"), 0
    with readable(path):
        for name, size, read in _files(path):
            if m := wanted.search(name):
                total += size
                check_not_bomb(path, total, path.stat().st_size)
                yield m, read()


def _files(path: Path) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Yield (name, size, function that reads it) for every file in a zip, tar or folder that is not hidden. The size is
    0 in a folder, where nothing is unpacked; that of a sparse member of a tar may be more than the archive holds."""
    if path.is_dir():
        yield from ((file.relative_to(path).as_posix(), 0, file.read_bytes) for file in files_below(path))
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as z:
            yield from ((info.filename, info.file_size, partial(z.read, info)) for info in zip_files(z))
    else:
        with open(path, "rb") as raw, tarfile.open(fileobj=unpacked(raw, path)[0], mode="r|") as t:
            files = (info for info in t if info.isfile() and not hidden(info.name))
            yield from ((info.name, info.size, lambda info=info: t.extractfile(info).read()) for info in files)


def bz2_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a bzip2 file, with a progress bar over the compressed bytes."""
    bar = tqdm(total=path.stat().st_size, unit="B", unit_scale=True, desc=path.name, leave=False, disable=None)
    with bar, opened(path) as (content, _, raw):
        yield from with_progress(io.TextIOWrapper(content, encoding="utf-8"), raw, bar)
