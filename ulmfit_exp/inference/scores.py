"""Metrics of predictions: error, loss, calibration; per class.

Probabilities are `n x classes`, the truth `n` class numbers.
"""

from collections import Counter

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import f1_score, log_loss, precision_recall_fscore_support

BOUND = 3.0
"""Largest absolute value of the logarithm of a temperature."""
PRIOR = 0.5
"""Standard deviation of the prior of that logarithm around 0: a few dozen texts move the temperature little from 1."""


def figures(probs: np.ndarray, truth: np.ndarray) -> dict:
    """Error, accuracy, mean loss, expected calibration error, and the mean F1 of the classes that occur."""
    right = int((probs.argmax(axis=1) == truth).sum())
    loss = log_loss(truth, probs / probs.sum(axis=1, keepdims=True), labels=range(probs.shape[1]))
    accuracy = right / len(truth)
    return {
        "error": 1 - accuracy,
        "accuracy": accuracy,
        "loss": float(loss),
        "ece": _ece(probs, truth),
        "macro_f1": float(f1_score(truth, probs.argmax(axis=1), average="macro", zero_division=0)),
        "n": len(truth),
    }


def _ece(probs: np.ndarray, truth: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: mean gap between confidence and accuracy, over ten bins of confidence."""
    return sum(b["n"] * abs(b["confidence"] - b["accuracy"]) for b in reliability(probs, truth, bins)) / len(truth)


def reliability(probs: np.ndarray, truth: np.ndarray, bins: int = 10) -> list[dict]:
    """Mean confidence, accuracy and number of texts in each bin of confidence that has some: a reliability diagram."""
    sure, right = probs.max(axis=1), probs.argmax(axis=1) == truth
    place = np.minimum((sure * bins).astype(int), bins - 1)
    found = [(sure[place == b], right[place == b]) for b in np.unique(place)]
    return [{"confidence": float(s.mean()), "accuracy": float(r.mean()), "n": len(s)} for s, r in found]


def fitted_temperature(probs: np.ndarray, truth: np.ndarray) -> float:
    """The temperature at which probabilities have the lowest loss (Guo et al. 2017).

    A normal prior of its logarithm draws it towards 1 where there are few texts.
    """

    def loss(log_t: float) -> float:
        total = log_loss(truth, tempered(probs, np.exp(log_t)), labels=range(probs.shape[1]), normalize=False)
        return total + (log_t / PRIOR) ** 2 / 2

    return round(float(np.exp(minimize_scalar(loss, bounds=(-BOUND, BOUND), method="bounded").x)), 4)


def at_bound(temperature: float) -> bool:
    """Is it the lowest or highest that is tried, so that the best one is beyond it?"""
    return bool(abs(np.log(temperature)) > BOUND - 0.01)


def tempered(probs: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at another temperature: less confident above 1, more below 1."""
    return softmax(np.log(np.maximum(probs, 1e-30)) / temperature, axis=1)


def of_test(probs: np.ndarray, truth: np.ndarray, classes: list[str]) -> dict:
    """What a record has of the test set besides its figures."""
    predicted = probs.argmax(axis=1)
    return {
        "reliability": reliability(probs, truth),
        "interval": binomtest(int((predicted != truth).sum()), len(truth)).proportion_ci(method="wilson"),
        "per_class": per_class(predicted, truth, classes),
        "confusion": confusion(predicted, truth, classes),
    }


def per_class(predicted: np.ndarray, truth: np.ndarray, classes: list[str]) -> dict[str, dict]:
    """Class -> precision, recall and number of texts."""
    scores = precision_recall_fscore_support(truth, predicted, labels=range(len(classes)), zero_division=0)
    return {
        c: {"precision": round(p, 4), "recall": round(r, 4), "n": int(n)} for c, p, r, _, n in zip(classes, *scores)
    }


def confusion(predicted: np.ndarray, truth: np.ndarray, classes: list[str]) -> dict[str, dict[str, int]]:
    """True class -> predicted class -> number of test texts; without zeros."""
    pairs = sorted(Counter(zip(truth.tolist(), predicted.tolist())).items())
    return {c: {classes[p]: n for (t, p), n in pairs if t == i} for i, c in enumerate(classes)}
