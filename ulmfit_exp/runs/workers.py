"""What runs a grid's cells: `Workers`, and the processes of this machine; `cluster.py` has those of others.

pebble's pool, in which a process that dies loses its own cell alone. The standard library's would lose every cell.
"""

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import psutil
from joblib import cpu_count
from pebble import ProcessExpired, ProcessPool

from ..common import DataError
from ..method.machine import end_with_parent, gpus
from .interrupt import SIGNALS, interruptible, leave
from .run import run
from .settings import Experiment

APPEARS = 90
"""Seconds to wait for a file that another machine has written."""


@dataclass(frozen=True)
class Workers:
    """Processes that run cells, on this machine or on others. Which cell is next is the grid's own decision."""

    submit: Callable[[Experiment, Path], Future]
    """Have one of them run some settings, its output going to a log; the future is of what `work` returns."""
    slots: Callable[[], int]
    """How many cells they can run at once, now."""
    deaths: tuple[type[Exception], ...] = ()
    """Exceptions of a future whose machine died; `ProcessExpired` is that of a process of this one."""

    def outcome(self, future: Future) -> tuple[str | None, bool]:
        """What went wrong with a cell, None if nothing; and whether its process or machine died.

        Raises `DataError` where no process can be had for any cell.
        """
        try:
            return future.result(), False
        except DataError:
            raise
        except ProcessExpired as e:
            return f"its process ended with exit code {e.exitcode}; it was killed, or ran out of memory", True
        except self.deaths as e:
            return str(e).partition("\n")[0] or repr(e), True
        except Exception as e:  # also where a machine lacks a module
            return error_line(e), False


@contextmanager
def pool(jobs: int, device: str = "auto") -> Iterator[Workers]:
    """So many processes of this machine, each with its share of the threads, and one GPU where there are any and
    `device` names none by its number.

    On the way out they are ended: a cell under way closes its W&B run, and resumes from its checkpoint next time.
    """
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = before or str(max(1, cpu_count() // jobs))  # read by torch in the new processes
    spawn = get_context("spawn")  # a fork may inherit a lock that is held
    shared = [] if ":" in device else gpus()
    processes = ProcessPool(jobs, initializer=init_worker, initargs=[shared, spawn.Array("i", jobs)], context=spawn)
    try:
        yield Workers(lambda settings, log: processes.schedule(work, args=[settings, log]), slots=lambda: jobs)
    finally:
        processes.stop()
        processes.join()
        if before is None:
            del os.environ["OMP_NUM_THREADS"]


def init_worker(gpus: list[str], pids) -> None:
    """In a new process: take the place of one that has ended in `pids`, and the GPU of that place."""
    end_with_parent()
    with pids.get_lock():
        place = next((i for i, pid in enumerate(pids) if not pid or not psutil.pid_exists(pid)), 0)
        pids[place] = os.getpid()
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[place % len(gpus)]


def work(settings: Experiment, log: Path) -> str | None:
    """Run some settings in this process; the reason if that failed. A signal ends the process, its W&B run closed."""
    before = {s: signal.getsignal(s) for s in SIGNALS}
    interruptible()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a", buffering=1, encoding="utf-8") as out, redirect_stdout(out), redirect_stderr(out):
            try:
                run(settings)
            except Exception:
                traceback.print_exc()
                raise
    except KeyboardInterrupt:
        leave()
    except Exception as e:
        return error_line(e) + ("" if isinstance(e, DataError) else f"; see {log}")
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
    return None


def error_line(e: Exception) -> str:
    """An exception in a line."""
    e = getattr(e, "cause", None) or e  # Ray's errors have that of the task as their cause
    if isinstance(e, (DataError, OSError)) and str(e):
        return str(e)
    return f"{type(e).__name__}: {' '.join(str(e).split())}"


def appears(path: Path, within: float | None = None) -> bool:
    """Is a file that another machine writes visible, now or within some seconds?

    NFS caches for a minute that a file was absent; listing its folder refreshes that.
    """
    end = time.monotonic() + (APPEARS if within is None else within)
    while True:
        for folder in (path.parent.parent, path.parent):
            if folder.is_dir():
                os.listdir(folder)
        if path.exists() or time.monotonic() >= end:
            return path.exists()
        time.sleep(0.5)
