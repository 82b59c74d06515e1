"""The encoder as a feature extractor keeps scikit-learn's promises; as a recipe it leaves a record like any other."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import FORWARD, QUICK
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from ulmfit_exp.cli import run
from ulmfit_exp.common import DataError
from ulmfit_exp.inference import features, predict
from ulmfit_exp.inference.features import Encoder, unit_parts

TEXTS = ["A fine book.", "The kettle broke. " * 40, "No.", "naïve 🙂", "I would buy it again, and again."]


def test_a_text_has_the_same_features_in_any_batch_and_order(monkeypatch):
    encoder = Encoder.load("wikipedia-small", max_len=100)
    together = encoder.transform(TEXTS)
    assert together.dtype == np.float32 and together.shape == (5, 3 * 192) and np.isfinite(together).all()
    assert np.allclose(together, np.vstack([encoder.transform([t]) for t in TEXTS]), atol=1e-5)
    monkeypatch.setattr(features, "TOKENS", 40)
    assert np.allclose(together[::-1], encoder.transform(TEXTS[::-1]), atol=1e-5)
    assert not np.allclose(together, Encoder.load("wikipedia-small", direction="backward").transform(TEXTS), atol=1e-2)


@pytest.mark.slow
def test_features_are_a_transformer_of_scikit_learn():
    encoder = clone(Encoder("wikipedia-small", max_len=50))
    assert encoder.get_params() == {
        "folder": "wikipedia-small", "direction": "forward", "max_len": 50,
        "pooling": ("last", "max", "mean"), "lang": None,
    }  # fmt: skip
    assert np.array_equal(encoder.fit_transform(TEXTS), encoder.fit(TEXTS).transform(TEXTS))
    with pytest.raises(DataError, match="an encoder needs a pretrained model"):
        Encoder("none").fit()
    names = encoder.get_feature_names_out()
    assert len(names) == 576 and names[0] == "last_0" and names[-1] == "mean_191"
    pipeline = make_pipeline(encoder, unit_parts(), LogisticRegression())
    assert len(cross_val_score(pipeline, TEXTS * 4, [0, 1, 0, 1, 0] * 4, cv=2)) == 2
    parts = pickle.loads(pickle.dumps(pipeline[:2].fit(TEXTS))).transform(TEXTS).reshape(5, 3, 192)
    assert np.allclose((parts**2).mean(axis=2), 1, atol=1e-4)
    with pytest.raises(DataError, match="no such folder"):
        Encoder.load("nowhere")


def test_recipe_features_leaves_a_record_and_shares_the_language_model(finished):
    (fine_tuned,) = finished.home.glob("runs/*/result.json")
    path = run(replace(finished, recipe=replace(FORWARD, head="features")))
    record = json.loads(path.read_text())
    names = [s["name"] for s in record["stages"]]
    assert names == ["baseline", "tokens", "lm forward", "features forward", "eval"]
    assert record["stages"][2]["path"] == json.loads(fine_tuned.read_text())["stages"][2]["path"]
    assert record["test"]["n"] == 32 and record["calibration"]["temperature"] > 0
    both = json.loads(run(replace(finished, recipe=replace(QUICK, head="features"))).read_text())
    assert set(both["directions"]) == {"forward", "backward"}
    assert Encoder.load(path.parent).transform(TEXTS).shape == (5, 36)


@pytest.mark.slow
def test_a_run_of_features_predicts_what_it_evaluated(finished):
    for target in ("sentiment", "category"):  # two classes, and more
        path = run(replace(finished, target=target, recipe=replace(QUICK, head="features")))
        record = json.loads(path.read_text())
        rows = replace(finished, target=target).texts().split("valid", "test")["text"]
        stage = path.parents[2] / record["stages"][-1]["path"]
        probs = pd.read_csv(stage / "predictions.csv").filter(like="p ").to_numpy()
        predictor = predict.load(path.parent)
        assert np.allclose(predictor.probabilities(rows.tolist()), probs, atol=1e-4)
        assert any(weight for _, weight in predictor.words(rows.iloc[0]))


@pytest.mark.slow
@pytest.mark.parametrize("target", ["sentiment", "category"])
def test_lp_ft_starts_as_the_regression_on_features_and_is_fine_tuned(finished, target):
    base = replace(finished, target=target)
    rows = base.texts().split("test")["text"]

    def predicted(head, **clas):
        recipe = replace(QUICK, head=head, clas=replace(QUICK.clas, **clas))
        return predict.load(path := run(replace(base, recipe=recipe)).parent).probabilities(rows.tolist()), path

    regression, start = predicted("features")[0], predicted("lp-ft", phases=())[0]
    ended, path = predicted("lp-ft")
    assert np.allclose(start, regression, atol=1e-5) and not np.allclose(ended, regression, atol=1e-3)
    stages = [s["name"] for s in json.loads((path / "result.json").read_text())["stages"]]
    assert stages[2:6] == ["lm forward", "features forward", "clas forward", "lm backward"]
