"""Plots of the method and of single runs, for notebooks; `figures` has the plots of the paper's grids."""

import textwrap
from typing import Literal

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure

from ..common import DataError
from ..inference import insight
from ..method.schedules import rates as rates_of
from ..method.schedules import share_of_highest_lr
from ..recipe import POOLING, Phase
from ..record import run_name

GROUPS = {
    "lm": ["LSTM 1", "LSTM 2", "LSTM 3", "embedding, decoder"],
    "clas": ["embedding", "LSTM 1", "LSTM 2", "LSTM 3", "head"],
}
"""Layer groups of fastai's language model and classifier, from the lowest."""
DPI = 80
"""Keeps files small, and makes the widths of letters whole pixels, which `_texts` relies on."""
LINE = 96
"""Number of characters per line of text in a plot."""
UNITS = 40
"""Number of units of a hidden state shown in a plot."""
LINES = 6
"""Maximum number of lines of a text in a plot; the rest of the text is left out."""


def schedules() -> Figure:
    """Plot the share of the highest learning rate over a phase of 200 steps, for each schedule."""
    figure = Figure(figsize=(6, 2.6), dpi=DPI, layout="constrained")
    panel = figure.subplots()
    for schedule in ("stlr", "one_cycle", "cos", "const"):
        panel.plot(range(200), [share_of_highest_lr(schedule, t / 200, 200) for t in range(200)], label=schedule)
    panel.set(xlabel="step", ylabel="share of the highest learning rate")
    panel.grid(alpha=0.3)
    panel.legend(fontsize="small")
    return figure


def rates(phases: tuple[Phase, ...], task: Literal["lm", "clas"]) -> Figure:
    """Plot each layer group's learning rate by epoch on a logarithmic axis, with no line while the group is frozen."""
    layers = GROUPS[task]
    table = rates_of(phases, len(layers))
    figure = Figure(figsize=(6.5, 2.8), dpi=DPI, layout="constrained")
    panel = figure.subplots()
    for g, layer in reversed(list(enumerate(layers))):
        panel.plot(table.index, table[g], color=colormaps["viridis"](g / len(layers)), label=layer)
    panel.set(yscale="log", xlabel="epoch", ylabel="learning rate", xlim=(0, table.index[-1] + 0.5))
    panel.grid(alpha=0.3)
    figure.legend(fontsize="small", loc="outside right upper")
    return figure


def pooling(tokens: list[str], states: torch.Tensor, pooled: torch.Tensor) -> Figure:
    """Plot the first `UNITS` units of a text's states (`len x emb_sz`) and of their pooling (`parts * emb_sz`)."""
    figure = Figure(figsize=(8, 4.6), dpi=DPI, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[len(tokens), len(POOLING)])
    limit = {"cmap": "RdBu_r", "aspect": "auto", "vmin": -1, "vmax": 1}
    above.imshow(states[:, :UNITS], **limit)
    above.set_yticks(range(len(tokens)), tokens, fontsize=7, parse_math=False)
    above.set_title("the state after each token", fontsize="medium")
    image = below.imshow(pooled.reshape(len(POOLING), -1)[:, :UNITS], **limit)
    below.set_yticks(range(len(POOLING)), POOLING, fontsize=7)
    below.set(xlabel=f"unit (the first {UNITS} of {states.shape[1]})")
    below.set_title("what the classifier's head reads", fontsize="medium")
    figure.colorbar(image, ax=[above, below], label="activation", shrink=0.6)
    return figure


def curves(*records: dict) -> Figure:
    """Plot the language model's and the classifier's loss and the validation error by epoch, one colour per record.

    Solid lines are forward, dashed lines backward, and faint lines the loss on the training texts. Records of runs
    that trained nothing are left out.
    """
    records = [r for r in records if any(r["history"].values())]
    figure = Figure(figsize=(9.5, 3 + 0.18 * len(records)), dpi=DPI, layout="constrained")
    lm, clas, error = panels = figure.subplots(1, 3)
    for i, record in enumerate(records):
        for stage, rows in record["history"].items():
            task, direction = stage.split()
            style = {"color": f"C{i}", "ls": "--" if direction == "backward" else "-", "marker": ".", "ms": 4}
            epochs, panel = range(1, len(rows) + 1), lm if task == "lm" else clas
            panel.plot(epochs, [row["valid_loss"] for row in rows], **style)
            panel.plot(epochs, [row["train_loss"] for row in rows], **style, alpha=0.3)
            if task == "clas":
                error.plot(epochs, [100 * row["valid_error_rate"] for row in rows], **style)
        error.plot([], [], color=f"C{i}", label=run_name(record))
    error.plot([], [], color="0.4", alpha=0.3, label="faint: training texts")
    if any(stage.endswith("backward") for record in records for stage in record["history"]):
        error.plot([], [], color="0.4", ls="--", label="dashed: backward")
    for panel, what in zip(panels, ("language model: loss", "classifier: loss", "classifier: validation error, %")):
        panel.set(xlabel="epoch", title=what)
        panel.title.set_fontsize("medium")
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
    figure.legend(fontsize="small", loc="outside lower center")
    return figure


def confusion(record: dict) -> Figure:
    """Plot the number of test texts by true and predicted class. Raises `DataError` if the record lacks the numbers."""
    if "confusion" not in record:
        if "test" not in record:
            raise DataError(f"{run_name(record)} has no confusion matrix: no test text has a label")
        if record["corpus"].get("multi_label"):
            raise DataError(f"{run_name(record)} has no confusion matrix: a text may have several labels")
        raise DataError(f"the record of {run_name(record)} is older than the confusion matrix; run it again")
    classes = list(record["confusion"])
    counts = np.array([[record["confusion"][c].get(other, 0) for other in classes] for c in classes])
    figure = Figure(figsize=(2.5 + 0.3 * len(classes), 2 + 0.3 * len(classes)), dpi=DPI, layout="constrained")
    panel = figure.subplots()
    panel.imshow(counts / np.maximum(1, counts.sum(axis=1, keepdims=True)), cmap="Blues", vmin=0, vmax=1)
    for (row, column), n in np.ndenumerate(counts):
        if n:
            panel.text(
                column, row, n, ha="center", va="center", fontsize=7, color="0.1" if n < counts[row].sum() / 2 else "w"
            )
    shown = [textwrap.shorten(c, 24, placeholder="…") for c in classes]
    panel.set_xticks(range(len(classes)), shown, rotation=90, fontsize=7, parse_math=False)
    panel.set_yticks(range(len(classes)), shown, fontsize=7, parse_math=False)
    panel.set(xlabel="predicted class", ylabel="class")
    return figure


def mistakes(found: list[dict]) -> Figure:
    """Show the first three mistakes with shaded words: blue counts for the predicted class, orange against it. With
    several labels, the weights are those for the wrongly decided label that the title names."""
    shown = []
    for m in found[:3]:
        title = f"{m['label']}, predicted {m['predicted']} ({m['confidence']:.0%})"
        title += f", words for {m['explained']}" if "explained" in m else ""
        shown.append((title, m.get("words") or [(word, 0.0) for word in m["text"].split()]))
    return _texts(shown)


def words(weights: insight.WordWeights, title: str) -> Figure:
    """Show the words of a text, shaded by weight: blue counts for the class of the weights, orange against it."""
    return _texts([(title, weights)])


def _texts(shown: list[tuple[str, insight.WordWeights]]) -> Figure:
    laid = [(title, *_laid_out(insight.shades(weights))) for title, weights in shown]
    height = sum(lines + 2.5 for *_, lines in laid) or 1
    figure = Figure(figsize=(LINE * 0.0753, height * 0.19), dpi=DPI)
    panel = figure.add_axes((0, 0, 1, 1), xlim=(0, LINE), ylim=(height, 0))
    panel.axis("off")
    top = 0.8
    style = {"fontsize": 9, "va": "center", "parse_math": False}
    for title, placed, lines in laid:
        panel.text(0.5, top, title, fontweight="bold", **style)
        for word, column, line, colour, opacity in placed:
            back = {"boxstyle": "square,pad=0.12", "ec": "none", "fc": (*(c / 255 for c in colour), opacity)}
            panel.text(
                column + 0.5, top + 1.2 + line, word, family="monospace", bbox=back if opacity else None, **style
            )
        top += lines + 2.5
    return figure


def _laid_out(shades: list[tuple]) -> tuple[list[tuple], int]:
    """Return (word, column, line, colour, opacity) of the words on the first `LINES` lines, and the number of lines."""
    placed, column, line = [], 0, 0
    for word, colour, opacity in shades:
        word = textwrap.shorten(word, LINE - 2, placeholder="…")
        if column + len(word) > LINE - 1:
            column, line = 0, line + 1
        if line == LINES:
            break
        placed.append((word, column, line, colour, opacity))
        column += len(word) + 1
    return placed, min(line + 1, LINES)
