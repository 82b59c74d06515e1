"""Writing of a finished run as a folder for the Hugging Face hub, with a model card."""

import html
import shutil
from pathlib import Path

from ..common import DataError, check_export_folder
from ..method.pretrained import resolve
from ..recipe import DIRECTIONS
from ..record import FILE, certainty, error_name, read


def write(run: Path, out: Path) -> list[str]:
    """Write a finished run's record, model card and models to the folder `out`, for the hub.

    Its folders `forward` and `backward` are fine-tuned language models that --pretrained can read; `classifier` is read
    by `ulmfit_exp.predict`. Returns a description of each part that was left out. Raises `DataError`.
    """
    record = read(run)
    check_export_folder(out, FILE, "--hub")
    if out.resolve() == run.resolve() or ((out / FILE).exists() and read(out) != record):
        raise DataError(f"--hub {out} already holds a run; name another folder")
    if "valid" in record and not (run / "classifier").is_dir():
        raise DataError(f"{run} has no classifier/, so there is nothing to predict with")
    out.mkdir(parents=True, exist_ok=True)
    written, missing = [], []
    for direction in _directions(record):
        try:
            files = resolve(str(run), (direction,), None)[direction].files
        except DataError:
            missing.append(f"the {direction} language model, which is in the home where the run was made")
            continue
        written.append(direction)
        (out / direction).mkdir(exist_ok=True)
        for file in files:
            shutil.copyfile(file, out / direction / file.name)
    if (run / "classifier").is_dir():
        shutil.copytree(run / "classifier", out / "classifier", dirs_exist_ok=True)
    shutil.copyfile(run / FILE, out / FILE)
    (out / "README.md").write_text(card(record, tuple(written)), encoding="utf-8")
    return missing


def _directions(record: dict) -> tuple[str, ...]:
    """Return the directions in which the run's language models read."""
    stages = {s["name"] for s in record["stages"]}
    return tuple(d for d in DIRECTIONS["both"] if f"lm {d}" in stages)


def card(record: dict, directions: tuple[str, ...] = ()) -> str:
    """Return the model card of a run, in the hub's Markdown, made from its record. `directions` are those of the
    language models beside it."""
    corpus, versions, recipe = record["corpus"], record["versions"], record["settings"]["recipe"]
    classifies, name = "valid" in record, _escaped(corpus["name"])
    uses = [f"language models to start from (`--pretrained hf:OWNER/NAME`): {', '.join(directions)}"] * bool(directions)
    uses += ["classifiers: `python -m ulmfit_exp.predict FOLDER texts.csv`"] * classifies
    return f"""\
---
language: {recipe.get("lang", "en")}
library_name: fastai
pipeline_tag: {"text-classification" if classifies else "text-generation"}
tags: [ulmfit, awd-lstm, text]
---

# ULMFiT: {name}

AWD-LSTM language models fine-tuned on the texts{", and classifiers on top of them" * classifies} \
(Howard & Ruder 2018). Made from the record `result.json` in this folder.

- texts: {name}, SHA-256 {corpus["digest"][:16]}…, {corpus["tokens"]:,} tokens, \
{corpus["vocab"]:,} words in the vocabulary
- recipe: {record["settings"]["recipe_name"]}, pretrained: {_escaped(str(recipe.get("pretrained")))}, \
seed {record["seed"]}, {" and ".join(_directions(record))}
- made with fastai {versions["fastai"]} and torch {versions["torch"]}, commit {record["commit"]}

{_figures(record)}

The weights are safetensors; nothing here is a pickle. This folder has {"; and ".join(uses)}.
The figures hold for texts like those it was trained on, and may not hold for others. Ask the owner of the texts for
their licence.
"""


def _figures(record: dict) -> str:
    """Return a language model's perplexities, or a classifier's test error, its interval and a table of the classes."""
    if "valid" not in record:
        return "\n".join(f"- perplexity on {k}: {f['perplexity']:.1f}" for k, f in record["perplexity"].items())
    if "test" not in record:
        return certainty(record)
    test, base = record["test"], record["baseline"]
    ours, theirs = (f"{100 * part['error']:.2f} %" for part in (test, base))
    rows = (
        f"| {_escaped(c)} | {f['precision']:.2f} | {f['recall']:.2f} | {f['n']:,} |\n"
        for c, f in record["per_class"].items()
    )
    return f"""\
Test {error_name(record)} {ours} on {test["n"]:,} texts, {base["method"]} {theirs}.
{certainty(record)}

| class | precision | recall | test texts |
| --- | --- | --- | --- |
{"".join(rows)}""".rstrip()


def _escaped(text: str) -> str:
    """Escape HTML and Markdown in a user's text, and put it on one line."""
    text = html.escape(" ".join(text.split()))
    return "".join(f"\\{c}" if c in "|`*_[]#<>!" else c for c in text)
