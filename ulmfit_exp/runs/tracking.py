"""One way to Weights & Biases: a run a trained stage, offline unless the user is logged in. It can never stop a run.

What is logged, and over which axis W&B draws it:

    over `step`             train/loss, phase; lr/group 0 (the lowest) ..., 0 while a group is frozen; lr/frozen groups
    over `step`, by epoch   train_loss, valid_loss, valid_error_rate: the whole training in one curve
    over `phase N/epoch`    phase N/valid_loss ...: each phase by itself
    of an evaluation        test/confusion, test/classes, test/predictions, and every figure in the summary

A sweep's process has one run alone, since `wandb agent` gives it one: see `log_sweep`.
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from .store import CHECKPOINT

Mode = Literal["auto", "online", "offline", "disabled"]
PROJECT = "ulmfit"
TEXTS, CHARACTERS = 1_000, 500
"""Size of the table of predictions: rows, and characters of a text."""
CLASSES = 50
"""W&B draws no legible confusion matrix of more, and it has their square as rows."""


class Tracker:
    """A W&B run, or nothing where W&B is missing, broken or disabled; whatever it raises is told once and dropped."""

    reachable = True  # until W&B's server did not answer this process

    def __init__(
        self,
        mode: Mode,
        home: Path,
        group: str,
        job_type: str,
        name: str,
        tags: list[str],
        config: dict,
        artifacts: bool = False,
    ):
        """`artifacts` keeps the stage's folder as an artifact when the run finishes."""
        self.run, self.step, self.home = None, 0, home.resolve()
        self.phases, self.artifacts, self.job_type = set(), artifacts, job_type
        if mode != "disabled" and in_sweep() == (job_type == "sweep"):
            self._safely(lambda: self._init(mode, home, group, job_type, name, tags, config))

    def _init(self, mode, home, group, job_type, name, tags, config):
        os.environ.setdefault("WANDB_DATA_DIR", str(self.home / "wandb"))  # else W&B keeps copies in the user's home
        import wandb

        self.wandb = wandb
        options = {
            "project": os.environ.get("WANDB_PROJECT", PROJECT),
            "dir": home,
            "group": group,
            "job_type": job_type,
            "name": name,
            "tags": [tag[:64] for tag in tags if tag],  # W&B refuses an empty or longer one
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
        for key in ("train/*", "lr/*", "train_loss", "valid_*", "phase"):
            self.draw(key, over="step")

    def draw(self, key: str, over: str) -> None:
        """Give a metric, or all that begin so, its x axis."""
        if self.run:
            self._safely(lambda: self.run.define_metric(key, step_metric=over))

    @property
    def path(self) -> str | None:
        """The run's folder below the home, for `wandb leet` and `wandb sync`."""
        folder = Path(self.run.dir).parent.resolve() if self.run else None
        return folder.relative_to(self.home).as_posix() if folder and folder.is_relative_to(self.home) else None

    def log_step(self, step: int, phase: int, loss: float, rates: list[float], trains: list[bool]) -> None:
        """At a training step: the loss, and the rate of each layer group; `trains` says which are not frozen."""
        self.step = step
        lr = {f"lr/group {i}": rate if on else 0.0 for i, (rate, on) in enumerate(zip(rates, trains))}
        self._log({"train/loss": loss, **lr, "lr/frozen groups": trains.count(False), "phase": phase})

    def log_epoch(self, row: dict) -> None:
        """After an epoch: its metrics at the training step that it ended with, and under `phase N/` at its epoch."""
        self.step, phase = row["step"], f"phase {row['phase']}"
        if phase not in self.phases:
            self.phases.add(phase)
            self.draw(f"{phase}/*", over=f"{phase}/epoch")
        self._log(epoch_metrics(row))

    def _log(self, values: dict) -> None:
        if self.run:
            self._safely(lambda: self.run.log({**values, "step": self.step}))

    def log_test(
        self, texts: list[str], truth: list[int], predicted: list[int], confidence, per_class: dict[str, dict]
    ) -> None:
        """A confusion matrix, what is wrong by class, and the predictions: mistakes first, the surest of all first."""
        if self.run:
            self._safely(lambda: self._log_test(texts, truth, predicted, confidence, per_class))

    def _log_test(self, texts, truth, predicted, confidence, per_class):
        classes, table = list(per_class), self.wandb.Table
        order = sorted(range(len(texts)), key=lambda i: (truth[i] == predicted[i], -confidence[i]))[:TEXTS]
        rows = [[texts[i][:CHARACTERS], classes[truth[i]], classes[predicted[i]], float(confidence[i])] for i in order]
        by_class = [[c, f["n"], 1 - f["recall"], f["precision"], f["recall"]] for c, f in per_class.items()]
        tables = {
            "test/predictions": table(columns=["text", "label", "predicted", "confidence"], data=rows),
            "test/classes": table(columns=["class", "texts", "error", "precision", "recall"], data=by_class),
        }
        if len(classes) <= CLASSES:
            plot = self.wandb.plot.confusion_matrix(y_true=truth, preds=predicted, class_names=classes)
            tables["test/confusion"] = plot
        self.run.log({**tables, "step": self.step})

    def finish(self, summary: dict, folder: Path | None = None) -> None:
        """Close the run with these final figures; with `artifacts`, keep what is in the stage's `folder`."""
        if self.run and folder and self.artifacts:
            self._safely(lambda: self._log_folder(folder))
        if self.run:
            self._safely(lambda: (self.run.summary.update(summary), self.run.finish()))

    def _log_folder(self, folder: Path) -> None:
        artifact = self.wandb.Artifact(folder.name, type=self.job_type)
        for path in sorted(p for p in folder.iterdir() if p.name != CHECKPOINT):
            artifact.add_file(str(path))
        self.run.log_artifact(artifact)

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, kind, *_) -> None:
        """Where the stage was broken off, close the run as failed."""
        if self.run and kind:
            self._safely(lambda: self.run.finish(exit_code=1))

    def _safely(self, call: Callable) -> None:
        try:
            call()
        except (Exception, SystemExit) as e:  # whatever W&B raises, the run goes on
            self.run = None
            warnings.warn(f"Weights & Biases is left out of this run: {type(e).__name__}: {e}", stacklevel=3)


def epoch_metrics(row: dict) -> dict:
    """An epoch of a history under the names by which it is logged: of the whole training, and of its phase."""
    metrics = {k: v for k, v in row.items() if k.startswith(("train", "valid"))}
    of_phase = {**metrics, "epoch": row["epoch"] + 1, "seconds": row.get("seconds", 0.0)}
    return metrics | {f"phase {row['phase']}/{k}": v for k, v in of_phase.items()}


def in_sweep() -> bool:
    """Was this process started by `wandb agent`?"""
    return "WANDB_SWEEP_ID" in os.environ


def log_sweep(track: Tracker, record: dict) -> None:
    """The run that a sweep ranks: each stage's epochs, and the valid figures alone, since they choose the settings."""
    for stage, history in record["history"].items():
        track.draw(f"{stage}/*", over="step")
        for row in history:
            track.step = row["step"]
            track._log({f"{stage}/{k}": v for k, v in row.items() if k.startswith(("train", "valid"))})
    track.finish({f"valid/{k}": v for k, v in record.get("valid", {}).items()})


def _auto_mode(wandb) -> str:
    if mode := os.environ.get("WANDB_MODE"):
        return mode
    return "online" if wandb.login(prompt=False, verify=False) else "offline"
