"""ULMFiT on a corpus of your own, from Python.

corpus = Corpus.from_csv("reviews.csv", text_col="body", label_col="stars")
run = ulmfit(corpus)
run.predict("A fine book.")
learn = run.learner("forward")
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, get_type_hints

import pandas as pd

from . import cli
from .bounds import check_type
from .common import DataError
from .corpora.corpus import Corpus
from .corpora.user_table import dataset_name
from .inference import predict
from .inference.features import Encoder
from .inference.insight import WordWeights
from .recipe import DIRECTIONS, RECIPES, Recipe, differences, recipe_from
from .record import error_name, folder_with_models, read, run_folder, run_name
from .results.tables import run_table
from .runs.settings import Experiment, Precision, RecipeName, Wandb, recipe_named

if TYPE_CHECKING:
    from fastai.text.all import TextLearner

Direction = Literal["forward", "backward"]


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A finished run, with its record and its models. A notebook displays it as its table of errors.

    `path` is its folder, `record` the content of its `result.json`, `error` its test error; `predict`, `words`,
    `encoder` and `learner` use its models.
    """

    path: Path
    """Folder of the run, which can be moved: `result.json` is the record, `classifier` has the models."""
    record: dict
    """Names, settings, errors, calibration, history, versions and machine."""
    corpus: Corpus | None = None
    """Texts that the run was made from; None for a run that was loaded from its folder."""

    @property
    def error(self) -> float | None:
        """Share of test texts whose predicted class is wrong, or 1 - micro F1 if texts may have several labels. None if
        no test text has a label."""
        return self.record.get("test", {}).get("error")

    @property
    def directions(self) -> tuple[str, ...]:
        """Directions in which the models read texts: forward, backward or both."""
        return DIRECTIONS[self.record["settings"]["recipe"]["direction"]]

    @cached_property
    def predictor(self) -> predict.Predictor:
        """Classifiers of the run, read when they are first used. Raises `DataError` if the run has no classifiers."""
        return predict.load(self.path)

    def predict(self, texts: str | Iterable[str]) -> pd.DataFrame:
        """Return a row per text: `class`, `confidence`, and `p CLASS` for each class. A single string is one text. A
        Series keeps its index, so that `df.join(run.predict(df["text"]))` puts predictions beside the texts. If rows
        share an index value, reset the index first: `join` would combine each of them with each prediction.

        If a text may have several labels, `class` joins them by `;`; a single `;` means none of the labels.
        """
        return self.predictor.predict(texts)

    def words(self, text: str, cls: str | None = None) -> WordWeights:
        """Return (word, weight) pairs: how far a word moved the prediction to `cls` (default: the predicted class)."""
        return self.predictor.words(text, cls)

    def encoder(self, direction: Direction | None = None) -> Encoder:
        """Return the fine-tuned language model's encoder as a scikit-learn transformer: `encoder().transform(texts)`.

        `direction` defaults to the run's first direction. Raises `DataError` if the run's folder was moved away from
        its home, which has the language model.
        """
        direction, folder = self._direction(direction), folder_with_models(self.path)
        recipe = recipe_from(self.record["settings"]["recipe"])
        options = {"max_len": recipe.max_len, "pooling": recipe.pooling}
        try:
            return Encoder.load(folder, direction=direction, **options)
        except DataError as e:
            raise DataError(f"{folder}: cannot read the language model, which is in the run's home ({e})") from e

    def learner(self, direction: Direction | None = None, corpus: Corpus | None = None) -> "TextLearner":
        """Return a fastai Learner with the weights of one classifier and with the training and validation texts.

        All of fastai's methods work: `dls.show_batch`, `validate`, `lr_find`, `freeze_to`, `fit_one_cycle`, `predict`,
        `show_results`, `ClassificationInterpretation.from_learner`, `export`. There are five layer groups: embedding,
        three LSTMs, head. If a text may have several labels, `ClassificationInterpretation` is not meaningful: it
        counts each label of each text.

        The learner is a copy: training it changes neither this run nor its record. `direction` defaults to the run's
        first direction. `corpus` has other texts of the same classes; it is required for a run that was loaded from
        its folder. Raises `DataError`.
        """
        from .inference.export import classifier_learner

        corpus, path = self.corpus if corpus is None else corpus, folder_with_models(self.path)
        if corpus is None:
            raise DataError(f"{path} was loaded without its texts: give them as learner(corpus=...)")
        return classifier_learner(self.predictor, self._direction(direction), _checked(corpus))

    def _direction(self, direction: str | None) -> str:
        check_type(direction, Literal[self.directions] | None, "direction")
        return direction or self.directions[0]

    def __repr__(self) -> str:
        test = self.record.get("test")
        tested = test and f"test {error_name(self.record)} {100 * test['error']:.2f} % on {test['n']:,} texts"
        return f"<{run_name(self.record)}: {tested or 'no labelled test texts'}; {cli.shell_path(self.path)}>"

    def _repr_html_(self) -> str:
        name, table, path = run_name(self.record), run_table(self.record), cli.shell_path(self.path)
        return f"<b>{escape(name)}</b><pre>{escape(table)}</pre>{escape(path)}"


@dataclass(frozen=True, kw_only=True)
class OfCorpus(Experiment):
    """Settings of a run on a corpus in memory."""

    name: ClassVar[str] = "own_csv"

    corpus: str
    """Name of the corpus."""
    log_texts: bool = False

    @property
    def dataset(self) -> str:
        return f"own_csv-{self.corpus}"

    def settings(self) -> dict:
        """Return the settings for the record, without the corpus's name: the figures depend on its digest instead."""
        return {k: v for k, v in super().settings().items() if k != "corpus"}

    def load(self, data_dir: Path | None) -> Corpus:
        raise DataError("this run was made from Python, from an in-memory corpus; it cannot be rerun from its record")


def ulmfit(
    corpus: Corpus,
    recipe: Recipe | RecipeName = "auto",
    *,
    direction: Literal["forward", "backward", "both"] | None = None,
    seed: int = 0,
    home: str | Path = "runs",
    precision: Precision = "auto",
    device: str = "auto",
    wandb: Wandb = "auto",
    train_size: int | None = None,
    label: str = "",
    tags: Iterable[str] = (),
    log_texts: bool = False,
) -> Result:
    """Fine-tune on `corpus` and write a record, as `experiments.own_csv` does; finished stages are reused.

    Args:
        corpus: The texts, with labels and splits.
        recipe: Name of a recipe, or a `Recipe`, for example `replace(RECIPES["default"], max_len=200)`. For a `Recipe`,
            the record lists the fields that differ from the most similar named recipe. auto is lp-ft with
            fewer than 300 labelled training texts, else default.
        direction: Direction in which texts are read; both averages two classifiers. Default: the recipe's.
        seed: Seed of every stage.
        home: Folder of stages, records and W&B runs.
        precision: fp32 is the paper's arithmetic; auto is bf16 on hardware where that is faster.
        device: auto uses a GPU if there is one; cpu, cuda or cuda:N selects the device.
        wandb: Weights & Biases; auto is online when logged in, else offline.
        train_size: Keep the labels of this many training texts, stratified; the others stay in as unlabelled texts.
        label: Name of this variant in records and W&B. Default: the recipe's fields that differ from the named recipe.
        tags: Tags for W&B.
        log_texts: Upload the test texts to W&B with their predictions.

    Raises `DataError`, which names the argument.
    """
    corpus, settings = _settings(**locals())
    return replace(load(cli.run(settings, corpus)), corpus=corpus)


def _settings(corpus, tags, **others) -> tuple[Corpus, OfCorpus]:
    """Return the corpus and the settings for the arguments of `ulmfit`. Raises `DataError`."""
    if isinstance(tags, Iterable):
        tags = (tags,) if isinstance(tags, str) else tuple(tags)
    hints = get_type_hints(ulmfit)
    for argument, value in {"tags": tags, **others}.items():
        check_type(value, hints[argument], argument)
    base, chosen = _chosen(others.pop("recipe"))
    direction = others.pop("direction") or chosen.direction
    if _checked(corpus).name != (plain := dataset_name(Path(corpus.name))):  # it names a folder
        corpus = replace(corpus, name=plain)
    return corpus.with_train_size(others["train_size"]), OfCorpus(
        corpus=corpus.name,
        recipe_name=base,
        recipe=replace(chosen, direction=direction),
        tags=tags,
        home=Path(others.pop("home")).expanduser(),
        **others,
    )


def _checked(corpus) -> Corpus:
    if not isinstance(corpus, Corpus):
        raise DataError(f"corpus is a {type(corpus).__name__}: make a Corpus of it, as Corpus.from_csv does")
    return corpus


def load(path: str | Path) -> Result:
    """Load a finished run from its folder or its `result.json`. Raises `DataError`."""
    check_type(path, str | Path, "path")
    path = Path(path).expanduser()
    record = read(path)
    if "valid" not in record:
        raise DataError(f"{path} is a run of a language model, without a classifier")
    return Result(run_folder(path).resolve(), record)


def _chosen(recipe: Recipe | str) -> tuple[str, Recipe]:
    """Return the name of the recipe, or of the named recipe with the fewest differences from it, and the recipe."""
    if not isinstance(recipe, Recipe):
        return recipe, recipe_named(RECIPES, recipe)
    return min(RECIPES, key=lambda k: (len(differences(recipe, RECIPES[k])), k != "default")), recipe
