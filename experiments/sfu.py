"""SFU Review Corpus (Taboada 2008): 400 reviews of eight kinds of product. Which kind, and is it recommended?

Not in the paper. Five folds, stratified by both labels and fixed by file name. A table wants all five; fold 0 is
recorded so far (80 test reviews, one seed: no spread is known, and a review is 1.25 %).

With the pretrained model, sentiment is not won yet, and no record is committed: tried on 2026-11-23 at commit 4896cb1,
forward, folds 0 and 1, the language model going from Wikipedia over 8 million tokens of IMDb's unlabelled reviews
(experiments.pretrain has the commands) to SFU. Valid and test error of fold 0, then of fold 1:

    the recipe as it is              21.88 32.50   40.62 23.75      valid loss 0.84, 0.85; train loss 0.07, 0.10
    --recipe.clas.drop-mult 2        31.25 33.75   34.38 37.50
    --recipe.clas.phases.4.decay 1   28.12 32.50                    valid loss 0.61
    TF-IDF + logistic regression     18.75 22.50   18.75 23.75      all five folds: test 19.75

Logistic regression on the states of that language model, before SFU, has a cross-validated error of 28.6 % (forward),
and of 24 % on all three layers of both directions: this language model knows too little of sentiment.

What was the default recipe at the records below is now --recipe scratch.

Lab record, 2026-11-23, commit 0b87bd6e7f9c, one thread of an Intel Xeon with AVX-512, another run on its other core:

    OMP_NUM_THREADS=1 python -m experiments.sfu --recipe scratch --target category

    test error 6.25 %; forward alone 6.25, backward alone 6.25; TF-IDF + logistic regression 0.00; 29 minutes

    OMP_NUM_THREADS=1 python -m experiments.sfu --recipe scratch --target sentiment

    test error 27.50 %; forward alone 26.25, backward alone 35.00; TF-IDF + logistic regression 26.25; 29 minutes, of
    which 19 are the language models that both targets share

    (at that commit with --recipe.clas.drop-mult 2, now the default, chosen by the valid loss of category forward: 0.10,
    with 1 it was 0.27. With 1 the test errors were 10.00 and 28.75; it was the 10.00 that made us look for better)

The language model has seen the 288 training reviews alone, 0.25 million tokens. That is too little English, and the
plain baseline is better on both targets.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from ulmfit_exp.experiment import Experiment, main
from ulmfit_exp.recipe import RECIPES, Phase, Recipe, Training, gradual

# For an encoder that knows of sentiment already: most of it is for the head to learn, and the rest moves slowly.
FEW = Training((Phase(freeze_to=-1, epochs=10, lr=3e-3), *gradual(5, lr=1e-3)[1:-1], Phase(epochs=2, lr=1e-3)), bs=16)


@dataclass(frozen=True, kw_only=True)
class Sfu(Experiment):
    name: ClassVar[str] = "sfu"
    recipes: ClassVar[dict[str, Recipe]] = RECIPES | {"few": replace(RECIPES["few"], clas=FEW)}

    target: Literal["sentiment", "category"] = "sentiment"
    """What to predict: is the product recommended, or which of the 8 categories is it from."""
    fold: int = 0
    """Which fifth of the reviews is the test split, 0 to 4."""

    def load(self, data_dir: Path | None):
        from ulmfit_exp.corpora import sfu

        return sfu.load(data_dir, self.target, self.fold)


if __name__ == "__main__":
    main(Sfu)
