"""The machine of a run: memory, device, precision, and the description that goes into the record."""

import ctypes
import os
import platform
import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread
from types import ModuleType

import psutil
import torch
from fastai.callback.core import Callback
from fastai.torch_core import default_device, num_distrib

from ..common import DataError, counted

PACKAGES = ("fastai", "fastcore", "torch", "spacy", "pandas", "numpy", "scikit-learn", "wandb")


def keep_memory() -> None:
    """Make glibc keep freed memory; otherwise the large tensors of every batch are mapped again (1.5 times slower)."""
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_max = -1, -4
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)


def use_device(wanted: str | None = None) -> torch.device:
    """Make `wanted` fastai's default device, and return it: auto (a GPU if there is one), cpu, cuda or cuda:N.

    None keeps the current default. On a GPU, fp32 is then not replaced by TF32, and the results are reproducible.
    Raises `DataError` if there is no such device.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # must be set before CUDA starts
    torch.backends.cudnn.allow_tf32 = False  # the default lets LSTMs compute in TF32
    if wanted is None:
        return default_device()
    name, _, number = wanted.partition(":")
    if num_distrib() > 1:
        number = os.environ.get("LOCAL_RANK", "0")
    if name in ("auto", "cuda") and number.isdigit() and int(number) < torch.cuda.device_count():
        torch.cuda.set_device(int(number))
    elif name != "cpu" and num_distrib() > 1 and torch.cuda.is_available():
        most = torch.cuda.device_count()
        raise DataError(f"process {number} has no GPU: start at most {most} on a machine, or give --device cpu")
    found = default_device({"auto": torch.cuda.is_available(), "cpu": False}.get(wanted, True))
    if wanted not in ("auto", found.type, str(found)):
        raise DataError(
            f"--device {wanted}: torch finds {counted(torch.cuda.device_count(), 'GPU')}; leave the option out, or "
            + ("give cpu, cuda or cuda:N, with N from 0" if torch.cuda.is_available() else "give cpu")
        )
    return found


def gpus() -> list[str]:
    """Return the GPUs that this process may use, named as in CUDA_VISIBLE_DEVICES."""
    if not torch.cuda.is_available():
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]


def end_with_parent() -> None:
    """End this process when its parent dies; a process of a pool would otherwise wait for work for ever."""

    def wait():
        parent_process().join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


@contextmanager
def without_main():
    """Within this context, spawned processes do not import the main module.

    Otherwise a script without `if __name__ == "__main__":` would run again in each of them, and wait for the stage that
    the script itself is computing.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class Autocast(Callback):
    """Runs the model and the loss in bfloat16 on any device: fastai's MixedPrecision supports only CUDA, and leaves its
    context open if a batch fails."""

    order = 10

    def after_create(self):
        one_batch = self.learn._do_one_batch

        def within():
            with ExitStack() as self.context:  # closed by `after_loss`, or by an error before it
                self.context.enter_context(torch.autocast(next(self.model.parameters()).device.type, torch.bfloat16))
                one_batch()

        self.learn._do_one_batch = within

    def after_loss(self):
        self.context.close()

    def after_pred(self):
        if not self.training:
            self.learn.pred = self.pred.float()


def precision(wanted: str) -> str:
    """Return fp32 or bf16; auto is bf16 if that is faster on this machine.

    It is faster on GPUs with bf16, CPUs with AMX, and AMD's CPUs with AVX-512 bf16 (2.2x in matrix products). Intel's
    with AVX-512 bf16 but no AMX reached 0.6 of fp32's speed. Raises `DataError` for bf16 if oneDNN has no bf16 LSTM.
    """
    if wanted == "bf16" and default_device().type == "cpu" and _lacks_bf16():
        raise DataError("--precision bf16 needs a processor with AVX-512, or a GPU; leave the option out, or give fp32")
    if wanted != "auto":
        return wanted
    if default_device().type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    cpu = _cpuinfo()
    return "bf16" if "amx_bf16" in cpu or ("avx512_bf16" in cpu and "AuthenticAMD" in cpu) else "fp32"


def _lacks_bf16() -> bool:
    return torch.backends.mkldnn.is_available() and not torch.ops.mkldnn._is_mkldnn_bf16_supported()


def description() -> dict:
    """Return the `versions`, `commit` and `machine` that go into a record."""
    return {"versions": _versions(), "commit": _commit(), "machine": _machine()}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):  # W&B may be missing
            found[package] = version(package)
    return found


@cache
def _commit() -> str:
    """Return this code's commit at the first call, with + if files differ from it; unknown outside a git checkout."""
    git, file = ["git", "-C", str(Path(__file__).parent)], Path(__file__).name
    commands = (
        ["ls-files", "--error-unmatch", file],  # fails if the package is installed inside another repository
        ["describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"],
    )
    try:
        runs = [subprocess.run([*git, *command], capture_output=True, text=True, check=True) for command in commands]
        return runs[-1].stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        print('note: this package is not in a git checkout, so records have the commit "unknown"', file=sys.stderr)
        return "unknown"


def _cpuinfo() -> str:
    return Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""


def _machine() -> dict:
    """Return the CPU, cores, memory and accelerator, without any name or path of the machine."""
    cpu = _cpuinfo()
    name = re.search(r"model name\s*: (.*)", cpu)
    return {
        "cpu": name[1] if name else platform.processor() or platform.machine(),
        "bf16": "avx512_bf16" in cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if default_device().type == "cuda" else None,
        "system": platform.system(),
        **({"processes": num_distrib()} if num_distrib() > 1 else {}),
    }
