"""The general-domain language model (paper, section 3.1), or one that goes on with a domain's texts.

Lab record of wikipedia-small, which ships: 2026-11-23, commit 3fd06031f8ea, one seed, bf16, an AMD EPYC (Zen 4), two
cores, one thread each for the two directions at once; 99 minutes each, 3,370 tokens a second:

    OMP_NUM_THREADS=1 python -m experiments.pretrain --corpus wikipedia
    OMP_NUM_THREADS=1 python -m experiments.pretrain --corpus wikipedia --backwards
    python scripts/ship.py runs/runs/FORWARD runs/runs/BACKWARD --name wikipedia-small

    perplexity           forward   backward   unknown
    held-out articles       46.9       47.1     6.6 %     52 articles, 166,308 tokens
    WikiText-2 test         64.6       65.5     8.6 %     273,185 tokens; at that commit read as one document

A token is a word or a mark (xxbos, xxmaj, ...) of fastai's rules and spaCy, out of 16,000; an unknown word is the token
xxunk. Marks are easy to predict: these figures do not compare with those of another count, the published ones included.

Trained on the first 20 million of 89 million tokens, once, in one cycle. Its shape was chosen by speed and by what fits
into 16 MB in half precision (6.3 million weights): on a core of that machine the LSTMs of embedding 192 and hidden 448
make 8,400 tokens a second alone and the softmax over 16,000 words 7,400; embedding 224 and hidden 512 would have been
a quarter slower altogether. Rates: on 1.1 million tokens (embedding 200, hidden 400), one cycle to 0.003 reached
perplexity 190.4 on 25 held-out articles and to 0.008 164.0; 0.006 was taken for the longer run. Dropout 0.05 and batch
32 were not varied.

A domain may stand between Wikipedia and the task:

    python -m experiments.pretrain --corpus imdb --pretrained wikipedia-small
    python -m experiments.pretrain --corpus imdb --pretrained wikipedia-small --backwards
    python -m experiments.sfu --pretrained runs/runs/IMDB-FORWARD,runs/runs/IMDB-BACKWARD

Tried on 2026-11-23, commit bff6522, with --recipe.max-tokens 8000000 --recipe.lm.phases.0.lr 3e-3, one thread each for
the two directions at once, 32 minutes: perplexity 65.8 and 66.3 on 100 held-out reviews.

Differs from the paper: 20 million tokens instead of 103 million, 16,000 words, 6.3 million weights, light dropout.
--size paper has the paper's shape.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from ulmfit_exp.corpora.options import Format
from ulmfit_exp.recipe import PRETRAINING, LMRecipe
from ulmfit_exp.runs.settings import Command, main


@dataclass(frozen=True, kw_only=True)
class Pretrain(Format, Command):
    name: ClassVar[str] = "pretrain"
    recipes: ClassVar[dict[str, LMRecipe]] = PRETRAINING
    also_variant: ClassVar[tuple[str, ...]] = ("backwards",)

    corpus: str = "wikipedia"
    """wikipedia, wikitext-2 or imdb (its unlabelled reviews) in the data directory; or a file or folder: JSON lines,
    CSV, WikiExtractor's output, plain text, .xz .gz .bz2 of these, a WikiText zip, an archive of .txt files."""
    text_col: tuple[str, ...] = ("text",)
    """JSON field or CSV column of the text; several are joined. A number counts the columns, from 0, of a CSV without
    header."""
    backwards: bool = False
    """Read texts from their end."""
    recipe_name: Annotated[Literal["small", "cycle", "paper", "tiny"], tyro.conf.arg(name="size")] = "small"
    """small is what we ship; cycle trains that on the next texts; paper is the paper's AWD-LSTM, for a GPU. Its fields
    are the --recipe.… options below."""
    recipe: LMRecipe = PRETRAINING["small"]

    @property
    def variant(self) -> str:
        return f"pretrain-{Path(self.corpus).name}"

    @property
    def directions(self) -> tuple[str, ...]:
        return ("backward",) if self.backwards else ("forward",)

    def texts(self, data_dir: Path | None):
        from ulmfit_exp.corpora.documents import open_documents

        text_col = (self.text_col,) if isinstance(self.text_col, str) else self.text_col  # a str in older records
        return open_documents(self.corpus, data_dir, text_col, format=self)

    def figures(self, run, done: dict) -> dict:
        return {k: done["perplexity"].info[k] for k in ("perplexity", "counted")}

    def table(self, record: dict) -> str:
        from ulmfit_exp.results.tables import perplexity_table

        return perplexity_table(record)


if __name__ == "__main__":
    main(Pretrain)
