"""The stages of a run: each function writes files to its stage's folder, and returns what `stage.json` keeps."""

import json
import math
import shutil
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pandas as pd
from fastai.text.all import set_seed
from safetensors.torch import load_model, save_model
from tqdm.auto import tqdm

from ..inference.features import Encoder, regressions
from ..inference.scores import mean_loss
from ..method import distributed, learners
from ..method.batches import dls_clas, dls_lm, lm_dl
from ..method.models import classifier
from ..method.progress import Progress, quiet
from ..method.tokenizer import UNK_ID, UNSPACED, unspaced, words
from ..method.tokens import Tokens, encode, write_tokens
from ..method.training import TotalLoss, train
from ..recipe import Training
from .plan import Run

COUNTED = (
    "a token is a word or a mark (xxbos, xxmaj, ...) of fastai's rules and spaCy; a word out of the vocabulary is the "
    "token xxunk, predicted like the others. Not comparable with perplexities that count tokens differently"
)
NO_SPACES = (
    "these texts are in a script without spaces between words, and with --lang {} a whole sentence is one token: use "
    "--lang ja, zh, th, lo, km or my, which make each character a token"
)

OTHER_LANGUAGE = (
    "--pretrained {} knows only {:.0%} of the words in the first texts. If they are in another language than that "
    "model, name it with --lang, and pretrain a model of it or use --pretrained none (docs/data.md, other languages)"
)
FEWEST_KNOWN = 0.5
"""Share of known words below which there is a warning; `wikipedia-small` knows a fifth in German, 0.9 in tweets."""


def known_words(run: Run, texts: list[str]) -> float:
    """Return the share of the words in these texts that the pretrained models know; 1 if there are no such words."""
    known = {word for model in run.pretrained.values() for word in model.content[1]}
    found = [word for text in texts for word in words(text, run.recipe.lang) if word.isalpha() and word[:2] != "xx"]
    return sum(word in known for word in found) / len(found) if known and found else 1.0


def tokenize(run: Run, folder: Path) -> dict:
    """Convert the texts to token ids with a vocabulary. The result depends on texts and splits, not on labels."""
    r, documents = run.recipe, run.corpus.documents()
    first_texts = list(islice(documents, 100))
    if r.lang not in UNSPACED and unspaced(text for text, _ in first_texts):
        tqdm.write(f"warning: {NO_SPACES.format(r.lang)}")
    if (share := known_words(run, [text[:1000] for text, _ in first_texts])) < FEWEST_KNOWN:
        tqdm.write(f"warning: {OTHER_LANGUAGE.format(r.pretrained, share)}")
    vocabulary = {"pretrained": run.pretrained_vocab, "only_pretrained": r.vocab == "pretrained", "lang": r.lang}
    return write_tokens(chain(first_texts, documents), folder, r.max_vocab, r.min_freq, **vocabulary)


def finetune_lm(run: Run, direction: str, folder: Path) -> dict:
    """Train the language model on the texts (paper, sections 3.1 and 3.2), from a pretrained one if there is one.

    The result includes how many words of its vocabulary the pretrained model knew.
    """
    distributed.announce(folder)
    learn, found = new_lm(run, direction)
    return {**_train(run, learn, run.recipe.lm, f"lm {direction}", folder), **found}


def new_lm(run: Run, direction: str) -> tuple[learners.LMLearner, dict[str, int]]:
    """Return the learner at the start of its training, its number of words, and how many the pretrained model knew."""
    set_seed(run.command.seed, reproducible=True)
    learn = _lm_learner(run, direction)
    if direction not in run.pretrained:
        return learn, {}
    weights, found = run.pretrained[direction].matched(learn.dls.vocab)
    learn.model.load_state_dict(weights)
    return learn, found


def _lm_learner(run: Run, direction: str):
    r = run.recipe
    dls = dls_lm(run.tokens, r.lm.bs, r.seq_len, direction == "backward", r.max_tokens, r.skip_tokens)
    return learners.lm_learner(dls, r, run.command.precision)


def perplexity(run: Run, folder: Path) -> dict:
    """Compute perplexity and share of unknown words on the held-out texts and, for an English model, on WikiText-2's
    test articles if they are in the data directory or the cache. `COUNTED` says what a token is."""
    (direction,) = run.command.directions
    learn, tokens = quiet(_lm_learner(run, direction)), run.tokens
    load_model(learn.model, run.path(f"lm {direction}") / "model.safetensors")
    figures = {split: _perplexity(run, learn, tokens, split, direction) for split in ("valid", "test")}
    if run.wikitext:
        test = (text for text, split in run.wikitext.documents() if split == "test")
        figures["wikitext-2 test"] = _perplexity(run, learn, encode(test, tokens.vocab), "test", direction)
    return {"perplexity": figures, "counted": COUNTED}


def _perplexity(run: Run, learn, tokens: Tokens, split: str, direction: str) -> dict:
    rows = tokens.rows(split)
    dl = lm_dl(tokens, rows, 16, run.recipe.seq_len, direction == "backward")
    total = TotalLoss()
    learn.validate(dl=dl, cbs=[Progress(), total])
    ids = np.concatenate([tokens[i] for i in rows])
    return {
        "perplexity": math.exp(total.summed / total.tokens),
        "loss": total.summed / total.tokens,
        "texts": len(rows),
        "tokens": total.tokens,
        "unknown": round(float(((ids == UNK_ID) | (ids >= run.tokens.targets)).mean()), 5),
    }


def train_classifier(run: Run, direction: str, folder: Path) -> dict:
    """Train the classifier, starting from the language model's encoder (paper, section 3.3) or the `features` stage."""
    set_seed(run.command.seed, reproducible=True)
    learn = clas_learner(run, direction)
    if run.recipe.head == "lp-ft":
        load_model(learn.model, run.path(f"features {direction}") / "model.safetensors")
    else:
        learners.load_lm_encoder(learn, run.path(f"lm {direction}") / "model.safetensors")
    return _train(run, learn, run.recipe.clas, f"clas {direction}", folder)


def classify_features(run: Run, direction: str, folder: Path) -> dict:
    """Fit logistic regression on the language model's features; the validation loss chooses their scaling and C."""
    print(f"\n{run.corpus.name}: features {direction}", flush=True)
    options = {"max_len": run.recipe.max_len, "pooling": run.recipe.pooling}
    encoder = Encoder.load(run.path(f"lm {direction}"), direction=direction, **options)
    train, rows = run.corpus.split("train"), run.corpus.split("valid", "test")
    x, x_rows, valid = encoder.transform(train["text"]), encoder.transform(rows["text"]), rows["split"] == "valid"
    weight = "balanced" if run.recipe.class_weights else None
    choices = regressions(len(run.recipe.pooling), weight, run.corpus.multi_label)
    y, truth = run.corpus.numbers(train), run.corpus.numbers(rows[valid])
    models = {k: model.fit(x, y) for k, model in choices.items()}
    best = min(models, key=lambda k: mean_loss(models[k].predict_proba(x_rows[valid]), truth))
    np.save(folder / "probs.npy", models[best].predict_proba(x_rows))
    shutil.copy2(run.path(f"lm {direction}") / "vocab.json", folder)
    _save_weights(_features_classifier(run, encoder, best[0], models[best]), folder)
    return dict(zip(("scaling", "C"), best))


def _features_classifier(run: Run, encoder: Encoder, scaling: str, pipeline):
    """Return the encoder with the logistic regression as its head, in the form of a fine-tuned classifier."""
    awd_lstm = encoder.encoder_.module
    model = classifier(awd_lstm.encoder.num_embeddings, len(run.corpus.classes), run.recipe)
    model[0].module.load_state_dict(awd_lstm.state_dict())
    model[1].layers.fit(scaling, pipeline)
    return model


def _save_weights(model, folder: Path) -> None:
    """Write the weights next to the vocabulary, with the same permissions: safetensors would let only the owner read
    them (its issue 782)."""
    save_model(model, str(folder / "model.safetensors"))
    shutil.copymode(folder / "vocab.json", folder / "model.safetensors")


def clas_learner(run: Run, direction: str):
    r = run.recipe
    dls = dls_clas(run.tokens, run.corpus, r.clas.bs, direction == "backward")
    weight = run.corpus.class_weights if r.class_weights else None
    classes, multi_label = len(run.corpus.classes), run.corpus.multi_label
    return learners.clas_learner(dls, classes, r, run.command.precision, weight, multi_label)


def _train(run: Run, learn, training: Training, name: str, folder: Path) -> dict:
    """Train with a tracker; write the weights, their vocabulary, and `steps.csv` with a row per training step."""
    print(f"\n{run.corpus.name}: {name.replace('lm', 'language model').replace('clas', 'classifier')}", flush=True)
    with run.tracker(name) as tracker:
        info, steps = train(quiet(learn), training, run.command.seed, folder, [tracker])
        tracker.log_new(steps, info["history"])  # all of them, if the run was killed after the last epoch
        (folder / "vocab.json").write_text(json.dumps(learn.dls.vocab, ensure_ascii=False), encoding="utf-8")
        _save_weights(learn.model, folder)
        if steps:
            pd.DataFrame(steps).to_csv(folder / "steps.csv", index=False, float_format="%.6g")
        kept = info["history"][info["kept_epoch"]] if info["history"] else {}
        tracker.finish({f"kept/{k}": v for k, v in kept.items() if k.startswith("valid")}, folder)
    return {**info, "wandb": tracker.path}
