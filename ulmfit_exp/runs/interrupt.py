"""Ending a process early: Ctrl-C and SIGTERM, with W&B's runs closed."""

import os
import signal
import sys
from contextlib import suppress
from threading import Timer
from typing import NoReturn

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR2") if hasattr(signal, name))
"""Ctrl-C, the usual request to end, and that of a batch system whose time is nearly over (not on Windows)."""


def leave() -> NoReturn:
    """End this process at once with W&B's runs closed, one that is being opened too; its pools' processes follow."""
    with suppress(Exception):  # W&B may be missing, or broken
        sys.modules["wandb"].teardown(exit_code=130)
    os._exit(130)


def interruptible(within: float = 1.8) -> None:
    """Any of `SIGNALS` is like Ctrl-C, and ends this process within so many seconds, whatever it is doing."""

    def stop(*_):
        timer = Timer(within, os._exit, (130,))
        timer.daemon = True
        timer.start()
        for s in SIGNALS:
            signal.signal(s, signal.SIG_IGN)  # what is being closed is closed
        raise KeyboardInterrupt

    for s in SIGNALS:
        signal.signal(s, stop)
