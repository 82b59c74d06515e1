"""Pretrained models: found wherever they may lie, their words matched, and nothing in them run."""

import io
import json
import pickle
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import FORWARD
from fastai.text.all import L
from safetensors.torch import load_file, save_file, save_model

from ulmfit_exp.cli import run
from ulmfit_exp.common import DataError
from ulmfit_exp.corpora import sfu
from ulmfit_exp.corpora.sources import MINIATURE
from ulmfit_exp.method import models
from ulmfit_exp.method.pretrained import EMBEDDING, SHIPPED, TIED, resolve
from ulmfit_exp.method.tokens import encode
from ulmfit_exp.method.weights import quantised
from ulmfit_exp.recipe import Model

SMALL = Model(emb_sz=6, n_hid=8, n_layers=2)
VOCAB = ["xxunk", "xxpad", "xxbos", "the", "good", "film", "xxfake", "xxfake"]


def language_model():
    torch.manual_seed(5)
    return models.language_model(len(VOCAB), SMALL)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A model of both directions."""
    for direction in ("forward", "backward"):
        at = tmp_path / "model" / direction
        at.mkdir(parents=True)
        save_model(language_model().half(), str(at / "model.safetensors"))
        (at / "vocab.json").write_text(json.dumps(VOCAB))
    return tmp_path / "model"


def archive(path: Path, weights: bytes, vocab: bytes, **others: bytes) -> None:
    """As fastai packs its WikiText-103 models."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = {"lstm_fwd.pth": weights, "itos_wt103.pkl": vocab, **others}
    with tarfile.open(path, "w:gz") as tar:
        for name, data in (("wt103-fwd/" + name, data) for name, data in files.items()):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def saved(model) -> bytes:
    file = io.BytesIO()
    state = model.state_dict()  # the published files also hold the weights before dropout under their module's name
    state |= {k.replace("weight_hh_l0_raw", "module.weight_hh_l0"): w for k, w in state.items() if k.endswith("_raw")}
    torch.save(state, file)
    return file.getvalue()


def test_words_are_matched_one_by_one_and_the_others_get_the_mean_row(folder):
    start = resolve(str(folder), ("forward",), None)["forward"]
    weights, found = start.matched(["xxunk", "film", "unheard", "the"])
    old = language_model().half().float().state_dict()
    assert found == {"words_found": 3, "words": 4}
    rows = weights[EMBEDDING]
    for new, place in ((0, 0), (1, 5), (3, 3)):
        assert torch.equal(rows[new], old[EMBEDDING][place])
        assert weights["1.decoder.bias"][new] == old["1.decoder.bias"][place]
    torch.testing.assert_close(rows[2], old[EMBEDDING].mean(0))
    assert torch.equal(weights["1.decoder.weight"], rows)
    assert start.shape(Model()) == Model(emb_sz=6, n_hid=8, n_layers=2)


def test_the_folder_may_be_the_model_of_one_direction_and_two_can_be_named(folder):
    assert resolve(str(folder / "forward"), ("forward",), None)["forward"].content[1] == VOCAB
    both = resolve(f"{folder / 'forward'},{folder / 'backward'}", ("forward", "backward"), None)
    assert [both[d].files[0].parent.name for d in ("forward", "backward")] == ["forward", "backward"]


def test_fastais_archive_is_read_from_the_data_directory(tmp_path):
    model = language_model()
    archive(tmp_path / "wt103" / "wt103-fwd.tgz", saved(model), pickle.dumps(VOCAB))
    start = resolve("wt103-fwd", ("forward",), tmp_path)["forward"]
    weights, vocab = start.content
    assert vocab == VOCAB and torch.equal(weights[EMBEDDING], model.state_dict()[EMBEDDING])
    assert set(start.matched(VOCAB)[0]) == set(model.state_dict())
    with pytest.raises(DataError, match="reads texts forward, but the run is forward and backward"):
        resolve("wt103-fwd", ("forward", "backward"), tmp_path)


def test_a_users_own_model_of_fastai_is_read_from_a_folder_or_an_archive(tmp_path):
    state = language_model().state_dict()
    with_optimizer = {"model": state, "opt": {"state": L(1, 2), "hypers": [{"lr": np.float64(0.1)}]}}
    torch.save(with_optimizer, tmp_path / "lm_fwd.pth")
    torch.save({k[2:]: w for k, w in state.items() if k[0] == "0"}, tmp_path / "encoder_bwd.pth")  # save_encoder
    (tmp_path / "itos.pkl").write_bytes(pickle.dumps(L(VOCAB)))
    both = resolve(str(tmp_path), ("forward", "backward"), None)
    assert [model.files[0].name for model in both.values()] == ["lm_fwd.pth", "encoder_bwd.pth"]
    for weights, vocab in (model.content for model in both.values()):
        assert vocab == VOCAB
        assert torch.equal(weights["0.rnns.1.weight_hh_l0_raw"], state["0.rnns.1.weight_hh_l0_raw"])
    assert not both["backward"].content[0]["1.decoder.bias"].any()
    archive(tmp_path / "mine.tgz", (tmp_path / "lm_fwd.pth").read_bytes(), pickle.dumps(VOCAB))
    mine = resolve(str(tmp_path / "mine.tgz"), ("forward",), None)["forward"]
    assert torch.equal(mine.content[0][EMBEDDING], state[EMBEDDING])
    assert mine.lang is None  # it may read any language
    with pytest.raises(DataError, match=r"mine\.tgz needs one \.pth for the backward .*fwd\.pth.* FORWARD,BACKWARD"):
        resolve(str(tmp_path / "mine.tgz"), ("forward", "backward"), None)
    with pytest.raises(DataError, match=r"give the folder of the \.pth"):
        resolve(str(tmp_path / "lm_fwd.pth"), ("forward",), None)
    (tmp_path / "vocab.json").write_text(json.dumps(VOCAB))
    with pytest.raises(DataError, match=r"needs one \.pkl or \.json of its words .* it has itos\.pkl, vocab\.json"):
        resolve(str(tmp_path), ("forward",), None)


def test_only_the_files_of_the_direction_are_read_from_an_archive(tmp_path):
    model, path = language_model(), tmp_path / "one,two" / "BOTH.TGZ"
    other = saved(model)
    torch.nn.init.zeros_(model[0].encoder.weight)
    vocab = pickle.dumps(L(VOCAB))
    more = {"lstm_bwd.PTH": other, "._lstm_fwd.pth": b"\0\5\x16\7", "config.json": b"{}"}
    archive(path, saved(model), vocab, **more)
    both = resolve(str(path), ("forward", "backward"), None)
    assert [bool(m.content[0][EMBEDDING].any()) for m in both.values()] == [False, True]
    assert both["backward"].content[1] == VOCAB
    archive(path, saved(model), vocab, **{"lstm_fwd (1).pth": other})
    with pytest.raises(DataError, match=r"needs one \.pth for the forward language model; it has .*lstm_fwd \(1\)"):
        resolve(str(path), ("forward",), None)


@pytest.mark.parametrize("words", [{word: i for i, word in enumerate(VOCAB)}, "a" * 8, [VOCAB, ["neg", "pos"]]])
@pytest.mark.parametrize("name, write", [("itos.pkl", pickle.dumps), ("itos.json", lambda w: json.dumps(w).encode())])
def test_a_vocabulary_that_is_no_list_of_words_is_refused(name, write, words, tmp_path):
    (tmp_path / "lm.pth").write_bytes(saved(language_model()))
    (tmp_path / name).write_bytes(write(words))
    with pytest.raises(DataError, match="is not a list of words"):
        _ = resolve(str(tmp_path), ("forward",), None)["forward"].content


class Evil:
    """What a pickle can do to whoever reads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_damaged_archive_is_one_clear_error(tmp_path):
    (tmp_path / "mine.tgz").write_bytes(b"\x1f\x8bnothing")
    with pytest.raises(DataError, match=r"mine\.tgz is damaged or not a model of fastai"):
        _ = resolve(str(tmp_path / "mine.tgz"), ("forward",), None)["forward"].content
    archive(tmp_path / "mine.tgz", b"PK\x03\x04", pickle.dumps(VOCAB))
    with pytest.raises(DataError, match=r"mine\.tgz is damaged or not a model of fastai"):
        _ = resolve(str(tmp_path / "mine.tgz"), ("forward",), None)["forward"].content


@pytest.mark.parametrize("where", ["weights", "vocab"])
def test_no_code_in_an_archive_is_executed(where, tmp_path):
    harm = tmp_path / "harm"
    evil = io.BytesIO()
    torch.save({"0.encoder.weight": Evil(harm)}, evil)
    weights = evil.getvalue() if where == "weights" else saved(language_model())
    vocab = pickle.dumps([Evil(harm)] if where == "vocab" else VOCAB)
    archive(tmp_path / "wt103-fwd.tgz", weights, vocab)
    with pytest.raises(DataError, match=r"wt103-fwd\.tgz cannot be read without .*If you trust it, load it"):
        _ = resolve("wt103-fwd", ("forward",), tmp_path)["forward"].content
    assert not harm.exists()


def test_a_model_of_the_hub_is_read_from_its_cache(folder, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "hub" / "models--owner--name"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    (repo / "snapshots").mkdir()
    folder.rename(repo / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert resolve("hf:owner/name", ("backward",), None)["backward"].content[1] == VOCAB
    two = resolve("hf:owner/name,hf:owner/name", ("forward", "backward"), None)
    assert [model.files[0].parent.name for model in two.values()] == ["forward", "backward"]
    for absent in ("hf:owner/other", "hf:no such name"):
        with pytest.raises(DataError, match=f"--pretrained {absent} could not be fetched from the Hugging Face hub"):
            resolve(absent, ("forward",), None)


@torch.no_grad()
def test_int8_weights_are_read_and_change_the_loss_by_less_than_a_thousandth(tmp_path):
    torch.manual_seed(0)
    weights, vocab = resolve("wikipedia-small", ("forward",), None)["forward"].content
    weights = {k: w + 1e-3 * torch.randn_like(w) for k, w in weights.items() if k not in TIED}
    save_file(quantised(weights), tmp_path / "model.safetensors")
    (tmp_path / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    assert (tmp_path / "model.safetensors").stat().st_size < 6.6e6
    small = resolve(str(tmp_path), ("forward",), None)["forward"]
    ids = torch.from_numpy(encode([" ".join(sfu.load(MINIATURE).df["text"][:20])], vocab)[0].astype(int))
    lm, losses = models.language_model(len(vocab), small.shape(Model())), []
    for state in (weights, small.content[0]):
        lm.load_state_dict({**state, **{k: state[EMBEDDING] for k in TIED}})
        lm.eval().reset()
        losses.append(torch.nn.functional.cross_entropy(lm(ids[None, :-1])[0][0], ids[1:]).item())
    assert losses[0] != losses[1]
    assert abs(losses[0] - losses[1]) < 1e-3


def break_scales(folder):
    save_file({"0.encoder.weight.scale": torch.ones(3, 1)}, folder / "model.safetensors")


def drop_a_scale(folder):
    weights = quantised(language_model().state_dict())
    save_file({k: w for k, w in weights.items() if k != f"{EMBEDDING}.scale"}, folder / "model.safetensors")


def break_words(folder):
    (folder / "vocab.json").write_text(json.dumps(VOCAB[:-1]))


def break_json(folder):
    (folder / "vocab.json").write_text("[")


def break_weights(folder):
    (folder / "model.safetensors").write_bytes(b"not weights")


def other_weights(folder):
    save_file({"x": torch.zeros(3)}, folder / "model.safetensors")


def no_weights(folder):
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (break_words, "vocab.json has 7 words, but the embedding of .* has 8 rows"),
        (break_json, "vocab.json is not JSON"),
        (break_weights, "model.safetensors is not a safetensors file"),
        (other_weights, "does not hold an AWD-LSTM language model"),
        (break_scales, "int8 weights and their scales do not match"),
        (drop_a_scale, r"int8 weights and their scales do not match \('0\.encoder\.weight'\)"),
        (no_weights, "there is no .*model.safetensors"),
    ],
)
def test_a_damaged_model_is_one_clear_error(folder, damage, error):
    damage(folder / "forward")
    with pytest.raises(DataError, match=error):
        _ = resolve(str(folder), ("forward",), None)["forward"].content


def test_a_damaged_record_of_a_run_is_one_clear_error(tmp_path):
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{")
    with pytest.raises(DataError, match=r"result\.json is damaged or not a record"):
        resolve(str(folder), ("forward",), None)


@pytest.mark.parametrize(("name", "text"), [("result.json", '{"accuracy": 0.9}'), ("forward/stage.json", "{}")])
def test_another_programs_file_of_the_same_name_does_not_describe_a_model(name, text, folder):
    (folder / name).write_text(text)
    assert resolve(str(folder / "forward"), ("forward",), None)["forward"].lang is None


def test_an_unknown_model_is_reported_with_the_known_ones():
    with pytest.raises(
        DataError, match="no such folder or archive; the shipped models are reviews-small, wikipedia-small;"
    ):
        resolve("wikipedia-tiny", ("forward",), None)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("model", ["wikipedia-small", "reviews-small"])
def test_a_shipped_model_fits_its_limits(model, direction):
    start = resolve(model, (direction,), None)[direction]
    assert sum(f.stat().st_size for f in start.files) <= 16_000_000
    weights, vocab = start.content
    assert len(vocab) == len(weights[EMBEDDING]) and vocab[:2] == ["xxunk", "xxpad"]
    assert json.loads((SHIPPED / model / direction / "record.json").read_text())["perplexity"]


@pytest.mark.slow
def test_the_stages_of_a_run_start_from_a_model_and_the_next_run_from_theirs(sfu, folder):
    def record(pretrained):
        return json.loads(run(replace(sfu, recipe=replace(FORWARD, pretrained=str(pretrained)))).read_text())

    first = record(folder)
    assert first["pretrained"]["forward"]["words_found"] == 6 < first["pretrained"]["forward"]["words"]
    assert (first["model"]["emb_sz"], first["model"]["n_hid"], first["model"]["n_layers"]) == (6, 8, 2)
    assert first["model"]["output_p"] == FORWARD.model.output_p
    runs = next((sfu.home / "runs").iterdir())
    second = record(runs)
    assert second["pretrained"]["forward"]["words_found"] == second["pretrained"]["forward"]["words"]
    assert second["history"]["lm forward"][0]["train_loss"] < first["history"]["lm forward"][0]["train_loss"]


def test_a_classifiers_encoder_can_be_the_pretrained_model(finished, tmp_path):
    finished = run(replace(finished, recipe=FORWARD)).parent
    lm = resolve(str(finished), ("forward",), None)["forward"]
    start = resolve(f"{finished}#clas", ("forward",), None)["forward"]
    trained = load_file(start.files[2])
    assert start.digest != lm.digest and start.content[1] == lm.content[1]
    for name in (EMBEDDING, "0.rnns.1.weight_hh_l0_raw"):
        assert torch.equal(start.content[0][name], trained[name.replace("0.", "0.module.", 1)])
        assert not torch.equal(start.content[0][name], lm.content[0][name])
    assert torch.equal(start.content[0]["1.decoder.bias"], lm.content[0]["1.decoder.bias"])
    with pytest.raises(DataError, match="that run has no lm backward; it has"):
        resolve(f"{finished}#clas", ("backward",), None)
    with pytest.raises(DataError, match="#clas needs a finished run"):
        resolve(f"{SHIPPED / 'wikipedia-small'}#clas", ("forward",), None)
    alone = shutil.copytree(finished, tmp_path / "runs" / finished.name)
    with pytest.raises(DataError, match=r"there is no .*stages.*model.safetensors, for the forward language model"):
        resolve(str(alone), ("forward",), None)
