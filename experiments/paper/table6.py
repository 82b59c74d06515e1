"""Language-model fine-tuning (paper, table 6): none, full, discriminative rates, slanted triangular rates.

Validation error, one direction; the classifier is trained by ULMFiT's recipe. The rows without slanted triangular rates
fine-tune at the same maximum learning rate, kept constant, and keep the epoch with the lowest validation loss.

Differs from the paper: a small pretrained model; IMDb has not been run.
"""

from ulmfit_exp.recipe import changed
from ulmfit_exp.results.figures import both_errors
from ulmfit_exp.runs.settings import Experiment

from .base import PATIENCE, forward, with_lm

TITLE = "Table 6: language-model fine-tuning"
DATA = ("imdb", "trec", "ag_news", "sfu")
REFERENCE = "full + discr + stlr"
PAPER = {
    "imdb": {"none": 6.99, "full": 5.86, "full + discr": 5.55, REFERENCE: 5.00},
    "trec": {"none": 6.38, "full": 6.54, "full + discr": 6.36, REFERENCE: 5.69},
    "ag_news": {"none": 6.09, "full": 5.61, "full + discr": 5.47, REFERENCE: 5.38},
}


def variants(base: Experiment) -> dict[str, Experiment]:
    """Return the rows."""
    base = forward(base)
    constant = changed(base.recipe.lm.phases, schedule="const")
    return {
        "none": with_lm(base, phases=()),
        "full": with_lm(base, phases=changed(constant, decay=1.0), patience=PATIENCE),
        "full + discr": with_lm(base, phases=constant, patience=PATIENCE),
        REFERENCE: base,
    }


def render(results):
    return both_errors(results, PAPER, REFERENCE)
