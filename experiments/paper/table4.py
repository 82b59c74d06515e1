"""With and without pretraining (paper, table 4): validation error, one direction.

The row without pretraining is the same recipe from random weights. Its epochs and learning rates were chosen for a
pretrained model. The second row is recipe `scratch`: a smaller language model that is trained longer, on the task's
texts alone, with learning rates chosen for that.

Differs from the paper: a small pretrained model; no early stopping; IMDb has not been run.
"""

from dataclasses import replace

from ulmfit_exp.results.figures import both_errors
from ulmfit_exp.runs.settings import Experiment

from .base import forward, shorter, with_recipe

TITLE = "Table 4: pretraining"
DATA = ("imdb", "trec", "ag_news", "sfu")
REFERENCE = "with pretraining"
PAPER = {
    "imdb": {"without pretraining": 5.63, REFERENCE: 5.00},
    "trec": {"without pretraining": 10.67, REFERENCE: 5.69},
    "ag_news": {"without pretraining": 5.52, REFERENCE: 5.38},
}


def variants(base: Experiment) -> dict[str, Experiment]:
    """Return the two rows of the paper, and one of ours."""
    base = forward(base)
    recipe = base.recipes["scratch"]
    scratch = replace(base, recipe_name="scratch", recipe=shorter(recipe) if base.miniature else recipe)
    return {
        "without pretraining": with_recipe(base, pretrained="none"),
        "without, recipe scratch": forward(scratch),
        REFERENCE: base,
    }


def render(results):
    return both_errors(results, PAPER, REFERENCE)
