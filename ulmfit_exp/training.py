"""Running the phases of a recipe with fastai: schedules, seeds, and going on after a kill."""

import hashlib
import io
import math
import time
from pathlib import Path

import numpy as np
import torch
from fastai.text.all import Callback, Learner, ParamScheduler, ProgressCallback, noop, set_seed
from tqdm.auto import tqdm

from .recipe import Phase, Training
from .store import CHECKPOINT, replacing
from .tracking import Tracker

PAD = 1


def quiet(learn: Learner) -> Learner:
    """The learner without fastai's own progress bars and epoch lines; `Progress` takes their place."""
    learn.remove_cb(ProgressCallback)
    learn.logger = noop
    return learn


def stlr(t: int, steps: int, cut_frac: float = 0.1, ratio: float = 32) -> float:
    """Share of the highest rate at step `t` of `steps`: slanted triangular rates (paper, equation 3).

    `ratio` is how much smaller the lowest rate is than the highest. Where `cut` is rounded down, the equation's last
    steps would fall below that, and even below 0; they stay at it. A `cut` of 0 becomes 1.
    """
    cut = max(1, math.floor(steps * cut_frac))
    p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
    return (1 + max(p, 0.0) * (ratio - 1)) / ratio


def train(learn: Learner, training: Training, seed: int, work: Path, track: Tracker) -> dict:
    """Run the phases in order, saving a checkpoint in `work` after each epoch and going on from the one found there.

    Returns `history` (a dict an epoch), `seconds` and `tokens_per_second`, over all processes that took part.
    """
    checkpoint = Checkpoint(work / CHECKPOINT, learn)
    epochs = sum(phase.epochs for phase in training.phases)
    history, optimizer = checkpoint.load()
    for row in history:
        track.log_epoch(row)
    for i, phase in enumerate(training.phases):
        done = sum(row["phase"] == i for row in history)
        if done == phase.epochs:
            continue
        learn.create_opt()
        learn.freeze_to(phase.freeze_to)
        if done:
            learn.opt.load_state_dict(optimizer)
        end = EpochEnd(i, done, history, checkpoint, track)
        fit(learn, phase, done, [EpochSeed(seed, i), end, Progress(history, epochs)])
    seconds = sum(row["seconds"] for row in history)
    tokens = sum(row["tokens"] for row in history)
    return {"seconds": round(seconds, 1), "tokens_per_second": round(tokens / max(seconds, 1e-9)), "history": history}


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
    schedule = ParamScheduler({"lr": lambda pct: highest * stlr(round(pct * steps), steps)})
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


class EpochEnd(Callback):
    """After each epoch: a row of history, a checkpoint, and the tracker told."""

    order = 65  # after Recorder and ParamScheduler

    def __init__(self, phase: int, start: int, history: list[dict], checkpoint: "Checkpoint", track: Tracker):
        self.phase, self.start, self.history, self.checkpoint, self.track = phase, start, history, checkpoint, track

    def before_epoch(self):
        self.began, self.tokens, self.losses = time.monotonic(), 0, []

    def after_batch(self):
        if self.training:
            self.tokens += int((self.x != PAD).sum())
            self.losses.append(float(self.loss.detach()))
            self.track.log_rates(self.phase, [h["lr"] for h in self.opt.hypers], self.opt.frozen_idx)

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
                "step": (self.history[-1]["step"] if self.history else 0) + len(self.losses),
                "tokens": self.tokens,
                "seconds": round(time.monotonic() - self.began, 3),
            }
        )
        self.checkpoint.save(self.history)
        self.track.log_epoch(self.history[-1])


class Progress(Callback):
    """A bar over the batches where there is a terminal, and one line an epoch anywhere: fastai's bars fill a log."""

    order = 70  # after EpochEnd

    def __init__(self, history: list[dict] = (), epochs: int = 0):
        self.history, self.epochs, self.known = history, epochs, len(history)

    def before_train(self):
        self._bar("train")

    def before_validate(self):
        self._bar("valid")

    def after_batch(self):
        self.bar.update()

    def after_train(self):
        self.bar.close()

    def after_validate(self):
        self.bar.close()

    def _bar(self, what: str):
        epoch = f"epoch {len(self.history) + 1}/{self.epochs} {what}" if self.epochs else "predict"
        self.bar = tqdm(total=len(self.dl), desc=epoch, unit=" batches", leave=False, disable=None)

    def after_epoch(self):
        if len(self.history) > self.known:
            self.known = len(self.history)
            row = self.history[-1]
            losses = "  ".join(f"{k} {v:.4f}" for k, v in row.items() if k.startswith(("train", "valid")))
            print(f"epoch {self.known}/{self.epochs}  {losses}  {row['seconds']:.0f} s", flush=True)


class Checkpoint:
    """Model, optimizer and history after an epoch, in one file that is whole or not there."""

    def __init__(self, path: Path, learn: Learner):
        self.path, self.learn = path, learn

    def save(self, history: list[dict]) -> None:
        opt = self.learn.opt
        hypers = [{k: float(v) if isinstance(v, float) else v for k, v in h.items()} for h in opt.hypers]
        optimizer = {"state": [dict(opt.state[p]) for p, *_ in opt.all_params()], "hypers": hypers}
        saved = io.BytesIO()  # a full disk is then an OSError, which torch's own writer hides
        torch.save({"model": self.learn.model.state_dict(), "optimizer": optimizer, "history": history}, saved)
        with replacing(self.path) as part:
            part.write_bytes(saved.getbuffer())

    def load(self) -> tuple[list[dict], dict | None]:
        """Put the saved weights into the model; (history, optimizer state), empty where there is no checkpoint."""
        if not self.path.exists():
            return [], None
        device = next(self.learn.model.parameters()).device
        saved = torch.load(self.path, map_location=device, weights_only=True)
        self.learn.model.load_state_dict(saved["model"])
        print(f"going on after epoch {len(saved['history'])}", flush=True)
        return saved["history"], saved["optimizer"]
