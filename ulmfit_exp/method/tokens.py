"""Texts -> token ids, once, on disk -> fastai TextDataLoaders."""

import json
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from fastai.text.all import (
    PAD,
    UNK,
    LMDataLoader,
    SortedDL,
    SpacyTokenizer,
    TensorCategory,
    TensorText,
    TextDataLoaders,
    compose,
    default_device,
    defaults,
    make_vocab,
    pad_input,
)

from ..common import DataError
from ..corpora.corpus import Corpus
from ..corpora.splits import SPLITS
from .machine import cores, end_with_parent

LONGEST_WORD = 100
"""Characters: a longer word is cut into several. spaCy takes time quadratic in a word's length."""
PIECE = 100_000
"""Characters: a longer text is tokenised in pieces, cut between words. spaCy refuses a million."""
MOST_PROCESSES = min(4, cores())  # each takes some 0.4 GB
CHUNK = 500_000
"""Characters of the texts that a process tokenises at once."""
RULES = [rule.__name__ for rule in defaults.text_proc_rules + defaults.text_postproc_rules]
TOKENIZER = {
    "spacy": version("spacy"),
    "fastai": version("fastai"),
    "lang": "en",
    "rules": RULES,
    "longest_word": LONGEST_WORD,
    "piece": PIECE,
}


@dataclass(frozen=True)
class Tokens:
    """The token ids of many texts, memory-mapped."""

    ids: np.ndarray
    """All ids in one row, the smallest unsigned type that holds them."""
    offsets: np.ndarray
    """Text i is `ids[offsets[i]:offsets[i + 1]]`."""
    splits: np.ndarray
    """Each text's place in SPLITS."""
    vocab: list[str]

    def __getitem__(self, i: int) -> np.ndarray:
        return self.ids[self.offsets[i] : self.offsets[i + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text."""
        return np.diff(self.offsets)

    def rows(self, *splits: str) -> np.ndarray:
        """Numbers of the texts in these splits."""
        return np.flatnonzero(np.isin(self.splits, [SPLITS.index(s) for s in splits]))


@cache
def _tokenizer():
    """fastai's rules and spaCy's tokenizer as fastai makes it, without fastai's list of each token's attributes.

    A text's own word xxpad is unknown: as padding it would end the text.
    """
    spacy = SpacyTokenizer().pipe.__self__.tokenizer
    before, after = compose(*defaults.text_proc_rules), compose(*defaults.text_postproc_rules)
    return lambda text: [UNK if token.text == PAD else after(token.text) for token in spacy(before(text))]


def words(text: str) -> list[str]:
    """fastai's tokens of a text of any size."""
    tokenize = _tokenizer()
    text = text.encode("utf-8", "replace").decode()  # spaCy refuses a lone surrogate
    if len(text) > LONGEST_WORD:
        text = re.sub(rf"\S{{{LONGEST_WORD}}}(?=\S)", r"\g<0> ", text)
    if len(text) <= PIECE:
        return tokenize(text)
    pieces = map(tokenize, re.findall(rf"(?s).{{1,{PIECE}}}(?!\S)|.{{1,{PIECE}}}", text))
    return list(chain(next(pieces), *(piece[1:] for piece in pieces)))  # each begins with xxbos


def _numbered(texts: list[str]) -> tuple[list[str], np.ndarray, list[int]]:
    """(distinct words in the order met, a number a word, words a text) of some texts."""
    number: dict[str, int] = {}
    each = [[number.setdefault(w, len(number)) for w in words(text)] for text in texts]
    return list(number), np.fromiter(chain(*each), np.uint32), [len(numbers) for numbers in each]


def _chunks(documents: Iterable[tuple[str, str]]) -> Iterator[tuple[list[str], list[int]]]:
    texts, splits, size = [], [], 0
    for text, split in documents:
        texts.append(text)
        splits.append(SPLITS.index(split))
        size += len(text)
        if size >= CHUNK:
            yield texts, splits
            texts, splits, size = [], [], 0
    if texts:
        yield texts, splits


def _parallel(chunks: Iterator, processes: int) -> Iterator:
    """`_numbered` of each chunk, and its splits, in order; by several processes where there are more than a few."""
    first = list(islice(chunks, 4))
    if len(first) < 4 or processes == 1:
        yield from ((*_numbered(texts), splits) for texts, splits in chain(first, chunks))
        return
    spawn = get_context("spawn")  # a fork may inherit a lock that is held
    with ProcessPoolExecutor(processes, spawn, initializer=end_with_parent) as pool:
        waiting = deque()
        for texts, splits in chain(first, chunks):
            waiting.append((pool.submit(_numbered, texts), splits))
            if len(waiting) > 2 * processes:
                future, done = waiting.popleft()
                yield *future.result(), done
        for future, done in waiting:
            yield *future.result(), done


def write_tokens(
    documents: Iterable[tuple[str, str]],
    folder: Path,
    max_vocab: int,
    min_freq: int,
    vocab: list[str] | None = None,
    processes: int | None = None,
) -> dict:
    """Tokenise (text, split) pairs with fastai's rules and spaCy into `folder`. Test and valid words are not counted.

    With `vocab`, that is the vocabulary, and no words are counted for one.

    Words become numbers in the order in which they are met, and their final ids when all have been counted.
    """
    number: dict[str, int] = {}
    times = np.zeros(1, dtype=np.int64)
    lengths, splits = [], []
    counted = [SPLITS.index("train"), SPLITS.index("unlabelled")]
    raw_path = folder / "raw.bin"
    with open(raw_path, "wb") as raw:
        for found, ids, sizes, where in _parallel(_chunks(documents), processes or MOST_PROCESSES):
            place = np.array([number.setdefault(w, len(number)) for w in found], dtype=np.uint32)
            place[ids].tofile(raw)
            if len(number) > len(times):
                times = np.pad(times, (0, len(number)))
            seen = ids[np.repeat(np.isin(where, counted), sizes)]
            times[place] += np.bincount(seen, minlength=len(place))
            lengths += sizes
            splits += where
    if vocab is None:
        count = Counter({word: n for word, n in zip(number, times.tolist()) if n})
        vocab = list(make_vocab(count, min_freq=min_freq, max_vocab=max_vocab))
    ids_of = {w: i for i, w in enumerate(vocab)}
    final = np.array([ids_of.get(w, 0) for w in number], dtype=np.min_scalar_type(len(vocab)))
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    ids = np.lib.format.open_memmap(folder / "ids.npy", "w+", final.dtype, (int(offsets[-1]),))
    unknown = 0
    with open(raw_path, "rb") as raw:
        for start in range(0, len(ids), 10_000_000):
            part = final[np.fromfile(raw, np.uint32, 10_000_000)]
            ids[start : start + len(part)] = part
            unknown += int((part == 0).sum())
    ids.flush()
    raw_path.unlink()
    np.save(folder / "offsets.npy", offsets)
    np.save(folder / "splits.npy", np.array(splits, dtype=np.uint8))
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    return {"tokens": len(ids), "vocab": len(vocab), "unknown": round(unknown / len(ids), 5)}


def read_tokens(folder: Path) -> Tokens:
    """What `write_tokens` left in `folder`."""
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    ids = np.load(folder / "ids.npy", mmap_mode="r")
    return Tokens(ids, np.load(folder / "offsets.npy"), np.load(folder / "splits.npy"), vocab)


def encode(texts: Iterable[str], vocab: list[str]) -> Tokens:
    """Test texts as ids of a vocabulary that is there already, in memory."""
    ids_of = {w: i for i, w in enumerate(vocab)}
    each = [[ids_of.get(w, 0) for w in words(text)] for text in texts]
    offsets = np.cumsum([0, *map(len, each)])
    splits = np.full(len(each), SPLITS.index("test"))
    return Tokens(np.fromiter(chain(*each), np.min_scalar_type(len(vocab))), offsets, splits, vocab)


class Texts:
    """Texts as a fastai dataset: (TensorText,) or (TensorText, TensorCategory)."""

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


def dls_lm(
    tokens: Tokens, bs: int, seq_len: int, backwards: bool, max_tokens: int | None = None, skip_tokens: int = 0
) -> TextDataLoaders:
    """Language-model batches `bs x seq_len`: train and unlabelled texts, shuffled each epoch; validation on valid.

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


def lm_dl(tokens: Tokens, rows: np.ndarray, bs: int, seq_len: int, backwards: bool, **kwargs) -> LMDataLoader:
    """Batches of these texts one after the other, in `bs` streams, fewer where one would be shorter than a step."""
    ds = Texts(tokens, rows, backwards)
    streams = max(1, min(bs, sum(ds.lengths) // seq_len))
    return LMDataLoader(ds, lens=ds.lengths, bs=streams, seq_len=seq_len, cache=2 * streams, **kwargs)


def dls_clas(tokens: Tokens, corpus: Corpus, bs: int, backwards: bool) -> TextDataLoaders:
    """Classifier batches of texts of like length; the labels are places in `corpus.classes`."""
    return _dls(
        clas_dl(tokens, corpus, "train", bs, backwards, shuffle=True),
        clas_dl(tokens, corpus, "valid", bs, backwards),
        tokens,
    )


def clas_dl(tokens: Tokens, corpus: Corpus, split: str, bs: int, backwards: bool, shuffle: bool = False) -> SortedDL:
    """One split's batches of texts of like length, padded at the end."""
    rows = corpus.split(split)
    labels = rows["label"].map({c: i for i, c in enumerate(corpus.classes)}).to_numpy()
    ds = Texts(tokens, rows.index.to_numpy(), backwards, labels)
    while shuffle and len(ds) % bs == 1 and bs > 2:
        bs -= 1  # batch norm cannot train on a last batch of one text
    return SortedDL(ds, res=ds.lengths, bs=bs, shuffle=shuffle, before_batch=pad_input, num_workers=0)


def _dls(train, valid, tokens: Tokens) -> TextDataLoaders:
    dls = TextDataLoaders(train, valid, device=default_device())
    dls.vocab = tokens.vocab
    return dls
