"""Token ids -> fastai's TextDataLoaders: batches for a language model or a classifier."""

from itertools import chain, count

import numpy as np
import torch
from fastai.text.all import (
    GetAttr,
    LMDataLoader,
    LMTensorText,
    SortedDL,
    TensorCategory,
    TensorMultiCategory,
    TensorText,
    TextDataLoaders,
    pad_input,
)

from ..common import DataError
from ..corpora.corpus import Corpus
from .machine import use_device
from .tokens import Tokens


class Texts:
    """A fastai dataset of texts. An item is (TensorText,), or with `labels` also the class, or a 0 or 1 per label."""

    def __init__(self, tokens: Tokens, rows: np.ndarray, backwards: bool, labels: np.ndarray | None = None):
        self.tokens, self.rows, self.backwards, self.labels = tokens, rows, backwards, labels

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        text = text_tensor(self.ids(i))
        if self.labels is None:
            return (text,)
        return text, (TensorCategory if self.labels.ndim == 1 else TensorMultiCategory)(self.labels[i])

    def ids(self, i: int) -> np.ndarray:
        """Return the token ids of text `i` in the direction of reading."""
        return self.tokens[self.rows[i]][:: -1 if self.backwards else 1]

    @property
    def lengths(self) -> list[int]:
        return self.tokens.lengths[self.rows].tolist()


def text_tensor(ids: np.ndarray) -> TensorText:
    """Convert token ids of any integer type to the tensor that fastai's models read."""
    return TensorText(torch.from_numpy(ids.astype(np.int64)))


class LMLoader(LMDataLoader):
    """fastai's LMDataLoader with all ids of an epoch in one array: the same batches, for which a GPU need not wait."""

    streams = slice(None)
    """Streams of text that this process reads; by default all."""

    def make_chunks(self):
        texts = self.items.coll
        self.chunks = np.concatenate([texts.tokens.ids[:0], *map(texts.ids, self.items.idxs)])

    def create_batches(self, samps):
        ids, size = self.chunks, self.bs * self.bl
        x, y = (ids[first : first + size].reshape(self.bs, self.bl)[self.streams] for first in (0, 1))
        for start in range(0, self.bl, self.seq_len):
            part = slice(start, start + self.seq_len)
            yield LMTensorText(text_tensor(x[:, part])), text_tensor(y[:, part])

    def create_item(self, seq):
        """Return one item, from which fastai learns the types in a batch."""
        return tuple(part[0] for part in next(self.create_batches(())))


def dls_lm(
    tokens: Tokens, bs: int, seq_len: int, backwards: bool, max_tokens: int | None = None, skip_tokens: int = 0
) -> TextDataLoaders:
    """Return language-model batches `bs x seq_len`: train and unlabelled texts, shuffled each epoch; validation texts.

    `skip_tokens` leaves out the first texts that together have this many tokens; `max_tokens` then keeps only the first
    texts that together have this many. Raises `DataError` if no text is left.
    """
    rows = tokens.rows("train", "unlabelled")
    if skip_tokens:
        rows = rows[1 + np.searchsorted(np.cumsum(tokens.lengths[rows]), skip_tokens) :]
        if not len(rows):
            raise DataError(f"--recipe.skip-tokens {skip_tokens} leaves no text to train on")
    if max_tokens is not None:
        rows = rows[: 1 + np.searchsorted(np.cumsum(tokens.lengths[rows]), max_tokens)]
    train = lm_dl(tokens, rows, bs, seq_len, backwards, shuffle=True)
    return _dls(train, lm_dl(tokens, tokens.rows("valid"), bs, seq_len, backwards), tokens)


def lm_dl(tokens: Tokens, rows: np.ndarray, bs: int, seq_len: int, backwards: bool, **kwargs) -> LMLoader:
    """Return batches of the joined texts, cut into `bs` streams, or fewer if they would be shorter than `seq_len`."""
    ds = Texts(tokens, rows, backwards)
    streams = max(1, min(bs, sum(ds.lengths) // seq_len))
    return LMLoader(ds, lens=ds.lengths, bs=streams, seq_len=seq_len, **kwargs)


def dls_clas(tokens: Tokens, corpus: Corpus, bs: int, backwards: bool) -> TextDataLoaders:
    """Return classifier batches of texts of similar length, with labels from `corpus.numbers`."""
    return _dls(
        clas_dl(tokens, corpus, "train", bs, backwards, shuffle=True),
        clas_dl(tokens, corpus, "valid", bs, backwards),
        tokens,
    )


def clas_dl(tokens: Tokens, corpus: Corpus, split: str, bs: int, backwards: bool, shuffle: bool = False) -> SortedDL:
    """Return batches of one split: texts of similar length, padded at the end."""
    rows = corpus.split(split)
    ds = Texts(tokens, rows.index.to_numpy(), backwards, corpus.numbers(rows))
    bs = without_single(len(ds), bs) if shuffle else bs
    return SortedDL(ds, res=ds.lengths, bs=bs, shuffle=shuffle, before_batch=pad_input, num_workers=0)


class Repeated(GetAttr):
    """A loader that goes over `dl` several times in an epoch, shuffled each time; one pass over few texts is short."""

    _default = "dl"

    def __init__(self, dl, times: int):
        self.dl, self.times = dl, times

    def __len__(self):
        return self.times * len(self.dl)

    def __iter__(self):
        return chain.from_iterable(self.dl for _ in range(self.times))


def without_single(n: int, bs: int) -> int:
    """Return `bs` or the next smaller (else larger) size without a batch of one text, which batch norm cannot take."""
    return next(b for b in chain(range(bs, 1, -1), count(bs + 1)) if n % b != 1 or b >= n)


def _dls(train, valid, tokens: Tokens) -> TextDataLoaders:
    dls = TextDataLoaders(train, valid, device=use_device())
    dls.vocab, dls.targets = tokens.vocab, tokens.targets
    return dls
