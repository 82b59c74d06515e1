"""DBpedia abstracts with the ontology class of their subject, in three layouts.

ontology  dbpedia_csv.tar.gz (Zhang et al. 2015), read by `zhang`: 14 classes. The paper's DBpedia.
l1-l3     DBPEDIA_{train,val,test}.csv: text,l1,l2,l3; long abstracts and their ontology path (9/70/219 classes).
dump      the latest release of DBpedia itself: long-abstracts_lang=en.ttl.bz2 and
          instance-types_lang=en_specific.ttl.bz2.
"""

import hashlib
import heapq
import re
from pathlib import Path

import pandas as pd

from ..common import DataError, quote_names
from . import zhang
from .archives import bz2_lines, readable
from .corpus import Corpus
from .encodings import replace_surrogates
from .sources import Source, find
from .splits import hold_out_groups, text_order

CLASSES = {
    split: Source(
        f"dbpedia_classes/DBPEDIA_{split}.csv", "https://www.kaggle.com/datasets/danofer/dbpedia-classes", by_hand=True
    )
    for split in ("train", "val", "test")
}
_DUMP = "https://downloads.dbpedia.org/repo/dbpedia"
ABSTRACTS = Source(
    "dbpedia_dump/long-abstracts_lang=en.ttl.bz2",
    f"{_DUMP}/text/long-abstracts/2022.12.01/long-abstracts_lang=en.ttl.bz2",
)
TYPES = Source(
    "dbpedia_dump/instance-types_lang=en_specific.ttl.bz2",
    f"{_DUMP}/mappings/instance-types/2022.12.01/instance-types_lang=en_specific.ttl.bz2",
)
ONTOLOGY_CLASSES = zhang.SETS["dbpedia-ontology"].classes


def load(
    data_dir: Path | None,
    level: str = "ontology",
    dump_classes: tuple[str, ...] = ONTOLOGY_CLASSES,
    dump_rows: int = 1000,
) -> Corpus:
    """Load DBpedia at `level` ontology, l1, l2, l3 or dump; at most `dump_rows` abstracts per class from the dump."""
    if level == "ontology":
        return zhang.load("dbpedia-ontology", data_dir)
    if level == "dump":
        if dump_rows < 3:
            raise DataError(f"--dump-rows {dump_rows} is impossible: each class needs 3 or more, one for each split")
        df = _dump(find(TYPES, data_dir), find(ABSTRACTS, data_dir), dump_classes, dump_rows)
    else:
        parts = [_level(find(source, data_dir), split, level) for split, source in CLASSES.items()]
        df = pd.concat(parts, ignore_index=True)
        # Some of the 219 classes may have only one row, or none to train on: they can be neither learnt nor evaluated.
        known = set(df.loc[df["split"] == "train", "label"]) & set(df["label"][df["label"].duplicated()])
        df = df[df["label"].isin(known)]
    return Corpus(f"dbpedia-{level}", df)


def _level(path: Path, split: str, level: str) -> pd.DataFrame:
    with readable(path):
        df = zhang.csv_table(path.read_bytes(), str(path))
    if missing := [c for c in ("text", level) if c not in df]:
        raise DataError(f"{path} has no column {missing[0]!r}; it has {quote_names(df.columns)}")
    df = df[df[level] != ""]  # rows with an empty l3, two of three, have no class at that level
    return pd.DataFrame({"text": df["text"], "label": df[level], "split": "valid" if split == "val" else split})


# One N-Triple per line: <resource> <predicate> <object> or "literal"@en .
_TYPE = re.compile(r"<(\S+)> <\S+#type> <http://dbpedia\.org/ontology/(\w+)> \.")
_ABSTRACT = re.compile(r'<(\S+)> <\S+> "(.*)"@en \.')


def _unescape(literal: str) -> str:
    """Return a literal of N-Triples as text; its escapes are a subset of Python's."""
    return replace_surrogates(literal.encode("latin-1", "backslashreplace").decode("unicode-escape", "replace"))


def _dump(types: Path, abstracts: Path, classes: tuple[str, ...], rows: int) -> pd.DataFrame:
    """Join two streams on the resource. Memory holds 2 `rows` names per class and the abstracts found, never the dump.

    The SHA-1 of the names decides which resources are kept, so the order of the dump does not matter. Twice the
    requested rows are kept from the first stream, since some resources have no abstract.
    """
    kept = {c: [] for c in classes}
    for line in bz2_lines(types):
        if (m := _TYPE.match(line)) and (heap := kept.get(m[2])) is not None:
            item = (-int(hashlib.sha1(m[1].encode()).hexdigest(), 16), m[1])
            keep = heapq.heappush if len(heap) < 2 * rows else heapq.heappushpop
            keep(heap, item)
    label = {resource: c for c, heap in kept.items() for _, resource in heap}
    if empty := [c for c, heap in kept.items() if not heap]:
        raise DataError(f"{types} has no resource of class {', '.join(empty)}; see --dump-classes")
    found = []
    for line in bz2_lines(abstracts):
        if (m := _ABSTRACT.match(line)) and m[1] in label and (text := _unescape(m[2]).strip()):
            found.append((text, label[m[1]], m[1]))
    df = pd.DataFrame(found, columns=["text", "label", "resource"])
    if df.empty:
        raise DataError(f"{abstracts} holds no English abstract of the resources in {types}")
    df = df.drop_duplicates("resource")
    df = df.loc[text_order(df["resource"]).sort_values().index].groupby("label", sort=True).head(rows)
    split = pd.concat(hold_out_groups(g["resource"], {"test": 0.2, "valid": 0.1}) for _, g in df.groupby("label"))
    return df.assign(split=split).sort_values(["label", "resource"], ignore_index=True)
