"""From Python: a run is one object, and fastai's own Learner comes out of it."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import FORWARD, QUICK, QUIET
from fastai.text.all import (
    ClassificationInterpretation,
    TensorCategory,
    TensorText,
    load_learner,
    show_results,
    tensor,
)

import ulmfit_exp
from ulmfit_exp import RECIPES, Corpus, ulmfit
from ulmfit_exp.common import DataError

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "ulmfit_exp" / "corpora" / "miniature" / "dbpedia_csv" / "train.csv"


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return replace(Corpus.from_csv(TABLE), name="my texts/1")


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory) -> ulmfit_exp.Result:
    return ulmfit(corpus, QUICK, home=tmp_path_factory.mktemp("home"), **QUIET)  # both directions


@pytest.fixture
def learn(run):
    learner = run.learner("backward")
    with learner.no_bar(), learner.no_logging():
        yield learner


def test_a_run_has_its_folder_its_record_and_its_error(run):
    assert (run.path / "result.json").is_file()
    assert run.error == run.record["test"]["error"]
    assert repr(run).startswith("<own_csv-1, tiny ")
    assert f"{100 * run.error:.2f} % on 25 texts" in repr(run)
    assert "TF-IDF" in run._repr_html_()


def test_the_record_names_the_corpus_and_the_fields_that_differ_from_the_nearest_recipe(run):
    assert run.record["dataset"] == "own_csv-1"
    assert run.record["settings"]["recipe_name"] == "tiny"
    assert run.record["changes"]["model.emb_sz"] == "12"
    assert "max_vocab" not in run.record["changes"]


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"recipe": "smal"}, "recipe 'smal' is unknown; choose one of auto, default, lp-ft"),
        ({"recipe": replace(QUICK, max_len="x")}, "recipe.max_len is 'x', of type str; it must be of type int"),
        ({"direction": "up"}, "direction 'up' is unknown; choose one of forward, backward, both"),
        ({"precision": "fp16"}, "precision 'fp16' is unknown; choose one of auto, fp32, bf16"),
        ({"wandb": "off"}, "wandb 'off' is unknown; choose one of auto, online, offline, disabled"),
        ({"seed": 1.5}, "seed is 1.5, of type float; it must be of type int"),
        ({"train_size": "10"}, "train_size is '10', of type str; it must be of type int or None"),
        ({"tags": 3}, "tags is 3"),
        ({"tags": [3]}, "tags.0 is 3"),
        ({"home": None}, "home is None"),
    ],
)
def test_a_wrong_argument_is_one_line_that_lists_the_choices(corpus, tmp_path, wrong, message):
    with pytest.raises(DataError, match=message):
        ulmfit(corpus, **{"home": tmp_path, **wrong})


def test_a_table_is_not_yet_a_corpus(corpus):
    with pytest.raises(DataError, match="corpus is a DataFrame: make a Corpus of it"):
        ulmfit(corpus.df)
    with pytest.raises(DataError, match="from_csv reads a file or folder, not DataFrame; from_df"):
        Corpus.from_csv(corpus.df)


def test_a_folder_of_texts_is_a_corpus():
    corpus = Corpus.from_folder(TABLE.parents[1] / "own" / "newsgroups")
    assert len(corpus.classes) > 1


@pytest.mark.slow
def test_a_single_string_is_one_text_and_no_texts_have_no_rows(run):
    assert len(run.predict("A river in the north.")) == 1
    assert len(run.predict([])) == 0
    assert run.encoder("forward").transform("A river.").shape == (1, 3 * 12)
    assert run.encoder().transform([]).shape == (0, 3 * 12)


def test_the_predictions_of_a_column_have_its_index(run):
    texts = pd.Series(["A river.", "A song.", "A village."], index=[7, 7, "b"])
    assert run.predict(texts).index.equals(texts.index)
    assert run.predict(texts).reset_index(drop=True).equals(run.predict(texts.tolist()))


def test_a_text_that_is_missing_is_named(run, corpus):
    refused = [(given, "texts are a list") for given in (corpus.df, None, 3, {"A river.": 1})]
    for given, message in ((["A river.", np.nan], "text 1 is nan"), ([None], "text 0 is None"), *refused):
        with pytest.raises(DataError, match=message):
            run.predict(given)
        with pytest.raises(DataError, match=message):
            run.encoder().transform(given)


def test_a_run_of_features_predicts_and_has_a_learner(corpus, tmp_path):
    run = ulmfit(corpus, replace(FORWARD, head="features"), home=tmp_path, **QUIET)
    assert run.encoder().transform("A river.").shape == (1, 3 * 12)
    assert run.predict("A river.").shape == (1, 2 + len(corpus.classes))
    with (learner := run.learner()).no_bar(), learner.no_logging():
        assert learner.validate()[0] == pytest.approx(run.record["valid"]["loss"], abs=1e-4)
        learner.fit(1, 0.001)


def test_a_learner_has_the_runs_weights_and_texts_in_either_direction(run):
    for direction in run.directions:
        with (learner := run.learner(direction)).no_bar():
            loss, error = learner.validate()
        valid = run.record["directions"][direction]["valid"]
        assert loss == pytest.approx(valid["loss"], abs=1e-5)
        assert error == pytest.approx(valid["error"])


def test_a_direction_that_a_run_does_not_have_is_an_error_that_lists_those_it_has(run):
    with pytest.raises(DataError, match="direction 'up' is unknown; choose one of forward, backward"):
        run.learner("up")


def test_training_a_learner_does_not_change_the_run(run, learn):
    before = run.predict("A river in the north.")
    learn.fit(1, 0.1)
    assert run.predict("A river in the north.").equals(before)


def test_fastai_shows_texts_and_results_in_reading_order(learn, monkeypatch):
    shown = []
    monkeypatch.setattr("fastai.text.data.display_df", shown.append)
    monkeypatch.setattr("fastai.text.learner.display_df", shown.append)
    monkeypatch.setattr("ulmfit_exp.inference.export.display_df", shown.append)
    learn.dls.show_batch(max_n=2)
    learn.show_results(max_n=2)
    ClassificationInterpretation.from_learner(learn).plot_top_losses(2)
    assert [list(table)[:2] for table in shown] == [["text", "category"], ["text", "category"], ["input", "target"]]
    assert all(table.iloc[0, 0].startswith("xxbos") for table in shown)


def test_fastai_predicts_a_text_and_counts_the_mistakes(run, learn):
    label, place, probs = learn.predict("A river in the north.")
    assert label == run.record["corpus"]["classes"][place]
    assert probs.sum() == pytest.approx(1)
    counts = ClassificationInterpretation.from_learner(learn).confusion_matrix()
    assert counts.sum() == run.record["corpus"]["rows"]["valid"]


@pytest.mark.filterwarnings("ignore:load_learner")
def test_an_exported_learner_predicts_the_same_and_keeps_the_five_layer_groups(learn, tmp_path):
    learn.export(tmp_path / "export.pkl")
    loaded = load_learner(tmp_path / "export.pkl")
    with loaded.no_bar():
        assert loaded.predict("A river.")[2].equal(learn.predict("A river.")[2])
    loaded.freeze_to(-2)
    assert [all(p.requires_grad for p in group) for group in loaded.splitter(loaded.model)] == [False] * 3 + [True] * 2


def test_fastai_still_needs_a_function_that_shows_results():
    """When this fails, fastai has closed its issue 4092: delete `show_results` in inference/export.py."""
    stock = show_results.invoke(TensorText, object, object, object)
    with pytest.raises(TypeError, match="not subscriptable"):
        stock(TensorText(tensor([1])), TensorCategory(0), [], [], ctxs=[])


def test_a_run_loaded_from_its_folder_takes_other_texts_of_the_same_classes(run, corpus, tmp_path, monkeypatch):
    moved = ulmfit_exp.load(shutil.copytree(run.path, tmp_path / "moved"))
    with pytest.raises(DataError, match=r"moved: cannot read the language model, which is in the run's home"):
        moved.encoder()
    loaded = ulmfit_exp.load(run.path / "result.json")
    assert loaded.path == run.path
    with pytest.raises(DataError, match=r"loaded without its texts: give them as learner\(corpus=\.\.\.\)"):
        loaded.learner()
    with pytest.raises(DataError, match="corpus is a DataFrame: make a Corpus of it"):
        loaded.learner(corpus=corpus.df)
    monkeypatch.chdir(run.path.parent)
    assert ulmfit_exp.load(run.path.name).path == run.path  # the current folder may change later
    for path, message in (("zz", "there is no zz"), (run.path.parent, "it has no result.json"), (None, "path is None")):
        with pytest.raises(DataError, match=message):
            ulmfit_exp.load(path)
    assert len(loaded.learner(corpus=corpus).dls.train_ds) == run.record["corpus"]["rows"]["train"]
    other = replace(corpus, df=corpus.df.assign(label="new " + corpus.df["label"]))
    with pytest.raises(DataError, match="the classifier has no class 'new 1'"):
        loaded.learner(corpus=other)


def test_names_that_import_heavy_packages_only_when_used_can_be_completed():
    assert set(dir(ulmfit_exp)) >= {"Corpus", "RECIPES", "Recipe", "Result", "load", "ulmfit"}
    with pytest.raises(AttributeError, match="has no attribute 'fit'"):
        ulmfit_exp.fit  # noqa: B018


@pytest.mark.slow
def test_the_readmes_session_goes_from_a_csv_to_fastai_and_back_to_a_recorded_run(tmp_path, monkeypatch):
    rows = [f"The kettle number {i} {'boils' if i % 2 else 'leaks'}.,{i % 2 + 1}\n" for i in range(60)]
    (tmp_path / "reviews.csv").write_text("body,stars\n" + "".join(rows))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setitem(RECIPES, "default", FORWARD)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    *_, session = blocks = re.findall(r"(?s)```python\n(.*?)```", readme)
    assert len([line for line in session.splitlines() if line and "import" not in line]) <= 10
    names = {}
    for block in blocks:
        exec(block, names)
    assert names["again"].path != names["run"].path
    assert set(names["again"].record["changes"]) == {"clas.phases"}
    assert f"{names['rate']:g}" in names["again"].record["changes"]["clas.phases"]
