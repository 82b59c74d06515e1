"""Devices: the one that is asked for, with fp32 that is fp32; a GPU for each process of a grid."""

import os
from multiprocessing import Value

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
def test_a_device_that_is_absent_is_an_error_that_names_the_option(wanted):
    with pytest.raises(DataError, match=f"--device {wanted}: torch finds"):
        machine.use_device(wanted)


def test_the_device_that_is_asked_for_is_fastais_until_another_is(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.backends.cudnn.allow_tf32 = True
    assert machine.use_device("cpu") == torch.device("cpu")
    assert machine.use_device() == torch.device("cpu")
    assert not torch.backends.cudnn.allow_tf32
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_an_error_within_a_batch_ends_bfloat16_for_what_follows():
    def loss_func(*_):
        raise MemoryError

    dls = DataLoaders.from_dsets([(torch.ones(2), torch.ones(1))] * 2, [(torch.ones(2), torch.ones(1))], bs=1)
    learn = Learner(dls, torch.nn.Linear(2, 1), loss_func=loss_func, cbs=machine.precision_cbs("bf16"))
    with pytest.raises(MemoryError), learn.no_bar(), learn.no_logging():
        learn.fit(1)
    assert not torch.is_autocast_enabled("cpu")


def test_the_processes_of_a_grid_take_the_visible_gpus_in_turn(monkeypatch):
    monkeypatch.setattr(workers, "end_with_parent", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    visible, started, given = machine.gpus(), Value("i", 0), []
    for _ in range(3):
        workers.start(visible, started)
        given.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert given == ["3", "5", "3"]


def test_no_gpu_leaves_the_environment_of_a_process(monkeypatch):
    monkeypatch.setattr(workers, "end_with_parent", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    workers.start([], Value("i", 0))
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
