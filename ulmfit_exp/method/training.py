"""Training: the phases of a recipe with fastai, seeded at each epoch and resumed after a kill."""

import hashlib
import time
from pathlib import Path

import numpy as np
from fastai.text.all import (
    Callback,
    CancelBatchException,
    CancelFitException,
    Learner,
    ParamScheduler,
    set_seed,
)

from ..recipe import PAD, Phase, Training
from .checkpoint import CHECKPOINT, Checkpoint, hidden_layers, random_state, set_random_state
from .progress import Progress
from .schedules import share

SAVE_EVERY = 300
"""Seconds between checkpoints within an epoch."""


def train(learn: Learner, training: Training, seed: int, work: Path, track) -> dict:
    """Run the phases in order, with a checkpoint in `work` after each epoch and every `SAVE_EVERY` seconds within one,
    going on from the one found there.

    Returns `history` (a dict an epoch), `seconds` and `tokens_per_second`, over all processes that took part.
    """
    checkpoint = Checkpoint(work / CHECKPOINT, learn)
    epochs = sum(phase.epochs for phase in training.phases)
    history, optimizer, within = checkpoint.load()
    for row in history:
        track.log_epoch(row)
    for i, phase in enumerate(training.phases):
        done = sum(row["phase"] == i for row in history)
        if done == phase.epochs or stopped(history, training):
            continue
        learn.create_opt()
        freeze(learn, phase)
        if done or within:
            learn.opt.load_state_dict(optimizer)
        progress = Progress(history, epochs)
        end = EpochEnd(training, i, done, history, within, checkpoint, track, progress)
        fit(learn, phase, done, [EpochSeed(seed, i), Skip(done, within), end, progress])
        within = None
    if checkpoint.best:
        learn.model.load_state_dict(checkpoint.best)
    seconds = sum(row["seconds"] for row in history)
    tokens = sum(row["tokens"] for row in history)
    return {
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens / max(seconds, 1e-9)),
        "kept_epoch": best_epoch(history) if training.patience is not None else len(history) - 1,
        "history": history,
    }


def best_epoch(history: list[dict]) -> int:
    """Place of the epoch of the lowest valid error, or loss where there is no error; -1 of none."""
    scores = [(row.get("valid_error_rate", 0), row["valid_loss"]) for row in history]
    return min(range(len(scores)), key=scores.__getitem__, default=-1)


def stopped(history: list[dict], training: Training) -> bool:
    """Has early stopping ended the last phase?"""
    last = sum(row["phase"] == len(training.phases) - 1 for row in history)
    since = len(history) - 1 - best_epoch(history)
    return training.patience is not None and min(last, since) >= training.patience


def freeze(learn: Learner, phase: Phase) -> None:
    """Make the layer groups of a phase trainable, and no others."""
    learn.freeze_to(phase.freeze_to)
    for p in learn.model.parameters():
        p.grad = None  # fastai leaves zeros, and weight decay then goes on in a group that is frozen again
    if phase.alone:
        groups = len(learn.opt.param_lists)
        for p, *_ in learn.opt.all_params(slice(phase.freeze_to % groups + 1, None)):
            p.requires_grad_(False)


def fit(learn: Learner, phase: Phase, start_epoch: int, cbs: list[Callback]) -> None:
    """One phase: discriminative rates under the phase's schedule."""
    groups = len(learn.opt.param_lists)
    rates = slice(phase.lr / phase.decay ** (groups - 1), phase.lr)
    if phase.schedule == "one_cycle":
        learn.fit_one_cycle(phase.epochs, rates, cbs=cbs, start_epoch=start_epoch)
        return
    learn.opt.set_hyper("lr", rates)
    highest = np.array([h["lr"] for h in learn.opt.hypers])
    steps = phase.epochs * len(learn.dls.train)
    schedule = ParamScheduler({"lr": lambda pct: highest * share(phase.schedule, pct, steps)})
    learn.fit(phase.epochs, rates, cbs=[schedule, *cbs], start_epoch=start_epoch)


class EpochSeed(Callback):
    """Seed at each epoch, and forget earlier shuffles: what an epoch does then hangs on no random state before it,
    and an epoch after a kill is the same as without."""

    order = -20

    def __init__(self, seed: int, phase: int):
        self.seed, self.phase = seed, phase

    def before_epoch(self):
        key = f"{self.seed} {self.phase} {self.epoch}"
        set_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "little"), reproducible=True)
        items = getattr(self.dls.train, "items", None)  # LMDataLoader shuffles what it shuffled the epoch before
        if hasattr(items, "idxs"):
            items.idxs.items.sort()


class Skip(Callback):
    """In the epoch that a kill broke off, pass over the batches done; then take up the random and hidden states."""

    order = -30

    def __init__(self, epoch: int, within: dict | None):
        self.of, self.within = epoch, within

    def before_batch(self):
        if not self.training or self.within is None or self.epoch != self.of:
            return
        if self.iter < len(self.within["losses"]):
            raise CancelBatchException
        set_random_state(self.within["random"])
        vars(hidden_layers(self.model)).update(self.within["hidden"])
        self.within = None


class EpochEnd(Callback):
    """After each epoch: a row of history, a checkpoint, and the tracker told. A checkpoint within it, too."""

    order = 65  # after Recorder and ParamScheduler

    def __init__(self, training: Training, phase: int, start: int, history, within, checkpoint, track, progress):
        self.of, self.phase, self.start, self.history, self.within = training, phase, start, history, within
        self.checkpoint, self.track, self.progress = checkpoint, track, progress

    def before_epoch(self):
        at = self.within if self.epoch == self.start else None
        self.behind = len(at["losses"]) if at else 0
        self.losses = list(at["losses"]) if at else []
        self.tokens = at["tokens"] if at else 0
        self.began = self.saved = time.monotonic()
        self.earlier = at["seconds"] if at else 0.0
        self.trains = [any(p.requires_grad for p in group) for group in self.opt.param_lists]

    @property
    def seconds(self) -> float:
        return round(self.earlier + time.monotonic() - self.began, 3)

    @property
    def step(self) -> int:
        return (self.history[-1]["step"] if self.history else 0) + len(self.losses)

    def after_batch(self):
        if not self.training or self.iter < self.behind:
            return
        self.tokens += int((self.x != PAD).sum())
        self.losses.append(float(self.loss.detach()))
        rates = [h["lr"] for h in self.opt.hypers]
        self.track.log_step(self.step, self.phase, self.losses[-1], rates, self.trains)
        self.progress.tell(self.losses, self.tokens, self.seconds)
        if time.monotonic() - self.saved > SAVE_EVERY and self.iter + 1 < self.n_iter:
            within = {"losses": self.losses, "tokens": self.tokens, "seconds": self.seconds}
            layers = hidden_layers(self.model)
            states = {"random": random_state(), "hidden": {"hidden": layers.hidden, "bs": layers.bs}}
            self.checkpoint.save(self.history, {**within, **states})
            self.saved = time.monotonic()

    def after_epoch(self):
        if self.epoch < self.start:  # fastai calls this for the epochs that it skips, too
            return
        names = ["valid_loss", *(f"valid_{m.name}" for m in self.learn.metrics)]
        self.history.append(
            {
                "phase": self.phase,
                "epoch": self.epoch,
                "train_loss": sum(self.losses) / len(self.losses),  # fastai's is smoothed over earlier epochs
                **dict(zip(names, map(float, self.recorder.values[-1][1:]))),
                "lr": float(self.opt.hypers[-1]["lr"]),
                "step": self.step,
                "tokens": self.tokens,
                "seconds": self.seconds,
            }
        )
        if self.of.patience is not None and best_epoch(self.history) == len(self.history) - 1:
            self.checkpoint.best = {k: w.clone() for k, w in self.model.state_dict().items()}
        self.checkpoint.save(self.history)
        self.track.log_epoch(self.history[-1])
        self.progress.tell_epoch()
        if stopped(self.history, self.of):
            print(f"stopped early; epoch {best_epoch(self.history) + 1} is kept", flush=True)
            raise CancelFitException
