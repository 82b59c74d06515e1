"""The stages of a run: each (inputs, settings) -> a finished folder."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
from fastai.text.all import set_seed
from sklearn.metrics import log_loss
from tqdm.auto import tqdm

from ..common import harmless, write_json
from ..inference import scores
from ..inference.baselines import tfidf
from ..inference.features import Encoder, regressions
from ..inference.insight import word_weights
from ..method import distributed, learners
from ..method.batches import clas_dl, dls_clas, dls_lm, lm_dl
from ..method.progress import Progress, quiet
from ..method.tokens import Tokens, encode, write_tokens
from ..method.training import TotalLoss, train
from ..recipe import Training
from .plan import Run
from .store import Stage

MISTAKES, MISTAKE = 20, 1000
"""How many of the most confident mistakes an evaluation keeps, and characters of each."""
COUNTED = (
    "a token is a word or a mark (xxbos, xxmaj, ...) of fastai's rules and spaCy; a word out of the vocabulary is the "
    "token xxunk, predicted like the others. Not comparable with figures by another count"
)


def tokenize(run: Run) -> Stage:
    """The texts as token ids with their vocabulary; the same for all labels of the same texts and splits."""
    r = run.recipe
    how = {"pretrained": run.pretrained_vocab, "keep": r.vocab == "pretrained", "lang": r.lang}
    return run.stage(
        "tokens", lambda folder: write_tokens(run.corpus.documents(), folder, r.max_vocab, r.min_freq, **how)
    )


def finetune_lm(run: Run, direction: str) -> Stage:
    """The language model on the texts (paper, sections 3.1 and 3.2), from the pretrained one where there is one.

    Its record has the words of its vocabulary that the pretrained model knew.
    """

    def work(folder: Path) -> dict:
        distributed.announced(folder)
        learn, found = new_lm(run, direction, folder)
        return {**_train(run, learn, run.recipe.lm, f"lm {direction}", folder), **found}

    stage = run.stage(f"lm {direction}", work)
    distributed.leave()
    return stage


def new_lm(run: Run, direction: str, folder: Path) -> tuple[learners.LMLearner, dict[str, int]]:
    """The learner as its training starts, and how many words the pretrained model knew."""
    set_seed(run.seed, reproducible=True)
    learn = _lm_learner(run, direction, folder)
    start = run.pretrained.get(direction)
    return learn, learners.load_pretrained(learn, start) if start else {}


def _lm_learner(run: Run, direction: str, folder: Path):
    r = run.recipe
    dls = dls_lm(run.tokens, r.lm.bs, r.seq_len, direction == "backward", r.max_tokens, r.skip_tokens)
    return learners.lm_learner(dls, r, run.precision, folder)


def perplexity(run: Run, direction: str) -> Stage:
    """Perplexity on the held-out texts and, if it is in the data directory or the cache, on WikiText-2's test
    articles; with the share of unknown words of each. `COUNTED` says what a token is."""

    def work(folder: Path) -> dict:
        learn, tokens = quiet(_lm_learner(run, direction, folder)), run.tokens
        learners.load_weights(learn, run.path(f"lm {direction}") / "model.safetensors")
        figures = {split: _perplexity(run, learn, tokens, split, direction) for split in ("valid", "test")}
        if run.wikitext:
            test = (text for text, split in run.wikitext.documents() if split == "test")
            figures["wikitext-2 test"] = _perplexity(run, learn, encode(test, tokens.vocab), "test", direction)
        return {"perplexity": figures, "counted": COUNTED}

    return run.stage("perplexity", work)


def _perplexity(run: Run, learn, tokens: Tokens, split: str, direction: str) -> dict:
    rows = tokens.rows(split)
    dl = lm_dl(tokens, rows, 16, run.recipe.seq_len, direction == "backward")
    total = TotalLoss()
    learn.validate(dl=dl, cbs=[Progress(), total])
    ids = np.concatenate([tokens[i] for i in rows])
    return {
        "perplexity": math.exp(total.loss / total.tokens),
        "loss": total.loss / total.tokens,
        "texts": len(rows),
        "tokens": total.tokens,
        "unknown": round(float((ids == 0).mean()), 5),
    }


def train_classifier(run: Run, direction: str) -> Stage:
    """The classifier on top of the language model's encoder (paper, section 3.3)."""

    def work(folder: Path) -> dict:
        set_seed(run.seed, reproducible=True)
        learn = _clas_learner(run, direction, folder)
        learners.load_lm_encoder(learn, run.path(f"lm {direction}") / "model.safetensors", run.recipe)
        write_json(folder / "classes.json", run.corpus.classes)
        return _train(run, learn, run.recipe.clas, f"clas {direction}", folder)

    return run.stage(f"clas {direction}", work)


def classify_features(run: Run, direction: str) -> Stage:
    """Logistic regression on the language model's features; the validation loss chooses their scaling and C."""

    def work(folder: Path) -> dict:
        print(f"\n{run.corpus.name}: features {direction}", flush=True)
        options = {"max_len": run.recipe.max_len, "pooling": run.recipe.pooling}
        encoder = Encoder.load(run.path(f"lm {direction}"), direction=direction, **options)
        train, valid = run.corpus.split("train"), run.corpus.split("valid")
        x, x_valid = encoder.transform(train["text"]), encoder.transform(valid["text"])
        weight = "balanced" if run.recipe.class_weights else None
        models = {k: m.fit(x, train["label"]) for k, m in regressions(len(run.recipe.pooling), weight).items()}
        classes = run.corpus.classes
        best = min(models, key=lambda k: log_loss(valid["label"], models[k].predict_proba(x_valid), labels=classes))
        rows = run.corpus.split("valid", "test")
        np.save(folder / "probs.npy", models[best].predict_proba(encoder.transform(rows["text"])))
        _save_features_classifier(run, encoder, best[0], models[best], folder)
        return dict(zip(("scaling", "C"), best))

    return run.stage(f"features {direction}", work)


def _save_features_classifier(run: Run, encoder: Encoder, scaling: str, pipeline, folder: Path) -> None:
    """The encoder with the logistic regression as its head, in the form of a fine-tuned classifier."""
    model = learners.classifier(len(encoder.ids_), len(run.corpus.classes), run.recipe)
    model[0].module.load_state_dict(encoder.encoder_.module.state_dict())
    model[1].layers.fit(scaling, pipeline)
    learners.save_model(model, str(folder / "model.safetensors"))
    (folder / "vocab.json").write_text(json.dumps(list(encoder.ids_), ensure_ascii=False), encoding="utf-8")


def _clas_learner(run: Run, direction: str, folder: Path):
    r = run.recipe
    dls = dls_clas(run.tokens, run.corpus, r.clas.bs, direction == "backward")
    weight = run.corpus.class_weights if r.class_weights else None
    return learners.clas_learner(dls, len(run.corpus.classes), r, run.precision, folder, weight)


def _train(run: Run, learn, training: Training, name: str, folder: Path) -> dict:
    """Train with a tracker; leaves the weights with their vocabulary, and `steps.csv` with a row per training step."""
    print(f"\n{run.corpus.name}: {name.replace('lm', 'language model').replace('clas', 'classifier')}", flush=True)
    with run.tracker(name) as tracker:
        info, steps = train(quiet(learn), training, run.seed, folder, [tracker])
        tracker.log_new(steps, info["history"])  # all of them, where a kill came after the last epoch
        learners.save_weights(learn, folder / "model.safetensors")
        (folder / "vocab.json").write_text(json.dumps(learn.dls.vocab, ensure_ascii=False), encoding="utf-8")
        if steps:
            pd.DataFrame(steps).to_csv(folder / "steps.csv", index=False, float_format="%.6g")
        kept = info["history"][info["kept_epoch"]] if info["history"] else {}
        tracker.finish({f"kept/{k}": v for k, v in kept.items() if k.startswith("valid")}, folder)
    return {**info, "wandb": tracker.path}


def evaluate(run: Run) -> Stage:
    """Metrics on the validation and test sets, of each direction's classifier and of the mean of their probabilities.

    Leaves `predictions.csv`, a row per text of the two sets, and `mistakes.json`, the most confident ones on the test
    set; both name a text by its row in the user's table. Their probabilities are those after temperature scaling, as
    in `predict`. Nothing is chosen by the test metrics, as in the baseline.
    """

    def work(folder: Path) -> dict:
        print(f"\n{run.corpus.name}: evaluation", flush=True)
        rows = run.corpus.split("valid", "test")
        truth = run.corpus.numbers(rows)
        learns = {} if run.recipe.head == "features" else {d: _classifier(run, d, folder) for d in run.directions}
        probs = {d: _predict(run, d, learns) for d in run.directions}
        mean = sum(probs.values()) / len(probs)
        where = {s: ((rows["split"] == s) & (rows["label"] != "")).to_numpy() for s in ("valid", "test")}
        tested = where["test"]
        where = {s: at for s, at in where.items() if at.any()}
        temperature = scores.fitted_temperature(mean[where["valid"]], truth[where["valid"]])
        calibrated = scores.tempered(mean, temperature)
        _save_predictions(run, rows, calibrated, folder)
        write_json(folder / "mistakes.json", _mistakes(run, rows, calibrated, learns))
        info = {
            "figures": {
                d: {s: scores.figures(p[at], truth[at]) for s, at in where.items()}
                for d, p in {**probs, "mean": mean}.items()
            },
            "temperature": temperature,
            "at_bound": scores.at_bound(temperature),
            "calibrated": {s: scores.figures(calibrated[at], truth[at]) for s, at in where.items()},
        }
        if "test" in where:
            info |= scores.of_test(mean[tested], truth[tested], run.corpus.classes)
        return {**info, "wandb": _track_evaluation(run, rows[tested], calibrated[tested], info, folder)}

    return run.stage("eval", work)


def _save_predictions(run: Run, rows: pd.DataFrame, probs: np.ndarray, folder: Path) -> None:
    table = rows[["row", "split", "label"]].assign(
        label=rows["label"].map(harmless),
        predicted=[harmless(run.corpus.classes[i]) for i in probs.argmax(axis=1)],
        confidence=probs.max(axis=1),
    )
    probs = pd.DataFrame(probs, rows.index, columns=[f"p {c}" for c in run.corpus.classes])
    pd.concat([table, probs], axis=1).to_csv(folder / "predictions.csv", index=False, float_format="%.6g")


def _track_evaluation(run: Run, rows: pd.DataFrame, probs: np.ndarray, info: dict, folder: Path) -> str | None:
    """Log the metrics, and the predictions `probs` of the labelled test texts `rows`; the path of the W&B run."""
    truth, predicted = run.corpus.numbers(rows).tolist(), probs.argmax(axis=1).tolist()
    with run.tracker("eval") as tracker:
        if truth:
            tracker.log_test(rows, truth, predicted, probs.max(axis=1), info["per_class"])
        of = {f"{d}/{s}/{k}": v for d, f in info["figures"].items() for s, m in f.items() for k, v in m.items()}
        mean = {name.removeprefix("mean/"): v for name, v in of.items() if name.startswith("mean/")}
        tracker.log({**mean, "step": 0})  # `wandb leet` draws nothing that is in the summary alone
        simpler = {f"baseline/{k}": v for k, v in baseline(run).info.items() if k.endswith("error")}
        tracker.finish({**mean, **simpler, **{k: v for k, v in of.items() if not k.startswith("mean/")}}, folder)
    return tracker.path


def _classifier(run: Run, direction: str, folder: Path) -> learners.TextLearner:
    learn = quiet(_clas_learner(run, direction, folder))
    learners.load_weights(learn, run.path(f"clas {direction}") / "model.safetensors")
    return learn


def _predict(run: Run, direction: str, learns: dict[str, learners.TextLearner]) -> np.ndarray:
    """Probabilities `rows x classes` of the valid and test texts, in the order of the corpus."""
    if run.recipe.head == "features":
        return np.load(run.path(f"features {direction}") / "probs.npy")
    parts = []
    for split in ("valid", "test"):
        dl = clas_dl(run.tokens, run.corpus, split, run.recipe.clas.bs, direction == "backward")
        probs, _ = learns[direction].get_preds(dl=dl, cbs=Progress())
        parts.append(pd.DataFrame(probs.double().numpy(), index=run.corpus.split(split).index))
    return pd.concat(parts).sort_index().to_numpy()


def _mistakes(run: Run, rows: pd.DataFrame, probs: np.ndarray, learns: dict[str, learners.TextLearner]) -> list[dict]:
    """The most confident mistakes on test; of a classifier, with the weights of the words for the predicted class."""
    ids_of = {word: i for i, word in enumerate(run.tokens.vocab)}
    parts = {d: (learn.model.eval(), ids_of) for d, learn in learns.items()}
    sure, predicted = probs.max(axis=1), probs.argmax(axis=1)
    wrong = (rows["split"] == "test") & (rows["label"] != "") & (run.corpus.numbers(rows) != predicted)
    places = np.flatnonzero(wrong)
    places = places[np.argsort(-sure[places], kind="stable")][:MISTAKES]
    return [
        {
            "row": rows["row"].iloc[i],
            "text": (text := rows["text"].iloc[i])[:MISTAKE].encode("utf-8", "replace").decode(),
            "label": rows["label"].iloc[i],
            "predicted": run.corpus.classes[predicted[i]],
            "confidence": round(float(sure[i]), 4),
            **({"words": word_weights(parts, text, int(predicted[i]), run.recipe.lang)} if parts else {}),
        }
        for i in tqdm(places, desc="mistakes", unit=" texts", leave=False, disable=None)
    ]


def baseline(run: Run) -> Stage:
    """TF-IDF + logistic regression on the same splits."""

    def work(_: Path) -> dict:
        print(f"\n{run.corpus.name}: TF-IDF + logistic regression", flush=True)
        return tfidf(run.corpus)

    return run.stage("baseline", work)


WORK = {
    "baseline": baseline,
    "tokens": tokenize,
    "lm": finetune_lm,
    "clas": train_classifier,
    "features": classify_features,
    "eval": evaluate,
    "perplexity": lambda run: perplexity(run, *run.directions),
}


def run_all(run: Run) -> dict[str, Stage]:
    """Every stage of the plan in its order, by name; a line is printed as each ends."""
    stages = {}
    for name in run.plan:
        kind, *direction = name.split()
        stages[name] = WORK[kind](run, *direction)
        print(_line(stages[name], run.by), flush=True)
    return stages


def _line(stage: Stage, by: dict) -> str:
    """Name and time of a stage; of a reused one, the versions that made it where this run has others."""
    if not stage.reused:
        return f"{stage.name:<32} {stage.info['seconds']:.0f} s"
    then, now = ({**b["versions"], **{k: b["machine"][k] for k in ("threads", "gpu")}} for b in (stage.info["by"], by))
    other = [f"{k} {then.get(k)}, now {v}" for k, v in now.items() if then.get(k) != v]
    return f"{stage.name:<32} reused" + (f"; made with {'; '.join(other)}" if other else "")
