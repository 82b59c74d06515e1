"""Progress of a training or prediction on the terminal and in logs."""

import math
import time

from fastai.text.all import Callback, Learner, ProgressCallback, noop
from tqdm.auto import tqdm

TELL_EVERY = 60
"""Seconds between lines of progress within an epoch."""


def quiet(learn: Learner) -> Learner:
    """The learner without fastai's own progress bars and epoch lines; `Progress` takes their place."""
    learn.remove_cb(ProgressCallback)
    learn.logger = noop
    return learn


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
