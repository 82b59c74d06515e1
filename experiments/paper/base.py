"""The base run of each data set, and the functions that derive the variants from it."""

from dataclasses import fields, replace

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
"""Epochs without a better one after which early stopping ends training."""


def replicates(data: str, seeds: int, recipe: str = "small") -> list[Experiment]:
    """A data set's run for each of so many seeds; for 3 or more, of SFU each of its five folds, all with seed 0."""
    recipes = FIFTH if data == "imdb" else DATA[data].recipes
    base = replace(DATA[data], recipe_name=recipe, recipe=recipes[recipe])
    if "fold" in {f.name for f in fields(base)}:
        return [replace(base, fold=fold) for fold in range(seeds if seeds < 3 else FOLDS)]
    return [replace(base, seed=seed) for seed in range(seeds)]


def miniature_of(base: Experiment) -> Experiment:
    """The same on the bundled texts."""
    return replace(base, miniature=True, recipe_name="tiny", recipe=shorter(base.recipes["tiny"]))


def shorter(recipe: Recipe) -> Recipe:
    """`recipe` with one epoch a phase."""
    lm, clas = (replace(t, phases=changed(t.phases, epochs=1)) for t in (recipe.lm, recipe.clas))
    return replace(recipe, lm=lm, clas=clas)


def with_recipe(base: Experiment, **changes) -> Experiment:
    """`base` with these fields of its recipe."""
    return replace(base, recipe=replace(base.recipe, **changes))


def with_lm(base: Experiment, **changes) -> Experiment:
    """`base` with these settings of the language model's fine-tuning."""
    return with_recipe(base, lm=replace(base.recipe.lm, **changes))


def with_clas(base: Experiment, **changes) -> Experiment:
    """`base` with these settings of the classifier's fine-tuning."""
    return with_recipe(base, clas=replace(base.recipe.clas, **changes))


def forward(base: Experiment) -> Experiment:
    """One direction: the paper's protocol for its analyses."""
    return with_recipe(base, direction="forward")


def full(base: Experiment, **changes) -> tuple[Phase, ...]:
    """One phase of all layers, with the epochs of all of the recipe's phases and the constant rate of the last one."""
    phases = base.recipe.clas.phases
    plain = replace(phases[-1], epochs=sum(p.epochs for p in phases), freeze_to=0, decay=1.0, schedule="const")
    return (replace(plain, **changes),)
