"""Measure one training run, with stock fastai or with this package, for `benchmark.py train`; prints JSON."""

import json
import resource
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from fastai.text.all import (
    AWD_LSTM,
    Adam,
    Callback,
    CancelFitException,
    CrossEntropyLossFlat,
    GradientClip,
    LMDataLoader,
    Pad_Chunk,
    SortedDL,
    TextDataLoaders,
    language_model_learner,
    pad_input,
    set_seed,
    text_classifier_learner,
)
from torch.profiler import ProfilerActivity, profile

from ulmfit_exp.method import learners, machine
from ulmfit_exp.method.batches import Texts, dls_lm
from ulmfit_exp.method.models import fastai_config
from ulmfit_exp.method.progress import quiet
from ulmfit_exp.method.tokens import Tokens, read_tokens
from ulmfit_exp.method.training import train
from ulmfit_exp.recipe import PRETRAINING, RECIPES, Phase, Training

KINDS = {
    "LSTM": ("mkldnn_rnn", "cudnn_rnn", "lstm", "_thnn"),
    "matrix products": ("aten::mm", "addmm", "bmm", "linear"),
    "softmax and loss": ("softmax", "nll_loss", "gather", "scatter"),
    "dropout": ("bernoulli", "dropout"),
    "copies and casts": ("copy_", "_to_copy", "cat", "clone"),
    "optimizer and clipping": ("adam", "addcdiv", "addcmul", "sqrt", "linalg_vector_norm"),
}

WIDTH = 2048
"""Rows and columns of the matrices whose product is the peak."""


def side(
    task: Literal["lm", "classifier"],
    side: Literal["stock", "ours"],
    folder: Path,
    steps: int,
    bs: int,
    size: Literal["small", "paper", "tiny"],
    device: str,
) -> None:
    """Train one side of a comparison in this process, and print its figures as JSON."""
    used = machine.use_device(device)
    precision = machine.precision("auto") if side == "ours" else "fp32"
    if side == "ours":
        machine.keep_memory()
    else:
        torch.backends.cudnn.allow_tf32 = True  # torch's default
    set_seed(0, reproducible=True)
    learn = quiet({"lm": lm_learner, "classifier": clas_learner}[task](side, folder, steps, bs, precision, size))
    watch = Timing(steps, used)
    if side == "ours":
        train(learn, Training((Phase(lr=5e-3, decay=1.0, schedule="one_cycle"),)), 0, folder, [watch])
    else:
        learn.fit_one_cycle(1, 5e-3, cbs=watch)
    rate = watch.tokens / watch.seconds
    peak = matrix_peak(torch.float32 if precision == "fp32" else torch.bfloat16, used)
    products = sum(p.numel() for n, p in learn.model.named_parameters() if "weight_" in n or "decoder.weight" in n)
    if task == "lm" and not any("decoder.weight" in n for n, _ in learn.model.named_parameters()):
        products += learn.model[0].encoder.weight.numel()  # tied weights, which are listed only as the embedding
    figures = {
        "precision": precision,
        "tokens_per_second": round(rate),
        "loss": sum(watch.losses[-steps // 4 :]) / len(watch.losses[-steps // 4 :]),
        "peak_gflops": round(peak / 1e9),
        "peak_share": 6 * products * rate / peak,
        "memory_mb": memory_mb(used),
        "time": watch.kinds(),
    }
    print(json.dumps(figures))


def lm_learner(side: str, folder: Path, steps: int, bs: int, precision: str, size: str):
    dls = dls_lm(read_tokens(folder), bs, 70, False, max_tokens=steps * bs * 70)
    recipe = replace(PRETRAINING[size], lm=replace(PRETRAINING[size].lm, bs=bs))
    if side == "ours":
        return learners.lm_learner(dls, recipe, precision)
    ds, vocab, device = dls.train.dataset, dls.vocab, dls.device
    dl = LMDataLoader(ds, lens=ds.lengths, bs=bs, seq_len=70, cache=2 * bs, shuffle=True)
    dls = TextDataLoaders(dl, dl, device=device)
    dls.vocab = vocab
    config = {**fastai_config(recipe.model), "tie_weights": True, "out_bias": True}
    common = {"opt_func": lambda p, lr: Adam(p, lr, mom=0.7, sqr_mom=0.99), "cbs": GradientClip(recipe.lm.clip)}
    return language_model_learner(
        dls, AWD_LSTM, config=config, drop_mult=1.0, pretrained=False, wd=recipe.lm.wd, path=folder, **common
    )


def clas_learner(side: str, folder: Path, steps: int, bs: int, precision: str, size: str):
    corpus, random = read_tokens(folder), np.random.default_rng(0)
    lengths = np.exp(random.normal(np.log(180), 0.7, steps * bs)).astype(int).clip(10, 1400)
    offsets = np.concatenate([[0], lengths.cumsum()])
    cut = Tokens(np.resize(corpus.ids, offsets[-1]), offsets, np.zeros(len(lengths)), corpus.vocab, corpus.targets)
    ds = Texts(cut, np.arange(len(lengths)), False, random.integers(0, 2, len(lengths)))
    padding = pad_input if side == "ours" else Pad_Chunk(seq_len=70)
    dl = SortedDL(ds, res=ds.lengths, bs=bs, shuffle=True, before_batch=padding, num_workers=0)
    dls = TextDataLoaders(dl, dl, device=machine.use_device())
    dls.vocab = corpus.vocab
    recipe = replace(RECIPES["small"], model=PRETRAINING[size].model)
    if side == "ours":
        return learners.clas_learner(dls, 2, recipe, precision)
    return text_classifier_learner(
        dls, AWD_LSTM, seq_len=70, config=fastai_config(recipe.model), drop_mult=recipe.clas.drop_mult, n_out=2,
        pretrained=False, loss_func=CrossEntropyLossFlat(), wd=recipe.clas.wd, path=folder, max_len=recipe.max_len,
        opt_func=lambda p, lr: Adam(p, lr, mom=0.7, sqr_mom=0.99), cbs=GradientClip(recipe.clas.clip),
    )  # fmt: skip


class Timing(Callback):
    """Times the last three quarters of an epoch's `steps`, and profiles five steps before them."""

    order = 80

    def __init__(self, steps: int, device: torch.device):
        self.steps, self.on_gpu, self.losses, self.tokens = steps, device.type == "cuda", [], 0
        self.profiler = profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * self.on_gpu])

    def now(self) -> float:
        if self.on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    def before_batch(self):
        if self.iter == 5:
            self.profiler.start()
        if self.iter == 10:
            self.profiler.stop()
        if self.iter == self.steps // 4:
            self.start = self.now()

    def after_batch(self):
        self.losses.append(self.loss.detach())  # reading it would make the processor wait for a GPU
        if self.iter >= self.steps // 4:
            self.tokens += (self.x != 1).sum()

    def after_train(self):
        self.seconds = self.now() - self.start
        self.losses, self.tokens = torch.stack(self.losses).tolist(), int(self.tokens)
        raise CancelFitException  # no validation

    def kinds(self) -> dict[str, float]:
        """Return the share of the time spent on each kind of operation, the largest first."""
        times = Counter()
        for e in self.profiler.key_averages():
            if e.device_type.name == "CPU":  # includes the time of its kernels
                kind = next((kind for kind, names in KINDS.items() if any(n in e.key for n in names)), "other")
                times[kind] += e.self_device_time_total if self.on_gpu else e.self_cpu_time_total
        return {kind: round(t / times.total(), 3) for kind, t in times.most_common()}


def memory_mb(device) -> int:
    """Return the peak memory of the GPU, or else of this process, in MB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() // 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def matrix_peak(dtype, device) -> float:
    """Return the FLOPS of the fastest of twelve products of two square matrices."""
    a, b = torch.randn(2, WIDTH, WIDTH, device=device).to(dtype)
    times = []
    for _ in range(12):
        start = time.perf_counter()
        (a @ b)[0, 0].item()  # waits for a GPU
        times.append(time.perf_counter() - start)
    return 2 * WIDTH**3 / min(times)


if __name__ == "__main__":
    tyro.cli(side)
