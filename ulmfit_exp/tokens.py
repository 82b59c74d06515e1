"""A Corpus -> token ids, once, cached -> fastai TextDataLoaders."""

import json
from array import array
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fastai.text.all import (
    LMDataLoader,
    Pad_Chunk,
    SortedDL,
    SpacyTokenizer,
    TensorCategory,
    TensorText,
    TextDataLoaders,
    TokenizeWithRules,
    default_device,
    make_vocab,
)
from tqdm.auto import tqdm

from .corpora.corpus import Corpus


@dataclass(frozen=True)
class Tokens:
    """The token ids of every row of a corpus, memory-mapped."""

    ids: np.ndarray
    """All ids in one row, the smallest unsigned type that holds them."""
    offsets: np.ndarray
    """Text i is `ids[offsets[i]:offsets[i + 1]]`."""
    vocab: list[str]

    def __getitem__(self, i: int) -> np.ndarray:
        return self.ids[self.offsets[i] : self.offsets[i + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text."""
        return np.diff(self.offsets)


def write_tokens(corpus: Corpus, folder: Path, max_vocab: int, min_freq: int) -> dict:
    """Tokenise with fastai's rules and spaCy, one text at a time, into `folder`. Test and valid words are not counted.

    Words become numbers in the order in which they are met, and their final ids when all have been counted.
    """
    number: dict[str, int] = {}
    ids, ends = array("I"), [0]
    tokenize = TokenizeWithRules(tok=SpacyTokenizer())
    for words in tokenize(tqdm(corpus.df["text"], desc="tokens", unit=" texts", leave=False, disable=None)):
        ids.extend(number.setdefault(w, len(number)) for w in words)
        ends.append(len(ids))
    raw, offsets = np.frombuffer(ids, dtype=np.uint32), np.array(ends)
    counted = corpus.df["split"].isin(["train", "unlabelled"]).to_numpy()
    times = np.bincount(raw[np.repeat(counted, np.diff(offsets))], minlength=len(number))
    count = Counter({word: n for word, n in zip(number, times.tolist()) if n})
    vocab = list(make_vocab(count, min_freq=min_freq, max_vocab=max_vocab))
    ids_of = {w: i for i, w in enumerate(vocab)}
    final = np.array([ids_of.get(w, 0) for w in number], dtype=np.min_scalar_type(len(vocab)))[raw]
    np.save(folder / "ids.npy", final)
    np.save(folder / "offsets.npy", offsets)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    return {"tokens": len(final), "vocab": len(vocab), "unknown": round(float((final == 0).mean()), 5)}


def read_tokens(folder: Path) -> Tokens:
    """What `write_tokens` left in `folder`."""
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    return Tokens(np.load(folder / "ids.npy", mmap_mode="r"), np.load(folder / "offsets.npy"), vocab)


class Texts:
    """Rows of a corpus as a fastai dataset: (TensorText,) or (TensorText, TensorCategory)."""

    def __init__(self, tokens: Tokens, rows: np.ndarray, backwards: bool, labels: np.ndarray | None = None):
        self.tokens, self.rows, self.backwards, self.labels = tokens, rows, backwards, labels

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        ids = self.tokens[self.rows[i]].astype(np.int64)
        text = TensorText(torch.from_numpy(ids[::-1].copy() if self.backwards else ids))
        return (text,) if self.labels is None else (text, TensorCategory(self.labels[i]))

    @property
    def lengths(self) -> list[int]:
        return self.tokens.lengths[self.rows].tolist()


def dls_lm(tokens: Tokens, corpus: Corpus, bs: int, seq_len: int, backwards: bool) -> TextDataLoaders:
    """Language-model batches `bs x seq_len`: train and unlabelled texts, shuffled each epoch; validation on valid."""

    def dl(*splits: str, **kwargs) -> LMDataLoader:
        ds = Texts(tokens, corpus.split(*splits).index.to_numpy(), backwards)
        streams = max(1, min(bs, sum(ds.lengths) // seq_len))  # no stream shorter than one step
        return LMDataLoader(ds, lens=ds.lengths, bs=streams, seq_len=seq_len, **kwargs)

    return _dls(dl("train", "unlabelled", shuffle=True), dl("valid"), tokens)


def dls_clas(tokens: Tokens, corpus: Corpus, bs: int, seq_len: int, backwards: bool) -> TextDataLoaders:
    """Classifier batches of texts of like length; the labels are places in `corpus.classes`."""
    return _dls(
        clas_dl(tokens, corpus, "train", bs, seq_len, backwards, shuffle=True),
        clas_dl(tokens, corpus, "valid", bs, seq_len, backwards),
        tokens,
    )


def clas_dl(
    tokens: Tokens, corpus: Corpus, split: str, bs: int, seq_len: int, backwards: bool, shuffle: bool = False
) -> SortedDL:
    """One split's batches, padded as BPT3C wants it: whole chunks of `seq_len` before the text, the rest after it."""
    rows = corpus.split(split)
    labels = rows["label"].map({c: i for i, c in enumerate(corpus.classes)}).to_numpy()
    ds = Texts(tokens, rows.index.to_numpy(), backwards, labels)
    while shuffle and len(ds) % bs == 1 and bs > 2:
        bs -= 1  # batch norm cannot train on a last batch of one text
    padding = Pad_Chunk(seq_len=seq_len)
    return SortedDL(ds, res=ds.lengths, bs=bs, shuffle=shuffle, before_batch=padding, num_workers=0)


def _dls(train, valid, tokens: Tokens) -> TextDataLoaders:
    dls = TextDataLoaders(train, valid, device=default_device())
    dls.vocab = tokens.vocab
    return dls
