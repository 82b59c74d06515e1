"""A W&B workspace for these experiments, and a report that compares the paper's variants. For users who are logged in.

python scripts/workspace.py --entity YOU
python scripts/workspace.py --dry-run            only write what would be created

Without a login it says so, and writes what it would have created to runs/workspace.json.
"""

import json
import os
from importlib import import_module
from pathlib import Path

import tyro
import wandb
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from experiments.paper.tables import NAMES
from ulmfit_exp.runs.tracking import PROJECT


def curve(key: str, title: str, x: str = "step"):
    """A panel of one metric, a line a group with the spread of its seeds and folds."""
    return wr.LinePlot(title=title, x=x, y=[key], groupby_aggfunc="mean", groupby_rangefunc="stddev")


def bars(key: str, title: str):
    """A panel of one final figure, a bar a group."""
    return wr.BarPlot(title=title, metrics=[key], groupby_aggfunc="mean", groupby_rangefunc="stddev")


def sections() -> dict[str, list]:
    """The workspace's panels by section."""
    groups = [f"lr/group {i}" for i in range(5)]
    return {
        "figures": [bars("test/error", "test error"), bars("valid/error", "valid error")],
        "classifier and language model": [
            curve("valid_error_rate", "valid error by training step"),
            curve("valid_loss", "valid loss by training step"),
            curve("train/loss", "loss of the batch"),
        ],
        "rates and unfreezing": [
            wr.LinePlot(title="rate of each layer group, the lowest first", x="step", y=groups),
            curve("lr/frozen groups", "layer groups that are frozen"),
        ],
        "phases": [curve(f"phase {i}/valid_loss", f"phase {i}", f"phase {i}/epoch") for i in range(5)],
        "mistakes": [wr.MediaBrowser(media_keys=["test/predictions", "test/classes"])],
    }


def workspace(entity: str, project: str) -> ws.Workspace:
    """Every run in its group, with the panels above."""
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
    """A chapter for each of the paper's tables and figures: the runs that `experiments.paper` tagged with its name."""
    blocks = [wr.TableOfContents()]
    for name in NAMES:
        module = import_module(f"experiments.paper.{name}")
        tagged = ws.And(ws.Tags().isin([name]))
        runs = wr.Runset(name=name, filters=tagged, groupby=["Group"])  # without a project it is the report's own
        panels = [bars("test/error", "test error"), bars("valid/error", "valid error")]
        panels.append(curve("valid_error_rate", "valid error of the classifiers by training step"))
        command = wr.P(["Runs of ", wr.InlineCode(f"python -m experiments.paper {name} --wandb online")])
        text = wr.MarkdownBlock(module.__doc__.strip())
        blocks += [wr.H2(module.TITLE), text, command, wr.PanelGrid(runsets=[runs], panels=panels)]
    about = "Each variant is a group; the spread is over seeds and folds."
    return wr.Report(project, entity, title="ULMFiT: the paper's variants", description=about, blocks=blocks)


def as_json(made) -> dict:
    """What would be sent to W&B."""
    return made._to_model().model_dump(mode="json", by_alias=True)


def main(
    entity: str | None = None,
    project: str = os.environ.get("WANDB_PROJECT", PROJECT),
    out: Path = Path("runs/workspace.json"),
    dry_run: bool = False,
) -> None:
    """Create the workspace and the report, or write what they would be.

    Args:
        entity: User or team at W&B (default: your own).
        project: W&B project.
        out: Where to write them if there is no login.
        dry_run: Only write them.
    """
    login = not dry_run and wandb.login(prompt=False, verify=False)
    if login:
        entity = entity or wandb.Api().default_entity
        print(workspace(entity, project).save().url)
        print(report(entity, project).save().url)
        return
    made = {f.__name__: as_json(f(entity or "YOU", project)) for f in (workspace, report)}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    why = "nothing is created" if dry_run else "you are not logged in to W&B (wandb login), so nothing is created"
    print(f"{why}; what would be is in {out}")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__, config=(tyro.conf.FlagCreatePairsOff,))
