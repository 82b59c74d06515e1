"""Ending a process early, by Ctrl-C or a signal such as SIGTERM, with its W&B runs closed."""

import os
import signal
import sys
from contextlib import suppress
from threading import Timer
from typing import NoReturn

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR2") if hasattr(signal, name))
"""Ctrl-C, the usual request to end, and a batch system's warning that the time is nearly over (not on Windows)."""


def leave() -> NoReturn:
    """Close W&B's runs, including one that is being opened, and end this process; its pools' processes end with it."""
    with suppress(Exception):  # W&B may be missing, or broken
        sys.modules["wandb"].teardown(exit_code=130)
    os._exit(130)


def interruptible(within: float = 1.8) -> None:
    """Treat each of `SIGNALS` as Ctrl-C, and end this process within `within` seconds, whatever it is doing."""

    def stop(*_):
        timer = Timer(within, os._exit, (130,))
        timer.daemon = True
        timer.start()
        for s in SIGNALS:
            signal.signal(s, signal.SIG_IGN)  # further signals do not interrupt the closing
        raise KeyboardInterrupt

    for s in SIGNALS:
        signal.signal(s, stop)
