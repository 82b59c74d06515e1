"""Estimated time of a grid, from the speed of finished stages of the same size, or else from the model's size."""

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from time import process_time
from timeit import repeat

import torch
from fastai.text.all import default_device

from ..common import read_json
from ..corpora.splits import LABELLED, SPLITS
from ..method.schedules import passes_per_epoch, shortened
from ..recipe import LMRecipe, Model
from .plan import Run

CHARACTERS = 4.3
"""Characters of text, including spaces, per token, including marks such as xxbos."""
GPU_SPEED = 2.1e13
"""Weights times tokens per second when training on a GPU (docs/performance.md)."""
UPDATES = 7.5e7
"""Weights that the optimizer updates per second on one thread. If texts are short, this takes most of the time."""
GPU_STEP = 0.01
"""Seconds that a GPU takes to read `seq_len` tokens of each text in a batch, one token after another."""
READING = 100_000
"""Tokens per second in tokenisation and in the baseline."""


@dataclass(frozen=True)
class Trained:
    """Size and duration of a finished or planned training, for comparison with others of the same size."""

    kind: str
    """lm or clas."""
    precision: str
    model: dict | None
    """Fields of the model that are not the defaults."""
    batch: float
    """Tokens per training step."""
    tokens: float = 0
    seconds: float = 0

    def like(self, other: "Trained") -> bool:
        """Return whether both train the same model in the same precision, with batch sizes within a factor of two."""
        same = (self.kind, self.precision, self.model) == (other.kind, other.precision, other.model)
        return same and 0.5 <= self.batch / max(other.batch, 1e-9) <= 2


def finished_trainings(home: Path) -> list[Trained]:
    """Return the finished trainings in a home."""
    stages, found = {}, []
    for path in (home / "stages").glob("*/stage.json"):
        with suppress(OSError, ValueError):
            stages[path.parent.name] = read_json(path)
    for name, stage in stages.items():
        with suppress(KeyError, TypeError, AttributeError):  # damaged: it is computed again
            kind, info, inputs = name.split("-")[0], stage["info"], stage["inputs"]
            lm = stages.get(inputs.get("lm"), stage)["inputs"] if kind == "clas" else inputs
            if kind in ("lm", "clas") and info["history"]:
                tokens = sum(row["tokens"] for row in info["history"])
                batch = tokens / max(info["history"][-1]["step"], 1)
                found.append(Trained(kind, inputs["precision"], lm.get("model"), batch, tokens, info["seconds"]))
    return found


def seconds(run: Run, name: str, trained: list[Trained]) -> float:
    """Return the estimated seconds that a stage takes."""
    kind = name.split()[0]
    if kind in ("lm", "clas"):
        return 1 + _training(run, name, trained)
    if kind in ("tokens", "baseline"):
        return 1 + _tokens(run, SPLITS if kind == "tokens" else LABELLED) / READING
    if kind == "features":
        return 1 + _forward_pass(run, LABELLED)
    return 1 + len(run.command.directions) * _forward_pass(run, ("valid", "test"))


def _tokens(run: Run, splits: tuple[str, ...]) -> float:
    df = run.corpus.df
    return df["text"].str.len()[df["split"].isin(splits)].sum() / CHARACTERS


def _forward_pass(run: Run, splits: tuple[str, ...]) -> float:
    """Return the seconds in which a model reads the texts of the splits, a third of those of training on them."""
    return seconds_by_size("clas", run.recipe, _tokens(run, splits), 0, _speed(run.command.precision), _gpu()) / 3


def _training(run: Run, name: str, trained: list[Trained]) -> float:
    kind, recipe, df = name.split()[0], run.recipe, run.corpus.df
    task = getattr(recipe, kind)
    splits = ("train", "unlabelled") if kind == "lm" else ("train",)
    tokens = _tokens(run, splits)
    if kind == "lm":
        tokens = min(tokens, recipe.max_tokens or tokens)
    texts = df["split"].isin(splits).sum()
    steps = max(1, tokens / (task.bs * recipe.seq_len) if kind == "lm" else math.ceil(texts / task.bs))
    passes = passes_per_epoch(task, math.ceil(steps))
    epochs = sum(phase.epochs for phase in shortened(task, passes * math.ceil(steps)).phases)
    model = run.plan[name.replace("clas", "lm")].get("model")
    planned = Trained(kind, run.command.precision, model, tokens / steps)
    if same := [t for t in trained if planned.like(t)]:
        training = tokens * sum(t.seconds for t in same) / sum(t.tokens for t in same)
    else:
        training = seconds_by_size(kind, recipe, tokens, steps, _speed(run.command.precision), _gpu())
    return epochs * (passes * training + _forward_pass(run, ("valid",)))


def _gpu() -> bool:
    return default_device().type == "cuda"


def _speed(precision: str) -> float:
    return GPU_SPEED if _gpu() else thread_speed(precision)


@cache
def thread_speed(precision: str) -> float:
    """Measure weights times tokens per second when training on one thread of this processor: a third of the rate of a
    matrix product of the shipped model's size, because training does one such product forward and two backward."""
    tokens, inputs, outputs = 32 * 70, 448, 4 * 448
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.ones(tokens, inputs, dtype=dtype), torch.ones(inputs, outputs, dtype=dtype)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    fastest = min(repeat(lambda: a @ b, timer=process_time, number=1, repeat=5))  # without the time of other processes
    torch.set_num_threads(threads)
    return tokens * inputs * outputs / fastest / 3


def seconds_by_size(kind: str, recipe: LMRecipe, tokens: float, steps: float, speed: float, gpu: bool = False) -> float:
    """Estimate an epoch's seconds if no training of its size is finished; `speed` is weights times tokens a second."""
    words = min(recipe.max_vocab, 14 * math.sqrt(tokens))  # Heaps' law
    lstm, embedding = _lstm_weights(recipe.model), recipe.model.emb_sz * words
    softmax = recipe.model.emb_sz * min(recipe.softmax_samples or words, words) if kind == "lm" else 0
    if gpu:
        waits = GPU_STEP * max(steps, tokens / (getattr(recipe, kind).bs * recipe.seq_len))
    else:
        waits = steps * (lstm + embedding) / UPDATES
    return tokens * (lstm + softmax) / speed + waits


def _lstm_weights(model: Model) -> int:
    """Return the number of weights in the LSTM layers."""
    sizes = [model.emb_sz, *[model.n_hid] * (model.n_layers - 1), model.emb_sz]
    return sum(4 * n * (m + n) for m, n in pairwise(sizes))
