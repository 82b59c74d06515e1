"""AG News: is an article about the world, sports, business or science and technology?

The paper's AG News: 120,000 training and 7,600 test texts, a title and the first sentences (Zhang et al. 2015). Lab
record: not run at full size here, and no record is committed. In miniature:

    ulmfit-exp ag_news --miniature

Differs from the paper: the small pretrained language model; 10% of the training texts are held out for validation.

What a run on a part of the set can be compared with: experiments/notes/ag_news.md
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
