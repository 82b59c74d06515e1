"""Error against the number of labelled texts (paper, figure 3): from scratch, supervised, semi-supervised.

Supervised: the language model is fine-tuned on the labelled texts alone. Semi-supervised: on all of the task's texts.
From scratch: no pretraining and no language model, only the labelled texts; it stops early, as in the paper.

Every method trains for more epochs where there are few labels, up to ten times as many, since an epoch of 20 texts is
one step. The labelled texts are the same for all seeds: the spread is that of training, not of the choice of texts.
Differs from the paper: test error, not validation error.
"""

from dataclasses import replace

from experiments.paper.base import PATIENCE, forward, full, with_clas, with_lm, with_recipe
from ulmfit_exp.experiment import Experiment
from ulmfit_exp.figures import by_labels

TITLE = "Figure 3: labelled texts"
DATA = ("imdb", "trec", "dbpedia")
SIZES = {
    "imdb": (100, 500, 1000, 2000, None),
    "trec": (100, 500, 2000, None),
    "dbpedia": (20, 100, 500, 2000, None),
    "sfu": (50, 100, None),
    "squad": (100, 500, 2000, None),
}
ENOUGH = 500
"""Labelled texts from which the recipe's own epochs do."""


def variants(base: Experiment) -> dict[str, Experiment]:
    """The three methods, with all labels."""
    base = forward(base)
    untrained = with_lm(with_recipe(base, pretrained="none"), phases=())
    return {
        "from scratch": replace(with_clas(untrained, phases=full(base), patience=PATIENCE), labelled_only=True),
        "supervised": replace(base, labelled_only=True),
        "semi-supervised": base,
    }


def sized(settings: Experiment, data: str) -> list[Experiment]:
    """A method with each number of labels."""
    sizes = (40, None) if settings.miniature else SIZES[data]
    return [replace(longer(settings, size), train_size=size) for size in sizes]


def longer(settings: Experiment, size: int | None) -> Experiment:
    """More epochs of the classifier for few labels."""
    times = 1 if size is None or settings.miniature else max(1, min(10, ENOUGH // size))
    phases = settings.recipe.clas.phases
    return with_clas(settings, phases=tuple(replace(p, epochs=p.epochs * times) for p in phases))


def render(results):
    return by_labels(results)
