"""SQuAD tasks."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ulmfit_exp.experiment import Experiment, main


@dataclass(frozen=True, kw_only=True)
class Squad(Experiment):
    name: ClassVar[str] = "squad"

    task: Literal["topic", "answerable"] = "topic"
    """topic: which article is a question about. answerable: can the paragraph answer the question."""
    version: Literal["v1.1", "v2.0"] = "v2.0"
    """Which SQuAD; v1.1 has no unanswerable questions."""
    train_set: bool = False
    """Read the published train set besides the dev set."""

    @property
    def variant(self) -> str:
        return f"squad-{self.task}"

    def load(self, data_dir: Path | None):
        from ulmfit_exp.corpora import squad

        return squad.load(data_dir, self.task, self.version, self.train_set)


if __name__ == "__main__":
    main(Squad)
