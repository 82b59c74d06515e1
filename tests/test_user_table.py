"""A user's own table: whatever its format, it is read, described and split."""

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from math import inf
from pathlib import Path

import pandas as pd
import pytest
from conftest import FORWARD, QUICK, QUIET

from experiments.own_csv import OwnCsv
from ulmfit_exp.api import load as load_run
from ulmfit_exp.cli import run
from ulmfit_exp.common import DataError
from ulmfit_exp.corpora.corpus import Corpus
from ulmfit_exp.corpora.options import Format
from ulmfit_exp.corpora.sources import MINIATURE
from ulmfit_exp.inference.baselines import tfidf
from ulmfit_exp.inference.hub import card
from ulmfit_exp.results import page
from ulmfit_exp.results.dashboard import read_record
from ulmfit_exp.runs.run import prepare

ROOT = Path(__file__).parents[1]
ROWS = [
    (f"The {thing} number {i} is naïve, {verb} it said.", label, str(i))
    for i in range(20)
    for thing, verb, label in (("phone", "love", "good"), ("kettle", "hate", "bad"))
]
HEAD = ("body", "stars", "id")


def load(path, text_cols=(), label_col=None, **options) -> tuple[Corpus, list[str]]:
    corpus = Corpus.from_csv(path, text_cols, label_col, **options)
    return corpus, list(corpus.notes)


def delimited(rows=ROWS, by=",", head=HEAD) -> str:
    quoted = [[f'"{cell}"' for cell in row] for row in ([head] if head else []) + rows]
    return "\n".join(by.join(row) for row in quoted)


def zipped(path, data):
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("inside.csv", data)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", delimited().encode()),
        ("a.csv", delimited(by=";").encode("utf-8-sig")),
        ("a.tsv", delimited(by="\t").encode("cp1252")),
        ("a.txt", delimited(by="|").encode("utf-16")),
        ("a.csv.gz", gzip.compress(delimited().encode())),
        ("a.csv.bz2", bz2.compress(delimited().encode())),
        ("a.csv.xz", lzma.compress(delimited().encode())),
        ("a.jsonl", "\n".join(json.dumps(dict(zip(HEAD, row))) for row in ROWS).encode()),
    ],
)
def test_every_format_gives_the_same_corpus(name, data, tmp_path):
    (tmp_path / name).write_bytes(data)
    corpus, notes = load(tmp_path / name)
    assert sorted(corpus.df["text"]) == sorted(text for text, *_ in ROWS)
    assert corpus.classes == ["bad", "good"] and corpus.name == "a"
    assert corpus.counts() == {"train": 29, "valid": 3, "test": 8, "unlabelled": 0}
    assert any("'stars', by its name" in n for n in notes) and any("'body', which has the longest" in n for n in notes)


def test_a_zip_and_folders_of_a_class_each(tmp_path):
    zipped(tmp_path / "a.zip", delimited())
    assert load(tmp_path / "a.zip")[0].counts()["train"] == 29
    for text, label, i in ROWS:
        path = tmp_path / "reviews" / ("test" if int(i) > 15 else "train") / label / f"{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    corpus, notes = load(tmp_path / "reviews")
    assert any("split: column 'split', by its name and values" in n for n in notes)
    assert corpus.counts() == {"train": 29, "valid": 3, "test": 8, "unlabelled": 0} and corpus.classes == [
        "bad",
        "good",
    ]


@pytest.mark.parametrize(
    ("name", "columns", "classes", "rows", "says"),
    [
        ("newsgroups", {}, ["rec.cycling", "sci.astro"], 16, "one folder per class"),
        ("reuters.tsv", {}, ["earn", "grain", "ship"], 18, "separated by tabs"),
        ("tweets.csv", {"label_col": "Author"}, ["CityTrams", "CornerBakery"], 24, "separated by commas"),
        ("ag_news.csv", {"text_cols": ("1", "2"), "label_col": "0"}, ["1", "2", "3", "4"], 24, "no header line"),
        ("sms_spam.tsv", {}, ["ham", "spam"], 24, "separated by tabs, quotes are part of the text; no header line"),
        ("yelp_reviews.json", {}, ["1.0", "2.0", "3.0", "4.0", "5.0"], 25, "JSON lines"),
    ],
)
def test_well_known_layouts_that_are_not_ours(name, columns, classes, rows, says):
    corpus, notes = load(MINIATURE / "own" / name, **columns)
    assert corpus.classes == classes and says in notes[0] and len(corpus.df) == rows
    texts = set(corpus.df["text"])
    if name == "sms_spam.tsv":
        assert {'"its raining cats here, again', "Running ten min late, order me the soup"} <= texts
    if name in ("newsgroups", "reuters.tsv"):  # the publisher's own split, found by itself
        assert corpus.counts()["test"] == {"newsgroups": 4, "reuters.tsv": 3}[name]


def test_copies_stay_on_one_side_and_are_reported(tmp_path):
    copies = ROWS + ROWS[:10] + [(ROWS[0][0], "bad", "7")]
    (tmp_path / "a.csv").write_text(delimited(copies))
    corpus, notes = load(tmp_path / "a.csv")
    sides = corpus.df.groupby("text")["split"].nunique()
    assert (sides == 1).all()
    assert any("rows with the text of another row: 21; texts with different labels: 1" in n for n in notes)
    named = [(*row, "test" if i < 5 else "train") for i, row in enumerate(copies)]
    (tmp_path / "b.csv").write_text(delimited(named, head=(*HEAD, "part")))
    _, notes = load(tmp_path / "b.csv", split_col="part")
    assert any("test texts that are also in train: 5, with another label: 1" in n for n in notes)


def test_rows_that_cannot_be_used_are_left_out_with_a_note(tmp_path):
    rows = [*ROWS, ("", "good", "1"), (" ", "bad", "2"), ("alone of its kind", "odd", "3"), ("no label", "", "4")]
    (tmp_path / "a.csv").write_text(delimited(rows))
    corpus, notes = load(tmp_path / "a.csv")
    assert corpus.counts()["unlabelled"] == 2 and corpus.classes == ["bad", "good"]
    assert any("rows without a text: 2" in n for n in notes) and any("'odd' (1 row)" in n for n in notes)


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ("", {}, "empty"),
        ('"text","label"\n"a, b","x"\n"c"\n', {}, "line 3: 1 columns, but the first line has 2"),
        (delimited(), {"label_col": "nothing"}, "no column 'nothing'; it has 'body', 'stars', 'id'"),
        (delimited(), {"split_col": "id"}, "unknown split '0'"),
        (
            delimited(),
            {"text_cols": ("body", "stars"), "label_col": "stars"},
            "'stars' cannot be a --text-col and also",
        ),
        (
            delimited(
                [("en" if i > 1 else "de", t, s) for i, (t, s, _) in enumerate(ROWS)], head=("lang", "body", "mood")
            ),
            {},
            "label: column 'lang', which",
        ),
        (delimited(), {"bins": "3"}, "bins is '3', of type str; it must be of type int or None"),
        (delimited(), {"text_cols": 3.5}, "text_col is 3.5, of type float"),
        (delimited(), {"valid_frac": 0.2}, "there is no option 'valid_frac'; the options are encoding, .*valid_pct"),
        (delimited(), {"header": "maybe"}, "header 'maybe' is unknown; choose one of auto, yes, no"),
        (
            delimited([(t, "one") for t, _, _ in ROWS], head=("text", "label")),
            {},
            "'label' has only the value 'one'",
        ),
        (delimited(ROWS[:5]), {}, "the table has 5 rows, of columns 'body', 'stars', 'id'"),
        (delimited(), {"test_pct": 1.5}, "--test-pct 1.5 is impossible"),
        (delimited([(t, "one", i) for t, _, i in ROWS]), {"label_col": "stars"}, "fewer than two classes"),
        (
            delimited([("A.", "one", "1"), ("B.", "two", "2"), *[(t, "one", i) for t, _, i in ROWS]]),
            {"label_col": "stars"},
            "fewer than two classes.*made unlabelled: classes with fewer than 3 texts: 'two'",
        ),
        (delimited([(t, t, t) for t, _, _ in ROWS], head=("a", "b", "c")), {}, "--label-col"),
        (
            delimited(
                [(t, s, "test" if i > 2 else "train") for i, (t, s, _) in enumerate(ROWS)], head=(*HEAD[:2], "split")
            ),
            {},
            "3 different texts of 2 classes, too few to hold out 10%",
        ),
    ],
)
def test_bad_tables_get_one_clear_error(content, options, says, tmp_path):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=says):
        load(tmp_path / "a.csv", **options)


def test_an_address_in_place_of_a_file_is_refused():
    with pytest.raises(DataError, match=r"there is no file or folder .*; download it first"):
        load("https://example.org/a.csv")


@pytest.mark.parametrize(
    ("name", "data"), [("a.csv.gz", b"no gzip"), ("a.zip", b"no zip"), ("a.jsonl", b'{"a": 1}\nno')]
)
def test_damaged_files_get_one_clear_error(name, data, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=name):
        load(tmp_path / name)
    with pytest.raises(DataError, match="there is no file"):
        load(tmp_path / "absent.csv")


@pytest.mark.slow
def test_from_csv_to_a_record(tmp_path, capsys):
    (tmp_path / "mine.csv").write_text(delimited())
    corpus = Corpus.from_csv(tmp_path / "mine.csv", text_col="body", label_col="stars")
    assert corpus.counts()["train"] == 29 and "classes: 2" in capsys.readouterr().out
    settings = OwnCsv(csv=tmp_path / "mine.csv", recipe=FORWARD, home=tmp_path / "home", **QUIET)
    record = json.loads(run(settings).read_text())
    assert record["settings"]["csv"] == "mine.csv" and str(tmp_path) not in json.dumps(record)
    assert record["corpus"]["name"] == "mine" and record["test"]["n"] == 8
    mini = replace(settings, csv=None, miniature=True)
    assert len(json.loads(run(mini).read_text())["corpus"]["classes"]) == 14


@pytest.mark.slow
@pytest.mark.parametrize("id_col", [None, "id"])
def test_predictions_and_mistakes_name_the_rows_of_the_table(id_col, tmp_path):
    rows = [("", "good", "none"), *((text, label, f"={label} {i}") for text, label, i in ROWS)]
    (tmp_path / "mine.csv").write_text(delimited(rows))
    home = tmp_path / "home"
    run(OwnCsv(csv=tmp_path / "mine.csv", id_col=id_col, recipe=FORWARD, home=home, **QUIET))
    (stage,) = (home / "stages").glob("eval-*")
    of_row = {id_: (text, label) for text, label, id_ in rows} if id_col else dict(enumerate(r[:2] for r in rows))
    table = pd.read_csv(stage / "predictions.csv")
    assert not id_col or table["row"].str.startswith("'=").all()  # which no spreadsheet executes
    assert table["label"].tolist() == [of_row[row][1] for row in table["row"].replace("^'", "", regex=True)]
    mistakes = json.loads((stage / "mistakes.json").read_text())
    assert [m["text"] for m in mistakes] == [of_row[m["row"]][0] for m in mistakes]


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [0, 5])
def test_test_rows_without_a_label_are_predicted_and_not_in_the_figures(labelled, tmp_path, capsys):
    rows = [(*row, "test" if i < 10 else "train") for i, row in enumerate(ROWS)]
    rows = [(text, "" if labelled <= i < 10 else label, *rest) for i, (text, label, *rest) in enumerate(rows)]
    (tmp_path / "kaggle.csv").write_text(delimited(rows, head=(*HEAD, "split")))
    path = run(OwnCsv(csv=tmp_path / "kaggle.csv", recipe=QUICK, home=tmp_path / "home", **QUIET))
    record, out = json.loads(path.read_text()), capsys.readouterr().out
    assert f"without a label, predicted but not in the figures: {10 - labelled}" in out
    assert record.get("test", {}).get("n", 0) == labelled
    assert ("error" in record["baseline"]) == ("confusion" in record) == bool(labelled)
    assert ("no test text has a label" in out) == (not labelled)
    (stage,) = (tmp_path / "home" / "stages").glob("eval-*")
    table = pd.read_csv(stage / "predictions.csv", keep_default_na=False)
    assert (table[table["split"] == "test"]["label"] != "").sum() == labelled
    assert table["row"][table["split"] == "test"].tolist() == list(range(10))
    shown, left_out = page.read([tmp_path / "home"])
    assert len(shown) == 1 and not left_out
    assert read_record(path).name.startswith("default")
    assert "pipeline_tag: text-classification" in card(record)
    assert (load_run(path).error is None) == (not labelled)


@pytest.mark.parametrize("placeholder", ["?", "-1"])
def test_a_label_that_only_test_rows_have_counts_as_missing(placeholder, tmp_path):
    rows = [(text, placeholder, "test") for text, *_ in ROWS[:10]]
    rows += [(text, label, "train") for text, label, _ in ROWS[10:]]
    (tmp_path / "a.csv").write_text(delimited(rows, head=("body", "stars", "split")))
    corpus, notes = load(tmp_path / "a.csv")
    assert set(corpus.split("test")["label"]) == {""}
    assert any(f"label {placeholder!r} of the test split" in note for note in notes)


@pytest.mark.parametrize(
    ("texts", "of"),
    [
        (["鍋は丈夫で使えそう", "靴は部品が足りない"], " of characters"),
        (["A", "B"], " of characters"),
        (["👍 👍", "👎"], " of characters"),
        (["yes", "no thanks"], ""),
    ],
)
def test_the_baseline_has_terms_in_any_language_and_in_short_texts(texts, of):
    found = tfidf(frame([(text, "ab"[i % 2]) for i, text in enumerate(texts * 6)]))
    assert found["method"] == f"TF-IDF{of} + logistic regression"
    assert found["error"] == 0


def test_few_texts_that_share_no_word_have_a_baseline():
    found = tfidf(frame([(f"word{'abcdefghijkl'[i]}", "ab"[i % 2]) for i in range(12)]))
    assert found["min_df"] == 1


def frame(rows) -> Corpus:
    """Rows in turn of train, valid and test."""
    table = pd.DataFrame(rows, columns=["text", "label"])
    return Corpus("c", table.assign(split=[["train", "valid", "test"][i // 2 % 3] for i in table.index]))


def measured(values, tmp_path) -> Path:
    lines = [f"text number {i} is here;{values[i % len(values)]};{i % 7 == 0}" for i in range(120)]
    (tmp_path / "a.csv").write_text("\n".join(["text;target;is_valid", *lines]))
    return tmp_path / "a.csv"


MEASURES = [
    ["0.137", "1", "2.5", "?"],
    ["0,137", "1,5"],
    ["12.25%", "3%"],
    [str(i * i) for i in range(30)],
    ["1e-3", "-2"],
    [f"${i}.99" for i in range(5)],
    [f"{i}.5 kg" for i in range(30)],
    [f"1'{100 + i}.25" for i in range(30)],
]


@pytest.mark.parametrize("values", MEASURES)
def test_a_measure_is_refused_as_a_label_with_the_options_that_make_it_one(values, tmp_path):
    path = measured(values, tmp_path)
    with pytest.raises(
        DataError, match=rf"'target' has {len(set(values) - {'?'})} different numbers.*--bins 3.*--bins 0"
    ):
        load(path, label_col="target")
    assert load(path, label_col="target", bins=0)[0].classes


def test_one_label_of_a_measure_that_is_no_number_is_named(tmp_path):
    values = [f"{i}.99" for i in range(40)]
    with pytest.raises(DataError, match="39 different numbers, and 'unknown', which is none"):
        load(measured([*values[:39], "unknown"], tmp_path), label_col="target")


@pytest.mark.parametrize(
    "values",
    [["1", "2", "3"], ["1.0", "4.5"], ["1,000", "2,000"], ["1.1", "beta"], ["1 star", "2 stars"], ["1/5", "2/5"]],
)
def test_numbers_that_may_be_classes_stay_as_they_are(values, tmp_path):
    assert load(measured(values, tmp_path), label_col="target")[0].classes == sorted(values)


@pytest.mark.parametrize(
    ("labels", "classes", "says"),
    [
        (["1", "+1", "0,5", "0.50"], ["0.5", "1"], "are one number"),
        (["1", "true", "0", "false"], ["0", "1", "false", "true"], "'1', 'true' look alike"),
        (["1", "1.0", "0", "0.0"], ["0", "1"], "are one number"),
        (["1.0", "nan", "0.0"], ["0.0", "1.0"], "'nan' is treated as a missing label; rows: 40"),
        (["a", "b", r"\N"], ["a", "b"], "is treated as a missing label; rows: 40"),
        (["a", "b", "NA"], ["NA", "a", "b"], "'NA' is a class like the others"),
        (["neg", "pos", "unsup"], ["neg", "pos", "unsup"], "'unsup' is a class like the others"),
        (["NAT", "NAN", "SIP"], ["NAT", "SIP"], "'NAN' is treated as a missing label; rows: 40"),
        (["01", "1", "2"], ["01", "1", "2"], "'01', '1' look alike"),
        (["Good", "good\u200b", "bad"], ["Good", "bad", "good\u200b"], "look alike; if they are one"),
        (["\u2764", "\u2764\ufe0f", "x"], ["x", "\u2764", "\u2764\ufe0f"], "look alike; if they are one"),
    ],
)
def test_what_is_one_class_or_none_is_decided_over_the_whole_column_and_reported(labels, classes, says, tmp_path):
    corpus, notes = load(measured(labels, tmp_path), label_col="target")
    assert corpus.classes == classes
    assert any(says in note for note in notes)


def test_the_column_named_text_is_the_text_and_what_is_odd_in_columns_is_reported(tmp_path):
    rows = [
        (f"http://example.com/{'x' * 80}{i}", text, label, f"id{i // 2}") for i, (text, label, _) in enumerate(ROWS)
    ]
    for name in ("body", "text"):  # the URL is longer
        (tmp_path / "a.csv").write_text(delimited(rows, head=("url", name, "label", "id")))
        corpus, notes = load(tmp_path / "a.csv", id_col="id", unlabelled=str(tmp_path / "a.csv"))
        assert corpus.df["text"][0] == ROWS[0][0]
    for says in (
        "'id' has duplicates; rows with the name of an earlier row: 20",
        "test texts among the unlabelled texts, which the language model reads: 8",
    ):
        assert any(says in note for note in notes)
    cut = [(label, text, "and the rest" * (i == 7)) for i, (text, label, _) in enumerate(ROWS)]
    (tmp_path / "a.csv").write_text(delimited(cut, head=("v1", "v2", "")))
    assert any(
        "columns without a name are not read; rows with something there: 1, the first 7" in n
        for n in load(tmp_path / "a.csv")[1]
    )
    nested = [{"data": {"text": text}, "label": label} for text, label, _ in ROWS]
    (tmp_path / "a.json").write_text(json.dumps(nested))
    assert any("'data' holds JSON, which is read as it is written" in note for note in load(tmp_path / "a.json")[1])


def test_a_measure_can_be_cut_into_classes_of_about_the_same_size(tmp_path):
    path = measured([f"{i / 7:.3f}" for i in range(120)], tmp_path)
    corpus, notes = load(path, label_col="target", bins=3)
    assert corpus.classes == ["5.571 to 11.286", "above 11.286", "up to 5.571"]
    assert corpus.df["label"].value_counts().between(38, 42).all()
    assert any("3 classes of about as many training rows each" in note for note in notes)
    for bins, says in ((1, "it must be 2 or more"), (3, "'beta', which is no number")):
        with pytest.raises(DataError, match=f"--bins {bins} is impossible.*{says}"):
            load(measured(["1", "beta"], tmp_path), label_col="target", bins=bins)
    thirds = load(measured([repr(n / 3) for n in (4, 7, 10)], tmp_path), label_col="target", bins=3)[0]
    assert thirds.df["label"].value_counts().tolist() == [40, 40, 40]
    for values, classes in ((["1", "inf"], 2), (["0.3", "0.30000000000000004", "0.5"], 2)):
        assert len(load(measured(values, tmp_path), label_col="target", bins=3)[0].classes) == classes
    with pytest.raises(DataError, match="--bins 3 is impossible: most of the numbers are infinite"):
        load(measured(["1", "inf", "inf", "inf"], tmp_path), label_col="target", bins=3)


def test_quotes_that_join_lines_are_reported_and_no_quotes_where_each_line_is_a_row(tmp_path):
    stray = {5: '"text {} of a table\t{}', 9: 'text {} of a table"\t{}'}
    lines = [stray.get(i % 10, "text {} of a table\t{}").format(i, i % 2) for i in range(40)]
    (tmp_path / "a.tsv").write_text("\n".join(["text\tlabel", *lines]))
    assert len(load(tmp_path / "a.tsv")[0].df) == 40
    long = '"label","text"\n' + "".join(f'"{i % 2}","text {i} of a table"\n' for i in range(40))
    (tmp_path / "a.csv").write_text(long + '"1","first line\nsecond, line"\n')
    assert load(tmp_path / "a.csv")[0].classes == ["0", "1"]
    lines = ['"text {} of a table{},{}'.format(i, '"' * (i != 20), i % 2) for i in range(40)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *lines]))
    notes = load(tmp_path / "a.csv")[1]
    assert any("rows of several lines, joined by quotes: 1, the first ends in line 23" in note for note in notes)


@pytest.mark.parametrize("head", ["opinion,mood,,", "text,label,,,,"])
def test_a_header_with_nameless_empty_columns_is_one(head, tmp_path):
    rows = [f"{text},{label}{',' * (head.count(',') - 1)}" for text, label, _ in ROWS]
    (tmp_path / "a.csv").write_text("\n".join([head, *rows]))
    assert len(load(tmp_path / "a.csv")[0].df) == len(ROWS)


def test_the_suffix_decides_between_two_delimiters_that_fit_equally(tmp_path):
    (tmp_path / "a.csv").write_text("\n".join(f"text {i} of a table,{['a;b;c', 'd;e;f'][i % 2]}" for i in range(40)))
    assert load(tmp_path / "a.csv")[0].classes == ["a;b;c", "d;e;f"]


def test_class_weights_give_a_rare_class_its_share_of_the_loss(tmp_path):
    rows = [row for i, row in enumerate(ROWS) if row[1] == "good" or i < 10]
    (tmp_path / "mine.csv").write_text(delimited(rows))
    settings = OwnCsv(csv=tmp_path / "mine.csv", recipe=FORWARD, home=tmp_path / "home", **QUIET)
    plain, weighted = prepare(settings), prepare(replace(settings, recipe=replace(FORWARD, class_weights=True)))
    assert "class_weights" not in json.dumps(plain.plan)
    assert weighted.path("lm forward") == plain.path("lm forward")
    assert weighted.path("clas forward") != plain.path("clas forward")
    sizes = weighted.corpus.split("train")["label"].value_counts()
    weights = dict(zip(weighted.corpus.classes, weighted.corpus.class_weights))
    assert weights["bad"] * sizes["bad"] == pytest.approx(weights["good"] * sizes["good"]) == sizes.sum() / 2
    path = run(replace(settings, recipe=replace(FORWARD, class_weights=True)))
    learn = load_run(path).learner(corpus=weighted.corpus)
    assert learn.loss_func.func.weight.tolist() == pytest.approx(list(weights.values()))
    record = json.loads(path.read_text())
    assert record["changes"]["class_weights"] == "True"
    assert 0 <= record["test"]["macro_f1"] <= 1


@pytest.mark.slow
def test_labels_in_any_script_survive_a_locale_without_its_letters(tmp_path):
    labels = ("плохо", "хорошо")
    rows = [f"Предложение номер {i} здесь,{labels[i % 2]}" for i in range(60)]
    (tmp_path / "labels.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    model = ["--pretrained", "none", "--recipe.model.emb-sz", "12", "--recipe.model.n-hid", "16"]
    model += ["--recipe.lm.phases.0.epochs", "1", "--recipe.clas.phases.4.epochs", "1", "--recipe.clas.bs", "32"]
    home = ["--home", str(tmp_path / "home"), "--wandb", "disabled", "--recipe.direction", "forward"]
    csv = ["--csv", str(tmp_path / "labels.csv"), "--recipe", "tiny"]
    ascii_only = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "experiments.own_csv", *csv, *model, *home]
    done = subprocess.run(command, env=ascii_only, cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr
    (record,) = (tmp_path / "home" / "runs").glob("*/result.json")
    assert json.loads(record.read_text(encoding="utf-8"))["corpus"]["classes"] == sorted(labels)


def test_a_byte_order_mark_may_be_named_and_the_encoding_checked_twice():
    assert Format(encoding="utf-8-sig").checked() == Format(encoding="UTF8").checked().checked()


def test_a_dataframe_whose_index_repeats_is_cut_into_bins():
    part = pd.DataFrame({"text": [t for t, *_ in ROWS], "price": [*range(39), None]})
    corpus = Corpus.from_df(pd.concat([part, part.assign(text=part["text"] + "!")]), "text", "price", bins=2)
    assert len(corpus.classes) == 2 and (corpus.df["split"] == "unlabelled").sum() == 2


def test_the_only_training_text_of_a_class_is_not_held_out(tmp_path):
    rows = [(t, s, "train") for t, s, _ in ROWS] + [
        (f"Odd {i}.", "odd", "train" if i == 0 else "test") for i in range(4)
    ]
    (tmp_path / "a.csv").write_text(delimited(rows, head=("text", "label", "split")))
    corpus, _ = load(tmp_path / "a.csv")
    assert "odd" in set(corpus.split("train")["label"])


def test_a_class_without_a_training_text_is_left_out_but_its_test_texts_are_predicted(tmp_path):
    rows = [(t, s, split) for t, s, _ in ROWS for split in ("train", "valid", "test")]
    rows += [(f"Odd {i}.", "odd", "test" if i % 2 else "valid") for i in range(4)]
    (tmp_path / "a.csv").write_text(delimited(rows, head=("text", "label", "split")))
    corpus, said = load(tmp_path / "a.csv")
    assert "made unlabelled: classes not in train: 'odd' (4 rows)" in said
    odd = corpus.df[corpus.df["text"].str.startswith("Odd")]
    assert odd["split"].tolist() == ["unlabelled", "test"] * 2 and set(odd["label"]) == {""}
    assert "odd" not in corpus.classes


def test_a_small_class_whose_texts_another_class_has_too_is_one(tmp_path):
    """Each folder of the Enron mails has the same Summary.txt beside its classes."""
    for part in ("enron1", "enron2"):
        for cls in ("ham", "spam"):
            (tmp_path / part / cls).mkdir(parents=True)
            for i in range(10):
                (tmp_path / part / cls / f"{i}.txt").write_text(f"The {cls} number {i} of {part}.")
        (tmp_path / part / "Summary.txt").write_text("About this folder.")
    corpus, notes = load(tmp_path)
    assert corpus.classes == ["ham", "spam"]
    assert "made unlabelled: classes with fewer than 3 texts: 'enron1', 'enron2' (2 rows)" in notes


def test_unlabelled_texts_are_read_from_the_columns_of_the_labelled_ones_whatever_their_case(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.csv").write_text(delimited([(t, t[4:9], s) for t, s, _ in ROWS], head=("body", "title", "stars")))
    (tmp_path / "more.csv").write_text(delimited([("A longer text.", "One", "x")], head=("Body", "Title", "by")))
    corpus, _ = load(tmp_path / "a.csv", ("title", "body"), "stars", unlabelled="~/more.csv")
    assert corpus.split("unlabelled")["text"].tolist() == ["One\nA longer text."]
    with pytest.raises(DataError, match=r"--unlabelled .*none.csv"):
        load(tmp_path / "a.csv", unlabelled=tmp_path / "none.csv")


def test_a_delimiter_at_the_end_of_the_rows_alone_shifts_no_column(tmp_path):
    lines = [f'{i},"{text}",{label},' for i, (text, label, _) in enumerate(ROWS)]
    (tmp_path / "a.csv").write_text("\n".join(["id,text,label", *lines]), encoding="utf-8")
    corpus = Corpus.from_csv(tmp_path / "a.csv")
    assert corpus.text_cols == ("text",) and corpus.classes == ["bad", "good"]
    assert set(corpus.df["text"]) == {text for text, *_ in ROWS}


def test_texts_that_are_only_nan_count_as_missing(tmp_path):
    rows = [*((text, label) for text, label, _ in ROWS), *[("nan", "bad")] * 4]
    frame = pd.DataFrame(rows, columns=["text", "label"])
    frame.to_csv(tmp_path / "a.csv", index=False)
    corpus = Corpus.from_csv(tmp_path / "a.csv")
    assert len(corpus.df) == len(ROWS)
    assert "4 texts that are only 'nan' count as missing" in corpus.notes


def test_dots_before_a_decimal_comma_separate_thousands(tmp_path):
    prices = ["890,50", "1.250,00", "12.500,75"]
    frame = pd.DataFrame({"text": [text for text, *_ in ROWS], "price": [prices[i % 3] for i in range(len(ROWS))]})
    frame.to_csv(tmp_path / "a.csv", index=False, sep=";")
    corpus = Corpus.from_csv(tmp_path / "a.csv", label_col="price", bins=3)
    assert corpus.classes == ["890.5 to 1250", "above 1250", "up to 890.5"]


def test_dots_separate_thousands_if_three_digits_follow_each_and_some_numbers_have_none(tmp_path):
    values = [f"{n:,}".replace(",", ".") for n in range(700, 1900, 30)]
    assert load(measured(values, tmp_path), label_col="target", bins=2)[0].classes == ["above 1270", "up to 1270"]
    values = [f"{n}.250" for n in range(1, 41)]
    assert load(measured(values, tmp_path), label_col="target", bins=2)[0].classes == ["above 20.25", "up to 20.25"]
    values = ["1", "1.333", "1.667", "2", "2.333", "3"] * 7  # means of three numbers
    assert load(measured(values, tmp_path), label_col="target", bins=2)[0].classes == ["above 1.667", "up to 1.667"]


def test_empty_cells_are_no_class_and_json_and_html_count_little_when_columns_are_guessed():
    rows = pd.DataFrame(ROWS, columns=["body", "tone", "id"])
    rows = rows.assign(seen=["x", ""] * 20, city=["Rome", "Bonn"] + [""] * 38)
    rows["html"] = [f"<p><b>{text}</b></p>" for text in rows["body"]]
    rows["raw"] = [json.dumps({"body": text, "language of the text": "en"}) for text in rows["body"]]
    rows["date"], rows["who"] = "2018-01-11 10:00:00", "Ann Lee"
    rows["place"] = "The hotel at the end of the long road by the sea, in the town of Old Harbour"
    corpus = Corpus.from_df(rows)
    assert (corpus.text_cols, corpus.classes) == (("body",), ["bad", "good"])
    assert Corpus.from_df(rows[["html", "date", "who", "tone"]]).text_cols == ("html",)
    lists = rows.assign(words=[json.dumps(text.split()) for text in rows["body"]])
    assert Corpus.from_df(lists[["words", "date", "tone"]]).text_cols == ("words",)
    tags = rows.assign(tags=[{(0, 3): "NAME"}] * 40)  # no JSON: a key is a tuple
    assert Corpus.from_df(tags).text_cols == ("body",)


@pytest.mark.parametrize("names", [("question1", "question2"), ("sentence_A", "sentence_B")])
def test_other_columns_of_texts_are_named_if_the_text_is_guessed(names, tmp_path):
    rows = [(f"Title {i}", text, f"A phone {i}?", label, f"very {label}") for i, (text, label, _) in enumerate(ROWS)]
    (tmp_path / "a.csv").write_text(delimited(rows, head=("title", *names, "label", "label_text")))
    corpus, notes = load(tmp_path / "a.csv")
    assert corpus.text_cols == names
    assert "text: not read: 'title', which may be part of it (name all with --text-col)" in notes
    assert not any("not read" in note for note in load(tmp_path / "a.csv", names[0])[1])


@pytest.mark.parametrize("name", ["airline_sentiment", "Answer.sentiment.label", "starRating", "overall"])
def test_a_label_is_known_by_the_last_word_of_its_name(name):
    """Of the tweets about airlines, of Mechanical Turk, and of Amazon's reviews."""
    frame = pd.DataFrame(
        {
            "confirmed_flag": [i % 2 == 0 for i in range(40)],
            f"{name}_confidence": ["high", "low"] * 20,
            "predicted_label": ["5", "6"] * 20,
            name: ["1", "2", "3", "4"] * 10,
            "body": [text for text, _, _ in ROWS],
        }
    )
    assert Corpus.from_df(frame).classes == ["1", "2", "3", "4"]


def test_a_label_that_most_rows_lack_is_still_guessed():
    rows = pd.DataFrame(ROWS, columns=["body", "mood", "id"])
    rows["mood"] = rows["mood"].where(rows.index % 5 < 2, "")
    assert Corpus.from_df(rows.assign(place=["a", "b", "c", "d"] * 10)).classes == ["bad", "good"]
    assert Corpus.from_df(pd.DataFrame({"text": rows["body"], "1": ["a", "b"] * 20})).classes == ["a", "b"]


def test_columns_named_by_numbers_have_a_name(tmp_path):
    (tmp_path / "a.csv").write_text(delimited([(*row, "x") for row in ROWS], head=("text", "label", "1", "2")))
    assert not any("without a name" in note for note in load(tmp_path / "a.csv")[1])


def test_a_single_object_of_columns_is_refused_but_lists_in_each_row_are_read(tmp_path):
    rows = [{"words": text.split(), "labels": [label]} for text, label, _ in ROWS]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load(tmp_path / "a.jsonl", "words", "labels")[0].multi_label
    (tmp_path / "b.json").write_text(json.dumps({"text": [text for text, _, _ in ROWS], "label": ["a"] * len(ROWS)}))
    for content in (tmp_path / "b.json").read_text(), json.dumps({str(i): row for i, row in enumerate(rows)}):
        (tmp_path / "b.json").write_text(content)
        with pytest.raises(DataError, match="all rows in one object"):
            load(tmp_path / "b.json")


def test_pairs_of_sentences_are_the_text_and_parses_are_not(tmp_path):
    """As in SNLI, where - means that the annotators disagree."""
    rows = [(label, label, f"( ( {t} ) . )", f"(ROOT (S {t}))", t, f"A guest {i}.") for t, label, i in ROWS]
    rows[0] = ("good", "-", *rows[0][2:])
    head = ("label1", "gold_label", "sentence1_binary_parse", "sentence1_parse", "sentence1", "sentence2")
    (tmp_path / "a.csv").write_text(delimited(rows, head=head))
    corpus, notes = load(tmp_path / "a.csv")
    assert corpus.text_cols == ("sentence1", "sentence2") and corpus.classes == ["bad", "good"]
    assert "label '-' is treated as a missing label; rows: 1" in notes and corpus.counts()["unlabelled"] == 1


@pytest.mark.parametrize("label", ["label", "accept"])
def test_rows_that_annotators_rejected_are_left_out(label, tmp_path):
    answers = ["accept", "accept", "reject", "ignore"] * 3 + ["accept"] * 28
    rows = [{"text": t, label: c, "answer": a} for (t, c, _), a in zip(ROWS, answers)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus, notes = load(tmp_path / "a.jsonl")
    assert corpus.classes == ["bad", "good"] and len(corpus.df) == 34 and "2" not in set(map(str, corpus.df["row"]))
    assert "left out: rows whose column 'answer' is reject or ignore: 6" in notes
    assert load(tmp_path / "a.jsonl", label_col="answer")[0].classes == ["accept", "ignore", "reject"]


def test_a_large_share_leaves_each_class_a_training_text(tmp_path):
    rows = [(f"The guest {i} of {c} wrote.", c, str(i)) for c, n in (("A", 50), ("B", 50), ("C", 4)) for i in range(n)]
    (tmp_path / "a.csv").write_text(delimited(rows))
    assert set(load(tmp_path / "a.csv", test_pct=0.9)[0].split("train")["label"]) == {"A", "B", "C"}


def test_a_share_of_a_split_that_is_there_is_reported_or_refused(tmp_path):
    rows = [(*row[:2], "test" if i % 4 == 0 else "train") for i, row in enumerate(ROWS)]
    (tmp_path / "a.csv").write_text(delimited(rows, head=("body", "stars", "split")))
    assert "--test-pct 0.5 is not used, as the texts have a test split" in load(tmp_path / "a.csv", test_pct=0.5)[1]
    with pytest.raises(DataError, match="--test-pct 7 is impossible"):
        load(tmp_path / "a.csv", test_pct=7)


def test_whole_numbers_with_a_missing_one_are_the_same_classes_in_a_data_frame():
    df = pd.DataFrame({"text": [text for text, _, _ in ROWS], "label": [None, *(i % 2 for i in range(39))]})
    assert Corpus.from_df(df).classes == ["0", "1"]
    scores = pd.DataFrame({"text": df["text"], "label": [-inf, -inf, -inf, *range(37)]})
    assert len(Corpus.from_df(scores, bins=3).classes) == 3


def test_further_header_rows_are_left_out(tmp_path):
    """As in joined files, and in a survey of Qualtrics, which has the questions and its ids below the names."""
    (tmp_path / "a.csv").write_text(delimited(ROWS[:20]) + "\n" + delimited(ROWS[20:]))
    survey = [("What do you think?", "Recommend?", ""), ('{""ImportId"":""QID1""}',) * 3]
    (tmp_path / "b.csv").write_text(delimited([*survey, *ROWS]))
    for name, further, rows in (("a.csv", 1, [*range(20), *range(21, 41)]), ("b.csv", 2, range(2, 42))):
        corpus, notes = load(tmp_path / name)
        assert f"left out: further header rows: {further}" in notes and corpus.df["row"].tolist() == list(rows)
        assert corpus.classes == ["bad", "good"] and not corpus.counts()["unlabelled"]
    frame = pd.DataFrame([("How?", "Why?", ""), ('{"ImportId":"Q1"}',) * 3, *ROWS], [0] * 42, columns=HEAD)
    assert len(Corpus.from_df(frame).df) == 40  # its index repeats
