"""TREC-6: which of six types of question is it?

5,452 training and 500 test questions (Li & Roth 2002). Lab record, 2026-11-28, commit 9973decbac13: a seed took 17 to
21 minutes on one thread of an Intel Xeon (AVX-512, fp32):

    OMP_NUM_THREADS=1 ulmfit-exp trec --seed 0

    test error in %   3.00 ± 0.40 (3 seeds); forward 4.47 ± 0.42, backward 3.40 ± 0.20
    features          7.87 ± 0.12 (--recipe.head features, on a CPU)
    baseline          10.40 (TF-IDF + logistic regression); the paper, at full size, 3.60

Differs from the paper: the small pretrained language model; 10% of the training questions are held out for validation.
One test question is 0.2 points.

What was tried, and how the settings were chosen: experiments/notes/trec.md
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ulmfit_exp.cli import main
from ulmfit_exp.runs.settings import Experiment


@dataclass(frozen=True, kw_only=True)
class Trec(Experiment):
    name: ClassVar[str] = "trec"
    paper: ClassVar[float] = 3.6

    def load(self, data_dir: Path | None):
        from ulmfit_exp.corpora import trec

        return trec.load(data_dir)


if __name__ == "__main__":
    main(Trec)
