"""DBpedia abstracts."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ulmfit_exp.experiment import Experiment, main


@dataclass(frozen=True, kw_only=True)
class Dbpedia(Experiment):
    name: ClassVar[str] = "dbpedia"

    level: Literal["ontology", "l1", "l2", "l3", "dump"] = "ontology"
    """ontology: the paper's 14 classes. l1-l3: the long abstracts' 9, 70 or 219. dump: from DBpedia's own release."""
    dump_classes: tuple[str, ...] | None = None
    """For the dump: names of ontology classes (default: the 14)."""
    dump_rows: int = 1000
    """For the dump: abstracts a class."""

    @property
    def variant(self) -> str:
        return f"dbpedia-{self.level}"

    @property
    def paper(self) -> float | None:
        return 0.80 if self.level == "ontology" else None

    def load(self, data_dir: Path | None):
        from ulmfit_exp.corpora import dbpedia

        return dbpedia.load(data_dir, self.level, self.dump_classes or dbpedia.ONTOLOGY_CLASSES, self.dump_rows)


if __name__ == "__main__":
    main(Dbpedia)
