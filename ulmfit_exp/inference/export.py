"""A finished run for others: fastai's own `export.pkl`, and a folder for the Hugging Face hub with its model card."""

import html
import shutil
from pathlib import Path

import torch
from fastai.text.all import (
    Categorize,
    CrossEntropyLossFlat,
    Datasets,
    Learner,
    Numericalize,
    Transform,
    pad_input,
)

from ..common import DataError
from ..method.pretrained import resolve
from ..method.tokens import words
from ..recipe import DIRECTIONS, PAD
from ..record import certainty, read
from . import predict


class Words(Transform):
    """A text -> its tokens."""

    def encodes(self, text: str):
        return words(text)


class Ensemble(torch.nn.Module):
    """A run's classifiers as one: the logarithm of their mean probability at the run's temperature."""

    def __init__(self, parts: dict[str, torch.nn.Module], temperature: float):
        super().__init__()
        self.directions, self.temperature = tuple(parts), temperature
        self.models = torch.nn.ModuleList(parts.values())

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids `bs x len`, padded at the end -> `bs x classes`."""
        ids, place = ids.as_subclass(torch.Tensor), torch.arange(ids.size(1), device=ids.device)
        last = (ids != PAD).sum(dim=1, keepdim=True) - 1
        turned = {"forward": ids, "backward": ids.gather(1, torch.where(place <= last, last - place, place))}
        probs = [model(turned[d])[0].double().softmax(dim=1) for d, model in zip(self.directions, self.models)]
        return (sum(probs) / len(probs)).clamp_min(1e-30).log() / self.temperature


def learner(predictor: predict.Predictor) -> Learner:
    """A fastai Learner that predicts as the run does: `predict(text)`, and `get_preds(dl=dls.test_dl(texts))`."""
    ((_, ids_of), *others) = predictor.parts.values()
    assert all(other == ids_of for _, other in others)  # one tokens stage made both
    one = predictor.classes[0]  # the data are not exported, and fastai wants some to set its transforms up
    sets = Datasets(
        [one, one], [[Words(), Numericalize(list(ids_of))], [Categorize(predictor.classes)]], splits=[[0], [1]]
    )
    dls = sets.dataloaders(bs=64, before_batch=pad_input, num_workers=0, device=torch.device("cpu"))
    model = Ensemble({d: model for d, (model, _) in predictor.parts.items()}, predictor.temperature)
    return Learner(dls, model, loss_func=CrossEntropyLossFlat())


def hub_folder(run: Path, out: Path) -> list[str]:
    """Write to `out` what the hub is to hold of a finished run: its record, its model card and its models.

    `forward` and `backward` are fine-tuned language models as --pretrained reads them, `classifier` is what
    `ulmfit_exp.predict` reads. Returns what was left out. Raises `DataError`.
    """
    record = read(run)
    out.mkdir(parents=True, exist_ok=True)
    missing = []
    for direction in record_directions(record):
        try:
            files = resolve(str(run), (direction,), None)[direction].files
        except DataError:
            missing.append(f"the {direction} language model, which lies in the home where the run was made")
            continue
        (out / direction).mkdir(exist_ok=True)
        for file in files:
            shutil.copyfile(file, out / direction / file.name)
    if (run / "classifier").is_dir():
        shutil.copytree(run / "classifier", out / "classifier", dirs_exist_ok=True)
    shutil.copyfile(run / "result.json", out / "result.json")
    (out / "README.md").write_text(card(record), encoding="utf-8")
    return missing


def record_directions(record: dict) -> tuple[str, ...]:
    """The directions in which the run's language models read."""
    stages = {s["name"] for s in record["stages"]}
    return tuple(d for d in DIRECTIONS["both"] if f"lm {d}" in stages)


def card(record: dict) -> str:
    """The model card, in the hub's Markdown, of a run's record."""
    corpus, settings, versions = record["corpus"], record["settings"], record["versions"]
    task = "text-classification" if "test" in record else "text-generation"
    lines = [
        "---",
        "language: en",
        "library_name: fastai",
        f"pipeline_tag: {task}",
        "tags: [ulmfit, awd-lstm, text]",
        "---",
        "",
        f"# ULMFiT: {_plain(corpus['name'])}",
        "",
        "AWD-LSTM language models fine-tuned on the texts"
        + (", and classifiers on top of them" if "test" in record else "")
        + " (Howard & Ruder 2018). Made from the record `result.json` in this folder.",
        "",
        f"- texts: {_plain(corpus['name'])}, SHA-256 {corpus['digest'][:16]}…, {corpus['tokens']:,} tokens, "
        f"{corpus['vocab']:,} words in the vocabulary",
        f"- recipe: {settings['recipe_name']}, pretrained: {_plain(str(settings['recipe'].get('pretrained')))}, "
        f"seed {record['seed']}, {' and '.join(record_directions(record))}",
        f"- made with fastai {versions['fastai']} and torch {versions['torch']}, commit {record['commit']}",
        "",
    ]
    if "test" in record:
        lines += _results(record)
    else:
        lines += [f"- perplexity on {name}: {f['perplexity']:.1f}" for name, f in record["perplexity"].items()]
    lines += [
        "",
        "The weights are safetensors; nothing here is a pickle. `forward/` and `backward/` are language models to",
        "start from (`--pretrained hf:OWNER/NAME`); with `classifier/` the folder predicts",
        "(`python -m ulmfit_exp.predict FOLDER texts.csv`). The figures are of texts like those it was made from; of",
        "others they say nothing. The texts may have terms of their own, which their owner can tell.",
        "",
    ]
    return "\n".join(lines)


def _results(record: dict) -> list[str]:
    test, base = record["test"], record["baseline"]
    head = [
        f"Test error {100 * test['error']:.2f} % on {test['n']:,} texts, {base['method']} {100 * base['error']:.2f} %.",
        *certainty(record).splitlines(),
        "",
        "| class | precision | recall | test texts |",
        "| --- | --- | --- | --- |",
    ]
    return head + [
        f"| {_plain(c)} | {f['precision']:.2f} | {f['recall']:.2f} | {f['n']:,} |"
        for c, f in record["per_class"].items()
    ]


def _plain(text: str) -> str:
    """A user's text as text: no HTML, no Markdown, one line."""
    text = html.escape(" ".join(text.split()))
    return "".join(f"\\{c}" if c in "|`*_[]#<>!" else c for c in text)
