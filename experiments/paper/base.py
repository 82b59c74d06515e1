"""The base run of each data set, and the functions that derive the variants from it."""

from dataclasses import replace

from ulmfit_exp.recipe import Phase, Recipe, changed
from ulmfit_exp.runs.settings import Experiment

from ..ag_news import AgNews
from ..dbpedia import Dbpedia
from ..imdb import FIFTH, Imdb
from ..sfu import Sfu
from ..squad import Squad
from ..trec import Trec
from ..yelp import Yelp

DATA = {
    "imdb": Imdb(sample=0.2),  # 5,000 training, 10,000 unlabelled and 5,000 test reviews: for two cores
    "imdb-full": Imdb(),
    "trec": Trec(),
    "sfu": Sfu(),
    "dbpedia": Dbpedia(),
    "ag_news": AgNews(),
    "yelp-polarity": Yelp(),
    "yelp-full": Yelp(level="full"),
    "squad": Squad(),
}
FOLDS = 5
PATIENCE = 5
"""Number of epochs without improvement after which early stopping ends training."""
PLAIN_LR = 1e-3
"""The paper's learning rate of the classifier without discriminative rates, a tenth of that with them (section 5)."""


def replicates(data: str, seeds: int, recipe: str = "small") -> list[Experiment]:
    """Return a data set's run for each seed; for SFU each fold with seed 0, all five folds for 3 or more `seeds`."""
    recipes = FIFTH if data == "imdb" else DATA[data].recipes
    base = replace(DATA[data], recipe_name=recipe, recipe=recipes[recipe])
    if base.replicate_by == "fold":
        return [replace(base, fold=fold) for fold in range(seeds if seeds < 3 else FOLDS)]
    return [replace(base, seed=seed) for seed in range(seeds)]


def miniature_of(base: Experiment) -> Experiment:
    """Return the same run on the bundled texts, with a shortened recipe `tiny`."""
    return replace(base, miniature=True, recipe_name="tiny", recipe=shorter(base.recipes["tiny"]))


def shorter(recipe: Recipe) -> Recipe:
    """Return `recipe` with one epoch per phase."""
    lm, clas = (replace(t, phases=changed(t.phases, epochs=1)) for t in (recipe.lm, recipe.clas))
    return replace(recipe, lm=lm, clas=clas)


def with_recipe(base: Experiment, **changes) -> Experiment:
    """Return `base` with these fields of its recipe changed."""
    return replace(base, recipe=replace(base.recipe, **changes))


def with_lm(base: Experiment, **changes) -> Experiment:
    """Return `base` with these settings of language model fine-tuning changed."""
    return with_recipe(base, lm=replace(base.recipe.lm, **changes))


def with_clas(base: Experiment, **changes) -> Experiment:
    """Return `base` with these settings of classifier fine-tuning changed."""
    return with_recipe(base, clas=replace(base.recipe.clas, **changes))


def forward(base: Experiment) -> Experiment:
    """Return `base` in the forward direction only, the paper's protocol for its analyses."""
    return with_recipe(base, direction="forward")


def from_scratch(base: Experiment) -> Experiment:
    """Return `base` without any language model; early stopping ends the training of all layers of its classifier."""
    untrained = with_lm(with_recipe(base, pretrained="none"), phases=())
    return with_clas(untrained, phases=full(base), patience=PATIENCE)


def full(base: Experiment, **changes) -> tuple[Phase, ...]:
    """Return one phase of all layers, with the epochs of all classifier phases and the last one's rate, constant."""
    phases = base.recipe.clas.phases
    whole = replace(phases[-1], epochs=sum(p.epochs for p in phases), freeze_to=0, schedule="const")
    return changed(plain(base, (whole,)), **changes)


def plain(base: Experiment, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    """Return the phases with one rate for all layers: with recipe `paper` the paper's, else each phase's own."""
    rate = {"lr": PLAIN_LR} if base.recipe_name == "paper" else {}
    return changed(phases, decay=1.0, **rate)
