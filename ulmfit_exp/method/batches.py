"""Token ids -> fastai's TextDataLoaders: batches of a language model or a classifier."""

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
    """Texts as a fastai dataset: (TensorText,), or with a class number or a 0 or 1 per label."""

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
        """The token ids of a text in the order of reading."""
        return self.tokens[self.rows[i]][:: -1 if self.backwards else 1]

    @property
    def lengths(self) -> list[int]:
        return self.tokens.lengths[self.rows].tolist()


def text_tensor(ids: np.ndarray) -> TensorText:
    """Ids of any type as fastai's models read them."""
    return TensorText(torch.from_numpy(ids.astype(np.int64)))


class LMLoader(LMDataLoader):
    """fastai's, with all ids of an epoch in one array: the same batches, for which a GPU would otherwise wait."""

    streams = slice(None)
    """Those that this process reads."""

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
        """An item, which fastai takes to see the types of a batch."""
        return tuple(part[0] for part in next(self.create_batches(())))


def dls_lm(
    tokens: Tokens, bs: int, seq_len: int, backwards: bool, max_tokens: int | None = None, skip_tokens: int = 0
) -> TextDataLoaders:
    """Language-model batches `bs x seq_len`: train and unlabelled texts, shuffled each epoch; validation texts.

    With `skip_tokens`, without the first texts that hold so many; with `max_tokens`, the first of the others. Raises
    `DataError` where no text is left.
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
    """Batches of these texts in sequence, in `bs` streams; fewer if a stream would be shorter than a step."""
    ds = Texts(tokens, rows, backwards)
    streams = max(1, min(bs, sum(ds.lengths) // seq_len))
    return LMLoader(ds, lens=ds.lengths, bs=streams, seq_len=seq_len, **kwargs)


def dls_clas(tokens: Tokens, corpus: Corpus, bs: int, backwards: bool) -> TextDataLoaders:
    """Classifier batches of texts of similar length; labels are as `corpus.numbers` has them."""
    return _dls(
        clas_dl(tokens, corpus, "train", bs, backwards, shuffle=True),
        clas_dl(tokens, corpus, "valid", bs, backwards),
        tokens,
    )


def clas_dl(tokens: Tokens, corpus: Corpus, split: str, bs: int, backwards: bool, shuffle: bool = False) -> SortedDL:
    """One split's batches of texts of similar length, padded at the end."""
    rows = corpus.split(split)
    ds = Texts(tokens, rows.index.to_numpy(), backwards, corpus.numbers(rows))
    bs = without_single(len(ds), bs) if shuffle else bs
    return SortedDL(ds, res=ds.lengths, bs=bs, shuffle=shuffle, before_batch=pad_input, num_workers=0)


class Repeated(GetAttr):
    """A loader whose epoch goes over `dl` several times, shuffled each time, since one pass over few texts is short."""

    _default = "dl"

    def __init__(self, dl, times: int):
        self.dl, self.times = dl, times

    def __len__(self):
        return self.times * len(self.dl)

    def __iter__(self):
        return chain.from_iterable(self.dl for _ in range(self.times))


def without_single(n: int, bs: int) -> int:
    """`bs`, or the nearest batch size whose last batch has more than one text: batch norm cannot train on one."""
    return next(b for b in chain(range(bs, 1, -1), count(bs + 1)) if n % b != 1 or b >= n)


def _dls(train, valid, tokens: Tokens) -> TextDataLoaders:
    dls = TextDataLoaders(train, valid, device=use_device())
    dls.vocab, dls.targets = tokens.vocab, tokens.targets
    return dls
