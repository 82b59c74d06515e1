"""The state of a training so far, in one file from which it resumes after being killed."""

import io
from pathlib import Path
from zipfile import ZipFile

import torch
from fastai.text.all import AWD_LSTM, Learner, rank_distrib

from ..common import replacing
from .distributed import own_state

CHECKPOINT = "checkpoint.pt"


class Checkpoint:
    """The metrics of a training so far, saved with the learner's weights and optimizer in a file written atomically."""

    def __init__(self, path: Path, learn: Learner):
        self.path, self.learn = path, learn
        self.history: list[dict] = []
        """One row per epoch."""
        self.steps: list[dict] = []
        """One row per training step."""
        self.best: dict | None = None
        """Weights of the best epoch, if early stopping keeps them."""
        self.optimizer: dict | None = None
        """State of the optimizer, as loaded."""
        self.within: dict | None = None
        """Position within an unfinished epoch, as loaded: tokens and seconds so far, and the state of `batch_state`."""

    def save(self, within: dict | None = None) -> None:
        """Write the file, after an epoch or `within` one. Only the first of several processes writes it."""
        if rank_distrib():
            return
        opt = self.learn.opt
        hypers = [{k: float(v) if isinstance(v, float) else v for k, v in h.items()} for h in opt.hypers]
        state = {
            "model": unwrapped(self.learn.model).state_dict(),
            "best": self.best,
            "optimizer": {**opt.state_dict(), "hypers": hypers},
            "history": self.history,
            "steps": self.steps,
            "within": within,
        }
        saved = io.BytesIO()  # a full disk then raises OSError; torch's own writer hides it
        torch.save(state, saved)
        with replacing(self.path) as part:
            part.write_bytes(saved.getbuffer())

    def load(self) -> None:
        """Restore the saved state and the model's weights. A file that cannot be read is reported and ignored."""
        if not self.path.exists():
            return
        data = self.path.read_bytes()  # a file-system error does not mean damage: it ends the run
        try:
            saved = self._parsed(data)
        except Exception as e:  # zip, pickle and torch each raise their own errors
            reason = str(e).partition("\n")[0]
            print(f"{self.path} cannot be read ({type(e).__name__}: {reason}); training starts again", flush=True)
            return
        if saved["within"]:
            saved["within"]["state"] = own_state(saved["within"]["state"])
        self.learn.model.load_state_dict(saved.pop("model"))
        vars(self).update(saved)
        batches = len(self.steps) - (self.history[-1]["step"] if self.history else 0)
        where = f" and {batches} batches" if self.within else ""
        print(f"resuming after epoch {len(self.history)}{where}", flush=True)

    def _parsed(self, data: bytes) -> dict:
        with ZipFile(io.BytesIO(data)) as file:
            if changed := file.testzip():  # torch does not compare checksums
                raise ValueError(f"{changed} does not match its checksum")
        device = next(self.learn.model.parameters()).device
        saved = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
        return {k: saved[k] for k in ("model", "best", "optimizer", "history", "steps", "within")}


def batch_state(model) -> dict:
    """Return what affects the next batch besides weights and optimizer: torch's random and the LSTMs' hidden states."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    layers = _awd_lstm(model)
    return {"cpu": torch.get_rng_state(), "cuda": cuda, "hidden": {"hidden": layers.hidden, "bs": layers.bs}}


def restore_batch_state(model, state: dict) -> None:
    """Restore the state that `batch_state` returned."""
    torch.set_rng_state(state["cpu"].cpu())
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
    vars(_awd_lstm(model)).update(state["hidden"])


def unwrapped(model):
    """Return the model without its wrapper for training in several processes."""
    return getattr(model, "module", model)


def _awd_lstm(model) -> AWD_LSTM:
    """Return the encoder of a language model or classifier, which carries its hidden state from batch to batch."""
    model = unwrapped(model)
    return getattr(model[0], "module", model[0])
