"""ULMFiT (Howard & Ruder 2018) on current fastai: the library that runs the experiments defined in `experiments/`."""

import os
import warnings
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for completion in editors
    from .api import Result, load, ulmfit
    from .corpora.corpus import Corpus
    from .recipe import RECIPES, Recipe

# By default, waiting OpenMP threads spin 300,000 times: two runs on the same two cores then reach a twentieth of the
# speed of one. With 1,000 they share it evenly, and a single run has 0.91 of it. Must be set before torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# tqdm's warning in every notebook without ipywidgets: there are no progress bars then, but epochs are still printed.
warnings.filterwarnings("ignore", "IProgress not found")

__all__ = ["RECIPES", "Corpus", "Recipe", "Result", "load", "ulmfit"]
_FOUND_IN = {"Corpus": "corpora.corpus", "RECIPES": "recipe", "Recipe": "recipe"}


def __getattr__(name: str):
    """Import a public name, and with it pandas and torch, only when it is used: `--help` should not wait for them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FOUND_IN.get(name, 'api')}", __name__), name)


def __dir__() -> list[str]:
    return __all__
