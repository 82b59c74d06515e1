"""The learning rate of each layer group over the steps of a phase; the length of training on few or many texts."""

import math
from dataclasses import replace

import pandas as pd
from fastai.callback.schedule import combined_cos

from ..recipe import Phase, Training

_ONE_CYCLE = combined_cos(0.25, 1 / 25, 1, 1e-5)
"""The defaults of fastai's `fit_one_cycle`."""


def stlr(t: int, steps: int, cut_frac: float = 0.1, ratio: float = 32) -> float:
    """Return the share of the highest learning rate at step `t` of `steps`: slanted triangular (paper, equation 3).

    `ratio` is the highest rate divided by the lowest. If `cut` is rounded down, the equation's rates in the last steps
    would fall below the lowest rate, or below 0; here they stay at the lowest. A `cut` of 0 becomes 1.
    """
    cut = max(1, math.floor(steps * cut_frac))
    p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
    return (1 + max(p, 0.0) * (ratio - 1)) / ratio


def share_of_highest_lr(schedule: str, pct: float, steps: int) -> float:
    """Return the share of the highest learning rate at point `pct` (0 to 1) of a phase with `steps` steps."""
    return {
        "stlr": lambda: stlr(round(pct * steps), steps),
        "one_cycle": lambda: _ONE_CYCLE(pct),
        "cos": lambda: (1 + math.cos(math.pi * pct)) / 2,
        "const": lambda: 1.0,
    }[schedule]()


def passes_per_epoch(training: Training, steps: int) -> int:
    """Return how many times (at most 10) an epoch goes over the texts, in `steps` steps each, to reach `min_steps`."""
    planned = steps * sum(p.epochs for p in training.phases)
    return min(10, math.ceil(training.min_steps / planned)) if training.min_steps and planned else 1


def shortened(training: Training, steps: int) -> Training:
    """Return `training` with its last phase cut to fit `max_steps`, but to no less than one epoch of `steps` steps."""
    if not training.phases or not training.max_steps:
        return training
    *first, last = training.phases
    left = training.max_steps // steps - sum(p.epochs for p in first)
    return replace(training, phases=(*first, replace(last, epochs=min(last.epochs, max(1, left)))))


def rates(phases: tuple[Phase, ...], groups: int, steps: int = 100) -> pd.DataFrame:
    """Return the learning rate of each of `groups` layer groups in a recipe's phases; NaN while a group is frozen.

    It has one row per step, `steps` in an epoch; the index is the epoch, the columns are the groups, lowest first.
    """
    rows, start = {}, 0
    for phase in phases:
        lowest = phase.freeze_to % groups
        last = lowest if phase.alone else groups - 1
        for t in range(total := phase.epochs * steps):
            top = phase.lr * share_of_highest_lr(phase.schedule, t / total, total)
            rows[start + t / steps] = [
                top / phase.decay ** (groups - 1 - g) if lowest <= g <= last else math.nan for g in range(groups)
            ]
        start += phase.epochs
    return pd.DataFrame.from_dict(rows, orient="index", columns=range(groups), dtype=float).rename_axis("epoch")
