"""Classify new texts with a finished run.

    ulmfit-exp predict runs/runs/NAME texts.csv --out predictions.csv --id-col id
    echo "A fine book." | ulmfit-exp predict runs/runs/NAME -

The file is read as in training, from the same columns: Parquet, or CSV, JSON or one text per line, also compressed by
gzip, bzip2, xz or zip. In a folder, each .txt file is a text. The output has one row per text, in order: its row number
or id, the class, the confidence, and the probability of each class. An id or class that a spreadsheet would execute
is written with a ' before it. The run's folder may have been moved, or copied from another machine.
"""

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, TextIO

import tyro

from .cli import command
from .common import DataError, escape_formula, replacing
from .corpora.options import AUTO, Format


def main(
    run: tyro.conf.Positional[Path],
    texts: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TEXTS")],
    out: Path | None = None,
    text_col: tuple[str, ...] = (),
    id_col: str | None = None,
    device: str = "auto",
    format: Annotated[Format, tyro.conf.arg(name="")] = AUTO,
) -> None:
    """Predict the classes of texts.

    Args:
        run: Folder of a finished run, or its result.json.
        texts: A file, a folder of .txt files, or - for standard input, one text per line.
        out: The file to write. Default: standard output.
        text_col: Columns of the text, by name or by number from 0; several are joined. Default: as in training.
        id_col: Column to write before each prediction. Default: the row's number in the file, from 0.
        device: auto uses a GPU if there is one; cpu, cuda or cuda:N selects the device.
        format: How the file is written.
    """
    if out and (out.is_dir() or (_is_plain(out) and not os.access(out.parent, os.W_OK))):
        raise DataError(
            f"--out {out} is a folder, or its folder does not exist or cannot be written; name another file"
        )
    from .inference import predict  # imports torch, for which --help does not wait
    from .method.machine import use_device

    use_device(device)
    predictor = predict.load(run)
    tables = predict.predictions(predictor, texts, text_col, id_col, format)
    first = list(islice(tables, 1))  # nothing is written if the texts cannot be read
    if out and out.exists() and texts != "-" and out.samefile(texts):
        raise DataError(f"--out {out} is the file of the texts; name another")
    with _target(out) as target:
        rows = csv.writer(target)
        rows.writerow([id_col or "row", "class", "confidence", *(f"p {c}" for c in predictor.classes)])
        for table in chain(first, tables):
            for row, name, *probs in table.itertuples():
                rows.writerow([escape_formula(row), escape_formula(name), *(f"{p:.6g}" for p in probs)])
            target.flush()


def load(run: str | Path):
    """Return the run's predictor: `inference.predict.load`, which was here before the packages."""
    from .inference import predict

    return predict.load(run)


def _is_plain(out: Path) -> bool:
    """Whether `out` is a regular file or does not exist yet, as opposed to a device or pipe."""
    return out.is_file() or not out.exists()


@contextmanager
def _target(out: Path | None) -> Iterator[TextIO]:
    """Yield standard output, or a temporary file that replaces `out` once everything is written."""
    how = {"mode": "w", "newline": "", "encoding": "utf-8"}
    if out is None or not _is_plain(out):
        with open(out or 1, closefd=out is not None, **how) as target:
            yield target
    else:
        with replacing(out) as part, open(part, **how) as target:
            yield target


if __name__ == "__main__":
    command("predict", main)
