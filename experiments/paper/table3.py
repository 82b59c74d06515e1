"""Test error on topic classification (paper, table 3), both directions, with the baseline and published figures.

Differs from the paper: of its four data sets only DBpedia, and of that a sample of 8,000 training and 1,998 test texts
instead of 560,000 and 70,000; 10% of the training texts are held out; a small pretrained model.
"""

from ulmfit_exp.results.figures import ablation, test_errors

from .table2 import REFERENCE, variants

__all__ = ["variants"]
TITLE = "Table 3: test error, topic classification"
DATA = ("dbpedia",)
PAPER = {"dbpedia": {REFERENCE: 0.80, "char-level CNN": 1.55, "CNN": 0.84, "DPCNN": 0.88}}


def render(results):
    return ablation(test_errors(results, REFERENCE), PAPER, REFERENCE, "test")
