"""TREC-6, question classification (Li & Roth 2002): 5,452 training and 500 test questions in six classes. The paper's.

Lab record, 2026-11-23, commit eeddaeb53173, seeds 0, 1, 2, one thread each of an AMD EPYC with AVX-512 bf16, another
run on its other core, 8 minutes a run:

    OMP_NUM_THREADS=1 python -m experiments.trec --seed 0

    test error 4.67 ± 0.31 % (n = 3 seeds, 500 questions); forward alone 5.73 ± 0.31, backward alone 4.87 ± 0.31
    logistic regression on the same language models' features (--recipe features, commit 777ff38a9cc0): 9.60 ± 0.20
    TF-IDF + logistic regression 10.40; the paper, at full size, 3.6

Lab record of figures 3 and 4 and tables 5 to 7, 2026-11-24, commit ff96f50bfcc1 (figure 3: 4d1b341778f7), seeds 0 to 2,
one thread each of an AMD EPYC with AVX-512 bf16, two runs at a time and other work beside them:

    OMP_NUM_THREADS=1 python -m experiments.paper table7 --data trec --seeds 3 --jobs 2

    the figures, and what each cost, are in experiments/results/paper/; README says what they tell

Chosen by the valid error of forward, seed 0 (545 questions, a question is 0.18 %): batches of 16 with dropout as it is,
8.26. Batches of 32: 9.36; those with 2.0 times the dropout 11.93, with 1.5 times and 20 epochs 8.62. A language model
fine-tuned at twice the rate, 12 epochs, decay 1.3: valid loss 2.51 instead of 2.69, and valid error 8.99.

Differs from the paper: the small pretrained language model; 10% of the training questions are held out for validation,
from the final model too.
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
