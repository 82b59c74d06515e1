"""Files and texts that mean harm or make no sense: read, refused in one line, or shown as they are; never followed."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import tarfile
import time
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import FORWARD, QUIET
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from experiments.own_csv import OwnCsv
from ulmfit_exp.cli import run
from ulmfit_exp.common import DataError
from ulmfit_exp.corpora import archives, documents
from ulmfit_exp.corpora.corpus import Corpus
from ulmfit_exp.corpora.encodings import replace_surrogates
from ulmfit_exp.corpora.labels import NO_LABEL
from ulmfit_exp.corpora.table import read_table
from ulmfit_exp.inference import predict
from ulmfit_exp.method.tokenizer import words
from ulmfit_exp.method.tokens import encode, read_tokens, write_tokens

ROOT = Path(__file__).parents[1]
ZEROS = bytes(2**26)
PACKED = cache(lambda pack: pack(ZEROS))
GB_10 = 160  # times ZEROS


# Archives


@pytest.mark.slow
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
@pytest.mark.parametrize("inside", ["table", "documents", "tar"])
def test_ten_gigabytes_of_zeros_are_refused_soon(pack, inside, tmp_path):
    path = tmp_path / {"table": "a.csv.gz", "documents": "a.jsonl.gz", "tar": "a.tar.gz"}[inside]
    head = tarfile.TarInfo("a.txt")
    head.size = GB_10 * len(ZEROS)
    with open(path, "wb") as f:
        f.write(pack(head.tobuf()) if inside == "tar" else b"")
        for _ in range(GB_10):
            f.write(PACKED(pack))
    with pytest.raises(DataError, match=r"unpacks to more than 100 times its size"):
        Corpus.from_csv(path) if inside == "table" else list(documents.open_documents(str(path), None).documents())


def test_bombs_of_a_zip_a_sparse_tar_and_parquet_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z:
        z.writestr("a.csv", ZEROS * 2)
    sparse = tarfile.TarInfo("a.txt")
    sparse.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(10**10), "GNU.sparse.numblocks": "1"}
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as t:
        t.addfile(sparse)
    same = pd.DataFrame({"body": ["x" * 10_000] * 20_000, "stars": ["a", "b"] * 10_000})
    same.to_parquet(tmp_path / "a.parquet")
    for name in ("a.zip", "a.parquet"):
        with pytest.raises(DataError, match="unpacks to more than"):
            Corpus.from_csv(tmp_path / name)
    for name in ("a.zip", "a.tar"):
        with pytest.raises(DataError, match="unpacks to more than"):
            list(archives.members(tmp_path / name, r"a\.(csv|txt)"))


def test_links_in_an_archive_are_never_followed(tmp_path):
    (tmp_path / "secret").write_text("secret")
    kinds = {tarfile.SYMTYPE: "../secret", tarfile.LNKTYPE: str(tmp_path / "secret"), tarfile.FIFOTYPE: ""}
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as t:
        for i, (kind, target) in enumerate(kinds.items()):
            link = tarfile.TarInfo(f"link{i}.txt")
            link.type, link.linkname = kind, target
            t.addfile(link)
        for name in ("../../up.txt", "/absolute.txt", "a\nb.txt", "\udcff.txt"):
            info = tarfile.TarInfo(name)
            info.size = 4
            t.addfile(info, io.BytesIO(b"text"))
    before = sorted(tmp_path.rglob("*"))
    assert [data for _, data in archives.members(tmp_path / "a.tar.gz", r".*\.txt")] == [b"text"] * 4
    assert sorted(tmp_path.rglob("*")) == before and not Path("/absolute.txt").exists()


# Texts, labels and names

HOSTILE = [
    "🙂👩‍👧", "\u202eשלום‏ עולם", "nul\0nul", "\ud83d alone", "=HYPERLINK(\"http://x\")", "<script>alert(1)</script>",
    "@SUM(1+1)*cmd|' /C calc'!A0", "xxbos xxpad xxfld 1", "\x1b[31mred\x07", "line\u2028line\x85line", "\ufeff", "'",
]  # fmt: skip
LABELS = ["=1+1|' /C calc'!A0", "<img src=x onerror=alert(1)>", "\ud800"]


@pytest.mark.slow
def test_hostile_texts_and_labels_go_through_a_whole_run(tmp_path):
    rows = [{"body": f"{text} {i} said so", "stars": LABELS[i % 3]} for i in range(7) for text in HOSTILE]
    path = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9\n=1+1 .jsonl"))
    path.write_text("\n".join(json.dumps(row) for row in [*rows, {"body": "x" * 1_000_000, "stars": LABELS[0]}]))
    where = run(OwnCsv(csv=path, recipe=FORWARD, home=tmp_path / "home", **QUIET))
    record = json.loads(where.read_text(encoding="utf-8"))
    assert record["corpus"]["classes"] == sorted(map(replace_surrogates, LABELS)) and "\n" not in str(where)
    evaluated = (tmp_path / "home" / record["stages"][-1]["path"] / "predictions.csv").read_text(encoding="utf-8")
    said = predict.load(where.parent).predict([*HOSTILE, "", " " * 1000, "y" * 100_000])
    assert len(said) == len(HOSTILE) + 3 and np.isfinite(said["confidence"]).all()
    for line in csv.reader(io.StringIO(evaluated)):
        assert not any(cell.startswith(("=", "@", "+")) for cell in line)


@pytest.mark.slow
def test_a_hundred_thousand_empty_rows_are_noted(tmp_path):
    good = [f"text {i},{'ab'[i % 2]}" for i in range(30)]
    (tmp_path / "a.csv").write_text("\n".join(["body,stars", *good, *['"",a'] * 100_000, *[""] * 1000]))
    corpus = Corpus.from_csv(tmp_path / "a.csv")
    assert len(corpus.df) == 30
    assert any("rows without a text: 100,000" in n for n in corpus.notes)


def test_a_folder_whose_file_names_are_not_text(tmp_path):
    for i in range(12):
        folder = bytes(tmp_path) + b"/d/" + (b"b\xff\n" if i % 2 else "🙂".encode())
        os.makedirs(folder, exist_ok=True)
        with open(folder + f"/{i}\n\udce9.txt".encode("utf-8", "surrogateescape"), "w") as f:
            f.write(f"text {i}")
    corpus = Corpus.from_csv(tmp_path / "d")
    assert corpus.classes == ["b\ufffd", "🙂"]
    assert "\n".join(corpus.notes).encode()


def test_missing_values_and_numbers_as_labels():
    rows = [
        (f"{label} {i}", label, split) for label in (1, 2) for split in ("train", "valid", "test") for i in range(2)
    ]
    df = pd.DataFrame(rows, columns=["text", "label", "split"])
    assert Corpus("mine", df).classes == ["1", "2"]
    df["text"] = df["text"].astype(object)
    df.loc[3, "text"] = None
    with pytest.raises(DataError, match="mine: column 'text' has missing values"):
        Corpus("mine", df)
    assert len(str(DataError("x" * 10_000))) < 1100


# Any text at all

LAX = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
TEXT = st.text(st.characters(exclude_categories=()), max_size=60)  # lone surrogates and NUL too
CELL = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=40)


@LAX
@given(rows=st.lists(st.tuples(CELL.filter(str.strip), st.sampled_from("ab")), min_size=8, max_size=30), data=st.data())
def test_a_table_is_the_same_in_every_format(rows, data, tmp_path):
    """Texts and labels come back as they were written, whatever the delimiter, the encoding or the packing."""
    rows = [(f"{text} of row {i}", label, f"{i}") for i, (text, label) in enumerate(rows)]
    df = pd.DataFrame(rows, columns=["body", "label", "id"])
    kind = data.draw(st.sampled_from(["csv", "tsv", "jsonl", "parquet"]))
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        df.to_parquet(path)
    elif kind == "jsonl":
        df.to_json(path, orient="records", lines=True, force_ascii=data.draw(st.booleans()))
    else:
        by = "\t" if kind == "tsv" else data.draw(st.sampled_from(",;|"))
        df.to_csv(
            path, sep=by, index=False, quoting=csv.QUOTE_ALL, lineterminator=data.draw(st.sampled_from(["\n", "\r\n"]))
        )
    if kind != "parquet":
        pack = data.draw(st.sampled_from([bytes, gzip.compress, bz2.compress, lzma.compress]))
        path.write_bytes(pack(path.read_bytes()))
    read, table = read_table(path)
    assert read.to_numpy().tolist() == [list(row) for row in rows], table


@pytest.mark.slow
@LAX
@given(texts=st.lists(TEXT, min_size=16, max_size=30, unique=True), labels=st.just([*"ab"] * 15))
@example(texts=[*map(str, range(16)), "NAN", "NAN"], labels=[*"ab"] * 9)
def test_a_corpus_is_split_without_loss_or_overlap_or_refused(texts, labels, tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"t": t, "label": c}) + "\n" for t, c in zip(texts, labels)))
    try:
        corpus = Corpus.from_csv(tmp_path / "a.jsonl")
    except DataError:
        return
    kept = [replace_surrogates(t) for t, _ in zip(texts, labels) if replace_surrogates(t).strip()]
    missing = [t for t in kept if t.strip() in NO_LABEL]
    kept = [t for t in kept if len(missing) < 2 or t not in missing]
    assert sorted(corpus.df["text"]) == sorted(kept)
    sides = corpus.split("train", "valid", "test").groupby("text")["split"].nunique()
    assert (
        (sides == 1).all() and len(corpus.digest) == 64 and all(corpus.counts()[s] for s in ("train", "valid", "test"))
    )


@LAX
@given(texts=st.lists(TEXT, min_size=1, max_size=8))
def test_tokens_are_the_same_from_memory_and_from_the_disk(texts, tmp_path):
    write_tokens(((t, "train") for t in texts), tmp_path, max_vocab=1000, min_freq=1, processes=1)
    tokens = read_tokens(tmp_path)
    again = encode(texts, tokens.vocab)
    for i, text in enumerate(texts):
        split = words(text)
        assert split[0] == "xxbos" and all(isinstance(w, str) and w for w in split) and split == words(text)
        assert [tokens.vocab[t] for t in tokens[i]] == split and tokens[i].tolist() == again[i].tolist()


@pytest.mark.slow
def test_the_same_command_in_a_fresh_home_gives_the_same_figures_if_the_clock_jumps(finished, tmp_path, monkeypatch):
    calm = json.loads(run(finished).read_text())
    jumps, real = iter(np.random.default_rng(0).integers(-(10**8), 10**8, 1_000_000).tolist()), time.time
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    wild = json.loads(run(replace(finished, home=tmp_path / "wild")).read_text())
    assert all(calm[k] == wild[k] for k in ("valid", "test", "directions", "baseline", "corpus", "calibration"))
    assert all(0 <= s["seconds"] < 600 for s in wild["stages"])


@pytest.mark.slow
def test_the_fuzzer_finds_nothing_in_its_first_inputs(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts" / "dev")
    import fuzz

    for name in fuzz.LOADERS:
        errors = [fuzz.attempt(name, 5, n, 60) for n in range(12)]
        assert all(map(fuzz.clear, errors)) and not all(errors), name
    assert not fuzz.clear(KeyError("x")) and not fuzz.clear(DataError("")) and not fuzz.clear(fuzz.Hang())
