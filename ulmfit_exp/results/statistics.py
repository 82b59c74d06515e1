"""Tests whether two variants differ: over runs (seeds or folds), and over the texts of one test set.

`p_against` and `paired` need the errors of several runs; every table uses them. `mcnemar` and `bootstrap` need the
predictions of the runs, which a finished run keeps in its evaluation stage.

All tests are two-sided. A difference is called significant when p < ALPHA after correction.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest, ttest_1samp

from ..common import DataError
from ..record import evaluation

ALPHA = 0.05
FEWEST = 3
"""Minimum number of runs of each variant for a test."""
SAMPLES = 10_000
"""Number of bootstrap resamples."""


def paired(differences: pd.DataFrame) -> pd.Series:
    """Return p of the paired t-test that two variants, run with the same seeds or folds, have a mean difference of 0.

    Each column has the differences between one pair of variants, with NaN for a run that one of the two lacks.

    Assumes that the differences are independent and normally distributed. Over seeds, all runs share the training and
    test texts: the test is about repeating the training on them, not about other texts. Over folds, the differences
    are not independent, because the training texts of the folds overlap: the test is anti-conservative (p is too low).
    p is NaN (no test) for fewer than three differences, or if all of them are equal.
    """
    differences = differences.round(9)  # errors are fractions: equal numbers of texts must compare equal
    tested = differences.loc[:, (differences.count() >= FEWEST) & (differences.nunique() > 1)]
    p = ttest_1samp(tested, 0, nan_policy="omit").pvalue
    return pd.Series(p, tested.columns, dtype=float).reindex(differences.columns)


def holm(p: pd.Series) -> pd.Series:
    """Return p corrected for the number of tests by Holm's method (1979); the tests may depend on each other.

    The chance of one or more false positives among all tests is at most ALPHA. NaN values do not count as tests.
    """
    ordered = p.dropna().sort_values()
    return (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1).reindex(p.index)


def p_against(found: pd.DataFrame, reference: str) -> dict[tuple, float]:
    """Return (data, row) -> p of the row's difference from the row `reference` on the same data, tested by `paired`.

    `found` has the columns row, data, replicate and error: all rows of one table, on all of its data sets. The seeds of
    a fold, which share all texts, count once, by their mean. p is corrected by `holm` for all comparisons of the table.
    """
    p = {}
    for data, part in found.groupby("data", sort=False):
        errors = part.assign(replicate=part["replicate"].map(without_seed)).pivot_table("error", "replicate", "row")
        if reference in errors:
            differences = errors.drop(columns=reference).sub(errors[reference], axis=0)
            p |= {(data, row): value for row, value in paired(differences).items()}
    return dict(zip(p, holm(pd.Series(p.values(), dtype=float))))


def without_seed(replicate: str | int) -> str:
    """Return fold0 for the replicate fold0-seed1, since the seeds of a fold share all texts; seed1 stays seed1."""
    return re.sub(r"^(fold\d+)-seed\d+", r"\1", str(replicate))


def wrong(run: Path) -> pd.Series:
    """Return whether the prediction for each labelled test text of a finished run is wrong, by row and label; with
    several labels per text, whether any of them is wrong."""
    path = evaluation(run) / "predictions.csv"
    if not path.is_file():
        raise DataError(f"{run} has no predictions: there is no file {path}")
    texts = pd.read_csv(path, dtype={"label": str, "predicted": str}, keep_default_na=False)
    texts = texts[(texts["split"] == "test") & (texts["label"] != "")].set_index(["row", "label"], drop=False)
    return texts["label"] != texts["predicted"]


def mcnemar(ours: pd.Series, theirs: pd.Series) -> float:
    """Return p of McNemar's exact test: of the texts that only one of two runs gets wrong, does each get as many?

    Both arguments are as returned by `wrong`. Assumes that the test texts are independent of each other. The result
    holds for these two trained models on other texts of the same kind. Training is not repeated, so the effect of
    another seed is ignored: use `bootstrap` for a statement about two variants.
    """
    _check_same_texts([ours, theirs])
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return float(binomtest(only_ours, only_ours + only_theirs).pvalue) if only_ours + only_theirs else 1.0


def bootstrap(ours: list[pd.Series], theirs: list[pd.Series]) -> tuple[float, float, float]:
    """Return the mean difference in test error (ours - theirs, in points) and its 95 % interval over texts and seeds.

    Each list has one run per seed, as returned by `wrong`, in the same order of seeds. Texts and seeds are resampled
    with replacement, independently of each other; the ends of the interval are percentiles. The difference is
    significant if the interval does not contain 0. Assumes independent texts and independent seeds, on one test set;
    it does not cover another split into training and test texts, and with three seeds it is too narrow
    (anti-conservative). Do not use it for folds: they have different test texts.
    """
    _check_same_texts([*ours, *theirs])
    differences = np.array(ours, dtype=float) - np.array(theirs, dtype=float)  # seeds x texts
    kinds, counts = np.unique(differences, axis=1, return_counts=True)  # texts with the same difference in every seed
    rng, seeds, texts = np.random.default_rng(0), len(differences), differences.shape[1]
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=SAMPLES) / seeds
    of_kinds = rng.multinomial(texts, counts / texts, size=SAMPLES) / texts
    low, high = np.percentile(np.einsum("bs,sk,bk->b", of_seeds, kinds, of_kinds), [2.5, 97.5])
    return float(100 * differences.mean()), float(100 * low), float(100 * high)


def _check_same_texts(runs: list[pd.Series]) -> None:
    if any(not run.index.equals(runs[0].index) for run in runs):
        raise DataError("these runs have different test texts; compare runs of the same data set and fold")
