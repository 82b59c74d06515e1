"""SFU reviews: is the product recommended, or which of 8 categories is it from?

400 product reviews (SFU Review Corpus, Taboada 2008), which the paper does not use. Lab record, 2026-11-27, commit
0914fbf026c4: a fold took 5 minutes on a shared NVIDIA H100 (bf16), with recipe lp-ft. There are five folds of 80 test
reviews; a table needs all five, --fold 0 to --fold 4:

    ulmfit-exp sfu --fold 0 --pretrained reviews-small

    test error in %   17.50 ± 2.07 (two seeds of each fold); forward 19.62 ± 3.08
    baseline          19.75 ± 3.24 (TF-IDF + logistic regression), higher, but not significantly
    --recipe default  18.38 ± 3.32 (two seeds); from wikipedia-small (one seed) 24.00 ± 5.69, lp-ft 23.00 ± 5.35
    with IMDb's labels too (commit 86b1fe630015): 14.50 ± 3.26; the notes have the command and the control
    --target category, from wikipedia-small: 0.00 ± 0.00; --recipe default 0.25 ± 0.56, baseline 0.25 ± 0.56

What was tried, and how the settings were chosen: experiments/notes/sfu.md
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ulmfit_exp.cli import main
from ulmfit_exp.runs.settings import Experiment


@dataclass(frozen=True, kw_only=True)
class Sfu(Experiment):
    name: ClassVar[str] = "sfu"
    replicate_by: ClassVar[str] = "fold"

    target: Literal["sentiment", "category"] = "sentiment"
    """What to predict: whether the product is recommended, or its category (8 classes)."""
    fold: int = 0
    """Cross-validation fold that is the test set, 0 to 4."""

    @property
    def dataset(self) -> str:
        return f"sfu-{self.target}"

    def load(self, data_dir: Path | None):
        from ulmfit_exp.corpora import sfu

        return sfu.load(data_dir, self.target, self.fold)


if __name__ == "__main__":
    main(Sfu)
