"""Folders of texts or tables, columns of splits, and rows that keep their names."""

import pandas as pd
import pytest

from ulmfit_exp.common import DataError
from ulmfit_exp.corpora.corpus import Corpus
from ulmfit_exp.corpora.splits import row_splits

WORDS = ["soup", "room", "bed", "bath", "view", "tea", "key", "lamp"]


def folder(root, *parts, suffix=".txt", encoding="utf-8"):
    """A text of ours for each part and word: ROOT/PART/0.txt and so on."""
    for part in parts:
        (root / part).mkdir(parents=True, exist_ok=True)
        for i, word in enumerate(WORDS):
            (root / part / f"{i}{suffix}").write_text(f"The {word} of {part} was naïve.", encoding=encoding)
    return root


def sizes(corpus) -> dict[str, int]:
    return {split: n for split, n in corpus.counts().items() if n}


def test_a_publishers_folder_keeps_its_split_whatever_else_is_in_it(tmp_path):
    folder(tmp_path, "train/kind", "train/rude", "train/unsup", "test/kind", "test/rude")
    folder(tmp_path, "__MACOSX/train/kind", "train/.cache")
    for extra in ("README.txt", "train/urls_kind.txt", "train/.hidden.txt"):
        (tmp_path / extra).write_text("no text of the corpus")
    corpus = Corpus.from_csv(tmp_path)
    assert corpus.classes == ["kind", "rude"]
    assert sizes(corpus) == {"train": 14, "valid": 2, "test": 16, "unlabelled": 8}
    assert "README.txt, train/urls_kind.txt" in "\n".join(corpus.notes)
    assert "test/rude/7.txt" in set(corpus.df["row"])


@pytest.mark.parametrize(
    ("parts", "classes", "unlabelled", "test"),
    [
        (("kind", "rude"), ["kind", "rude"], 0, False),
        (("kind", "rude", "unlabelled"), ["kind", "rude"], 8, False),
        (("kind", "rude", "Unsup"), ["kind", "rude"], 8, False),
        (("bus", "train"), ["bus", "train"], 0, False),  # a class that is called like a split
        (("kind/train", "kind/test", "rude/train", "rude/test"), ["kind", "rude"], 0, True),
        (("Train/kind", "Train/rude", "TEST/kind", "TEST/rude"), ["kind", "rude"], 0, True),
        (("hotel/train/kind", "hotel/train/rude", "hotel/test/kind", "hotel/test/rude"), ["kind", "rude"], 0, True),
    ],
)
def test_the_folders_that_name_classes_and_splits_are_recognised(parts, classes, unlabelled, test, tmp_path):
    corpus = Corpus.from_csv(folder(tmp_path, *parts))
    assert corpus.classes == classes
    assert corpus.counts()["unlabelled"] == unlabelled
    assert any("held out as the test split" in note for note in corpus.notes) != test


def test_suffixes_and_encodings_of_texts(tmp_path):
    folder(tmp_path, "kind", suffix=".TXT", encoding="cp1252")
    folder(tmp_path, "rude", encoding="utf-8-sig")
    corpus = Corpus.from_csv(tmp_path)
    assert len(corpus.df) == 16
    assert corpus.df["text"].str.endswith("was naïve.").all()
    assert corpus.df["text"].str.startswith("The ").all()


def test_texts_that_are_not_utf8_are_of_one_encoding_and_what_is_no_text_is_left_out(tmp_path):
    folder(tmp_path, "good", encoding="cp1252")
    folder(tmp_path, "bad")
    for i, text in enumerate(["Un café", "Le film était très long", "Déjà vu"]):
        (tmp_path / "good" / f"accents{i}.txt").write_bytes(text.encode("cp1252"))
    (tmp_path / "bad" / "binary.txt").write_bytes(bytes(range(256)) * 20)
    corpus = Corpus.from_csv(tmp_path)
    assert {"Un café", "Le film était très long", "Déjà vu"} <= set(corpus.df["text"])
    assert any("left out: files that are not text: 1 (bad/binary.txt)" in note for note in corpus.notes)
    assert any("their encoding cp1252 is a guess" in note for note in corpus.notes)


def test_test_texts_without_a_class_are_predicted(tmp_path):
    folder(tmp_path, "train/good", "train/bad", "test")
    corpus = Corpus.from_csv(tmp_path)
    assert corpus.counts() == {"train": 14, "valid": 2, "test": 8, "unlabelled": 0}
    assert set(corpus.split("test")["label"]) == {""}


@pytest.mark.parametrize("parts", [("train/good", "train/bad", "test/good", "test/bad"), ("good", "bad")])
def test_held_out_texts_that_are_unlabelled_are_not_trained_on(parts, tmp_path):
    corpus = Corpus.from_csv(folder(tmp_path, *parts, "test/unlabelled", "valid/unsup", "train/unsup"))
    splits = corpus.df.set_index("row")["split"]
    assert {splits[row] for row in splits.index if row.startswith("test/unlabelled")} == {"test"}
    assert {splits[row] for row in splits.index if row.startswith("train/unsup")} == {"unlabelled"}
    assert not any(row.startswith("valid/unsup") for row in splits.index)


def test_a_folder_without_classes_is_refused_but_gives_unlabelled_texts(tmp_path):
    folder(tmp_path, "train", "test")
    with pytest.raises(DataError, match="holds no CLASS/NAME"):
        Corpus.from_csv(tmp_path)
    labelled = folder(tmp_path / "labelled", "kind", "rude")
    corpus = Corpus.from_csv(labelled, unlabelled=tmp_path / "train")
    assert corpus.counts()["unlabelled"] == 8
    newsgroups = folder(tmp_path / "20news", "sci.space", "alt.atheism", suffix="")
    with pytest.raises(DataError, match=r"left out: files whose names do not end in \.txt: 16 \(alt\.atheism/0"):
        Corpus.from_csv(newsgroups)


def test_what_the_library_datasets_saves_is_not_taken_for_a_table(tmp_path):
    for name in ("dataset_dict.json", "train/dataset_info.json", "train/state.json", "train/data-00000-of-00001.arrow"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"features": {"text": {"dtype": "string"}}}')
    with pytest.raises(DataError, match="Arrow files are not read, save them with to_parquet"):
        Corpus.from_csv(tmp_path)
    table(40).to_parquet(tmp_path / "train" / "0000.parquet")
    assert sizes(Corpus.from_csv(tmp_path))["train"] == 29


# A table per split


def table(n, labels=("kind", "rude"), start=0) -> pd.DataFrame:
    rows = [(f"The guest of room {i} wrote", labels[i % 2]) for i in range(start, start + n)]
    return pd.DataFrame(rows, columns=["text", "label"])


@pytest.mark.parametrize(
    "names",
    [
        ("train.csv", "dev.csv", "test.csv"),
        ("en.train.tsv", "en.valid.tsv", "en.test.tsv"),
        ("HOTELS_train.CSV", "HOTELS_val.CSV", "HOTELS_test.CSV"),
        ("data/train-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet", "data/test-0.parquet"),
        ("train.jsonl.gz", "dev.jsonl.gz", "test.jsonl.gz"),
        ("train.txt", "dev.txt", "test.txt"),
        ("training.csv", "eval.csv", "testing.csv"),
        ("train.csv", "dev.csv", "eval.csv"),
        ("train/part.csv", "dev/part.csv", "test/part.csv"),
    ],
)
def test_a_folder_of_a_table_per_split(names, tmp_path):
    for name, rows in zip(names, (table(40), table(8, start=40), table(6, start=48))):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if "parquet" in name:
            rows.to_parquet(path)
        elif "json" in name:
            rows.to_json(path, orient="records", lines=True)
        else:
            rows.to_csv(path, index=False, sep="\t" if name.endswith(("tsv", "txt")) else ",")
    (tmp_path / "classes.txt").write_text("kind\nrude\n")
    corpus = Corpus.from_csv(tmp_path)
    assert sizes(corpus) == {"train": 40, "valid": 8, "test": 6}
    assert corpus.df["row"].iloc[-1] == f"{names[-1]}:5"
    assert any("left out: files of no class or split: 1 (classes.txt)" in note for note in corpus.notes)


def test_tables_per_split_without_a_header_or_without_labels_in_the_test(tmp_path):
    table(40).to_csv(tmp_path / "train.csv", index=False, header=False)
    table(2, start=40).to_csv(tmp_path / "test.csv", index=False, header=False)
    assert sizes(Corpus.from_csv(tmp_path)) == {"train": 36, "valid": 4, "test": 2}
    for name in ("train.csv", "test.csv"):  # label, title and text, as AG News has them
        table(40)[["label", "label", "text"]].to_csv(tmp_path / name, index=False, header=False)
    assert not any("columns without a name" in note for note in Corpus.from_csv(tmp_path).notes)
    table(40).to_csv(tmp_path / "train.csv", index=False)
    table(9, start=40)[["text"]].to_csv(tmp_path / "test.csv", index=False)
    corpus = Corpus.from_csv(tmp_path)
    assert sizes(corpus) == {"train": 36, "valid": 4, "test": 9}
    assert any("rows of the test split without a label, predicted" in note for note in corpus.notes)


# Columns of splits


def test_names_of_columns_may_differ_in_case_between_tables_and_a_table_without_rows_is_refused(tmp_path):
    table(20).to_csv(tmp_path / "train.csv", index=False)
    table(6, start=20).rename(columns=str.upper).to_csv(tmp_path / "test.csv", index=False)
    assert sizes(Corpus.from_csv(tmp_path))["test"] == 6
    table(0).to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(DataError, match=r"test\.csv has no rows, only a header line .*; fill or remove"):
        Corpus.from_csv(tmp_path)


def test_a_table_of_a_split_with_other_column_names_is_refused(tmp_path):
    table(40).to_csv(tmp_path / "train.csv", index=False)
    table(9, start=40).rename(columns={"text": "review"}).to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(DataError, match="the test split has no text; its columns may have other names"):
        Corpus.from_csv(tmp_path)
    table(9, start=40).rename(columns={"label": "target"}).to_csv(tmp_path / "test.csv", index=False)
    assert any(
        "test.csv lacks 'label' of the train table, and has 'target'" in n for n in Corpus.from_csv(tmp_path).notes
    )
    table(9, start=40).to_csv(tmp_path / "test.csv", index=False, header=False)
    with pytest.raises(DataError, match=r"test\.csv has no column of the train table, 'text', 'label'"):
        Corpus.from_csv(tmp_path)


def test_unlabelled_texts_beside_the_tables_of_the_splits_are_lines(tmp_path):
    table(40).to_csv(tmp_path / "train.csv", index=False)
    (tmp_path / "unlabelled.txt").write_text("One, two\nThree\n")
    assert Corpus.from_csv(tmp_path).split("unlabelled")["text"].tolist() == ["One, two", "Three"]


def test_fasttexts_lines_by_split_with_labels_or_without(tmp_path):
    for name, rows in (("train.txt", table(40)), ("valid.txt", table(8, start=40))):
        (tmp_path / name).write_text("".join(f"__label__{label} {text}, yes\n" for text, label in rows.to_numpy()))
    (tmp_path / "test.txt").write_text("".join(f"{text}, yes, no\n" for text in table(6, start=48)["text"]))
    corpus = Corpus.from_csv(tmp_path)
    assert sizes(corpus) == {"train": 40, "valid": 8, "test": 6} and corpus.classes == ["kind", "rude"]
    assert corpus.df["text"].iloc[-1] == "The guest of room 53 wrote, yes, no"
    with (tmp_path / "train.txt").open("a") as file:
        file.write("__label__kind __label__new The guest of room 54 wrote\n" * 3)
    corpus = Corpus.from_csv(tmp_path)  # the lines of the other files have one label
    assert corpus.multi_label and set(corpus.split("valid")["label"]) == {"kind", "rude"}


def test_texts_and_labels_in_files_of_their_own_line_by_line(tmp_path):
    """As in TweetEval."""
    for split, rows in (("train", table(40)), ("val", table(8, start=40)), ("test", table(6, start=48))):
        (tmp_path / f"{split}_text.txt").write_text("".join(f'"{text}, @user\n' for text in rows["text"]))
        (tmp_path / f"{split}_labels.txt").write_text("".join(f"{i % 2}\n" for i in range(len(rows))))
    assert Corpus.from_csv(tmp_path).classes == ["0", "1"]
    (tmp_path / "mapping.txt").write_text("0 kind\n1 rude\n")
    with pytest.raises(DataError, match=r"mapping.txt has one column; put a tab between"):
        Corpus.from_csv(tmp_path)
    (tmp_path / "mapping.txt").write_text("0\tkind\n1\trude\n")
    corpus = Corpus.from_csv(tmp_path)
    assert sizes(corpus) == {"train": 40, "valid": 8, "test": 6} and corpus.classes == ["kind", "rude"]
    assert corpus.df.iloc[-1].tolist() == ['"The guest of room 53 wrote, @user', "rude", "test", "test_text.txt:5"]
    assert not any("left out" in note for note in corpus.notes)
    (tmp_path / "test_labels.txt").unlink()
    assert Corpus.from_csv(tmp_path).split("test")["label"].tolist() == [""] * 6
    (tmp_path / "val_labels.txt").write_text("0\n1\n")
    with pytest.raises(DataError, match=r"val_labels.txt has 2 lines, but val_text.txt has 8; give each text a label"):
        Corpus.from_csv(tmp_path)
    for task in ("emoji", "irony"):
        (tmp_path / "all" / task).mkdir(parents=True)
        for part in ("text", "labels"):
            (tmp_path / "all" / task / f"train_{part}.txt").write_text("1\n2\n")
    with pytest.raises(DataError, match="is in folders below it; name one of them: emoji, irony"):
        Corpus.from_csv(tmp_path / "all")


def test_folders_above_those_of_the_classes_are_reported(tmp_path):
    corpus = Corpus.from_csv(folder(tmp_path, "train_data/kind", "train_data/rude", "test_data/kind", "test_data/rude"))
    assert any("above the class folders: test_data, train_data" in note for note in corpus.notes)


def test_a_class_that_is_a_link_to_a_folder_is_reported(tmp_path):
    folder(tmp_path / "elsewhere", "good")
    folder(tmp_path / "texts", "kind", "rude")
    folder(tmp_path / "texts", "ugly", suffix=".html")
    (tmp_path / "texts" / "ugly" / "broken.txt").symlink_to("nowhere")
    (tmp_path / "texts" / "good").symlink_to(tmp_path / "elsewhere" / "good")
    corpus = Corpus.from_csv(tmp_path / "texts")
    assert corpus.classes == ["kind", "rude"]
    assert any("left out: files whose names do not end in .txt: 9 (ugly/0.html" in note for note in corpus.notes)
    assert "left out: links to folders, which are not followed: good" in corpus.notes


def test_among_split_columns_the_one_with_test_rows_is_used_and_the_others_are_reported():
    valid, test = [i % 5 == 0 for i in range(40)], [i % 4 == 1 for i in range(40)]
    rows = table(40)
    split = pd.Series(test).map({True: "test", False: "train"})
    corpus = Corpus.from_df(pd.DataFrame({"is_valid": valid, **rows, "part": split}))
    assert corpus.counts()["test"] == 10
    assert "columns that also name splits, not used: 'is_valid'" in corpus.notes
    corpus = Corpus.from_df(pd.DataFrame({"Is_Valid": valid, **rows, "is_test": test}))
    assert sizes(corpus) == {"train": 24, "valid": 6, "test": 10}
    assert "columns 'Is_Valid' and 'is_test' name the splits together" in corpus.notes


def test_what_keeps_a_label_from_being_found_is_named(tmp_path):
    with pytest.raises(DataError, match="looks like a label, of 'text' beside 'label', which other options name"):
        Corpus.from_df(table(40), id_col="label")
    folder(tmp_path, "kind/2020", "rude/2020")
    with pytest.raises(DataError, match="the name of its folder, which is '2020' for all"):
        Corpus.from_csv(tmp_path)


def test_folders_train_dev_and_eval_are_the_three_splits(tmp_path):
    folder(tmp_path, *(f"{split}/{cls}" for split in ("train", "dev", "eval") for cls in ("kind", "rude")))
    assert sizes(Corpus.from_csv(tmp_path)) == {"train": 16, "valid": 16, "test": 16}


@pytest.mark.parametrize("true, false", [("True", "False"), ("1", "0"), ("1.0", "0.0"), ("true", ""), ("Yes", "no")])
@pytest.mark.parametrize("name", ["is_valid", "isValid", "is_validation"])
def test_fastais_is_valid_is_a_split(name, true, false, tmp_path):
    rows = table(40).assign(**{name: [true if i >= 30 else false for i in range(40)]})
    rows.to_csv(tmp_path / "a.csv", index=False)
    for options in ({}, {"split_col": name}):
        corpus = Corpus.from_csv(tmp_path / "a.csv", **options)
        assert corpus.counts()["valid"] == 10
        assert set(corpus.df.loc[corpus.df["split"] == "valid", "row"]) == set(range(30, 40))


def test_the_column_called_split_is_taken_before_another_that_names_splits():
    rows = table(20).assign(part=["train", "test"] * 10, split=["train"] * 15 + ["test"] * 5)
    assert sizes(Corpus.from_df(rows))["test"] == 5


def test_a_column_of_splits_is_recognised_by_its_values_and_one_that_is_not_followed_is_reported():
    part = ["train"] * 30 + ["eval"] * 4 + ["TEST "] * 6
    assert sizes(Corpus.from_df(table(40).assign(part=part))) == {"train": 30, "valid": 4, "test": 6}
    for names in (["training", "dev", "eval"], ["Train", "valid", "Evaluation"]):  # eval is the test, if no other is
        part = pd.Series(names).repeat([30, 4, 6]).tolist()
        for options in ({}, {"split_col": "part"}):
            corpus = Corpus.from_df(table(40).assign(part=part), **options)
            assert sizes(corpus) == {"train": 30, "valid": 4, "test": 6}
    corpus = Corpus.from_df(table(40).assign(split=["a fold"] * 20 + ["train"] * 20))
    assert any("'split' is not taken as the split, because of 'a fold'" in note for note in corpus.notes)
    corpus = Corpus.from_df(table(40).assign(Usage=["Training"] * 20 + ["PublicTest"] * 20))
    assert any("'Usage' is not taken as the split, because of 'publictest'" in note for note in corpus.notes)
    corpus = Corpus.from_df(table(40).assign(fold=[i % 5 for i in range(40)]))
    assert any("'fold' is not taken as the split, because of '0'" in note for note in corpus.notes)
    with pytest.raises(DataError, match="'split' names the split of each row, but is empty in some"):
        Corpus.from_df(table(40).assign(split=["train"] * 30 + ["test"] * 9 + [""]))
    corpus = Corpus.from_df(table(40).assign(validation=[i < 30 for i in range(40)]))
    assert any("'validation' is not taken as the split, because of 'false'" in note for note in corpus.notes)
    corpus = Corpus.from_df(table(40).drop(columns="label").assign(evaluation=["good", "bad"] * 20))
    assert not any("split, because" in note for note in corpus.notes)
    train = table(40).assign(is_train=[i < 30 for i in range(40)])
    assert Corpus.from_df(train, split_col="is_train").counts()["valid"] == 10
    for name, true in (("isTest", "test"), ("is_latest", "valid"), ("strain", "valid")):
        assert row_splits(pd.Series(["0", "1"], name=name)).tolist() == ["train", true]


def test_rows_of_the_valid_split_without_a_label_are_left_out_with_a_note(tmp_path):
    rows = table(40).assign(split=["train"] * 30 + ["valid"] * 10)
    rows.loc[35:, "label"] = None
    rows.to_csv(tmp_path / "a.csv", index=False)
    corpus = Corpus.from_csv(tmp_path / "a.csv")
    assert corpus.counts()["valid"] == 5
    assert any("rows of the valid split without a label: 5" in note for note in corpus.notes)


# Rows


def test_a_row_keeps_its_number_in_the_table_or_its_id(tmp_path):
    rows = pd.concat([pd.DataFrame({"text": ["", " "], "label": ["kind", "rude"]}), table(40)], ignore_index=True)
    rows.insert(0, "id", [f"r{i}" for i in range(42)])
    rows.to_csv(tmp_path / "a.csv", index=False)
    found = Corpus.from_csv(tmp_path / "a.csv").df
    assert found["row"].tolist() == list(range(2, 42))
    assert (found["text"].to_numpy() == rows["text"][found["row"]].to_numpy()).all()
    assert Corpus.from_csv(tmp_path / "a.csv", id_col="id").df["row"].tolist() == [f"r{i}" for i in range(2, 42)]
    again = Corpus.from_df(rows.set_index("id"))
    assert again.df["row"].tolist() == [f"r{i}" for i in range(2, 42)]
    assert again.with_train_size(10).df["row"].tolist() == again.df["row"].tolist()
    found = Corpus.from_df(rows.assign(id=[None, *range(1, 41), None]), id_col="id")
    assert found.df["row"].tolist() == [*map(str, range(2, 41)), "row 41"]
    assert any("'id' is empty in 2 rows" in note for note in found.notes)
    assert not any("has duplicates" in note for note in found.notes)


def test_the_digest_of_a_corpus_does_not_depend_on_the_names_of_its_rows():
    named = Corpus.from_df(table(40).set_axis([f"r{i}" for i in range(40)]))
    assert named.digest == Corpus.from_df(table(40)).digest


PLACES = ("the inn was good", "the inn was bad", "the hut was good", "the hut was bad")
TEXTS = [f"The {word} of {place} today" for word in WORDS for place in PLACES]
LABELS = ["kind", "rude"] * (len(TEXTS) // 2)


@pytest.mark.parametrize(
    ("column", "values", "option"),
    [
        ("is_valid", ("True", "False"), "is_valid"),
        ("fold", ("dev", "train"), "fold"),
        ("split", ("dev", "train"), None),
    ],
)
def test_in_a_folder_a_split_column_divides_the_training_rows_alone(tmp_path, column, values, option):
    train = pd.DataFrame({"text": TEXTS, "label": LABELS, column: [values[i % 4 > 0] for i in range(len(TEXTS))]})
    train.to_csv(tmp_path / "train.csv", index=False)
    test = pd.DataFrame({"text": [f"{text} again" for text in TEXTS[:10]], "label": LABELS[:10]})
    test.to_csv(tmp_path / "test.csv", index=False)
    corpus = Corpus.from_csv(tmp_path, split_col=option)
    assert sizes(corpus) == {"train": 24, "valid": 8, "test": 10}
    assert set(corpus.split("test")["text"]) == set(test["text"])


def test_the_name_of_a_table_determines_its_split_before_the_folders_above_it(tmp_path):
    for name, texts in (("train", TEXTS), ("test", [f"{text} again" for text in TEXTS[:10]])):
        path = tmp_path / "training_data" / "tweet_eval" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"text": texts, "label": LABELS[: len(texts)]}).to_csv(path, index=False)
    assert len(Corpus.from_csv(tmp_path).split("test")) == 10


def test_labels_in_a_table_of_their_own_are_joined_to_the_texts(tmp_path):
    """As in the files of Kaggle's toxic comments, with a packed table."""
    ids = [f"id {i}" for i in range(len(TEXTS))]
    rows = pd.DataFrame({"id": ids, "comment": TEXTS, "label": LABELS})
    rows[:24].to_csv(tmp_path / "train.csv.zip", index=False)
    rows.loc[24:, ["id", "comment"]].to_csv(tmp_path / "test.csv", index=False)
    rows.loc[24:, ["id", "label"]][::-1].to_csv(tmp_path / "test_labels.csv", index=False)
    corpus = Corpus.from_csv(tmp_path, "comment")
    test = corpus.df[corpus.df["split"] == "test"]
    assert (test["text"].tolist(), test["label"].tolist()) == (TEXTS[24:], LABELS[24:])
    assert "test_labels.csv: joined to the table before it by column 'id'" in corpus.notes
    assert not any("lacks" in note for note in corpus.notes)
    rows[:24].to_csv(tmp_path / "train.csv", index=False)
    both = Corpus.from_csv(tmp_path, "comment")
    assert len(both.df) == len(rows)
    assert "left out: files that are also there unpacked: 1 (train.csv.zip)" in both.notes
