"""IMDb sentiment (Maas et al. 2011): 25,000 training, 25,000 test, 50,000 unlabelled reviews. The paper's.

Lab record: not run yet. At the 4,500 tokens a second of one thread of an AMD EPYC, an epoch of the small language model
over the 72,500 training and unlabelled reviews, some 20 million tokens, takes over an hour, and the recipe has six;
--sample 0.1 reads a tenth of each split. The paper's test error is 4.6 %.

    python -m experiments.imdb

Differs from the paper: the small pretrained language model; 10% of train held out for validation.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from ulmfit_exp.experiment import Experiment, main
from ulmfit_exp.recipe import RECIPES, Phase, Recipe, Training, gradual


def _large(name: str) -> Recipe:
    """A recipe for 20 million tokens on two cores: few passes, and few words, as the softmax costs most of the time."""
    return replace(
        RECIPES[name],
        lm=Training((Phase(lr=5e-3, decay=1.3),), bs=32, drop_mult=0.3),
        clas=Training((*gradual(3, lr=0.01)[:-1], Phase(epochs=2, lr=4e-3)), bs=64),
        max_vocab=12_000,
    )


@dataclass(frozen=True, kw_only=True)
class Imdb(Experiment):
    name: ClassVar[str] = "imdb"
    paper: ClassVar[float] = 4.6
    recipes: ClassVar[dict[str, Recipe]] = RECIPES | {name: _large(name) for name in ("small", "features")}

    sample: float = 1.0
    """Share of each split's reviews to use."""

    @property
    def variant(self) -> str:
        return "imdb"

    def load(self, data_dir: Path | None):
        from ulmfit_exp.corpora import imdb

        return imdb.load(data_dir, self.sample)


if __name__ == "__main__":
    main(Imdb)
