"""Reading of records, the `result.json` of each run, and what can be computed from one or several of them.

Everything that shows a run (table, page, dashboard, model card) reads its record here. `runs.run` writes records.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from .common import DataError, flat, read_json
from .recipe import Phase, in_words

FILE = "result.json"
OTHER_FILES = ("stage.json", "vocab.json", "targets.json", "mistakes.json")
"""JSON files in the folders of runs and stages that are not records."""
TOO_FAR = 2
"""In percentage points: `certainty` warns if a test set is so small that only larger differences are significant."""


def run_folder(path: Path) -> Path:
    """Return the folder of a run, given that folder or its `result.json`."""
    return path.parent if path.name == FILE else path


def folder_with_models(path: Path) -> Path:
    """Return the folder of a run, given that folder or its `result.json`. Raises `DataError` for a committed record."""
    if (folder := run_folder(path)).suffix == ".json":
        raise DataError(f"{folder} is a committed record, without models: `ulmfit-exp reproduce` runs it again")
    return folder


def read(path: Path) -> dict:
    """Read a record from the folder of a finished run, its `result.json`, or a committed record. Raises `DataError`."""
    if not path.exists():
        raise DataError(f"there is no {path}; name the folder of a finished run")
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise DataError(f"{path.parent} is not the folder of a finished run: it has no {path.name}")
    try:
        record = read_json(path)
        for key in ("settings", "dataset", "variant", "replicate", "changes"):
            record[key]  # raises KeyError if it is not a record
        return record
    except (ValueError, RecursionError, KeyError, TypeError) as e:
        raise DataError(f"{path} is damaged or not a record ({type(e).__name__}: {e})") from e


def tokens(record: dict) -> int:
    """Return the number of tokens that a run trained on."""
    return sum(row["tokens"] for epochs in record["history"].values() for row in epochs)


def metrics(row: dict) -> dict[str, float]:
    """Return the losses and errors of one epoch, a row of a record's history."""
    return {k: v for k, v in row.items() if k.startswith(("train", "valid"))}


def find_records(folder: Path) -> list[Path]:
    """Return the paths of the records below a home of runs, or of those committed as DATASET/VARIANT/seed0.json."""
    if (folder / "runs" / "runs").is_dir():  # the folder in which the default home is
        folder = folder / "runs"
    if any((folder / part).is_dir() for part in ("runs", "stages")):  # before the first run is finished it has no runs/
        return sorted((folder / "runs").glob(f"*/{FILE}"))
    return sorted(p for p in folder.rglob("*.json") if p.name not in OTHER_FILES)


def read_all(folders: Iterable[Path]) -> tuple[list[tuple[Path, dict]], list[str]]:
    """Return (path, record) of every record below these folders, and error messages for those that cannot be read."""
    found, left_out = [], []
    for folder in folders:
        for path in find_records(folder):
            try:
                found.append((path, read(path)))
            except (DataError, OSError) as e:
                left_out.append(str(e))
    return found, left_out


def run_name(record: dict) -> str:
    """Name a run in a few words: data set, variant, seed or fold."""
    return f"{record['dataset']}, {record['variant']}, {record['replicate']}"


def settings_in_words(record: dict) -> dict:
    """Return a record's settings by option, such as `recipe.lm.bs`; the phases of a task are one setting, in words."""
    recipe = dict(record["settings"]["recipe"])
    for task in recipe.keys() & {"lm", "clas"}:
        recipe[task] = {**recipe[task], "phases": in_words(tuple(Phase(**p) for p in recipe[task]["phases"]))}
    return flat({**record["settings"], "recipe": recipe})


def evaluation(path: Path) -> Path:
    """Return the folder of a run's evaluation, which has its predictions and its most confident mistakes.

    `path` is the run's folder or its `result.json`. The folder does not exist if the run's stages are elsewhere.
    """
    folder = run_folder(path).resolve()
    return folder.parent.parent / read(folder)["stages"][-1]["path"]


def mistakes(path: Path) -> list[dict]:
    """Return the most confident mistakes on the test set, which the evaluation of a run's `result.json` has saved.

    The list is empty for a committed record, and for a run whose stages are elsewhere.
    """
    if path.name != FILE:
        return []
    kept = evaluation(path) / "mistakes.json"
    try:
        return read_json(kept)
    except (OSError, ValueError):  # absent or damaged
        return []


def error_name(record: dict) -> str:
    """Return what the error of a run is called in a table: with several labels, it is no share of texts."""
    return "error (1 - micro F1)" if record["corpus"].get("multi_label") else "error"


def certainty(record: dict) -> str:
    """Describe in words how certain the test error and the probabilities are."""
    if "test" not in record:
        predictions = f"{record['stages'][-1]['path']}/predictions.csv"
        return f"no test text has a label, so there are no test metrics; the predictions are in {predictions}"
    (low, high), n, c = record["interval"], record["test"]["n"], record["calibration"]
    middle = (low + high) / 2
    apart = 100 * 1.96 * (2 * middle * (1 - middle) / n) ** 0.5
    if multi_label := "micro_f1" in record["test"]:  # the error is not a share of texts
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
    """Return error and loss on the validation and test set, for the run and for each direction; or the perplexities."""
    parts = {"": record, **{f"{d} ": f for d, f in record.get("directions", {}).items()}}
    found = {
        f"{d}{s} {k}": p[s][k] for d, p in parts.items() for s in ("valid", "test") if s in p for k in ("error", "loss")
    }
    return found | {f"perplexity {k}": f["perplexity"] for k, f in record.get("perplexity", {}).items()}


def cost(records: Iterable[dict]) -> tuple[float, float]:
    """Return the seconds of all stages, with shared ones counted once, and as if every record had computed its own."""
    stages = [(s["path"], s["seconds"]) for r in records for s in r["stages"]]
    return sum(dict(stages).values()), sum(seconds for _, seconds in stages)


def environment_changes(record: dict, new: dict) -> Iterator[str]:
    """Yield a line for each difference between the commits, versions and machines of two records."""
    for about in ("commit", "versions", "machine"):
        then, now = (r[about] if isinstance(r[about], dict) else {about: r[about]} for r in (record, new))
        yield from (f"{k} was {then.get(k)}, is {now.get(k)}" for k in then | now if then.get(k) != now.get(k))


def variant_folder(record: dict) -> str:
    """Return the folder of a variant's committed records: DATASET/VARIANT, in characters valid in any file system."""
    names = (record[k].replace(" + ", "+") for k in ("dataset", "variant"))
    return "/".join(re.sub(r"[^\w.+=-]+", "-", name).strip("-") for name in names)
