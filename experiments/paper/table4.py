"""With and without pretraining (paper, table 4): validation error, one direction.

Without is the recipe `scratch`: a smaller language model trained on the task's texts alone, longer and at rates chosen
for that, which does better than the pretrained recipe from random weights would.

Differs from the paper: a small pretrained model; no early stopping.
"""

from dataclasses import replace

from experiments.paper.base import forward, with_recipe
from ulmfit_exp.experiment import Experiment
from ulmfit_exp.figures import ablation, errors

TITLE = "Table 4: pretraining"
DATA = ("imdb", "trec", "sfu")
REFERENCE = "with pretraining"
PAPER = {
    "imdb": {"without pretraining": 5.63, REFERENCE: 5.00},
    "trec": {"without pretraining": 10.67, REFERENCE: 5.69},
}


def variants(base: Experiment) -> dict[str, Experiment]:
    """The two rows."""
    if base.miniature:
        without = with_recipe(base, pretrained="none")
    else:
        without = replace(base, recipe_name="scratch", recipe=base.recipes["scratch"])
    return {"without pretraining": forward(without), REFERENCE: forward(base)}


def render(results):
    return ablation(errors(results, "valid"), PAPER, REFERENCE)
