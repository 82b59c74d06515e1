"""What ULMFiT must beat: TF-IDF of words and word pairs with logistic regression, on the same splits."""

from itertools import product

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from .corpora.corpus import Corpus

CHOICES = tuple(product((2, 1), (10.0, 1.0, 100.0)))
"""Fewest texts that a word must be in, and C; of those with the lowest valid error the first is taken."""


def tfidf(corpus: Corpus) -> dict:
    """Test error of TF-IDF (1-2-grams, sublinear) with logistic regression, both as the valid error chooses."""
    train, valid, test = (corpus.split(s) for s in ("train", "valid", "test"))
    models, errors = {}, {}
    for min_df, c in CHOICES:
        vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=min_df)
        logistic = LogisticRegression(C=c, max_iter=2000)
        models[min_df, c] = make_pipeline(vectors, logistic).fit(train["text"], train["label"])
        errors[min_df, c] = 1 - models[min_df, c].score(valid["text"], valid["label"])
    best = min(CHOICES, key=errors.get)
    error = 1 - models[best].score(test["text"], test["label"])
    chosen = dict(zip(("min_df", "C"), best))
    return {"method": "TF-IDF + logistic regression", **chosen, "valid_error": errors[best], "error": error}
