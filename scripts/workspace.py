"""Create a W&B workspace for these experiments, and a W&B report on the paper's variants.

    ulmfit-exp workspace --entity YOU
    ulmfit-exp workspace --dry-run            only write what would be created

This needs a login (wandb login). Without one it writes what it would have created to runs/workspace.json.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path

import wandb
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from ulmfit_exp.cli import command, import_part

paper = import_part("experiments.paper.tables")


def curve(key: str, title: str, x: str = "step"):
    """Return a panel of one metric, with a line per group and the spread over its seeds and folds."""
    return wr.LinePlot(title=title, x=x, y=[key], groupby_aggfunc="mean", groupby_rangefunc="stddev")


def bars(key: str, title: str):
    """Return a panel of one final metric, with a bar per group and the spread over its seeds and folds."""
    return wr.BarPlot(title=title, metrics=[key], groupby_aggfunc="mean", groupby_rangefunc="stddev")


def sections() -> dict[str, list]:
    """Return section -> panels of the workspace."""
    groups = [f"lr/group_{i}" for i in range(5)]
    return {
        "final metrics": [bars("test/error", "test error"), bars("valid/error", "valid error")],
        "classifier and language model": [
            curve("valid_error_rate", "valid error by training step"),
            curve("valid_loss", "valid loss by training step"),
            curve("train/loss", "loss of the batch"),
        ],
        "learning rates and unfreezing": [
            wr.LinePlot(title="learning rate of each layer group, the lowest first", x="step", y=groups),
            curve("lr/frozen_groups", "number of frozen layer groups"),
        ],
        "phases": [curve(f"phase_{i}/valid_loss", f"phase {i}", f"phase_{i}/epoch") for i in range(7)],
        "mistakes": [wr.MediaBrowser(media_keys=["test/predictions", "test/classes"])],
    }


def workspace(entity: str, project: str) -> ws.Workspace:
    """Return a workspace of all runs by group and job type, with the panels of `sections`."""
    return ws.Workspace(
        name="ULMFiT",
        entity=entity,
        project=project,
        sections=[ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections().items()],
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Metric("Group"), ws.Metric("JobType")],
            pinned_columns=["summary:test/error", "summary:valid/error"],
        ),
    )


def report(entity: str, project: str) -> wr.Report:
    """Return a report with a chapter for each of the paper's tables and figures, on the runs tagged with its name."""
    blocks = [wr.TableOfContents()]
    for name in paper.NAMES:
        module = paper.module(name)
        tagged = ws.And(ws.Tags().isin([name]))
        runs = wr.Runset(name=name, filters=tagged, groupby=["Group"])  # the project defaults to the report's
        panels = [bars("test/error", "test error"), bars("valid/error", "valid error")]
        panels.append(curve("valid_error_rate", "valid error of the classifiers by training step"))
        made_by = wr.P(["Runs of ", wr.InlineCode(f"ulmfit-exp paper {name} --wandb online")])
        text = wr.MarkdownBlock(module.__doc__.strip())
        blocks += [wr.H2(module.TITLE), text, made_by, wr.PanelGrid(runsets=[runs], panels=panels)]
    about = "Each variant is a group; the spread is over seeds and folds."
    return wr.Report(project, entity, title="ULMFiT: the paper's variants", description=about, blocks=blocks)


def main(
    entity: str | None = None,
    project: str | None = None,
    out: Path = Path("runs/workspace.json"),
    dry_run: bool = False,
) -> None:
    """Create the workspace and the report, or write to a file what would be created.

    Args:
        entity: User or team at W&B (default: your own).
        project: W&B project (default: $WANDB_PROJECT, or that of the runs).
        out: File to write without a login.
        dry_run: Only write the file.
    """
    from ulmfit_exp.runs.tracking import PROJECT  # imported late: torch would slow down --help

    project = project or os.environ.get("WANDB_PROJECT", PROJECT)
    if not dry_run and wandb.login(prompt=False, verify=False):
        entity = entity or wandb.Api().default_entity
        print(workspace(entity, project).save().url)
        print(report(entity, project).save().url)
        return
    made = {f.__name__: asdict(f(entity or "YOU", project)) for f in (workspace, report)}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(made, indent=1, default=str) + "\n", encoding="utf-8")
    why = "nothing is created" if dry_run else "you are not logged in to W&B (wandb login), so nothing is created"
    print(f"{why}; what would be created is in {out}")


if __name__ == "__main__":
    command("workspace", main)
