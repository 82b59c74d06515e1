"""Reading the weights and words in a model's files, without running any code that they may contain."""

import io
import json
import pickle
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..common import DataError
from ..corpora.archives import hidden

SCALE = ".scale"
FASTAI = {".pth": [r"\.pth"], ".pkl or .json of its words": [r"(itos|vocab)[^/]*\.(pkl|json)", r"\.pkl", r"\.json"]}
"""The two files of a fastai model, and patterns for the end of each name, the likeliest first."""


def read(*files: Path, members: tuple[str, ...] = ()) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Read the weights and words from two files, or from two `members` of an archive. Raises `DataError`."""
    if not members:
        weights, words = files
        return read_weights(weights), _words(words, words.name, words.read_bytes())
    (archive,) = files
    with _safely(archive), tarfile.open(archive) as tar:
        weights, words = (tar.extractfile(name).read() for name in members)
    return _pickled_weights(archive, weights), _words(archive, members[1], words)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the weights in a safetensors file, undoing `quantised`, or in a `.pth`. Raises `DataError` if it cannot."""
    if path.suffix.lower() == ".pth":
        return _pickled_weights(path, path.read_bytes())
    try:
        return _dequantised(load_file(path))
    except (KeyError, RuntimeError) as e:
        raise DataError(f"{path}: int8 weights and their scales do not match ({e})") from e
    except (SafetensorError, OSError) as e:
        raise DataError(f"{path} is not a safetensors file ({e})") from e


def _words(path: Path, name: str, data: bytes) -> list[str]:
    """Read the words in a pickle, if `name` ends in .pkl, or in JSON. Raises `DataError`, which names the `path`."""
    if name.lower().endswith(".pkl"):
        with _safely(path):
            vocab = WordsUnpickler(io.BytesIO(data)).load()
            vocab = vocab.state["items"] if isinstance(vocab, Inert) else vocab
    else:
        try:
            vocab = json.loads(data.decode("utf-8"))
        except (ValueError, RecursionError) as e:
            raise DataError(f"{path} is not JSON ({e}); it should be a list of words") from e
    if not isinstance(vocab, list | tuple) or not all(isinstance(w, str) for w in vocab):
        raise DataError(f"{path} is not a list of words, as list(learn.dls.vocab) of a language model is")
    return list(vocab)


def quantised(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights for a small file: matrices as int8 with a `NAME.scale` per row, all others as float16.

    The scale is a row's largest absolute value / 127. The file is a quarter of float32's size; on Wikipedia the
    perplexity changed by less than 0.01 %.
    """
    small = {}
    for name, weight in weights.items():
        if weight.dim() != 2:
            small[name] = weight.half()
            continue
        scale = (weight.float().abs().amax(dim=1, keepdim=True) / 127).clamp_min(1e-12)
        small[name] = (weight / scale).round().to(torch.int8)
        small[f"{name}{SCALE}"] = scale
    return small


def _dequantised(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Undo `quantised`, up to rounding; other weights stay as they are.

    Raises `KeyError` with the names of int8 weights without a scale, and of scales without int8 weights.
    """
    scales = {k.removesuffix(SCALE): w for k, w in weights.items() if k.endswith(SCALE)}
    whole = {k: w for k, w in weights.items() if not k.endswith(SCALE)}
    if unmatched := scales.keys() ^ {k for k, w in whole.items() if w.dtype == torch.int8}:
        raise KeyError(*sorted(unmatched))
    return whole | {k: whole[k].float() * scale for k, scale in scales.items()}


def members(path: Path, direction: str) -> tuple[str, ...]:
    """Return the names of the weights and vocabulary of a direction in a fastai folder or archive: the only ones, or
    those with fwd or bwd for the direction in their names. Raises `DataError` unless there is exactly one of each."""
    if path.is_dir():
        names = {file.name for file in path.iterdir() if file.is_file()}
    else:
        with _safely(path), tarfile.open(path) as tar:
            names = {info.name for info in tar if info.isfile()}
    names, chosen = sorted(name for name in names if not hidden(name)), []
    mark, other = ("fwd", "bwd") if direction == "forward" else ("bwd", "fwd")
    for kind, ends in FASTAI.items():
        every = next(filter(None, ([n for n in names if re.search(f"(?i:{end})$", n)] for end in ends)), [])
        last = {name: name.rpartition("/")[2].lower() for name in every}
        found = [n for n in every if mark in last[n]] or [n for n in every if other not in last[n]]
        if len(found) != 1:
            raise DataError(
                f"{path} needs one {kind} for the {direction} language model; it has {', '.join(every) or 'none'}. For "
                "both directions put fwd or bwd in the names, or name two models as FORWARD,BACKWARD"
            )
        chosen += found
    return tuple(chosen)


def _pickled_weights(path: Path, data: bytes) -> dict[str, torch.Tensor]:
    """Read the weights that fastai's Learner saved, with or without its optimizer."""
    with _safely(path), torch.serialization.safe_globals([(Inert, name) for name in INERT]):
        weights = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return {k: w for k, w in weights.get("model", weights).items() if isinstance(w, torch.Tensor)}


INERT = ("fastcore.foundation.L", "numpy.dtype", "numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar")
"""Types that fastai's saved optimizers and vocabularies may hold besides tensors, lists and numbers."""


class Inert:
    """Replaces an object of a type in `INERT`, so that its code is not run; the words in an `L` can be read from it."""

    def __init__(self, *args):
        self.state = {"items": args}

    def __setstate__(self, state):
        self.state = state


class WordsUnpickler(pickle.Unpickler):
    """Reads lists and strings, and rejects everything that could run code."""

    def find_class(self, module, name):
        if f"{module}.{name}" in INERT:
            return Inert
        raise pickle.UnpicklingError(f"Unsupported global: GLOBAL {module}.{name}")  # worded as in torch


@contextmanager
def _safely(path: Path) -> Iterator[None]:
    """Turn any error in reading untrusted bytes into a `DataError`; no code in them has been run."""
    try:
        yield
    except Exception as e:
        if "Unsupported global" in str(e):
            reason = re.search(r"GLOBAL \S+|$", str(e))[0] or str(e)
            raise DataError(
                f"{path} cannot be read without running code in it ({reason}). If you trust it, load it with fastai, "
                "and save torch.save(learn.model.state_dict(), 'lm.pth') and json.dump(list(learn.dls.vocab), "
                "open('itos.json', 'w')) in a folder for --pretrained"
            ) from e
        first = str(e).partition("\n")[0]
        raise DataError(f"{path} is damaged or not a model of fastai ({type(e).__name__}: {first})") from e
