"""Running the phases of a recipe with fastai: schedules, seeds, and going on after a kill."""

import hashlib
import io
import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fastai.text.all import (
    AWD_LSTM,
    Callback,
    CancelBatchException,
    CancelFitException,
    Learner,
    ParamScheduler,
    ProgressCallback,
    combined_cos,
    noop,
    set_seed,
)
from tqdm.auto import tqdm

from ..common import replacing
from ..recipe import Phase, Training
from ..runs.store import CHECKPOINT
from ..runs.tracking import Tracker

PAD = 1
SAVE_EVERY = 300
"""Seconds between checkpoints within an epoch."""
TELL_EVERY = 60
"""Seconds between lines of progress within an epoch."""


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


def share(schedule: str, pct: float, steps: int) -> float:
    """Share of the highest rate at a point `pct`, 0 to 1, of a phase of `steps` steps."""
    return {
        "stlr": lambda: stlr(round(pct * steps), steps),
        "one_cycle": lambda: float(combined_cos(0.25, 1 / 25, 1, 1e-5)(pct)),  # as fit_one_cycle has it by default
        "cos": lambda: (1 + math.cos(math.pi * pct)) / 2,
        "const": lambda: 1.0,
    }[schedule]()


def rates(phases: tuple[Phase, ...], groups: int, steps: int = 100) -> pd.DataFrame:
    """What `fit` makes of a recipe's phases: the rate of each of `groups` layer groups, NaN where it is frozen.

    A row a step, of `steps` an epoch; the index is the epoch, the columns are the groups from the lowest.
    """
    rows, start = {}, 0
    for phase in phases:
        lowest = phase.freeze_to % groups
        last = lowest if phase.alone else groups - 1
        for t in range(total := phase.epochs * steps):
            top = phase.lr * share(phase.schedule, t / total, total)
            rows[start + t / steps] = [
                top / phase.decay ** (groups - 1 - g) if lowest <= g <= last else math.nan for g in range(groups)
            ]
        start += phase.epochs
    return pd.DataFrame.from_dict(rows, orient="index", columns=range(groups), dtype=float).rename_axis("epoch")


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


class Progress(Callback):
    """A bar over the batches where there is a terminal; a line an epoch, and every `TELL_EVERY` seconds, anywhere."""

    order = 70  # after EpochEnd

    def __init__(self, history: list[dict] = (), epochs: int = 0):
        self.history, self.epochs = history, epochs
        self.told = time.monotonic()

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

    def tell(self, losses: list[float], tokens: int, seconds: float) -> None:
        """Where the epoch stands: a line now and then, since a bar does not show in a log."""
        if time.monotonic() - self.told < TELL_EVERY:
            return
        self.told = time.monotonic()
        loss = sum(losses[-100:]) / len(losses[-100:])
        perplexity = "" if self.metrics else f"  perplexity {math.exp(min(loss, 99)):.1f}"  # a classifier has metrics
        epochs_left = self.epochs - len(self.history) - len(losses) / self.n_iter
        left = seconds * self.n_iter / len(losses) * epochs_left / 60
        self.bar.write(
            f"epoch {len(self.history) + 1}/{self.epochs} {len(losses) / self.n_iter:4.0%}  loss {loss:.3f}{perplexity}"
            f"  {tokens / seconds:,.0f} tokens/s  {left:.0f} min left"
        )

    def tell_epoch(self) -> None:
        """The figures of the epoch that ended."""
        row = self.history[-1]
        losses = "  ".join(f"{k} {v:.4f}" for k, v in row.items() if k.startswith(("train", "valid")))
        print(f"epoch {len(self.history)}/{self.epochs}  {losses}  {row['seconds']:.0f} s", flush=True)


def random_state() -> dict:
    """torch's random states; no other generator is used within an epoch."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: dict) -> None:
    """Put back what `random_state` gave."""
    torch.set_rng_state(state["cpu"].cpu())
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"].cpu())


def hidden_layers(model) -> AWD_LSTM:
    """The AWD_LSTM of a language model or classifier; it carries its hidden state from batch to batch."""
    return getattr(model[0], "module", model[0])


class Checkpoint:
    """Model, optimizer and history after an epoch or within one, in one file that is whole or not there."""

    def __init__(self, path: Path, learn: Learner):
        self.path, self.learn = path, learn
        self.best: dict | None = None
        """Weights of the best epoch, where early stopping is to keep them."""

    def save(self, history: list[dict], within: dict | None = None) -> None:
        """`within` is where the epoch under way stands."""
        opt = self.learn.opt
        hypers = [{k: float(v) if isinstance(v, float) else v for k, v in h.items()} for h in opt.hypers]
        state = {
            "model": self.learn.model.state_dict(),
            "best": self.best,
            "optimizer": {"state": [dict(opt.state[p]) for p, *_ in opt.all_params()], "hypers": hypers},
            "history": history,
            "within": within,
        }
        saved = io.BytesIO()  # a full disk is then an OSError, which torch's own writer hides
        torch.save(state, saved)
        with replacing(self.path) as part:
            part.write_bytes(saved.getbuffer())

    def load(self) -> tuple[list[dict], dict | None, dict | None]:
        """Put the saved weights into the model; (history, optimizer state, where an epoch was broken off)."""
        if not self.path.exists():
            return [], None, None
        device = next(self.learn.model.parameters()).device
        saved = torch.load(self.path, map_location=device, weights_only=True)
        self.learn.model.load_state_dict(saved["model"])
        self.best = saved["best"]
        where = f" and {len(saved['within']['losses'])} batches" if saved["within"] else ""
        print(f"going on after epoch {len(saved['history'])}{where}", flush=True)
        return saved["history"], saved["optimizer"], saved["within"]
