"""Helpers for every package: errors, digests, files written completely or not at all. Imports nothing heavy."""

import errno
import hashlib
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from secrets import token_hex

from filelock import FileLock, Timeout


class DataError(ValueError):
    """Data or a setting that cannot be used. The message says which file, row, field or option, and what to do."""

    def __init__(self, message: str):
        super().__init__(message if len(message) <= 1000 else f"{message[:1000]} …")  # a cell may have any length


class StoreError(OSError):
    """The runs folder cannot be written. The message says why and what to do."""


def install(extra: str) -> str:
    """Return instructions for installing an optional extra of this package."""
    return f"install the extra {extra}: pip install 'ulmfit-exp[{extra}]', or '.[{extra}]' in a checkout"


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def digest(inputs) -> str:
    """Return the first twelve hexadecimal digits of the SHA-256 of the inputs, written as JSON."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]


def shell_quoted(text: str) -> str:
    """Quote an argument for the shell."""
    return subprocess.list2cmdline([text]) if os.name == "nt" else shlex.quote(text)


def flat(settings, name: str = "") -> dict:
    """Flatten nested settings into one dict: option, such as `recipe.clas.phases.0.lr`, -> value.

    An empty list or dict, such as `phases` without any phase, is kept as a value.
    """
    if not isinstance(settings, dict | list | tuple) or not settings:
        return {name: settings} if name else {}
    parts = settings.items() if isinstance(settings, dict) else enumerate(settings)
    return {k: v for key, part in parts for k, v in flat(part, f"{name}.{key}" if name else str(key)).items()}


def read_json(path: Path):
    """Read the value in a JSON file. Raises `OSError`, or `ValueError` if the file is damaged."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value) -> None:
    """Write a value as JSON; if writing fails, the file stays as it was before."""
    with replacing(path) as part:
        part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def replacing(path: Path):
    """Yield a temporary path; at the end the file written there replaces `path`, unless there was an error."""
    part = path.with_name(f"{path.name}.{token_hex(4)}.part")
    try:
        yield part
        with open(part, "r+b") as f:  # Windows refuses to sync a file that is open only for reading
            os.fsync(f.fileno())  # otherwise a power failure after the rename can leave an empty file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def locked(path: Path, waiting: str) -> AbstractContextManager:
    """Acquire a lock file and return the lock as a context; print `waiting` if another process holds it."""
    lock = FileLock(path)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(waiting, flush=True)
        return lock.acquire()


@contextmanager
def writable(home: Path):
    """Raise `StoreError` if the disk is full or the folder cannot be written, however a library reports it."""
    try:
        yield
    except Exception as e:
        code = getattr(e, "errno", None)
        if code in (errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise StoreError(f"{home} cannot be written ({e.strerror}); choose another folder with --home") from e
        if code in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(e) or shutil.disk_usage(home).free < 2**20:
            raise StoreError(
                f"the disk of {home} is full. Free some space and run the same command again; "
                "it resumes from the last checkpoint"
            ) from e
        raise


def as_utf8(argument: str) -> str:
    """Return an argument or a path with the bytes that are not UTF-8 replaced, so that it can be written to a file."""
    return os.fsencode(argument).decode("utf-8", "replace")


def relative(path: Path, folder: Path = Path()) -> Path:
    """Return a path relative to a folder; on Windows, if they are on different drives, return it as it is."""
    try:
        return Path(os.path.relpath(path, folder))
    except ValueError:
        return path.resolve()


def chunked(items: Iterable, least: int, size: Callable = len) -> Iterator[list]:
    """Yield lists of consecutive items, each ended once the sizes of its items add up to `least`."""
    chunk, total = [], 0
    for item in items:
        chunk.append(item)
        total += size(item)
        if total >= least:
            yield chunk
            chunk, total = [], 0
    if chunk:
        yield chunk


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""A spreadsheet treats a cell that begins with one of these as a formula."""


def escape_formula(cell: str | int) -> str | int:
    """Put an apostrophe before a cell that a spreadsheet would treat as a formula; numbers stay unchanged."""
    try:
        float(cell)
    except ValueError:
        return f"'{cell}" if cell.startswith(FORMULA) else cell
    return cell


def check_export_folder(folder: Path, marker: str, option: str) -> None:
    """Raise `DataError` if a folder to write holds files other than those of an earlier export, which has `marker`."""
    if folder.is_file():
        raise DataError(f"{option} {folder} is a file; name a folder")
    if folder.exists() and not (folder / marker).exists() and any(folder.iterdir()):
        raise DataError(f"{option} {folder} holds other files, which could be overwritten; name a new folder")


def counted(n: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1: `1 run`, `2,000 runs`."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def quote_names(names: Iterable[str]) -> str:
    """Return names in quotes, separated by commas, for a message."""
    return ", ".join(map(repr, names))
