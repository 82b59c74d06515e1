"""Measure whether more pretraining helps, by the features of each language model that was ever shipped.

    python -m scripts.dev.panel

Measures, for every version of wikipedia-small in the git history, the validation error of logistic regression on the
pooled states of both directions, without fine-tuning, on the data sets of `PANEL`. This takes a few minutes per
version. Test sets are not read. Writes experiments/benchmarks/panel.csv and a plot beside it.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import tyro
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from experiments import RECORDS
from experiments.paper.base import DATA
from scripts.reproduce import versions
from ulmfit_exp.cli import clean_exit
from ulmfit_exp.corpora.corpus import Corpus
from ulmfit_exp.inference.features import Encoder, regressions
from ulmfit_exp.inference.scores import mean_loss
from ulmfit_exp.recipe import DIRECTIONS
from ulmfit_exp.record import tokens
from ulmfit_exp.results.figures import svg

MODEL = "wikipedia-small"
PANEL = {
    "TREC-6, 2,000 labels": replace(DATA["trec"], train_size=2000),
    "DBpedia, 100 labels": replace(DATA["dbpedia"], train_size=100),
    "AG News, 1,000 labels": replace(DATA["ag_news"], train_size=1000),
    "SQuAD topic, 2,000 labels": replace(DATA["squad"], train_size=2000),
    "SFU sentiment, fold 0": DATA["sfu"],
}
MOST_VALID = 1000
"""Maximum number of validation texts."""
OUT = RECORDS.parent / "benchmarks" / "panel.csv"


def main(data_dir: Path | None = None) -> None:
    """Measure every version of the model.

    Args:
        data_dir: As in the experiments.
    """
    panel = {name: replace(settings, data_dir=data_dir).texts() for name, settings in PANEL.items()}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for _, model in tqdm(list(versions(MODEL, Path(folder))), unit=" models"):
            record = json.loads((model / "forward" / "record.json").read_text("utf-8"))
            read = sum(map(tokens, [*record.get("chain", []), record]))
            row = {"tokens": read, "perplexity": record["perplexity"]["valid"]["perplexity"]}
            rows.append(row | {name: valid_error(corpus, model) for name, corpus in tqdm(panel.items(), leave=False)})
    table = pd.DataFrame(rows).sort_values("tokens").round(3)
    table.to_csv(OUT, index=False)
    OUT.with_suffix(".svg").write_text(svg(plot(table), "panel"), encoding="utf-8")
    print(table.to_string(index=False))


def valid_error(corpus: Corpus, model: Path) -> float:
    """Return the validation error in % of the mean of both directions; C is chosen by the validation loss."""
    train, valid = corpus.split("train"), corpus.split("valid").head(MOST_VALID)
    y, truth = corpus.numbers(train), corpus.numbers(valid)
    probs = 0
    for direction in DIRECTIONS["both"]:
        encoder = Encoder.load(model / direction, direction=direction)
        x, x_valid = encoder.transform(train["text"]), encoder.transform(valid["text"])
        fitted = [r.fit(x, y).predict_proba(x_valid) for (scaling, _), r in regressions().items() if scaling == "parts"]
        probs = probs + min(fitted, key=lambda p: mean_loss(p, truth))
    return 100 * float((probs.argmax(axis=1) != truth).mean())


def plot(table: pd.DataFrame) -> Figure:
    """Plot the error by number of tokens, a line per data set."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for name in PANEL:
        axes.plot(table["tokens"] / 1e6, table[name], ".-", label=name)
    axes.set(xlabel="million tokens of pretraining", ylabel="validation error of features, %", ylim=(0, None))
    axes.set_xscale("log")
    axes.set_xticks(ticks := [20, 50, 100, 200], map(str, ticks))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right", fontsize="small")
    return figure


if __name__ == "__main__":
    with clean_exit():
        tyro.cli(main, description=__doc__)
