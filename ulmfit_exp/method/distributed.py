"""One training of a language model by several processes, through fastai's `Learner.distrib_ctx` and accelerate.

`torchrun` or `accelerate launch` starts the processes. Each reads its share of the streams of text, so that together
they train on the batches of one process. The first process alone reads and writes stages; the others train with it.

test_distributed fails once one of the workarounds for fastai is no longer needed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import torch.distributed as dist
from fastai.text.all import Learner, ProgressCallback, noop, num_distrib, rank_distrib, to_cpu

from ..common import DataError, install

LONGEST_WAIT = timedelta(days=7)
"""How long the other processes wait while the first tokenises; if one fails, the launcher ends them all. They wait in a
gloo group of their own: with NCCL the GPU would be busy, and training needs a shorter limit to report a hang."""
waiting = None


def join(language_model: bool) -> None:
    """Connect the processes that a launcher has started, if one has. Raises `DataError`."""
    if num_distrib() < 2 or dist.is_initialized():
        return
    if not language_model:
        raise DataError(
            "only experiments.pretrain trains in several processes; a grid's runs are distributed by --jobs"
        )
    if not find_spec("accelerate"):  # fastai.distributed would fail with a NameError
        raise DataError(f"training in several processes needs accelerate: {install('distributed')}")
    global waiting
    dist.init_process_group()
    waiting = dist.new_group(timeout=LONGEST_WAIT, backend="gloo")


def announced(folder: Path | None = None) -> Path | None:
    """What the first process gives to all: the folder of the stage that they train, None at the end."""
    value = [folder]
    if dist.is_initialized():
        dist.broadcast_object_list(value, group=waiting)
    return value[0]


def leave() -> None:
    """End the other processes; the first one is then like one without a launcher."""
    if dist.is_initialized():
        announced(None)
        dist.destroy_process_group()
        os.environ.update(WORLD_SIZE="1", RANK="0")


@contextmanager
def together(learn: Learner) -> Iterator[None]:
    """Fit in all processes with averaged gradients, each on its share of the streams. Raises `DataError`."""
    if (processes := num_distrib()) < 2:
        yield
        return
    import fastai.distributed  # noqa: F401  adds distrib_ctx to Learner

    loader = getattr(learn.dls.train, "dl", learn.dls.train)  # within Repeated
    streams = loader.bs
    if streams % processes:
        raise DataError(f"{streams} streams of text cannot be shared by {processes} processes: change --recipe.lm.bs")
    share = streams // processes
    loader.streams = slice(rank_distrib() * share, (rank_distrib() + 1) * share)
    with learn.distrib_ctx(cpu=learn.dls.device.type == "cpu", mixed_precision="no"):
        # Its DistributedDL needs CUDA, fails at an odd number of batches, and cuts across the streams.
        learn.distributed_trainer._wrap_dl = noop
        yield
    learn.remove_cb(ProgressCallback)  # which it leaves in all but the first process


def gathered(state: dict) -> dict | list[dict]:
    """The states of all processes, in memory of the processor; of a process that is alone, its own."""
    if num_distrib() < 2:
        return state
    states = [None] * num_distrib()
    dist.all_gather_object(states, to_cpu(state))
    return states


def own_state(states: dict | list[dict]) -> dict:
    """This process's part of what `gathered` returned. Raises `DataError` where there were more or fewer processes."""
    processes = len(states) if isinstance(states, list) else 1
    if processes != max(1, num_distrib()):
        raise DataError(
            f"this training was interrupted within an epoch of {processes} processes: resume it with as many"
        )
    return states[rank_distrib()] if isinstance(states, list) else states
