"""The stages that measure: the metrics of the classifiers, and the baseline."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.torch import load_model
from tqdm.auto import tqdm

from ..common import escape_formula, write_json
from ..inference import scores
from ..inference.baselines import tfidf
from ..inference.insight import word_weights
from ..method import learners
from ..method.batches import clas_dl
from ..method.progress import Progress, quiet
from .plan import Run
from .stages import clas_learner

MISTAKES, CHARACTERS = 20, 1000
"""Number of the most confident mistakes that an evaluation keeps, and characters of text kept for each."""


def evaluate(run: Run, folder: Path) -> dict:
    """Compute metrics on the validation and test sets, for each direction and for the mean of their probabilities.

    Writes `predictions.csv`, a row per text of both sets, and `mistakes.json`, the most confident mistakes on the test
    set, with probabilities after temperature scaling, as in `predict`. No choice depends on the test metrics.
    """
    print(f"\n{run.corpus.name}: evaluation", flush=True)
    rows = run.corpus.split("valid", "test")
    truth = run.corpus.numbers(rows)
    directions = run.command.directions
    learns = {} if run.recipe.head == "features" else {d: _classifier(run, d) for d in directions}
    probs = {d: _predict(run, d, learns) for d in directions}
    probs["mean"] = sum(probs.values()) / len(probs)
    masks = {s: ((rows["split"] == s) & (rows["label"] != "")).to_numpy() for s in ("valid", "test")}
    valid, test = masks.values()
    temperature = scores.fit_temperature(probs["mean"][valid], truth[valid])
    multi_label = run.corpus.multi_label
    scaled = partial(scores.apply_temperature, temperature=temperature, multi_label=multi_label)
    calibrated = scaled(probs["mean"])
    raw_thresholds = {d: scores.fit_thresholds(p[valid], truth[valid]) for d, p in probs.items()}
    thresholds = scaled(raw_thresholds["mean"]) if multi_label else None  # the same decisions as before scaling
    rows = _predicted(rows, run.corpus.classes, truth, calibrated, thresholds)
    _save_predictions(run, rows, calibrated, folder)
    write_json(folder / "mistakes.json", _mistakes(run, rows[test], learns))
    labelled = {s: mask for s, mask in masks.items() if mask.any()}
    info = {
        "figures": {
            d: {s: scores.metrics(p[mask], truth[mask], raw_thresholds[d]) for s, mask in labelled.items()}
            for d, p in probs.items()
        },
        "temperature": temperature,
        "at_bound": scores.at_bound(temperature),
        "calibrated": {s: scores.metrics(calibrated[mask], truth[mask], thresholds) for s, mask in labelled.items()},
    }
    if multi_label:
        info["thresholds"] = dict(zip(run.corpus.classes, thresholds.tolist()))
        info["raw_thresholds"] = {d: raw_thresholds[d].tolist() for d in directions}
    if "test" in labelled:
        info |= scores.test_details(probs["mean"][test], truth[test], run.corpus.classes, raw_thresholds["mean"])
    return {**info, "wandb": _track_evaluation(run, rows[test], info, folder)}


def _predicted(rows: pd.DataFrame, classes: list[str], truth, probs, thresholds) -> pd.DataFrame:
    """Return the rows with the predicted class, its confidence, and the number of the class whose words explain a
    mistake: the predicted class or, with several labels, the wrongly decided label farthest from its threshold."""
    names, confidence = scores.predicted_names(probs, classes, thresholds)
    explained_by = probs if thresholds is None else abs(probs - thresholds) * ((probs >= thresholds) != truth)
    return rows.assign(predicted=names, confidence=confidence, explained=explained_by.argmax(axis=1))


def _save_predictions(run: Run, rows: pd.DataFrame, probs: np.ndarray, folder: Path) -> None:
    table = rows[["row", "split", "label", "predicted", "confidence"]]
    table = table.assign(**{k: table[k].map(escape_formula) for k in ("row", "label", "predicted")})
    probs = pd.DataFrame(probs, rows.index, columns=[f"p {c}" for c in run.corpus.classes])
    pd.concat([table, probs], axis=1).to_csv(folder / "predictions.csv", index=False, float_format="%.6g")


def _track_evaluation(run: Run, rows: pd.DataFrame, info: dict, folder: Path) -> str | None:
    """Log the metrics, and the predictions for the labelled test texts `rows`; return the path of the W&B run."""
    with run.tracker("eval") as tracker:
        if len(rows):
            tracker.log_test(rows, info["per_class"], with_confusion="confusion" in info)
        final = {d: {f"{s}/{k}": v for s, m in f.items() for k, v in m.items()} for d, f in info["figures"].items()}
        mean = final.pop("mean")
        tracker.log({**mean, "step": 0})  # `wandb leet` does not draw what is only in the summary
        finished = run.stage("baseline", partial(baseline, run)).info
        of_baseline = {f"baseline/{k}": v for k, v in finished.items() if k.endswith("error")}
        alone = {f"{d}/{k}": v for d, f in final.items() for k, v in f.items()}
        tracker.finish({**mean, **of_baseline, **alone}, folder)
    return tracker.path


def _classifier(run: Run, direction: str) -> learners.TextLearner:
    learn = quiet(clas_learner(run, direction))
    load_model(learn.model, run.path(f"clas {direction}") / "model.safetensors")
    return learn


def _predict(run: Run, direction: str, learns: dict[str, learners.TextLearner]) -> np.ndarray:
    """Return the probabilities `rows x classes` of the validation and test texts, in the order of the corpus."""
    if run.recipe.head == "features":
        return np.load(run.path(f"features {direction}") / "probs.npy")
    parts = []
    for split in ("valid", "test"):
        dl = clas_dl(run.tokens, run.corpus, split, run.recipe.clas.bs, direction == "backward")
        probs, _ = learns[direction].get_preds(dl=dl, cbs=Progress())
        parts.append(pd.DataFrame(probs.double().numpy(), index=run.corpus.split(split).index))
    return pd.concat(parts).sort_index().to_numpy()


def _mistakes(run: Run, rows: pd.DataFrame, learns: dict[str, learners.TextLearner]) -> list[dict]:
    """Return the most confident mistakes on the labelled test texts `rows`; with `learns`, also the words' weights."""
    ids_of = {word: i for i, word in enumerate(run.tokens.vocab)}
    models = {d: learn.model.eval() for d, learn in learns.items()}
    options = {"lang": run.recipe.lang, "multi_label": run.corpus.multi_label}
    wrong = rows[rows["label"] != rows["predicted"]].sort_values("confidence", ascending=False, kind="stable")
    wrong = wrong.head(MISTAKES)
    return [
        {
            "row": m.row,
            "text": m.text[:CHARACTERS].encode("utf-8", "replace").decode(),
            "label": m.label,
            "predicted": m.predicted,
            "confidence": round(m.confidence, 4),
            **({"explained": run.corpus.classes[m.explained]} if run.corpus.multi_label else {}),
            **({"words": word_weights(models, ids_of, m.text, m.explained, **options)} if models else {}),
        }
        for m in tqdm(wrong.itertuples(), total=len(wrong), desc="mistakes", unit=" texts", leave=False, disable=None)
    ]


def baseline(run: Run, _: Path) -> dict:
    """Evaluate TF-IDF + logistic regression on the same splits."""
    print(f"\n{run.corpus.name}: TF-IDF + logistic regression", flush=True)
    return tfidf(run.corpus)
