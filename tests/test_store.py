"""Stages: finished or absent, named by their inputs, made once."""

import errno
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace

import pytest

from ulmfit_exp.common import StoreError, write_json
from ulmfit_exp.inference.predict import FILES
from ulmfit_exp.runs.run import _keep_classifiers
from ulmfit_exp.runs.store import CHECKPOINT, stage


def test_two_processes_in_lockstep_put_the_same_classifier_beside_the_record(tmp_path):
    stage, folder = tmp_path / "clas-forward-1", tmp_path / "run"
    stage.mkdir()
    for name in FILES:
        (stage / name).write_text(name)
    command = SimpleNamespace(directions=["forward"])
    this = SimpleNamespace(command=command, plan=["eval"], classifier=str, path=lambda name: stage)
    with ThreadPoolExecutor(3) as pool:  # threads stand in for the processes
        list(pool.map(lambda _: _keep_classifiers(this, folder), range(300)))  # raises what one of them raises
    assert sorted(p.name for p in (folder / "classifier" / "forward").iterdir()) == sorted(FILES)
    assert all((stage / name).read_text() == name for name in FILES)


def test_a_finished_stage_is_reused_and_other_inputs_are_another_stage(tmp_path):
    calls = []

    def work(folder):
        calls.append(folder)
        (folder / "weights").write_text("w")
        return {"loss": 1.5}

    first = stage(tmp_path, "lm", {"seed": 0}, work)
    again = stage(tmp_path, "lm", {"seed": 0}, work)
    other = stage(tmp_path, "lm", {"seed": 1}, work)
    assert (first.reused, again.reused, other.reused) == (False, True, False) and len(calls) == 2
    assert again.path == first.path != other.path
    assert again.info == first.info and again.info["loss"] == 1.5
    assert (again.path / "weights").read_text() == "w" and again.path.parent.name == "stages"


@pytest.mark.parametrize("spoil", ["flip", "remove", "record", "figure"])
def test_a_modified_stage_is_reported_and_recomputed(spoil, tmp_path, capsys):
    calls = []

    def work(folder):
        calls.append(folder)
        (folder / "weights").write_bytes(b"weights")
        return {"error": 0.25}

    first = stage(tmp_path, "lm", {}, work)
    weights = first.path / "weights"
    if spoil == "flip":
        weights.write_bytes(b"weighds")
    elif spoil == "remove":
        weights.unlink()
    elif spoil == "figure":
        (first.path / "stage.json").write_text((first.path / "stage.json").read_text().replace("0.25", "0.05"))
    else:
        (first.path / "stage.json").write_text("{")
    again = stage(tmp_path, "lm", {}, work)
    assert not again.reused and again.info["error"] == 0.25 and len(calls) == 2 and weights.read_bytes() == b"weights"
    assert "was modified since the stage finished" in capsys.readouterr().out
    assert stage(tmp_path, "lm", {}, work).reused and capsys.readouterr().out == ""


def test_a_failed_stage_leaves_its_checkpoint_alone(tmp_path):
    def work(folder):
        (folder / "half").write_text("h")
        (folder / CHECKPOINT).write_text("c")
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        stage(tmp_path, "lm", {}, work)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".lock"] == [CHECKPOINT]

    def go_on(folder):
        assert (folder / CHECKPOINT).read_text() == "c"
        return {}

    assert sorted(p.name for p in stage(tmp_path, "lm", {}, go_on).path.iterdir()) == ["stage.json"]


def die(folder):
    (folder / "checkpoint.pt.1.part").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:.*use of fork")
def test_a_stage_killed_while_writing_a_file_is_not_finished(tmp_path):
    killed = get_context("fork").Process(target=stage, args=(tmp_path, "tokens", {}, die))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL and not list((tmp_path / "stages").iterdir())
    assert list((tmp_path / "unfinished").glob("tokens-*/*.part"))

    def work(folder):
        assert not list(folder.iterdir())
        (folder / "ids.npy").write_text("whole")
        return {}

    assert (stage(tmp_path, "tokens", {}, work).path / "ids.npy").read_text() == "whole"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("No space left")])
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path, error):
    def work(folder):
        (folder / "half").write_text("h")
        raise error

    with pytest.raises(StoreError, match=r"is full.*same command again"):
        stage(tmp_path, "lm", {}, work)
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".lock"]
    assert not list((tmp_path / "unfinished").iterdir())


def test_a_file_as_home_is_one_clear_error(tmp_path):
    (tmp_path / "home").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written.*--home"):
        stage(tmp_path / "home", "lm", {}, lambda folder: {})


def test_two_processes_with_the_same_stage_one_works_and_one_waits(tmp_path, monkeypatch):
    calls, results, waits = [], [], threading.Event()

    def work(folder):
        calls.append(1)
        assert waits.wait(60)
        return {"by": len(calls)}

    def say(message, **_):
        if "waiting for it" in message:
            waits.set()

    monkeypatch.setattr("ulmfit_exp.common.print", say, raising=False)
    threads = [threading.Thread(target=lambda: results.append(stage(tmp_path, "lm", {}, work))) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(calls) == 1 and sorted(r.reused for r in results) == [False, True]


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert '"a": 1' in path.read_text() and [p.name for p in tmp_path.iterdir()] == ["a.json"]
