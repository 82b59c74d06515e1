"""The language model's loss and the Adam step: fastai's arithmetic in fewer passes over memory."""

import math

import torch
import torch.nn.functional as F
from fastai.text.all import LinearDecoder, Module, Optimizer
from torch.optim.adamw import adamw

from .tokenizer import UNK_ID

CHUNK, CUDA_CHUNK = 2**23, 2**27
"""Number of logits computed at once, on a CPU (to stay near its cache) and on a GPU (few and large products)."""


class FeatureDecoder(Module):
    """fastai's LinearDecoder without its matrix product; the features `bs x len x emb_sz` go to `LMLoss`."""

    def __init__(self, linear: LinearDecoder):
        self.decoder, self.output_dp = linear.decoder, linear.output_dp

    def forward(self, input):
        features = self.output_dp(input)
        return features, input, features


class LMLoss:
    """Mean cross entropy of a decoder's logits, without holding all of them in memory at once.

    fastai writes and reads the logits, 16,000 and more per token, about ten times a step. Here a few rows at a time are
    computed, turned into their own gradient in place, and multiplied by the weights.

    With `samples`, a training step computes the logits of its own target words and of this many others, drawn uniformly
    without replacement and shared by the batch (sampled softmax; Jean et al. 2015). Words with ids from
    `n_targets` on are input only: as targets they count as the unknown word.
    """

    def __init__(self, decoder: FeatureDecoder, samples: int | None, n_targets: int):
        self.linear, self.samples, self.n_targets = decoder.decoder, samples, n_targets

    def __call__(self, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        features, targets = features.as_subclass(torch.Tensor), targets.as_subclass(torch.Tensor)
        dtype = features.dtype
        if torch.is_autocast_enabled(features.device.type):
            dtype = torch.get_autocast_dtype(features.device.type)
        rows, targets = features.flatten(0, -2).to(dtype), targets.flatten()
        weight, bias = self.linear.weight[: self.n_targets], self.linear.bias[: self.n_targets]
        with_grad = torch.is_grad_enabled()
        targets = targets.masked_fill(targets >= self.n_targets, UNK_ID)
        if self.samples is not None and with_grad:
            weight, bias, targets = self._sampled(weight, bias, targets)
        with torch.autocast(features.device.type, enabled=False):  # on CUDA, autocast would make the softmax float32
            return _CrossEntropy.apply(rows, weight.to(dtype), bias.to(dtype), targets, with_grad)

    def _sampled(self, weight: torch.Tensor, bias: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return weight and bias for the batch's own words and the drawn ones, and the targets as indices into these.

        The drawn words represent all candidates: log(candidates / drawn) is added to their logits, which makes the
        estimate of the softmax's denominator unbiased.
        """
        needed, places = targets.unique(return_inverse=True)
        candidates = torch.ones(len(bias), dtype=torch.bool, device=targets.device)
        candidates[needed] = False
        candidates = candidates.nonzero()[:, 0]
        drawn = candidates[torch.randperm(len(candidates), device=targets.device)[: self.samples]]
        words = torch.cat([needed, drawn])
        correction = math.log(len(candidates) / max(1, len(drawn)))
        return weight[words], bias[words] + F.pad(bias.new_full((len(drawn),), correction), (len(needed), 0)), places


class _CrossEntropy(torch.autograd.Function):
    """Linear layer and mean cross entropy for rows `n x emb_sz`; the forward pass also computes the gradient."""

    @staticmethod
    def forward(ctx, rows, weight, bias, targets, with_grad):
        size = max(1, (CUDA_CHUNK if rows.is_cuda else CHUNK) // len(weight))
        loss = rows.new_zeros((), dtype=torch.float32)
        if with_grad:
            d_rows = torch.empty_like(rows)
            d_weight, d_bias = (torch.zeros_like(t, dtype=torch.float32) for t in (weight, bias))
        for start in range(0, len(rows), size):
            x, y = rows[start : start + size], targets[start : start + size, None]
            p = torch.softmax(torch.addmm(bias, x, weight.t()), dim=1)
            loss -= p.gather(1, y).float().clamp_min(1e-38).log().sum()
            if with_grad:
                p.scatter_add_(1, y, p.new_full(y.shape, -1))
                torch.mm(p, weight, out=d_rows[start : start + size])
                d_weight += p.t() @ x
                d_bias += p.t() @ p.new_ones(len(p))  # faster than a sum over rows
        if with_grad:
            ctx.save_for_backward(d_rows, d_weight, d_bias)
            ctx.n = len(rows)
        return loss / len(rows)

    @staticmethod
    def backward(ctx, d_loss):
        d_rows, d_weight, d_bias = (g.mul_((d_loss / ctx.n).to(g.dtype)) for g in ctx.saved_tensors)
        dtype = d_rows.dtype
        return d_rows, d_weight.to(dtype), d_bias.to(dtype), None, None


def fused_adam(p, lr, mom, sqr_mom, eps, wd, do_wd=True, step=None, grad_avg=None, sqr_avg=None, **kwargs) -> dict:
    """fastai's weight_decay, average_grad, average_sqr_grad and adam_step in a single call of torch's fused AdamW."""
    if step is None:
        step, grad_avg, sqr_avg = torch.zeros((), device=p.device), torch.zeros_like(p), torch.zeros_like(p)
    adamw(
        [p.data], [p.grad], [grad_avg], [sqr_avg], [], [step], fused=True, amsgrad=False, maximize=False,
        lr=lr, beta1=mom, beta2=sqr_mom, weight_decay=wd if do_wd else 0.0, eps=eps,
    )  # fmt: skip
    return {"step": step, "grad_avg": grad_avg, "sqr_avg": sqr_avg}


def FusedAdam(params, lr, mom=0.7, sqr_mom=0.99, eps=1e-5, wd=0.01) -> Optimizer:
    """Return fastai's Adam that uses `fused_adam`, by default with the paper's betas, 0.7 and 0.99 (section 4.1)."""
    return Optimizer(params, [fused_adam], lr=lr, mom=mom, sqr_mom=sqr_mom, eps=eps, wd=wd)
