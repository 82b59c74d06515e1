"""Error against the number of labelled texts (paper, figure 3): from scratch, supervised, semi-supervised.

Supervised: the language model is fine-tuned on the labelled texts alone. Semi-supervised: on all of the task's texts.
From scratch: no pretraining and no language model, only the labelled texts.

Differs from the paper: test error, not validation error, which the curves of a small validation split would not show.
"""

from dataclasses import replace

from experiments.paper.base import forward, full, with_clas, with_lm, with_recipe
from ulmfit_exp.experiment import Experiment
from ulmfit_exp.figures import by_labels

TITLE = "Figure 3: labelled texts"
DATA = ("imdb", "trec", "dbpedia")
SIZES = {
    "imdb": (100, 500, 1000, 2000, 4500),
    "trec": (100, 500, 2000, None),
    "dbpedia": (20, 100, 500, 2000, None),
    "sfu": (50, 100, 200, None),
    "squad": (100, 500, 2000, None),
}


def variants(base: Experiment) -> dict[str, Experiment]:
    """The three methods, with all labels; `sizes` has how many labels each is run with."""
    base = forward(base)
    untrained = with_lm(with_recipe(base, pretrained="none"), phases=())
    return {
        "from scratch": replace(with_clas(untrained, phases=full(base)), labelled_only=True),
        "supervised": replace(base, labelled_only=True),
        "semi-supervised": base,
    }


def sizes(settings: Experiment, data: str) -> tuple[int | None, ...]:
    """Numbers of labelled texts; None is all."""
    return (40, None) if settings.miniature else SIZES[data]


def render(results):
    return by_labels(results)
