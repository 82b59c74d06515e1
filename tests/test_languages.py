"""Other languages: tokens, pretraining and a classifier of bundled German and Japanese texts."""

import json
from dataclasses import replace

import pytest
from conftest import FORWARD, QUICK, QUIET

from experiments.own_csv import OwnCsv
from experiments.pretrain import Pretrain
from ulmfit_exp.cli import parse, run
from ulmfit_exp.common import DataError
from ulmfit_exp.corpora.sources import MINIATURE
from ulmfit_exp.inference import export, hub, predict
from ulmfit_exp.inference.features import Encoder
from ulmfit_exp.method.tokenizer import words
from ulmfit_exp.recipe import PRETRAINING
from ulmfit_exp.runs import stages
from ulmfit_exp.runs.run import prepare


@pytest.mark.parametrize(
    ("lang", "text", "expected"),
    [
        ("de", "Das ist z.B. GUT.", "xxbos xxmaj das ist z.b. xxup gut ."),
        ("ja", "本が３冊。iPhone 15も", "xxbos 本 が ３ 冊 。 iphone 15 も"),
        ("th", "ดีมาก ok", "xxbos ด ี ม า ก ok"),
        ("ja", "本も" * 48 + "iPhone15" * 2, " ".join(["xxbos", *"本も" * 48, "iphone15iphone15"])),
        ("xx", "Dobrá kniha", "xxbos xxmaj dobrá kniha"),
    ],
)
def test_a_language_has_its_own_tokens_and_those_without_spaces_are_read_by_characters(lang, text, expected):
    assert " ".join(words(text, lang)) == expected


def pretrained(lang, tmp_path, **settings):
    """A language model of the bundled texts of a language, and the experiment on its bundled reviews."""
    folder = MINIATURE / "languages" / lang
    recipe = replace(PRETRAINING["tiny"], model=QUICK.model, lang=lang)
    lm = Pretrain(corpus=str(folder / "texts"), recipe_name="tiny", recipe=recipe, home=tmp_path / "lm", **QUIET)
    recipe = replace(FORWARD, lang=lang, pretrained=str(run(lm).parent), **settings)
    return OwnCsv(csv=folder / "reviews.csv", recipe_name="tiny", recipe=recipe, home=tmp_path / "run", **QUIET)


@pytest.mark.parametrize("lang", ["de", "ja"])
def test_whatever_uses_a_run_tokenises_as_its_training_did(lang, tmp_path):
    settings = pretrained(lang, tmp_path)
    folder = run(settings).parent
    record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert record["settings"]["recipe"]["lang"] == lang
    assert record["pretrained"]["forward"]["words_found"] > 0.5 * record["pretrained"]["forward"]["words"]
    assert record["baseline"]["error"] < 0.5
    this = prepare(settings)
    text, trained = this.corpus.df["text"][0], this.tokens
    assert [trained.vocab[i] for i in trained[0]] == [w if w in trained.vocab else "xxunk" for w in words(text, lang)]
    predictor = predict.load(folder)
    whole = [w for w in words(text, lang) if w not in ("xxbos", "xxmaj", "xxup")]
    assert [w.lower() for w, _ in predictor.words(text)][-len(whole) :] == whole
    assert Encoder.load(folder).lang_ == lang
    hub.write(folder, tmp_path / "hub")
    assert Encoder.load(tmp_path / "hub").lang_ == lang
    assert f"language: {lang}\n" in (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")
    learn = export.learner(predictor)
    with learn.no_bar():
        assert learn.predict(text)[2].numpy() == pytest.approx(predictor.probabilities(text)[0], abs=1e-5)


def test_a_model_of_another_language_is_refused_and_no_model_gets_a_warning(tmp_path, capsys):
    reviews = str(MINIATURE / "languages" / "de" / "reviews.csv")
    german = parse(OwnCsv, ["--csv", reviews, "--lang", "de", "--home", str(tmp_path)])[0]
    with pytest.raises(DataError, match="--pretrained wikipedia-small reads en, but --lang is de: pretrain a model"):
        prepare(german)
    with pytest.raises(DataError, match="--lang deutsch: spaCy has no tokenizer of that language"):
        prepare(replace(german, recipe=replace(german.recipe, lang="deutsch")))
    run(replace(german, recipe=replace(FORWARD, lang="de"), **QUIET))
    printed = capsys.readouterr().out
    assert "warning: this run starts from random weights" in printed
    assert "recipe default: " in printed and "labelled training texts" in printed  # its classifier is not that of auto


@pytest.mark.parametrize("lang, warned", [("en", True), ("ja", False)])
def test_texts_without_spaces_get_a_warning_unless_their_language_is_named(lang, warned, tmp_path, capsys):
    reviews = MINIATURE / "languages" / "ja" / "reviews.csv"
    japanese = prepare(OwnCsv(csv=reviews, recipe=replace(FORWARD, lang=lang), home=tmp_path, **QUIET))
    stages.tokenize(japanese, tmp_path)
    assert ("with --lang en a whole sentence is one token: use --lang ja" in capsys.readouterr().out) == warned


@pytest.mark.parametrize(("texts", "low"), [("own/tickets.csv", False), ("languages/de/reviews.csv", True)])
def test_the_english_model_knows_few_words_of_german_texts_and_warns(texts, low, tmp_path, capsys):
    settings = OwnCsv(csv=MINIATURE / texts, multi_label="tickets" in texts, home=tmp_path, **QUIET)
    run = prepare(settings)
    share = stages.known_words(run, run.corpus.df["text"].tolist())
    assert share < 0.3 if low else share > 0.8
    stages.tokenize(run, tmp_path)
    assert ("name it with --lang" in capsys.readouterr().out) == low
