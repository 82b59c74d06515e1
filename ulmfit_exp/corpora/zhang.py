"""The text classification data sets of Zhang et al. (2015) in the paper: DBpedia ontology, AG News and Yelp.

Layout: NAME_csv.tar.gz, or the folder it unpacks to, with {train,test}.csv in UTF-8, without a header. Each row has the
class, numbered from 1, and one or two text fields, all in quotes.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..common import DataError
from . import csv_dialect
from .archives import members
from .corpus import Corpus
from .sources import Source, find
from .splits import hold_out


@dataclass(frozen=True)
class Layout:
    """Where a data set comes from and how it is written."""

    source: Source
    classes: tuple[str, ...]
    """Class names, in the order of the class numbers."""
    fields: tuple[str, ...]
    escapes: tuple[tuple[str, str], ...] = ()
    """Escapes with a backslash in the texts and their meanings, replaced in this order."""


def _source(name: str, sha256: str) -> Source:
    url = f"https://s3.amazonaws.com/fast-ai-nlp/{name}.tgz"
    return Source(f"{name}/{name}.tar.gz", url, sha256, unpacked=f"{name}/{name}")


_TITLED = ("title", "content")
_YELP_ESCAPES = (("\\n", "\n"), ('\\"', '"'))
SETS = {
    "dbpedia-ontology": Layout(
        _source("dbpedia_csv", "42db5221ddedddb673a4cabcc5f3a7d869714c878bcfe4ba94b29d14aa38e417"),
        (
            "Company", "EducationalInstitution", "Artist", "Athlete", "OfficeHolder", "MeanOfTransportation",
            "Building", "NaturalPlace", "Village", "Animal", "Plant", "Album", "Film", "WrittenWork",
        ),
        _TITLED,
    ),
    "ag_news": Layout(
        _source("ag_news_csv", "9a8c300eabb45750237fcc669f61cb8a3448f3ef6f6098e1ce340e444f6872be"),
        ("World", "Sports", "Business", "Sci/Tech"),
        _TITLED,
        # A backslash alone marks the end of a line of the article, so the n of "\new" is a letter.
        (("\\$", "$"), ("\\", " ")),
    ),
    "yelp-polarity": Layout(
        _source("yelp_review_polarity_csv", "528f22e286cad085948acbc3bea7e58188416546b0e364d0ae4ca0ce666abe35"),
        ("negative", "positive"),
        ("text",),
        _YELP_ESCAPES,
    ),
    "yelp-full": Layout(
        _source("yelp_review_full_csv", "56006b0a17a370f1e366504b1f2c3e3754e4a3dda17d3e718a885c552869a559"),
        ("1", "2", "3", "4", "5"),
        ("text",),
        _YELP_ESCAPES,
    ),
}  # fmt: skip


def load(name: str, data_dir: Path | None) -> Corpus:
    """Load the data set `name` with its official split; 10% of the training texts become the validation set."""
    layout = SETS[name]
    path = find(layout.source, data_dir)
    parts = {m["split"]: data for m, data in members(path, r"(?P<split>train|test)\.csv")}
    if set(parts) != {"train", "test"}:
        raise DataError(f"{path} does not hold train.csv and test.csv")
    tables = [_read(parts[split], f"{path}, {split}.csv", layout).assign(split=split) for split in ("train", "test")]
    return Corpus(name, hold_out(pd.concat(tables, ignore_index=True)))


def csv_table(data: bytes, where: str, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a publisher's CSV in UTF-8; unless `columns` are given, its first row names them. Raises `DataError`."""
    rows = csv_dialect.Dialect(",").rows(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline=""), strict=True)
    line, cells = 0, []
    try:
        columns = columns or tuple(next(rows, (0, ()))[1])
        for line, row in rows:
            if len(row) != len(columns):
                expected = f"{', '.join(columns[:-1])} and {columns[-1]}" if columns else "a header"
                raise DataError(f"{where}, line {line}: {len(row)} columns where {expected} are expected")
            cells.append(row)
    except (csv.Error, UnicodeDecodeError) as e:
        raise DataError(f"{where}, after line {line}: not a CSV in UTF-8 ({e})") from e
    if len(columns) > csv_dialect.MAX_COLUMNS or len(set(columns)) < len(columns) or not cells:
        raise DataError(f"{where}: no rows, columns of the same name or too many of them")
    return pd.DataFrame(cells, columns=list(columns))


def _read(data: bytes, where: str, layout: Layout) -> pd.DataFrame:
    df = csv_table(data, where, ("class", *layout.fields))
    known = {str(i): c for i, c in enumerate(layout.classes, 1)}
    wrong = df.index[~df["class"].isin(known)]
    if len(wrong):
        row = wrong[0]
        raise DataError(f"{where}, row {row + 1}: class {df['class'][row]!r} is not one of 1 to {len(known)}")
    text = pd.Series([" ".join(cells) for cells in df[list(layout.fields)].to_numpy()])
    for escape, meaning in layout.escapes:
        text = text.str.replace(escape, meaning, regex=False)
    return pd.DataFrame({"text": text.str.strip(), "label": df["class"].map(known)})
