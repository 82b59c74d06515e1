"""What is handed on predicts what the run does, and holds what its record says."""

import gzip
import json
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import QUICK
from fastai.text.all import DataLoaders, load_learner
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts import export as script
from ulmfit_exp.common import DataError
from ulmfit_exp.inference import hub, predict
from ulmfit_exp.method.encoder import FeaturesHead
from ulmfit_exp.method.pretrained import resolve
from ulmfit_exp.method.tokenizer import words

TEXTS = ["Fine.", "A kettle that boils, and boils, and boils. " * 30, "naïve 🙂", "bad " * 200]


@pytest.fixture
def folder(finished_home) -> Path:
    """The folder of a finished run of both directions, which these tests only read."""
    (folder,) = finished_home.glob("runs/*")
    return folder


@pytest.mark.filterwarnings("ignore:load_learner")
def test_the_learner_predicts_what_the_run_does_alone_and_in_a_batch(folder, tmp_path):
    expected = predict.load(folder)
    script.write_learner(folder, tmp_path / "export.pkl")
    learn = load_learner(tmp_path / "export.pkl")
    with learn.no_bar():
        together, _ = learn.get_preds(dl=learn.dls.test_dl(TEXTS))
        alone = [learn.predict(text) for text in TEXTS]
    assert np.allclose(together, expected.probabilities(TEXTS), atol=1e-5)
    assert np.allclose(np.stack([p for *_, p in alone]), together, atol=1e-5)
    assert [str(c) for c, *_ in alone] == expected.predict(TEXTS)["class"].tolist()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:load_learner")
def test_a_loaded_export_has_the_five_layer_groups_and_can_be_fine_tuned(folder, tmp_path):
    script.write_learner(folder, tmp_path / "export.pkl")
    learn = load_learner(tmp_path / "export.pkl")
    texts = pd.DataFrame({"text": TEXTS * 6, "label": ["no", "yes"] * 12})
    train = learn.dls.test_dl(texts, with_labels=True, shuffle=True, bs=8)
    learn.dls = DataLoaders(train, learn.dls.test_dl(texts[:4], with_labels=True))
    with learn.no_bar(), learn.no_logging():
        before = learn.validate()[0]
        learn.freeze_to(-1)
        frozen = {k: w.clone() for k, w in learn.model.named_parameters()}
        learn.fit(1, 0.002)
        trained = {k for k, w in learn.model.named_parameters() if not torch.equal(w, frozen[k])}
        learn.unfreeze()
        learn.fit_one_cycle(10, slice(0.002 / 2.6**4, 0.002))
    assert len(learn.opt.param_groups) == 5
    assert {k.split(".")[2] for k in trained} == {"1"}  # the head of each direction
    assert {k.split(".")[1] for k in trained} == {"0", "1"}
    assert learn.validate()[0] < before


@pytest.mark.filterwarnings("ignore:load_learner")
def test_an_export_made_before_the_packages_can_still_be_loaded(tmp_path):
    packed = Path(__file__).parent / "data" / "export-0e90f5e.pkl.gz"  # made by that commit, with random weights
    (tmp_path / "export.pkl").write_bytes(gzip.decompress(packed.read_bytes()))
    learn = load_learner(tmp_path / "export.pkl")
    with learn.no_bar():
        probs = [learn.predict(text)[2].tolist() for text in ("A fine book.", "A broken book.")]
    assert np.allclose(probs, [[0.507826, 0.492174], [0.507686, 0.492314]], atol=1e-5)


def onnx_folder(folder, out, temperature=1.0, head=None, **recipe):
    """A predictor, and its folder for ONNX Runtime; `head` takes the place of the one that was trained."""
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("ulmfit_exp.inference.onnx")
    predictor = predict.load(folder)
    predictor = replace(predictor, temperature=temperature, recipe=replace(predictor.recipe, **recipe))
    for model in predictor.models.values():
        model[1].layers = head or model[1].layers
    onnx.write(predictor, out)
    return predictor


def regression(by_part: bool) -> FeaturesHead:
    """A head as recipe lp-ft has, with random weights."""
    torch.manual_seed(0)
    head = FeaturesHead(3, QUICK.model.emb_sz, 2)
    head.mean.normal_(std=0.01)  # about as large as the states
    head.scale.uniform_(0.01, 0.02)
    head.by_part.fill_(by_part)
    return head


@pytest.mark.slow
@pytest.mark.parametrize("head", [None, regression(by_part=False), regression(by_part=True)])
def test_onnx_runtime_predicts_what_the_run_does_without_torch_or_this_package(folder, head, tmp_path):
    predictor = onnx_folder(folder, tmp_path, 1.0 if head else 0.05, head)  # temperatures at which texts differ by much
    texts = [*TEXTS, "", "x" * 300, "The lamp is fine. " * 400]  # windows of 70 tokens; the last 1,400 are pooled
    code = "import json, runpy, sys; sys.modules.update(torch=None, fastai=None, ulmfit_exp=None); "
    code += "print(json.dumps(runpy.run_path('predict.py')['probabilities'](json.load(sys.stdin)).tolist()))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, input=json.dumps(texts), capture_output=True, text=True, check=True)
    expected = predictor.probabilities(texts)
    assert np.ptp(expected[:, 0]) > 0.01
    assert np.allclose(json.loads(done.stdout), expected, atol=1e-4)


@pytest.mark.parametrize("lang", ["en", "de", "ja"])
def test_the_example_for_onnx_runtime_has_the_tokens_of_the_run(folder, lang, tmp_path):
    onnx_folder(folder, tmp_path, lang=lang)
    tokens = runpy.run_path(str(tmp_path / "predict.py"))["tokens"]
    texts = ["GREAT, great great great!!!! a/b #1", "<br />A&amp;B xxpad", "本がGOOD。すすすす", " ", "ab " * 50_000]
    texts += ["本も" * 48 + "GOOD15" * 3, "a\r\nb\rc"]

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.one_of(st.sampled_from(texts), st.text(), st.text(alphabet="aA .\n\r本は#xp<&;'é")))
    def same(text):
        assert tokens(text) == words(text, lang)

    same()


def test_a_pooling_without_nodes_for_onnx_names_the_function_to_change():
    onnx = pytest.importorskip("ulmfit_exp.inference.onnx")
    with pytest.raises(DataError, match="no pooling median: add it to `_pooled`"):
        onnx._pooled(onnx.Graph(), "states", "last", "lengths", 10, ("last", "median"))


def test_the_folder_for_the_hub_predicts_and_is_a_pretrained_model(folder, tmp_path):
    assert hub.write(folder, tmp_path / "hub") == []
    probs = predict.load(tmp_path / "hub").probabilities(TEXTS)
    assert np.array_equal(probs, predict.load(folder).probabilities(TEXTS))
    models = resolve(str(tmp_path / "hub"), ("forward", "backward"), None)
    assert all(len(m.content[1]) == len(models["forward"].content[1]) for m in models.values())
    shutil.copytree(folder, tmp_path / "moved")
    assert len(hub.write(tmp_path / "moved", tmp_path / "again")) == 2  # it has its classifiers alone
    assert "language model" not in (tmp_path / "again" / "README.md").read_text().split("safetensors")[1]
    with pytest.raises(DataError, match="already holds a run"):
        hub.write(tmp_path / "moved", tmp_path / "moved")
    record = json.loads((folder / "result.json").read_text())
    card = (tmp_path / "hub" / "README.md").read_text()
    assert f"{100 * record['test']['error']:.2f} % on 32 texts" in card and "| yes |" in card
    (tmp_path / "moved" / "result.json").write_text(json.dumps(record | {"seed": 1}))
    with pytest.raises(DataError, match="already holds a run"):
        hub.write(tmp_path / "moved", tmp_path / "hub")
    record["per_class"] = {"<script>|\n# x": {"precision": 1.0, "recall": 1.0, "n": 1}}
    assert "<script>" not in hub.card(record) and "\n# x" not in hub.card(record)
    with pytest.raises(DataError, match=r"no result\.json"):
        hub.write(tmp_path, tmp_path / "none")


def test_an_export_overwrites_no_other_files(folder, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(DataError, match=r"--hub .* holds other files"):
        hub.write(folder, tmp_path)
    with pytest.raises(DataError, match=r"--learner .* is a folder"):
        script.write_learner(folder, tmp_path)
    (folder_without := tmp_path / "run").mkdir()
    shutil.copyfile(folder / "result.json", folder_without / "result.json")
    with pytest.raises(DataError, match="has no classifier/"):
        hub.write(folder_without, tmp_path / "hub")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "run"]


def test_an_export_to_onnx_overwrites_no_other_files(folder, tmp_path):
    (tmp_path / "predict.py").write_text("mine")
    with pytest.raises(DataError, match=r"--onnx .* holds other files"):
        onnx_folder(folder, tmp_path)
    with pytest.raises(DataError, match=r"--onnx .*predict.py is a file; name a folder"):
        onnx_folder(folder, tmp_path / "predict.py")


def test_nothing_is_uploaded_by_default(folder, tmp_path, monkeypatch):
    import huggingface_hub

    calls = []

    class Api:
        def __getattr__(self, name):
            return lambda *args, **kwargs: calls.append((name, args, kwargs))

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    script.main(folder, hub=tmp_path / "hub")
    assert calls == []
    script.main(folder / "result.json", hub=tmp_path / "hub", push="me/mine")
    assert [name for name, *_ in calls] == ["create_repo", "upload_folder"] and calls[0][2]["private"]
    for nothing in ({}, {"learner": tmp_path / "x.pkl", "push": "me/mine"}):
        with pytest.raises(DataError, match="--push goes with --hub"):
            script.main(folder, **nothing)
