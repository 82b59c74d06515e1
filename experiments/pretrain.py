"""Pretrain a language model (paper, section 3.1), or continue the pretraining on a domain's texts.

Lab record of wikipedia-small, which ships: seven cycles from 2026-11-23 to 2026-11-26. The first six read 46 million
tokens together, with one thread per direction; the seventh read 178 million in 5 minutes on an NVIDIA H100 (bf16,
commit 507eb1c4fde3):

    OMP_NUM_THREADS=1 ulmfit-exp pretrain --corpus wikipedia        # the first cycle; and with --backwards
    ulmfit-exp pretrain --size cycle                                # the seventh, at that commit

    perplexity         28.4 and 29.1 on the validation articles, 27.9 and 28.7 on the test articles

Differs from the paper: 89 million tokens, read two to three times, not 103 million; 16,000 words; 6.3 million weights.
--size paper has the paper's shape. With several processes: torchrun --nproc-per-node 2 -m ulmfit_exp pretrain ...

How a token is counted, what was tried, and how the model is put into the package: experiments/notes/pretrain.md
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from ulmfit_exp.cli import main
from ulmfit_exp.common import as_utf8
from ulmfit_exp.corpora.options import Format
from ulmfit_exp.recipe import PRETRAINING, LMRecipe
from ulmfit_exp.runs.settings import Command


@dataclass(frozen=True, kw_only=True)
class Pretrain(Format, Command):
    name: ClassVar[str] = "pretrain"
    recipes: ClassVar[dict[str, LMRecipe]] = PRETRAINING
    paths: ClassVar[tuple[str, ...]] = ("corpus",)
    in_variant: ClassVar[dict[str, str]] = {"backwards": "backward"}

    corpus: str = "wikipedia"
    """wikipedia, wikitext-2, imdb (its unlabelled reviews) or reviews (of products, and imdb) in the data directory; or
    a file or folder: Parquet; JSON lines, CSV, WikiExtractor's output or plain text, also compressed (.xz, .gz,
    .bz2); a WikiText zip; or an archive of .txt files."""
    text_col: tuple[str, ...] = ("text",)
    """JSON field or CSV column of the text, by name or by number from 0; several are joined."""
    backwards: bool = False
    """Train a model that reads texts backwards."""
    recipe_name: Annotated[Literal["small", "cycle", "domain", "paper", "tiny"], tyro.conf.arg(name="size")] = "small"
    """small has the shape of the model that ships; cycle trains that model further, domain trains it on a domain's
    texts with their vocabulary; paper is the paper's AWD-LSTM, for a GPU; tiny is for trying it out. The --recipe.…
    options below change it."""
    recipe: LMRecipe = PRETRAINING["small"]
    log_texts: Annotated[bool, tyro.conf.Suppress] = False  # there are no predictions to upload

    @property
    def dataset(self) -> str:
        return f"pretrain-{as_utf8(Path(self.corpus).name)}"

    @property
    def directions(self) -> tuple[str, ...]:
        return ("backward",) if self.backwards else ("forward",)

    def texts(self):
        from ulmfit_exp.corpora.documents import open_documents

        corpus = str(self.corpus)  # a Path if it is from a record
        return open_documents(corpus, self.data_directory, self.text_col, format=self)


if __name__ == "__main__":
    main(Pretrain)
