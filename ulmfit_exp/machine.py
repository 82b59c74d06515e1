"""What a run runs on: memory, precision, and the description that goes into its record."""

import ctypes
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch
from fastai.callback.core import Callback

PACKAGES = ("fastai", "fastcore", "torch", "spacy", "pandas", "numpy", "scikit-learn", "wandb")


def keep_memory() -> None:
    """Tell glibc to keep what it has: else every batch's large tensors are mapped and unmapped anew (1.5x slower)."""
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_max = -1, -4
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)


class Autocast(Callback):
    """bfloat16 for the model and the loss, on whatever device: fastai's MixedPrecision is for CUDA alone."""

    order = 10

    def before_batch(self):
        device = next(self.model.parameters()).device.type
        self.context = torch.autocast(device, torch.bfloat16)
        self.context.__enter__()

    def after_loss(self):
        self.context.__exit__(None, None, None)

    def after_pred(self):
        if not self.training:
            self.learn.pred = self.pred.float()


def precision_cbs(precision: str) -> list[Callback]:
    """Callbacks for fp32 (the paper's arithmetic) or bf16."""
    return {"fp32": [], "bf16": [Autocast()]}[precision]


def versions() -> dict[str, str]:
    """Versions of what can change a figure."""
    return {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}}


def commit() -> str:
    """The commit of this code, with + where files differ from it; empty outside a git checkout."""
    root = Path(__file__).parent.parent
    try:
        git = ["git", "-C", str(root)]
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def machine() -> dict:
    """Processor, cores, memory and accelerator, without any name or path of the machine."""
    cpu = platform.processor() or platform.machine()
    memory = 0
    try:
        info = Path("/proc/cpuinfo").read_text()
        cpu = next(line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name"))
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, StopIteration):
        pass
    return {
        "cpu": cpu,
        "bf16": "avx512_bf16" in torch.backends.cpu.get_cpu_capability().lower() or _has_flag("avx512_bf16"),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(memory / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
    }


def _has_flag(flag: str) -> bool:
    try:
        return flag in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
