"""Corpora: the publishers' layouts, the splits, and bad input."""

import bz2
import http.server
import io
import json
import tarfile
import threading
import zipfile

import pandas as pd
import pytest

from ulmfit_exp.common import DataError
from ulmfit_exp.corpora import dbpedia, imdb, sfu, sources, squad, trec, zhang
from ulmfit_exp.corpora.corpus import Corpus
from ulmfit_exp.corpora.sources import MINIATURE


def texts(corpus, *splits):
    return set(corpus.split(*splits)["text"])


# The miniatures


@pytest.mark.parametrize(
    "load, options",
    [(sfu.load, {"target": t}) for t in ("sentiment", "category")]
    + [(dbpedia.load, {"level": level}) for level in ("ontology", "l1", "l2")]
    + [(squad.load, {"task": t}) for t in ("answerable", "topic")],
)
def test_miniatures_are_large_and_varied_enough(load, options):
    corpus = load(MINIATURE, **options)
    labelled = corpus.split("train", "valid", "test")
    assert len(labelled) >= 160 and labelled["text"].is_unique
    assert corpus.digest == load(MINIATURE, **options).digest


def test_the_two_dbpedia_miniatures_hold_the_same_texts():
    ontology = pd.concat(pd.read_csv(MINIATURE / "dbpedia_csv" / f"{s}.csv", header=None) for s in ("train", "test"))
    assert set(ontology[2]) == texts(dbpedia.load(MINIATURE, "l1"), "train", "valid", "test")


# SFU


def test_sfu_folds_have_every_review_once_and_equal_sizes():
    folds = [sfu.load(MINIATURE, "sentiment", fold) for fold in range(5)]
    tests = [texts(c, "test") for c in folds]
    assert set.union(*tests) == texts(folds[0], "train", "valid", "test")
    assert sum(map(len, tests)) == 160
    for c in folds:
        assert c.split("test")["label"].value_counts().to_dict() == {"yes": 16, "no": 16}
        assert not texts(c, "test") & texts(c, "train", "valid", "unlabelled")


def test_sfu_targets_share_their_splits_so_that_they_share_a_language_model():
    a, b = (sfu.load(MINIATURE, target, 2) for target in ("sentiment", "category"))
    assert a.text_digest == b.text_digest and a.digest != b.digest


def sfu_zip(path, change=lambda name, data: (name, data)):
    path.parent.mkdir(parents=True, exist_ok=True)
    root = MINIATURE / "sfu"
    with zipfile.ZipFile(path, "w") as z:
        for f in sorted(root.rglob("*.txt")):
            z.writestr(*change(str(f.relative_to(root)), f.read_bytes()))
    return path


def test_sfu_reads_the_published_zip_like_the_unpacked_folder(tmp_path):
    sfu_zip(tmp_path / "sfu" / "SFU_Review_Corpus_Raw.zip")
    assert sfu.load(tmp_path).digest == sfu.load(MINIATURE).digest
    assert not any("\r" in t for t in texts(sfu.load(tmp_path), "train"))
    assert any("’" in t or "£" in t for t in texts(sfu.load(tmp_path), "train", "valid", "test"))


def test_part_of_sfu_is_refused(tmp_path):
    path = sfu_zip(tmp_path / "SFU_Review_Corpus_Raw.zip")
    with zipfile.ZipFile(path) as z, zipfile.ZipFile(tmp_path / "part.zip", "w") as part:
        for name in z.namelist()[1:]:
            part.writestr(name, z.read(name))
    (tmp_path / "part.zip").replace(path)
    with pytest.raises(DataError, match=r"not the whole SFU Review Corpus.*159 reviews"):
        sfu.load(tmp_path)


def test_a_member_that_points_outside_is_only_a_name(tmp_path):
    path = sfu_zip(tmp_path / "data" / "sfu" / "SFU_Review_Corpus_Raw.zip", lambda n, d: ("../../../escape/" + n, d))
    before = sorted(tmp_path.rglob("*"))
    assert len(sfu.load(tmp_path / "data").df) == 160
    assert sorted(tmp_path.rglob("*")) == before and path.exists()


# DBpedia


def ontology_tar(folder, train='"1","","a b"\n"1","","c"\n"2","","d e"\n"2","","f"\n'):
    path = folder / "dbpedia_csv" / "dbpedia_csv.tar.gz"
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as t:
        for name, content in (("train", train), ("test", '"1","","g"\n"2","","h"\n')):
            info = tarfile.TarInfo(f"dbpedia_csv/{name}.csv")
            info.size = len(content.encode())
            t.addfile(info, io.BytesIO(content.encode()))
    return path


def test_dbpedia_ontology_archive(tmp_path):
    ontology_tar(tmp_path)
    corpus = dbpedia.load(tmp_path)
    assert corpus.classes == ["Company", "EducationalInstitution"]
    assert corpus.counts() == {"train": 2, "valid": 2, "test": 2, "unlabelled": 0}


@pytest.mark.parametrize("number", ["0", "15", "x"])
def test_dbpedia_class_out_of_range_names_file_and_row(tmp_path, number):
    ontology_tar(tmp_path, f'"1","","a"\n"{number}","","b"\n')
    with pytest.raises(DataError, match=rf"train\.csv, row 2: class '{number}'"):
        dbpedia.load(tmp_path)


def test_dbpedia_csv_without_its_columns(tmp_path):
    ontology_tar(tmp_path, '"1","a"\n')
    with pytest.raises(DataError, match="2 columns where class, title and content"):
        dbpedia.load(tmp_path)
    for name in ("train", "val", "test"):
        (tmp_path / f"DBPEDIA_{name}.csv").write_text("text,first\na,b\n")
    with pytest.raises(DataError, match=r"DBPEDIA_train\.csv has no column 'l1'; it has 'text', 'first'"):
        dbpedia.load(tmp_path, "l1")


# AG News and Yelp


@pytest.mark.parametrize("name, classes", [("ag_news", 4), ("yelp-polarity", 2), ("yelp-full", 5)])
def test_a_miniature_has_every_class_in_every_split_and_no_backslash(name, classes):
    corpus = zhang.load(name, MINIATURE)
    assert corpus.name == name
    assert len(corpus.classes) == classes
    for split in ("train", "valid", "test"):
        assert set(corpus.split(split)["label"]) == set(corpus.classes)
    assert corpus.df["text"].is_unique
    assert not corpus.df["text"].str.contains("\\", regex=False).any()


@pytest.mark.parametrize(
    "name, fields, text",
    [
        ("ag_news", r'"Oil at \$41","the\new price, ""they"" say"', 'Oil at $41 the new price, "they" say'),
        ("yelp-polarity", r'"a \""b\""\n\nc ""d"""', 'a "b"\n\nc "d"'),
        ("yelp-full", r'" one, two "', "one, two"),
    ],
)
def test_ag_news_and_yelp_as_published(tmp_path, name, fields, text):
    layout = zhang.SETS[name]
    folder = tmp_path / layout.source.unpacked
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        rows = [f'"{number}",{fields}\n' for number in range(1, len(layout.classes) + 1)]
        (folder / f"{split}.csv").write_text("".join(2 * rows), encoding="utf-8")
    corpus = zhang.load(name, tmp_path)
    assert texts(corpus, "train", "valid", "test") == {text}
    assert set(corpus.classes) == set(layout.classes)
    (folder / "test.csv").unlink()
    with pytest.raises(DataError, match=r"does not hold train\.csv and test\.csv"):
        zhang.load(name, tmp_path)


# DBpedia's own release


def dump(folder, cut=None):
    base, kind = "http://dbpedia.org/resource/", "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
    types = ["# started 2022-12-01\n"]
    abstracts = []
    for i in range(60):
        name = ("Film", "Album", "Person")[i % 3]
        types.append(f"<{base}R{i}> <{kind}> <http://dbpedia.org/ontology/{name}> .\n")
        if i % 7:
            literal = f'R{i} \\"is\\" a {name}\\u00e9\\nof \\\\ kind {i}.'
            abstracts.append(f'<{base}R{i}> <http://dbpedia.org/ontology/abstract> "{literal}"@en .\n')
    folder.mkdir(parents=True, exist_ok=True)
    for source, lines in ((dbpedia.TYPES, types), (dbpedia.ABSTRACTS, abstracts[::-1])):
        data = bz2.compress("".join(lines).encode())
        path = folder / source.path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data[:cut] if cut else data)


def test_dbpedia_dump_joins_the_two_streams(tmp_path):
    dump(tmp_path)
    corpus = dbpedia.load(tmp_path, "dump", ("Film", "Album"), 12)
    assert corpus.classes == ["Album", "Film"]
    assert corpus.df["label"].value_counts().to_dict() == {"Film": 12, "Album": 12}
    text = corpus.df["text"].iloc[0]
    assert '"is"' in text and "é\nof \\ kind" in text
    for label, text in zip(corpus.df["label"], corpus.df["text"]):
        assert f"a {label}" in text


def test_dbpedia_dump_truncated_or_of_unknown_class(tmp_path):
    dump(tmp_path)
    with pytest.raises(DataError, match="has no resource of class Nonsense"):
        dbpedia.load(tmp_path, "dump", ("Film", "Nonsense"), 5)
    dump(tmp_path, cut=100)
    with pytest.raises(DataError, match=r"ttl\.bz2 is damaged .* download or make it again"):
        dbpedia.load(tmp_path, "dump", ("Film",), 5)


# SQuAD


def test_squad_answerable_splits_by_article():
    corpus = squad.load(MINIATURE, "answerable")
    where = {}
    for article in json.loads((MINIATURE / "squad" / "dev-v2.0.json").read_text())["data"]:
        for p in article["paragraphs"]:
            where[p["context"]] = article["title"]
    split = {}
    for text, name in zip(corpus.df["text"], corpus.df["split"]):
        paragraph, question = text.removeprefix("xxfld 1 ").split(" xxfld 2 ")
        assert question.endswith("?")
        split.setdefault(where[paragraph], set()).add(name)
    assert all(len(names) == 1 for names in split.values())
    assert {s for names in split.values() for s in names} == {"train", "valid", "test"}


def test_squad_topic_splits_by_paragraph_and_keeps_held_out_paragraphs_out_of_the_language_model():
    corpus = squad.load(MINIATURE, "topic")
    split = dict(zip(corpus.df["text"], corpus.df["split"]))
    seen = texts(corpus, "unlabelled")
    for article in json.loads((MINIATURE / "squad" / "dev-v2.0.json").read_text())["data"]:
        for p in article["paragraphs"]:
            names = {split[qa["question"]] for qa in p["qas"]}
            assert len(names) == 1
            assert (p["context"] in seen) == (names == {"train"})


def test_squad_reads_train_and_dev_and_both_versions(tmp_path):
    source = json.loads((MINIATURE / "squad" / "dev-v2.0.json").read_text())
    for name, articles in (("train-v2.0", source["data"][:8]), ("dev-v2.0", source["data"][8:])):
        (tmp_path / f"{name}.json").write_text(json.dumps({"version": "v2.0", "data": articles}))
    corpus = squad.load(tmp_path, "answerable", train=True)
    assert len(corpus.split("test")) == 60  # dev alone is the test split
    for article in source["data"]:
        for p in article["paragraphs"]:
            p["qas"] = [{k: v for k, v in qa.items() if k != "is_impossible"} for qa in p["qas"] if qa["answers"]]
    (tmp_path / "dev-v1.1.json").write_text(json.dumps(source))
    assert len(squad.load(tmp_path, "topic", "v1.1").classes) == 10
    with pytest.raises(DataError, match=r"v1\.1 has no unanswerable questions"):
        squad.load(tmp_path, "answerable", "v1.1")


NO_TITLE = '{"data": [{"title": null, "paragraphs": [{"context": "a", "qas": [{"question": "b"}]}]}]}'


@pytest.mark.parametrize("content", ["{", "[]", '{"data": [{"title": "x"}]}', '{"data": []}', NO_TITLE])
def test_json_that_is_not_squad(tmp_path, content):
    (tmp_path / "dev-v2.0.json").write_text(content)
    with pytest.raises(DataError, match=r"dev-v2\.0\.json (is not SQuAD JSON|holds no questions)"):
        squad.load(tmp_path)


# TREC and IMDb


def test_trec_layout(tmp_path):
    lines = "".join(f"NUM:dist How far is caf\xe9 {i} ?\nHUM:ind Who is {i} ?\n" for i in range(10))
    (tmp_path / "train_5500.label").write_bytes(lines.encode("latin-1"))
    (tmp_path / "TREC_10.label").write_bytes(b"NUM:date When ?\nHUM:desc Who ?\n")
    corpus = trec.load(tmp_path)
    assert corpus.classes == ["HUM", "NUM"] and corpus.counts()["test"] == 2
    assert any("café" in t for t in texts(corpus, "train"))
    (tmp_path / "TREC_10.label").write_bytes(b"no label here\n")
    with pytest.raises(DataError, match=r"TREC_10\.label, line 1"):
        trec.load(tmp_path)


def test_imdb_layout(tmp_path):
    with tarfile.open(tmp_path / "aclImdb_v1.tar.gz", "w:gz") as t:
        for split, labels in (("train", ("pos", "neg", "unsup")), ("test", ("pos", "neg"))):
            for label in labels:
                for i in range(10):
                    data = f"{split} {label} review {i}".encode()
                    info = tarfile.TarInfo(f"aclImdb/{split}/{label}/{i}_{7}.txt")
                    info.size = len(data)
                    t.addfile(info, io.BytesIO(data))
    corpus = imdb.load(tmp_path)
    assert corpus.counts() == {"train": 18, "valid": 2, "test": 20, "unlabelled": 10}
    assert corpus.classes == ["neg", "pos"]
    part = imdb.load(tmp_path, 0.5)
    assert part.counts() == {"train": 8, "valid": 2, "test": 10, "unlabelled": 5} and part.name == "imdb-sample0.5"
    assert set(part.df["text"]) < set(corpus.df["text"]) and set(part.split("test")["label"]) == {"neg", "pos"}
    with pytest.raises(DataError, match="--sample 5"):
        imdb.load(tmp_path, 5.0)


# Splits and checks


def frame(rows):
    return pd.DataFrame(rows, columns=["text", "label", "split"])


GOOD = [(f"{label} {i}", label, split) for label in "ab" for split in ("train", "valid", "test") for i in range(4)]


def test_shots_is_the_number_of_labels_per_class_and_another_draw_has_others():
    whole = dbpedia.load(MINIATURE, "ontology", dbpedia.ONTOLOGY_CLASSES, 1000)
    few, other = whole.with_shots(2), whole.with_shots(2, draw=1)
    assert set(few.split("train")["label"].value_counts()) == {2}
    assert few.text_digest == whole.text_digest
    assert few.digest == whole.with_shots(2).digest
    assert few.digest != other.digest
    with pytest.raises(DataError, match=r"shots is 2.5, of type float"):
        whole.with_shots(2.5)
    with pytest.raises(DataError, match=r"draw is '1', of type str"):
        whole.with_shots(2, draw="1")
    for shots in (1000, 0, -1):
        with pytest.raises(DataError, match=rf"--shots {shots} is impossible: it must be 1 to \d+, .* class, '"):
            whole.with_shots(shots)
    with pytest.raises(DataError, match="--draw -1 is impossible"):
        whole.with_shots(2, draw=-1)


def test_train_size_keeps_the_texts_and_the_held_out_rows():
    whole = sfu.load(MINIATURE, "category")
    small = whole.with_train_size(24)
    with pytest.raises(DataError, match=r"train_size is 24.5, of type float"):
        whole.with_train_size(24.5)
    with pytest.raises(DataError, match="df must be a DataFrame with columns text, label, split"):
        Corpus("a", whole.df.drop(columns="split"))
    with pytest.raises(DataError, match="df has two columns of the same name"):
        Corpus("a", pd.concat([whole.df, whole.df[["text"]]], axis=1))
    assert small.split("train")["label"].value_counts().to_dict() == dict.fromkeys(whole.classes, 3)
    assert texts(small, "train", "unlabelled") == texts(whole, "train")
    assert texts(small, "test") == texts(whole, "test") and small.text_digest == whole.text_digest
    assert texts(small, "train") < texts(whole.with_train_size(40), "train")
    for size in range(8, 112, 9):
        assert whole.with_train_size(size).counts()["train"] == size
    for impossible in (0, 7, 1000):
        with pytest.raises(DataError, match=f"--train-size {impossible}"):
            whole.with_train_size(impossible)
    assert small.labelled().counts() == {**small.counts(), "unlabelled": 0}
    assert texts(small.labelled(), "train") == texts(small, "train")


@pytest.mark.parametrize(
    "rows, message",
    [
        ([*GOOD, ("  ", "a", "train")], "1 empty text.*split 'train' with label 'a'"),
        ([*GOOD, ("x", "", "train")], "1 train or valid row.* without a label"),
        ([*GOOD, ("x", "c", "train")], "class 'c' has one example"),
        ([*GOOD, ("x", "c", "test"), ("y", "c", "test")], "class 'c' has no training example"),
        ([*GOOD, ("x", "a", "dev")], "unknown split"),
        ([r for r in GOOD if r[2] != "valid"], "no rows in the valid split"),
    ],
)
def test_rows_that_cannot_be_used_are_named(rows, message):
    with pytest.raises(DataError, match=message):
        Corpus("mine", frame(rows))


def test_the_text_digest_sees_texts_and_held_out_rows_but_no_labels():
    a = Corpus("a", frame(GOOD))
    swapped = Corpus("b", frame([(t, {"a": "b", "b": "a"}[label], s) for t, label, s in GOOD]))
    moved = Corpus("c", frame([(t, label, {"valid": "test", "test": "valid"}.get(s, s)) for t, label, s in GOOD]))
    assert a.text_digest == swapped.text_digest != moved.text_digest
    assert a.digest != swapped.digest


# Finding files


def test_missing_file_without_network_names_file_address_and_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sources.pooch, "retrieve", raises(OSError("no network")))
    data = tmp_path / "data"
    data.mkdir()
    with pytest.raises(DataError) as e:
        trec.load(data)
    for part in ("train_5500.label", trec.TRAIN.url, str(data / "trec")):
        assert part in str(e.value)
    assert "--miniature" not in str(e.value)  # there are no bundled questions
    (tmp_path / "cache" / "ulmfit_exp" / "ag_news_csv").mkdir(parents=True)  # as a download that failed leaves it
    with pytest.raises(DataError, match="or run the experiment with --miniature"):
        zhang.load("ag_news", data)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def raises(error):
    def call(*args, **kwargs):
        raise error

    return call


@pytest.fixture
def server(tmp_path):
    """A publisher on loopback; yields its address and the folder that it serves."""
    folder = tmp_path / "publisher"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as s:
        threading.Thread(target=s.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{s.server_port}", folder
        s.shutdown()


def test_download_is_kept_only_with_the_published_digest(tmp_path, monkeypatch, server):
    address, folder = server
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (folder / "x.txt").write_text("hello")
    digest = sources.sha256(folder / "x.txt")
    good = sources.Source("set/x.txt", f"{address}/x.txt", digest)
    path = sources.find(good, None)
    assert path.read_text() == "hello" and sources.find(good, None) == path
    path.unlink()
    (folder / "x.txt").write_text("tampered")
    with pytest.raises(DataError, match=r"SHA256 hash .* does not match"):
        sources.find(good, None)
    assert not list((tmp_path / "cache").rglob("*.txt*"))


def test_sha256sums_of_the_data_directory_are_checked(tmp_path):
    path = sfu_zip(tmp_path / "sfu" / "SFU_Review_Corpus_Raw.zip")
    (tmp_path / "SHA256SUMS").write_text(f"{sources.sha256(path)}  ./sfu/SFU_Review_Corpus_Raw.zip\n")
    sfu.load(tmp_path)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DataError, match="does not have the SHA-256 listed"):
        sfu.load(tmp_path)


def test_corrupt_archive_names_itself(tmp_path):
    path = sfu_zip(tmp_path / "sfu" / "SFU_Review_Corpus_Raw.zip")
    data = bytearray(path.read_bytes())
    data[100:140] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"SFU_Review_Corpus_Raw\.zip is damaged"):
        sfu.load(tmp_path)
    path.write_bytes(b"not an archive")
    with pytest.raises(DataError, match=r"SFU_Review_Corpus_Raw\.zip is damaged"):
        sfu.load(tmp_path)


def test_an_experiment_without_a_miniature_is_an_error_that_reads_no_real_data():
    for load in (trec.load, imdb.load):
        with pytest.raises(DataError, match="no miniature"):
            load(MINIATURE)


def test_missing_data_directory(tmp_path):
    with pytest.raises(DataError, match="is not a folder; see --data-dir"):
        sfu.load(tmp_path / "nowhere")


# The real data, where it is there


def test_real_data_has_the_published_sizes(shared):
    assert sfu.load(shared, "category", 4).counts() == {"train": 288, "valid": 32, "test": 80, "unlabelled": 0}
    assert sum(dbpedia.load(shared).counts().values()) == 9998
    assert len(dbpedia.load(shared, "l1").classes) == 9
    assert len(squad.load(shared, "topic").classes) == 35
    assert trec.load(shared).counts() == {"train": 4907, "valid": 545, "test": 500, "unlabelled": 0}
