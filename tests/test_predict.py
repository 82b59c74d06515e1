"""A finished run predicts: what its evaluation said, in any batch, after a move, from any kind of file."""

import gzip
import json
import os
import runpy
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ulmfit_exp import predict as command
from ulmfit_exp.__main__ import main
from ulmfit_exp.common import DataError, escape_formula
from ulmfit_exp.corpora import table
from ulmfit_exp.corpora.options import AUTO, Format
from ulmfit_exp.inference import features, predict
from ulmfit_exp.runs.run import prepare


@pytest.fixture
def folder(finished) -> Path:
    (folder,) = finished.home.glob("runs/*")
    return folder


def test_predictions_equal_those_of_the_evaluation_wherever_the_folder_is(finished, folder, tmp_path):
    record = json.loads((folder / "result.json").read_text())
    evaluated = pd.read_csv(finished.home / record["stages"][-1]["path"] / "predictions.csv", index_col="row")
    this = prepare(finished)
    shutil.copytree(folder, tmp_path / "moved")
    shutil.rmtree(finished.home)
    predictor = predict.load(tmp_path / "moved")
    said = predictor.predict(this.corpus.df.loc[evaluated.index, "text"])
    same = ["confidence", "p no", "p yes"]
    assert np.allclose(said[same], evaluated[same], atol=1e-5)
    assert (said["class"] == evaluated["predicted"].to_numpy()).all()
    assert (said["confidence"] == said[["p no", "p yes"]].max(axis=1)).all()


def test_a_text_has_the_same_probabilities_alone_and_in_any_batch(folder, monkeypatch):
    predictor = predict.load(folder)
    texts = ["Fine.", "A kettle that boils, and boils, and boils. " * 30, "", "naïve 🙂 ‏שלום", "bad " * 200, "x" * 5000]
    together = predictor.probabilities(texts)
    assert np.allclose(together.sum(axis=1), 1)
    assert np.allclose(together, np.vstack([predictor.probabilities([t]) for t in texts]), atol=1e-6)
    monkeypatch.setattr(features, "TOKENS", 300)
    assert np.allclose(together[::-1], predictor.probabilities(texts[::-1]), atol=1e-6)


def test_a_predictor_is_also_loaded_from_the_module_of_the_command(folder):
    assert len(command.load(str(folder)).predict("A fine book.")) == 1


def test_predictions_from_several_threads_are_correct(folder):
    predictor = predict.load(folder)
    texts = [["good " * n, "A lamp. " * (2 * n)] for n in range(20, 180, 40)]
    alone = [(predictor.probabilities(pair), predictor.words(pair[0])) for pair in texts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda pair: (predictor.probabilities(pair), predictor.words(pair[0])), texts * 4))
    for (probs, weights), (expected, expected_weights) in zip(together, alone * 4):
        assert np.allclose(probs, expected, atol=1e-6)
        assert weights == expected_weights


def refused(*args) -> str:
    """The message of a command that has to fail."""
    with pytest.raises(SystemExit) as end:
        main(["predict", *map(str, args)])
    return end.value.code


@contextmanager
def standard_input(path: Path):
    """Have this process read a file as its standard input."""
    before = os.dup(0)
    with open(path) as file:
        os.dup2(file.fileno(), 0)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_the_command_reads_files_and_standard_input(folder, tmp_path, monkeypatch, capfd):
    texts, out = ["A fine, fine book.", 'It "broke", twice', "=1+1"], tmp_path / "out.csv"
    pd.DataFrame({"id": range(3), "body": texts}).to_csv(tmp_path / "texts.csv", index=False)
    with gzip.open(tmp_path / "texts.jsonl.gz", "wt") as f:
        f.writelines(json.dumps({"body": t}) + "\n" for t in texts)
    tables = []
    for name in ("texts.csv", "texts.jsonl.gz"):
        main(["predict", str(folder), str(tmp_path / name), "--text-col", "body", "--out", str(out)])
        tables.append(out.read_text())
    capfd.readouterr()
    monkeypatch.setattr(sys, "argv", ["predict", str(folder), "-"])
    (tmp_path / "piped").write_text("\n".join(texts) + "\n")
    with standard_input(tmp_path / "piped"):
        runpy.run_module("ulmfit_exp.predict", run_name="__main__")
    assert tables[0] == tables[1] == capfd.readouterr().out.replace("\r\n", "\n")
    assert len(tables[0].splitlines()) == 4
    assert tables[0].startswith("row,class,confidence,p no,p yes\n0,")


class Stub:
    """A model that needs no training: the class is the text's first word."""

    classes = ()

    def __init__(self, *text_cols: str):
        self.text_cols = text_cols

    def predict(self, texts) -> pd.DataFrame:
        return pd.DataFrame({"class": [(text.split() or [""])[0] for text in texts]})


def predicted(path, *trained_on, text_col=(), id_col=None, **format) -> dict:
    tables = predict.predictions(Stub(*trained_on), str(path), text_col, id_col, Format(**format))
    return {row: cls for table in tables for row, cls in table["class"].items()}


WORDS = {0: "one", 1: "two", 2: "three", 3: "four"}
TEXTS = [f"{word} of them, and more" for word in WORDS.values()]


@pytest.mark.parametrize("name", ["a.CSV", "a.txt", "a.csv", "a.JSONL", "semicolons.csv", "cp1252.csv", "spaces.csv"])
def test_predictions_read_a_table_as_the_training_does(name, tmp_path):
    by = {"a.txt": "\t", "semicolons.csv": ";", "spaces.csv": ", "}.get(name, ",")
    rows = [by.join(("label", "text"))] + [by.join(("né", f'"{text}"')) for text in TEXTS]
    content = "\n".join(json.dumps({"text": t}) for t in TEXTS) if "JSON" in name else "\n".join(rows)
    (tmp_path / name).write_text(content, encoding="cp1252" if "cp1252" in name else "utf-8")
    assert predicted(tmp_path / name, "text") == WORDS


def test_predictions_are_of_the_columns_of_the_training(tmp_path, capsys):
    path = tmp_path / "a.csv"
    rows = pd.DataFrame({"n": [11, 12, 13, 14], "title": list(WORDS.values()), "body": ["and a long text"] * 4})
    rows.to_csv(path, index=False)
    assert predicted(path, "title", "body") == WORDS
    assert set(predicted(path).values()) == {"and"}  # a guess, with a note
    assert "text: column 'body', which has the longest texts" in capsys.readouterr().err
    assert predicted(path, "body", text_col=("title",)) == WORDS
    assert predicted(path, "title", id_col="n") == dict(zip(rows["n"].map(str), WORDS.values()))
    with pytest.raises(DataError, match=r"no column 'text'; it has 'n', 'title', 'body'. Name another with --text-col"):
        predicted(path, "text")
    with pytest.raises(DataError, match=r"no column 'id'.*--id-col"):
        predicted(path, "body", id_col="id")
    assert predict.open_table(path).find_columns(["body", "BODY"], "--text-col") == ["body"]
    with pytest.raises(DataError, match="no column 'text'"):
        predicted(path, "1")  # of a table without a header
    rows.rename(columns={"title": "text"}).to_csv(path, index=False)
    assert predicted(path, "2") == WORDS
    assert "text: column 'text', as the training's table had no header" in capsys.readouterr().err
    rows[["title"]].to_csv(path, index=False)
    assert predicted(path, "text") == WORDS  # the only column
    assert "text: column 'title', the only one" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"no column 'body'; it has 'title'"):
        predicted(path, "title", "body")


def test_predictions_name_the_rows_of_a_table_and_the_lines_of_a_text(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.csv").write_text("text,label\none day,bad\n\ntwo days,good\n")
    assert predicted(tmp_path / "a.csv", "text") == {0: "one", 1: "two"}
    (tmp_path / "a.txt").write_text("one day, and another\ntwo days\n")
    assert predicted(tmp_path / "a.txt", "text") == {0: "one", 1: "two"}
    (tmp_path / "a.csv").write_text("text,id\none day,x\ntwo days,\n,y\n")
    assert predicted(tmp_path / "a.csv", "text", id_col="id") == {"x": "one", "row 1": "two", "y": ""}
    assert "empty texts, predicted like the others: 1" in capsys.readouterr().err
    monkeypatch.setattr(table, "CHUNK_ROWS", 2)
    (tmp_path / "a.csv").write_text("text,id\none,x\ntwo,y\none,x\ntwo,y\n")  # in two chunks
    assert len(predicted(tmp_path / "a.csv", "text", id_col="id")) == 2
    assert "column 'id' has duplicates; rows with the name of an earlier row: 2" in capsys.readouterr().err


def test_a_folder_of_texts_is_predicted_and_columns_of_rows_are_refused(tmp_path):
    (tmp_path / "pos").mkdir()
    (tmp_path / "pos" / "a.txt").write_text("one line\n\nand another\n")
    assert predicted(tmp_path, "text") == {"pos/a.txt": "one"}
    with pytest.raises(DataError, match="folders have no columns"):
        predicted(tmp_path, "text", id_col="id")
    with pytest.raises(DataError, match=r"no \.txt files"):
        (tmp_path / "pos" / "a.txt").rename(tmp_path / "a.csv")
        predicted(tmp_path, "text")
    pd.DataFrame({"text": TEXTS}).to_json(tmp_path / "a.json")
    with pytest.raises(DataError, match="orient='records'"):
        predicted(tmp_path / "a.json", "text")


def test_what_cannot_predict_says_so(folder, tmp_path):
    with pytest.raises(DataError, match=r"no result.json"):
        predict.load(tmp_path)
    record = json.loads((folder / "result.json").read_text())
    record["settings"]["recipe"]["new"] = 1  # of a later version
    (tmp_path / "result.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"a field that this version does not know .*'new'"):
        predict.load(tmp_path)
    assert refused(folder, tmp_path / "absent.csv").startswith("error: there is no file")
    (folder / "classifier" / "backward" / "vocab.json").unlink()
    with pytest.raises(DataError, match=r"vocab.json"):
        predict.load(folder)


def test_what_cannot_be_predicted_leaves_the_files_as_they_were(folder, tmp_path):
    texts, out = tmp_path / "texts.csv", tmp_path / "out.csv"
    texts.write_text("body\nA fine book.\n")
    out.write_text("mine")
    for column, target, why in (("nothing", out, "no column 'nothing'"), ("body", texts, "name another")):
        assert why in refused(folder, texts, "--text-col", column, "--out", target)
    assert out.read_text() == "mine"
    assert texts.read_text() == "body\nA fine book.\n"


def test_a_label_that_a_spreadsheet_would_run_is_quoted():
    cells = ("=cmd()", "+1+A1", "@x", "\n=1", "-", "good", "-1", "+0.5")
    assert [escape_formula(c) for c in cells] == ["'=cmd()", "'+1+A1", "'@x", "'\n=1", "'-", "good", "-1", "+0.5"]


def test_the_file_of_predictions_is_harmless_and_its_folder_is_checked_before_the_model_is_read(tmp_path, monkeypatch):
    texts, out = tmp_path / "texts.csv", tmp_path / "out.csv"
    texts.write_text("text,id\n=1 day,=2\n")
    for wrong in (tmp_path / "absent" / "out.csv", tmp_path):
        assert "name another file" in refused(tmp_path / "no run", texts, "--out", wrong)
    monkeypatch.setattr(predict, "load", lambda _: Stub("text"))
    main(["predict", "run", str(texts), "--id-col", "id", "--out", str(out)])
    assert out.read_text().splitlines() == ["id,class,confidence", "'=2,'=1"]


def test_standard_input_has_no_columns_that_options_could_name():
    with pytest.raises(DataError, match=r"standard input .* leave out --text-col and --id-col"):
        next(predict.predictions(Stub(), "-", (), "id", AUTO))
    with pytest.raises(DataError, match=r"leave out --delimiter, --header and --quotes"):
        next(predict.predictions(Stub(), "-", (), None, Format(header="yes")))
