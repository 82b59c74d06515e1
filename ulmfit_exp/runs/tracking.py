"""Weights & Biases: one run per stage, offline unless the user is logged in. It never stops or changes a stage.

What is logged, and the x axis on which W&B draws it:

    over `step`             train/loss, phase; lr/group_0 (the lowest) ..., 0 while a group is frozen; lr/frozen_groups
    over `step`, by epoch   train_loss, valid_loss, valid_error_rate: the whole training in one curve
    over `phase_N/epoch`    phase_N/valid_loss ...: each phase separately
    for an evaluation       test/error ..., test/confusion, test/classes, test/predictions
    in the summary          for a training valid_loss.min ..., and kept/valid_loss of the epoch that is kept; for an
                            evaluation test/error ..., forward/test/error ..., baseline/error

In a sweep, `wandb agent` gives each process a single run; only `log_sweep` logs to it.
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex

import pandas as pd
from fastai.text.all import Callback

from ..method.checkpoint import CHECKPOINT
from ..record import metrics
from .settings import Command

PROJECT = "ulmfit"
TEXTS, CHARACTERS = 1_000, 500
"""Largest size of the table of predictions: rows, and characters per text."""
NO_MACHINE = {"x_save_requirements": False, "host": "-", "program": "-"} | dict.fromkeys(
    ("x_disable_stats", "x_disable_meta", "x_disable_machine_info", "disable_git", "disable_code"), True
)
"""Settings that keep W&B from recording the command's arguments, paths and the host name."""
YES = ("1", "true", "yes", "on")
"""Values of WANDB_DISABLED, which W&B 0.31 does not read any more, that switch it off."""
CLASSES = 50
"""Most classes of a confusion matrix: W&B's plot has the square of their number as rows, and is illegible with more."""


class Tracker(Callback):
    """A W&B run for a stage, and the fastai callback that logs its training. Nothing is logged without W&B, or after an
    error in it, which is reported once as a warning."""

    order = 66  # after History, whose rows are logged
    reachable = True  # False after W&B's server has failed to answer this process

    def __init__(self, command: Command, job_type: str, name: str, tags: list[str], config: dict):
        self.wandb_run, self.command, self.home, self.job_type = None, command, command.home.resolve(), job_type
        self.logged_steps = self.logged_epochs = 0
        if command.wandb != "disabled" and in_sweep() == (job_type == "sweep"):
            options = {"job_type": job_type, "name": name, "tags": tags, "config": config}
            self._safely(lambda: self._init(options), opening=True)

    def _init(self, options: dict) -> None:
        os.environ.setdefault("WANDB_DATA_DIR", str(self.home / "wandb"))  # else W&B keeps copies in the user's home
        import wandb

        self.wandb, mode = wandb, self.command.wandb
        if mode == "auto":
            mode = "disabled" if os.environ.get("WANDB_DISABLED", "").lower() in YES else os.environ.get("WANDB_MODE")
            mode = mode or wandb.setup().settings.mode  # of `wandb disabled` or `wandb offline` in this folder
            if mode == "online" and not wandb.login(prompt=False, verify=False):
                mode = "offline"
        if mode == "disabled":
            return
        options |= {
            "id": None if in_sweep() else token_hex(4),  # WANDB_RUN_ID is the id of a sweep's run, not of each stage
            "dir": self.command.home,
            "group": self.command.group,
            "project": os.environ.get("WANDB_PROJECT", PROJECT),
            "tags": [tag[:64] for tag in options["tags"] if tag],  # W&B rejects empty and longer tags
            "reinit": "create_new",  # else it would continue a run that failed
            # By default an unreachable W&B delays a run by 90 s at its start and for ever at its end.
            "settings": wandb.Settings(init_timeout=30, finish_timeout=60, silent=True, console="off", **NO_MACHINE),
        }
        try:
            self.wandb_run = wandb.init(mode=mode if Tracker.reachable else "offline", **options)
        except wandb.errors.CommError:
            Tracker.reachable = False
            warnings.warn("W&B cannot be reached; the run is recorded offline: see wandb sync", stacklevel=4)
            self.wandb_run = wandb.init(mode="offline", **options)
        for key in ("train/*", "lr/*", "train_loss", "phase"):
            self.define_axis(key, over="step")
        self.define_axis("valid_*", over="step", summary="min")

    def define_axis(self, key: str, over: str, summary: str | None = None) -> None:
        """Set the x axis of a metric, or of all that match a pattern, and how W&B's table of runs summarises it."""
        self._safely(lambda: self.wandb_run.define_metric(key, step_metric=over, summary=summary))

    @property
    def path(self) -> str | None:
        """Path of the W&B run's folder, relative to the home, for `wandb leet` and `wandb sync`."""
        folder = Path(self.wandb_run.dir).parent.resolve() if self.wandb_run else None
        return folder.relative_to(self.home).as_posix() if folder and folder.is_relative_to(self.home) else None

    def after_batch(self):
        self.log_new(self.history.steps, self.history.epochs)

    after_epoch = after_cancel_fit = after_batch

    def log_new(self, steps: list[dict], epochs: list[dict]) -> None:
        """Log the training steps and epochs not logged yet; in a resumed training, also those before it was killed."""
        new = [*steps[self.logged_steps :], *epochs[self.logged_epochs :]]
        self.logged_steps, self.logged_epochs = len(steps), len(epochs)
        for row in sorted(new, key=lambda row: row["step"]):
            self._log_epoch(row) if "epoch" in row else self.log(step_metrics(row))

    def _log_epoch(self, row: dict) -> None:
        if not row["epoch"]:
            self.define_axis(f"phase_{row['phase']}/*", over=f"phase_{row['phase']}/epoch")
        self.log({**epoch_metrics(row), "step": row["step"]})

    def log(self, values: dict) -> None:
        """Log a row of metrics, with the `step` over which they are drawn."""
        self._safely(lambda: self.wandb_run.log(values))

    def log_test(self, rows: pd.DataFrame, per_class: dict[str, dict], with_confusion: bool) -> None:
        """Log the metrics of each class, a confusion matrix, and the predictions, the most confident mistakes first."""
        self._safely(lambda: self._log_test(rows, per_class, with_confusion))

    def _log_test(self, rows, per_class, with_confusion):
        classes, table = list(per_class), self.wandb.Table
        names = ["row", *["text"] * self.command.log_texts, "label", "predicted", "confidence"]
        shown = rows.assign(right=rows["label"] == rows["predicted"], row=rows["row"].map(str))
        shown = shown.sort_values(["right", "confidence"], ascending=[True, False])[names].head(TEXTS)
        if self.command.log_texts:
            shown["text"] = shown["text"].str[:CHARACTERS]
        by_class = [[c, f["n"], 1 - f["recall"], f["precision"], f["recall"]] for c, f in per_class.items()]
        tables = {
            "test/predictions": table(columns=names, data=shown.to_numpy(object).tolist()),
            "test/classes": table(columns=["class", "texts", "error", "precision", "recall"], data=by_class),
        }
        if with_confusion and len(classes) <= CLASSES:
            truth, predicted = (rows[k].map(classes.index).tolist() for k in ("label", "predicted"))
            plot = self.wandb.plot.confusion_matrix(y_true=truth, preds=predicted, class_names=classes)
            tables["test/confusion"] = plot
        self.log({**tables, "step": 0})

    def finish(self, summary: dict, folder: Path | None = None) -> None:
        """Close the W&B run with these final metrics; with `log_artifacts`, keep the files of the `folder`."""
        if folder and self.command.log_artifacts:
            self._safely(lambda: self._log_folder(folder))
        self._safely(lambda: (self.wandb_run.summary.update(summary), self.wandb_run.finish()))

    def _log_folder(self, folder: Path) -> None:
        artifact = self.wandb.Artifact(folder.name, type=self.job_type)
        left_out = (CHECKPOINT, *([] if self.command.log_texts else ["mistakes.json"]))
        for path in sorted(p for p in folder.iterdir() if p.name not in left_out):
            artifact.add_file(str(path))
        self.wandb_run.log_artifact(artifact)

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, kind, *_) -> None:
        """If the stage failed, close the W&B run as failed."""
        if kind:
            self._safely(lambda: self.wandb_run.finish(exit_code=1))

    def _safely(self, call: Callable, opening: bool = False) -> None:
        """Make a call of an open W&B run, or the one that opens it; after an error in W&B there is no open run."""
        if not (self.wandb_run or opening):
            return
        try:
            call()
        except (Exception, SystemExit) as e:  # whatever W&B raises, the stage continues
            self.wandb_run = None
            warnings.warn(f"Weights & Biases is left out of this run: {type(e).__name__}: {e}", stacklevel=3)


def step_metrics(row: dict) -> dict:
    """Return a training step's metrics by their logged names; the learning rate of a frozen layer group is 0."""
    rates = [v for k, v in row.items() if k.startswith("lr_")]
    groups = {f"lr/group_{i}": rate or 0.0 for i, rate in enumerate(rates)}
    frozen = {"lr/frozen_groups": rates.count(None)}
    return {"train/loss": row["train_loss"], **groups, **frozen, "phase": row["phase"], "step": row["step"]}


def epoch_metrics(row: dict) -> dict:
    """Return an epoch's metrics by their logged names, for the whole training and for its phase."""
    of_phase = {**metrics(row), "epoch": row["epoch"] + 1, "seconds": row.get("seconds", 0.0)}
    return metrics(row) | {f"phase_{row['phase']}/{k}": v for k, v in of_phase.items()}


def in_sweep() -> bool:
    """Return whether this process was started by `wandb agent`."""
    return "WANDB_SWEEP_ID" in os.environ


def log_sweep(tracker: Tracker, record: dict) -> None:
    """Log the run that a sweep ranks: each stage's epochs, and only the validation metrics, because they choose the
    settings."""
    for name, history in record["history"].items():
        stage = name.replace(" ", "_")
        tracker.define_axis(f"{stage}/*", over="step")
        for row in history:
            tracker.log({f"{stage}/{k}": v for k, v in metrics(row).items()} | {"step": row["step"]})
    tracker.finish({f"valid/{k}": v for k, v in record.get("valid", {}).items()})
