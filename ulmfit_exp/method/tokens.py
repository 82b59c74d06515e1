"""Texts -> token ids, stored on disk so that texts are tokenised only once."""

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from fastai.text.all import make_vocab
from joblib import cpu_count

from ..common import chunked, read_json
from ..corpora.splits import SPLITS
from .machine import end_with_parent, without_main
from .tokenizer import UNK_ID, words

MOST_PROCESSES = min(4, cpu_count(), torch.get_num_threads())  # about 0.4 GB each; a grid's runs have fewer threads
CHUNK = 500_000
"""Number of characters of text that a process tokenises at once."""
COPIED = 10_000_000
"""Number of ids copied at once."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """The token ids of many texts, memory-mapped."""

    ids: np.ndarray
    """Ids of all texts in one array, of the smallest unsigned type that can hold them."""
    offsets: np.ndarray
    """Text i is `ids[offsets[i]:offsets[i + 1]]`."""
    splits: np.ndarray
    """The split of each text, as an index into `SPLITS`."""
    vocab: list[str]
    targets: int
    """The language model predicts only this many first words of the vocabulary; the others are input only."""

    def __getitem__(self, i: int) -> np.ndarray:
        return self.ids[self.offsets[i] : self.offsets[i + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens in each text."""
        return np.diff(self.offsets)

    def rows(self, *splits: str) -> np.ndarray:
        """Return the indices of the texts in these splits."""
        return np.flatnonzero(np.isin(self.splits, [SPLITS.index(s) for s in splits]))


def _numbered(lang: str, documents: list[tuple[str, str]]) -> tuple[list[str], np.ndarray, list[int], list[int]]:
    """Return distinct words in order of appearance, each token's index into these, and each text's length and split."""
    number: dict[str, int] = {}
    each = [[number.setdefault(w, len(number)) for w in words(text, lang)] for text, _ in documents]
    ids, sizes = np.fromiter(chain(*each), np.uint32), [len(numbers) for numbers in each]
    return list(number), ids, sizes, [SPLITS.index(split) for _, split in documents]


def _parallel(documents: Iterable[tuple[str, str]], processes: int, lang: str) -> Iterator:
    """Yield `_numbered` for chunks of the texts, in order; four or more chunks are shared by several processes."""
    numbered, chunks = partial(_numbered, lang), chunked(documents, CHUNK, lambda document: len(document[0]))
    first = list(islice(chunks, 4))
    if len(first) < 4 or processes == 1:
        yield from map(numbered, chain(first, chunks))
        return
    spawn = get_context("spawn")  # a fork may inherit a lock that is held
    with ProcessPoolExecutor(processes, spawn, initializer=end_with_parent) as pool:
        waiting = deque()
        for chunk in chain(first, chunks):
            with without_main():  # the pool starts its processes when work is submitted
                waiting.append(pool.submit(numbered, chunk))
            if len(waiting) > 2 * processes:
                yield waiting.popleft().result()
        yield from (future.result() for future in waiting)


def write_tokens(
    documents: Iterable[tuple[str, str]],
    folder: Path,
    max_vocab: int,
    min_freq: int,
    pretrained: list[str] | None = None,
    only_pretrained: bool = False,
    processes: int | None = None,
    lang: str = "en",
) -> dict:
    """Tokenise (text, split) pairs with fastai's rules and spaCy, write `folder`, and return the counts for the record.

    The vocabulary has the words of the train and unlabelled texts, then the other words of `pretrained`, the vocabulary
    of a pretrained model; with `only_pretrained` it is `pretrained` alone.
    """
    raw_path = folder / "raw.bin"
    count_of, lengths, splits = _write_raw(documents, raw_path, processes or MOST_PROCESSES, lang)
    counted = +count_of  # without the words of held-out texts alone, whose count is 0
    known = pretrained if only_pretrained else list(make_vocab(counted, min_freq=min_freq, max_vocab=max_vocab))
    in_known = set(known)
    vocab = [*known, *(word for word in pretrained or () if word not in in_known)]
    ids_of = {word: i for i, word in enumerate(vocab)}
    final = np.array([ids_of.get(word, UNK_ID) for word in count_of], dtype=np.min_scalar_type(len(vocab)))
    raw = np.memmap(raw_path, np.uint32, "r")
    ids = np.lib.format.open_memmap(folder / "ids.npy", "w+", final.dtype, raw.shape)
    for start in range(0, len(ids), COPIED):
        ids[start : start + COPIED] = final[raw[start : start + COPIED]]
    ids.flush()
    del raw
    raw_path.unlink()
    np.save(folder / "offsets.npy", np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))
    np.save(folder / "splits.npy", splits)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (folder / "targets.json").write_text(json.dumps(len(known)), encoding="utf-8")
    in_test = np.repeat(splits == SPLITS.index("test"), lengths)
    unknown = {"unknown": ids == UNK_ID, "unknown_test": ids[in_test] == UNK_ID}
    shares = {k: round(float(is_unknown.mean()), 5) if len(is_unknown) else 0.0 for k, is_unknown in unknown.items()}
    return {"tokens": len(ids), "vocab": len(vocab), **shares}


def _write_raw(
    documents: Iterable[tuple[str, str]], path: Path, processes: int, lang: str
) -> tuple[Counter, list[int], np.ndarray]:
    """Write each token as the number of its word; words are numbered in order of appearance.

    Returns the words in that order with their counts in train and unlabelled texts (0 for a word of the others alone),
    and each text's length and split.
    """
    number, count, lengths, splits = {}, Counter(), [], []
    counted = [SPLITS.index("train"), SPLITS.index("unlabelled")]
    with open(path, "wb") as raw:
        for found, ids, sizes, where in _parallel(documents, processes, lang):
            numbers = np.array([number.setdefault(word, len(number)) for word in found], dtype=np.uint32)
            numbers[ids].tofile(raw)
            seen = ids[np.repeat(np.isin(where, counted), sizes)]
            count.update(dict(zip(found, np.bincount(seen, minlength=len(found)).tolist())))
            lengths += sizes
            splits += where
    return count, lengths, np.array(splits, dtype=np.uint8)


def read_tokens(folder: Path) -> Tokens:
    """Read the tokens that `write_tokens` wrote to `folder`."""
    ids = np.load(folder / "ids.npy", mmap_mode="r")
    offsets, splits = (np.load(folder / f"{name}.npy") for name in ("offsets", "splits"))
    return Tokens(ids, offsets, splits, read_json(folder / "vocab.json"), read_json(folder / "targets.json"))


def encode(texts: Iterable[str], vocab: list[str]) -> Tokens:
    """Return English texts, as a test split, as ids of an existing vocabulary, in memory."""
    ids_of = {w: i for i, w in enumerate(vocab)}
    each = [[ids_of.get(w, UNK_ID) for w in words(text)] for text in texts]
    offsets = np.cumsum([0, *map(len, each)])
    splits = np.full(len(each), SPLITS.index("test"))
    return Tokens(np.fromiter(chain(*each), np.min_scalar_type(len(vocab))), offsets, splits, vocab, len(vocab))
