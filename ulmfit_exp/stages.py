"""The stages of a run: each (inputs, settings) -> a finished folder."""

import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from fastai.text.all import set_seed
from sklearn.metrics import log_loss

from . import learners, machine, store
from .baselines import tfidf
from .corpora.corpus import Corpus, DataError
from .corpora.documents import Documents, open_documents
from .pretrained import Pretrained
from .recipe import LMRecipe
from .store import Stage
from .tokens import TOKENIZER, Tokens, clas_dl, dls_clas, dls_lm, encode, lm_dl, read_tokens, write_tokens
from .tracking import Mode, Tracker
from .training import Progress, quiet, train


@dataclass(frozen=True)
class Run:
    """What all stages of a run share."""

    corpus: Corpus | Documents
    recipe: LMRecipe
    directions: tuple[str, ...]
    pretrained: dict[str, Pretrained]
    """The model that each direction's language model starts from; empty for random weights."""
    seed: int
    precision: str
    home: Path
    data_dir: Path | None
    group: str
    """Experiment and variant: the W&B group."""
    settings: dict
    """All settings of the experiment, for W&B's config."""
    wandb: Mode = "auto"
    tags: tuple[str, ...] = ()
    by: dict = field(default_factory=machine.description)
    """Versions, commit and machine as the run starts; each stage keeps those that made it."""

    def stage(self, kind: str, inputs: dict, work: Callable[[Path], dict]) -> Stage:
        """`store.stage` in this run's home."""
        return store.stage(self.home, kind, inputs, lambda folder: {**work(folder), "by": self.by})

    def tracker(self, job_type: str, name: str, inputs: dict) -> Tracker:
        """A W&B run for one stage, with all settings and everything that went into it as its config."""
        config = {**self.settings, "stage": inputs, "digest": self.corpus.digest, **self.by}
        tags = [self.corpus.name, f"seed {self.seed}", *self.tags]
        return Tracker(self.wandb, self.home, self.group, job_type, name, tags, config)


def fitted(recipe: LMRecipe, pretrained: dict[str, Pretrained]) -> LMRecipe:
    """`recipe` with the shape of the pretrained models. Raises `DataError` where two directions' shapes differ."""
    shapes = {d: p.shape(recipe.model) for d, p in pretrained.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"the pretrained models of the two directions have different shapes: {shapes}")
    return replace(recipe, model=next(iter(shapes.values()), recipe.model))


def tokenize(run: Run) -> Stage:
    """The corpus as token ids with its vocabulary; the same for all labels of the same texts and splits."""
    recipe = run.recipe
    limits = {"max_vocab": recipe.max_vocab, "min_freq": recipe.min_freq}
    inputs = {"texts": run.corpus.text_digest, "tokenizer": TOKENIZER, **limits}
    return run.stage("tokens", inputs, lambda folder: write_tokens(run.corpus.documents(), folder, **limits))


def finetune_lm(run: Run, tokens: Stage, direction: str) -> Stage:
    """The language model on the texts (paper, sections 3.1 and 3.2), from the pretrained one where there is one.

    Its record has the words of its vocabulary that the pretrained model knew.
    """
    recipe, start = run.recipe, run.pretrained.get(direction)
    inputs = {
        "tokens": tokens.name,
        "direction": direction,
        "pretrained": start and start.digest,
        "model": asdict(recipe.model),
        "training": asdict(recipe.lm),
        "seq_len": recipe.seq_len,
        "max_tokens": recipe.max_tokens,
        "seed": run.seed,
        "precision": run.precision,
    }

    def work(folder: Path) -> dict:
        set_seed(run.seed, reproducible=True)
        learn = _lm_learner(run, tokens, direction, folder)
        found = learners.load_pretrained(learn, start) if start else {}
        info = _train(run, learn, recipe.lm, "lm", direction, inputs, folder)
        return {**info, **found}

    return run.stage(f"lm-{direction}", inputs, work)


def _lm_learner(run: Run, tokens: Stage, direction: str, folder: Path):
    r = run.recipe
    dls = dls_lm(read_tokens(tokens.path), r.lm.bs, r.seq_len, direction == "backward", r.max_tokens)
    return learners.lm_learner(dls, r, run.precision, folder)


def perplexity(run: Run, tokens: Stage, lm: Stage, direction: str) -> Stage:
    """Perplexity, a word of the model's vocabulary or xxunk being one token, on the held-out texts and, where it lies
    in the data directory or the cache, on WikiText-2's test articles. With the share of unknown words of each."""
    wikitext = None
    with suppress(DataError):
        wikitext = open_documents("wikitext-2", run.data_dir, download=False)
    inputs = {"lm": lm.name, "tokens": tokens.name, "wikitext-2": wikitext and wikitext.digest}

    def work(folder: Path) -> dict:
        learn = quiet(_lm_learner(run, tokens, direction, folder))
        learners.load_weights(learn, lm.path / "model.safetensors")
        ids = read_tokens(tokens.path)
        figures = {split: _perplexity(run, learn, ids, split, direction) for split in ("valid", "test")}
        if wikitext:
            test = (text for text, split in wikitext.documents() if split == "test")
            figures["wikitext-2 test"] = _perplexity(run, learn, encode(test, ids.vocab), "test", direction)
        return {"perplexity": figures}

    return run.stage("perplexity", inputs, work)


def _perplexity(run: Run, learn, tokens: Tokens, split: str, direction: str) -> dict:
    rows = tokens.rows(split)
    dl = lm_dl(tokens, rows, 16, run.recipe.seq_len, direction == "backward")
    with learn.added_cbs(Progress()):
        loss = float(learn.validate(dl=dl)[0])
    ids = np.concatenate([tokens[i] for i in rows])
    unknown = round(float((ids == 0).mean()), 5)
    return {"perplexity": math.exp(loss), "loss": loss, "texts": len(rows), "tokens": len(ids), "unknown": unknown}


def train_classifier(run: Run, tokens: Stage, lm: Stage, direction: str) -> Stage:
    """The classifier on top of the language model's encoder (paper, section 3.3)."""
    recipe, backwards = run.recipe, direction == "backward"
    inputs = {
        "corpus": run.corpus.digest,
        "lm": lm.name,
        "training": asdict(recipe.clas),
        "max_len": recipe.max_len,
        "seed": run.seed,
        "precision": run.precision,
    }

    def work(folder: Path) -> dict:
        set_seed(run.seed, reproducible=True)
        dls = dls_clas(read_tokens(tokens.path), run.corpus, recipe.clas.bs, recipe.seq_len, backwards)
        learn = learners.clas_learner(dls, len(run.corpus.classes), recipe, run.precision, folder)
        learners.load_lm_encoder(learn, lm.path / "model.safetensors", recipe)
        (folder / "classes.json").write_text(json.dumps(run.corpus.classes, ensure_ascii=False))
        return _train(run, learn, recipe.clas, "clas", direction, inputs, folder)

    return run.stage(f"clas-{direction}", inputs, work)


def _train(run: Run, learn, training, job_type: str, direction: str, inputs: dict, folder: Path) -> dict:
    """Train under a tracker; leave the weights, and the vocabulary beside them."""
    print(f"\n{run.corpus.name}: {'language model' if job_type == 'lm' else 'classifier'}, {direction}", flush=True)
    track = run.tracker(job_type, f"{run.corpus.name} {job_type} {direction}", inputs)
    info = train(quiet(learn), training, run.seed, folder, track)
    kept = info["history"][info["kept_epoch"]] if info["history"] else {}
    track.finish({k: v for k, v in kept.items() if k.startswith("valid")})
    learners.save_weights(learn, folder / "model.safetensors")
    (folder / "vocab.json").write_text(json.dumps(learn.dls.vocab, ensure_ascii=False), encoding="utf-8")
    return {**info, "wandb": track.path}


def evaluate(run: Run, tokens: Stage, classifiers: dict[str, Stage]) -> Stage:
    """Valid and test figures of each direction's classifier and of the mean of their probabilities.

    Leaves `predictions.csv`: a row a valid or test text. Like the baseline's, its test figures choose nothing.
    """
    inputs = {"classifiers": {d: s.name for d, s in classifiers.items()}}

    def work(folder: Path) -> dict:
        print(f"\n{run.corpus.name}: evaluation", flush=True)
        rows = run.corpus.split("valid", "test")
        truth = rows["label"].map({c: i for i, c in enumerate(run.corpus.classes)}).to_numpy()
        probs = {d: _predict(run, tokens, s, d, folder) for d, s in classifiers.items()}
        probs["mean"] = sum(probs.values()) / len(probs)
        where = {s: (rows["split"] == s).to_numpy() for s in ("valid", "test")}
        figures = {d: {s: _figures(p[at], truth[at]) for s, at in where.items()} for d, p in probs.items()}
        table = pd.DataFrame(probs["mean"], index=rows.index, columns=[f"p {c}" for c in run.corpus.classes])
        predicted = probs["mean"].argmax(axis=1)
        table.insert(0, "split", rows["split"])
        table.insert(1, "label", rows["label"])
        table.insert(2, "predicted", [run.corpus.classes[i] for i in predicted])
        table.to_csv(folder / "predictions.csv", index_label="row", float_format="%.6g")
        track = run.tracker("eval", f"{run.corpus.name} eval", inputs)
        test = where["test"]
        track.log_test(
            rows["text"][test].tolist(),
            truth[test].tolist(),
            predicted[test].tolist(),
            probs["mean"][test].max(axis=1),
            run.corpus.classes,
        )
        track.finish({f"{s}/{k}": v for s, f in figures["mean"].items() for k, v in f.items()})
        return {"figures": figures, "wandb": track.path}

    return run.stage("eval", inputs, work)


def _predict(run: Run, tokens: Stage, classifier: Stage, direction: str, folder: Path) -> np.ndarray:
    """Probabilities `rows x classes` of the valid and test texts, in the order of the corpus."""
    recipe, backwards, ids = run.recipe, direction == "backward", read_tokens(tokens.path)
    dls = dls_clas(ids, run.corpus, recipe.clas.bs, recipe.seq_len, backwards)
    learn = learners.clas_learner(dls, len(run.corpus.classes), recipe, run.precision, folder)
    learners.load_weights(learn, classifier.path / "model.safetensors")
    parts = []
    for split in ("valid", "test"):
        dl = clas_dl(ids, run.corpus, split, recipe.clas.bs, recipe.seq_len, backwards)
        probs, _ = quiet(learn).get_preds(dl=dl, cbs=Progress())
        parts.append(pd.DataFrame(probs.double().numpy(), index=run.corpus.split(split).index))
    return pd.concat(parts).sort_index().to_numpy()


def _figures(probs: np.ndarray, truth: np.ndarray) -> dict:
    right = int((probs.argmax(axis=1) == truth).sum())
    loss = log_loss(truth, probs / probs.sum(axis=1, keepdims=True), labels=range(probs.shape[1]))
    return {"error": 1 - right / len(truth), "accuracy": right / len(truth), "loss": float(loss), "n": len(truth)}


def baseline(run: Run) -> Stage:
    """TF-IDF + logistic regression on the same splits."""
    return run.stage("baseline", {"corpus": run.corpus.digest}, lambda _: tfidf(run.corpus))


def run_all(run: Run, report: Callable[[Stage], None]) -> dict[str, Stage]:
    """Every stage of a run in its order, by name; `report` hears of each as it ends."""
    stages: dict[str, Stage] = {}

    def done(name: str, s: Stage) -> Stage:
        stages[name] = s
        report(s)
        return s

    done("baseline", baseline(run))
    tokens = done("tokens", tokenize(run))
    classifiers = {}
    for d in run.directions:
        lm = done(f"lm {d}", finetune_lm(run, tokens, d))
        classifiers[d] = done(f"clas {d}", train_classifier(run, tokens, lm, d))
    done("eval", evaluate(run, tokens, classifiers))
    return stages


def pretrain_all(run: Run, report: Callable[[Stage], None]) -> dict[str, Stage]:
    """The stages of a language model alone, by name."""
    (direction,) = run.directions
    stages = {"tokens": tokenize(run)}
    report(stages["tokens"])
    stages[f"lm {direction}"] = lm = finetune_lm(run, stages["tokens"], direction)
    report(lm)
    stages["perplexity"] = perplexity(run, stages["tokens"], lm, direction)
    report(stages["perplexity"])
    return stages
