"""SFU reviews: is the product recommended, or which of 8 categories is it from?

400 product reviews (SFU Review Corpus, Taboada 2008); not in the paper. Lab record, sentiment, 2026-11-25, commit
843cc0a46ac8, a language model of 20 million tokens: one thread of an AMD EPYC (AVX-512 bf16), 12 minutes per fold.
Five folds of 80 test reviews; a table needs all five, --fold 0 to --fold 4:

    OMP_NUM_THREADS=1 ulmfit-exp sfu --recipe small --target sentiment --fold 0

    test error in %   24.75 ± 4.71; forward 28.00 ± 3.71, backward 30.75 ± 7.79
    baseline          19.75 ± 3.24 (TF-IDF + logistic regression), lower, but not significantly
    with the labels of IMDb (commit 86b1fe630015): 14.50 ± 3.26, see the notes for the command and the control

Category, fold 0, without a pretrained model (commit 0b87bd6e7f9c): 6.25, baseline 0.00.

What was tried, and how the settings were chosen: experiments/notes/sfu.md
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from ulmfit_exp.cli import main
from ulmfit_exp.recipe import RECIPES, Phase, Recipe, Training, gradual
from ulmfit_exp.runs.settings import Experiment

# For an encoder that knows of sentiment already: most of it is for the head to learn, and the rest moves slowly.
FEW = Training((Phase(freeze_to=-1, epochs=10, lr=3e-3), *gradual(5, lr=1e-3)[1:], Phase(epochs=2, lr=1e-3)), bs=16)


@dataclass(frozen=True, kw_only=True)
class Sfu(Experiment):
    name: ClassVar[str] = "sfu"
    replicate_by: ClassVar[str] = "fold"
    recipes: ClassVar[dict[str, Recipe]] = RECIPES | {"few": replace(RECIPES["few"], clas=FEW)}

    target: Literal["sentiment", "category"] = "sentiment"
    """What to predict: whether the product is recommended, or its category (8 classes)."""
    fold: int = 0
    """Which fifth of the reviews is the test split, 0 to 4."""

    @property
    def dataset(self) -> str:
        return f"sfu-{self.target}"

    def load(self, data_dir: Path | None):
        from ulmfit_exp.corpora import sfu

        return sfu.load(data_dir, self.target, self.fold)


if __name__ == "__main__":
    main(Sfu)
