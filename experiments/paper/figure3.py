"""Error against the number of labelled texts (paper, figure 3): from scratch, supervised, semi-supervised.

Supervised: the language model is fine-tuned on the labelled texts alone. Semi-supervised: it is fine-tuned on all of
the task's texts. From scratch: no pretraining and no language model, only the labelled texts; this classifier may train
five times as long, and stops early, as in the paper.

With few labels every method trains for more epochs, up to ten times as many, in batches of at most 16, since an epoch
of 20 texts is only a step or two. From scratch, the learning rate is 0.001 on AG News (chosen by the validation error),
else 0.004; on IMDb and DBpedia it is lower with few labels, in proportion to the smaller batches. The other methods
need no lower rate: with 100, 500 and 1,000 labels of IMDb, semi-supervised from the first language model had a
validation error of 29.2, 18.8 and 16.8 %; with a quarter of the rate, 30.8, 19.6 and 18.8 %. All seeds have the same
labelled texts, so the spread comes from training alone. The pretrained rows also read the pretrained model's other
words (`vocab=union`, as in recipe `default`): with 100 labels of TREC-6, supervised has a test error of 34.00 ± 2.55;
with only the words of its own texts, 40.20 ± 1.91. Differs from the paper: test error, not validation error.
"""

from dataclasses import replace
from math import ceil

from ulmfit_exp.recipe import changed
from ulmfit_exp.results.figures import by_labels, errors_with_baseline
from ulmfit_exp.runs.settings import Experiment

from .base import forward, from_scratch, with_clas, with_recipe

TITLE = "Figure 3: labelled texts"
DATA = ("imdb", "trec", "dbpedia", "ag_news")
REFERENCE = "semi-supervised"
USUAL = (100, 500, 2000)
SIZES = {"imdb": (100, 500, 1000, 2000), "dbpedia": (20, 100, 500, 2000), "sfu": (50, 100)}
"""Numbers of labels, besides all of them, for data sets that need other ones than `USUAL`."""
STEPS, BS = 375, 16
"""If the classifier would train for fewer steps than `STEPS`, it trains longer, with at most `BS` texts per batch."""
SCRATCH = 5
"""Factor for the number of epochs when training from scratch; early stopping may end them sooner."""
SCRATCH_LR = {"ag_news": 1e-3}
"""Learning rates from scratch, for data sets on which little is learnt with that of ULMFiT's last phase."""


def variants(base: Experiment) -> dict[str, Experiment]:
    """Return the three methods, with all labels."""
    base = forward(base)
    pretrained = with_recipe(base, vocab="union")
    return {
        "from scratch": replace(from_scratch(base), labelled_only=True),
        "supervised": replace(pretrained, labelled_only=True),
        REFERENCE: pretrained,
    }


def sized(settings: Experiment, data: str) -> list[Experiment]:
    """Return a method's settings for each number of labels."""
    if settings.miniature:
        return [replace(settings, train_size=size) for size in (40, None)]
    clas = settings.recipe.clas
    if clas.patience and data in SCRATCH_LR:
        settings = with_clas(settings, phases=changed(clas.phases, lr=SCRATCH_LR[data]))
    return [replace(longer(settings, size), train_size=size) for size in (*SIZES.get(data, USUAL), None)]


def longer(settings: Experiment, size: int | None) -> Experiment:
    """Take more, smaller classifier steps for few labels; with early stopping, also more epochs at a lower rate.

    From scratch, the rate falls with the batch size: IMDb's rate for batches of 64 learns nothing in batches of 16.
    """
    clas = settings.recipe.clas
    epochs, times, bs = sum(p.epochs for p in clas.phases), 1, clas.bs
    if size and epochs * size / bs < STEPS:
        bs = min(BS, bs)
        times = min(10, ceil(STEPS * bs / size / epochs))
    phases = tuple(replace(p, epochs=times * p.epochs) for p in clas.phases)
    if clas.patience:
        phases = tuple(replace(p, epochs=SCRATCH * p.epochs, lr=p.lr * bs / clas.bs) for p in phases)
    patience = clas.patience and times * clas.patience
    return with_clas(settings, bs=bs, phases=phases, patience=patience, min_steps=None)  # the phases set the steps


def render(results):
    return by_labels(errors_with_baseline(results), REFERENCE, "from scratch")
