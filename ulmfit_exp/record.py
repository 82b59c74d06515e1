"""A run's record, `result.json`: reading it, and what follows from one or several of them.

Whatever shows a run (table, page, dashboard, model card) reads it here. `runs.run` writes records.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from .common import DataError, flat, read_json
from .recipe import Phase, in_words

FILE = "result.json"
NO_RECORDS = ("stage.json", "vocab.json", "mistakes.json")
"""Other JSON files in the folders of runs and stages."""
TOO_FAR = 2
"""Points of error; a test set on which only greater differences are significant is called small."""


def run_folder(path: Path) -> Path:
    """The folder of a run, which its `result.json` names as well."""
    return path.parent if path.name == FILE else path


def read(path: Path) -> dict:
    """The record of a finished run: its folder, its `result.json`, or a committed record. Raises `DataError`."""
    if not path.exists():
        raise DataError(f"there is no {path}; name the folder of a finished run")
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise DataError(f"{path.parent} is not the folder of a finished run: it has no {path.name}")
    try:
        record = read_json(path)
        for key in ("settings", "dataset", "variant", "replicate", "changes"):
            record[key]  # a KeyError where it is no record
        return record
    except (ValueError, RecursionError, KeyError, TypeError) as e:
        raise DataError(f"{path} is damaged or not a record ({type(e).__name__}: {e})") from e


def tokens(record: dict) -> int:
    """Tokens that a run trained on."""
    return sum(row["tokens"] for epochs in record["history"].values() for row in epochs)


def metrics(row: dict) -> dict[str, float]:
    """The losses and errors in an epoch of a record's history."""
    return {k: v for k, v in row.items() if k.startswith(("train", "valid"))}


def find_records(folder: Path) -> list[Path]:
    """The records below a folder: of a home of runs, or committed as DATASET/VARIANT/seed0.json."""
    if any((folder / part).is_dir() for part in ("runs", "stages")):  # before the first run is finished it has no runs/
        return sorted((folder / "runs").glob(f"*/{FILE}"))
    return sorted(p for p in folder.rglob("*.json") if p.name not in NO_RECORDS)


def read_all(folders: Iterable[Path]) -> tuple[list[tuple[Path, dict]], list[str]]:
    """(path, record) of every record below some folders, and why others were left out."""
    found, left_out = [], []
    for folder in folders:
        for path in find_records(folder):
            try:
                found.append((path, read(path)))
            except (DataError, OSError) as e:
                left_out.append(str(e))
    return found, left_out


def run_name(record: dict) -> str:
    """A run in a few words: data set, variant, seed or fold."""
    return f"{record['dataset']}, {record['variant']}, {record['replicate']}"


def settings_in_words(record: dict) -> dict:
    """A record's settings by the option that sets each, such as `recipe.lm.bs`; a schedule is one of them, in words."""
    recipe = dict(record["settings"]["recipe"])
    for task in recipe.keys() & {"lm", "clas"}:
        recipe[task] = {**recipe[task], "phases": in_words(tuple(Phase(**p) for p in recipe[task]["phases"]))}
    return flat({**record["settings"], "recipe": recipe})


def evaluation(path: Path) -> Path:
    """The folder that a run's evaluation left, with its predictions and its most confident mistakes.

    `path` is the run's folder or its `result.json`. For a run whose stages are elsewhere, there is no such folder.
    """
    folder = run_folder(path).resolve()
    return folder.parents[1] / read(folder)["stages"][-1]["path"]


def mistakes(path: Path) -> list[dict]:
    """The most confident mistakes on the test set that the evaluation of a run's `result.json` left.

    A committed record, and a run whose stages are elsewhere, has none.
    """
    if path.name != FILE:
        return []
    kept = evaluation(path) / "mistakes.json"
    try:
        return read_json(kept)
    except (OSError, ValueError):  # absent or damaged
        return []


def certainty(record: dict) -> str:
    """How certain the test error and the probabilities are, in words."""
    if "test" not in record:
        return "no test text has a label: there are no test figures, and predictions.csv has the predictions"
    (low, high), n, c = record["interval"], record["test"]["n"], record["calibration"]
    middle = (low + high) / 2
    apart = 100 * 1.96 * (2 * middle * (1 - middle) / n) ** 0.5
    if multi_label := "micro_f1" in record["test"]:  # the error is no share of texts
        apart = 100 * (high - low) / 2**0.5
    text = f"test error: 95 % interval {100 * low:.1f} to {100 * high:.1f}"
    if apart > TOO_FAR:
        text += f"; with {n:,} test texts, differences between two models below {apart:.0f} points are not significant"
    if "macro_f1" in record["test"]:
        text += f"\nmacro F1 on test {100 * record['test']['macro_f1']:.1f} %"
    if multi_label:
        text += f"; all labels correct for {100 * record['test']['subset_accuracy']:.1f} % of the texts"
    before, after = (100 * c["test ece"][k] for k in ("before", "after"))
    bound = ", the lowest or highest that is tried: use more validation texts" if c.get("at_bound") else ""
    t = f"T = {c['temperature']:.2f}{bound}"
    return f"{text}\nECE on test {before:.1f} %; after temperature scaling ({t}) {after:.1f} %"


def figures(record: dict) -> dict[str, float]:
    """Error and loss on valid and test, of all directions and each; or perplexities."""
    parts = {"": record, **{f"{d} ": f for d, f in record.get("directions", {}).items()}}
    found = {
        f"{d}{s} {k}": p[s][k] for d, p in parts.items() for s in ("valid", "test") if s in p for k in ("error", "loss")
    }
    return found | {f"perplexity {k}": f["perplexity"] for k, f in record.get("perplexity", {}).items()}


def cost(records: Iterable[dict]) -> tuple[float, float]:
    """Seconds that these records' stages took, each counted once; and if every record had computed its own."""
    stages = [(s["path"], s["seconds"]) for r in records for s in r["stages"]]
    return sum(dict(stages).values()), sum(seconds for _, seconds in stages)


def environment_changes(record: dict, new: dict) -> Iterator[str]:
    """What differs between the commits, versions and machines of two records, a line each."""
    for about in ("commit", "versions", "machine"):
        then, now = (r[about] if isinstance(r[about], dict) else {about: r[about]} for r in (record, new))
        yield from (f"{k} was {then.get(k)}, is {now.get(k)}" for k in then | now if then.get(k) != now.get(k))


def variant_folder(record: dict) -> str:
    """Where the records of a run's variant are committed: DATASET/VARIANT, in letters that every file system takes."""
    names = (record[k].replace(" + ", "+") for k in ("dataset", "variant"))
    return "/".join(re.sub(r"[^\w.+=-]+", "-", name).strip("-") for name in names)
