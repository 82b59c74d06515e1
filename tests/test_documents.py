"""Texts for a language model: every layout gives the same documents, and bad files a clear error."""

import bz2
import gzip
import json
import lzma
import zipfile
from pathlib import Path

import pytest

from experiments.pretrain import Pretrain
from ulmfit_exp.common import DataError
from ulmfit_exp.corpora.documents import HELD_OUT, Documents, open_documents

TEXTS = ["Ein Haus, a “house”.\nIt has two lines.", "Second, with a comma", "Third", "Fourth <b>text</b>"]
JSONL = "".join(json.dumps({"id": i, "title": "x", "text": t}) + "\n" for i, t in enumerate(TEXTS))
CSV = "id,text\n" + "".join(f'{i},"{t}"\n' for i, t in enumerate(TEXTS))
RUSSIAN = ["Хороший фильм.", "Плохая еда.", "Очень красиво и тихо.", "Грязный номер.", "Да."]
POLISH = ["Świetny film, polecam.", "Zły hotel, łazienka brudna.", "Bardzo miła obsługa.", "Nudny, za długi.", "Źle."]
DOCS = "".join(f'<doc id="{i}" url="x" title="y">\n{t}\n</doc>\n' for i, t in enumerate(TEXTS))


def read(path, **settings) -> list[str]:
    return [text.strip() for text, _ in Documents("x", (path,), **settings).documents()]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", JSONL.encode()),
        ("a.json.xz", lzma.compress(JSONL.encode())),
        ("a.jsonl.gz", gzip.compress(JSONL.encode(), mtime=0)),
        ("a.jsonl.bz2", bz2.compress(JSONL.encode())),
        ("wiki_00", JSONL.encode()),
        ("wiki_01", DOCS.encode()),
        ("wiki_02", DOCS.removesuffix("</doc>\n").encode()),  # cut
        ("wiki_01.bz2", bz2.compress(DOCS.encode())),
        ("a.csv", CSV.encode()),
        ("a.csv.gz", gzip.compress(b"\xef\xbb\xbf" + CSV.encode(), mtime=0)),
        ("a.tsv", CSV.replace("id,", "id\t").replace(',"', '\t"').encode()),
    ],
)
def test_each_layout_gives_the_documents(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert read(tmp_path / name) == TEXTS


def test_a_csv_without_header_and_another_field(tmp_path):
    (tmp_path / "a.csv").write_text("".join(f'1,"{t}"\n' for t in TEXTS))
    assert read(tmp_path / "a.csv", text_col=("1",)) == TEXTS
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"body": t}) + "\n" for t in TEXTS))
    assert read(tmp_path / "a.jsonl", text_col=("body",)) == TEXTS


def test_plain_text_is_cut_at_lines_and_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    lines = [f"line {i} of the text\n" for i in range(4_000)]
    (tmp_path / "b.txt").write_text("".join(lines))
    (tmp_path / "a.txt").write_text("first")
    texts = [t for t, _ in open_documents(str(tmp_path), None).documents()]
    assert texts[0] == "first" and "".join(texts[1:]) == "".join(lines)
    assert len(texts) > 3 and all(t.endswith("\n") for t in texts[1:])


@pytest.mark.parametrize("start", [" \n ", "\n"])  # as published, and with its lines stripped
def test_wikitext_keeps_its_splits_and_loses_its_escapes(start, tmp_path):
    article = start + "= Title {} = \n \n A guest @-@ starring <unk> in 3 @.@ 5 \n \n = = Section = = \n \n More .\n"
    with zipfile.ZipFile(tmp_path / "wikitext-2-v1.zip", "w") as z:
        for split in ("train", "valid", "test"):
            z.writestr(f"wikitext-2/wiki.{split}.tokens", article.format(1) + article.format(2))
    documents = list(open_documents("wikitext-2", tmp_path).documents())
    assert documents == list(open_documents(str(tmp_path / "wikitext-2-v1.zip"), None).documents())
    of_record = Pretrain(corpus=Path("wikitext-2"), data_dir=tmp_path, recipe_name="tiny")  # in records it is a path
    assert documents == list(of_record.texts().documents())
    assert [s for _, s in documents] == ["train", "train", "valid", "valid", "test", "test"]
    assert " ".join(documents[0][0].split()) == "= Title 1 = A guest-starring xxunk in 3.5 = = Section = = More ."


def test_wikitexts_training_file_alone_has_no_texts_to_hold_out(tmp_path):
    (tmp_path / "wiki.train.tokens").write_text("".join(f" \n = Title {i} = \n \n A text . \n" for i in range(9)))
    with pytest.raises(DataError, match=r"all documents are of the train split.* wiki.test.tokens"):
        read(tmp_path / "wiki.train.tokens")


def test_a_text_in_a_folder_may_look_like_a_table(tmp_path):
    for name, text in (("a", "Name\tScore\nAnna\t3\n"), ("b", "Text, as they say,\nis all\n"), ("c", "text\nmore\n")):
        (tmp_path / f"{name}.txt").write_text(text)
    found = [text for text, _ in open_documents(str(tmp_path), None).documents()]
    assert len(found) == 3 and found[2] == "text\nmore\n"


def test_the_name_of_a_file_may_have_any_bytes(tmp_path):
    (tmp_path / "caf\udce9.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))
    assert open_documents(str(tmp_path / "caf\udce9.jsonl"), None).name == "caf\ufffd.jsonl"


def test_one_of_500_documents_is_for_validation_and_one_for_the_test(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": f"text {i}"}) + "\n" for i in range(HELD_OUT + 1)))
    splits = [s for _, s in open_documents(str(tmp_path / "a.jsonl"), None).documents()]
    assert splits == ["valid", "test", *["train"] * (HELD_OUT - 2), "valid"]


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("a.jsonl", JSONL + "{not json\n", r"a.jsonl, line 5: not JSON"),
        ("a.jsonl", JSONL + "3\n", r"a.jsonl, line 5: not JSON \('3' is no object\)"),
        ("a.jsonl", '{"title": "x"}\n', "no column 'text'; it has 'title'. Name another with --text-col"),
        ("a.csv", "id,body\n1,x\n", "no column 'text'; it has 'id', 'body'. Name another with --text-col"),
        ("a.jsonl", JSONL.splitlines(keepends=True)[1], r"1 document\(s\) found"),
        ("a.jsonl.xz", lzma.compress(JSONL.encode())[:-20], "damaged"),
        ("a.jsonl.gz", b"\x1f\x8bno gzip", "damaged"),
    ],
)
def test_the_error_for_a_bad_file_names_it_and_what_to_do(name, content, error, tmp_path):
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=error):
        read(tmp_path / name)


def test_reviews_are_those_of_products_then_the_unlabelled_ones_of_imdb(tmp_path):
    for name, text in (("train/pos/0_9", "labelled"), ("train/unsup/0_0", "film 1"), ("train/unsup/1_0", "film 2")):
        path = tmp_path / "imdb" / "aclImdb" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    products = tmp_path / "multi_domain" / "reviews.jsonl.xz"
    products.parent.mkdir()
    products.write_bytes(lzma.compress(b'{"title": "t", "text": "a kettle"}\n'))
    assert [text for text, _ in open_documents("reviews", tmp_path).documents()] == ["a kettle", "film 1", "film 2"]


def test_the_texts_of_a_zip_may_have_any_encoding_and_any_case_of_suffix(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        for i, encoding in enumerate(["utf-8-sig", "cp1252", "utf-16"]):
            z.writestr(f"{i}.TXT", f"Le film {i} était très long, déjà vu".encode(encoding))
    found = [text for text, _ in open_documents(str(tmp_path / "a.zip"), None).documents()]
    assert found == [f"Le film {i} était très long, déjà vu" for i in range(3)]


@pytest.mark.parametrize("encoding, texts", [("cp1251", RUSSIAN), ("cp1250", POLISH)])
def test_short_files_that_are_not_utf8_are_of_one_encoding_which_is_reported(encoding, texts, tmp_path, capsys):
    for i, text in enumerate(texts):
        (tmp_path / f"{i}.txt").write_bytes(text.encode(encoding))
    assert [text for text, _ in open_documents(str(tmp_path), None).documents()] == texts
    assert f"their encoding {encoding} is a guess (see --encoding)" in capsys.readouterr().err
    (tmp_path / "one.txt").write_bytes("\n".join(texts).encode(encoding))
    next(open_documents(str(tmp_path / "one.txt"), None).documents())
    assert f"the encoding {encoding} is a guess (see --encoding)" in capsys.readouterr().err


def test_files_that_macos_adds_to_a_zip_are_not_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        for i in range(3):
            z.writestr(f"texts/{i}.txt", f"text {i}")
            z.writestr(f"__MACOSX/texts/._{i}.txt", b"\xb0\x00")
    assert read(tmp_path / "a.zip") == ["text 0", "text 1", "text 2"]


def test_a_missing_corpus_is_reported(tmp_path):
    with pytest.raises(DataError, match="no file or folder nowhere; named corpora are wikipedia, wikitext-2, imdb"):
        open_documents("nowhere", tmp_path)
    with pytest.raises(DataError, match=r"wikipedia.*by hand"):
        open_documents("wikipedia", tmp_path)


def test_the_digest_follows_the_files_and_how_they_are_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(JSONL)
    first = Documents("x", (path,)).digest
    assert first == Documents("another name", (path,)).digest != Documents("x", (path,), text_col=("title",)).digest
    path.write_text(JSONL + "\n")
    assert first != Documents("x", (path,)).digest
