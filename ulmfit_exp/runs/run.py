"""Running a command: prepare the run, compute the missing stages, write the record."""

import os
import shutil
import sys
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from fastai.text.all import rank_distrib

from ..bounds import check
from ..common import DataError, replacing, writable, write_json
from ..corpora.corpus import Corpus
from ..corpora.documents import Documents
from ..inference.predict import FILES
from ..method import distributed, machine, pretrained
from ..method.progress import quiet
from ..method.tokenizer import tokenizer
from ..method.training import train
from . import evaluation, stages, tracking
from .plan import Run, with_pretrained_shape
from .settings import Command
from .store import Stage

NO_PRETRAINING = (
    "this run starts from random weights (--pretrained none), so the model learns the language from these texts alone. "
    "With a few thousand texts or fewer its error can be far above that of a pretrained model and of the baseline; "
    "`ulmfit-exp pretrain --corpus FOLDER` pretrains one on more texts of the language"
)


def run(settings: Command, texts: Corpus | Documents | None = None) -> tuple[dict, Path]:
    """Compute every stage that is not finished, write the record, and return it with its path.

    `texts` replace those that the settings would read. Raises `DataError` and `StoreError`.
    """
    prepared = prepare(settings, texts)
    if not prepared.pretrained and isinstance(prepared.corpus, Corpus):
        print(f"warning: {NO_PRETRAINING}", flush=True)
    if (named := prepared.command.recipe_name) != settings.recipe_name:
        print(f"recipe {named}: {len(prepared.corpus.split('train')):,} labelled training texts", flush=True)
    if rank_distrib():
        _train_alongside(prepared)  # does not return
    done = _run_all(prepared)
    record = _record(prepared, done)
    with writable(settings.home):
        prepared.record.parent.mkdir(parents=True, exist_ok=True)
        _keep_classifiers(prepared, prepared.record.parent)
        write_json(prepared.record, record)
    if tracking.in_sweep():
        tracking.log_sweep(prepared.tracker("sweep"), record)
    return record, prepared.record


WORK = {
    "baseline": evaluation.baseline,
    "tokens": stages.tokenize,
    "lm": stages.finetune_lm,
    "clas": stages.train_classifier,
    "features": stages.classify_features,
    "eval": evaluation.evaluate,
    "perplexity": stages.perplexity,
}


def _run_all(run: Run) -> dict[str, Stage]:
    """Compute or reuse every stage of the plan in order; return them by name. Prints a line when each ends."""
    done = {}
    for name in run.plan:
        kind, *direction = name.split()
        done[name] = run.stage(name, partial(WORK[kind], run, *direction))
        if kind == "lm":
            distributed.end_others()
        print(_stage_line(done[name], run.environment), flush=True)
    return done


def _stage_line(stage: Stage, environment: dict) -> str:
    """Return the name and time of a stage; for a reused one, which of its versions, threads or GPU differ from now."""
    if not stage.reused:
        return f"{stage.path.name:<32} {stage.info['seconds']:.0f} s"
    then, now = (
        {**made_by["versions"], **{k: made_by["machine"][k] for k in ("threads", "gpu")}}
        for made_by in (stage.info["by"], environment)
    )
    other = [f"{k} {then.get(k)}, now {v}" for k, v in now.items() if then.get(k) != v]
    return f"{stage.path.name:<32} reused" + (f"; made with {'; '.join(other)}" if other else "")


def _train_alongside(run: Run) -> NoReturn:
    """In all processes of a launcher but the first: train the language model together with it, and write nothing."""
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing):
        while folder := distributed.next_announced():
            learn, _ = stages.new_lm(run, *run.command.directions)
            train(quiet(learn), run.recipe.lm, run.command.seed, folder)
    sys.exit()


def prepare(settings: Command, texts: Corpus | Documents | None = None) -> Run:
    """Read and check all inputs of a run; choose device and precision; connect a launcher's processes.

    Raises `DataError`.
    """
    check(settings.recipe)
    if not 0 <= settings.seed < 2**63:
        raise DataError(f"--seed {settings.seed} is impossible: it must be 0 to 2**63 - 1")
    tokenizer(settings.recipe.lang)  # raises `DataError` for an unknown language
    machine.use_device(settings.device)
    distributed.join(language_model=not hasattr(settings.recipe, "clas"))
    machine.keep_memory()
    settings = replace(settings, precision=machine.precision(settings.precision))
    models = pretrained.resolve(settings.recipe.pretrained, settings.directions, settings.data_directory)
    texts = texts or settings.texts()
    if isinstance(texts, Corpus):
        settings = settings.resolve_auto(len(texts.split("train")))
    return Run(texts, settings, with_pretrained_shape(settings.recipe, models), models)


def _keep_classifiers(run: Run, folder: Path) -> None:
    """Put a finished run's classifiers next to its record, so that this folder is enough for prediction."""
    for direction in run.command.directions if "eval" in run.plan else ():
        target = folder / "classifier" / direction
        target.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            source = run.path(run.classifier(direction)) / name
            with replacing(target / name) as part:  # another process may be doing the same
                try:
                    os.link(source, part)  # takes no disk space
                except OSError:
                    shutil.copy2(source, part)


def _record(run: Run, done: dict[str, Stage]) -> dict:
    """Return the contents of `result.json`: names, settings, texts, stages, metrics; versions, commit and machine."""
    settings = run.command
    trained = [s.info for s in done.values() if "tokens_per_second" in s.info]
    tokens = sum(row["tokens"] for info in trained for row in info["history"])
    seconds = sum(info["seconds"] for info in trained)
    *_, last = done.values()
    labelled = isinstance(run.corpus, Corpus)
    of_corpus = _about_corpus(run.corpus) if labelled else {}
    figures = _classification_figures(done) if labelled else {k: last.info[k] for k in ("perplexity", "counted")}
    return {
        "experiment": settings.name,
        **settings.names(),
        "settings": settings.settings(),
        "seed": settings.seed,
        "corpus": {
            "name": run.corpus.name,
            "digest": run.corpus.digest,
            **{k: done["tokens"].info[k] for k in ("tokens", "vocab", "unknown", "unknown_test")},
            **of_corpus,
        },
        "pretrained": {
            d: {"digest": p.digest, **{k: done[f"lm {d}"].info[k] for k in ("words_found", "words")}}
            for d, p in run.pretrained.items()
        },
        "model": asdict(run.recipe.model),
        "stages": [_stage_summary(name, stage) for name, stage in done.items()],
        **figures,
        "paper": getattr(settings, "paper", None),
        "tokens_per_second": round(tokens / max(seconds, 1e-9)),
        "history": {name: s.info["history"] for name, s in done.items() if "history" in s.info},
        **last.info["by"],
    }


def _stage_summary(name: str, stage: Stage) -> dict:
    """Return what a record keeps about a stage: where it is, and with what it was made."""
    by = stage.info["by"]
    return {
        "name": name,
        "path": f"stages/{stage.path.name}",
        "seconds": stage.info["seconds"],
        "reused": stage.reused,
        "commit": by["commit"],
        "versions": by["versions"],
        "device": by["machine"]["gpu"] or by["machine"]["cpu"],
        "threads": by["machine"]["threads"],
        "wandb": stage.info.get("wandb"),
    }


def _about_corpus(corpus: Corpus) -> dict:
    """Return the rows and classes of a corpus, and how it was read."""
    read_from = {"text_cols": list(corpus.text_cols)} if corpus.text_cols else {}
    read_from |= {"multi_label": True} if corpus.multi_label else {}
    return {"rows": corpus.counts(), "classes": corpus.classes, **read_from}


def _classification_figures(done: dict[str, Stage]) -> dict:
    """Return the metrics of our classifiers and of the baseline; none for a test set without labels."""
    found = done["eval"].info
    figures, calibrated = found["figures"], found["calibrated"]
    fitted = {k: found[k] for k in ("temperature", "at_bound", "thresholds", "raw_thresholds") if k in found}
    before_and_after = {
        f"{split} {k}": {"before": before[k], "after": calibrated[split][k]}
        for split, before in figures["mean"].items()
        for k in ("loss", "ece")
    }
    return {
        "valid": {k: figures["mean"]["valid"][k] for k in ("error", "loss")},
        **{k: v for k, v in figures["mean"].items() if k == "test"},
        **{k: found[k] for k in ("interval", "per_class", "confusion") if k in found},
        "calibration": {**fitted, **before_and_after},
        "reliability": found.get("reliability", []),  # empty if no test text has a label
        "directions": {d: f for d, f in figures.items() if d != "mean"},
        "baseline": {k: v for k, v in done["baseline"].info.items() if k not in ("seconds", "by")},
    }
