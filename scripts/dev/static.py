"""Measure a second baseline for the table few_shot: logistic regression on static word embeddings, on the same draws.

    pip install wordllama
    python -m scripts.dev.static --data trec

A text's vector is the mean of its tokens' embeddings, scaled to unit length. C is chosen by the validation error, as
for TF-IDF.
Writes experiments/benchmarks/static.csv.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pandas as pd
import tyro
from tqdm.auto import tqdm

from experiments.paper.few_shot import DATA, REFERENCE, STATIC
from experiments.paper.tables import MOST_SEEDS, cells
from ulmfit_exp.cli import clean_exit
from ulmfit_exp.corpora.corpus import Corpus
from ulmfit_exp.inference.baselines import CHOICES
from ulmfit_exp.inference.features import regression


def main(data: tuple[Literal[DATA], ...] = DATA, data_dir: Path | None = None) -> None:
    """Measure the baseline.

    Args:
        data: Data sets.
        data_dir: As in the experiments.
    """
    model = embeddings()
    for name in data:
        rows = []
        found = [cell for cell in cells("few_shot", (name,), MOST_SEEDS) if cell.row == REFERENCE]
        for cell in tqdm(found, desc=name, unit=" runs"):
            corpus = replace(cell.settings, data_dir=data_dir).texts()
            labels = len(corpus.split("train"))
            rows.append((name, labels, cell.replicate, error(model, corpus)))
        made = pd.DataFrame(rows, columns=["data", "labels", "replicate", "error"])
        kept = [pd.read_csv(STATIC).query("data != @name")] if STATIC.exists() else []
        pd.concat([*kept, made]).to_csv(STATIC, index=False)


def embeddings():
    """Load wordllama's model of 256 dimensions from the files in its wheel, by way of a cache folder."""
    import wordllama

    with TemporaryDirectory() as cache:
        for files in ("weights", "tokenizers"):
            shutil.copytree(Path(wordllama.__file__).parent / files, Path(cache, files))
        return wordllama.WordLlama.load(cache_dir=cache, disable_download=True)


def error(model, corpus: Corpus) -> float:
    """Return the test error in %."""
    texts = {split: corpus.split(split) for split in ("train", "valid", "test")}
    x = {split: model.embed(list(part["text"]), norm=True) for split, part in texts.items()}
    y = {split: corpus.numbers(part) for split, part in texts.items()}
    models = [regression(c, multi_label=False).fit(x["train"], y["train"]) for c in CHOICES["C"]]
    best = max(models, key=lambda m: m.score(x["valid"], y["valid"]))
    return round(100 * (1 - best.score(x["test"], y["test"])), 4)


if __name__ == "__main__":
    with clean_exit():
        tyro.cli(main, description=__doc__)
