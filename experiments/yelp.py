"""Yelp: is a review negative or positive, or how many of five stars does it give?

The paper's Yelp-bi and Yelp-full (Zhang et al. 2015): 560,000 training and 38,000 test reviews of two classes, or
650,000 and 50,000 of five. Lab record: none yet, as it was not run here on the published files. In miniature:

    ulmfit-exp yelp --miniature --level full

Differs from the paper: the small pretrained language model; 10% of the training texts are held out for validation.

What the published files need: experiments/notes/yelp.md
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ulmfit_exp.cli import main
from ulmfit_exp.runs.settings import Experiment


@dataclass(frozen=True, kw_only=True)
class Yelp(Experiment):
    name: ClassVar[str] = "yelp"

    level: Literal["polarity", "full"] = "polarity"
    """polarity: negative (1 or 2 stars) or positive (4 or 5). full: the number of stars, 1 to 5."""

    @property
    def dataset(self) -> str:
        return f"yelp-{self.level}"

    @property
    def paper(self) -> float:
        return {"polarity": 2.16, "full": 29.98}[self.level]

    def load(self, data_dir: Path | None):
        from ulmfit_exp.corpora import zhang

        return zhang.load(self.dataset, data_dir)


if __name__ == "__main__":
    main(Yelp)
