"""A vanilla language model against AWD-LSTM (paper, table 5): validation error, one direction.

Vanilla has no dropout, as in the paper. Differs from the paper: both rows start from the same pretrained language
model, trained with a dropout of at most 0.05, its last 178 million tokens without any. Only the fine-tuning differs.
IMDb has not been run.
"""

from ulmfit_exp.results.figures import both_errors
from ulmfit_exp.runs.settings import Experiment

from .base import forward, with_lm

TITLE = "Table 5: quality of the language model"
DATA = ("imdb", "trec", "ag_news", "sfu")
REFERENCE = "AWD-LSTM LM"
PAPER = {
    "imdb": {"vanilla LM": 5.98, REFERENCE: 5.00},
    "trec": {"vanilla LM": 7.41, REFERENCE: 5.69},
    "ag_news": {"vanilla LM": 5.76, REFERENCE: 5.38},
}


def variants(base: Experiment) -> dict[str, Experiment]:
    """Return the two rows."""
    base = forward(base)
    return {"vanilla LM": with_lm(base, drop_mult=0.0), REFERENCE: base}


def render(results):
    return both_errors(results, PAPER, REFERENCE)
