"""Processes that run a grid's cells: pebble's pool, in which a process that dies fails its own cell alone.

The standard library's pool would fail every cell with it.
"""

import os
import signal
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from multiprocessing import get_context
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from ..common import DataError
from ..method.machine import cores, end_with_parent, gpus
from .interrupt import interruptible, leave
from .run import run
from .settings import Experiment


@contextmanager
def pool(jobs: int) -> Iterator[Callable[[Experiment, Path], Future]]:
    """A function that has one of `jobs` processes run some settings, its output going to a log, and returns a future.

    Each process has its share of the threads, and one GPU where there are any. On the way out they are ended: a cell
    under way closes its W&B run, and resumes from its checkpoint next time.
    """
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = before or str(max(1, cores() // jobs))  # read by torch in the new processes
    spawn = get_context("spawn")  # a fork may inherit a lock that is held
    processes = ProcessPool(jobs, initializer=start, initargs=[gpus(), spawn.Value("i", 0)], context=spawn)
    try:
        yield lambda settings, log: processes.schedule(work, args=[settings, log])
    finally:
        processes.stop()
        processes.join()
        if before is None:
            del os.environ["OMP_NUM_THREADS"]


def start(gpus: list[str], started) -> None:
    """In a new process: the GPUs in turn, one a process; `started` counts the processes."""
    end_with_parent()
    with started.get_lock():
        if gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus[started.value % len(gpus)]
        started.value += 1


def error_of(future: Future) -> str | None:
    """What went wrong with a cell; None if nothing."""
    try:
        return future.result()
    except ProcessExpired as e:
        return f"its process ended with exit code {e.exitcode}; was it killed, or is memory short?"


def work(settings: Experiment, log: Path) -> str | None:
    """Run some settings in this process; the reason if that failed."""
    default = signal.getsignal(signal.SIGTERM)
    interruptible()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal; ours ends its workers
    try:
        _logged(settings, log)
    except KeyboardInterrupt:
        leave()
    except Exception as e:
        return reason(e) + ("" if isinstance(e, DataError) else f"; see {log}")
    finally:
        signal.signal(signal.SIGTERM, default)
    return None


def _logged(settings: Experiment, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", buffering=1, encoding="utf-8") as out, redirect_stdout(out), redirect_stderr(out):
        try:
            run(settings)
        except Exception:
            traceback.print_exc()
            raise


def reason(e: Exception) -> str:
    """An exception in a line."""
    return str(e) if isinstance(e, (DataError, OSError)) and str(e) else repr(e)
