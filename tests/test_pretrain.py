"""Pretraining as its user runs it: any texts, a record, and going on after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

ROOT = Path(__file__).parents[1]


@pytest.fixture
def command(tmp_path) -> list[str]:
    """A pretraining of seconds on this project's own words."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for i, file in enumerate(sorted(ROOT.glob("tests/*.py"))[:15]):
        (folder / f"{i:02}.txt").write_text(file.read_text())
    size = ["--size", "tiny", "--recipe.lm.phases.0.epochs", "3"]
    return [sys.executable, "-m", "experiments.pretrain", "--corpus", str(folder), *size, "--wandb", "disabled"]


def finish(command, home) -> tuple[str, dict, dict]:
    """What it said, its record, and the weights."""
    done = subprocess.run([*command, "--home", str(home)], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    (weights,) = home.glob("stages/lm-*/model.safetensors")
    return done.stdout, json.loads((ROOT / done.stdout.splitlines()[-1]).read_text()), load_file(weights)


@pytest.mark.slow
def test_killed_pretraining_goes_on_to_the_same_weights(command, tmp_path):
    command += ["--backwards"]
    shown, record, weights = finish(command, tmp_path / "whole")
    home = tmp_path / "killed"
    with subprocess.Popen([*command, "--home", str(home)], cwd=ROOT, stdout=subprocess.DEVNULL) as p:
        while not list(home.glob("unfinished/lm-*/checkpoint.pt")):
            assert p.poll() is None, "ended before it had a checkpoint"
            time.sleep(0.01)
        p.send_signal(signal.SIGKILL)
    shown_again, again, weights_again = finish(command, home)
    assert "resuming after epoch" in shown_again
    assert weights.keys() == weights_again.keys() and all((weights[k] == weights_again[k]).all() for k in weights)
    assert record["perplexity"] == again["perplexity"]

    assert [s["name"] for s in record["stages"]] == ["tokens", "lm backward", "perplexity"]
    for split in ("valid", "test"):
        figures = record["perplexity"][split]
        assert 1 < figures["perplexity"] < record["corpus"]["vocab"] and 0 < figures["unknown"] < 1
    assert "perplexity" in shown and "unknown" in shown and str(tmp_path) not in json.dumps(again["stages"])


@pytest.mark.slow
def test_two_processes_of_a_launcher_leave_one_record_that_is_evaluated_in_one(command, tmp_path):
    pytest.importorskip("accelerate")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    shown, record, _ = finish([command[0], *launcher, *command[1:]], tmp_path / "two")
    _, alone, _ = finish(command, tmp_path / "one")
    assert shown.count("epoch 3/3") == 1
    assert [s["name"] for s in record["stages"]] == ["tokens", "lm forward", "perplexity"]
    assert record["machine"]["processes"] == 2
    assert len(list((tmp_path / "two" / "stages").iterdir())) == 3
    assert not list((tmp_path / "two" / "unfinished").iterdir())
    for name in ("texts", "tokens"):
        assert record["perplexity"]["test"][name] == alone["perplexity"]["test"][name]
    for one, two in zip(alone["history"]["lm forward"], record["history"]["lm forward"], strict=True):
        assert two["tokens"] == one["tokens"]
        assert two["valid_loss"] == pytest.approx(one["valid_loss"], rel=0.05)


@pytest.mark.slow
def test_it_goes_on_from_another_model_and_bad_texts_are_one_line(command, tmp_path):
    home = tmp_path / "home"
    _, first, _ = finish(command, home)
    run = next((home / "runs").iterdir())
    _, second, _ = finish([*command, "--pretrained", str(run)], tmp_path / "second")
    assert second["pretrained"]["forward"]["words_found"] == second["pretrained"]["forward"]["words"]
    losses = [r["history"]["lm forward"][0]["train_loss"] for r in (first, second)]
    assert losses[1] < losses[0]

    command[command.index("--corpus") + 1] = str(tmp_path / "nowhere")
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ})
    assert done.returncode == 1 and done.stderr.startswith("error: there is no file or folder")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_cycle_keeps_the_vocabulary_and_reads_the_next_texts(command, tmp_path):
    _, first, _ = finish(command, tmp_path / "home")
    run = next((tmp_path / "home" / "runs").iterdir())
    cycle = ["--pretrained", str(run), "--recipe.vocab", "pretrained", "--recipe.softmax-samples", "100"]
    part = ["--recipe.skip-tokens", "5000", "--recipe.max-tokens", "4000"]
    _, second, _ = finish([*command, *cycle, *part], tmp_path / "second")
    assert second["corpus"]["vocab"] == first["corpus"]["vocab"]
    assert 4_000 <= second["history"]["lm forward"][0]["tokens"] < first["history"]["lm forward"][0]["tokens"]

    for wrong, expected in (
        (["--recipe.vocab", "pretrained"], "needs a --pretrained model"),
        (["--recipe.skip-tokens", "99999999"], "leaves no text"),
    ):
        done = subprocess.run([*command, *wrong, "--home", str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 1
        assert expected in done.stderr.splitlines()[-1]
