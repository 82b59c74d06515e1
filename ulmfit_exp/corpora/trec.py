"""TREC-6 question classification (Li & Roth 2002): 5,452 training and 500 test questions, the paper's TREC-6.

Layout: train_5500.label and TREC_10.label, Latin-1, one `COARSE:fine question` per line.
"""

from pathlib import Path

import pandas as pd

from ..common import DataError
from .archives import readable
from .corpus import Corpus
from .sources import Source, find
from .splits import hold_out

_ADDRESS = "https://cogcomp.seas.upenn.edu/Data/QA/QC/"
TRAIN = Source(
    "trec/train_5500.label",
    _ADDRESS + "train_5500.label",
    "9e4c8bdcaffb96ed61041bd64b564183d52793a8e91d84fc3a8646885f466ec3",
)
TEST = Source(
    "trec/TREC_10.label",
    _ADDRESS + "TREC_10.label",
    "033f22c028c2bbba9ca682f68ffe204dc1aa6e1cf35dd6207f2d4ca67f0d0e8e",
)


def load(data_dir: Path | None) -> Corpus:
    """Load the six coarse classes with the official split; 10% of the training questions become the validation set.

    Ten of the 500 test questions are also in the published training set. They are kept, as in all published results.
    """
    df = pd.concat([_read(find(TRAIN, data_dir), "train"), _read(find(TEST, data_dir), "test")], ignore_index=True)
    return Corpus("trec", hold_out(df))


def _read(path: Path, split: str) -> pd.DataFrame:
    with readable(path):
        lines = path.read_text(encoding="latin-1").rstrip("\n").split("\n")
    rows = []
    for number, line in enumerate(lines, 1):
        label, _, question = line.partition(" ")
        coarse, colon, _ = label.partition(":")
        if not colon:
            raise DataError(f"{path}, line {number}: no `COARSE:fine question` but {line[:60]!r}")
        rows.append((question, coarse, split))
    return pd.DataFrame(rows, columns=["text", "label", "split"])
