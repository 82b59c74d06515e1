"""Forward, backward, and the mean of both (paper, section 5, "impact of bidirectionality"): test error.

The runs are those of tables 2 and 3.
"""

from ulmfit_exp.results.figures import ablation, test_errors
from ulmfit_exp.runs.settings import Experiment

from .table2 import RECIPES, REFERENCE

__all__ = ["RECIPES"]

TITLE = "Forward, backward, both"
DATA = ("imdb-full", "imdb", "trec", "sfu", "squad", "dbpedia", "ag_news", "yelp-polarity", "yelp-full")
PAPER = {"imdb-full": {REFERENCE: 4.58, "forward alone": 5.30}}


def variants(base: Experiment) -> dict[str, Experiment]:
    """Return the data set's own run."""
    return {REFERENCE: base}


def render(results):
    found = test_errors(results, REFERENCE)
    return ablation(found[found["row"].isin([REFERENCE, "forward alone", "backward alone"])], PAPER, REFERENCE, "test")
