"""The baseline: TF-IDF of words and word pairs with logistic regression, on the same splits."""

import math

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from tqdm.auto import tqdm

from ..corpora.corpus import Corpus

CHOICES = {"min_df": (2, 1), "C": (10.0, 1.0, 100.0)}
"""Fewest texts that a word must be in, and C; the first of those with the lowest validation error is used."""
MOST_WEIGHTS = 10_000_000
"""Classes x words; only the most frequent words that fit are used. The solver keeps some twenty copies, 2 GB."""


def tfidf(corpus: Corpus, characters: bool = False) -> dict:
    """Test error of TF-IDF (1-2-grams, sublinear) with logistic regression; the validation error chooses.

    `characters` are for scripts without spaces, of which a whole sentence would be a word.
    """
    terms = {"analyzer": "char" if characters else "word", "ngram_range": (1, 2), "sublinear_tf": True}
    train, valid, test = (corpus.split(s) for s in ("train", "valid", "test"))
    best, most = {"valid_error": 2.0}, MOST_WEIGHTS // len(corpus.classes)
    with tqdm(total=math.prod(map(len, CHOICES.values())), unit=" fits", leave=False, disable=None) as bar:
        for min_df in CHOICES["min_df"]:
            vectors = TfidfVectorizer(**terms, min_df=min_df, max_features=most)
            x = vectors.fit_transform(train["text"])
            x_valid, x_test = vectors.transform(valid["text"]), vectors.transform(test["text"])
            for c in CHOICES["C"]:
                model = LogisticRegression(C=c, max_iter=2000).fit(x, train["label"])
                valid_error = 1 - model.score(x_valid, valid["label"])
                if valid_error < best["valid_error"]:
                    error = 1 - model.score(x_test, test["label"])
                    best = {"min_df": min_df, "C": c, "valid_error": valid_error, "error": error}
                bar.update()
    return {"method": "TF-IDF + logistic regression", **best}
