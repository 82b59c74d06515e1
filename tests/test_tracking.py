"""Weights & Biases mirrors a run, and nothing it does or fails to do changes one."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ulmfit_exp.experiment import run


def record(settings) -> dict:
    return json.loads(run(settings).read_text())


def leet(*args) -> str:
    wandb = Path(sys.executable).with_name("wandb")
    return subprocess.run(
        [wandb, "leet", "inspect", *map(str, args)], capture_output=True, text=True, check=True
    ).stdout


def test_offline_runs_show_the_phases_in_wandbs_own_tool(sfu):
    r = record(replace(sfu, wandb="offline"))
    runs = {s["name"]: sfu.home / s["wandb"] for s in r["stages"] if s["wandb"]}
    assert set(runs) == {"lm forward", "clas forward", "eval"}
    summary = leet("--summary", runs["clas forward"])
    for key in ("phase 0/valid_loss", "phase 1/valid_error_rate", "lr/top", "lr/lowest"):
        assert key in summary
    assert "test/error" in leet("--summary", runs["eval"])
    records = leet("--json", runs["lm forward"])
    for part in ("sfu-sentiment tiny", '"lm"', "digest", r["corpus"]["digest"], "versions"):
        assert part in records
    evaluation = leet("--json", runs["eval"])
    assert "confusion" in evaluation and "test/predictions" in evaluation


def broken(*args, **kwargs):
    raise RuntimeError("W&B is down")


@pytest.fixture(params=["missing", "init", "log", "finish"])
def broken_wandb(request, monkeypatch):
    import wandb

    if request.param == "missing":
        monkeypatch.setitem(sys.modules, "wandb", None)
    elif request.param == "init":
        monkeypatch.setattr(wandb, "init", broken)
    else:
        monkeypatch.setattr(wandb.Run, request.param, broken)


@pytest.mark.filterwarnings("ignore:Weights & Biases is left out")
def test_a_broken_wandb_changes_no_figure(sfu, broken_wandb, tmp_path):
    a = record(replace(sfu, wandb="offline"))
    b = record(replace(sfu, wandb="disabled", home=tmp_path / "other"))
    assert a["test"] == b["test"] and a["valid"] == b["valid"] and a["stages"][-1]["wandb"] is None
