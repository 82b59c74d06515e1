"""Progress on the terminal and in logs."""

import math
import time

from fastai.text.all import Callback, Learner, ProgressCallback, noop, rank_distrib
from tqdm.auto import tqdm

from ..record import metrics

REPORT_EVERY = 60
"""Seconds between progress lines within an epoch."""


def quiet(learn: Learner) -> Learner:
    """Remove fastai's progress bars and epoch lines from the learner and return it; `Progress` replaces them."""
    learn.remove_cb(ProgressCallback)
    learn.logger = noop
    return learn


class Progress(Callback):
    """Shows a progress bar over the batches on a terminal. In training it also prints a line per epoch and one every
    `REPORT_EVERY` seconds, for logs, which show no bar; the figures are from the callback `History`."""

    order = 70  # after History

    def __init__(self, epochs: int = 0):
        """`epochs` is the total number over all phases, or 0 outside training."""
        self.epochs, self.reported = epochs, time.monotonic()

    def before_train(self):
        split = "train" if self.training else "valid"
        description = f"{self._epoch(len(self.history.epochs) + 1)} {split}" if self.epochs else "predict"
        self.bar = tqdm(
            total=len(self.dl), desc=description, unit=" batches", leave=False, disable=rank_distrib() > 0 or None
        )

    def after_train(self):
        self.bar.close()

    before_validate, after_validate = before_train, after_train

    def _epoch(self, number: int) -> str:
        return f"epoch {number}/{self.epochs}"

    def after_batch(self):
        self.bar.update()
        due = self.epochs and self.training and time.monotonic() - self.reported > REPORT_EVERY
        if due and self.history.losses:  # no loss has been read in the first steps
            self.reported = time.monotonic()
            self._report()

    def _report(self):
        """Print a line on the progress within the epoch."""
        losses, tokens, seconds = self.history.losses, self.history.tokens, self.history.seconds
        loss = sum(losses[-100:]) / len(losses[-100:])
        perplexity = "" if self.metrics else f"  perplexity {math.exp(min(loss, 99)):.1f}"  # a classifier has metrics
        finished = len(self.history.epochs)
        epochs_left = self.epochs - finished - len(losses) / self.n_iter
        minutes_left = seconds * self.n_iter / len(losses) * epochs_left / 60
        self.bar.write(
            f"{self._epoch(finished + 1)} {len(losses) / self.n_iter:4.0%}  loss {loss:.3f}{perplexity}"
            f"  {tokens / seconds:,.0f} tokens/s  {minutes_left:.0f} min left"
        )

    def after_epoch(self):
        """Print the metrics of the finished epoch."""
        if not self.epochs or self.epoch < self.history.first_epoch:
            return
        row = self.history.epochs[-1]
        shown = "  ".join(f"{k} {v:.4f}" for k, v in metrics(row).items())
        print(f"{self._epoch(len(self.history.epochs))}  {shown}  {row['seconds']:.0f} s", flush=True)
