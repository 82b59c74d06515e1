"""Your own labelled texts: a table, or a folder of texts per class.

    ulmfit-exp own_csv --csv reviews.csv --text-col body --label-col stars

Reads Parquet, and CSV, TSV, JSON lines or fastText's format, also compressed. Columns that are not named are guessed. A
summary is printed: encoding, delimiter, classes, lengths, duplicates, and texts that are in more than one split.

Lab record, 2026-11-24, commit 9cebae9366cc: one seed took 8 to 15 minutes on one thread of an AMD EPYC (AVX-512 bf16).
Test error in % of these recipes, and of TF-IDF + logistic regression, on public data sets:

    tweets by author     4.58,  7.46 (--recipe small)
    Reuters-21578 R8     5.89,  2.83 (--recipe features)
    20 Newsgroups       42.59, 14.82 (--recipe features, forward)

What was tried: experiments/notes/own_csv.md
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ulmfit_exp.cli import main
from ulmfit_exp.corpora.options import OwnTable
from ulmfit_exp.runs.settings import Experiment


@dataclass(frozen=True, kw_only=True)
class OwnCsv(OwnTable, Experiment):
    name: ClassVar[str] = "own_csv"
    paths: ClassVar[tuple[str, ...]] = ("csv", "unlabelled")
    in_variant: ClassVar[dict[str, str]] = Experiment.in_variant | {
        "text_col": "text {}",
        "label_col": "label {}",
        "bins": "{} bins",
    }

    csv: Path | None = None
    """A table; or a folder of CLASS/NAME.txt, of SPLIT/CLASS/NAME.txt, or of tables named train, valid and test."""
    log_texts: bool = False
    """Upload the test texts to W&B with their predictions. By default they stay on this machine."""

    @property
    def dataset(self) -> str:
        from ulmfit_exp.corpora.user_table import dataset_name

        return f"own_csv-{dataset_name(self.csv)}" if self.csv and not self.miniature else "own_csv"

    def load(self, data_dir: Path | None):
        from ulmfit_exp.common import DataError
        from ulmfit_exp.corpora.corpus import Corpus
        from ulmfit_exp.corpora.sources import MINIATURE
        from ulmfit_exp.corpora.user_table import load

        if self.csv and data_dir == MINIATURE:
            raise DataError("--miniature reads a bundled table: leave out --csv")
        path = MINIATURE / "dbpedia_csv" / "train.csv" if data_dir == MINIATURE else self.csv
        if path is None:
            raise DataError("name your table with --csv, or try the bundled one with --miniature")
        return Corpus.from_fields(load(path, self))

    def select_labels(self, corpus):
        from ulmfit_exp.common import DataError

        if self.unlabelled and self.labelled_only:
            raise DataError("--labelled-only leaves out the texts of --unlabelled: leave out one of them")
        return super().select_labels(corpus)


if __name__ == "__main__":
    main(OwnCsv)
