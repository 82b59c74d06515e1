"""The baseline: logistic regression on TF-IDF features, on the same splits."""

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from tqdm.auto import tqdm

from ..corpora import multilabel
from ..corpora.corpus import Corpus
from ..method.tokenizer import unspaced
from . import scores
from .features import regression

CHOICES = {"min_df": (2, 1), "C": (10.0, 1.0, 100.0)}
"""Minimum number of texts with a term, and C; the first combination with the lowest validation error is used."""
MOST_WEIGHTS = 10_000_000
"""Maximum of classes x terms; only the most frequent terms are kept. The solver has some twenty copies, 2 GB."""
WORDS = {"analyzer": "word", "ngram_range": (1, 2)}
CHARACTERS = {"analyzer": "char", "ngram_range": (1, 3)}


def tfidf(corpus: Corpus) -> dict:
    """Return errors and settings of logistic regression on sublinear TF-IDF; the validation error chooses the settings.

    Terms are words and word pairs; or sequences of one to three characters if the training texts have few words.
    """
    train, valid, test = (corpus.split(s) for s in ("train", "valid", "test"))
    test, terms = test[test["label"] != ""], _terms(train["text"])
    truth, of_valid, of_test = map(corpus.numbers, (train, valid, test))
    best, most = {"valid_error": 2.0}, MOST_WEIGHTS // len(corpus.classes)
    for min_df in CHOICES["min_df"]:
        vectors = TfidfVectorizer(**terms, sublinear_tf=True, min_df=min_df, max_features=most)
        try:
            x = vectors.fit_transform(train["text"])
        except ValueError:  # no term occurs in two texts
            continue
        x_valid = vectors.transform(valid["text"])
        for c in tqdm(CHOICES["C"], f"min_df {min_df}", unit=" fits", leave=False, disable=None):
            model = regression(c, corpus.multi_label).fit(x, truth)
            thresholds = scores.fit_thresholds(model.predict_proba(x_valid), of_valid)
            valid_error = _error(model, x_valid, of_valid, thresholds)
            if valid_error < best["valid_error"]:
                best = {"min_df": min_df, "C": c, "valid_error": valid_error}
                if len(test):
                    best["error"] = _error(model, vectors.transform(test["text"]), of_test, thresholds)
    of_characters, one_vs_rest = " of characters" * (terms is CHARACTERS), "one-vs-rest " * corpus.multi_label
    return {"method": f"TF-IDF{of_characters} + {one_vs_rest}logistic regression", **best}


def _error(model, x, truth: np.ndarray, thresholds: np.ndarray | None) -> float:
    if thresholds is None:
        return 1 - model.score(x, truth)
    return multilabel.error(model.predict_proba(x), truth, thresholds)


def _terms(texts: pd.Series) -> dict:
    """Return options for the terms: `CHARACTERS` if a third of the letters belong to scripts without spaces, or if less
    than half of the texts have a word of two or more letters; else `WORDS`."""
    return CHARACTERS if unspaced(texts) or texts.str.contains(r"\w\w").mean() < 0.5 else WORDS
