"""Records -> one HTML file in which they are looked at and compared: no network, nothing else to open it with.

The table is DataTables' (as itables bundles it) and the plots are Plotly's; page.js puts the chosen runs into them.
"""

import json
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

import plotly.io
from markdown_it import MarkdownIt
from plotly.offline import get_plotlyjs

from ...inference.insight import html
from ...method.schedules import rates
from ...recipe import recipe_from
from ...record import FILE, mistakes, read_all, settings_in_words

GROUPS = {"lm": 4, "clas": 5}
"""Layer groups of fastai's learners."""
WITH_MISTAKES = 50
"""The newest so many runs come with their mistakes, which are most of the page's size."""
COLUMNS = (
    "texts",
    "recipe",
    "changed",
    "pretrained",
    "direction",
    "labels",
    "seed",
    "valid error %",
    "test error %",
    "test texts",
    "TF-IDF error %",
    "perplexity",
    "minutes",
    "run",
)
FACETS = ("texts", "recipe", "pretrained", "direction")
"""Columns that the runs can be narrowed down by."""


@dataclass(frozen=True)
class Section:
    """A table or figure of the paper."""

    title: str
    markdown: str
    svg: str


def read(folders: list[Path]) -> tuple[list[tuple[Path, dict]], list[str]]:
    """The records in some folders, newest first, and why others were left out."""
    found, skipped = read_all(folders)
    shown = []
    for path, record in sorted(found, key=lambda pr: (-pr[0].stat().st_mtime, str(pr[0]))):
        try:
            shown.append((path, _checked(record)))
        except (ValueError, KeyError, TypeError) as e:
            skipped.append(f"{path}: {type(e).__name__}: {e}")
    return shown, skipped


def _checked(record: dict) -> dict:
    """`record`, if it has what the page shows of it."""
    _cells(record, "")
    recipe_from(record["settings"]["recipe"])
    return record


def page(records: list[tuple[Path, dict]], sections: list[Section], title: str = "ULMFiT experiments") -> str:
    """The file's content."""
    plans: dict[str, dict] = {}
    runs = [_run(path, record, plans, i < WITH_MISTAKES) for i, (path, record) in enumerate(records)]
    data = {
        "columns": [{"title": c, "visible": c != "run" and _told(runs, i)} for i, c in enumerate(COLUMNS)],
        "facets": [COLUMNS.index(c) for c in FACETS],
        "runs": runs,
        "plans": plans,
        "templates": {k: plotly.io.templates[f"plotly_{k}"].to_plotly_json() for k in ("white", "dark")},
    }
    here, bundle = files(__name__), files("itables") / "html"
    return Template((here / "page.html").read_text("utf-8")).substitute(
        title=escape(title),
        css=(bundle / "dt_bundle.css").read_text("utf-8") + (here / "page.css").read_text("utf-8"),
        datatables=_in_script((bundle / "dt_bundle.js").read_text("utf-8")),
        plotly=_in_script(get_plotlyjs()),
        data=json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
        js=(here / "page.js").read_text("utf-8"),
        sections="\n".join(map(_html, sections)) or "<p>None of these runs is a row of one.</p>",
    )


def _told(runs: list[dict], column: int) -> bool:
    return any(run["cells"][column] not in ("", None) for run in runs)


def _in_script(code: str) -> str:
    return code.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _html(section: Section) -> str:
    text = MarkdownIt("js-default").render(section.markdown)  # escapes HTML
    return (
        f'<details open><summary>{escape(section.title)}</summary>{text}<div class="plot">{section.svg}</div></details>'
    )


def _run(path: Path, record: dict, plans: dict[str, dict], with_mistakes: bool) -> dict:
    """What page.js knows of a run."""
    name = path.parent.name if path.name == FILE else "/".join([*path.parts[-3:-1], path.stem])
    return {
        "name": name,
        "made": f"commit {record['commit']}, {record['machine']['cpu']}, {record['settings']['precision']}",
        "cells": _cells(record, name),
        "settings": settings_in_words(record),
        "history": {stage: _columns(rows) for stage, rows in record["history"].items()},
        "plan": _plan(record["settings"]["recipe"], plans),
        "confusion": record.get("confusion"),
        "mistakes": _mistakes(path) if with_mistakes else "",
    }


def _cells(record: dict, name: str) -> list:
    """A row of the table, in the order of `COLUMNS`."""
    settings, recipe = record["settings"], record["settings"]["recipe"]
    percent = lambda figures, key="error": round(100 * figures[key], 2) if key in figures else None  # noqa: E731
    perplexity = record.get("perplexity", {}).get("test", {}).get("perplexity")
    return [
        record["corpus"]["name"],
        settings["recipe_name"],
        "; ".join(f"{k} {v}" for k, v in record["changes"].items()),
        recipe.get("pretrained", "none"),
        recipe.get("direction", "backward" if settings.get("backwards") else "forward"),
        settings.get("train_size"),
        record["seed"],
        percent(record.get("valid", {})),
        percent(record.get("test", {})),
        record.get("test", {}).get("n"),
        percent(record.get("baseline", {})),
        perplexity and round(perplexity, 1),
        round(sum(s["seconds"] for s in record["stages"]) / 60, 1),
        name,
    ]


def _columns(rows: list[dict]) -> dict[str, list]:
    """Metrics by epoch."""
    names = [k for k in (rows[0] if rows else {}) if k.startswith(("train", "valid"))]
    return {k: [round(row[k], 4) for row in rows] for k in names}


def _plan(recipe: dict, plans: dict[str, dict]) -> str:
    """The name, in `plans`, of a recipe's rates: epochs, and the rate of each layer group, by task."""
    made = recipe_from(recipe)
    tasks = {task: getattr(made, task).phases for task in GROUPS if hasattr(made, task)}
    if (key := repr(tasks)) not in plans:
        plans[key] = {"name": f"plan {len(plans)}"}
        for task, phases in tasks.items():
            table = rates(phases, GROUPS[task], steps=20)
            groups = [[None if x != x else float(f"{x:.3g}") for x in table[g]] for g in table]
            plans[key][task] = {"epoch": list(table.index), "groups": groups}
    return key


def _mistakes(path: Path) -> str:
    """The mistakes that the run's evaluation left in its stage's folder, as HTML; nothing where it is not there."""
    rows = [
        f"<tr><td>{escape(str(m['row']))}</td><td>{escape(m['label'])}</td><td>{escape(m['predicted'])}</td><td>{m['confidence']:.0%}</td>"
        f"<td>{html(m['words']) if 'words' in m else escape(m['text'])}</td></tr>"
        for m in mistakes(path)
    ]
    head = "".join(f"<th>{name}</th>" for name in ("row", "class", "taken for", "confidence", "text"))
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>" if rows else ""
