"""Read rows of JSON and Parquet files, with all cells as strings."""

import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from pyarrow import parquet
from tqdm.auto import tqdm

from ..common import DataError
from .archives import check_not_bomb
from .csv_dialect import MAX_COLUMNS, MAX_ROW_CHARS, head_lines
from .encodings import BLOCK, replace_surrogates

DECODER = json.JSONDecoder(parse_constant=lambda name: None if name == "NaN" else name)
SPACE = re.compile(r"[\s,]*")
Row = dict[str, str]


def cell_text(value) -> str:
    """Return a cell as a string: empty for a missing value, JSON for a number, boolean, list or object."""
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, np.ndarray | np.bool_):  # a list, as pandas reads it from Parquet
        value = value.tolist()
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    if value is None or value != value:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, bool | int | float | list | tuple | dict):
        with suppress(TypeError):  # a key that JSON does not allow, such as a tuple
            return replace_surrogates(json.dumps(value, ensure_ascii=False, default=str))
    return str(value)


def json_rows(lines: Iterator[str], path: Path, columns: Collection[str]) -> Iterator[Row]:
    """Yield the objects of JSON lines or of an array as rows. Fields without a value are left out, and so are fields
    other than `columns` if any are given. Raises `DataError`."""
    names: set[str] = set()
    all_in_one = False  # the only object has lists, or objects, of cells or rows
    for n, (where, value) in enumerate(_json_values(lines, path)):
        if not isinstance(value, dict):
            raise _not_json(path, where, f"{str(value)[:60]!r} is no object")
        all_in_one = n == 0 and bool(value) and all(isinstance(cell, list | dict) for cell in value.values())
        row = {replace_surrogates(key): cell_text(value[key]) for key in columns or value if value.get(key) is not None}
        names.update(row)
        if len(names) > MAX_COLUMNS:
            raise DataError(f"{path}, {where}: more than {MAX_COLUMNS:,} fields so far; is there an object per text?")
        yield row
    if all_in_one:
        raise DataError(f"{path} has all rows in one object; write one for each, as to_json(orient='records') does")


def _json_values(lines: Iterator[str], path: Path) -> Iterator[tuple[str, object]]:
    """Yield (place in the file, value) for each value, which may span several lines, or for each member of an array.
    Commas between values are skipped."""
    text, place, line, n = "".join(head_lines(lines, BLOCK)), 0, 1, 0
    if array := text.lstrip().startswith("["):
        place = text.index("[") + 1
    while True:
        start, place = place, SPACE.match(text, place).end()
        line += text.count("\n", start, place)
        where = f"object {n + 1}" if array else f"line {line}"
        if array and text.startswith("]", place):
            if text[place + 1 :].strip() or any(map(str.strip, lines)):
                raise _not_json(path, f"after object {n}", "the array has ended")
            return
        try:
            value, end = DECODER.raw_decode(text, place)
        except (ValueError, RecursionError) as e:  # the value may continue in the next lines
            text, place = text[place:], 0
            more = "".join(head_lines(lines, max(len(text), BLOCK)))
            if not (text or more or array):
                return
            if not more or len(text) > MAX_ROW_CHARS:
                raise _not_json(path, where, getattr(e, "msg", e)) from e
            text += more
        else:
            line += text.count("\n", place, end)
            place, n = end, n + 1
            yield where, value


def _not_json(path: Path, where: str, why: object) -> DataError:
    return DataError(f"{path}, {where}: not JSON ({why}); one object per line, or an array of objects, is needed")


def parquet_names(path: Path) -> tuple[str, ...]:
    """Return the column names of a Parquet file, without the index of pandas. Raises `DataError`."""
    with _parquet(path) as file:
        names = [n for n in file.schema_arrow.names if not re.fullmatch(r"__index_level_\d+__", n)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{path}: two columns are named {twice[0]!r}; rename one")
    return tuple(names)


def parquet_rows(path: Path, columns: Collection[str], bar: tqdm | None) -> Iterator[Row]:
    """Yield the rows of a Parquet file, which is read in batches of 1000 rows. Raises `DataError`."""
    size = 0
    with _parquet(path) as file:
        for batch in file.iter_batches(batch_size=1000, columns=list(columns)):
            size += batch.nbytes
            check_not_bomb(path, size, path.stat().st_size)
            cells = [map(cell_text, column.to_pylist()) for column in batch.columns]
            yield from (dict(zip(batch.schema.names, row)) for row in zip(*cells))
            if bar is not None:
                bar.update(path.stat().st_size * batch.num_rows // file.metadata.num_rows)


@contextmanager
def _parquet(path: Path):
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except DataError:
        raise
    except Exception as e:  # arbitrary bytes can raise any exception
        raise DataError(f"{path} is damaged or not Parquet ({str(e) or type(e).__name__}); make it again") from e
