"""Texts with several labels: how tables have them, what a run records and predicts."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import FORWARD, QUIET
from sklearn.metrics import f1_score

from ulmfit_exp import Corpus, ulmfit
from ulmfit_exp.common import DataError
from ulmfit_exp.corpora.multilabel import f1, indicators
from ulmfit_exp.corpora.sources import MINIATURE
from ulmfit_exp.inference.scores import apply_temperature, fit_thresholds
from ulmfit_exp.results import dashboard, draw, page
from ulmfit_exp.results.tables import run_table

TICKETS = MINIATURE / "own" / "tickets.csv"
NAMES = ["billing", "delivery", "login", "urgent"]
WEIGHED = replace(FORWARD, class_weights=True)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus.from_csv(TICKETS, multi_label=True)


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    return ulmfit(corpus, WEIGHED, home=tmp_path_factory.mktemp("home"), **QUIET)


@pytest.fixture(scope="module")
def features(corpus, run):
    return ulmfit(corpus, replace(FORWARD, head="features"), home=run.path.parents[1], **QUIET)


def predictions(run) -> pd.DataFrame:
    stage = run.path.parents[1] / run.record["stages"][-1]["path"]
    return pd.read_csv(stage / "predictions.csv", keep_default_na=False)


def table(**labels) -> pd.DataFrame:
    """Thirty texts; a function of the row makes the cells of each further column."""
    columns = {name: [cell(i) for i in range(30)] for name, cell in labels.items()}
    return pd.DataFrame({"body": [f"text number {i} of thirty" for i in range(30)], **columns})


def two(i: int) -> str:
    return ("a b;c", "c", "", "a b")[i % 4]


def test_cells_lists_and_columns_of_0_and_1_are_the_same_corpus(tmp_path):
    several = table(tags=two)
    cells = Corpus.from_df(several, label_col="tags", multi_label=True)
    lists = several.assign(tags=[[name for name in cell.split(";") if name] for cell in several["tags"]])
    (tmp_path / "table.jsonl").write_text(lists.to_json(orient="records", lines=True))
    lists.to_parquet(tmp_path / "table.parquet")
    cells_of = several.pop("tags")
    flags = several.join(cells_of.str.get_dummies(";"))
    assert cells.multi_label
    assert cells.classes == ["a b", "c"]
    assert set(cells.df["label"]) == {"a b;c", "c", ";", "a b"}
    assert cells.digest == Corpus.from_csv(tmp_path / "table.jsonl", label_col="tags").digest
    assert cells.digest == Corpus.from_csv(tmp_path / "table.parquet", label_col="tags").digest
    assert cells.digest == Corpus.from_df(flags, label_col=["a b", "c"]).digest
    brackets = cells_of.map(lambda cell: "{" + cell.replace(";", ",") + "}")  # as PostgreSQL writes arrays
    assert cells.digest == Corpus.from_df(several.assign(tags=brackets), label_col="tags", multi_label=True).digest


def test_untidy_cells_are_the_labels_that_they_mean():
    untidy = table(tags=lambda i: (" c| a b |c|", "c|", None, "['a b']")[i % 4])
    corpus = Corpus.from_df(untidy, label_col="tags", label_sep="|")
    assert corpus.df["label"][:4].tolist() == ["a b;c", "c", ";", "a b"]
    flags = table(
        a=lambda i: ("1.00", "0", "-1", "nan")[i % 4], b=lambda i: ("0.0", "1", "-1", "")[i % 4], c=lambda i: 0
    )
    corpus = Corpus.from_df(
        flags.assign(c=flags["a"].map({"-1": "-1", "nan": ""}).fillna("0")), label_col=("a", "b", "c")
    )
    assert corpus.df["label"][:4].tolist() == ["a", "b", "", ""]
    assert any("labels of no text: 'c'" in note for note in corpus.notes)
    numbers = Corpus.from_df(table(tags=lambda i: ("[0 1]", "[1]", "set()")[i % 3]), label_col="tags")
    assert numbers.df["label"][:3].tolist() == ["0;1", "1", ";"]
    cut = Corpus.from_df(table(tags=lambda i: "[0 1" if i == 3 else "[0 1]" if i % 2 else "[1]"), label_col="tags")
    assert any("29 cells are lists" in note for note in cut.notes)  # the cut one is not, so the column is of classes
    written = ("['a' 'b']", '["a", " b ", null]', "('c', 'b')", "{'a'}", {"a", "b"})  # by NumPy, JSON, Python
    corpus = Corpus.from_df(table(tags=lambda i: written[i % 5]), label_col="tags")
    assert corpus.df["label"][:5].tolist() == ["a;b", "a;b", "b;c", "a", "a;b"]


def test_rows_that_are_not_labelled_and_rows_with_none_of_the_labels_differ():
    missing = table(tags=lambda i: None if i % 5 == 0 else [["a"], ["a", "b"], []][i % 3])
    assert Corpus.from_df(missing, label_col="tags").counts()["unlabelled"] == 6
    flags = table(a=lambda i: "" if i % 5 == 0 else i % 2, b=lambda i: "" if i % 5 == 0 else i % 3 % 2)
    corpus = Corpus.from_df(flags, label_col=("a", "b"))
    assert corpus.counts()["unlabelled"] == 6
    assert (corpus.df["label"] == ";").sum() == ((flags["a"] == 0) & (flags["b"] == 0)).sum()
    for missing in ("-1", "NONE"):  # of Jigsaw's and of SemEval's test labels
        replaced = flags.replace("", missing)
        assert Corpus.from_df(replaced, label_col=("a", "b")).df.equals(corpus.df)
    to_predict = table(tags=lambda i: "" if i % 5 == 0 else two(i), split=lambda i: "train" if i % 5 else "test")
    assert set(Corpus.from_df(to_predict, label_col="tags", multi_label=True).split("test")["label"]) == {""}


def test_several_labels_are_never_guessed_but_a_table_that_seems_to_have_them_gets_a_hint():
    cells = Corpus.from_df(table(tags=lambda i: ("a;b", "a", "b", "c;b", "c")[i % 5]), label_col="tags")
    assert not cells.multi_label
    assert any("'a;b' looks like several labels" in note for note in cells.notes)
    other = Corpus.from_df(table(tags=lambda i: ("a|b", "a", "b", "nan")[i % 4]), label_col="tags", multi_label=True)
    assert other.classes == ["a", "a|b", "b"]
    assert any("no cell has the separator ';'" in note for note in other.notes)
    assert any("use --label-sep '|'" in note for note in other.notes)
    numbers = table(ids=lambda i: str(i % 7) if i % 3 else f"{i % 7},{i % 25}")  # as GoEmotions has them
    with pytest.raises(DataError, match=r"different numbers; .*'0,0' looks like several labels; .*--label-sep ','"):
        Corpus.from_df(numbers, label_col="ids")
    hashes = Corpus.from_df(table(tags=lambda i: ("a#b", "a", "b")[i % 3]), label_col="tags")  # as Doccano writes them
    assert any("use --label-sep '#'" in note for note in hashes.notes)
    flags = table(rude=lambda i: i % 2, threat=lambda i: i % 3 % 2)
    assert any("name all of them with --label-col" in note for note in Corpus.from_df(flags).notes)


@pytest.mark.parametrize(
    ("cells", "classes", "says"),
    [
        ([["1"], ["1.0", "2"], ["2"]], ["1", "2"], "are one number"),
        (["Good;x", "good", "x"], ["Good", "good", "x"], "'Good', 'good' look alike"),
        (["café", "cafe\u0301;x", "x"], ["cafe\u0301", "café", "x"], "look alike"),
        ([["a", float("nan")], ["b"]], ["a", "b"], "'nan' is treated as a missing label; rows: 15"),
        (["a;nan", "b", "nan"], ["a", "b"], "'nan' is treated as a missing label; rows: 20"),
        (["a;NA", "b"], ["NA", "a", "b"], "'NA' is a class like the others"),
    ],
)
def test_several_labels_are_checked_as_one_label_is(cells, classes, says):
    corpus = Corpus.from_df(table(t=lambda i: cells[i % len(cells)]), label_col="t", multi_label=True)
    assert corpus.classes == classes
    assert any(says in note for note in corpus.notes)
    assert corpus.counts()["unlabelled"] == 10 * ("nan" in cells)


def test_labels_of_no_training_text_are_left_out_with_a_note():
    split = ["train", "valid", "test"]
    frame = table(t=lambda i: ["ab"[i % 2], *["z"] * (i > 19)], split=lambda i: split[i // 10])
    corpus = Corpus.from_df(frame, label_col="t")
    assert corpus.classes == ["a", "b"]
    assert any("left out: labels without a training text: 'z'" in note for note in corpus.notes)


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (
            table(a=lambda i: i % 2, b=lambda i: 7 if i == 4 else i % 3 % 2),
            {"label_col": ("a", "b")},
            "'b', row 4: '7' is nei",
        ),
        (table(t=lambda i: ["x;y", "z"]), {"label_col": "t"}, "label 'x;y' has a ';' in it"),
        (table(t=two), {"label_col": "t", "multi_label": True, "bins": 3}, "--bins 3"),
        (table(t=lambda i: [i % 2, 1, i % 3 % 2]), {"label_col": "t"}, "has a 0 or 1 for each label"),
        (table(t=lambda i: [i % 2, 1 - i % 2]), {"label_col": "t"}, "has a 0 or 1 for each label"),
        (table(t=lambda i: [{"name": "a"}]), {"label_col": "t"}, "lists of objects"),
        (table(t=lambda i: f"[0.{i % 7}, 0.3]"), {"label_col": "t"}, "has lists of fractions"),
        (table(t=lambda i: ["a"] * (i % 2)), {"label_col": "t"}, "classes are 'a'; two or more are needed"),
        (table(t=lambda i: ["a", "b"][: 1 + i % 2]), {"label_col": "t"}, "every training text has the label 'a'"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(frame, options, message):
    with pytest.raises(DataError, match=message):
        Corpus.from_df(frame, **options)


def test_fewer_labels_are_drawn_by_the_rarest_of_each_text_and_shots_are_refused(corpus):
    labels = ["a;r" if i % 8 == 0 else "a" if i % 2 else "b" for i in range(24)]
    rows = [*((label, "train") for label in labels), *((label, s) for label in ("a;r", "b") for s in ("valid", "test"))]
    df = pd.DataFrame([(f"text {i}", *row) for i, row in enumerate(rows)], columns=["text", "label", "split"])
    few = Corpus("few", df, multi_label=True).with_train_size(3)
    assert sorted(few.split("train")["label"]) == ["a", "a;r", "b"]
    with pytest.raises(DataError, match="use --train-size"):
        corpus.with_shots(2)


def test_a_threshold_maximises_f1_and_is_near_a_half_for_rare_labels():
    random = np.random.default_rng(0)
    truth = (random.random((2000, 2)) < (0.5, 0.001)).astype(int)
    probs = 0.3 * truth + 0.1 * random.random(truth.shape)
    many, few = fit_thresholds(probs, truth)
    assert 0.1 < many < 0.32
    assert few > 0.4
    assert f1(probs >= many, truth, axis=0)[0] > 0.98
    assert np.allclose(apply_temperature(apply_temperature(probs, 3, multi_label=True), 1 / 3, multi_label=True), probs)


def test_the_figures_are_those_of_scikit_learn(run):
    rows, record = predictions(run), run.record
    rows = rows[rows["split"] == "test"]
    truth, predicted = (indicators(rows[k], NAMES) for k in ("label", "predicted"))
    thresholds = [record["calibration"]["thresholds"][c] for c in NAMES]
    assert (predicted == (rows[[f"p {c}" for c in NAMES]].to_numpy() >= thresholds)).all()
    assert record["corpus"]["multi_label"]
    assert record["test"]["error"] == pytest.approx(1 - f1_score(truth, predicted, average="micro", zero_division=0))
    assert record["test"]["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro", zero_division=0))
    assert record["test"]["subset_accuracy"] == pytest.approx((truth == predicted).all(axis=1).mean())
    assert [record["per_class"][c]["n"] for c in NAMES] == truth.sum(axis=0).tolist()
    assert record["interval"][0] <= record["test"]["error"] <= record["interval"][1]


def test_validation_has_the_error_at_a_half_during_training_and_at_the_thresholds_in_the_learner(run, corpus):
    learn = run.learner("forward")
    with learn.no_bar(), learn.no_logging():
        loss, error = learn.validate()
        probs, truth = learn.get_preds()
        labels = learn.predict(corpus.df["text"][0])[0]
    last = run.record["history"]["clas forward"][-1]
    assert loss == pytest.approx(last["valid_loss"], abs=1e-4)
    at_half = 1 - f1_score(truth, probs >= 0.5, average="micro", zero_division=0)
    assert last["valid_error_rate"] == pytest.approx(at_half, abs=1e-4)
    assert error == pytest.approx(run.record["directions"]["forward"]["valid"]["error"])
    assert [";".join(labels) or ";"] == run.predict(corpus.df["text"][0])["class"].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("of", ["run", "features"])
def test_a_run_predicts_what_it_evaluated_and_explains_each_label(of, request, corpus):
    made = request.getfixturevalue(of)
    expected = predictions(made)
    found = made.predict(corpus.split("valid", "test")["text"])
    assert found["class"].tolist() == expected["predicted"].tolist()
    assert np.allclose(found["confidence"], expected["confidence"], atol=1e-4)
    about = {c: dict(made.words("Please call me at once.", c)) for c in NAMES}
    assert len({tuple(words.items()) for words in about.values()}) == len(NAMES)


def test_features_and_baseline_learn_the_bundled_texts(features):
    baseline = features.record["baseline"]
    assert baseline["method"] == "TF-IDF + one-vs-rest logistic regression"
    assert baseline["error"] < 0.4
    assert features.record["test"]["micro_f1"] == pytest.approx(1 - features.error)


def test_everything_that_shows_a_run_shows_one_with_several_labels(run):
    path = run.path / "result.json"
    assert "error (1 - micro F1) in %" in run_table(run.record)
    assert "all labels correct" in run_table(run.record)
    (shown, left_out) = page.read([run.path.parents[1]])
    assert not left_out
    assert "tickets" in page.page(shown, [], {}, "ulmfit-exp reproduce", run.path)
    tables = dashboard.read_record(path).rows[-1]
    assert "test/confusion" not in tables
    assert len(tables["test/classes"]["_value"]) == len(NAMES)
    stage = run.path.parents[1] / run.record["stages"][-1]["path"]
    (mistake, *_) = json.loads((stage / "mistakes.json").read_text())
    assert mistake["words"] and mistake["explained"] in NAMES
    assert f"<td><b>{mistake['explained']}</b>: <span" in page._mistakes(path)
    assert tables["test/mistakes"]["_value"][0]["explained"] == mistake["explained"]
    assert "test error (1 - micro F1)" in repr(run)
    with pytest.raises(DataError, match="a text may have several labels"):
        draw.confusion(run.record)


def test_onnx_and_fastais_export_predict_the_same(run, tmp_path):
    pytest.importorskip("onnxruntime")
    from scripts.export import write_learner, write_onnx  # both compare with the run

    write_onnx(run.path, tmp_path / "onnx")
    write_learner(run.path, tmp_path / "export.pkl")
    assert json.loads((tmp_path / "onnx" / "settings.json").read_text())["thresholds"]


def test_cells_that_are_json_objects_are_refused(tmp_path):
    lines = [json.dumps({"text": f"text {i}", "cats": {"A": i % 2, "B": 0.5}}) for i in range(20)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match="'cats' holds JSON objects; give a list of the labels"):
        Corpus.from_csv(tmp_path / "a.jsonl", label_col="cats", multi_label=True)
    corpus = Corpus.from_csv(tmp_path / "a.jsonl", label_col="cats")
    assert any("'cats' holds JSON, which is read as it is written" in note for note in corpus.notes)


@pytest.mark.parametrize("write", [json.dumps, str, lambda cats: cats])
def test_an_object_with_0_or_1_for_each_label_names_labels(write):
    """As spaCy and Prodigy write the categories of a text."""
    frame = table(cats=lambda i: write({"A": float(i % 2), "B": i % 3 == 0}) if i % 5 else None)
    corpus = Corpus.from_df(frame, label_col="cats")
    assert corpus.multi_label and corpus.classes == ["A", "B"]
    assert corpus.df["label"].value_counts().to_dict() == {"": 6, "A": 8, "A;B": 4, "B": 4, ";": 8}
    assert not any("JSON" in note for note in corpus.notes)


@pytest.mark.parametrize(
    "cells",
    [
        ['{a,"b, c"}', '{"b, c"}', "{}"],
        ["<a><b, c>", "<b, c>", ""],
        ['{"choices": ["a", "b, c"]}', '{"choices": ["b, c"]}', '{"choices": []}'],
    ],
)
def test_lists_as_databases_and_other_programs_write_them(cells):
    """Those of PostgreSQL, of Stack Overflow's dump and of Label Studio."""
    corpus = Corpus.from_df(table(tags=lambda i: cells[i % 3]), label_col="tags", multi_label=True)
    assert corpus.classes == ["a", "b, c"]
    assert corpus.df["label"].value_counts().to_dict() == {"a;b, c": 10, "b, c": 10, ";": 10}


def test_lists_in_brackets_may_have_semicolons_and_line_breaks():
    corpus = Corpus.from_df(
        table(tags=lambda i: ("[a; b]", "[c]", "[a;\rb]")[i % 3]), label_col="tags", multi_label=True
    )
    assert corpus.df["label"].value_counts().to_dict() == {"a;b": 20, "c": 10}
    with pytest.raises(DataError, match="JSON objects"):
        spans = table(tags=lambda i: '{"spans": [1, 2]}')
        Corpus.from_df(spans, label_col="tags", multi_label=True)


def test_a_class_may_look_like_a_list_and_a_single_number_may_be_a_label():
    assert Corpus.from_df(table(tag=lambda i: ("{{}}", "{[1]}")[i % 2])).classes == ["{[1]}", "{{}}"]
    df = pd.DataFrame({"text": map(str, range(12)), "label": [1, 2] * 6, "split": ["train", "valid", "test"] * 4})
    assert Corpus("numbers", df, multi_label=True).classes == ["1", "2"]


def test_several_columns_of_yes_and_no_and_a_cell_of_tags_get_a_hint():
    flags = Corpus.from_df(table(spam=lambda i: i % 2 == 0, rude=lambda i: i % 3 == 0))
    assert any("columns 'spam', 'rude' are yes or no" in note for note in flags.notes)
    tags = Corpus.from_df(table(tags=lambda i: ("<a><b>", "<b>", "<a>")[i % 3]), label_col="tags")
    assert any("'<a><b>' looks like several labels" in note for note in tags.notes)


def test_lines_of_fasttext_may_have_several_labels_or_none(tmp_path):
    path, rows = tmp_path / "cooking.train", ["__label__a ", "__label__b __label__c ", "__label__c , ", ""]
    path.write_text("".join(f"{rows[i % 4]}The soup, of day {i}.\n" for i in range(40)))
    corpus = Corpus.from_csv(path)
    assert corpus.multi_label and corpus.classes == ["a", "b", "c"] and corpus.counts()["unlabelled"] == 10
    assert {"The soup, of day 1.", ", The soup, of day 2.", "The soup, of day 3."} <= set(corpus.df["text"])
