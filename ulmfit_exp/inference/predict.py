"""A finished run's classifier on new texts. Its folder may have been moved or copied from another machine."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_model
from tqdm.auto import tqdm

from ..common import DataError
from ..corpora.options import Format
from ..corpora.own import longest
from ..corpora.readers import Table, joined, open_table
from ..method import learners, machine
from ..method.tokenizer import words
from ..recipe import DIRECTIONS, Model, Recipe, recipe_from
from ..record import read
from . import insight
from .features import as_texts, in_batches
from .scores import named, tempered

FILES = ("model.safetensors", "vocab.json")


@dataclass(frozen=True)
class Predictor:
    """Classifiers of one or both directions, with their temperature and, of several labels, thresholds."""

    classes: list[str]
    models: dict[str, torch.nn.Module]
    """The classifier of each direction."""
    vocab: list[str]
    """The words by their id; both directions have the same, since one tokens stage made both."""
    temperature: float
    recipe: Recipe
    """The run's, with the shape of its models."""
    text_cols: tuple[str, ...] = ()
    """Columns of the user's table that it was trained on."""
    thresholds: np.ndarray | None = None
    """Probability from which a text has a label, for each; None where a text has one class."""

    def probabilities(self, texts: str | Iterable[str]) -> np.ndarray:
        """`texts x classes`, float64: the mean of the directions at the temperature, the same in any batch.

        A single string is one text. Raises `DataError` where a text is missing or is not a string.
        """
        split, total = [words(text, self.recipe.lang) for text in as_texts(texts)], np.zeros(len(self.classes))
        for direction, model in self.models.items():  # in fp32: with bf16 they would depend on the batch
            rows = in_batches(split, self.ids_of, direction == "backward", model, self._probabilities)
            total = total + np.reshape(rows, (len(split), len(self.classes)))  # no texts have no rows
        return tempered(total / len(self.models), self.temperature, self.multi_label)

    @cached_property
    def ids_of(self) -> dict[str, int]:
        """Word -> id."""
        return {word: i for i, word in enumerate(self.vocab)}

    @property
    def multi_label(self) -> bool:
        """May a text have several labels?"""
        return self.thresholds is not None

    def _probabilities(self, output: tuple[torch.Tensor, ...]) -> torch.Tensor:
        logits = output[0].cpu().double()
        return logits.sigmoid() if self.multi_label else logits.softmax(dim=1)

    def fine_tuned(self) -> "Predictor":
        """This predictor. Raises `DataError` where its head is no part of a fastai classifier."""
        if self.recipe.head == "features":
            raise DataError("this is a run of features: its classifier is a logistic regression, not one of fastai's")
        return self

    def predict(self, texts: str | Iterable[str]) -> pd.DataFrame:
        """A row per text: `class`, `confidence`, and `p CLASS` for each class. A single string is one text.

        Several labels are joined by `;` under `class`, a lone `;` where there are none; the confidence is then the
        lowest probability of its decisions to give each label or not.
        """
        probs = self.probabilities(texts)
        names, confidence = named(probs, self.classes, self.thresholds)
        table = pd.DataFrame({"class": names, "confidence": confidence})
        return table.join(pd.DataFrame(probs, columns=[f"p {c}" for c in self.classes]))

    def words(self, text: str, cls: str | None = None) -> insight.Words:
        """(word, weight) of each word of a text: how far it moved the prediction towards a class, by default the
        predicted one, or of several labels the one that is most above its threshold.

        `insight.word_weights` defines the weights, `insight.html` shows them. Raises `DataError`.
        """
        if cls is not None and cls not in self.classes:
            raise DataError(f"there is no class {cls!r}; the classes are {', '.join(self.classes)}")
        above = self.probabilities([text])[0] - (self.thresholds if self.multi_label else 0)
        place = above.argmax() if cls is None else self.classes.index(cls)
        return insight.word_weights(self.models, self.ids_of, text, int(place), self.recipe.lang, self.multi_label)


def load(folder: Path) -> Predictor:
    """The predictor of a finished run, on fastai's default device. Raises `DataError`."""
    folder = Path(folder)
    folder = folder.parent if folder.name == "result.json" else folder
    record = read(folder)
    if "calibration" not in record:
        raise DataError(f"{folder} is no run of a classifier, or one of an older version: run it again")
    recipe = replace(recipe_from(record["settings"]["recipe"]), model=Model(**record["model"]))
    classes = record["corpus"]["classes"]
    loaded = {d: _load(folder / "classifier" / d, len(classes), recipe) for d in DIRECTIONS[recipe.direction]}
    models = {d: model for d, (model, _) in loaded.items()}
    vocab = next(iter(loaded.values()))[1]
    text_cols = record["corpus"].get("text_cols") or record["settings"].get("text_col") or ()
    calibration = record["calibration"]
    thresholds = np.array([calibration["thresholds"][c] for c in classes]) if "thresholds" in calibration else None
    return Predictor(classes, models, vocab, calibration["temperature"], recipe, tuple(text_cols), thresholds)


def _load(folder: Path, n_out: int, recipe: Recipe) -> tuple[torch.nn.Module, list[str]]:
    for name in FILES:
        if not (folder / name).is_file():
            raise DataError(f"there is no {folder / name}")
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    model = learners.classifier(len(vocab), n_out, recipe)
    load_model(model, str(folder / "model.safetensors"))
    return model.eval().to(machine.use_device()), vocab


def predictions(
    predictor: Predictor, texts: str, text_col: tuple[str, ...], id_col: str | None, format: Format
) -> Iterator[pd.DataFrame]:
    """Predictions of a file's texts, whose index is what names their rows."""
    if texts == "-":
        if text_col or id_col:
            raise DataError("standard input has one text per line and no columns: leave out --text-col and --id-col")
        with open(0, encoding=format.checked().encoding or "utf-8-sig", errors="replace", closefd=False) as lines:
            for n, line in enumerate(lines):
                yield predictor.predict([line.rstrip("\n")]).set_axis([n])
        return
    path = Path(texts)
    trained_on = predictor.text_cols or ("text",)
    table = open_table(path, format, [*(text_col or trained_on), *filter(None, [id_col])], sure=False)
    print(*table.notes, sep="\n", file=sys.stderr)
    columns = table.checked(text_col, "--text-col") or _text_columns(table, predictor.text_cols)
    ids = table.checked(filter(None, [id_col]), "--id-col")
    with tqdm(total=path.stat().st_size, unit="B", unit_scale=True, disable=None) as bar:
        for rows in table.chunks(list(dict.fromkeys([*columns, *ids])), bar):
            index = rows[ids[0]].where(rows[ids[0]].str.strip() != "", rows.index) if ids else rows.index
            yield predictor.predict(joined(rows, columns)).set_axis(index)


def _text_columns(table: Table, trained_on: tuple[str, ...]) -> list[str]:
    """The columns of a table's texts: those of the training, the only one, or a guess where the record has none."""
    if table.kind == "lines" or (len(table.columns) == 1 and len(trained_on) < 2):
        if table.columns[0] not in (*trained_on, "text"):
            print(f"text: column {table.columns[0]!r}, the only one (--text-col names another)", file=sys.stderr)
        return list(table.columns)
    if trained_on or "text" in table.columns:
        return table.checked(trained_on or ["text"], "--text-col")
    column = longest(next(table.chunks(), pd.DataFrame()))
    print(f"text: column {column!r}, which has the longest values (--text-col names others)", file=sys.stderr)
    return [column]
