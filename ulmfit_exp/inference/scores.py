"""Metrics of predictions: error, loss and calibration, also per class.

Probabilities are `n x classes`, the truth `n` class numbers. If a text may have several labels, the truth is
`n x classes` of 0 and 1, and a text's labels are those whose probability reaches their threshold.
"""

from collections import Counter

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import f1_score, log_loss, precision_recall_fscore_support

from ..corpora.multilabel import error, f1, join_labels

BOUND = 3.0
"""Largest absolute value of the logarithm of a temperature."""
PRIOR = 0.5
"""Standard deviation of that logarithm's prior, with mean 0: a few dozen texts change the temperature little."""
GRID = np.arange(0.01, 1, 0.01)
"""Thresholds to try for each label."""
FEW = 10
"""With this many validation texts of a label, its threshold is halfway between the best one and 0.5."""
SAMPLES = 2000
"""Number of bootstrap samples for the interval of the multi-label error."""


def metrics(probs: np.ndarray, truth: np.ndarray, thresholds: np.ndarray | None = None) -> dict:
    """Return error, accuracy, mean loss, expected calibration error, and the mean F1 of the classes that occur; for
    multi-label data also micro F1, and instead of the accuracy the share of texts whose labels are all correct."""
    if thresholds is None:
        predicted, total = probs.argmax(axis=1), probs.sum(axis=1, keepdims=True)
        accuracy = int((predicted == truth).sum()) / len(truth)
        macro_f1 = float(f1_score(truth, predicted, average="macro", zero_division=0))
        found = {"error": 1 - accuracy, "accuracy": accuracy, "macro_f1": macro_f1}
    else:
        predicted, total = probs >= thresholds, 1
        wrong, correct = error(predicted, truth), float((predicted == truth).all(axis=1).mean())
        occur = (predicted | (truth > 0)).any(axis=0)
        macro_f1 = float(f1(predicted, truth, axis=0)[occur].mean()) if occur.any() else 1.0
        found = {"error": wrong, "micro_f1": 1 - wrong, "macro_f1": macro_f1, "subset_accuracy": correct}
    ece = _ece(*as_binary(probs, truth))
    return {**found, "loss": mean_loss(probs / total, truth), "ece": ece, "n": len(truth)}


def mean_loss(probs: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean cross-entropy per text, or per text and label for multi-label data."""
    probs, truth = as_binary(probs, truth)
    return float(log_loss(truth, probs, labels=range(probs.shape[1])))


def as_binary(probs: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn multi-label data into binary problems, no or yes for each text and label; leave other data unchanged."""
    if truth.ndim == 1:
        return probs, truth
    return np.stack([1 - probs, probs], axis=-1).reshape(-1, 2), truth.reshape(-1)


def fit_thresholds(probs: np.ndarray, truth: np.ndarray) -> np.ndarray | None:
    """Return each label's threshold with the highest F1 (on a tie, the one nearest to 0.5), drawn towards 0.5 if few
    texts have the label. None if a text has one class."""
    if truth.ndim == 1:
        return None
    found = np.stack([f1(probs >= t, truth, axis=0) for t in GRID])
    distance = np.where(found == found.max(axis=0), abs(GRID - 0.5)[:, None], 1)
    texts = truth.sum(axis=0)
    return np.round((texts * GRID[distance.argmin(axis=0)] + FEW * 0.5) / (texts + FEW), 4)


def predicted_names(
    probs: np.ndarray, classes: list[str], thresholds: np.ndarray | None
) -> tuple[list[str], np.ndarray]:
    """Return the predicted class or labels of each text, and the confidence: the probability of the class, or of the
    least certain of the decisions whether to give a label."""
    if thresholds is None:
        return [classes[i] for i in probs.argmax(axis=1)], probs.max(axis=1)
    given = probs >= thresholds
    names = [join_labels(c for c, yes in zip(classes, row) if yes) for row in given]
    return names, np.where(given, probs, 1 - probs).min(axis=1)


def _ece(probs: np.ndarray, truth: np.ndarray) -> float:
    """Expected calibration error: mean gap between confidence and accuracy over the bins of `reliability`."""
    return sum(b["n"] * abs(b["confidence"] - b["accuracy"]) for b in reliability(probs, truth)) / len(truth)


def reliability(probs: np.ndarray, truth: np.ndarray) -> list[dict]:
    """Return a reliability diagram: mean confidence, accuracy and number of texts in each non-empty bin of ten."""
    sure, right = probs.max(axis=1), probs.argmax(axis=1) == truth
    place = np.minimum((sure * 10).astype(int), 9)
    found = [(sure[place == b], right[place == b]) for b in np.unique(place)]
    return [{"confidence": float(s.mean()), "accuracy": float(r.mean()), "n": len(s)} for s, r in found]


def fit_temperature(probs: np.ndarray, truth: np.ndarray) -> float:
    """Return the temperature at which probabilities have the lowest loss (Guo et al. 2017).

    A normal prior of its logarithm draws it towards 1 if there are few texts.
    """
    probs, truth = as_binary(probs, truth)

    def loss(log_t: float) -> float:
        total = log_loss(truth, apply_temperature(probs, np.exp(log_t)), labels=range(probs.shape[1]), normalize=False)
        return total + (log_t / PRIOR) ** 2 / 2

    return round(float(np.exp(minimize_scalar(loss, bounds=(-BOUND, BOUND), method="bounded").x)), 4)


def at_bound(temperature: float) -> bool:
    """Whether the temperature is at the limit of those tried, so that a better one may lie beyond it."""
    return bool(abs(np.log(temperature)) > BOUND - 0.01)


def apply_temperature(probs: np.ndarray, temperature: float, multi_label: bool = False) -> np.ndarray:
    """Return probabilities at another temperature: less confident above 1, more below 1; or those of several labels."""
    if multi_label:
        return apply_temperature(np.stack([1 - probs, probs], axis=-1), temperature)[..., 1]
    return softmax(np.log(np.maximum(probs, 1e-30)) / temperature, axis=-1)


def test_details(probs: np.ndarray, truth: np.ndarray, classes: list[str], thresholds: np.ndarray | None) -> dict:
    """Return a record's details of the test set, besides its metrics; multi-label data have no confusion matrix."""
    predicted = probs.argmax(axis=1) if thresholds is None else probs >= thresholds
    found = {"reliability": reliability(*as_binary(probs, truth)), "per_class": per_class(predicted, truth, classes)}
    if thresholds is not None:
        return {**found, "interval": _interval(predicted, truth)}
    return {**found, "interval": _wilson(predicted != truth), "confusion": confusion(predicted, truth, classes)}


def _wilson(wrong: np.ndarray) -> list[float]:
    """Return the 95 % interval of the share of wrong texts by Wilson's method (1927)."""
    return [*binomtest(int(wrong.sum()), len(wrong)).proportion_ci(method="wilson")]


def _interval(predicted: np.ndarray, truth: np.ndarray) -> list[float]:
    """Return the 95 % interval of the multi-label error: percentiles over bootstrap samples of the texts. If no text is
    wrong, all samples are alike, and it is the interval of the share of texts with a wrong label."""
    if (predicted == truth).all():
        return _wilson((predicted != truth).any(axis=1))
    hits, marks = (predicted * truth).sum(axis=1), (predicted + truth).sum(axis=1)
    rng, n = np.random.default_rng(0), len(truth)
    samples = (rng.integers(n, size=n) for _ in range(SAMPLES))
    found = [1 - 2 * hits[rows].sum() / total if (total := marks[rows].sum()) else 0.0 for rows in samples]
    return np.percentile(found, [2.5, 97.5]).tolist()


def per_class(predicted: np.ndarray, truth: np.ndarray, classes: list[str]) -> dict[str, dict]:
    """Return class -> precision, recall, F1 and number of texts."""
    scores = precision_recall_fscore_support(truth, predicted, labels=range(len(classes)), zero_division=0)
    return {
        c: {"precision": round(p, 4), "recall": round(r, 4), "f1": round(f, 4), "n": int(n)}
        for c, p, r, f, n in zip(classes, *scores)
    }


def confusion(predicted: np.ndarray, truth: np.ndarray, classes: list[str]) -> dict[str, dict[str, int]]:
    """Return true class -> predicted class -> number of test texts, without zeros."""
    pairs = sorted(Counter(zip(truth.tolist(), predicted.tolist())).items())
    return {c: {classes[p]: n for (t, p), n in pairs if t == i} for i, c in enumerate(classes)}
