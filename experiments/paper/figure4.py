"""Validation error by epoch of the classifier (paper, figure 4): full fine-tuning against ULMFiT.

Full: all layers at once, at the learning rate of ULMFiT's last phase, without discriminative or slanted triangular
rates, as in table 7 but without early stopping. A recipe with fewer than 12 epochs, such as IMDb's with 4, is run with
12 here.

Differs from the paper: SFU is added, and AG News has not been run. In the paper, and here with recipe `paper`, "full"
has a tenth of ULMFiT's learning rate, 0.001.
"""

from dataclasses import replace

from ulmfit_exp.results.figures import by_epoch
from ulmfit_exp.runs.settings import Experiment

from .base import forward, full, with_clas

TITLE = "Figure 4: validation error by epoch"
DATA = ("imdb", "trec", "ag_news", "sfu")
REFERENCE = "ULMFiT"
EPOCHS = 12


def variants(base: Experiment) -> dict[str, Experiment]:
    """Return the two lines of the plot."""
    base = forward(base)
    (*frozen, last) = base.recipe.clas.phases
    short = EPOCHS - sum(p.epochs for p in base.recipe.clas.phases)
    if short > 0 and not base.miniature:
        base = with_clas(base, phases=(*frozen, replace(last, epochs=last.epochs + short)))
    return {"full": with_clas(base, phases=full(base)), REFERENCE: base}


def render(results):
    return by_epoch(results, REFERENCE)
