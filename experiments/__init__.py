"""The experiments, one module each: a dataclass of settings, and a docstring that is the lab record."""

from importlib import import_module
from pathlib import Path

from ulmfit_exp.common import DataError

NAMES = ("sfu", "dbpedia", "squad", "trec", "imdb", "ag_news", "yelp", "own_csv", "pretrain")
RECORDS = Path(__file__).parent / "results"
"""Folder of the committed records, DATASET/VARIANT/seed0.json."""


def experiment(name: str):
    """Return the class of an experiment, a `Command` that can run a record again. Raises `DataError` if unknown."""
    if name not in NAMES:
        raise DataError(f"there is no experiment {name!r}; choose one of {', '.join(NAMES)}")
    return next(c for c in vars(import_module(f".{name}", __name__)).values() if getattr(c, "name", None) == name)


def settings_of(record: dict, **where):
    """Return the settings that a record was made with; `where` sets where to run them. Raises `DataError`."""
    return experiment(record["experiment"]).from_record(record, **where)
