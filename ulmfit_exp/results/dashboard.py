"""W&B's offline runs and committed records -> trackio, a dashboard on one's own machine without a network.

A run there is a W&B run, so a trained stage or an evaluation; of a record, each trained stage and its figures. Metrics
go by stage, since a language model's loss is no classifier's:

    clas/valid_loss, clas/phase 0/..., clas/lr/group 0, ...     curves over training steps
    final/clas valid_error_rate, final/test error, ...          one figure a run
    test/predictions, test/classes, test/confusion              tables
"""

import io
import json
import os
import subprocess
import webbrowser
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from tqdm.auto import tqdm

from ..common import DataError, sha256
from ..record import read
from ..runs.tracking import CLASSES, epoch_metrics

RUNS, RECORDS = "my-runs", "records"
"""trackio's projects; it opens the first of the alphabet."""
ORDER = "final/test error,final/valid error,final/clas*,final/*,clas/valid_error_rate,clas/*,lm/*"
LEFT_OUT = ("epoch", "seconds", "phase", "step", "n")
"""What is no figure to compare."""
TABLE_ROWS = 100
LATEST = 25
"""How many runs are drawn at first; the others are chosen at the left."""


class Unreadable(ValueError):
    """A run that cannot be shown; the message says why."""


@dataclass(frozen=True)
class Shown:
    """A run as trackio is to have it."""

    id: str
    name: str
    config: dict
    rows: list[dict] = field(default_factory=list)
    """Metrics and tables, with the `step` and `time` (ISO 8601) of each."""


def open_trackio(home: Path):
    """trackio's store below `home`; trackio is kept from the network. Must precede any other import of trackio."""
    os.environ["TRACKIO_DIR"] = str(home.resolve() / "trackio")
    os.environ["TRACKIO_PLOT_ORDER"] = ORDER
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from trackio.sqlite_storage import SQLiteStorage

    return SQLiteStorage


def show(store, port: int | None, browser: bool) -> None:
    """Serve trackio on 127.0.0.1 until interrupted, at first with the latest runs alone: the browser takes half a
    minute to draw a thousand. Raises `OSError` where the port is taken."""
    import trackio  # after open_trackio, which says where its data are

    with redirect_stdout(io.StringIO()):  # it would name an address with the right to rename and delete runs
        _, url, *_ = trackio.show(
            open_browser=False, host="127.0.0.1", share=False, server_port=port, block_thread=False
        )
    ids = list(_ids(store, RUNS))
    latest = f"&run_ids={','.join(ids[-LATEST:])}" if len(ids) > LATEST else ""
    url = f"{url}?smoothing=0{latest}"
    print(f"{url}   (Ctrl-C ends it)", flush=True)
    if browser:
        webbrowser.open(url)
    Event().wait()


def add_runs(store, home: Path) -> tuple[int, dict[str, str]]:
    """Take in the W&B runs below `home` that trackio does not have; how many, and why others were left out."""
    there, new, left_out = set(_ids(store, RUNS)), 0, {}
    files = sorted((home / "wandb").glob("*run-*/run-*.wandb"))
    for file in tqdm([f for f in files if _id(f) not in there], desc="runs", unit=" runs", disable=None):
        try:
            _add(store, RUNS, read_wandb(file))
            new += 1
        except Unreadable as e:
            left_out[file.parent.name] = str(e)
    return new, left_out


def add_records(store, folder: Path) -> tuple[int, dict[str, str]]:
    """Make trackio's records those in `folder`, NAME.json or NAME/result.json; how many are new, why others are not."""
    there, shown, left_out = _ids(store, RECORDS), {}, {}
    for path in tqdm(record_paths(folder), desc="records", unit=" records", disable=None):
        try:
            shown |= {s.id: s for s in read_record(path)}
        except Unreadable as e:
            left_out[path.name if path.name != "result.json" else path.parent.name] = str(e)
    for gone in set(there) - set(shown):
        store.delete_run(RECORDS, there[gone], gone)
    new = [s for s in shown.values() if s.id not in there]
    for s in new:
        _add(store, RECORDS, s)
    return len(new), left_out


def record_paths(folder: Path) -> list[Path]:
    """The records in a folder."""
    return sorted([*folder.glob("*.json"), *folder.glob("*/result.json")])


def _ids(store, project: str) -> dict[str, str]:
    return {r["id"]: r["name"] for r in store.get_run_records(project)}


def _id(file: Path) -> str:
    return file.stem.removeprefix("run-")


def _add(store, project: str, shown: Shown) -> None:
    """All of a run in one transaction: what is broken off leaves nothing."""
    metrics = [{k: v for k, v in row.items() if k not in ("step", "time")} for row in shown.rows]
    steps, times = ([row[k] for row in shown.rows] for k in ("step", "time"))
    marks = [f"{shown.id} {i}" for i in range(len(metrics))]  # a row is taken once, also from two dashboards at a time
    store.bulk_log(project, shown.name, metrics, steps, times, shown.config, marks, run_id=shown.id)


def read_wandb(file: Path) -> Shown:
    """A finished run's `.wandb` file. Raises `Unreadable`."""
    run, rows, final = None, [], {}
    for record in inspect(file):
        kind = record["type"]
        if kind == "run":
            run = record["run"]
        elif kind == "history":
            rows.append(record["history"]["item"])
            final = {}  # what comes after the last row was set at the end; before, it repeats the rows
        elif kind == "summary":
            final |= record["summary"].get("update", {})
    if not rows and not final:
        raise Unreadable("it holds no figures")
    job, group = run.get("job_type") or "run", run.get("run_group") or ""
    seen = [_row(item, job, file.parent) for item in rows]
    last = {k: seen[-1][k] for k in ("step", "time")} if seen else {"step": 0, "time": run["start_time"]}
    about = {"stage": job, "tags": ", ".join(run.get("tags", [])), "_Group": group}
    config = {k: v for k, v in run.get("config", {}).get("update", {}).items() if k != "_wandb"}
    return Shown(
        run["run_id"],
        _name(run.get("display_name") or run["run_id"], group),
        _unlisted({**config, **about, "_Created": run["start_time"]}),
        [*seen, {**_final(job, final), **last}],
    )


def _name(title: str, group: str) -> str:
    """A run's name with its variant, without the experiment that the title says."""
    return f"{title} | {group.partition(' ')[2]}"


def inspect(file: Path) -> list[dict]:
    """The records of a `.wandb` file, as `wandb leet inspect --json` prints them. Raises `Unreadable`.

    Calls the program that this command starts, as Python's own start would take ten times as long as the reading.
    """
    from wandb.util import get_core_path

    options = ["--no-observability", "--json", "--run-file", str(file), str(file.parent.parent)]
    done = subprocess.run([get_core_path(), "leet", "inspect", *options], capture_output=True, text=True)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = {r["type"] for r in records}
    if done.returncode or "corrupt" in done.stderr or (records and "run" not in kinds):
        raise Unreadable(f"it is damaged: {done.stderr.strip().splitlines()[-1] if done.stderr else 'no run in it'}")
    if "exit" not in kinds:
        raise Unreadable("it is not finished: still running, or killed")
    if next(r["exit"] for r in records if r["type"] == "exit").get("exit_code"):
        raise Unreadable("it was broken off; where the stage went on, another run has all of its epochs")
    return records


def _row(item: dict, job: str, folder: Path) -> dict:
    """A row of history: figures, and tables read from the files beside it."""
    tables = [k.removesuffix("._type") for k, v in item.items() if k.endswith("._type") and v == "table-file"]
    return {
        **_metrics(job, {k: v for k, v in item.items() if not k.startswith(tuple(f"{t}." for t in tables))}),
        **{t.removesuffix("_table"): _table(folder / "files" / item[f"{t}.path"]) for t in tables},
        "step": int(item.get("step", item["_step"])),
        "time": datetime.fromtimestamp(item["_timestamp"], UTC).isoformat(),
    }


def _metrics(job: str, values: dict) -> dict:
    """The figures among logged values, named by their stage."""
    return {f"{job}/{k}": v for k, v in _numbers(values).items()}


def _final(job: str, values: dict) -> dict:
    """Final figures, named by their stage; an evaluation's say of what they are."""
    stage = "" if job == "eval" else f"{job} "
    return {f"final/{stage}{k.replace('/', ' ')}": v for k, v in _numbers(values).items()}


def _numbers(values: dict) -> dict:
    numbers = {k: v for k, v in values.items() if isinstance(v, (int, float)) and not k.startswith("_")}
    return {k: v for k, v in numbers.items() if k.split("/")[-1] not in LEFT_OUT}


def _table(path: Path) -> dict:
    """A W&B table's first rows; of a confusion matrix, a row for each true class."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise Unreadable(f"it is damaged: its table {path.name} cannot be read") from e
    rows = [dict(zip(saved["columns"], row)) for row in saved["data"]]
    if saved["columns"] == ["Actual", "Predicted", "nPredictions"]:
        counts = {}
        for row in rows:
            counts.setdefault(row["Actual"], {})[row["Predicted"]] = row["nPredictions"]
        return confusion_table(counts, list(counts))
    return trackio_table(rows)


def confusion_table(counts: dict[str, dict[str, int]], classes: list[str]) -> dict:
    """A row for each true class, with how many of its texts were taken for which."""
    taken = {true: {f"as {c}": counts.get(true, {}).get(c, 0) for c in classes} for true in classes}
    return trackio_table([{"label": true, **row} for true, row in taken.items()])


def trackio_table(rows: list[dict]) -> dict:
    """Rows as trackio stores a table."""
    shown = [{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows[:TABLE_ROWS]]
    return {"_type": "trackio.table", "_value": shown}


def _unlisted(settings):
    """Settings with phases as a dict of their numbers, so that trackio compares them field by field."""
    if isinstance(settings, list) and any(isinstance(v, dict) for v in settings):
        settings = {str(i): v for i, v in enumerate(settings)}
    return {k: _unlisted(v) for k, v in settings.items()} if isinstance(settings, dict) else settings


def read_record(path: Path) -> list[Shown]:
    """A record's trained stages, a row an epoch, and its figures. Raises `Unreadable`."""
    try:
        record = read(path)
        group = f"{record['dataset']} {record['variant']}"
        title = f"{record['corpus']['name']} seed{record['seed']}"
        rows = {stage: _epochs(stage.split()[0], history) for stage, history in record["history"].items() if history}
        rows["eval"] = [{**_figures(record), "step": 0}]
        about = {k: record[k] for k in ("experiment", "settings", "commit", "versions", "machine")}
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, StopIteration, OSError, DataError) as e:
        raise Unreadable(f"it is no record: {type(e).__name__}: {e}") from e
    mark = sha256(path)[:12]  # a record that changed is another
    time = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat()
    config = _unlisted({**about.pop("settings"), **about, "_Group": group, "_Created": time})
    return [
        Shown(
            f"{mark}-{stage.replace(' ', '-')}",
            _name(f"{stage} {title}", group),
            {**config, "stage": stage.split()[0]},
            [{**row, "time": time} for row in of_stage],
        )
        for stage, of_stage in rows.items()
    ]


def _epochs(job: str, history: list[dict]) -> list[dict]:
    """Rows whose step is the epoch, counted over all phases: not every record has the training steps."""
    rows = [_metrics(job, epoch_metrics(row)) | {"step": i} for i, row in enumerate(history, start=1)]
    last = {k: v for k, v in history[-1].items() if k.startswith("valid")}
    return [*rows, {**_final(job, last), "step": len(rows)}]


def _figures(record: dict) -> dict:
    """The final figures of a record, and its tables."""
    splits = {s: record[s] for s in ("valid", "test") if s in record}
    splits |= {"perplexity": {k: f["perplexity"] for k, f in record.get("perplexity", {}).items()}}
    if base := record.get("baseline"):
        splits["baseline"] = {"test error": base["error"], "valid error": base["valid_error"]}
    figures = {f"{s}/{k}": v for s, f in splits.items() for k, v in f.items()}
    classes = [{"class": c, **f} for c, f in record.get("per_class", {}).items()]
    tables = {"test/classes": trackio_table(classes)} if classes else {}
    if (counts := record.get("confusion")) and len(classes) <= CLASSES:
        tables["test/confusion"] = confusion_table(counts, record["corpus"]["classes"])
    return _final("eval", figures) | tables
