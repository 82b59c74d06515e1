"""Do two variants differ? Tests over runs (seeds or folds), and over the texts of one test set.

`p_against` and `paired` need the errors of several runs: every table uses them. `mcnemar` and `bootstrap` need the
predictions of the runs, which a finished run keeps in the stage of its evaluation.

All tests are two-sided. A difference is called significant when p < ALPHA after correction.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest, ttest_1samp

from ..common import DataError
from ..record import evaluation

ALPHA = 0.05
FEWEST = 3
"""Runs of each variant below which nothing is tested."""
SAMPLES = 10_000
"""Resamples of the bootstrap."""


def paired(differences: pd.DataFrame) -> pd.Series:
    """p of the paired t-test: is the mean difference between two variants, run with the same seeds or folds, 0?

    A column has the differences of a pair of variants; a run that one of the two lacks is NaN.

    Assumes that the differences are independent and normally distributed. Over seeds, all runs share the training and
    test texts: the test is about repeating the training on them, not about other texts. Over folds, the differences
    are not independent, because the training texts of the folds overlap: the test is anti-conservative (p is too low).
    NaN, so no test, for fewer than three differences, and where all are equal.
    """
    differences = differences.round(9)  # errors are fractions: differences of as many texts are to be equal
    tested = differences.loc[:, (differences.count() >= FEWEST) & (differences.nunique() > 1)]
    p = ttest_1samp(tested, 0, nan_policy="omit").pvalue
    return pd.Series(p, tested.columns, dtype=float).reindex(differences.columns)


def holm(p: pd.Series) -> pd.Series:
    """p corrected for the number of tests by Holm's method (1979), whether or not the tests depend on each other.

    The chance of one or more false positives among all of them is at most ALPHA. NaN is not a test.
    """
    ordered = p.dropna().sort_values()
    return (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1).reindex(p.index)


def p_against(found: pd.DataFrame, reference: str) -> dict[tuple, float]:
    """(data, row) -> p of that row's difference from the row `reference` on the same data, by `paired`.

    `found` has the columns row, data, replicate and error: all rows of one table, on all of its data sets. p is
    corrected by `holm` for all comparisons of the table.
    """
    p = {}
    for data, part in found.groupby("data", sort=False):
        errors = part.pivot(index="replicate", columns="row", values="error")
        if reference in errors:
            differences = errors.drop(columns=reference).sub(errors[reference], axis=0)
            p |= {(data, row): value for row, value in paired(differences).items()}
    return dict(zip(p, holm(pd.Series(p.values(), dtype=float))))


def wrong(run: Path) -> pd.Series:
    """Of each labelled test text of a finished run, by its row and label: is its prediction, or of several labels any
    of them, wrong?"""
    path = evaluation(run) / "predictions.csv"
    if not path.is_file():
        raise DataError(f"{run} has no predictions: there is no file {path}")
    texts = pd.read_csv(path, dtype={"label": str, "predicted": str}, keep_default_na=False)
    texts = texts[(texts["split"] == "test") & (texts["label"] != "")].set_index(["row", "label"], drop=False)
    return texts["label"] != texts["predicted"]


def mcnemar(ours: pd.Series, theirs: pd.Series) -> float:
    """p of McNemar's exact test: of the texts that one of two runs gets wrong, does each get as many wrong?

    Both are as `wrong` returns them. Assumes that the test texts are independent of each other. It is about these two
    trained models on other texts of the same kind. Training is not repeated, so how much another seed changes is left
    out: use `bootstrap` for a statement about two variants.
    """
    _check_same_texts([ours, theirs])
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return float(binomtest(only_ours, only_ours + only_theirs).pvalue) if only_ours + only_theirs else 1.0


def bootstrap(ours: list[pd.Series], theirs: list[pd.Series], samples: int = SAMPLES) -> tuple[float, float, float]:
    """Mean difference in test error, ours - theirs in points, and the ends of its 95 % interval, over texts and seeds.

    Each list has a run per seed, as `wrong` returns it, in the same order of seeds. Texts and seeds are both resampled
    with replacement, each independently of the other; the interval is that of the percentiles. An interval without 0
    is a significant difference. Assumes independent texts and independent seeds, on one test set; it cannot see what
    another split into training and test texts would change, and with three seeds it is too narrow (anti-conservative).
    Not for folds: they have different test texts.
    """
    _check_same_texts([*ours, *theirs])
    differences = np.array(ours, dtype=float) - np.array(theirs, dtype=float)  # seeds x texts
    kinds, counts = np.unique(differences, axis=1, return_counts=True)  # texts that all runs treat alike
    rng, seeds, texts = np.random.default_rng(0), len(differences), differences.shape[1]
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=samples) / seeds
    of_kinds = rng.multinomial(texts, counts / texts, size=samples) / texts
    low, high = np.percentile(np.einsum("bs,sk,bk->b", of_seeds, kinds, of_kinds), [2.5, 97.5])
    return float(100 * differences.mean()), float(100 * low), float(100 * high)


def _check_same_texts(runs: list[pd.Series]) -> None:
    if any(not run.index.equals(runs[0].index) for run in runs):
        raise DataError("these runs have different test texts; compare runs of the same data set and fold")
