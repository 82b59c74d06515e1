"""The checkpoint of a training: everything that is needed to resume it after a kill.

torch is imported where it is used, since runs/store.py needs the file's name alone.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from ..common import replacing

if TYPE_CHECKING:
    from fastai.text.all import AWD_LSTM, Learner

CHECKPOINT = "checkpoint.pt"


class Checkpoint:
    """Model, optimizer and history after an epoch or within one, in one file that is complete or absent."""

    def __init__(self, path: Path, learn: "Learner"):
        self.path, self.learn = path, learn
        self.best: dict | None = None
        """Weights of the best epoch, if early stopping is to keep them."""

    def save(self, history: list[dict], within: dict | None = None) -> None:
        """`within` is the position within an unfinished epoch."""
        import torch

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
        """Load the saved weights into the model; (history, optimizer state, position within an unfinished epoch)."""
        import torch

        if not self.path.exists():
            return [], None, None
        device = next(self.learn.model.parameters()).device
        saved = torch.load(self.path, map_location=device, weights_only=True)
        self.learn.model.load_state_dict(saved["model"])
        self.best = saved["best"]
        where = f" and {len(saved['within']['losses'])} batches" if saved["within"] else ""
        print(f"resuming after epoch {len(saved['history'])}{where}", flush=True)
        return saved["history"], saved["optimizer"], saved["within"]


def random_state() -> dict:
    """torch's random states; no other generator is used within an epoch."""
    import torch

    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: dict) -> None:
    """Restore what `random_state` returned."""
    import torch

    torch.set_rng_state(state["cpu"].cpu())
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"].cpu())


def hidden_layers(model) -> "AWD_LSTM":
    """The AWD_LSTM of a language model or classifier; it carries its hidden state from batch to batch."""
    return getattr(model[0], "module", model[0])
