"""Training one language model in several processes, with fastai's `Learner.distrib_ctx` and accelerate.

`torchrun` or `accelerate launch` starts the processes. Each reads its share of the streams of text, so that together
they train on the same batches as one process would. Only the first reads and writes stages; the others train with it.

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
separate gloo group: NCCL would keep the GPU busy, and training needs a shorter limit to report a hang."""
waiting = None


def join(language_model: bool) -> None:
    """Connect the processes if a launcher has started several. Raises `DataError` if they cannot train together."""
    if num_distrib() < 2 or dist.is_initialized():
        return
    if not language_model:
        raise DataError(
            "only `ulmfit-exp pretrain` trains in several processes; a grid's runs are distributed by --jobs"
        )
    if not find_spec("accelerate"):  # fastai.distributed would fail with a NameError
        raise DataError(f"training in several processes needs accelerate: {install('distributed')}")
    global waiting
    dist.init_process_group()
    waiting = dist.new_group(timeout=LONGEST_WAIT, backend="gloo")


def announce(folder: Path | None) -> None:
    """Send the folder of the stage that is trained next from the first process to the others, or None at the end."""
    if dist.is_initialized():
        dist.broadcast_object_list([folder], group=waiting)


def next_announced() -> Path | None:
    """Wait for what the first process announces, in another one, and return it."""
    dist.broadcast_object_list(received := [None], group=waiting)
    return received[0]


def end_others() -> None:
    """End the other processes; the first then continues as if there were no launcher."""
    if dist.is_initialized():
        announce(None)
        dist.destroy_process_group()
        os.environ.update(WORLD_SIZE="1", RANK="0")


@contextmanager
def together(learn: Learner) -> Iterator[None]:
    """Context for fitting in all processes, each on an equal share of the streams, with averaged gradients.

    Raises `DataError` if the streams cannot be shared equally.
    """
    if (processes := num_distrib()) < 2:
        yield
        return
    import fastai.distributed  # noqa: F401  adds distrib_ctx to Learner

    loader = getattr(learn.dls.train, "dl", learn.dls.train)  # inside a Repeated loader
    streams = loader.bs
    if streams % processes:
        raise DataError(f"{streams} streams of text cannot be shared by {processes} processes: change --recipe.lm.bs")
    share = streams // processes
    loader.streams = slice(rank_distrib() * share, (rank_distrib() + 1) * share)
    with learn.distrib_ctx(cpu=learn.dls.device.type == "cpu", mixed_precision="no"):
        # fastai's DistributedDL needs CUDA, fails with an odd number of batches, and cuts across the streams.
        learn.distributed_trainer._wrap_dl = noop
        yield
    learn.remove_cb(ProgressCallback)  # distrib_ctx leaves it in all processes but the first


def gathered(state: dict) -> dict | list[dict]:
    """Return the states of all processes, in CPU memory; with a single process, return its state as it is."""
    if num_distrib() < 2:
        return state
    states = [None] * num_distrib()
    dist.all_gather_object(states, to_cpu(state))
    return states


def own_state(states: dict | list[dict]) -> dict:
    """Return this process's part of what `gathered` returned. Raises `DataError` if the number of processes changed."""
    processes = len(states) if isinstance(states, list) else 1
    if processes != max(1, num_distrib()):
        raise DataError(
            "this training was interrupted within an epoch, so it needs the same number of processes again: "
            f"{processes}"
        )
    return states[rank_distrib()] if isinstance(states, list) else states
