"""Recipes as frozen dataclasses: what is trained, in which phases, at which learning rates.

Ablations of the paper change a recipe with `dataclasses.replace`, which raises an error for an unknown field.
"""

from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from typing import Annotated, Literal

import tyro

from .common import DataError

DIRECTIONS = {"forward": ("forward",), "backward": ("backward",), "both": ("forward", "backward")}


@dataclass(frozen=True)
class Phase:
    """One call of fit: a number of epochs that train the same layers under one schedule."""

    freeze_to: int = 0
    """First layer group that is trained: 0 trains all groups, -1 only the last (the paper's gradual unfreezing)."""
    alone: bool = False
    """Train only the group `freeze_to`, with the groups above it frozen as well (chain-thaw; paper, table 7)."""
    epochs: int = 1
    """Number of passes over the training texts."""
    lr: float = 0.01
    """Highest learning rate of the last layer group."""
    decay: float = 2.6
    """Discriminative learning rates: ratio of a layer group's rate to that of the group below; 1: the same for all."""
    schedule: Literal["stlr", "one_cycle", "cos", "const"] = "stlr"
    """stlr: the paper's slanted triangular learning rates. one_cycle: fastai's cosine cycle, which also cycles the
    momentum. cos: decrease to 0 along half a cosine. const: constant."""


@dataclass(frozen=True)
class Model:
    """Shape and dropout of AWD-LSTM (Merity et al. 2017) under fastai's names."""

    emb_sz: int = 400
    """Width of the embedding, and of the last layer's hidden state."""
    n_hid: int = 1150
    """Width of the other hidden states."""
    n_layers: int = 3
    """Number of LSTM layers."""
    output_p: float = 0.4
    """Dropout after the last layer."""
    hidden_p: float = 0.3
    """Dropout between the LSTM layers."""
    input_p: float = 0.4
    """Dropout after the embedding."""
    embed_p: float = 0.05
    """Dropout of whole words."""
    weight_p: float = 0.5
    """Dropout of hidden-to-hidden weights."""


Pooling = Literal["last", "max", "mean"]
POOLING: tuple[Pooling, ...] = ("last", "max", "mean")


@dataclass(frozen=True)
class Training:
    """Settings for the training of one task, the language model or the classifier."""

    phases: tuple[Phase, ...]
    """Phases, run in order, each with a new optimizer state. Without phases the weights stay unchanged."""
    bs: int = 64
    """Batch size: texts (classifier) or streams of text (language model)."""
    drop_mult: float = 1.0
    """Multiplies every dropout of `model`; the 0.1 before the last layer of a new classifier stays."""
    wd: float = 0.01
    """Weight decay."""
    clip: float = 0.25
    """Gradients are clipped to this norm."""
    patience: int | None = None
    """Early stopping: keep the epoch with the lowest validation error (language model: loss), and end the last phase
    after this many epochs without a lower one. None runs all epochs and keeps the last."""
    min_steps: int | None = None
    """Minimum number of steps: with fewer, as with few labels, each epoch goes over the texts up to ten times."""
    max_steps: int | None = None
    """Maximum number of steps: with more, the last phase is shortened, but to no less than one epoch."""


@dataclass(frozen=True, kw_only=True)
class LMRecipe:
    """All settings of a language model except its texts and its seed."""

    lm: Training
    """Training, or fine-tuning on the task's texts (paper, section 3.2), of the language model."""
    model: Model = Model()
    """Shape and dropout of the model. A pretrained model's shape replaces this one."""
    lang: Annotated[str, tyro.conf.arg(prefix_name=False)] = "en"
    """Language of the texts as a spaCy code, such as de; xx for a language that spaCy lacks. In languages without
    spaces between words (ja, zh, th, lo, km, my) each character is a token."""
    max_vocab: int = 60_000
    """Largest number of words in the vocabulary."""
    min_freq: int = 2
    """Words that occur less often than this are treated as unknown words."""
    seq_len: int = 70
    """Number of steps of back-propagation through time, and length of the chunks of BPT3C."""
    pretrained: Annotated[str, tyro.conf.arg(prefix_name=False)] = "none"
    """Language model to start from: wikipedia-small or reviews-small (ours), wt103 (fastai's; wt103-fwd or wt103-bwd
    for one direction), hf:OWNER/NAME, a folder in our format, the folder of a finished run (with #clas at the end: its
    classifiers' encoders), a folder or .tgz of fastai's .pth and vocabulary, or none (random weights)."""
    skip_tokens: int = 0
    """Number of tokens at the beginning, rounded up to whole texts, that the language model does not train on."""
    max_tokens: int | None = None
    """Number of tokens, rounded up to whole texts, that the language model trains on after those skipped; None: all."""
    vocab: Literal["task", "union", "pretrained"] = "task"
    """task: the words of the texts, by `max_vocab` and `min_freq`. union: these, then the other words of the pretrained
    model, which are read but never predicted. pretrained: the words of the pretrained model alone."""
    softmax_samples: int | None = None
    """Sampled softmax (Jean et al. 2015): a training step of the language model computes the logits of the batch's
    words and of this many other words drawn at random; None computes all. Validation always computes all."""


@dataclass(frozen=True, kw_only=True)
class Recipe(LMRecipe):
    """All settings of a run except its corpus and its seed."""

    clas: Training
    """Fine-tuning of the classifier (paper, section 3.3)."""
    direction: Literal["forward", "backward", "both"] = "both"
    """Direction in which texts are read; both averages the probabilities of the two classifiers."""
    max_len: int = 1400
    """The classifier pools over at most this many tokens: the last ones that it reads, a text's first if backward."""
    pooling: tuple[Pooling, ...] = POOLING
    """Input of the classifier's head: the last state of a text, and the maximum and the mean of all its states."""
    head: Literal["clas", "features", "lp-ft"] = "clas"
    """clas: the classifier is fine-tuned, with a new head. features: logistic regression on the language model's pooled
    states. lp-ft: the classifier is fine-tuned with that regression as its head (Kumar et al. 2022)."""
    class_weights: Annotated[bool, tyro.conf.arg(prefix_name=False)] = False
    """Weight the classes in the classifier's loss inversely to their number of training texts, for imbalanced data."""


def recipe_from(record: dict) -> LMRecipe:
    """Return the recipe in a record's settings; a field that the record lacks gets its default.

    Raises `DataError` if the record has an unknown field.
    """
    try:
        values = {**record, "model": Model(**record["model"])}
        for task in record.keys() & {"lm", "clas"}:
            phases = tuple(Phase(**phase) for phase in record[task]["phases"])
            values[task] = Training(**{**record[task], "phases": phases})
        if "pooling" in record:
            values["pooling"] = tuple(record["pooling"])
        return (Recipe if "clas" in record else LMRecipe)(**values)
    except TypeError as e:
        raise DataError(
            f"the recipe of the record has a field that this version does not know ({e}); use the commit in the record"
        ) from e


def differences(recipe, other) -> dict[str, str]:
    """Return the fields of a recipe that differ from those of another one: name -> value in words, such as
    `clas.phases` -> `[-1: 1 epoch stlr 0.01/2.6, 0: 8 epochs stlr 0.004/2.6]`."""
    found = {}
    for field in fields(recipe):
        ours, theirs = getattr(recipe, field.name), getattr(other, field.name, None)
        if ours == theirs:
            continue
        if is_dataclass(ours) and is_dataclass(theirs):
            found |= {f"{field.name}.{k}": v for k, v in differences(ours, theirs).items()}
        else:
            found[field.name] = in_words(ours)
    return found


def in_words(value) -> str:
    """Describe a setting in a few words; phases on one line: layer groups, epochs, schedule, learning rate/decay."""
    if not isinstance(value, tuple):
        return str(value)
    if not all(isinstance(part, Phase) for part in value):
        return ", ".join(map(str, value))
    phases = (
        f"{'only ' * p.alone}{p.freeze_to}: {p.epochs} epoch{'s' * (p.epochs != 1)} {p.schedule} {p.lr:g}"
        + (f"/{p.decay:g}" if p.decay != 1 else "")
        for p in value
    )
    return f"[{', '.join(phases)}]" if value else "none"


def not_default(settings):
    """Return nested settings as JSON values, without the fields that have their class's default.

    The names of stages depend on the result, so a new field does not change the names of old stages. For the same
    reason a class's default must never change; give a recipe another value instead.
    """
    if is_dataclass(settings):
        values = {f: getattr(settings, f.name) for f in fields(settings)}
        return {f.name: not_default(v) for f, v in values.items() if f.default is MISSING or v != f.default}
    return [not_default(v) for v in settings] if isinstance(settings, tuple) else settings


def gradual(groups: int, epochs: int = 1, **settings) -> tuple[Phase, ...]:
    """Return phases that unfreeze one more of `groups` layer groups every `epochs` epochs, up to all but the lowest."""
    return tuple(Phase(freeze_to=-i, epochs=epochs, **settings) for i in range(1, groups))


def changed(phases: tuple[Phase, ...], **fields) -> tuple[Phase, ...]:
    """Return all phases with these fields replaced."""
    return tuple(replace(p, **fields) for p in phases)


RECIPES = {
    # The paper's settings.
    "paper": Recipe(
        pretrained="wt103",
        lm=Training((Phase(epochs=15, lr=0.004),)),
        clas=Training((*gradual(groups=5), Phase(epochs=46))),
    ),
    # For two cores: a small pretrained language model.
    "small": Recipe(
        pretrained="wikipedia-small",
        model=Model(emb_sz=192, n_hid=448, output_p=0.2, hidden_p=0.15, input_p=0.25, embed_p=0.02, weight_p=0.2),
        lm=Training((Phase(epochs=6, lr=4e-3),), bs=32),
        clas=Training((*gradual(groups=5, lr=0.01), Phase(epochs=8, lr=4e-3)), bs=16),
    ),
    # For two cores, without pretraining: a language model trained only on the task's own texts.
    "scratch": Recipe(
        model=Model(emb_sz=128, n_hid=256, output_p=0.2, hidden_p=0.15, input_p=0.25, embed_p=0.02, weight_p=0.2),
        lm=Training((Phase(epochs=10, lr=4e-3, decay=1.0, schedule="one_cycle"),), bs=32),
        clas=Training((*gradual(groups=5), Phase(epochs=10, lr=4e-3, decay=1.0)), bs=16, drop_mult=2.0),
        max_vocab=8_000,
    ),
    # For the miniatures: an epoch takes seconds.
    "tiny": Recipe(
        pretrained="wikipedia-small",
        model=Model(emb_sz=48, n_hid=64, output_p=0.1, hidden_p=0.1, input_p=0.1, embed_p=0.0, weight_p=0.1),
        lm=Training((Phase(epochs=6, lr=4e-3),), bs=8),
        clas=Training((*gradual(groups=5), Phase(epochs=12, lr=4e-3)), bs=8),
    ),
}

# One recipe for all data sets (experiments/notes/recipe.md). Such a small model's lower layers have much to learn, too.
RECIPES["default"] = replace(
    RECIPES["small"],
    vocab="union",
    lm=Training((Phase(epochs=8, lr=8e-3, decay=1.3),), bs=32, max_steps=10_000),
    clas=Training(
        (*gradual(groups=5, decay=1.3), Phase(epochs=8, lr=4e-3, decay=1.3)), bs=16, min_steps=400, max_steps=6_000
    ),
)

# For few labels: linear probing, then fine-tuning. A new head would overfit to so few labels.
RECIPES["lp-ft"] = replace(
    RECIPES["default"],
    head="lp-ft",
    clas=replace(RECIPES["default"].clas, phases=(Phase(epochs=3, lr=2e-3, decay=1.3),), min_steps=200),
)

# Without fine-tuning a classifier: the language model is used as a feature extractor.
RECIPES["features"] = replace(RECIPES["default"], head="features")

# The general-domain language model (paper, section 3.1).
PRETRAINING = {
    "paper": LMRecipe(lm=Training((Phase(epochs=10, lr=4e-3, decay=1.0, schedule="one_cycle"),))),
    "small": LMRecipe(
        model=Model(emb_sz=192, n_hid=448, output_p=0.05, hidden_p=0.05, input_p=0.05, embed_p=0.01, weight_p=0.05),
        lm=Training((Phase(lr=6e-3, decay=1.0, schedule="one_cycle"),), bs=32),
        max_vocab=16_000,
        max_tokens=20_000_000,
    ),
    "tiny": LMRecipe(
        model=RECIPES["tiny"].model, lm=Training((Phase(lr=0.01, decay=1.0, schedule="one_cycle"),), bs=8)
    ),
}

# Continues with the shipped model on the texts of a domain, whose words become the vocabulary.
PRETRAINING["domain"] = replace(
    PRETRAINING["small"],
    pretrained="wikipedia-small",
    lm=Training((Phase(lr=3e-3, decay=1.0),), bs=32),
    softmax_samples=2_000,
    max_tokens=8_000_000,
)
# The shipped model's last training cycle, on a GPU: all texts twice, without dropout (experiments/notes/pretrain.md).
PRETRAINING["cycle"] = replace(
    PRETRAINING["domain"],
    vocab="pretrained",
    model=replace(PRETRAINING["small"].model, output_p=0.0, hidden_p=0.0, input_p=0.0, embed_p=0.0, weight_p=0.0),
    lm=Training((Phase(epochs=2, lr=8e-3, decay=1.0),), bs=128),
    softmax_samples=None,
    max_tokens=None,
)
