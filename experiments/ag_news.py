"""AG News: is an article about the world, sports, business or science and technology?

The paper's AG News has 120,000 training and 7,600 test texts, each a title and the first sentences (Zhang et al. 2015).
Lab record, 2026-11-27, on a sample: 5,600 of the published test texts for training, 2,000 for test. A seed took 5
minutes on a shared NVIDIA H100 (bf16, commit 8489e8b506b3), seed 0 85 on one thread of an AMD EPYC (d9adc9dc97f1):

    ulmfit-exp ag_news --data-dir FOLDER --label sample

    test error in %   9.93 ± 0.48 (3 seeds); forward 10.55 ± 0.18, backward 10.50 ± 0.48
    baseline          12.50 (TF-IDF + logistic regression). The paper's 5.01 is on the whole set, not comparable

Differs from the paper: the small pretrained language model; 10% of the training texts are held out for validation.
Notes: experiments/notes/ag_news.md
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ulmfit_exp.cli import main
from ulmfit_exp.runs.settings import Experiment


@dataclass(frozen=True, kw_only=True)
class AgNews(Experiment):
    name: ClassVar[str] = "ag_news"
    paper: ClassVar[float] = 5.01

    def load(self, data_dir: Path | None):
        from ulmfit_exp.corpora import zhang

        return zhang.load(self.dataset, data_dir)


if __name__ == "__main__":
    main(AgNews)
