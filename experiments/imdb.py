"""IMDb sentiment (Maas et al. 2011): 25,000 training, 25,000 test, 50,000 unlabelled reviews. The paper's.

Lab record: not run yet. At the 5,500 tokens a second that the other runs reached on one thread, an epoch of the small
language model over its 72,500 training and unlabelled reviews, some 20 million tokens, would take an hour. The
paper's test error is 4.6 %.

    python -m experiments.imdb

Differs from the paper: the language model starts from scratch; see README.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ulmfit_exp.experiment import Experiment, main


@dataclass(frozen=True, kw_only=True)
class Imdb(Experiment):
    name: ClassVar[str] = "imdb"
    paper: ClassVar[float] = 4.6

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
