"""The language model's encoder as a feature extractor with scikit-learn's interface.

Encoder.load("runs/runs/NAME").transform(texts)                         # with the run's fine-tuned language model
make_pipeline(Encoder("wikipedia-small"), unit_parts(), LogisticRegression())
"""

from collections.abc import Callable, Iterable, Mapping
from io import BytesIO

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler, normalize
from sklearn.utils.validation import check_is_fitted
from torch.nn.utils.rnn import pad_sequence

from ..common import DataError
from ..method import machine
from ..method.encoder import IN_USE, BatchFreeEncoder, concat_pool
from ..method.models import language_model
from ..method.pretrained import resolve
from ..method.tokenizer import PAD_ID, UNK_ID, words
from ..recipe import POOLING, Model

TOKENS = 16_000
"""Maximum number of tokens in a batch of several texts, padding included."""
READ_AT_ONCE = 70
"""Number of tokens of a text that the encoder reads at once; the features do not depend on it."""


class Encoder(TransformerMixin, BaseEstimator):
    """Transformer of texts into float32 `texts x parts * emb_sz`: the last layer's states, pooled (paper, section 3.3).

    `folder` is the name of a shipped model, a folder in our format or a finished run, as in --pretrained. `lang`
    defaults to the model's language, or else English. A text has the same features in any batch. Raises `DataError`.
    """

    def __init__(
        self,
        folder: str = "wikipedia-small",
        direction: str = "forward",
        max_len: int = 1400,
        pooling: tuple[str, ...] = POOLING,
        lang: str | None = None,
    ):
        self.folder, self.direction, self.pooling, self.lang = folder, direction, pooling, lang
        self.max_len = max_len

    @classmethod
    def load(cls, folder, **options) -> "Encoder":
        """Create an encoder that is ready to transform texts."""
        return cls(str(folder), **options).fit()

    def fit(self, X=None, y=None) -> "Encoder":
        """Read the model; nothing is learnt from the data."""
        models = resolve(str(self.folder), (self.direction,), None)
        if not models:
            raise DataError("an encoder needs a pretrained model: a shipped one, a folder, or a finished run")
        model = models[self.direction]
        weights, vocab = model.content
        lm = language_model(len(vocab), model.shape(Model()))
        lm.load_state_dict(weights)
        self.encoder_ = BatchFreeEncoder(READ_AT_ONCE, lm[0], PAD_ID, self.max_len).eval().to(machine.use_device())
        self.ids_ = {word: i for i, word in enumerate(vocab)}
        self.width_, self.lang_ = lm[0].emb_sz, self.lang or model.lang or "en"
        return self

    def transform(self, X: str | Iterable[str]) -> np.ndarray:
        """Return the features of the texts, in order; a single string is one text. Raises `DataError`."""
        check_is_fitted(self)
        texts, backwards = [words(text, self.lang_) for text in as_texts(X)], self.direction == "backward"
        encoder = self.encoder_.to(machine.use_device())  # after unpickling it is on the CPU
        rows = in_batches(texts, self.ids_, backwards, encoder, lambda out: concat_pool(*out, self.pooling))
        return np.asarray(rows, dtype=np.float32).reshape(len(texts), len(self.pooling) * self.width_)

    def __getstate__(self) -> dict:
        """Return the state for pickle, with all tensors on the CPU, so that a machine without a GPU can load them."""
        torch.save(super().__getstate__(), content := BytesIO())
        content.seek(0)
        return torch.load(content, map_location="cpu", weights_only=False)  # `.cpu()` omits the hidden state

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Return the names of the features: last_0, ..., max_0, ..., mean_0, ..."""
        return np.array([f"{part}_{i}" for part in self.pooling for i in range(self.width_)], dtype=object)


def unit_parts(parts: int = len(POOLING)) -> Pipeline:
    """Return a scaler that centres features, then gives each part (last state, maximum, mean) a root mean square of 1.

    With 100 labels of DBpedia, 3 seeds and both directions, the validation error of logistic regression was 10.4 % with
    it, and 11.8 % with standardised features. With all of TREC-6, forward, it was 17.2 and 16.7 %; on SFU, equal.
    """
    return make_pipeline(StandardScaler(with_std=False), FunctionTransformer(_of_size_1, kw_args={"parts": parts}))


def _of_size_1(features: np.ndarray, parts: int) -> np.ndarray:
    vectors = features.reshape(parts * len(features), -1)
    return (vectors.shape[1] ** 0.5 * normalize(vectors)).reshape(features.shape)


SCALINGS = {"features": lambda parts: StandardScaler(), "parts": unit_parts}
STRENGTHS = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
"""Choices for what is scaled, and for C of the logistic regression; a run uses those of lowest validation loss."""


def regression(c: float, multi_label: bool, **options) -> LogisticRegression | OneVsRestClassifier:
    """Return a logistic regression, or one for each label (one-vs-rest) if texts may have several labels."""
    one = LogisticRegression(C=c, max_iter=2000, **options)
    return OneVsRestClassifier(one) if multi_label else one


def regressions(
    parts: int = len(POOLING), weight: str | None = None, multi_label: bool = False
) -> dict[tuple[str, float], Pipeline]:
    """Return the classifiers on features from which a run chooses, by (scaling, C)."""
    return {
        (scaling, c): make_pipeline(scaler(parts), regression(c, multi_label, class_weight=weight))
        for scaling, scaler in SCALINGS.items()
        for c in STRENGTHS
    }


def as_texts(texts: str | Iterable[str]) -> list[str]:
    """Return texts as a list; a single string is one text. Raises `DataError` if a text is missing or not a string."""
    if not isinstance(texts, Iterable) or isinstance(texts, bytes | Mapping | pd.DataFrame):  # yield no texts
        raise DataError(f"texts are a list, or one column such as df['text'], not {type(texts).__name__}")
    texts = [texts] if isinstance(texts, str) else list(texts)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"text {i} is {text!r}, not a string: leave it out, or replace it by ''")
    return texts


@torch.no_grad()
def in_batches(
    texts: list[list[str]], ids_of: dict[str, int], backwards: bool, model: torch.nn.Module, rows_of: Callable
) -> list[np.ndarray]:
    """Return a row per tokenised text, in order: `rows_of` makes rows of the output for batches of similar lengths."""
    device = next(model.parameters()).device
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found: dict[int, np.ndarray] = {}
    while order:
        size = max(1, TOKENS // len(texts[order[-1]]))
        batch, order = order[-size:], order[:-size]
        read = [texts[i][::-1] if backwards else texts[i] for i in batch]
        ids = [torch.tensor([ids_of.get(word, UNK_ID) for word in text]) for text in read]
        ids = pad_sequence(ids, batch_first=True, padding_value=PAD_ID)
        with IN_USE:
            found |= dict(zip(batch, rows_of(model(ids.to(device))).cpu().numpy()))
    return [found[i] for i in range(len(texts))]
