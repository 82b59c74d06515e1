"""The reader of tables: the same rows in training, unlabelled texts, pretraining and prediction, however written."""

import codecs
import csv
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from ulmfit_exp.common import DataError
from ulmfit_exp.corpora.corpus import Corpus
from ulmfit_exp.corpora.documents import Documents
from ulmfit_exp.corpora.options import AUTO, Format
from ulmfit_exp.corpora.table import join_columns, open_table, read_table

TEXTS = [f"The {what}, said guest {i}." for i in range(12) for what in ("soup was hot", "bed sank")]
LABELS = ["good", "bad"] * 12
ROWS = list(zip(TEXTS, LABELS))


def as_csv(rows, **how) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", **how).writerows(rows)
    return text.getvalue()


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def texts(path, columns, format=AUTO) -> list[str]:
    """As predictions and pretraining read them."""
    table = open_table(path, format, columns, must_be_table=False)
    columns = table.find_columns(columns, "--text-col")
    return [text for rows in table.chunks(columns) for text in join_columns(rows, columns)]


HEAD = [("text", "label"), *ROWS]
ALIKE = {
    "a.csv": as_csv(HEAD),
    "a.CSV": as_csv(HEAD),
    "a.tsv": as_csv(HEAD, delimiter="\t"),
    "semicolons.csv": as_csv(HEAD, delimiter=";"),
    "tabs.txt": as_csv(HEAD, delimiter="\t"),
    "bars": as_csv(HEAD, delimiter="|"),
    "spaces.csv": as_csv([(f" {a} ", f" {b}") for a, b in HEAD[:1]]) + as_csv(ROWS),
    "quoted after spaces.csv": "label, text\n" + "".join(f'{label}, "{text}"\n' for text, label in ROWS),
    "utf16.csv": as_csv(HEAD).encode("utf-16"),
    "utf16 without mark.csv": as_csv(HEAD).encode("utf-16-le"),
    "a.jsonl": "".join(json.dumps({"text": t, "label": c}) + "\n" for t, c in ROWS),
    "json lines.csv": "".join(json.dumps({"text": t, "label": c}) + "\n" for t, c in ROWS),
    "from excel.csv": "sep=;\n" + as_csv(HEAD, delimiter=";"),
    "SEP.csv": "SEP=;\n" + as_csv(HEAD, delimiter=";"),
    "from DOS.csv": as_csv(HEAD) + "\x1a",
    "two files, joined.csv": f"\ufeff{as_csv(HEAD[:9])}\ufeff{as_csv(HEAD[9:])}",
    "a.JSONL.GZ": gzip.compress("".join(json.dumps({"text": t, "label": c}) + "\n" for t, c in ROWS).encode()),
    "long objects.json": "".join(json.dumps({"text": t, "label": c}, indent=1) + ",\n" for t, c in ROWS),
    "array.json": json.dumps([{"text": t, "label": c} for t, c in ROWS]),
    "array.JSON": json.dumps([{"text": t, "label": c} for t, c in ROWS], indent=2),
    "a.ft.txt.gz": gzip.compress("".join(f"__label__{c} {t}\n" for t, c in ROWS).encode()),
    "a.parquet": pd.DataFrame(ROWS, columns=["text", "label"], index=range(5, 29)).to_parquet(),
}


@pytest.mark.parametrize("name", ALIKE)
def test_a_table_reads_the_same_in_every_use(name, tmp_path):
    path, labelled = write(tmp_path / name, ALIKE[name]), write(tmp_path / "labelled.csv", as_csv(HEAD))
    corpus = Corpus.from_csv(path)
    assert corpus.df["text"].tolist() == TEXTS
    assert corpus.df["label"].tolist() == LABELS
    assert texts(path, ["text"]) == TEXTS
    assert [text for text, _ in Documents("a", (path,)).documents()] == TEXTS
    more = Corpus.from_csv(labelled, unlabelled=path)
    assert more.split("unlabelled")["text"].tolist() == TEXTS


def test_several_text_columns_are_joined_in_every_use(tmp_path):
    path = write(
        tmp_path / "a.csv", as_csv([("title", "body", "label"), *((f"T{i}", t, c) for i, (t, c) in enumerate(ROWS))])
    )
    expected = [f"T{i}\n{text}" for i, text in enumerate(TEXTS)]
    columns = ("title", "body")
    assert Corpus.from_csv(path, columns).df["text"].tolist() == expected
    assert texts(path, columns) == expected
    assert [text for text, _ in Documents("a", (path,), columns).documents()] == expected
    more = Corpus.from_csv(path, columns, unlabelled=path)
    assert more.split("unlabelled")["text"].tolist() == expected


def test_the_stream_in_chunks_is_the_whole_table(tmp_path, monkeypatch):
    monkeypatch.setattr("ulmfit_exp.corpora.table.CHUNK_ROWS", 5)
    path = write(tmp_path / "a.csv", as_csv(HEAD))
    chunks = list(open_table(path).chunks())
    assert [len(rows) for rows in chunks] == [5, 5, 5, 5, 4]
    assert pd.concat(chunks).equals(read_table(path)[0])
    assert list(chunks[-1].index) == [20, 21, 22, 23]


# The header line

NAMED = {
    "an index without a name": (["", "text", "label"], [(i, t, c) for i, (t, c) in enumerate(ROWS)]),
    "a name twice": (["text", "label", "text"], [(t, c, "web") for t, c in ROWS]),
    "a comma at every line's end": (["text", "label", ""], [(t, c, "") for t, c in ROWS]),
    "a comma at the header's end": (["text", "label", ""], ROWS),
    "a row that repeats a name": (["text", "label"], [*ROWS, ("text", "good")]),
    "the header again and again": (["text", "label"], [*ROWS[:8], ("text", "label"), *ROWS[8:], ("text", "label")]),
    "a question for a name": (["text", "What did you think of the room and of the food in our house last week?"], ROWS),
    "a year for a name": (["text", "2019"], ROWS),
    "a class for a name": (["tweet", "good"], ROWS),
    "boxes of a survey": (
        ["What did you like?", "tone", "Price", "Food", "Room"],
        [(t, c, "Price" * (i % 2), "Food" * (i % 3 == 0), "Room" * (i > 5)) for i, (t, c) in enumerate(ROWS)],
    ),
    "a line break in a name": (["the\ntext", "label"], ROWS),
}


@pytest.mark.parametrize("case", NAMED)
def test_a_header_is_recognised_whatever_its_names(case, tmp_path):
    head, rows = NAMED[case]
    corpus = Corpus.from_csv(write(tmp_path / "a.csv", as_csv([head, *rows])))
    assert corpus.df["text"].tolist()[:24] == TEXTS
    assert corpus.classes == ["bad", "good"]
    assert len(corpus.df) == 24 + (case == "a row that repeats a name")


def test_rows_without_a_header_stay_rows(tmp_path):
    rows = [(i % 4 + 1, f"Room {i}", text) for i, text in enumerate(TEXTS)]
    path = write(tmp_path / "a.csv", as_csv(rows))
    assert Corpus.from_csv(path).df["text"].tolist() == TEXTS
    named = Corpus.from_csv(path, ("1", "2"), "0")
    assert named.classes == ["1", "2", "3", "4"]
    assert len(named.df) == 24


def test_a_first_row_of_a_class_of_its_own_stays_a_row_if_many_classes_have_one_row(tmp_path):
    topics = [*range(24), *range(20), *range(16)]  # four occur once
    rows = [
        (f"{text} It was my {i}. visit.", f"topic {topics[i]}") for i, text in enumerate([*TEXTS, *TEXTS, *TEXTS[:12]])
    ]
    head = ("A room of the house, with bath and a view of the sea.", "once")
    assert len(read_table(write(tmp_path / "a.csv", as_csv([head, *rows])))[0]) == 61


def test_a_decimal_comma_does_not_separate_columns(tmp_path):
    path = write(tmp_path / "a.csv", "".join(f"{text.replace(',', '')};{i % 5},5\n" for i, text in enumerate(TEXTS)))
    rows, table = read_table(path)
    assert table.delimiter == "semicolons"
    assert rows["1"].tolist()[:3] == ["0,5", "1,5", "2,5"]
    lines = [f"{i},5,{text.replace(',', '')},Drama|Comedy" for i, text in enumerate(TEXTS)]  # numbers side by side
    assert open_table(write(tmp_path / "a.csv", "\n".join(lines))).delimiter == "commas"


def test_numbers_count_columns_with_and_without_a_header(tmp_path):
    headed, bare = write(tmp_path / "a.csv", as_csv(HEAD)), write(tmp_path / "b.csv", as_csv(ROWS))
    for path in (headed, bare):
        assert Corpus.from_csv(path, "0", "1").df["text"].tolist() == TEXTS
        assert texts(path, ["0"]) == TEXTS
    few = write(tmp_path / "few.csv", as_csv(ROWS[:2]))  # too few rows to guess from
    assert texts(few, ["0"]) == TEXTS[:2]
    with pytest.raises(DataError, match="no column '2'; it has 'text', 'label'"):
        texts(headed, ["2"])
    assert Corpus.from_csv(headed, 0, 1).df["text"].tolist() == TEXTS
    numbers = Corpus.from_df(
        pd.DataFrame(ROWS).assign(part=["train", "train", "test", "test"] * 6), 0, 1, id_col=0, split_col=2
    )
    assert numbers.df["row"].tolist() == TEXTS


ABOVE = [
    ",\n",
    "Report of reviews,\n2024,\n,\n",
    "# exported\n\n",
    "# made by us\n# licence: none, really\n",
    "Reviews, from the web, 2024\n",
    "review, 2024, x\n\n",
]


def test_a_header_with_another_number_of_cells_is_no_title(tmp_path):
    rows = [(i, text, ("question", "answer")[i % 2]) for i, text in enumerate(TEXTS)]
    path = write(tmp_path / "a.csv", as_csv([("text", "label"), *rows]))  # as R writes it
    assert texts(path, ["text"]) == TEXTS
    path = write(tmp_path / "a.csv", as_csv([("", "The soup was cold, said no guest."), *((c, t) for t, c in ROWS)]))
    assert len(Corpus.from_csv(path, 1, 0).df) == 25


@pytest.mark.parametrize("above", ABOVE)
def test_lines_above_the_header_are_not_read(above, tmp_path):
    path = write(tmp_path / "a.csv", above + as_csv([("text", "label"), *ROWS]))
    assert texts(path, ["text"]) == TEXTS
    assert f"lines above the header, not read: {above.count(chr(10))}" in open_table(path).notes
    assert not open_table(path, Format(header="no")).skip
    for one_column in (["text", *TEXTS], [f"{text}, she said" for text in TEXTS]):
        assert not open_table(write(tmp_path / "b.csv", "\n".join(one_column))).skip


def test_a_table_below_a_title_is_a_table_in_every_use(tmp_path):
    path = write(tmp_path / "a.txt", "Export of reviews\n\n" + as_csv(HEAD, delimiter="\t"))
    assert texts(path, ["text"]) == Corpus.from_csv(path).df["text"].tolist() == TEXTS


def test_header_is_that_of_the_labelled_table_not_of_texts_one_per_line(tmp_path):
    more = write(tmp_path / "more.txt", "".join(f"First part {i}, second part.\n" for i in range(9)))
    path = write(tmp_path / "a.csv", as_csv(ROWS))
    for header in ("no", "yes"):
        corpus = Corpus.from_csv(path, 0 if header == "no" else TEXTS[0], header=header, unlabelled=more)
        assert corpus.split("unlabelled")["text"].tolist()[:1] == ["First part 0, second part."]


def test_a_title_may_be_above_names_in_any_language(tmp_path):
    head = [("Kommentar", "Thema", "Nr"), *((text, label, i) for i, (text, label) in enumerate(ROWS))]
    for above in ("Kundenfeedback 2026;;\n", "Kundenfeedback 2026;;\n;;\n"):
        path = write(tmp_path / "a.csv", above + as_csv(head, delimiter=";"))
        assert open_table(path).columns == head[0] and texts(path, ["Kommentar"]) == TEXTS
    path = write(tmp_path / "a.csv", "The soup was hot, said a guest;;\n" + as_csv(head[1:], delimiter=";"))
    assert len(texts(path, ["0"])) == len(TEXTS) + 1


@pytest.mark.parametrize("head", [("Text ", " LABEL"), ("text\xa0", "\u200b\ufefflabel"), ("ｔｅｘｔ", "ｌａｂｅｌ")])
def test_a_name_is_found_whatever_its_case_and_the_spaces_around_it(head, tmp_path):
    frame = pd.DataFrame(ROWS, columns=head)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    for corpus in [Corpus.from_csv(tmp_path / f"a.{kind}", "text", "label") for kind in ("csv", "parquet")]:
        assert corpus.df["text"].tolist() == TEXTS
    assert texts(tmp_path / "a.csv", [" TEXT"]) == TEXTS
    assert Corpus.from_df(frame, "text", "label").classes == ["bad", "good"]


def test_a_data_frame_may_have_duplicate_column_names_and_other_types_are_refused():
    frame = pd.DataFrame([(t, c, c) for t, c in ROWS], columns=["text", "label", "label"])
    assert Corpus.from_df(frame).df["text"].tolist() == TEXTS
    with pytest.raises(DataError, match="reads a pandas DataFrame, not a list"):
        Corpus.from_df(ROWS)


def test_columns_that_the_user_names_and_an_option_outweigh_the_guess(tmp_path):
    odd = [("good", "fine"), *((c, t) for t, c in ROWS)]  # a header that looks like a row
    path = write(tmp_path / "a.csv", as_csv(odd))
    assert len(Corpus.from_csv(path).df) == 25
    assert len(Corpus.from_csv(path, "fine", "good").df) == 24
    assert len(Corpus.from_csv(path, header="yes").df) == 24
    assert len(read_table(write(tmp_path / "b.csv", as_csv(HEAD)), Format(header="no"))[0]) == 25


# Quotes


def mails(begin: str = "Dear guest,\n", by: str = ",") -> str:
    return f"text{by}label\n" + "".join(f'"{begin}{text}"{by}{label}\n' for text, label in ROWS)


@pytest.mark.parametrize("by", [",", ";", "\t"])
def test_a_line_break_in_quotes_is_part_of_the_text(by, tmp_path):
    begin = f"Dear guest{by}\n"  # each line has as many delimiters as each other
    rows = mails(begin, by).replace("hot, said", "hot said").replace("sank, said", "sank said")
    found = Corpus.from_csv(write(tmp_path / "a.csv", rows)).df["text"]
    assert len(found) == 24
    assert all(text.startswith(begin) and text.endswith(".") for text in found)


def test_one_bad_quote_among_many_good_ones_changes_only_its_row(tmp_path):
    rows = mails().replace("guest 3.", 'guest "3".').replace(", said", " said")
    corpus = Corpus.from_csv(write(tmp_path / "a.csv", rows))
    found = corpus.df["text"]
    assert len(found) == 24
    assert any("a quote within quotes, or one that never ends; check such texts" in note for note in corpus.notes)
    assert (
        sum(text == f"Dear guest,\n{expected}".replace(", said", " said") for text, expected in zip(found, TEXTS)) >= 22
    )


def test_quotes_that_end_no_cell_are_part_of_the_text(tmp_path):
    rows = [f"{c}\t{t}" if i % 5 else f'{c}\t"{t}' for i, (t, c) in enumerate(ROWS)]
    found = texts(write(tmp_path / "a.tsv", "\n".join(rows)), ["1"])
    assert found == [t if i % 5 else f'"{t}' for i, t in enumerate(TEXTS)]


def test_a_backslash_may_mark_a_quote(tmp_path):
    rows = "text,label\n" + "".join(f'"He said \\"{t}\\", twice",{c}\n' for t, c in ROWS)
    assert texts(write(tmp_path / "a.csv", rows), ["text"]) == [f'He said "{t}", twice' for t in TEXTS]


def test_quotes_and_delimiter_can_be_set(tmp_path):
    path = write(tmp_path / "a.csv", 'text:label\n"one":a\n"two":b\n')
    assert texts(path, ["text"], Format(delimiter=":")) == ["one", "two"]
    assert texts(path, ["text"], Format(delimiter=":", quotes="no")) == ['"one"', '"two"']
    with pytest.raises(DataError, match="--delimiter ab: give one character"):
        open_table(path, Format(delimiter="ab"))


def test_a_quote_that_never_ends_is_refused_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("ulmfit_exp.corpora.csv_dialect.MAX_ROW_CHARS", 1000)
    path = write(tmp_path / "a.csv", '"text,label' + "no end, of it\n" * 1000)
    with pytest.raises(DataError, match="first row never ends; see --quotes"):
        read_table(path, Format(quotes="yes"))


# Encoding

ACCENTS = [f"A naïve café – “{text}”" for text in TEXTS]


def test_utf8_with_a_few_invalid_bytes_stays_utf8_with_a_note(tmp_path):
    data = as_csv([("text", "label"), *zip(ACCENTS, LABELS)]).encode() + "cut 🙂".encode()[:-1] + b",good\n"
    corpus = Corpus.from_csv(write(tmp_path / "a.csv", data))
    assert corpus.df["text"].tolist() == [*ACCENTS, "cut \ufffd"]
    assert any("invalid UTF-8 sequences, replaced by U+FFFD: 1" in note for note in corpus.notes)


def test_a_file_with_the_mark_of_utf8_may_have_another_encoding(tmp_path):
    data = as_csv([("text", "label"), *zip(ACCENTS, LABELS)])
    assert texts(write(tmp_path / "a.csv", codecs.BOM_UTF8 + data.encode("cp1252")), ["text"])[0].endswith(
        ACCENTS[0][4:]
    )
    corpus = Corpus.from_csv(write(tmp_path / "b.csv", codecs.BOM_UTF8 + data.encode() + b"cut \xff,good\n"))
    assert any("invalid UTF-8 sequences, replaced by U+FFFD: 1" in note for note in corpus.notes)


def test_a_field_of_json_lines_may_first_occur_late(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"id": 1}\n' * 2500 + '{"text": "late"}\n')
    assert texts(path, ["text"])[-1] == "late"


def test_an_empty_text_of_one_column_keeps_its_row(tmp_path):
    path = write(tmp_path / "a.csv", b'text\nfirst text\n""\nthird text\n')
    assert texts(path, ["text"]) == ["first text", "", "third text"]


@pytest.mark.parametrize("lost", [1, 2])
def test_one_cut_emoji_alone_is_utf8(lost, tmp_path):
    data = as_csv(HEAD).encode() + "cut 🙂".encode()[:-lost] + b",good\n"
    assert texts(write(tmp_path / "a.csv", data), ["text"]) == [*TEXTS, "cut \ufffd"]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Le café était très bon, la crème brûlée était délicieuse"),
        ("cp1252", "Le film était très long, déjà vu cent fois, un scénario à oublier"),
        ("cp1252", "The room was 5 €, “the best” – and it’s for €7"),
        ("mac_roman", "Le café était très bon, la crème brûlée était délicieuse"),
        ("cp1250", "Książka była świetna, chociaż łóżko źle działa"),
        ("iso8859_2", "Książka była świetna, chociaż łóżko źle działa"),
        ("cp1251", "Книга была очень хорошая, спасибо"),
        ("koi8_r", "Книга была очень хорошая, спасибо"),
        ("iso8859_5", "Книга была очень хорошая, спасибо"),
        ("cp1254", "Oda çok güzeldi, teşekkür ederim, ışık iyi değildi"),
        ("cp1255", "החדר היה טוב מאוד, תודה רבה, אבל ארוחת הבוקר הייתה גרועה"),
        ("cp850", "Le café était très bon, la crème brûlée était délicieuse"),
        ("cp852", "Książka była świetna, chociaż łóżko źle działa"),
        ("shift_jis", "本はとても良かったです。ありがとうございます"),
        ("gb18030", "这本书非常好，谢谢。质量很差，完全不能用"),
    ],
)
def test_the_encoding_is_guessed_from_what_is_not_ascii_wherever_it_is(encoding, text, tmp_path):
    plain = [("An English text like any other. " * 50, "good")] * 800  # more than a megabyte
    data = as_csv([("text", "label"), *plain, *((f"{text} {i}", "bad") for i in range(5))]).encode(encoding)
    path = write(tmp_path / "a.csv", data)
    assert texts(path, ["text"])[-1] == f"{text} 4"
    assert any(f"the encoding {encoding} is a guess" in note for note in open_table(path).notes)
    assert texts(path, ["text"], Format(encoding=encoding))[-1] == f"{text} 4"


def test_japanese_mail_is_not_taken_for_utf8(tmp_path):
    assert texts(write(tmp_path / "a.csv", "text,label\n本は良い,good\n".encode("iso2022_jp")), ["text"]) == [
        "本は良い"
    ]


@pytest.mark.parametrize("text", ["Книга была очень хорошая", "本はとても良かったです", "Le café était très bon"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_recognised_in_any_script(encoding, text, tmp_path):
    rows = [("text", "label"), *((f"{text} {i}", c) for i, c in enumerate(LABELS))]
    assert texts(write(tmp_path / "a.csv", as_csv(rows).encode(encoding)), ["text"])[-1] == f"{text} 23"


@pytest.mark.parametrize("encoding", ["klingon", "base64", "idna", "utf-16"])
def test_an_encoding_that_cannot_be_that_of_the_file_is_refused(encoding, tmp_path):
    with pytest.raises(DataError, match=f"--encoding {encoding}|not text in its encoding"):
        open_table(write(tmp_path / "a.csv", as_csv(HEAD)), Format(encoding=encoding))


def test_bytes_that_are_not_valid_in_the_named_encoding_are_counted(tmp_path):
    path = write(tmp_path / "a.csv", as_csv([("text",), *((text,) for text in ACCENTS)]).encode("cp1252"))
    assert any(
        "invalid ascii sequences, replaced by U+FFFD: 120" in note
        for note in open_table(path, Format(encoding="ascii")).notes
    )


def test_notes_are_printed_whatever_the_terminal(tmp_path):
    rows = [(text, ("хорошо", "плохо")[i % 2]) for i, text in enumerate(TEXTS)]
    path = write(tmp_path / "a.csv", as_csv([("text", "label"), *rows]))
    code = f"from ulmfit_exp import Corpus; print(len(Corpus.from_csv({str(path)!r}).df))"
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert done.stdout.split()[-1] == b"24", done.stderr


# Types


def test_numbers_with_missing_values_are_the_same_in_every_batch_of_a_parquet_file(tmp_path):
    labels = [None if i in (3, 400) else i % 2 for i in range(2500)]
    table = pa.table({"text": [f"The soup of day {i}" for i in range(2500)], "label": pa.array(labels, pa.int64())})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=700)
    corpus = Corpus.from_csv(tmp_path / "a.parquet")
    assert corpus.classes == ["0", "1"]
    assert corpus.counts()["unlabelled"] == 2


def test_missing_values_are_no_labels_in_any_format(tmp_path):
    frame = pd.DataFrame({"text": TEXTS, "label": [None, *LABELS[1:-1], float("nan")]}).astype(object)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    rows = [{"text": t, "label": float("nan") if i in (0, 23) else c} for i, (t, c) in enumerate(ROWS)]
    write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    corpora = [Corpus.from_csv(tmp_path / f"a.{kind}") for kind in ("csv", "parquet", "jsonl")] + [
        Corpus.from_df(frame)
    ]
    for corpus in corpora:
        assert corpus.classes == ["bad", "good"]
        assert corpus.counts()["unlabelled"] == 2


# Packed files, and files that are no tables


def test_the_only_file_in_a_zip_is_read_despite_one_without_a_name_and_those_that_macos_adds(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        z.writestr("inside/a.csv", as_csv(HEAD))
        z.writestr("__MACOSX/inside/._a.csv", "x")
        z.writestr("inside/.DS_Store", "x")
        z.writestr(zipfile.ZipInfo(""), "x")
    assert texts(tmp_path / "a.zip", ["text"]) == TEXTS
    assert [text for text, _ in Documents("a", (tmp_path / "a.zip",)).documents()] == TEXTS


def test_a_text_file_is_a_table_only_if_its_first_line_names_a_column_or_tabs_separate_all(tmp_path):
    lines = ["It rained, a lot.", "The text, label and all.", "We left, of course."]
    path = write(tmp_path / "a.txt", "\n".join(lines))
    assert texts(path, ["text"]) == lines
    assert open_table(path, names=("text",), must_be_table=False).kind == "lines"
    assert texts(write(path, "\n".join(["text", *lines])), ["Text"]) == lines
    write(path, as_csv(ROWS, delimiter="\t"))
    labelled = write(tmp_path / "labelled.csv", as_csv(HEAD))
    assert Corpus.from_csv(labelled, unlabelled=path).split("unlabelled")["text"].tolist() == TEXTS


TWICE = pa.BufferOutputStream()
parquet.write_table(pa.Table.from_arrays([pa.array(TEXTS)] * 2, names=["text", "text"]), TWICE)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", '[{"text": "a"}, {"text": ', "object 2: not JSON"),
        ("a.json", '[{"text": "a"}, 3]', "'3' is no object"),
        ("a.json", '[{"text": "a"}]\n[{"text": "b"}]', "after object 1: not JSON"),
        ("a.xls", b"\xd0\xcf\x11\xe0" + bytes(4000), "is not text: save a spreadsheet as CSV"),
        ("a.csv.lzma", lzma.compress(as_csv(HEAD).encode(), lzma.FORMAT_ALONE), "is not text"),
        ("a.parquet", TWICE.getvalue().to_pybytes(), "two columns are named 'text'; rename one"),
        ("a.json", '{\n"data": [{"text": "a"}]\n}', "has all rows in one object"),
        ("a.jsonl", '{"a": 1}\n{\n"a": x}\n', "line 2: not JSON"),
        ("a.csv", "<!DOCTYPE html>\n<html><body>\nSign in, please\n", "is a web page or XML, not a table"),
        ("a.xml", '<?xml version="1.0"?>\n<rows>\n<text>a</text>\n', "is a web page or XML, not a table"),
        ("a.csv", "text,label\na,b\nc,d,e\n", "line 3: 3 columns, but the first line has 2"),
        ("a.csv.gz", gzip.compress(b"x" * 257 + b"ustar", mtime=0), "is a tar archive; unpack it first"),
    ],
)
def test_what_is_no_table_is_refused_with_its_place(name, content, says, tmp_path):
    with pytest.raises(DataError, match=says):
        read_table(write(tmp_path / name, content))


def test_web_pages_may_be_texts(tmp_path):
    pages = [f"<html><body>{text}</body></html>" for text in TEXTS]
    assert texts(write(tmp_path / "a.tsv", "".join(f"{page}\tgood\n" for page in pages)), ["0"]) == pages
    lines = write(tmp_path / "a.txt", "<!DOCTYPE html>\n")
    assert open_table(lines, names=("text",), must_be_table=False).kind == "lines"
