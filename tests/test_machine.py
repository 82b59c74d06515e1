"""Devices: the one that is asked for, with fp32 that is fp32; a GPU for each process of a grid."""

import os
from contextlib import nullcontext
from multiprocessing import Array
from types import SimpleNamespace

import pytest
import torch
from fastai.learner import Learner
from fastai.text.all import DataLoaders

from ulmfit_exp.common import DataError
from ulmfit_exp.method import machine
from ulmfit_exp.runs import workers


@pytest.fixture(autouse=True)
def default_device():
    yield
    machine.use_device("auto")


@pytest.mark.parametrize("wanted", ["cuda:99", "nowhere"])
def test_a_missing_device_is_an_error_that_names_the_option(wanted):
    with pytest.raises(DataError, match=f"--device {wanted}: torch finds"):
        machine.use_device(wanted)


def test_a_launchers_process_without_a_gpu_of_its_own_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(DataError, match="process 1 has no GPU: start at most 1 on a machine"):
        machine.use_device("auto")
    monkeypatch.delenv("LOCAL_RANK")  # as where each process has a machine of its own
    assert machine.use_device("cpu") == torch.device("cpu")


def test_the_device_that_is_asked_for_is_fastais_until_another_is(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.backends.cudnn.allow_tf32 = True
    assert machine.use_device("cpu") == torch.device("cpu")
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        assert machine.use_device() == torch.device("cpu")
    assert not torch.backends.cudnn.allow_tf32
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.parametrize("lacks", [True, False])
def test_bf16_where_a_processor_lacks_it_is_an_error_that_names_the_option(lacks, monkeypatch):
    machine.use_device("cpu")
    monkeypatch.setattr(machine, "_lacks_bf16", lambda: lacks)
    with pytest.raises(DataError, match="--precision bf16 needs") if lacks else nullcontext():
        assert machine.precision("bf16") == "bf16"


def test_an_error_within_a_batch_ends_bfloat16_for_what_follows():
    def loss_func(*_):
        raise MemoryError

    dls = DataLoaders.from_dsets([(torch.ones(2), torch.ones(1))] * 2, [(torch.ones(2), torch.ones(1))], bs=1)
    learn = Learner(dls, torch.nn.Linear(2, 1), loss_func=loss_func, cbs=machine.Autocast())
    with pytest.raises(MemoryError), learn.no_bar(), learn.no_logging():
        learn.fit(1)
    assert not torch.is_autocast_enabled("cpu")


def test_a_process_of_a_grid_takes_the_next_visible_gpu_or_that_of_one_that_has_ended(monkeypatch):
    monkeypatch.setattr(workers, "end_with_parent", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    visible, pids, given = machine.gpus(), Array("i", 3), []
    monkeypatch.setattr(workers.psutil, "pid_exists", lambda pid: pid != 12)
    for pid in (11, 12, 13, 14):
        monkeypatch.setattr(workers, "os", SimpleNamespace(environ=os.environ, getpid=lambda pid=pid: pid))
        workers.init_worker(visible, pids)
        given.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert given == ["3", "5", "5", "3"]
    assert pids[:] == [11, 13, 14]


def test_no_gpu_leaves_the_environment_of_a_process(monkeypatch):
    monkeypatch.setattr(workers, "end_with_parent", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    workers.init_worker([], Array("i", 1))
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
