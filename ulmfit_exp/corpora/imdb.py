"""IMDb reviews (Maas et al. 2011): 25,000 training, 25,000 test and 50,000 unlabelled reviews.

Layout: aclImdb_v1.tar.gz, or the folder it unpacks to, with aclImdb/{train,test}/{pos,neg,unsup}/ID_RATING.txt.
"""

from itertools import chain
from pathlib import Path

import pandas as pd

from ..common import DataError
from .archives import members
from .corpus import Corpus
from .sources import Source, find
from .splits import hold_out, stratified

SOURCE = Source(
    "imdb/aclImdb_v1.tar.gz",
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
    unpacked="imdb/aclImdb",
)


def load(data_dir: Path | None, sample: float = 1.0) -> Corpus:
    """Load the sentiment task (pos/neg) with the official split; 10% of the training reviews become the validation set.

    `sample` is the share of each split's reviews that is kept, stratified. Raises `DataError`.
    """
    if not 0 < sample <= 1:
        raise DataError(f"--sample {sample} is not a share of the reviews: it must be above 0, and at most 1")
    path = find(SOURCE, data_dir)
    pattern = r"(?P<split>train|test)/(?P<label>pos|neg|unsup)/(?P<id>\d+)_\d+\.txt"
    rows = [
        (m["split"], m["label"], int(m["id"]), data.decode("utf-8", errors="replace"))
        for m, data in members(path, pattern)
    ]
    if not rows:
        raise DataError(f"{path} holds no train/pos/ID_RATING.txt: it is not the IMDb corpus")
    order = ["split", "label", "id"]
    df = pd.DataFrame(rows, columns=[*order, "text"]).sort_values(order, ignore_index=True)
    df.loc[df["label"] == "unsup", ["split", "label"]] = ["unlabelled", ""]
    if sample < 1:
        sizes = {split: round(sample * len(part)) for split, part in df.groupby("split")}
        if min(sizes.values()) < 2:
            raise DataError(f"--sample {sample} leaves fewer than two reviews of a split")
        parts = [stratified(part, sizes[split]) for split, part in df.groupby("split")]
        df = df.loc[sorted(chain(*parts))]
    return Corpus("imdb" if sample == 1 else f"imdb-sample{sample:g}", hold_out(df))
