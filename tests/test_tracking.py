"""Weights & Biases mirrors a run, and nothing it does or fails to do changes one."""

import json
import re
import runpy
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from conftest import FORWARD, QUIET, TINY
from fastai.text.all import Callback

from experiments.own_csv import OwnCsv
from experiments.paper.base import with_clas
from experiments.paper.tables import NAMES, cells, labelled
from experiments.sfu import Sfu
from ulmfit_exp.api import OfCorpus
from ulmfit_exp.cli import run
from ulmfit_exp.method import machine
from ulmfit_exp.method.training import train
from ulmfit_exp.runs.run import prepare
from ulmfit_exp.runs.tracking import Tracker

ROOT = Path(__file__).parents[1]


def record(settings) -> dict:
    return json.loads(run(settings).read_text())


def leet(*args) -> str:
    wandb = Path(sys.executable).with_name("wandb")
    return subprocess.run(
        [wandb, "leet", "inspect", *map(str, args)], capture_output=True, text=True, check=True
    ).stdout


def a_tracker(home: Path, job_type: str, **settings) -> Tracker:
    return Tracker(Sfu(**{"home": home, "wandb": "offline", **settings}), job_type, "name", [], {})


@dataclass(frozen=True)
class Seen:
    """An offline run as W&B's own tool has it."""

    run: dict
    history: list[dict]
    axes: dict[str, str]
    """Metric -> the metric it is drawn over."""
    artifacts: dict[str, set[str]]
    """Name -> files."""
    summary: dict
    folder: Path

    def table(self, name: str) -> list[dict]:
        (path,) = (self.folder / "files/media/table/test").glob(f"{name}_*")
        found = json.loads(path.read_text())
        return [dict(zip(found["columns"], row)) for row in found["data"]]


def see(folder: Path) -> Seen:
    found = {}
    for line in leet("--json", folder).splitlines():
        r = json.loads(line)
        found.setdefault(r["type"], []).append(r.get(r["type"]))
    axes = {m.get("glob_name") or m["name"]: m.get("step_metric") for m in found["metric"]}
    artifacts = {a["name"]: {f["path"] for f in a["manifest"]["contents"]} for a in found.get("artifact", [])}
    history = [h["item"] for h in found.get("history", [])]
    return Seen(
        found["run"][0], history, axes, artifacts, json.loads(leet("--summary", "--json", folder))["summary"], folder
    )


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A run of table 7, recorded offline: its record and its stages' W&B runs."""
    settings = Sfu(recipe_name="tiny", recipe=FORWARD, miniature=True, home=tmp_path_factory.mktemp("home"), **QUIET)
    r = record(replace(settings, wandb="offline", log_artifacts=True, label="table7 full", tags=("paper", "table7")))
    return r, {s["name"]: see(settings.home / s["wandb"]) for s in r["stages"] if s["wandb"]}


@pytest.mark.slow
def test_runs_are_grouped_and_tagged(tracked):
    r, runs = tracked
    assert {name: s.run["job_type"] for name, s in runs.items()} == {
        "lm forward": "lm",
        "clas forward": "clas",
        "eval": "eval",
    }
    for s in runs.values():
        assert s.run["run_group"] == "sfu-sentiment tiny miniature table7 full"
        assert {"paper", "table7", "miniature", "seed 0", r["commit"]} <= set(s.run["tags"])
    config = runs["clas forward"].run["config"]["update"]
    assert config["digest"] == r["corpus"]["digest"] and config["recipe"]["clas"]["phases"][1]["epochs"] == 2
    assert config["stage"]["lm"] and config["versions"]
    assert config["record"].startswith("sfu-sentiment-fold0-tiny-seed0-")


@pytest.mark.slow
def test_the_rate_of_each_layer_group_shows_the_unfreezing(tracked):
    _, runs = tracked
    steps = [h for h in runs["clas forward"].history if "train/loss" in h]
    frozen = {0: 4, 1: 0}
    for h in steps:
        rates = [h[f"lr/group_{i}"] for i in range(5)]
        assert rates.count(0) == h["lr/frozen_groups"] == frozen[h["phase"]]
        assert rates == sorted(rates)
    assert {h["phase"] for h in steps} == {0, 1}
    assert [h["step"] for h in steps] == list(range(1, len(steps) + 1))


@pytest.mark.slow
def test_each_phase_has_its_own_axis(tracked):
    r, runs = tracked
    clas = runs["clas forward"]
    assert clas.axes["phase_1/*"] == "phase_1/epoch" and clas.axes["train/*"] == clas.axes["valid_*"] == "step"
    second = [h for h in clas.history if "phase_1/epoch" in h]
    assert [h["phase_1/epoch"] for h in second] == [1, 2]
    errors = [row["valid_error_rate"] for row in r["history"]["clas forward"]]
    assert [h["valid_error_rate"] for h in clas.history if "valid_error_rate" in h] == pytest.approx(errors)
    assert [h["phase_1/valid_error_rate"] for h in second] == pytest.approx(errors[1:])


@pytest.mark.slow
def test_an_evaluation_shows_the_most_confident_mistakes_first_and_each_class(tracked):
    r, runs = tracked
    rows = runs["eval"].table("predictions")
    ranks = [(row["label"] == row["predicted"], -row["confidence"]) for row in rows]
    assert len(rows) == r["test"]["n"] and ranks == sorted(ranks) and not ranks[0][0]
    assert {row["class"]: row["recall"] for row in runs["eval"].table("classes")} == {
        c: f["recall"] for c, f in r["per_class"].items()
    }
    assert sum(row["nPredictions"] for row in runs["eval"].table("confusion_table")) == r["test"]["n"]
    summary = runs["eval"].summary
    assert summary["test/error"] == pytest.approx(r["test"]["error"])
    assert summary["forward/valid/error"] == pytest.approx(r["directions"]["forward"]["valid"]["error"])
    assert summary["baseline/error"] == pytest.approx(r["baseline"]["error"])
    assert [h["test/error"] for h in runs["eval"].history if "test/error" in h] == [summary["test/error"]]


@pytest.mark.slow
def test_wandb_lists_the_lowest_validation_loss_of_a_training(tracked):
    r, runs = tracked
    lowest = min(row["valid_loss"] for row in r["history"]["clas forward"])
    summary = runs["clas forward"].summary
    assert summary["valid_loss"]["min"] == pytest.approx(lowest)
    assert summary["kept/valid_loss"] == pytest.approx(r["history"]["clas forward"][-1]["valid_loss"])


@pytest.mark.slow
def test_a_stages_folder_is_an_artifact_on_request(tracked):
    r, runs = tracked
    (clas,) = (Path(s["path"]).name for s in r["stages"] if s["name"] == "clas forward")
    assert runs["clas forward"].artifacts[clas] == {"model.safetensors", "vocab.json", "steps.csv"}


@pytest.mark.slow
@pytest.mark.parametrize("shown", [True, False])
def test_wandb_has_texts_only_where_they_may_be_shown_and_never_the_machine(shown, tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "name-of-this-host")
    monkeypatch.setattr(sys, "argv", ["name-of-this-command"])
    texts = pd.DataFrame({"row": [4, 9], "text": ["a secret sentence", "another secret one"]})
    texts = texts.assign(label=["a", "b"], predicted=["a", "b"], confidence=[0.9, 0.8])
    tracker = a_tracker(tmp_path, "eval", log_texts=shown)
    per_class = {c: {"n": 1, "precision": 1.0, "recall": 1.0} for c in "ab"}
    tracker.log_test(texts, per_class, with_confusion=True)
    tracker.finish({})
    kept = {path.name: path.read_bytes() for path in (tmp_path / tracker.path).rglob("*") if path.is_file()}
    assert any(b"secret" in content for content in kept.values()) == shown
    (own,) = (content for name, content in kept.items() if name.endswith(".wandb"))
    for private in ("name-of-this-host", sys.argv[0], str(ROOT)):
        assert private.encode() not in own
    assert "wandb-metadata.json" not in kept


def test_texts_of_a_users_own_table_are_not_shown_to_wandb_by_default(tmp_path):
    assert not OwnCsv(recipe=FORWARD, home=tmp_path).log_texts
    assert not OfCorpus(corpus="mine", recipe_name="small", recipe=FORWARD).log_texts
    assert Sfu(recipe=FORWARD).log_texts


def test_tags_and_labels_change_no_name_of_a_record_or_stage(sfu):
    plain, shown = (prepare(s) for s in (sfu, replace(sfu, log_artifacts=True, tags=("a",), label="b")))
    assert plain.command.settings() == shown.command.settings() and plain.plan == shown.plan
    assert plain.record == shown.record and plain.command.group != shown.command.group


def test_a_variant_is_a_group_and_seeds_and_folds_are_its_members(sfu):
    base = replace(sfu, recipe=TINY)
    assert base.group == replace(base, seed=3, fold=2).group == "sfu-sentiment tiny miniature"
    assert with_clas(base, wd=0.5).group == "sfu-sentiment tiny miniature clas.wd=0.5"
    assert "40 labels" in replace(base, train_size=40).group
    cell = next(c for c in cells("table7", ("sfu",), 1, miniature=True) if c.row == "chain-thaw")
    assert labelled("table7", cell).settings.group == "sfu-sentiment tiny miniature table7 chain-thaw"


@pytest.mark.slow
def test_a_process_of_a_sweep_logs_to_the_sweeps_run(sfu, monkeypatch):
    import wandb

    for name, value in {"WANDB_SWEEP_ID": "s1", "WANDB_RUN_ID": "r1", "WANDB_MODE": "offline"}.items():
        monkeypatch.setenv(name, value)
    wandb.teardown()  # W&B reads these once in a process
    for _ in range(2):
        run(replace(sfu, wandb="auto"))
    monkeypatch.undo()
    wandb.teardown()
    seen, again = map(see, sorted((sfu.home / "wandb").glob("offline-run-*")))
    assert again.summary["valid/error"] == seen.summary["valid/error"]  # though every stage was finished
    r = json.loads(next((sfu.home / "runs").glob("*/result.json")).read_text())
    assert seen.run["run_id"] == "r1" and seen.run["sweep_id"] == "s1" and seen.run["job_type"] == "sweep"
    assert seen.summary["valid/error"] == pytest.approx(r["valid"]["error"])
    assert not [key for key in seen.summary if "test" in key]
    assert len([h for h in seen.history if "clas_forward/valid_error_rate" in h]) == len(r["history"]["clas forward"])


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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Weights & Biases is left out")
def test_a_broken_wandb_changes_no_figure(finished, broken_wandb, tmp_path):
    forward = replace(finished, recipe=FORWARD)
    a, b = record(replace(forward, wandb="offline", home=tmp_path / "broken")), record(forward)
    assert a["test"] == b["test"]
    assert a["valid"] == b["valid"]
    assert a["stages"][-1]["wandb"] is None


@pytest.fixture
def own_settings(tmp_path, monkeypatch):
    """A current folder without settings of W&B, which reads them once in a process."""
    import wandb

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    wandb.teardown()
    yield
    monkeypatch.undo()
    wandb.teardown()


@pytest.mark.parametrize("variable", [("WANDB_MODE", "disabled"), ("WANDB_DISABLED", "true"), None])
def test_wandb_disabled_by_its_own_variables_or_command_leaves_no_run(variable, own_settings, tmp_path, monkeypatch):
    if variable:
        monkeypatch.setenv(*variable)
    else:  # what the command `wandb disabled` writes
        (tmp_path / "wandb").mkdir()
        (tmp_path / "wandb" / "settings").write_text("[default]\nmode = disabled\n")
    assert a_tracker(tmp_path / "home", "lm", wandb="auto").path is None
    assert not (tmp_path / "home" / "wandb").exists()


def test_each_stage_has_an_id_of_its_own_also_if_the_one_before_failed(own_settings, tmp_path, monkeypatch):
    """Scripts of job schedulers set WANDB_RUN_ID, to continue a run."""
    monkeypatch.setenv("WANDB_RUN_ID", "fixed")
    trackers = [a_tracker(tmp_path, "lm") for _ in range(2)]
    ids = {tracker.wandb_run.id for tracker in trackers}
    for tracker in trackers:
        tracker.finish({})
    assert len(ids) == 2 and "fixed" not in ids


def test_without_a_server_the_runs_are_recorded_offline_and_it_is_tried_once(tmp_path, monkeypatch):
    import wandb

    tried, real = [], wandb.init

    def init(mode, **options):
        tried.append(mode)
        if mode == "online":
            raise wandb.errors.CommError("no server")
        return real(mode=mode, **options)

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(Tracker, "reachable", True)
    with pytest.warns(match="cannot be reached"):
        first = a_tracker(tmp_path, "lm", wandb="online")
    second = a_tracker(tmp_path, "clas", wandb="online")
    assert None not in (first.path, second.path)
    assert tried == ["online", "offline", "offline"]


def test_a_wandb_that_exits_the_process_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("wandb.init", lambda **_: sys.exit(3))
    with pytest.warns(match="left out of this run: SystemExit"):
        assert a_tracker(tmp_path, "lm").path is None


@pytest.mark.slow
def test_a_resumed_run_logs_the_steps_and_epochs_before_the_kill_too(one_learner, tmp_path):
    with pytest.raises(KeyboardInterrupt), a_tracker(tmp_path, "clas") as first:
        train(one_learner(), FORWARD.clas, 0, tmp_path, [first, Interrupt()])
    second = a_tracker(tmp_path, "clas")
    info, steps = train(one_learner(), FORWARD.clas, 0, tmp_path, [second])
    second.finish({})
    seen = see(tmp_path / second.path).history
    assert [h["train/loss"] for h in seen if "train/loss" in h] == pytest.approx([row["train_loss"] for row in steps])
    losses = [row["valid_loss"] for row in info["history"]]
    assert [h["valid_loss"] for h in seen if "valid_loss" in h] == pytest.approx(losses)
    assert [h["step"] for h in seen] == sorted(h["step"] for h in seen)
    assert len(see(tmp_path / first.path).history) < len(seen)


class Interrupt(Callback):
    """Ctrl-C after the second epoch."""

    order = 67  # after Tracker

    def after_epoch(self):
        if len(self.history.epochs) == 2:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_run_killed_after_the_last_epoch_is_logged_in_full(one_learner, tmp_path):
    train(one_learner(), FORWARD.clas, 0, tmp_path)
    tracker = a_tracker(tmp_path, "clas")
    info, steps = train(one_learner(), FORWARD.clas, 0, tmp_path, [tracker])
    tracker.log_new(steps, info["history"])
    tracker.finish({})
    assert len(see(tmp_path / tracker.path).history) == len(steps) + len(info["history"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # W&B's package is older than what it uses
def test_the_workspace_draws_what_runs_log(tracked, tmp_path, monkeypatch, capsys):
    import wandb

    monkeypatch.setattr(wandb, "login", lambda **_: False)
    workspace(out=tmp_path / "made.json")
    assert f"not logged in to W&B (wandb login), so nothing is created; what would be created is in {tmp_path}" in (
        capsys.readouterr().out
    )
    _, runs = tracked
    logged = {key.split("._")[0] for s in runs.values() for key in [*s.summary, *(k for h in s.history for k in h)]}
    text = (tmp_path / "made.json").read_text()
    drawn = set(re.findall(r'"((?:train|valid|test|lr|phase_[01])[/_][^"]*)"', json.dumps(json.loads(text))))
    assert {"test/error", "valid/error", "valid_error_rate", "lr/group_0", "test/predictions"} <= drawn <= logged
    for table in NAMES:  # a runset by the tag that experiments.paper sets
        assert f"in ['{table}']" in text


def workspace(**options) -> None:
    """Run scripts/workspace.py."""
    runpy.run_path(str(ROOT / "scripts" / "workspace.py"))["main"](**options)


@pytest.mark.filterwarnings("ignore")  # W&B's package is older than what it uses
def test_with_a_login_workspace_and_report_are_saved(monkeypatch, capsys):
    import wandb
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    monkeypatch.setattr(wandb, "login", lambda **_: True)
    monkeypatch.setattr(wandb, "Api", lambda: SimpleNamespace(default_entity="me"))
    for kind in (ws.Workspace, wr.Report):
        monkeypatch.setattr(kind, "save", lambda made: SimpleNamespace(url=f"{made.entity}/{made.project}"))
    workspace(project="p")
    assert capsys.readouterr().out.split() == ["me/p", "me/p"]
