"""ULMFiT (Howard & Ruder 2018) on today's fastai: how experiments are run. What is run lives in `experiments/`."""

import os
from importlib import import_module

# OpenMP's threads wait by spinning, 300,000 times: two runs on the same two cores then reach a twentieth of the speed
# of one. With 1,000 they share it evenly, and one alone has 0.91 of it. Must precede torch's import.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

FOUND_IN = {"Corpus": "corpora.corpus", "ulmfit": "api"}
__all__ = list(FOUND_IN)


def __getattr__(name: str):
    """From ulmfit_exp import Corpus, ulmfit: these import pandas and torch, for which no --help is to wait."""
    if name not in FOUND_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{FOUND_IN[name]}", __name__), name)
