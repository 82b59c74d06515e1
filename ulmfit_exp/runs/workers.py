"""Processes that run a grid's cells: `Workers`, and a pool on this machine; `cluster.py` has those on other machines.

The pool is pebble's: if a process dies, only its own cell is lost. The standard library's pool would lose every cell.
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
from threading import RLock

import psutil
from joblib import cpu_count
from pebble import ProcessExpired, ProcessPool
from tqdm import tqdm

from ..common import DataError
from ..method.machine import end_with_parent, gpus
from .interrupt import SIGNALS, interruptible, leave
from .run import run
from .settings import Experiment

APPEARS = 90
"""Seconds to wait for a file that another machine has written."""


@dataclass(frozen=True)
class Workers:
    """Processes that run cells, on this machine or on others. The grid decides which cell is next."""

    submit: Callable[[Experiment, Path], Future]
    """Have a process run these settings and write its output to a log; the future holds what `work` returns."""
    slots: Callable[[], int]
    """Return the number of cells that can run at once now."""
    deaths: tuple[type[Exception], ...] = ()
    """Exceptions of a future whose process or machine died, besides `ProcessExpired` for a process of this machine."""

    def outcome(self, future: Future) -> tuple[str | None, bool]:
        """Return a cell's error, or None, and whether its process or machine died.

        Raises `DataError` if no process is available for any cell.
        """
        try:
            return future.result(), False
        except DataError:
            raise
        except ProcessExpired as e:
            return f"its process ended with exit code {e.exitcode}; it was killed, or ran out of memory", True
        except self.deaths as e:
            return str(e).partition("\n")[0] or repr(e), True
        except Exception as e:  # also if a machine lacks a module
            return error_line(e), False


@contextmanager
def pool(jobs: int, device: str = "auto") -> Iterator[Workers]:
    """Start `jobs` processes on this machine, each with its share of the threads, and with one of the GPUs, if there
    are any and `device` does not name one by its number.

    On exit they are ended: a running cell closes its W&B run, and resumes from its checkpoint next time.
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
    """Prepare a new process: it takes the place in `pids` of one that has ended, and the GPU of that place."""
    end_with_parent()
    tqdm.set_lock(RLock())  # its default is a semaphore, about which Python warns if this process is ended
    with pids.get_lock():
        place = next((i for i, pid in enumerate(pids) if not pid or not psutil.pid_exists(pid)), 0)
        pids[place] = os.getpid()
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[place % len(gpus)]


def work(settings: Experiment, log: Path) -> str | None:
    """Run these settings; return the error, or None. A signal closes the W&B run and ends this process."""
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
    """Return an exception as one line."""
    e = getattr(e, "cause", None) or e  # a Ray error has the task's error as its cause
    if isinstance(e, (DataError, OSError)) and str(e):
        return str(e)
    return f"{type(e).__name__}: {' '.join(str(e).split())}"


def visible(path: Path) -> bool:
    """Return whether a file exists. NFS caches for a minute that it was absent; listing its folder refreshes that."""
    for folder in (path.parent.parent, path.parent):
        if folder.is_dir():
            os.listdir(folder)
    return path.exists()


def appears(path: Path) -> bool:
    """Return whether a file that another machine writes becomes visible within `APPEARS` seconds."""
    end = time.monotonic() + APPEARS
    while not (found := visible(path)) and time.monotonic() < end:
        time.sleep(0.5)
    return found
