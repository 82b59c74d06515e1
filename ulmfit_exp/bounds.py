"""Which settings of a recipe are possible."""

import sys
from dataclasses import asdict, is_dataclass
from typing import Literal, get_args, get_origin, get_type_hints

from .common import DataError, flat
from .recipe import POOLING, LMRecipe

ABOVE_0, MOST = 1e-12, sys.float_info.max
BOUNDS = {
    **dict.fromkeys(("epochs", "drop_mult", "wd", "skip_tokens"), (0, MOST)),
    **dict.fromkeys(("lr", "decay", "clip"), (ABOVE_0, MOST)),
    **dict.fromkeys(("emb_sz", "n_hid", "n_layers", "min_freq", "seq_len", "max_len"), (1, MOST)),
    **dict.fromkeys(("max_tokens", "softmax_samples", "lm.bs", "patience", "min_steps", "max_steps"), (1, MOST)),
    **dict.fromkeys(("output_p", "hidden_p", "input_p", "embed_p", "weight_p"), (0, 0.999)),
    "clas.bs": (2, MOST),  # batch norm needs two texts
    "max_vocab": (100, MOST),
    "lm.freeze_to": (-4, 3),  # fastai's language model has 4 layer groups
    "clas.freeze_to": (-5, 4),
}
"""Least and greatest value of a field, of one task or of any."""


def check(recipe: LMRecipe) -> None:
    """Raises `DataError`, which names the option, where a value is impossible."""
    _check_choices(recipe, type(recipe), "--recipe")
    for option, value in flat(asdict(recipe)).items():
        task, name = option.split(".")[0], option.split(".")[-1]
        low, high = BOUNDS.get(f"{task}.{name}") or BOUNDS.get(name, (-MOST, MOST))
        if isinstance(value, int | float) and not low <= value <= high:
            least = f"{low} to {high}" if high < MOST else f"{low} or more" if low != ABOVE_0 else "more than 0, finite"
            raise DataError(f"--recipe.{option.replace('_', '-')} {value} is impossible: it must be {least}")
    dropout, name = max((p, name.replace("_", "-")) for name, p in asdict(recipe.model).items() if name.endswith("_p"))
    for task in {"lm", "clas"} & vars(recipe).keys():
        if dropout * (mult := getattr(recipe, task).drop_mult) >= 1:
            raise DataError(f"--recipe.{task}.drop-mult {mult} is impossible: times --recipe.model.{name} it is >= 1")
    if getattr(recipe, "pooling", POOLING) == ():
        raise DataError("--recipe.pooling is empty: name one or more of " + ", ".join(POOLING))


def _check_choices(value, hint, option: str) -> None:
    """The same for the fields with a choice of names, however deep."""
    if is_dataclass(value):
        for name, inner in get_type_hints(type(value)).items():
            _check_choices(getattr(value, name), inner, f"{option}.{name.replace('_', '-')}")
    elif isinstance(value, tuple):
        for i, part in enumerate(value):
            _check_choices(part, get_args(hint)[0], option if isinstance(part, str) else f"{option}.{i}")
    elif get_origin(hint) is Literal and value not in get_args(hint):
        raise DataError(f"{option} {value} is none of {', '.join(get_args(hint))}")
