"""ULMFiT on a corpus of your own, from Python.

corpus = Corpus.from_csv("reviews.csv", text_col="body", label_col="stars")
run = ulmfit(corpus)
run.predict(["A fine book."])
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from . import cli
from .common import DataError
from .corpora.corpus import Corpus
from .inference import predict
from .recipe import RECIPES
from .runs.settings import Experiment


@dataclass(frozen=True, kw_only=True)
class OfCorpus(Experiment):
    """The settings of a run on a corpus that is in memory."""

    name: ClassVar[str] = "own_csv"

    def load(self, data_dir: Path | None) -> Corpus:
        raise DataError("this run was made from Python, from an in-memory corpus; it cannot be rerun from its record")


def ulmfit(
    corpus: Corpus, recipe: str = "small", *, home: str | Path = "runs", direction: str | None = None, **settings
) -> predict.Predictor:
    """Fine-tune on `corpus` and leave a record, as `experiments.own_csv` does; what is finished is reused.

    `recipe` names one of `RECIPES`; `direction` is forward, backward or both, by default the recipe's; `settings` are
    those of an experiment: seed, precision, wandb, train_size. Raises `DataError`.
    """
    if size := settings.get("train_size"):
        corpus = corpus.with_train_size(size)
    chosen = replace(RECIPES[recipe], direction=direction or RECIPES[recipe].direction)
    of_corpus = OfCorpus(recipe_name=recipe, recipe=chosen, home=Path(home), **settings)
    return predict.load(cli.run(of_corpus, corpus))
