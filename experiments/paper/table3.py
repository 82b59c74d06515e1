"""Test error on topic classification (paper, table 3), both directions, with the baseline and the published figures.

Differs from the paper: a sample of DBpedia, with 8,000 training and 1,998 test texts instead of 560,000 and 70,000,
and of AG News, with 5,600 and 2,000 instead of 120,000 and 7,600; 10% of the training texts are held out; a small
pretrained model. Yelp has not been run.
"""

from ulmfit_exp.results.figures import ablation, test_errors

from .table2 import RECIPES, REFERENCE, variants

__all__ = ["RECIPES", "variants"]
TITLE = "Table 3: test error, topic classification"
DATA = ("ag_news", "dbpedia", "yelp-polarity", "yelp-full")
PAPER = {
    "ag_news": {REFERENCE: 5.01, "char-level CNN": 9.51, "CNN": 6.57, "DPCNN": 6.87},
    "dbpedia": {REFERENCE: 0.80, "char-level CNN": 1.55, "CNN": 0.84, "DPCNN": 0.88},
    "yelp-polarity": {REFERENCE: 2.16, "char-level CNN": 4.88, "CNN": 2.90, "DPCNN": 2.64},
    "yelp-full": {REFERENCE: 29.98, "char-level CNN": 37.95, "CNN": 32.39, "DPCNN": 30.58},
}


def render(results):
    return ablation(test_errors(results, REFERENCE), PAPER, REFERENCE, "test")
