"""A finished run's classifier on new texts.

python -m ulmfit_exp.predict runs/runs/NAME texts.csv --text-col body --out predictions.csv
echo "A fine book." | python -m ulmfit_exp.predict runs/runs/NAME -

CSV, TSV, JSON lines, Parquet, or plain text with a text a line; also packed by gzip, bzip2, xz or zip. A row for each
text in its order: class, confidence, the probability of each class. The run's folder may have been moved or copied from
another machine.
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import tyro
from tqdm.auto import tqdm

from ..common import DataError, harmless
from ..corpora.documents import JSON_LINES, TABLES, csv_texts, json_texts, parquet_texts, text_lines
from ..corpora.files import readable
from ..method import learners
from ..method.tokens import words
from ..recipe import DIRECTIONS, Model, Recipe, recipe_from
from ..record import read
from . import insight
from .features import as_texts, in_batches
from .scores import tempered

FILES = ("model.safetensors", "vocab.json")
AT_ONCE = 2_000
"""Texts read before they are sorted by length."""


@dataclass(frozen=True)
class Predictor:
    """Classifiers of one or both directions, with their temperature."""

    classes: list[str]
    parts: dict[str, tuple[torch.nn.Module, dict[str, int]]]
    """Model and word -> id, for each direction."""
    temperature: float
    recipe: Recipe
    """The run's, with the shape of its models."""

    def probabilities(self, texts: str | Iterable[str]) -> np.ndarray:
        """`texts x classes`, float64: the mean of the directions at the temperature, the same in any batch.

        A single string is one text. Raises `DataError` where a text is missing or is not a string.
        """
        split, total = [words(text) for text in as_texts(texts)], np.zeros(len(self.classes))
        for direction, (model, ids_of) in self.parts.items():  # in fp32: with bf16 they would depend on the batch
            of_batch = partial(lambda model, ids: model(ids)[0].double().softmax(dim=1), model)
            rows = in_batches(split, ids_of, direction == "backward", of_batch)
            total = total + np.reshape(rows, (len(split), len(self.classes)))  # no texts have no rows
        return tempered(total / len(self.parts), self.temperature)

    def predict(self, texts: str | Iterable[str]) -> pd.DataFrame:
        """A row per text: `class`, `confidence`, and `p CLASS` for each class. A single string is one text."""
        probs = self.probabilities(texts)
        table = pd.DataFrame(probs, columns=[f"p {c}" for c in self.classes])
        table.insert(0, "class", [self.classes[i] for i in probs.argmax(axis=1)])
        table.insert(1, "confidence", probs.max(axis=1))
        return table

    def words(self, text: str, cls: str | None = None) -> insight.Words:
        """(word, weight) of each word of a text: how far it moved the prediction towards a class, by default the
        predicted one.

        `insight.word_weights` defines the weights, `insight.html` shows them. Raises `DataError`.
        """
        if cls is not None and cls not in self.classes:
            raise DataError(f"there is no class {cls!r}; the classes are {', '.join(self.classes)}")
        place = self.probabilities([text])[0].argmax() if cls is None else self.classes.index(cls)
        return insight.word_weights(self.parts, text, int(place))


def load(folder: Path) -> Predictor:
    """The predictor of a finished run. Raises `DataError`."""
    folder = Path(folder)
    folder = folder.parent if folder.name == "result.json" else folder
    record = read(folder)
    if "calibration" not in record:
        raise DataError(f"{folder} is no run of a classifier, or one of an older version: run it again")
    recipe = replace(recipe_from(record["settings"]["recipe"]), model=Model(**record["model"]))
    if recipe.head == "features":
        raise DataError(f"{folder} is a run of --recipe features, which keeps no classifier to predict with")
    classes = record["corpus"]["classes"]
    parts = {d: _load(folder / "classifier" / d, len(classes), recipe) for d in DIRECTIONS[recipe.direction]}
    return Predictor(classes, parts, record["calibration"]["temperature"], recipe)


def _load(folder: Path, n_out: int, recipe: Recipe) -> tuple[torch.nn.Module, dict[str, int]]:
    for name in FILES:
        if not (folder / name).is_file():
            raise DataError(f"there is no {folder / name}")
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    model = learners.classifier(len(vocab), n_out, recipe)
    learners.load_model(model, str(folder / "model.safetensors"))
    return model.eval(), {word: i for i, word in enumerate(vocab)}


def main(
    run: tyro.conf.Positional[Path],
    texts: tyro.conf.Positional[str],
    out: Path | None = None,
    text_col: str = "text",
) -> None:
    """Predict the classes of texts.

    Args:
        run: Folder of a finished run, or its result.json.
        texts: A file, or - for standard input, a text a line.
        out: Where to write; default: standard output.
        text_col: Column or field of the text; a number counts the columns, from 0, of a CSV without header.
    """
    try:
        predictor = load(run)
        tables = _tables(predictor, texts, text_col)
        first = list(islice(tables, 1))  # what cannot be read leaves `out` as it was
        if out and out.exists() and texts != "-" and out.samefile(texts):
            raise DataError(f"--out {out} is the file of the texts; name another")
        with open(out, "w", newline="", encoding="utf-8") if out else open(1, "w", newline="", closefd=False) as target:
            rows = csv.writer(target)
            rows.writerow(["class", "confidence", *(harmless(f"p {c}") for c in predictor.classes)])
            for table in chain(first, tables):
                table["class"] = table["class"].map(harmless)
                rows.writerows([row[0], *(f"{p:.6g}" for p in row[1:])] for row in table.itertuples(index=False))
                target.flush()
    except BrokenPipeError:
        sys.exit(1)
    except (DataError, OSError) as e:
        sys.exit(f"error: {e}")


def _tables(predictor: Predictor, texts: str, text_col: str) -> Iterator[pd.DataFrame]:
    if texts == "-":
        for line in sys.stdin:
            yield predictor.predict([line.rstrip("\n")])
        return
    path = Path(texts)
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    size = path.stat().st_size
    with readable(path), open(path, "rb") as raw, tqdm(total=size, unit="B", unit_scale=True, disable=None) as bar:
        rows = _texts(raw, path, text_col)
        while chunk := list(islice(rows, AT_ONCE)):
            yield predictor.predict(chunk)
            bar.update((size if raw.closed else raw.tell()) - bar.n)  # at the end the reader has closed it


def _texts(raw, path: Path, text_col: str) -> Iterator[str]:
    """The texts of an open file, one after the other."""
    if path.suffix == ".parquet":
        return parquet_texts(path, text_col)
    lines, suffix = text_lines(raw, path)
    if suffix in TABLES:
        return csv_texts(lines, path, text_col, suffix)
    if suffix in JSON_LINES:
        return json_texts(lines, path, text_col)
    return (line.rstrip("\n") for line in lines)


def command() -> None:
    """The command line."""
    tyro.cli(main, description=__doc__)
