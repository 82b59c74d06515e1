"""Few labels per class (8 to 64), ten random draws, one direction: two ways to fine-tune, features, baselines.

This is the protocol of later work on few labels (Tunstall et al. 2022), not a table of the paper; --seeds 10 makes ten
draws. A run keeps the labels of K training texts per class, and its language model is fine-tuned on all training texts,
without labels. The validation set is the usual one: it is used to choose C of every logistic regression, but not in
fine-tuning. The draws share their language models. All data sets but TREC-6 are samples.

ULMFiT: a new head, and gradual unfreezing. features + LR: logistic regression on the pooled states of the fine-tuned
language models. LP-FT: the classifier is fine-tuned with that regression as its head (recipe lp-ft; Kumar et al.
2022). wordllama + LR: logistic regression on the mean of static word embeddings that were distilled from a large model
(scripts/dev/static.py).
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from ulmfit_exp.results.figures import by_labels, errors_with_baseline
from ulmfit_exp.runs.settings import Experiment

from .base import forward, with_recipe

TITLE = "Few labels per class"
DATA = ("trec", "dbpedia", "ag_news", "imdb")
RECIPES = dict.fromkeys(DATA, "default")
REFERENCE = "LP-FT"
SHOTS = (8, 16, 32, 64)
STATIC = Path(__file__).parents[1] / "benchmarks" / "static.csv"


def variants(base: Experiment) -> dict[str, Experiment]:
    """Return fine-tuning in two ways and features; repetitions differ in the draw, not in the seed."""
    base = forward(replace(base, seed=0, draw=base.seed))
    few = with_recipe(base, head="lp-ft")
    if not base.miniature:
        few = replace(with_recipe(few, clas=base.recipes["lp-ft"].clas), recipe_name="lp-ft")
    return {REFERENCE: few, "ULMFiT": base, "features + LR": with_recipe(base, head="features")}


def sized(settings: Experiment, data: str) -> list[Experiment]:
    """Return a method's settings for each number of labels per class."""
    return [replace(settings, shots=shots) for shots in ((2, 4) if settings.miniature else SHOTS)]


def render(results):
    found = errors_with_baseline(results)
    return by_labels(pd.concat([found, static(found)]), REFERENCE, results[0][1]["baseline"]["method"])


def static(found: pd.DataFrame) -> pd.DataFrame:
    """Return the test errors of static embeddings on the draws in `found`."""
    drawn = found[found["row"] == REFERENCE].drop(columns=["row", "error"])
    source = f"../{STATIC.parent.name}/{STATIC.name}"  # relative to experiments/results/, like other links
    return drawn.merge(pd.read_csv(STATIC)).assign(row="wordllama + LR", records=source)[found.columns]
