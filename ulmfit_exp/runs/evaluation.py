"""The last stages of a run: the classifiers' metrics, and the baseline."""

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..common import harmless, write_json
from ..inference import scores
from ..inference.baselines import tfidf
from ..inference.insight import word_weights
from ..method import learners
from ..method.batches import clas_dl
from ..method.progress import Progress, quiet
from .plan import Run
from .stages import clas_learner
from .store import Stage

MISTAKES, MISTAKE = 20, 1000
"""How many of the most confident mistakes an evaluation keeps, and characters of each."""


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
    learn = quiet(clas_learner(run, direction, folder))
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
