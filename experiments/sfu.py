"""SFU reviews."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ulmfit_exp.experiment import Experiment, main


@dataclass(frozen=True, kw_only=True)
class Sfu(Experiment):
    name: ClassVar[str] = "sfu"

    target: Literal["sentiment", "category"] = "sentiment"
    """What to predict: is the product recommended, or which of the 8 categories is it from."""
    fold: int = 0
    """Which fifth of the reviews is the test split, 0 to 4."""

    def load(self, data_dir: Path | None):
        from ulmfit_exp.corpora import sfu

        return sfu.load(data_dir, self.target, self.fold)


if __name__ == "__main__":
    main(Sfu)
