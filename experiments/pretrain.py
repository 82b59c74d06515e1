"""The general-domain language model (paper, section 3.1), or one that goes on with a domain's texts.

python -m experiments.pretrain --corpus wikipedia
python -m experiments.pretrain --corpus wikipedia --backwards
python -m experiments.pretrain --corpus imdb --pretrained wikipedia-small      # a domain in between
python -m experiments.sfu --pretrained runs/runs/imdb-…                        # and the task after it
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from ulmfit_exp.experiment import Command, main
from ulmfit_exp.recipe import PRETRAINING, LMRecipe


@dataclass(frozen=True, kw_only=True)
class Pretrain(Command):
    name: ClassVar[str] = "pretrain"
    recipes: ClassVar[dict[str, LMRecipe]] = PRETRAINING

    corpus: str = "wikipedia"
    """wikipedia, wikitext-2 or imdb (its unlabelled reviews) in the data directory; or a file or folder: JSON lines,
    CSV, WikiExtractor's output, plain text, .xz .gz .bz2 of these, a WikiText zip, an archive of .txt files."""
    text_col: str = "text"
    """JSON field or CSV column of the text; a number counts the columns, from 0, of a CSV without header."""
    backwards: bool = False
    """Read texts from their end."""
    recipe_name: Annotated[Literal["small", "paper", "tiny"], tyro.conf.arg(name="size")] = "small"
    """small is what we ship; paper is the paper's AWD-LSTM, for a GPU. Its fields are the --recipe.… options below."""
    recipe: LMRecipe = PRETRAINING["small"]

    @property
    def variant(self) -> str:
        return f"pretrain-{Path(self.corpus).name}"

    @property
    def directions(self) -> tuple[str, ...]:
        return ("backward",) if self.backwards else ("forward",)

    def texts(self, data_dir: Path | None):
        from ulmfit_exp.corpora.documents import open_documents

        return open_documents(self.corpus, data_dir, self.text_col)

    def figures(self, run, done: dict) -> dict:
        return {k: done["perplexity"].info[k] for k in ("perplexity", "counted")}

    def table(self, record: dict) -> str:
        from ulmfit_exp.report import perplexity_table

        return perplexity_table(record)


if __name__ == "__main__":
    main(Pretrain)
