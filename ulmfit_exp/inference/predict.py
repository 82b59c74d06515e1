"""Predictions for new texts by a finished run, whose folder may have been moved or copied from another machine."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_model
from tqdm.auto import tqdm, trange

from ..common import DataError, counted, read_json
from ..corpora.columns import guess_text, row_name_notes, row_names
from ..corpora.folders import read_texts
from ..corpora.options import AUTO, Format
from ..corpora.table import CHUNK_ROWS, Table, join_columns, open_table
from ..method import machine
from ..method.models import classifier
from ..method.tokenizer import words
from ..recipe import DIRECTIONS, Model, Recipe, recipe_from
from ..record import folder_with_models, read, run_folder
from . import insight
from .features import as_texts, in_batches
from .scores import apply_temperature, predicted_names

FILES = ("model.safetensors", "vocab.json")


@dataclass(frozen=True, eq=False)
class Predictor:
    """Classifiers of one or both directions, their temperature and, for multi-label data, their thresholds."""

    classes: list[str]
    models: dict[str, torch.nn.Module]
    """The classifier of each direction."""
    vocab: list[str]
    """Words in the order of their ids; the same for both directions, which share a tokens stage."""
    temperature: float
    recipe: Recipe
    """Recipe of the run, with the shape of its models."""
    text_cols: tuple[str, ...] = ()
    """Text columns of the user's table that the run was trained on."""
    thresholds: np.ndarray | None = None
    """Lowest probability at which a text has a label, for each label; None if a text has one class."""
    raw_thresholds: dict[str, list[float]] = field(default_factory=dict)
    """Multi-label thresholds of each direction alone, before temperature scaling; older versions recorded none."""

    def probabilities(self, texts: str | Iterable[str]) -> np.ndarray:
        """Return `texts x classes`, float64: the mean of the directions at the temperature, independent of the batch.

        A single string is one text. Raises `DataError` if a text is missing or not a string.
        """
        split, total = [words(text, self.recipe.lang) for text in as_texts(texts)], np.zeros(len(self.classes))
        for direction, model in self.models.items():  # in fp32: with bf16 they would depend on the batch
            rows = in_batches(split, self.ids_of, direction == "backward", model, self._probabilities)
            total = total + np.reshape(rows, (len(split), len(self.classes)))  # without texts there are no rows
        return apply_temperature(total / len(self.models), self.temperature, self.multi_label)

    @cached_property
    def ids_of(self) -> dict[str, int]:
        """Word -> id."""
        return {word: i for i, word in enumerate(self.vocab)}

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels."""
        return self.thresholds is not None

    def _probabilities(self, output: tuple[torch.Tensor, ...]) -> torch.Tensor:
        logits = output[0].cpu().double()
        return logits.sigmoid() if self.multi_label else logits.softmax(dim=1)

    def predict(self, texts: str | Iterable[str]) -> pd.DataFrame:
        """Return a row per text: `class`, `confidence`, and `p CLASS` for each class. A single string is one text. A
        Series keeps its index.

        If a text may have several labels, `class` joins them by `;`, and a single `;` means none of the labels; the
        confidence is the lowest probability among the decisions whether to give a label.
        """
        probs = self.probabilities(texts)
        names, confidence = predicted_names(probs, self.classes, self.thresholds)
        table = pd.DataFrame({"class": names, "confidence": confidence})
        table = table.join(pd.DataFrame(probs, columns=[f"p {c}" for c in self.classes]))
        return table.set_axis(texts.index) if isinstance(texts, pd.Series) else table

    def words(self, text: str, cls: str | None = None) -> insight.WordWeights:
        """Return (word, weight) for each word of a text: how far it moved the prediction towards `cls`. The default is
        the predicted class, or for multi-label data the label whose probability is farthest above its threshold.

        `insight.word_weights` defines the weights, `insight.html` shows them. Raises `DataError`.
        """
        if cls is not None and cls not in self.classes:
            raise DataError(f"there is no class {cls!r}; the classes are {', '.join(self.classes)}")
        above = self.probabilities([text])[0] - (self.thresholds if self.multi_label else 0)
        place = above.argmax() if cls is None else self.classes.index(cls)
        return insight.word_weights(self.models, self.ids_of, text, int(place), self.recipe.lang, self.multi_label)


def load(run: Path) -> Predictor:
    """Load the predictor of a finished run, from its folder or its `result.json`, onto fastai's default device.

    Raises `DataError`.
    """
    record = read(run_folder(Path(run)))
    folder = folder_with_models(Path(run))
    if "calibration" not in record:
        raise DataError(f"{folder} is not the run of a classifier, or was made by an older version: run it again")
    recipe = replace(recipe_from(record["settings"]["recipe"]), model=Model(**record["model"]))
    classes = record["corpus"]["classes"]
    loaded = {d: _load(folder / "classifier" / d, len(classes), recipe) for d in DIRECTIONS[recipe.direction]}
    models = {d: model for d, (model, _) in loaded.items()}
    vocab = next(iter(loaded.values()))[1]
    text_cols = record["corpus"].get("text_cols") or record["settings"].get("text_col") or ()
    calibration = record["calibration"]
    thresholds = np.array([calibration["thresholds"][c] for c in classes]) if "thresholds" in calibration else None
    raw, temperature = calibration.get("raw_thresholds", {}), calibration["temperature"]
    return Predictor(classes, models, vocab, temperature, recipe, tuple(text_cols), thresholds, raw)


def _load(folder: Path, n_out: int, recipe: Recipe) -> tuple[torch.nn.Module, list[str]]:
    for name in FILES:
        if not (folder / name).is_file():
            raise DataError(f"there is no {folder / name}; copy the run again, or run it again")
    try:
        vocab = read_json(folder / "vocab.json")
        model = classifier(len(vocab), n_out, recipe)
        load_model(model, str(folder / "model.safetensors"))
    except (ValueError, TypeError, RuntimeError, SafetensorError) as e:
        first = str(e).partition("\n")[0]
        raise DataError(f"a file in {folder} is damaged ({type(e).__name__}: {first}); copy the run again") from e
    return model.eval().to(machine.use_device()), vocab


def predictions(
    predictor: Predictor, texts: str, text_col: tuple[str, ...], id_col: str | None, format: Format
) -> Iterator[pd.DataFrame]:
    """Yield predictions for the texts of a file, a folder or standard input; the index has the names of the rows."""
    empty = 0
    for part in _texts(predictor, texts, text_col, id_col, format):
        yield predictor.predict(part).set_axis(part.index)
        empty += (part.str.strip() == "").sum()
    if empty:
        _note(f"empty texts, predicted like the others: {empty:,}")


def _note(*lines: str) -> None:
    """Print notes on how the texts were read; standard output may be the predictions."""
    for line in lines:
        print(line, file=sys.stderr)


def _texts(
    predictor: Predictor, texts: str, text_col: tuple[str, ...], id_col: str | None, format: Format
) -> Iterator[pd.Series]:
    path = Path(texts)
    if (texts == "-" or path.is_dir()) and (text_col or id_col):
        raise DataError("standard input and folders have no columns: leave out --text-col and --id-col")
    if (texts == "-" or path.is_dir()) and replace(format, encoding=None) != AUTO:
        raise DataError("standard input and folders are no tables: leave out --delimiter, --header and --quotes")
    if texts == "-":
        yield from _standard_input(format)
    elif path.is_dir():
        found, notes = read_texts(path, format)
        if found.empty:
            raise DataError(f"the folder {path} has no .txt files; to read a table, give its own path")
        _note(f"{path.name}: {counted(len(found), '.txt file')}, one text each", *notes)
        yield from (found[start : start + CHUNK_ROWS] for start in trange(0, len(found), CHUNK_ROWS, disable=None))
    else:
        trained_on = predictor.text_cols or ("text",)
        table = open_table(path, format, [*(text_col or trained_on), *filter(None, [id_col])], must_be_table=False)
        _note(*table.notes)
        columns = table.find_columns(text_col, "--text-col") or _text_columns(table, predictor.text_cols)
        (id_col,) = table.find_columns([id_col], "--id-col") if id_col else [None]
        names: Counter = Counter()
        with tqdm(total=path.stat().st_size, unit="B", unit_scale=True, disable=None) as bar:
            for rows in table.chunks(list(dict.fromkeys([*columns, *filter(None, [id_col])])), bar):
                yield join_columns(rows, columns).set_axis(row_names(rows, id_col))
                names.update(rows[id_col] if id_col else ())
        _note(*row_name_notes(names, id_col))


def _standard_input(format: Format) -> Iterator[pd.Series]:
    """Yield each line as soon as it is read."""
    invalid = 0
    with open(0, encoding=format.checked().encoding or "utf-8-sig", errors="replace", closefd=False) as lines:
        for n, line in enumerate(lines):
            invalid += line.count("\ufffd")
            yield pd.Series({n: line.rstrip("\n")})
    if invalid:
        _note(f"sequences that are invalid in the encoding, replaced by U+FFFD: {invalid:,} (see --encoding)")


def _text_columns(table: Table, trained_on: tuple[str, ...]) -> list[str]:
    """Return a table's text columns: those used in training, the only column, or a guess if the record has none.

    Columns that training named by number come from a table without a header; a table with one has its text in `text`.
    """
    if table.kind == "lines" or (len(table.columns) == 1 and len(trained_on) < 2):
        if table.columns[0] not in (*trained_on, "text"):
            _note(f"text: column {table.columns[0]!r}, the only one (choose another with --text-col)")
        return list(table.columns)
    if trained_on and all(name.isdecimal() and name not in table.columns for name in trained_on):
        _note("text: column 'text', as the training's table had no header (choose another with --text-col)")
        trained_on = ("text",)
    if trained_on or "text" in table.columns:
        return table.find_columns(trained_on or ["text"], "--text-col")
    column = guess_text(next(table.chunks(), pd.DataFrame()))
    _note(f"text: column {column!r}, which has the longest texts (choose others with --text-col)")
    return [column]
