"""Pretraining as its user runs it: any texts, a record, and resuming after a kill."""

import json
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from safetensors.torch import load_file

from experiments.pretrain import Pretrain
from ulmfit_exp.cli import main
from ulmfit_exp.corpora.sources import MINIATURE

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> list[str]:
    """Those of a pretraining of seconds, on eight texts: the bundled reviews of each category."""
    folder = tmp_path_factory.mktemp("texts")
    for category in (MINIATURE / "sfu" / "SFU_Review_Corpus_Raw").iterdir():
        reviews = [file.read_bytes() for file in sorted(category.iterdir())]
        (folder / f"{category.name}.txt").write_bytes(b"\n".join(reviews))
    size = ["--size", "tiny", "--recipe.lm.phases.0.epochs", "3", "--recipe.model.emb-sz", "12"]
    return ["--corpus", str(folder), "--backwards", *size, "--wandb", "disabled"]


def results(home: Path) -> tuple[dict, dict]:
    """The record and the weights of a finished pretraining."""
    (path,) = home.glob("runs/*/result.json")
    (weights,) = home.glob("stages/lm-*/model.safetensors")
    return json.loads(path.read_text()), load_file(weights)


def finish(options: list[str], home: Path) -> tuple[str, dict, dict]:
    """What the command prints, in this process; its record and weights."""
    with redirect_stdout(StringIO()) as shown:
        main(Pretrain, [*options, "--home", str(home)])
    return shown.getvalue(), *results(home)


def refused(options: list[str], home: Path) -> str:
    """The message of a command that has to fail."""
    with pytest.raises(SystemExit) as end:
        main(Pretrain, [*options, "--home", str(home)])
    return end.value.code


@pytest.fixture(scope="module")
def finished(options, tmp_path_factory) -> tuple[Path, str]:
    """The home of a finished pretraining, and what was printed."""
    home = tmp_path_factory.mktemp("finished")
    return home, finish(options, home)[0]


@pytest.mark.slow
def test_killed_pretraining_resumes_to_the_same_weights(options, finished, tmp_path):
    command = [sys.executable, "-m", "experiments.pretrain", *options, "--home", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as p:
        while not list(tmp_path.glob("unfinished/lm-*/checkpoint.pt")):
            assert p.poll() is None, "ended before it had a checkpoint"
            time.sleep(0.01)
        p.send_signal(signal.SIGKILL)
    shown, again, weights_again = finish(options, tmp_path)
    record, weights = results(finished[0])
    assert "resuming after epoch" in shown
    assert weights.keys() == weights_again.keys()
    assert all((weights[k] == weights_again[k]).all() for k in weights)
    assert record["perplexity"] == again["perplexity"]


def test_the_record_has_the_perplexity_of_both_held_out_parts(finished):
    home, shown = finished
    record, _ = results(home)
    assert [s["name"] for s in record["stages"]] == ["tokens", "lm backward", "perplexity"]
    for split in ("valid", "test"):
        figures = record["perplexity"][split]
        assert 1 < figures["perplexity"] < record["corpus"]["vocab"]
        assert 0 < figures["unknown"] < 1
    trained, corpus = record["history"]["lm backward"][-1], record["corpus"]
    assert record["perplexity"]["valid"]["loss"] == pytest.approx(trained["valid_loss"], abs=0.1)
    assert record["perplexity"]["test"]["unknown"] == corpus["unknown_test"]
    assert "perplexity" in shown
    assert "unknown" in shown
    assert str(home) not in json.dumps(record["stages"])


@pytest.mark.slow
def test_two_processes_of_a_launcher_leave_one_record_that_is_evaluated_in_one(options, finished, tmp_path):
    pytest.importorskip("accelerate")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "experiments.pretrain", *options, "--home", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    record, alone = results(tmp_path)[0], results(finished[0])[0]
    assert done.stdout.count("epoch 3/3") == 1
    assert [s["name"] for s in record["stages"]] == ["tokens", "lm backward", "perplexity"]
    assert record["machine"]["processes"] == 2
    assert len(list((tmp_path / "stages").iterdir())) == 3
    assert not list((tmp_path / "unfinished").iterdir())
    for name in ("texts", "tokens"):
        assert record["perplexity"]["test"][name] == alone["perplexity"]["test"][name]
    for one, two in zip(alone["history"]["lm backward"], record["history"]["lm backward"], strict=True):
        assert two["tokens"] == one["tokens"]
        assert two["valid_loss"] == pytest.approx(one["valid_loss"], rel=0.1)  # dropout differs


@pytest.mark.slow
def test_pretraining_starts_from_another_model(options, finished, tmp_path):
    first, _ = results(finished[0])
    (run,) = (finished[0] / "runs").iterdir()
    _, second, _ = finish([*options, "--pretrained", str(run)], tmp_path)
    assert second["pretrained"]["backward"]["words_found"] == second["pretrained"]["backward"]["words"]
    losses = [r["history"]["lm backward"][0]["train_loss"] for r in (first, second)]
    assert losses[1] < losses[0]


def test_a_cycle_keeps_the_vocabulary_and_reads_a_part_of_the_texts(options, finished, tmp_path):
    first, _ = results(finished[0])
    (run,) = (finished[0] / "runs").iterdir()
    cycle = ["--pretrained", str(run), "--recipe.vocab", "pretrained", "--recipe.softmax-samples", "100"]
    part = ["--recipe.skip-tokens", "2000", "--recipe.max-tokens", "3000"]
    _, second, _ = finish([*options, *cycle, *part], tmp_path)
    assert second["corpus"]["vocab"] == first["corpus"]["vocab"]
    assert 3_000 <= second["history"]["lm backward"][0]["tokens"] < first["history"]["lm backward"][0]["tokens"]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (["--corpus", "nowhere"], "error: there is no file or folder"),
        (["--recipe.vocab", "pretrained"], "needs a --pretrained model"),
        (["--recipe.skip-tokens", "99999999"], "leaves no text"),
    ],
)
def test_what_cannot_be_pretrained_is_one_line(wrong, expected, options, tmp_path):
    message = refused([*options, *wrong], tmp_path)
    assert expected in message
    assert "\n" not in message
