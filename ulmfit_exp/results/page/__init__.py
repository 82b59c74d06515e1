"""Make one HTML file from records, to find and compare variants in a browser without a network.

The table uses DataTables (as bundled by itables) and the plots use Plotly; page.js shows the selected variants in them.
"""

import json
import os
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from urllib.parse import quote

import pandas as pd
import plotly.io
from markdown_it import MarkdownIt
from plotly.offline import get_plotlyjs

from ...common import as_utf8, relative, shell_quoted
from ...inference.insight import html
from ...method.schedules import rates
from ...recipe import Phase, Training, recipe_from
from ...record import FILE, metrics, mistakes, read_all, run_folder, settings_in_words, variant_folder
from ..statistics import p_against
from ..tables import REPEATED, mean_sd, texts_of, variants_of

WITH_MISTAKES = 50
"""Number of runs shown with their mistakes, which are most of the page's size; the newest of a home come first."""
LINK = "#show="
"""Start of the page's links to a variant; the folder of its records follows."""

Found = list[tuple[Path, dict]]
"""Records with their paths."""


@dataclass(frozen=True)
class Section:
    """A table or figure of the paper."""

    title: str
    markdown: str
    """Text and tables, in which links to variants start with `LINK`."""
    svg: str
    rows: dict[str, str]
    """Folder of records -> their row in this table."""
    opening: tuple[str, ...] = ()
    """Folders of the variants selected when the page opens: the table's reference and the best other row."""


def read(folders: list[Path]) -> tuple[Found, list[str]]:
    """Return the records in `folders`, a home's before committed ones, newest first, and why others are left out."""
    found, skipped = read_all(folders)
    shown = []
    for path, record in sorted(found, key=lambda pr: (pr[0].name != FILE, -pr[0].stat().st_mtime, str(pr[0]))):
        try:
            whole = _complete(record)
            variants_of([whole])  # these raise if the record lacks something that the page shows
            _variant([whole])
            _run(path, whole, "", Path())
            shown.append((path, whole))
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            skipped.append(f"{path}: {type(e).__name__}: {e}")
    return shown, skipped


def _complete(record: dict) -> dict:
    """Return the record with all fields of its recipe; a field that is newer than the record gets its default."""
    recipe = asdict(recipe_from(record["settings"]["recipe"]))
    return {**record, "settings": {**record["settings"], "recipe": recipe}}


def page(records: Found, sections: list[Section], titles: dict[str, str], reproduce: str, folder: Path) -> str:
    """Return the content of the HTML file.

    `titles` maps data sets to titles, `reproduce` is the command that runs a record again, and `folder` is the folder
    of the file, to which its links to records are relative.
    """
    newest = {path for path, _ in records[:WITH_MISTAKES]}
    variants, rates_of, runs_of = [], [], _by_variant(records)
    for name, runs in runs_of.items():
        variant = {"id": name, **_variant([r for _, r in runs])}
        variant["data"] = titles.get(variant["data"], variant["data"])
        variant["rows"] = "; ".join(f"{s.title.partition(':')[0]}: {s.rows[name]}" for s in sections if name in s.rows)
        variant["runs"] = [_run(path, r, reproduce, folder, path in newest) for path, r in runs]
        if variant["rates"] not in rates_of:  # most variants share theirs with others
            rates_of.append(variant["rates"])
        variants.append(variant | {"rates": rates_of.index(variant["rates"])})
    here, bundle = files(__name__), files("itables") / "html"
    data = {
        "variants": variants,
        "rates": rates_of,
        "p": _tests(variants),
        "opening": _opening(runs_of, records[0][0], sections),
        "templates": {k: plotly.io.templates[f"plotly_{k}"].to_plotly_json() for k in ("white", "dark")},
    }
    return Template((here / "page.html").read_text("utf-8")).substitute(
        css=(bundle / "dt_bundle.css").read_text("utf-8") + (here / "page.css").read_text("utf-8"),
        datatables=_in_script((bundle / "dt_bundle.js").read_text("utf-8")),
        plotly=_in_script(get_plotlyjs()),
        data=json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
        js=(here / "plots.js").read_text("utf-8") + (here / "page.js").read_text("utf-8"),
        sections="\n".join(map(_html, sections)) or "<p>These runs belong to no table or figure of the paper.</p>",
    )


def _in_script(code: str) -> str:
    return code.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _html(section: Section) -> str:
    text = MarkdownIt("js-default").render(section.markdown)  # escapes HTML
    head = f"<details open><summary>{escape(section.title)}</summary>"
    svg = b64encode(section.svg.encode()).decode()
    plot = f'<img alt="plot: {escape(section.title)}" loading="lazy" src="data:image/svg+xml;base64,{svg}">'
    return f'{head}<div class="scroll">{text}</div>{plot}</details>'


def _by_variant(records: Found) -> dict[str, Found]:
    """Group runs by variant, under the folder of their records, with a number if other settings have the same folder.

    Variants with the most runs come first. Of two records of the same seed or fold, the first is used.
    """
    groups: dict[str, dict[str, tuple[Path, dict]]] = {}
    for (path, record), variant in zip(records, variants_of([record for _, record in records])):
        groups.setdefault(variant, {}).setdefault(record["replicate"], (path, record))
    named: dict[str, Found] = {}
    same_name = Counter()
    for group in sorted(groups.values(), key=len, reverse=True):
        runs = sorted(group.values(), key=lambda run: run[1]["replicate"])
        name = variant_folder(runs[0][1])
        same_name[name] += 1
        named[name if same_name[name] == 1 else f"{name}~{same_name[name]}"] = runs
    return named


def _opening(runs_of: dict[str, Found], newest: Path, sections: list[Section]) -> Iterable[str]:
    """Return the variants to open with: a table's if all records are committed ones, otherwise the newest run's."""
    tables = [s.opening for s in sections if s.opening and newest.name != FILE]
    return tables[0] if tables else [name for name, runs in runs_of.items() if newest in dict(runs)]


def _tests(variants: list[dict]) -> dict[str, dict[str, float]]:
    """Return reference -> variant -> p of the difference in test error, corrected for the reference's comparisons.

    Compares variants of the same data set with equal numbers of labels, and of test texts of each class.
    """
    tested = {v["id"]: [(c, f["n"]) for c, f in (v["runs"][0]["classes"] or {}).items()] for v in variants}
    alike = {v["id"]: (v["data"], v["labels"], *tested[v["id"]]) for v in variants}
    rows = [(alike[v["id"]], v["id"], r["name"], r["test"]) for v in variants for r in v["runs"] if v["test"]]
    found, p = pd.DataFrame(rows, columns=["data", "row", "replicate", "error"]), {}
    for _, part in found.groupby("data", dropna=False):
        for reference in part["row"].unique():
            tests = p_against(part, reference)
            p[reference] = {row: float(f"{value:.2g}") for (_, row), value in tests.items() if value == value}
    return p


def _variant(records: list[dict]) -> dict:
    """Return what page.js shows of all runs of a variant; measures are [mean, mean and deviation as text]."""
    first = records[0]

    def mean(measure: Callable[[dict], float | None]) -> list | None:
        values = pd.Series({record["replicate"]: measure(record) for record in records}, dtype=float).dropna()
        return [values.mean(), mean_sd(values)] if len(values) else None

    return {
        "data": first["dataset"],
        "name": first["variant"],
        "words": f"{first['corpus']['name']} {first.get('label', '')}",
        "changes": "; ".join(f"{k} {v}" for k, v in first["changes"].items()),
        "labels": first["corpus"].get("rows", {}).get("train"),
        "valid": mean(lambda r: _percent(r.get("valid"))),
        "test": mean(lambda r: _percent(r.get("test"))),
        "baseline": mean(lambda r: _percent(r.get("baseline"))),
        "perplexity": mean(lambda r: r.get("perplexity", {}).get("test", {}).get("perplexity")),
        "minutes": mean(lambda r: sum(s["seconds"] for s in r["stages"]) / 60),
        "settings": {k: v for k, v in settings_in_words(first).items() if k not in REPEATED}
        | {"texts": f"{texts_of(first)}"[:12]},
        "rates": _rates(first),
    }


def _percent(figures: dict | None) -> float | None:
    return 100 * figures["error"] if figures and "error" in figures else None


def _run(path: Path, record: dict, reproduce: str, folder: Path, with_mistakes: bool = False) -> dict:
    """Return the data of a run for page.js."""
    calibration, directions = record.get("calibration", {}), record.get("directions", {})
    return {
        "name": record["replicate"],
        "valid": _percent(record.get("valid")),
        "test": _percent(record.get("test")),
        "alone": {d: _percent(part.get("test")) for d, part in directions.items() if len(directions) > 1},
        "path": as_utf8(str(run_folder(path))),
        "link": quote(os.fsencode(relative(path, folder).as_posix())),
        "command": f"{reproduce} {shell_quoted(as_utf8(str(path)))}",
        "made": f"commit {record['commit']}, {record['machine']['cpu']}, {record['settings']['precision']}",
        "history": {stage: _columns(rows) for stage, rows in record["history"].items()},
        "confusion": record.get("confusion"),
        "classes": record.get("per_class"),
        "ece": "test ece" in calibration and [*calibration["test ece"].values(), calibration["temperature"]],
        "reliability": record.get("reliability"),
        "mistakes": _mistakes(path) if with_mistakes else "",
    }


def _columns(rows: list[dict]) -> dict[str, list]:
    """Return metric -> values by epoch."""
    return {k: [round(row[k], 4) for row in rows] for k in metrics(rows[0] if rows else {})}


def _rates(record: dict) -> dict[str, dict]:
    """Return task -> epochs, and the rates at them of the lowest and the highest layer group that is trained."""
    recipe, layers = recipe_from(record["settings"]["recipe"]), record["model"]["n_layers"]
    groups_of = {"lm": layers + 1, "clas": layers + 2}
    tasks = {stage.split()[0]: rows for stage, rows in record["history"].items()}
    return {task: _by_epoch(_phases_run(getattr(recipe, task), tasks[task]), groups_of[task]) for task in tasks}


@cache
def _by_epoch(phases: tuple[Phase, ...], groups: int) -> dict[str, list[float]]:
    table = rates(phases, groups, steps=20)
    trained = {"lowest": table.bfill(axis=1)[0], "top": table.ffill(axis=1).iloc[:, -1]}
    shown = {group: [float(f"{x:.3g}") for x in values] for group, values in trained.items()}
    return {"epoch": list(table.index), **shown}


def _phases_run(training: Training, history: list[dict]) -> tuple[Phase, ...]:
    """Return the phases with the epochs left by `max_steps`; early stopping does not change rates of earlier epochs."""
    if training.patience is not None:
        return training.phases
    epochs = Counter(row["phase"] for row in history)
    return tuple(replace(phase, epochs=epochs[i]) for i, phase in enumerate(training.phases))


def _mistakes(path: Path) -> str:
    """Return the mistakes saved by the run's evaluation stage as HTML; an empty string if there are none."""
    rows = []
    for m in mistakes(path):
        explained = f"<b>{escape(m['explained'])}</b>: " if "explained" in m else ""
        text = html(m["words"]) if "words" in m else escape(m["text"])
        names = [escape(str(m[k])) for k in ("row", "label", "predicted")]
        rows.append("".join(f"<td>{cell}</td>" for cell in (*names, f"{m['confidence']:.0%}", explained + text)))
    head = "".join(f"<th>{name}</th>" for name in ("row", "class", "predicted", "confidence", "text"))
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in (head, *rows))}</table>" if rows else ""
