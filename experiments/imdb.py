"""IMDb."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ulmfit_exp.experiment import Experiment, main


@dataclass(frozen=True, kw_only=True)
class Imdb(Experiment):
    name: ClassVar[str] = "imdb"
    paper: ClassVar[float] = 4.6

    def load(self, data_dir: Path | None):
        from ulmfit_exp.corpora import imdb

        return imdb.load(data_dir)


if __name__ == "__main__":
    main(Imdb)
