"""Two processes train a language model as one does. Each workaround for fastai fails here once it is not needed."""

import json
import os
import socket
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from conftest import QUICK
from fastai.text.all import LMDataLoader, set_seed
from safetensors.torch import load_file, save_model
from torch.multiprocessing import spawn

from ulmfit_exp.common import DataError
from ulmfit_exp.method import distributed, learners, training
from ulmfit_exp.method.batches import Texts, dls_lm
from ulmfit_exp.method.progress import quiet
from ulmfit_exp.method.tokens import read_tokens, write_tokens


@pytest.fixture
def folder(quick_tokens, tmp_path) -> Path:
    """A folder of tokens, in which the processes leave what they have trained."""
    write_tokens(quick_tokens[0].documents(), tmp_path, QUICK.max_vocab, QUICK.min_freq)
    return tmp_path


def train(folder: Path, work: str, seq_len: int, drop_mult: float = 1.0, min_steps: int | None = None, cbs=()) -> dict:
    """A training in this process, or its part of one."""
    set_seed(1)
    recipe = replace(QUICK, lm=replace(QUICK.lm, drop_mult=drop_mult, min_steps=min_steps))
    learn = quiet(learners.lm_learner(dls_lm(read_tokens(folder), 8, seq_len, False), recipe, "fp32"))
    (folder / work).mkdir(exist_ok=True)
    info, _ = training.train(learn, recipe.lm, 7, folder / work, cbs)
    save_model(learn.model, str(folder / work / f"{os.environ.get('RANK')}.safetensors"))
    return {"history": info["history"], "batches": len(learn.dls.train)}


class Kill(training.Callback):
    """Ends the second process without grace before its step 4."""

    order = 64

    def after_batch(self):
        if os.environ["RANK"] == "1" and self.training and len(self.history.steps) == 3:
            os._exit(9)


def process(rank: int, port: int, folder: Path, trainings: list[tuple], kill: bool) -> None:
    os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    distributed.join(language_model=True)
    training.SAVE_EVERY, training.READ_EVERY = -1, 1  # a checkpoint after each batch
    for work, *options in trainings:
        found = train(folder, work, *options, cbs=[Kill()] if kill else [])
        (folder / work / f"{rank}.json").write_text(json.dumps(found))


def two_processes(folder: Path, trainings: list[tuple], kill: bool = False) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    spawn(process, (port, folder, trainings, kill), nprocs=2)


def weights(folder: Path, work: str, rank: str) -> dict[str, torch.Tensor]:
    return load_file(folder / work / f"{rank}.safetensors")


@pytest.mark.slow
def test_two_processes_train_as_one_does_on_odd_even_and_repeated_batches(folder):
    pytest.importorskip("accelerate", reason="the extra distributed is not installed: pip install '.[distributed]'")
    trainings = [("even", 30, 0.0), ("odd", 33, 0.0), ("repeated", 33, 0.0, 100)]
    two_processes(folder, trainings)
    for work, *options in trainings:
        torch.testing.assert_close(weights(folder, work, "0"), weights(folder, work, "1"), rtol=0, atol=0)
        first, second = (json.loads((folder / work / f"{rank}.json").read_text()) for rank in (0, 1))
        alone = train(folder, f"alone {work}", *options)
        assert alone["batches"] == {"even": 32, "odd": 29, "repeated": 2 * 29}[work]
        for rows in zip(alone["history"], first["history"], second["history"], strict=True):
            for name in ("train_loss", "valid_loss", "tokens", "step"):
                assert rows[1][name] == rows[2][name]
                assert rows[1][name] == pytest.approx(rows[0][name], rel=1e-4)


@pytest.mark.slow
def test_one_process_is_killed_and_both_resume_from_the_checkpoint_to_the_same_weights(folder):
    pytest.importorskip("accelerate", reason="the extra distributed is not installed: pip install '.[distributed]'")
    two_processes(folder, [("whole", 30)])
    with pytest.raises(Exception, match=r"exit code 9|terminated|Connection closed"):
        two_processes(folder, [("killed", 30)], kill=True)
    assert (folder / "killed" / "checkpoint.pt").exists()
    with pytest.raises(DataError, match="of 2 processes: resume it with as many"):
        train(folder, "killed", 30)
    two_processes(folder, [("killed", 30)])
    for rank in ("0", "1"):
        torch.testing.assert_close(weights(folder, "whole", "0"), weights(folder, "killed", rank), rtol=0, atol=0)


@pytest.mark.parametrize("installed", [True, False])
def test_a_launcher_for_what_trains_in_one_process_is_an_error_that_says_what_to_do(installed, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed, "find_spec", lambda name: installed)
    with pytest.raises(DataError, match="--jobs" if installed else "install the extra distributed: "):
        distributed.join(language_model=not installed)


def test_fastai_still_fails_to_import_without_accelerate(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.delitem(sys.modules, "fastai.distributed", raising=False)
    with pytest.raises(NameError):
        import_module("fastai.distributed")


def test_fastais_loader_still_needs_cuda_and_fails_at_an_odd_number_of_batches(quick_tokens, monkeypatch):
    pytest.importorskip("accelerate", reason="the extra distributed is not installed: pip install '.[distributed]'")
    from fastai.distributed import DistributedDL

    tokens = quick_tokens[1]
    ds = Texts(tokens, tokens.rows("train"), False)
    dl = LMDataLoader(ds, lens=ds.lengths, bs=8, seq_len=33)
    assert dl.n_batches % 2 == 1
    second = DistributedDL(dl, rank=1, world_size=2, device=torch.device("cpu"))
    if not torch.cuda.is_available():
        with pytest.raises(AssertionError, match="CUDA"):
            second._broadcast([1], 0)
    monkeypatch.setattr(second, "_broadcast", lambda idxs, rank: idxs)
    with pytest.raises(RuntimeError):
        list(second)
