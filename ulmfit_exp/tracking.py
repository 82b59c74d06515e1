"""One way to Weights & Biases: a run a trained stage, offline unless the user is logged in. It can never stop a run."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

Mode = Literal["auto", "online", "offline", "disabled"]
PROJECT = "ulmfit"


class Tracker:
    """A W&B run, or nothing where W&B is missing, broken or disabled; whatever it raises is told once and dropped."""

    reachable = True  # until W&B's server did not answer this process

    def __init__(self, mode: Mode, home: Path, group: str, job_type: str, name: str, tags: list[str], config: dict):
        self.run, self.step, self.home = None, 0, home.resolve()
        if mode != "disabled":
            self._safely(lambda: self._init(mode, home, group, job_type, name, tags, config))

    def _init(self, mode, home, group, job_type, name, tags, config):
        import wandb

        self.wandb = wandb
        options = {
            "project": os.environ.get("WANDB_PROJECT", PROJECT),
            "dir": home,
            "group": group,
            "job_type": job_type,
            "name": name,
            "tags": tags,
            "config": config,
            "reinit": "create_new",  # else a run that broke before its end would be gone on with
            # By default an unreachable W&B holds a run up for 90 s at its start and for ever at its end.
            "settings": wandb.Settings(
                init_timeout=30, finish_timeout=60, silent=True, console="off", x_disable_stats=True
            ),
        }
        mode = _auto_mode(wandb) if mode == "auto" else mode
        if mode == "disabled":
            return
        try:
            self.run = wandb.init(mode=mode if Tracker.reachable else "offline", **options)
        except wandb.errors.CommError:
            Tracker.reachable = False
            warnings.warn("W&B cannot be reached; the run is recorded offline: see wandb sync", stacklevel=4)
            self.run = wandb.init(mode="offline", **options)
        self.run.define_metric("step")
        self.run.define_metric("*", step_metric="step")

    @property
    def path(self) -> str | None:
        """The run's folder below the home, for `wandb leet` and `wandb sync`."""
        folder = Path(self.run.dir).parent.resolve() if self.run else None
        return folder.relative_to(self.home).as_posix() if folder and folder.is_relative_to(self.home) else None

    def log_step(self, step: int, phase: int, loss: float, rates: list[float], frozen: int) -> None:
        """At a training step: the loss, and the rates of the lowest layer group that trains and of the top one."""
        self.step = step
        self._log({"train/loss": loss, "lr/top": rates[-1], "lr/lowest": rates[frozen], "phase": phase})

    def log_epoch(self, row: dict) -> None:
        """After an epoch: its metrics under `phase N/`, at the training step that it ended with."""
        self.step = row["step"]
        metrics = {k: v for k, v in row.items() if k not in ("phase", "epoch", "step", "tokens")}
        self._log({f"phase {row['phase']}/{k}": v for k, v in metrics.items()})

    def _log(self, values: dict) -> None:
        if self.run:
            self._safely(lambda: self.run.log({**values, "step": self.step}))

    def log_test(self, texts: list[str], truth: list[int], predicted: list[int], confidence, classes: list[str]):
        """A confusion matrix, and a table of test texts (cut at 500 characters, 1,000 rows) with what was predicted."""
        if self.run:
            self._safely(lambda: self._log_test(texts, truth, predicted, confidence, classes))

    def _log_test(self, texts, truth, predicted, confidence, classes):
        confusion = self.wandb.plot.confusion_matrix(y_true=truth, preds=predicted, class_names=classes)
        rows = zip((t[:500] for t in texts[:1000]), truth, predicted, confidence)
        table = self.wandb.Table(
            columns=["text", "label", "predicted", "confidence"],
            data=[[text, classes[y], classes[p], float(c)] for text, y, p, c in rows],
        )
        self.run.log({"test/confusion": confusion, "test/predictions": table, "step": self.step})

    def finish(self, summary: dict) -> None:
        """Close the run with these final figures."""
        if self.run:
            self._safely(lambda: (self.run.summary.update(summary), self.run.finish()))

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, kind, *_) -> None:
        """Where the stage was broken off, close the run as failed."""
        if self.run and kind:
            self._safely(lambda: self.run.finish(exit_code=1))

    def _safely(self, call: Callable) -> None:
        try:
            call()
        except Exception as e:  # whatever W&B raises, the run goes on
            self.run = None
            warnings.warn(f"Weights & Biases is left out of this run: {type(e).__name__}: {e}", stacklevel=3)


def _auto_mode(wandb) -> str:
    if mode := os.environ.get("WANDB_MODE"):
        return mode
    return "online" if wandb.login(prompt=False, verify=False) else "offline"
