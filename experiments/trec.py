"""TREC-6."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ulmfit_exp.experiment import Experiment, main


@dataclass(frozen=True, kw_only=True)
class Trec(Experiment):
    name: ClassVar[str] = "trec"
    paper: ClassVar[float] = 3.6

    def load(self, data_dir: Path | None):
        from ulmfit_exp.corpora import trec

        return trec.load(data_dir)


if __name__ == "__main__":
    main(Trec)
