"""Measure training speed against stock fastai, and as a share of the processor's peak in matrix products.

python scripts/dev/benchmark.py train lm            the language model: the same tokens, weights and rates for both
python scripts/dev/benchmark.py train classifier    the classifier, on texts of the lengths of reviews
python scripts/dev/benchmark.py tokens              tokenising a corpus: tokens per second and core, memory
python scripts/dev/benchmark.py predict RUN         short texts on the command line: texts per minute, memory
python scripts/dev/benchmark.py onnx RUN            predicting in a running process, by torch and by ONNX Runtime

Each side trains in a process of its own, one after the other. The last line printed is a JSON object; --out writes it
to a file.
"""

import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import tyro

from ulmfit_exp.cli import clean_exit, import_part
from ulmfit_exp.common import DataError
from ulmfit_exp.recipe import PRETRAINING


def train(
    task: tyro.conf.Positional[Literal["lm", "classifier"]],
    steps: int = 60,
    bs: int = 64,
    corpus: str | None = "wikitext-2",
    size: Literal["small", "paper", "tiny"] = "small",
    device: str = "cpu",
    out: Path | None = None,
) -> None:
    """Train the language model (`bs` x 70 tokens per step) or the classifier with stock fastai, then with this package.

    The classifier's texts are cut from the corpus, with log-normal lengths of median 180, like those of reviews.

    Args:
        task: Model to train.
        steps: Training steps of each side; tokens per second are measured over the last three quarters.
        bs: Number of text streams, or for the classifier of texts of similar length per batch.
        corpus: As in experiments.pretrain; None uses random words.
        size: Shape of the model; small is that of the shipped model.
        device: auto uses a GPU if there is one; or cpu, cuda, cuda:N.
        out: Write the JSON object to this file.
    """
    if steps < 20:
        raise DataError("--steps must be 20 or more: the first ones are warming up")
    from ulmfit_exp.method.tokens import write_tokens

    with tempfile.TemporaryDirectory() as folder:
        words = PRETRAINING[size].max_vocab
        if corpus is None:
            write_random(Path(folder), steps * bs * 70, 1_000 if size == "tiny" else words)
        else:
            write_tokens(documents(corpus), Path(folder), words, 2)
        options = {"task": task, "folder": folder, "steps": steps, "bs": bs, "size": size, "device": device}
        sides = {side: train_side(side, **options) for side in ("stock", "ours")}
    ratio = round(sides["ours"]["tokens_per_second"] / sides["stock"]["tokens_per_second"], 2)
    print(f"ratio {ratio}")
    model = asdict(PRETRAINING[size].model)
    finish(task, {"ratio": ratio, "corpus": corpus, "steps": steps, "bs": bs, "model": model, **sides}, out)


def train_side(side: str, **options) -> dict:
    """Train one side in a process of its own; print and return its figures."""
    command = [sys.executable, Path(__file__).with_name("benchmark_training.py"), "--side", side]
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    env = os.environ | {"GOMP_SPINCOUNT": "1000" if side == "ours" else "300000"}  # ours, and OpenMP's default
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
    figures = json.loads(done.stdout.splitlines()[-1])
    print(describe(side, figures), flush=True)
    return figures


def tokens(corpus: str = "wikipedia", max_vocab: int = 16_000, out: Path | None = None) -> None:
    """Tokenise a corpus into a temporary folder.

    Args:
        corpus: As in experiments.pretrain.
        max_vocab: Maximum size of the vocabulary.
        out: Write the JSON object to this file.
    """
    import psutil

    from ulmfit_exp.method.tokens import write_tokens

    me, peak, over = psutil.Process(), 0, threading.Event()

    def watch():
        nonlocal peak
        while not over.wait(0.2):
            used = 0
            for p in [me, *me.children(recursive=True)]:
                try:  # counts shared pages once, if the system reports them
                    used += getattr(p.memory_full_info(), "pss", 0) or p.memory_info().rss
                except psutil.Error:
                    continue
            peak = max(peak, used)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            info = write_tokens(documents(corpus), Path(folder), max_vocab, 2)
    finally:
        over.set()
        watcher.join()
    seconds = time.perf_counter() - start
    rate = info["tokens"] / seconds
    figures = {"corpus": corpus, **info, "seconds": round(seconds, 1), "tokens_per_second": round(rate)}
    figures |= {"tokens_per_second_a_core": round(rate / (os.cpu_count() or 1)), "peak_memory_gb": round(peak / 1e9, 2)}
    finish("tokens", figures, out)


def predict(
    run: tyro.conf.Positional[Path], sizes: tuple[int, ...] = (1, 100, 100_000), out: Path | None = None
) -> None:
    """Time `python -m ulmfit_exp.predict RUN texts.jsonl`, start included, on numbered sentences of the bundled texts.

    Args:
        run: Folder of a finished run.
        sizes: Numbers of texts, one measurement each.
        out: Write the JSON object to this file.
    """
    from ulmfit_exp.corpora import sfu
    from ulmfit_exp.corpora.sources import MINIATURE
    from ulmfit_exp.record import read

    record, sentences = read(run), [s for t in sfu.load(MINIATURE).df["text"] for s in t.split(". ")]
    figures = {"model": record["model"], "directions": list(record["directions"]), "sizes": {}}
    figures["load"] = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "texts.jsonl", Path(folder) / "predictions.csv"
        for n in sizes:
            texts = [f"{i}: {sentences[i % len(sentences)]}" for i in range(n)]
            source.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
            command = [sys.executable, "-m", "ulmfit_exp.predict", str(run), str(source), "--out", str(target)]
            start = time.perf_counter()
            process = subprocess.Popen(command)
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            if status or len(target.read_text().splitlines()) != n + 1:
                sys.exit("error: the prediction failed")
            figures["sizes"][n] = {
                "seconds": round(seconds, 1),
                "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
                "texts_per_minute": round(60 * n / seconds),
                "peak_memory_mb": round(used.ru_maxrss / 1024),
            }
            print(f"{n:>9,} texts  {figures['sizes'][n]}", flush=True)
    figures["words_a_text"] = round(sum(len(t.split()) for t in texts) / len(texts), 1)
    finish("predict", figures, out)


def onnx(
    run: tyro.conf.Positional[Path], sizes: tuple[int, ...] = (1, 1000), repeat: int = 5, out: Path | None = None
) -> None:
    """Time the run's predictor and the predict.py of `scripts/export.py --onnx` on bundled reviews; keep the fastest.

    Args:
        run: Folder of a finished run.
        sizes: Numbers of texts, one measurement each.
        repeat: Number of times each is measured, the two in turn.
        out: Write the JSON object to this file.
    """
    from ulmfit_exp.corpora import sfu
    from ulmfit_exp.corpora.sources import MINIATURE
    from ulmfit_exp.inference import onnx, predict

    predictor, bundled = predict.load(run), sfu.load(MINIATURE).df["text"]
    figures = {
        "model": asdict(predictor.recipe.model),
        "directions": list(predictor.models),
        "repeat": repeat,
        "sizes": {},
    }
    figures["words_a_text"] = round(float(bundled.str.split().str.len().mean()), 1)
    with tempfile.TemporaryDirectory() as folder:
        onnx.write(predictor, Path(folder))
        exported = runpy.run_path(f"{folder}/predict.py")["probabilities"]
        for n in sizes:
            texts = [f"{i}: {bundled[i % len(bundled)]}" for i in range(n)]
            seconds = {"torch": [], "onnxruntime": []}
            for _ in range(repeat):
                for side, predict_texts in zip(seconds, (predictor.probabilities, exported)):
                    start = time.perf_counter()
                    predict_texts(texts)
                    seconds[side].append(time.perf_counter() - start)
            figures["sizes"][n] = {side: round(min(each), 4) for side, each in seconds.items()}
            print(f"{n:>9,} texts  seconds {figures['sizes'][n]}", flush=True)
    finish("onnx", {**figures, "load": os.getloadavg()[0]}, out)


def documents(corpus: str) -> Iterable[tuple[str, str]]:
    """Return the texts of a corpus and their splits, as read by experiments.pretrain."""
    return import_part("experiments").experiment("pretrain")(corpus=corpus).texts().documents()


def write_random(folder: Path, tokens: int, words: int) -> None:
    """Write texts of 1,000 random words each, with word frequencies like those of a language (Zipf's law)."""
    import numpy as np

    random, texts = np.random.default_rng(0), 2 + tokens // 1_000
    ids = np.exp(random.uniform(np.log(2), np.log(words), texts * 1_000)).astype(np.uint16)
    np.save(folder / "ids.npy", ids)
    np.save(folder / "offsets.npy", np.arange(texts + 1) * 1_000)
    np.save(folder / "splits.npy", np.zeros(texts))
    (folder / "vocab.json").write_text(json.dumps([f"w{i}" for i in range(words)]))
    (folder / "targets.json").write_text(str(words))


def describe(side: str, figures: dict) -> str:
    parts = "  ".join(f"{kind} {share:.0%}" for kind, share in figures["time"].items())
    return (
        f"{side:<6}{figures['tokens_per_second']:>8,} tokens/s  {figures['precision']}  last quarter's loss "
        f"{figures['loss']:.4f}  {figures['peak_share']:.0%} of the matrix-product peak "
        f"({figures['peak_gflops']:.0f} GFLOPS in this precision), {figures['memory_mb']:,} MB\n      time: {parts}"
    )


def finish(task: str, figures: dict, out: Path | None) -> None:
    from ulmfit_exp.method import machine

    made = {"benchmark": task, **figures, **machine.description()}
    if out:
        out.write_text(json.dumps(made, indent=1) + "\n")
    print(json.dumps(made))


if __name__ == "__main__":
    commands = {f.__name__: f for f in (train, tokens, predict, onnx)}
    with clean_exit():
        tyro.extras.subcommand_cli_from_dict(commands, description=__doc__)
