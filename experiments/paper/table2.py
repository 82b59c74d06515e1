"""Test error on small tasks (paper, table 2), both directions, with the baseline and the published figures.

features + LR: logistic regression on the pooled states of the fine-tuned language models, instead of a classifier.

Differs from the paper: SFU and SQuAD are added; 10% of the training texts are held out; a small pretrained model.
"""

from ulmfit_exp.results.figures import ablation, test_errors
from ulmfit_exp.runs.settings import Experiment

from .base import DATA as DATA_SETS
from .base import with_recipe

TITLE = "Table 2: test error, small tasks"
DATA = ("imdb-full", "imdb", "trec", "sfu", "squad")
RECIPES = {name: "default" for name in DATA_SETS if name != "imdb"}
"""Recipes of the data sets that do not use `small`."""
REFERENCE = "ULMFiT"
PAPER = {
    "imdb-full": {REFERENCE: 4.6, "forward alone": 5.30, "CoVe": 8.2, "oh-LSTM": 5.9, "Virtual": 5.9},
    "trec": {REFERENCE: 3.6, "CoVe": 4.2, "TBCNN": 4.0, "LSTM-CNN": 3.9},
}


def variants(base: Experiment) -> dict[str, Experiment]:
    """Return the data set's own run, and logistic regression on the features of the same language models."""
    return {REFERENCE: base, "features + LR": with_recipe(base, head="features")}


def render(results):
    return ablation(test_errors(results, REFERENCE), PAPER, REFERENCE, "test")
