"""Show records in trackio, a local dashboard that needs no account and no network.

A data set becomes a trackio project, and a record, with the stage folders that it names, a run:

    final/test_error, final/baseline_test_error, ...             one value per run
    clas/forward/valid_error_rate, clas/forward/train_loss ...   per epoch, drawn over training steps
    clas/forward/batch_loss, clas/forward/lr/group_0 ...         per training step, if the stage's folder exists
    test/mistakes, test/classes, test/confusion                  tables
"""

import io
import os
import re
import webbrowser
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pandas as pd
from tqdm.auto import tqdm

from ..common import DataError, locked, sha256
from ..record import FILE, find_records, metrics, mistakes, read, settings_in_words

FIRST = ("test_error", "baseline_test_error", "forward_test_error", "backward_test_error", "valid_error", "*")
ORDER = ",".join([*(f"final/{metric}" for metric in FIRST), "clas/*", "lm/*"])
VARIANTS, MOST = 2, 10
"""The dashboard opens with the newest `VARIANTS` variants, at most `MOST` runs of each; others can be selected."""
POINTS = 1_000
"""Maximum number of training steps per stage, evenly spaced; a plot is no wider than this."""
CLASSES = 50
"""Maximum number of classes for which the confusion matrix is shown."""
WORDS = 8
"""Number of words shown per mistake: those that count most for the predicted class, or for the label `explained`."""


@dataclass(frozen=True)
class Shown:
    """A record as a trackio run."""

    project: str
    name: str
    time: str
    """When the record was last modified, in ISO 8601."""
    config: dict
    rows: list[dict]
    """Metrics and tables, each row with its `step`."""


def open_trackio(home: Path):
    """Return trackio's storage, offline and in a folder of `home`. Must be called before trackio is imported."""
    os.environ["TRACKIO_DIR"] = str(home.resolve() / "trackio")
    os.environ["TRACKIO_PLOT_ORDER"] = ORDER
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from trackio.sqlite_storage import SQLiteStorage

    return SQLiteStorage


def update(store, home: Path, records: Path) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Synchronise trackio with the records of `home` and of the folder `records`: add new ones, delete all others.

    Returns the number of new runs and of all runs for each project, and an error message for each record left out.
    """
    (home / "trackio").mkdir(parents=True, exist_ok=True)  # trackio's own lock gives up after ten seconds
    with locked(home / "trackio" / "update.lock", "another dashboard is reading the records; waiting for it"):
        runs = {r["id"]: (p, r["name"]) for p in store.get_projects() for r in store.get_run_records(p)}
        paths, left_out = {}, []
        for path in [*find_records(records), *find_records(home)]:  # of two identical ones, the one in `home` is used
            try:
                paths[sha256(path)[:12]] = path  # a changed record is a new run
            except OSError as e:
                left_out.append(str(e))
        for deleted in set(runs) - set(paths):
            store.delete_run(*runs[deleted], deleted)
        new = Counter()
        for id in tqdm([id for id in paths if id not in runs], desc="records", unit=" records", disable=None):
            try:
                shown = read_record(paths[id])
                _add(store, id, shown)
                new[shown.project] += 1
            except (DataError, OSError) as e:
                left_out.append(str(e))
        counts = {project: (new[project], len(store.get_run_records(project))) for project in store.get_projects()}
        for project in [project for project, (_, n) in counts.items() if not n]:
            del counts[project]
            for file in (home / "trackio").glob(f"{project}.db*"):
                file.unlink()
    return counts, left_out


def _add(store, id: str, shown: Shown) -> None:
    """Add a run in one transaction, so that an interruption leaves nothing behind."""
    steps = [row["step"] for row in shown.rows]
    metrics = [{k: v for k, v in row.items() if k != "step"} for row in shown.rows]
    store.bulk_log(shown.project, shown.name, metrics, steps, [shown.time] * len(steps), shown.config, run_id=id)


def show(store, port: int | None, browser: bool) -> None:
    """Serve trackio on 127.0.0.1 until interrupted, opening with the newest variants of the newest project.

    Prints an address for each project, because choosing a project in trackio's own menu would draw all of its runs.
    Raises `OSError` if the port is taken.
    """
    import trackio  # imported after `open_trackio`, which sets the folder of its data

    runs = {project: store.get_run_records(project) for project in store.get_projects()}  # the newest last
    projects = sorted(filter(runs.get, runs), key=lambda project: runs[project][-1]["created_at"], reverse=True)
    store.get_projects = lambda: projects  # the page opens with the first, by default alphabetically
    with redirect_stdout(io.StringIO()):  # it would print an address that allows renaming and deleting runs
        _, url, *_ = trackio.show(
            open_browser=False, host="127.0.0.1", share=False, server_port=port, block_thread=False
        )
    found = [f"{url}?smoothing=0&run_ids={','.join(_opening(runs[p]))}&project={p}" for p in projects] or [url]
    found[0] = found[0].partition("&project=")[0]  # shown by default; with a name there is no project menu
    print(f"{found[0]}   (Ctrl-C ends it)", *found[1:], sep="\n", flush=True)
    if browser:
        webbrowser.open(found[0])
    Event().wait()


def _opening(runs: list[dict]) -> list[str]:
    """Return the ids of the runs of the newest variants; `runs` are the runs of a project, the newest last."""
    variants: dict[str, list[str]] = {}
    for run in reversed(runs):
        variants.setdefault(run["name"].rpartition(" ")[0], []).append(run["id"])
    return [id for ids in list(variants.values())[:VARIANTS] for id in ids[:MOST]]


def read_record(path: Path) -> Shown:
    """Read a record with its stage folders. Raises `DataError` if it is damaged or incomplete."""
    record = read(path)
    try:
        home = path.resolve().parents[2] if path.name == FILE else None
        folders = {s["name"]: home / s["path"] for s in record["stages"]} if home else {}
        rows = [row for stage in record["history"] for row in _curves(record, stage, folders.get(stage))]
        final = {**_final(record), **_tables(record, path)}
        time = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat()
        return Shown(
            project=re.sub(r"[^\w-]", "_", record["dataset"]),
            name=f"{record['variant']} {record['replicate']}",
            time=time,
            config=_config(record, path, time),
            rows=[*rows, {**final, "step": max((row["step"] for row in rows), default=0)}],
        )
    except (ValueError, TypeError, LookupError, AttributeError, OSError) as e:
        raise DataError(f"{path} is not a complete record ({type(e).__name__}: {e})") from e


def _config(record: dict, path: Path, time: str) -> dict:
    """Return the settings by which trackio compares runs, and the group of a variant's seeds and folds."""
    about = {k: record[k] for k in ("experiment", "commit", "versions", "machine")}
    about["record"] = path.parent.name if path.name == FILE else path.stem
    settings = {k.replace(".", "/"): v for k, v in settings_in_words(record).items()}  # trackio escapes dots
    return {**settings, **about, "_Group": record["variant"], "_Created": time}


def _curves(record: dict, stage: str, folder: Path | None) -> list[dict]:
    """Return rows per epoch, and per training step if the stage saved them; the names begin with the stage."""
    epochs = [metrics(row) | {"step": row["step"]} for row in record["history"][stage]]
    rows = [*(_steps(folder / "steps.csv") if folder else []), *epochs]
    return [{k if k == "step" else f"{stage.replace(' ', '/')}/{k}": v for k, v in row.items()} for row in rows]


def _steps(path: Path) -> list[dict]:
    """Return rows per training step: the loss, each layer group's learning rate, and the number of frozen groups."""
    if not path.is_file():
        return []
    table = pd.read_csv(path)
    table = table[:: -(-len(table) // POINTS)]
    rates = table.filter(regex=r"^lr_\d+$")
    shown = pd.concat([table["step"], table["train_loss"].rename("batch_loss")], axis=1)
    shown["frozen_groups"] = rates.isna().sum(axis=1)
    shown[[k.replace("lr_", "lr/group_") for k in rates]] = rates.fillna(0.0)
    return shown.to_dict("records")


def _final(record: dict) -> dict:
    """Return the final metrics of the run, of each direction alone, of the baseline and of the kept language models."""
    final = {f"{split}_{k}": v for split in ("test", "valid") for k, v in record.get(split, {}).items()}
    for direction, splits in record.get("directions", {}).items():
        final |= {f"{direction}_{split}_error": metrics["error"] for split, metrics in splits.items()}
    names = {"error": "baseline_test_error", "valid_error": "baseline_valid_error"}
    final |= {names[k]: v for k, v in record.get("baseline", {}).items() if k in names}
    for texts, figures in record.get("perplexity", {}).items():
        final[f"{texts.replace(' ', '_')}_perplexity"] = figures["perplexity"]
    for stage, history in record["history"].items():
        if history and stage.startswith("lm"):
            losses = [row["valid_loss"] for row in history]
            stops_early = record["settings"]["recipe"]["lm"].get("patience") is not None
            final[f"{stage.replace(' ', '_')}_valid_loss"] = min(losses) if stops_early else losses[-1]
    return {f"final/{k}": v for k, v in final.items() if not k.endswith(("_n", "_accuracy"))}


def _tables(record: dict, path: Path) -> dict:
    """Return tables of the metrics of each class, the confusion matrix, and the most confident mistakes."""
    tables = {"classes": [{"class": c, **metrics} for c, metrics in record.get("per_class", {}).items()]}
    if (counts := record.get("confusion")) and len(counts) <= CLASSES:
        classes = record["corpus"]["classes"]
        tables["confusion"] = [
            {"class": true, **{f"as {c}": counts.get(true, {}).get(c, 0) for c in classes}} for true in classes
        ]
    tables["mistakes"] = [_mistake(m) for m in mistakes(path)]
    return {f"test/{name}": {"_type": "trackio.table", "_value": rows} for name, rows in tables.items() if rows}


def _mistake(mistake: dict) -> dict:
    """Return a mistake as a row, in which the words with the highest weights replace all the weights."""
    words = sorted(mistake.get("words", []), key=lambda word: -word[1])[:WORDS]
    columns = ("row", "label", "predicted", "confidence", "explained", "text")
    shown = {k: mistake[k] for k in columns if k in mistake}
    return {**shown, "words": ", ".join(word for word, _ in words)}
