"""SFU Review Corpus (Taboada 2008): 400 reviews; in each of 8 categories, 25 recommend the product and 25 do not.

Layout: SFU_Review_Corpus_Raw.zip with CATEGORY/{yes,no}N.txt, Windows-1252 with CRLF.
"""

from pathlib import Path

import pandas as pd

from ..common import DataError
from .archives import members, readable
from .corpus import Corpus
from .sources import Source, find
from .splits import hold_out

SOURCE = Source(
    "sfu/SFU_Review_Corpus_Raw.zip",
    "https://www.sfu.ca/~mtaboada/SFU_Review_Corpus.html",
    unpacked="sfu/SFU_Review_Corpus_Raw",
    by_hand=True,
)
FOLDS = 5


def load(data_dir: Path | None, target: str = "sentiment", fold: int = 0) -> Corpus:
    """Load the reviews labelled by `target`, sentiment (yes/no: recommended or not) or category; test on `fold` (0-4).

    The folds are stratified by category and sentiment and fixed by file name: file k (from 0) of each of the 16 groups,
    in the order of the file numbers, is in fold k mod 5. Both targets have the same splits and share a language model.
    """
    if fold not in range(FOLDS):
        raise DataError(f"--fold {fold}: the folds of SFU are 0 to {FOLDS - 1}")
    path = find(SOURCE, data_dir)
    pattern = r"(?P<category>[A-Z]+)/(?P<sentiment>yes|no)(?P<number>\d+)\.txt"
    with readable(path):
        rows = [
            (m["category"].lower(), m["sentiment"], int(m["number"]), data.decode("cp1252").replace("\r\n", "\n"))
            for m, data in members(path, pattern)
        ]
    cell = ["category", "sentiment"]
    df = pd.DataFrame(rows, columns=[*cell, "number", "text"]).sort_values([*cell, "number"], ignore_index=True)
    df["text"] = df["text"].str.strip()
    sizes = df.groupby(cell).size()
    if len(sizes) != 16 or sizes.nunique() != 1:
        raise DataError(
            f"{path} is not the whole SFU Review Corpus: it should hold as many CATEGORY/yesN.txt as noN.txt in each "
            f"of 8 categories, and has {len(df)} reviews in {len(sizes)} groups"
        )
    test = df.groupby(cell).cumcount() % FOLDS == fold
    df["split"] = test.map({True: "test", False: "train"})
    df["label"] = df[target]
    return Corpus(f"sfu-{target}-fold{fold}", hold_out(df, by=cell))
