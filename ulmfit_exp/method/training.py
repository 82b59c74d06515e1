"""Training: runs the phases of a recipe with fastai, seeds each epoch, and resumes after being killed.

Its callbacks, in their order; the other callbacks read `History` as `learn.history`:

Resume     -30  skips the batches that were finished before a checkpoint within an epoch; clears `checkpoint.within`
EpochSeed  -20  seeds each epoch
History     65  adds to `checkpoint.history` and `checkpoint.steps`, and saves the checkpoint
Progress    70  shows what `learn.history` has collected
StopEarly   90  may end the last phase early, judging by `learn.history.epochs`
"""

import hashlib
import math
import time
from pathlib import Path

import numpy as np
import torch
from fastai.text.all import (
    Callback,
    CancelBatchException,
    CancelFitException,
    Learner,
    LMLearner,
    ParamScheduler,
    even_mults,
    maybe_gather,
    noop,
    rank_distrib,
    set_seed,
)

from ..common import DataError
from ..recipe import Phase, Training
from .batches import Repeated
from .checkpoint import CHECKPOINT, Checkpoint, batch_state, restore_batch_state, unwrapped
from .distributed import gathered, together
from .progress import Progress
from .schedules import passes_per_epoch, share_of_highest_lr, shortened
from .tokenizer import PAD_ID

SAVE_EVERY = 300
"""Seconds between checkpoints within an epoch."""
READ_EVERY = 20
"""Training steps between two reads of the losses; at each read the CPU waits for the GPU."""


def train(learn: Learner, training: Training, seed: int, work: Path, cbs=()) -> tuple[dict, list[dict]]:
    """Run the phases in order, from the checkpoint in the folder `work` if there is one. Returns information and steps.

    The information has the `history` with one row per epoch, the `kept_epoch`, and `seconds` and `tokens_per_second`
    over the whole training, also if it was interrupted. The steps have one row per training step: its phase, its loss,
    and each layer group's learning rate, None while it is frozen. The callbacks `cbs` can read both in `learn.history`.
    Raises `DataError` if a loss is not finite.
    """
    training = sized_for_data(learn, training)
    checkpoint = Checkpoint(work / CHECKPOINT, learn)
    checkpoint.load()
    history = checkpoint.history
    epochs = sum(phase.epochs for phase in training.phases)
    for i, phase in enumerate(training.phases):
        first_epoch = sum(row["phase"] == i for row in history)
        if first_epoch == phase.epochs or has_stopped_early(history, training):
            continue
        learn.create_opt()
        freeze(learn, phase)
        if first_epoch or checkpoint.within:
            learn.opt.load_state_dict(checkpoint.optimizer)
        collected = History(checkpoint, i, first_epoch, keep_best=training.patience is not None)
        ours = [EpochSeed(seed, i), Resume(checkpoint), collected, Progress(epochs), StopEarly(training)]
        fit(learn, phase, first_epoch, [*ours, *cbs])
        if not math.isfinite(collected.last_loss):
            task, step = "lm" if isinstance(learn, LMLearner) else "clas", len(checkpoint.steps)
            raise DataError(
                f"the loss is {collected.last_loss} at training step {step}; lower the learning rate with "
                f"--recipe.{task}.phases.{i}.lr (now {phase.lr:g})"
            )
    if checkpoint.best:
        learn.model.load_state_dict(checkpoint.best)
    seconds, tokens = (sum(row[k] for row in history) for k in ("seconds", "tokens"))
    info = {
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens / max(seconds, 1e-9)),
        "kept_epoch": best_epoch(history) if training.patience is not None else len(history) - 1,
        "history": history,
    }
    return info, checkpoint.steps


def sized_for_data(learn: Learner, training: Training) -> Training:
    """Adapt `training` to the learner's texts: longer epochs for `min_steps`, a shorter last phase for `max_steps`."""
    if (times := passes_per_epoch(training, len(learn.dls.train))) > 1:
        learn.dls.loaders[0] = Repeated(learn.dls.train, times)
    return shortened(training, len(learn.dls.train))


def best_epoch(history: list[dict]) -> int:
    """Return the index of the epoch with the lowest validation error, or loss if it has no error; -1 without epochs."""
    scores = [(row.get("valid_error_rate", 0), row["valid_loss"]) for row in history]
    return min(range(len(scores)), key=scores.__getitem__, default=-1)


def has_stopped_early(history: list[dict], training: Training) -> bool:
    """Return whether early stopping has ended the last phase."""
    last = sum(row["phase"] == len(training.phases) - 1 for row in history)
    since = len(history) - 1 - best_epoch(history)
    return training.patience is not None and min(last, since) >= training.patience


def freeze(learn: Learner, phase: Phase) -> None:
    """Make only the layer groups of a phase trainable. Raises `DataError` if there is none."""
    if phase.freeze_to >= (groups := len(learn.opt.param_lists)):
        task = "lm" if isinstance(learn, LMLearner) else "clas"
        raise DataError(
            f"freeze-to {phase.freeze_to} in --recipe.{task}.phases is impossible: the model has {groups} layer groups"
        )
    learn.freeze_to(phase.freeze_to)
    for p in learn.model.parameters():
        p.grad = None  # fastai leaves zeros, and weight decay would continue in a group that is frozen again
    if phase.alone:
        for p, *_ in learn.opt.all_params(slice(phase.freeze_to % groups + 1, None)):
            p.requires_grad_(False)


def fit(learn: Learner, phase: Phase, start_epoch: int, cbs: list[Callback]) -> None:
    """Train one phase with discriminative learning rates under its schedule."""
    groups, steps = len(learn.opt.param_lists), phase.epochs * len(learn.dls.train)
    rates = slice(phase.lr / phase.decay ** (groups - 1), phase.lr)
    highest = np.array(even_mults(rates.start, rates.stop, groups))
    schedule = ParamScheduler({"lr": lambda pct: highest * share_of_highest_lr(phase.schedule, pct, steps)})
    with together(learn):
        if phase.schedule == "one_cycle":
            learn.fit_one_cycle(phase.epochs, rates, cbs=cbs, start_epoch=start_epoch)
        else:
            learn.fit(phase.epochs, rates, cbs=[schedule, *cbs], start_epoch=start_epoch)


class EpochSeed(Callback):
    """Seeds each epoch and undoes earlier shuffles, so that an epoch does not depend on earlier random states: a
    training that was killed and resumed is the same as one that was not."""

    order = -20

    def __init__(self, seed: int, phase: int):
        self.seed, self.phase = seed, phase

    def before_epoch(self):
        key = f"{self.seed} {self.phase} {self.epoch}"
        set_seed(_number(key), reproducible=True)
        if rank := rank_distrib():  # each process has its own dropout, but the same order of texts
            torch.manual_seed(_number(f"{key} {rank}"))
        items = getattr(self.dls.train, "items", None)  # LMDataLoader shuffles the order of the epoch before
        if hasattr(items, "idxs"):
            items.idxs.items.sort()


def _number(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "little")


class Resume(Callback):
    """When resuming within an epoch, skips the finished batches, then restores the random and hidden states."""

    order = -30

    def __init__(self, checkpoint: Checkpoint):
        self.checkpoint = checkpoint

    def before_batch(self):
        if not self.training or self.checkpoint.within is None or self.epoch != self.history.first_epoch:
            return
        if self.iter < self.history.finished_batches:
            raise CancelBatchException
        restore_batch_state(self.model, self.checkpoint.within["state"])
        self.checkpoint.within = None


class History(Callback):
    """Collects one row per training step and per epoch. Saves a checkpoint after each epoch, and every `SAVE_EVERY`
    seconds within one. Cancels the fit if a loss is not finite.

    Losses and token counts stay on the device, and are read every `READ_EVERY` steps."""

    order = 65  # after Recorder and ParamScheduler

    def __init__(self, checkpoint: Checkpoint, phase: int, first_epoch: int, keep_best: bool):
        self.checkpoint, self.phase, self.first_epoch, self.keep_best = checkpoint, phase, first_epoch, keep_best
        self.epochs, self.steps = checkpoint.history, checkpoint.steps

    def before_fit(self):
        self.recorder.smooth_loss.accumulate = noop  # it would read every loss for a figure that is not shown

    def before_epoch(self):
        within = self.checkpoint.within if self.epoch == self.first_epoch else None
        self.tokens, self.earlier = (within["tokens"], within["seconds"]) if within else (0, 0.0)
        self.began = self.saved = time.monotonic()
        self.first_step = self.epochs[-1]["step"] if self.epochs else 0
        self.finished_batches = len(self.losses)
        self.unread, self.unread_tokens, self.due = [], 0, False
        self.trains = [any(p.requires_grad for p in group) for group in self.opt.param_lists]

    @property
    def losses(self) -> list[float]:
        """Training losses of the epoch's batches so far."""
        return [row["train_loss"] for row in self.steps[self.first_step :]]

    @property
    def seconds(self) -> float:
        """Seconds that the epoch has taken so far, including the time before an interruption."""
        return round(self.earlier + time.monotonic() - self.began, 3)

    def after_batch(self):
        if not self.training or self.iter < self.finished_batches:
            return
        rates = [float(h["lr"]) if trains else None for h, trains in zip(self.opt.hypers, self.trains)]
        row = {"step": len(self.steps) + len(self.unread) + 1, "phase": self.phase, "train_loss": self.loss.detach()}
        self.unread.append(row | {f"lr_{i}": rate for i, rate in enumerate(rates)})
        self.unread_tokens += (self.x != PAD_ID).sum()
        last = self.iter + 1 == self.n_iter
        if not last and len(self.unread) < READ_EVERY and not self.due:
            return
        self.due = self._read()
        # Not at the end of a pass of a `Repeated` loader, but a batch later: the next pass draws a random number first.
        batches_per_pass = len(getattr(self.dl, "dl", self.dl))
        if self.due and (self.iter + 1) % batches_per_pass:
            state = gathered(batch_state(self.model))
            self.checkpoint.save({"tokens": self.tokens, "seconds": self.seconds, "state": state})
            self.saved, self.due = time.monotonic(), False

    def _read(self) -> bool:
        """Move the unread rows to `steps`, with the mean loss of all processes. Returns whether a checkpoint is due."""
        due = self.loss.new_tensor(time.monotonic() - self.saved > SAVE_EVERY)  # of one process: then all save
        values = [*(row["train_loss"] for row in self.unread), self.unread_tokens, due]
        found = torch.stack([value.as_subclass(torch.Tensor).float() for value in values])
        found = maybe_gather(found).view(-1, len(values))
        *_, tokens, due = found.sum(dim=0).tolist()
        self.tokens += int(tokens)
        for row, loss in zip(self.unread, found.mean(dim=0).tolist()):
            self.steps.append(row | {"train_loss": loss})
            self._check(loss)
        self.unread, self.unread_tokens = [], 0
        return due > 0

    def after_epoch(self):
        if self.epoch < self.first_epoch:  # fastai also calls this for skipped epochs
            return
        names = ["valid_loss", *(f"valid_{m.name}" for m in self.learn.metrics)]
        losses = self.losses
        self.epochs.append(
            {
                "phase": self.phase,
                "epoch": self.epoch,
                "train_loss": sum(losses) / len(losses),  # fastai smooths its own over earlier epochs
                **dict(zip(names, map(float, self.recorder.values[-1][1:]))),
                "lr": float(self.opt.hypers[-1]["lr"]),
                "step": len(self.steps),
                "tokens": self.tokens,
                "seconds": self.seconds,
            }
        )
        self._check(self.epochs[-1]["valid_loss"])
        if self.keep_best and best_epoch(self.epochs) == len(self.epochs) - 1:
            self.checkpoint.best = {k: w.clone() for k, w in unwrapped(self.model).state_dict().items()}
        self.checkpoint.save()

    def _check(self, loss: float):
        """Cancel the fit unless the loss is finite. `train` raises the error, as fastai would reword it here."""
        self.last_loss = loss
        if not math.isfinite(loss):
            raise CancelFitException


class StopEarly(Callback):
    """Ends the last phase after the recipe's `patience` epochs without an improvement."""

    order = 90  # after all callbacks that use a finished epoch

    def __init__(self, training: Training):
        self.settings = training

    def after_epoch(self):
        if has_stopped_early(self.history.epochs, self.settings):
            print(f"stopped early; epoch {best_epoch(self.history.epochs) + 1} is kept", flush=True)
            raise CancelFitException


class TotalLoss(Callback):
    """Sums the loss over all tokens in validation; fastai's mean gives a short last batch the weight of a full one."""

    def before_validate(self):
        self.summed, self.tokens = 0.0, 0

    def after_batch(self):
        self.summed += float(self.learn.loss) * self.y.numel()
        self.tokens += self.y.numel()
