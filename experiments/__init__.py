"""What is run: one module per experiment. Each is a value, and its docstring is its lab record."""

from importlib import import_module
from pathlib import Path

from ulmfit_exp.common import DataError

NAMES = ("sfu", "dbpedia", "squad", "trec", "imdb", "ag_news", "yelp", "own_csv", "pretrain")
RECORDS = Path(__file__).parent / "results"
"""The committed records: DATASET/VARIANT/seed0.json."""


def experiment(name: str):
    """The class of the experiment with that name, a subclass of `Command`; it can run a record again."""
    if name not in NAMES:
        raise DataError(f"there is no experiment {name!r}; choose one of {', '.join(NAMES)}")
    return next(c for c in vars(import_module(f".{name}", __name__)).values() if getattr(c, "name", None) == name)


def settings_of(record: dict, **where):
    """The settings that a record was made with; `where` has those that say where. Raises `DataError`."""
    return experiment(record["experiment"]).from_record(record, **where)
