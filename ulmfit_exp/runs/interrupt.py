"""Ending a process early: Ctrl-C and SIGTERM, with W&B's runs closed."""

import os
import signal
import sys
from contextlib import suppress
from threading import Timer
from typing import NoReturn


def leave() -> NoReturn:
    """End this process at once with W&B's runs closed, one that is being opened too; its pools' processes follow."""
    with suppress(Exception):  # W&B may be missing, or broken
        sys.modules["wandb"].teardown(exit_code=130)
    os._exit(130)


def interruptible() -> None:
    """SIGTERM is like Ctrl-C, and either ends this process within two seconds, whatever it is doing."""

    def stop(*_):
        timer = Timer(1.8, os._exit, (130,))
        timer.daemon = True
        timer.start()
        for s in (signal.SIGINT, signal.SIGTERM):
            signal.signal(s, signal.SIG_IGN)  # what is being closed is closed
        raise KeyboardInterrupt

    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, stop)
