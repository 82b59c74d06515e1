"""SQuAD: which article is a question about, or can its paragraph answer it?

Two classification tasks made from SQuAD (Rajpurkar et al. 2016, 2018), which are not in the paper. topic is split by
paragraph, and the training paragraphs serve as unlabelled texts; answerable is split by article.

Lab record of topic, 2026-11-26, commit 53387c8c70f6: a seed took 8 minutes on an NVIDIA H100 (bf16) with 23 other runs
at once, from a language model of 224 million tokens. SQuAD 2.0's development set, 2,378 test questions:

    ulmfit-exp squad --seed 0

    test error in %   23.97 ± 0.26 (3 seeds); forward 25.57 ± 0.29, backward 25.53 ± 0.37
    baseline          30.03 (TF-IDF + logistic regression)

--task answerable, one seed: 45.02, forward 42.84, TF-IDF + logistic regression 46.10; near chance (see the notes).
What was tried, and how the settings were chosen: experiments/notes/squad.md
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ulmfit_exp.cli import main
from ulmfit_exp.runs.settings import Experiment


@dataclass(frozen=True, kw_only=True)
class Squad(Experiment):
    name: ClassVar[str] = "squad"
    in_variant: ClassVar[dict[str, str]] = Experiment.in_variant | {"version": "{}", "train_set": "with train set"}

    task: Literal["topic", "answerable"] = "topic"
    """topic: which article a question is about. answerable: whether the paragraph can answer the question."""
    version: Literal["v1.1", "v2.0"] = "v2.0"
    """Version of SQuAD; v1.1 has no unanswerable questions."""
    train_set: bool = False
    """Also read the published training set, not only the development set."""

    @property
    def dataset(self) -> str:
        return f"squad-{self.task}"

    def load(self, data_dir: Path | None):
        from ulmfit_exp.corpora import squad

        return squad.load(data_dir, self.task, self.version, self.train_set)


if __name__ == "__main__":
    main(Squad)
