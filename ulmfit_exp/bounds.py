"""Checks of settings: their types, and the range of a recipe's values."""

import sys
from dataclasses import asdict, fields, is_dataclass
from reprlib import repr as short
from types import UnionType
from typing import Literal, Union, get_args, get_origin, get_type_hints

from .common import DataError, flat
from .recipe import LMRecipe, Pooling

ABOVE_0, MOST = 1e-12, sys.float_info.max
BOUNDS = {
    **dict.fromkeys(("epochs", "drop_mult", "wd", "skip_tokens"), (0, MOST)),
    **dict.fromkeys(("lr", "clip"), (ABOVE_0, MOST)),
    "decay": (ABOVE_0, 1e9),  # its fourth power must be finite
    **dict.fromkeys(("emb_sz", "n_hid", "n_layers", "min_freq", "seq_len", "max_len"), (1, MOST)),
    **dict.fromkeys(("max_tokens", "softmax_samples", "lm.bs", "patience", "min_steps", "max_steps"), (1, MOST)),
    **dict.fromkeys(("output_p", "hidden_p", "input_p", "embed_p", "weight_p"), (0, 0.999)),
    "clas.bs": (2, MOST),  # batch norm needs two texts
    "max_vocab": (100, MOST),
    "lm.freeze_to": (-4, 3),  # fastai's language model has 4 layer groups
    "clas.freeze_to": (-5, 4),
}
"""Lowest and highest value of each field; a name such as `lm.bs` is the field of one task only."""


def check(recipe: LMRecipe) -> None:
    """Raise `DataError`, which names the option, if a value of the recipe is impossible."""
    check_type(recipe, type(recipe), "--recipe")
    for option, value in flat(asdict(recipe)).items():
        task, name = option.split(".")[0], option.split(".")[-1]
        low, high = BOUNDS.get(f"{task}.{name}") or BOUNDS.get(name, (-MOST, MOST))
        if isinstance(value, int | float) and not low <= value <= high:
            least = f"{low} to {high}" if high < MOST else f"{low} or more"
            if low == ABOVE_0:
                least = "more than 0, " + (f"up to {high:g}" if high < MOST else "finite")
            raise DataError(f"--recipe.{option.replace('_', '-')} {value} is impossible: it must be {least}")
    dropout, name = max((p, name.replace("_", "-")) for name, p in asdict(recipe.model).items() if name.endswith("_p"))
    for task in {"lm", "clas"} & vars(recipe).keys():
        if dropout * (mult := getattr(recipe, task).drop_mult) >= 1:
            raise DataError(
                f"--recipe.{task}.drop-mult {mult} is impossible: multiplied by --recipe.model.{name} it is 1 or more"
            )
    if getattr(recipe, "pooling", None) == ():
        raise DataError("--recipe.pooling is empty: name one or more of " + ", ".join(get_args(Pooling)))


def check_type(value, hint, name: str) -> None:
    """Raise `DataError`, which names the setting, if a value or a part of it does not match its type hint."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    classes = tuple(get_origin(kind) or kind for kind in kinds if get_origin(kind) is not Literal)
    if float in classes:
        classes += (int,)
    if not isinstance(value, classes) and not (isinstance(value, str) and value in choices):
        if choices:
            raise DataError(f"{name} {short(value)} is unknown; choose one of {', '.join(choices)}")
        expected = " or ".join(kind.__name__.replace("NoneType", "None") for kind in classes)
        raise DataError(f"{name} is {short(value)}, of type {type(value).__name__}; it must be of type {expected}")
    if is_dataclass(value):
        hints = get_type_hints(type(value))
        for field in fields(value):
            option = field.name.replace("_", "-") if name.startswith("--") else field.name
            check_type(getattr(value, field.name), hints[field.name], f"{name}.{option}")
    elif isinstance(value, tuple):
        (inner, *_) = next(get_args(kind) for kind in kinds if get_args(kind) and get_origin(kind) is not Literal)
        for i, part in enumerate(value):
            check_type(part, inner, f"{name}.{i}")
