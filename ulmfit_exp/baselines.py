"""What ULMFiT must beat: TF-IDF of words and word pairs with logistic regression, on the same splits."""

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from .corpora.corpus import Corpus

STRENGTHS = (1.0, 10.0, 100.0)


def tfidf(corpus: Corpus) -> dict:
    """Test error of TF-IDF (1-2-grams, sublinear) with logistic regression, its C chosen by the valid error."""
    train, valid, test = (corpus.split(s) for s in ("train", "valid", "test"))
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    x = vectors.fit_transform(train["text"])
    x_valid = vectors.transform(valid["text"])
    errors, models = {}, {}
    for c in STRENGTHS:
        models[c] = LogisticRegression(C=c, max_iter=2000).fit(x, train["label"])
        errors[c] = 1 - models[c].score(x_valid, valid["label"])
    best = min(STRENGTHS, key=errors.get)
    error = 1 - models[best].score(vectors.transform(test["text"]), test["label"])
    return {"method": "TF-IDF + logistic regression", "C": best, "valid_error": errors[best], "error": error}
