"""SQuAD (Rajpurkar et al. 2016, 2018) as two classification tasks. Not in the paper.

topic: which of the articles is a question about? Split by paragraph; the training paragraphs are unlabelled texts.
answerable: can the paragraph answer the question? Split by article.

Lab record of topic, 2026-11-24, commits 104382191e96 to dece9c387bb4, seeds 0, 1, 2, one thread of an AMD EPYC with
AVX-512 bf16, another run on its other core, on the dev set of SQuAD 2.0 alone: 35 articles, 11,873 questions, 2,378 of
them the test split:

    OMP_NUM_THREADS=1 python -m experiments.squad --seed 0
    OMP_NUM_THREADS=1 python -m experiments.squad --seed 0 --recipe scratch --recipe.direction forward

    small      test error 27.40 ± 0.33 %; forward alone 27.94 ± 0.66, backward alone 30.07 ± 0.45
    scratch    test error 35.45 ± 0.33 %, forward
    features   test error 39.60 ± 0.96 %, on the states of small's language models
    TF-IDF + logistic regression 30.03; 14 to 21 minutes a seed, of scratch 5

Chosen by the valid error, forward, seed 0: with recipe small as it is elsewhere 29.12 %; with DBpedia's, whose lower
layers learn faster, and 1.5 times the dropout 25.55; with twice the dropout and 8 last epochs instead of 4, which is
the recipe here, 23.77; with 6 at twice the rate 23.68. TF-IDF has 27.33.

Lab record of answerable, 2026-11-23, commit d0ee5d218895, one thread of an Intel Xeon with AVX-512, another run on its
other core, one seed:

    OMP_NUM_THREADS=1 python -m experiments.squad --recipe scratch --task answerable --recipe.direction forward
        --recipe.lm.phases.0.epochs 1 --recipe.clas.phases.4.epochs 1

    test error 50.07 % (n = 2,241), a coin's; TF-IDF + logistic regression 46.59, hardly better; 14 minutes. What
    decides is whether the question fits the paragraph, and neither method compares the two
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from ulmfit_exp.cli import main
from ulmfit_exp.recipe import LM_OF_NAMES, RECIPES, Phase, Recipe, Training, gradual
from ulmfit_exp.runs.settings import Experiment

CLAS = Training((*gradual(5, lr=0.01, decay=1.3)[:-1], Phase(epochs=8, lr=4e-3, decay=1.3)), bs=32, drop_mult=2.0)


@dataclass(frozen=True, kw_only=True)
class Squad(Experiment):
    name: ClassVar[str] = "squad"
    recipes: ClassVar[dict[str, Recipe]] = RECIPES | {"small": replace(RECIPES["small"], lm=LM_OF_NAMES, clas=CLAS)}

    task: Literal["topic", "answerable"] = "topic"
    """topic: which article is a question about. answerable: can the paragraph answer the question."""
    version: Literal["v1.1", "v2.0"] = "v2.0"
    """Which SQuAD; v1.1 has no unanswerable questions."""
    train_set: bool = False
    """Read the published train set besides the dev set."""

    @property
    def dataset(self) -> str:
        return f"squad-{self.task}"

    def load(self, data_dir: Path | None):
        from ulmfit_exp.corpora import squad

        return squad.load(data_dir, self.task, self.version, self.train_set)


if __name__ == "__main__":
    main(Squad)
