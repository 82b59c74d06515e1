"""Weights & Biases mirrors a run, and nothing it does or fails to do changes one."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from ulmfit_exp import machine
from ulmfit_exp.experiment import run
from ulmfit_exp.tracking import Tracker


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
    records = leet("--json", runs["clas forward"])
    for part in ("sfu-sentiment tiny", '"clas"', r["corpus"]["digest"], "versions", "train_size", "max_vocab", "fold"):
        assert part in records
    evaluation = leet("--json", runs["eval"])
    assert "confusion" in evaluation and "test/predictions" in evaluation


def broken(*args, **kwargs):
    raise RuntimeError("W&B is down")


def not_installed():
    raise PackageNotFoundError


@pytest.fixture(params=["missing", "init", "log", "finish"])
def broken_wandb(request, monkeypatch):
    import wandb

    if request.param == "missing":
        monkeypatch.setitem(sys.modules, "wandb", None)
        monkeypatch.setattr(machine, "version", lambda p: not_installed() if p == "wandb" else "1.0")
    elif request.param == "init":
        monkeypatch.setattr(wandb, "init", broken)
    else:
        monkeypatch.setattr(wandb.Run, request.param, broken)


@pytest.mark.filterwarnings("ignore:Weights & Biases is left out")
def test_a_broken_wandb_changes_no_figure(sfu, broken_wandb, tmp_path):
    a = record(replace(sfu, wandb="offline"))
    b = record(replace(sfu, wandb="disabled", home=tmp_path / "other"))
    assert a["test"] == b["test"] and a["valid"] == b["valid"] and a["stages"][-1]["wandb"] is None


def test_wandb_disabled_by_its_own_variable_leaves_no_run(sfu, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    r = record(replace(sfu, wandb="auto"))
    assert {s["wandb"] for s in r["stages"]} == {None} and not (sfu.home / "wandb").exists()


def test_a_run_that_broke_is_not_gone_on_with(tmp_path):
    first, second = (Tracker("offline", tmp_path, "g", "lm", name, [], {}) for name in ("a", "b"))
    assert first.path and second.path and first.path != second.path
    first.finish({}), second.finish({})


def test_after_a_kill_the_epochs_before_it_keep_their_steps(tmp_path):
    track = Tracker("offline", tmp_path, "g", "lm", "n", [], {})
    for epoch in range(2):
        track.log_epoch({"phase": 0, "epoch": epoch, "step": 10 * (epoch + 1), "tokens": 5, "valid_loss": 1.0})
    track.log_step(21, 0, 3.5, [0.1, 0.2], 0)
    assert track.step == 21
    track.finish({})
