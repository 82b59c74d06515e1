"""Valid files for each loader, and changes to them such as damage or an attacker could cause.

Bytes are flipped, pieces cut, moved and repeated, fields swapped, encodings, names and JSON values replaced; archives
get members that must not be followed.
"""

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
import zlib
from functools import cache
from random import Random

import pandas as pd

from ulmfit_exp.corpora import dbpedia
from ulmfit_exp.corpora.sources import MINIATURE

Files = dict[str, bytes]
"""File path relative to a folder -> content."""
ODD = [
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n", b"\r\n", b'"', b'""', b"'", b",", b";", b"\t",
    b"|", b"\\", b"{", b"}", b"[", b"]", b"null", b"NaN", b"1e999", b"9" * 5000, b"\\ud800", b"\\u0000", b"[" * 100_000,
    b'{"a":' * 50_000, b"<doc id=", b"</doc>", b"=1+cmd|' /C calc'!A0", b"<script>alert(1)</script>", b"\x1a", b"\x0c",
    b"\xc2\x85", b"\xe2\x80\xa8", " ".encode("utf-16"), "\u202eשלום".encode(), "🙂".encode(), b"x" * 1_000_000,
    b" " * 100_000,    b"\n" * 100_000, b'"\n' * 50_000, b"\\U0011FFFF", b"\\uD83D", b"@en", b" = = \n",
]  # fmt: skip
CODECS = ["utf-16", "utf-8-sig", "latin-1", "cp1251", "shift_jis", "utf-32", "utf-7", "cp037"]
NAMES = ["../../escape", "/etc/escape", "a\nb.txt", "", ".", "x" * 300, "\udcff.txt", "con", "a/../../b"]
PARTS = ["\udcff", "a\nb", "🙂", "\u202e", "-rf", "=1+1", "<b>", "'", "a" * 200, " ", "train", "no1"]
"""Names that replace a part of a file's path."""
VALUES = [None, True, 0, -1, 1e308, "", "x" * 100_000, [], {}, [[]], {"a": None}, "\ud800", "\0", 10**400]


def miniature(name: str) -> Files:
    folder = MINIATURE / name
    return {f"{name}/{p.relative_to(folder).as_posix()}": p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def trec_files(rng: Random) -> Files:
    text = [f"{'NUM:date' if i % 2 else 'HUM:ind'} What is caf\xe9 {i} ?\n" for i in range(40)]
    return {"trec/train_5500.label": "".join(text).encode("latin-1"), "trec/TREC_10.label": text[0].encode("latin-1")}


def imdb_files(rng: Random) -> Files:
    places = [(split, label, i) for split in ("train", "test") for label in ("pos", "neg", "unsup") for i in range(4)]
    return {f"imdb/aclImdb/{s}/{c}/{i}_7.txt": f"A {c} film<br />number {i} of {s}.".encode() for s, c, i in places}


def dump_files(rng: Random) -> Files:
    base, types, abstracts = "http://dbpedia.org/resource/", ["# started\n"], []
    for i in range(30):
        types.append(f"<{base}R{i}> <x#type> <http://dbpedia.org/ontology/{('Film', 'Album')[i % 2]}> .\n")
        abstracts.append(f'<{base}R{i}> <x> "R{i} \\"is\\" a \\u00e9\\nof \\\\ kind."@en .\n')
    return {dbpedia.TYPES.path: "".join(types).encode(), dbpedia.ABSTRACTS.path: "".join(abstracts).encode()}


def own_rows() -> pd.DataFrame:
    rows = [(f"The kettle {i}, naïve; it “said”.", ("good", "bad")[i % 2], str(i)) for i in range(24)]
    return pd.DataFrame(rows, columns=["body", "stars", "id"])


def table_files(rng: Random) -> Files:
    rows, kind = own_rows(), rng.choice(["csv", "tsv", "txt", "jsonl", "json", "parquet", "folder", "tables"])
    if kind == "folder":
        return {f"a/{part}/{c}/{i}.txt": t.encode() for part in ("train", "test") for t, c, i in rows.to_numpy()}
    if kind == "tables":
        return {f"a/{part}.csv": rows.to_csv(index=rng.random() < 0.5).encode() for part in ("train", "dev", "test")}
    if kind == "json":
        return {"a.json": rows.to_json(orient="records", indent=rng.choice([None, 2])).encode()}
    if kind == "parquet":
        return {"a.parquet": rows.to_parquet(index=False)}
    if kind == "jsonl":
        return {"a.jsonl": rows.to_json(orient="records", lines=True, force_ascii=rng.random() < 0.5).encode()}
    by = {"csv": rng.choice(",;"), "tsv": "\t", "txt": "|"}[kind]
    data = rows.to_csv(index=False, sep=by, header=rng.random() < 0.8, quoting=rng.choice([0, 1])).encode()
    how, pack = rng.choice([("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
    return {f"a.{kind}{how}": pack(data)}


def documents_files(rng: Random) -> Files:
    texts = own_rows()["body"].tolist()
    kinds = {
        "a.jsonl": "".join(json.dumps({"text": t}) + "\n" for t in texts),
        "a.csv": "text,other\n" + "".join(f'"{t}",1\n' for t in texts),
        "a.tsv": "text\tother\n" + "".join(f"{t}\t1\n" for t in texts),
        "a.txt": "\n".join(texts) * 60,
        "wiki": "".join(f'<doc id="{i}">\n{t}\n</doc>\n' for i, t in enumerate(texts)),
        "wiki.tokens": "".join(f" = Title {i} = \n {t} @-@ <unk> \n" for i, t in enumerate(texts)),
    }
    name = rng.choice(list(kinds))
    how, pack = rng.choice([("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
    return {f"d/{name}{how}": pack(kinds[name].encode())}


@cache
def tiny_model() -> dict:
    import torch

    from ulmfit_exp.method.models import language_model
    from ulmfit_exp.recipe import Model

    torch.manual_seed(0)
    return language_model(8, Model(emb_sz=4, n_hid=6)).state_dict()


def pretrained_files(rng: Random) -> Files:
    """Return a pretrained model as a folder of this package, or as fastai's archive."""
    import torch
    from safetensors.torch import save

    vocab, weights = [f"w{i}" for i in range(8)], tiny_model()
    if rng.random() < 0.5:
        whole = {k: w.clone() for k, w in weights.items()}
        return {"m/forward/model.safetensors": save(whole), "m/forward/vocab.json": json.dumps(vocab).encode()}
    torch.save(weights, pth := io.BytesIO())
    members = {
        "wt103/lstm_wt103.pth": pth.getvalue(),
        "wt103/itos_wt103.pkl": pickle.dumps(vocab, rng.choice([0, 2, 4])),
    }
    if rng.random() < 0.8:
        name = rng.choice(list(members))
        members[name] = mutate(members[name], rng)
    return {"wt103/wt103-fwd.tgz": packed(members, "wt103-fwd.tar.gz", rng)}


def mutate(data: bytes, rng: Random) -> bytes:
    """Make one change to a file's bytes; compressed bytes are usually decompressed for it."""
    for pack, unpack, magic in ((gzip.compress, gzip.decompress, b"\x1f\x8b"), (bz2.compress, bz2.decompress, b"BZh"),
                                (lzma.compress, lzma.decompress, b"\xfd7zXZ")):  # fmt: skip
        if data.startswith(magic) and rng.random() < 0.7:
            try:
                return pack(mutate(unpack(data), rng))
            except (OSError, EOFError, lzma.LZMAError, zlib.error, ValueError, MemoryError):
                break
    return rng.choice(CHANGES)(data[:5_000_000], rng)


def flipped(data: bytes, rng: Random) -> bytes:
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 10, 1000]) if data else 0):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def cut(data: bytes, rng: Random) -> bytes:
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return rng.choice([data[:a], data[a:], data[:a] + data[b:], data[a:b] + data[:a], b"", data[:b] + data[a:]])


def inserted(data: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(ODD) * rng.choice([1, 1, 1, 3]) + data[at:]


def replaced(data: bytes, rng: Random) -> bytes:
    """Replace one, up to 100 or all occurrences of some bytes in the file with others."""
    a, b = (rng.choice([b",", b'"', b"\n", b" ", b";", b"\t", b":", b"{", b"text", b"label", b"1", b"a"]) for _ in "ab")
    return data.replace(a, rng.choice([b, rng.choice(ODD)[:100]]), rng.choice([-1, 1, 100]))[:20_000_000]


def relined(data: bytes, rng: Random) -> bytes:
    """Swap, drop, repeat or shuffle lines; or shuffle the fields of one line."""
    lines = data.split(b"\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        lines[i], lines[j] = lines[j], lines[i]
    elif kind == 1:
        del lines[i : i + rng.choice([1, 10, len(lines)])]
    elif kind == 2:
        lines[i:i] = [lines[i][:200]] * rng.choice([1, 100, 100_000])
    elif kind == 3:
        rng.shuffle(lines)
    else:
        by = rng.choice([b",", b"\t", b" ", b'"'])
        fields = lines[i].split(by)
        rng.shuffle(fields)
        lines[i] = by.join(fields)
    return b"\n".join(lines)


def recoded(data: bytes, rng: Random) -> bytes:
    return data.decode("utf-8", "replace").encode(rng.choice(CODECS), "replace")


def rejsoned(data: bytes, rng: Random) -> bytes:
    """Replace a value somewhere in a JSON file, or in a line of it, with one of `VALUES`."""
    lines = [data] if data[:2] == b"{\n" else data.split(b"\n")
    i = rng.randrange(len(lines))
    try:
        root = place = {"": json.loads(lines[i])}
        while True:
            key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.15:
                break
            place = place[key]
        place[key] = rng.choice(VALUES)
        lines[i] = json.dumps(root[""]).encode()
    except (ValueError, RecursionError):
        return flipped(data, rng)
    return b"\n".join(lines)


CHANGES = [flipped, cut, inserted, inserted, replaced, relined, recoded, rejsoned]


def packed(files: Files, name: str, rng: Random) -> bytes:
    """Return an archive of these files, sometimes with a member that must not be followed."""
    hostile = [(rng.choice(NAMES), b"escape")] if rng.random() < 0.3 else []
    out, members = io.BytesIO(), [*files.items(), *hostile]
    rng.shuffle(members)
    if name.endswith(".zip"):
        with zipfile.ZipFile(out, "w", rng.choice([0, 8, 12, 14])) as z:
            for n, data in members:
                z.writestr(n.encode("utf-8", "replace").decode() or "-", data)
        return out.getvalue()
    with tarfile.open(fileobj=out, mode="w:" + name.rpartition(".")[2], errors="surrogateescape") as t:
        for n, data in members:
            info = tarfile.TarInfo(n)
            if hostile and n == hostile[0][0]:
                info.type = rng.choice([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
                info.linkname = rng.choice(["/etc/passwd", "../..", n, ""])
            info.size = len(data) if info.type == tarfile.REGTYPE else 0
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()
