"""The plan of a run: its stages and the inputs of each. Nothing is computed here."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path

from ..common import DataError, digest
from ..corpora.corpus import Corpus
from ..corpora.documents import Documents, open_documents
from ..inference.baselines import CHOICES
from ..inference.features import SCALINGS, STRENGTHS
from ..method import machine
from ..method.pretrained import Pretrained
from ..method.tokenizer import TOKENIZER, UNSPACED
from ..method.tokens import Tokens, read_tokens
from ..recipe import LMRecipe, not_default
from ..record import FILE
from . import store
from .settings import Command
from .store import Stage
from .tracking import Tracker

INTO_TOKENS = ("max_vocab", "min_freq")
INTO_LM = ("lang", "model", "lm", "seq_len", "skip_tokens", "max_tokens", "softmax_samples")
INTO_FEATURES = ("max_len", "pooling", "class_weights")
INTO_CLAS = ("clas", *INTO_FEATURES)
"""Fields of the recipe that each kind of stage depends on, in addition to the stages before it."""


@dataclass(frozen=True, eq=False)
class Run:
    """What all stages of a run share."""

    corpus: Corpus | Documents
    command: Command
    """The settings, with the precision that the device uses."""
    recipe: LMRecipe
    """The recipe in the settings, with the shape of the pretrained models."""
    pretrained: dict[str, Pretrained]
    """The model that each direction's language model starts from; empty for random weights."""
    environment: dict = field(default_factory=machine.description)
    """Versions, commit and machine at the start of the run; each stage keeps those with which it was made."""

    @cached_property
    def plan(self) -> dict[str, dict]:
        """The inputs of every stage of the run, in order, by its name: KIND or KIND DIRECTION, such as `lm forward`."""
        plan, fields, head = {}, not_default(self.recipe), getattr(self.recipe, "head", None)

        def add(name: str, inputs: dict, of_recipe: tuple[str, ...] = ()) -> str:
            """Add a stage that depends on these inputs and fields of the recipe; return the name of its folder."""
            plan[name] = {**{k: v for k, v in fields.items() if k in of_recipe}, **inputs}
            return store.stage_name(name, plan[name])

        corpus, trained = {"corpus": self.corpus.digest}, {k: getattr(self.command, k) for k in ("seed", "precision")}
        if head:
            add("baseline", {**corpus, "choices": CHOICES})
        tokens = add("tokens", self._into_tokens(), INTO_TOKENS)
        for d in self.command.directions:
            start = self.pretrained.get(d)
            into_lm = {"tokens": tokens, "direction": d, "pretrained": start and start.digest}
            lm = {"lm": add(f"lm {d}", {**into_lm, **trained}, INTO_LM)}
            if head in ("features", "lp-ft"):
                into_features = {**corpus, **lm, "scaling": [*SCALINGS], "C": STRENGTHS}
                add(f"features {d}", into_features, INTO_FEATURES)
            if head in ("clas", "lp-ft"):
                # Here the name of the stage of features has no direction; with one, old stages would be computed again.
                features = {"features": store.stage_name("features", plan[f"features {d}"])} if head == "lp-ft" else {}
                add(f"clas {d}", {**corpus, **lm, **features, **trained}, INTO_CLAS)
            if not head:
                add("perplexity", {**lm, "wikitext-2": self.wikitext and self.wikitext.digest})
        if head:
            evaluated = {d: self.classifier(d) for d in self.command.directions}
            classifiers = {d: store.stage_name(name, plan[name]) for d, name in evaluated.items()}
            add("eval", {"classifiers": classifiers, "rows": digest(self.corpus.df["row"].tolist())})
        return plan

    def _into_tokens(self) -> dict:
        kept = {"vocab": [self.recipe.vocab, digest(self.pretrained_vocab)]} if self.pretrained_vocab else {}
        characters = {"longest_word_of": "other scripts"} if self.recipe.lang in UNSPACED else {}
        tokenizer = {**TOKENIZER, "lang": self.recipe.lang, **characters}
        return {"texts": self.corpus.text_digest, "tokenizer": tokenizer, **kept}

    def classifier(self, direction: str) -> str:
        """Return the name of the stage whose classifier is evaluated and used for prediction."""
        return f"{'features' if self.recipe.head == 'features' else 'clas'} {direction}"

    @cached_property
    def pretrained_vocab(self) -> list[str] | None:
        """Vocabulary of the pretrained models, the union if there are two; None without one, or if the recipe drops it.

        Raises `DataError` if the recipe uses only the pretrained vocabulary, and there is none or there are two.
        """
        vocabs = list(dict.fromkeys(tuple(p.content[1]) for p in self.pretrained.values()))
        if self.recipe.vocab == "pretrained" and len(vocabs) != 1:
            raise DataError("--recipe.vocab pretrained needs a --pretrained model with one vocabulary")
        if not vocabs or self.recipe.vocab == "task":
            return None
        return list(vocabs[0]) if len(vocabs) == 1 else list(dict.fromkeys(chain(*vocabs)))

    @cached_property
    def wikitext(self) -> Documents | None:
        """WikiText-2, if the model is English and the file is in the data directory or the cache; else None."""
        if self.recipe.lang != "en":
            return None
        with suppress(DataError):
            return open_documents("wikitext-2", self.command.data_directory, download=False)

    @cached_property
    def record(self) -> Path:
        """Path that the record has when the run is finished; its folder is named by the settings and all stages."""
        c, settings = self.command, self.command.settings()
        given = {k: settings[k] for k in not_default(c) if k in settings and k != "recipe"}
        names = {stage: store.stage_name(stage, inputs) for stage, inputs in self.plan.items()}
        what = digest({**given, "recipe": not_default(c.recipe), "stages": names})
        return c.home / "runs" / f"{self.corpus.name}-{c.recipe_name}-seed{c.seed}-{what}" / FILE

    def path(self, name: str) -> Path:
        """Return the folder of a stage of the plan; it exists once the stage is finished."""
        return store.stage_path(self.command.home, name, self.plan[name])

    @property
    def tokens(self) -> Tokens:
        """The token ids; their stage must be finished."""
        return read_tokens(self.path("tokens"))

    def stage(self, name: str, work: Callable[[Path], dict]) -> Stage:
        """Return the stage with this name in the plan, computing it with `work` unless it is finished."""
        return store.stage(
            self.command.home, name, self.plan[name], lambda folder: {**work(folder), "by": self.environment}
        )

    def tracker(self, name: str) -> Tracker:
        """Start a W&B run for one stage, with all settings and the stage's inputs as its config; or one for `sweep`."""
        c, stage = self.command, {"stage": self.plan[name]} if name in self.plan else {}
        made = {"record": self.record.parent.name, "digest": self.corpus.digest, **self.environment}
        miniature = ["miniature"] if getattr(c, "miniature", False) else []
        tags = [self.corpus.name, f"seed {c.seed}", *c.tags, *miniature, self.environment["commit"]]
        title = f"{name} {self.corpus.name} seed{c.seed}"
        return Tracker(c, name.split()[0], title, tags, {**c.settings(), **stage, **made})


def with_pretrained_shape(recipe: LMRecipe, pretrained: dict[str, Pretrained]) -> LMRecipe:
    """Return `recipe` with the shape of the pretrained models. Raises `DataError` if the shapes of the two directions
    differ, or if the models are for another language."""
    for p in pretrained.values():
        if p.lang not in (None, recipe.lang):
            raise DataError(
                f"--pretrained {recipe.pretrained} reads {p.lang}, but --lang is {recipe.lang}: pretrain a model with "
                f"`ulmfit-exp pretrain --corpus FOLDER --lang {recipe.lang}`, or start from random weights "
                "with --pretrained none"
            )
    shapes = {d: p.shape(recipe.model) for d, p in pretrained.items()}
    if len(set(shapes.values())) > 1:
        sizes = "; ".join(f"{d}: emb_sz {s.emb_sz}, n_hid {s.n_hid}, n_layers {s.n_layers}" for d, s in shapes.items())
        raise DataError(f"--pretrained {recipe.pretrained}: name two models of the same shape ({sizes})")
    return replace(recipe, model=next(iter(shapes.values()), recipe.model))
