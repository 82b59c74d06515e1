"""ULMFiT (Howard & Ruder 2018) on today's fastai: how experiments are run. What is run is in `experiments/`."""

import os
import warnings
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for completion in editors
    from .api import Result, load, ulmfit
    from .corpora.corpus import Corpus
    from .recipe import RECIPES, Recipe

# OpenMP's threads wait by spinning, 300,000 times: two runs on the same two cores then reach a twentieth of the speed
# of one. With 1,000 they share it evenly, and one alone has 0.91 of it. Must precede torch's import.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# tqdm's, in every notebook without ipywidgets: it then has no bars, and epochs are printed all the same.
warnings.filterwarnings("ignore", "IProgress not found")

__all__ = ["RECIPES", "Corpus", "Recipe", "Result", "load", "ulmfit"]
_FOUND_IN = {"Corpus": "corpora.corpus", "RECIPES": "recipe", "Recipe": "recipe"}


def __getattr__(name: str):
    """`from ulmfit_exp import Corpus, ulmfit` imports pandas and torch only then: `--help` should not wait for them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FOUND_IN.get(name, 'api')}", __name__), name)


def __dir__() -> list[str]:
    return __all__
