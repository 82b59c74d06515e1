"""The classifier's encoder (BPT3C) and pooling (paper, section 3.3): a text has the same logits in every batch."""

from threading import Lock

import numpy as np
import torch
import torch.nn.functional as F
from fastai.text.all import AWD_LSTM, Module, SentenceEncoder, dropout_mask, noop
from torch import nn

from ..recipe import POOLING

IN_USE = Lock()
"""Held for each batch of a prediction: an encoder keeps its hidden state between chunks, so threads take turns."""


class BatchFreeEncoder(SentenceEncoder):
    """fastai's encoder (BPT3C; paper, section 3.3), changed so that a text's states do not depend on its batch.

    fastai 2.8 (issue 3379) assumes that rows are sorted by length and that each text reaches the batch's last chunk.
    Its padding does not ensure this, and it then processes the wrong rows. Here every text starts in the first chunk
    and ends with its own last one. test_learners fails once this is no longer needed. All chunks of a batch share one
    dropout mask of words and of weights, and only the batch's words are embedded, not all: 1.4 times as fast.
    """

    def __init__(self, bptt: int, module: AWD_LSTM, pad_idx: int, max_len: int):
        super().__init__(bptt, module, pad_idx, max_len)
        self.drop_weights = [rnn._setweights for rnn in module.rnns]
        for rnn in module.rnns:
            rnn._setweights = noop  # else it would draw a new mask for every chunk

    def forward(self, input):
        """Token ids `bs x len`, padded at the end -> states `bs x len x emb_sz`, mask `bs x len` (True: not pooled)."""
        input = input.as_subclass(torch.Tensor)  # fastai's subclass slows down every operation
        lengths = (input != self.pad_idx).sum(dim=1)
        order = lengths.argsort(descending=True, stable=True)
        sizes = lengths[order].tolist()  # only once per batch, as the CPU waits for the GPU here
        self.reset()
        for drop in self.drop_weights:
            drop()
        embedded, outs = self.embed(input[order]), []
        for start in range(0, sizes[0], self.bptt):
            n = sum(size > start for size in sizes)
            pooled = start + self.bptt > sizes[n - 1] - self.max_len  # else only the final hidden state is used
            with torch.set_grad_enabled(torch.is_grad_enabled() and pooled):
                out = self.module(embedded[:n, start : start + self.bptt], from_embeds=True)
            outs.append(F.pad(out, (0, 0, 0, 0, 0, len(input) - n)))
        out = torch.cat(outs, dim=1)[order.argsort()]
        place = torch.arange(out.size(1), device=input.device)
        return out, (place >= lengths[:, None]) | (place < lengths[:, None] - self.max_len)

    def embed(self, input):
        """Return the embeddings of token ids; in training, with dropout of whole words."""
        embedded, p = self.module.encoder(input), self.module.encoder_dp.embed_p
        if not self.training or p == 0:
            return embedded
        return embedded * dropout_mask(embedded.data, (self.module.encoder.num_embeddings, 1), p)[input]


class ConcatPoolClassifier(Module):
    """The classifier's head, which reads a text's pooled states (paper, section 3.3)."""

    pooling = POOLING  # for classifiers pickled before this was a setting

    def __init__(self, layers, pooling: tuple[str, ...] = POOLING):
        self.layers, self.pooling = layers, pooling

    def forward(self, input):
        out, mask = input
        return self.layers(concat_pool(out, mask, self.pooling)), out, out


class FeaturesHead(Module):
    """The `layers` of `ConcatPoolClassifier` for a logistic regression on scaled features, fitted by scikit-learn."""

    def __init__(self, parts: int, width: int, n_out: int):
        self.parts, self.linear = parts, nn.Linear(parts * width, n_out)
        self.register_buffer("mean", torch.zeros(parts * width))
        self.register_buffer("scale", torch.ones(parts * width))
        self.register_buffer("by_part", torch.zeros(1))  # if 1, each part of a text is scaled to root mean square 1

    @torch.no_grad()
    def fit(self, scaling: str, pipeline) -> None:
        """Copy the parameters of a fitted pipeline from `inference.features.regressions`."""
        regression = pipeline[-1]
        scaler = pipeline[0][0] if scaling == "parts" else pipeline[0]
        regressions = getattr(regression, "estimators_", [regression])  # with several labels, one regression per label
        weight = torch.from_numpy(np.concatenate([r.coef_ for r in regressions])).float()
        bias = torch.from_numpy(np.concatenate([r.intercept_ for r in regressions])).float()
        if len(weight) == 1:  # for two classes scikit-learn has only the log-odds of the second
            weight, bias = (torch.cat([torch.zeros_like(x), x]) for x in (weight, bias))
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(bias)
        self.mean.copy_(torch.from_numpy(scaler.mean_))
        self.scale.copy_(torch.ones(()) if scaler.scale_ is None else torch.from_numpy(scaler.scale_))
        self.by_part.fill_(scaling == "parts")

    def forward(self, pooled):
        scaled = (pooled - self.mean) / self.scale
        if self.by_part:
            parts = scaled.unflatten(1, (self.parts, -1))
            scaled = (parts.size(2) ** 0.5 * F.normalize(parts, dim=2)).flatten(1)
        return self.linear(scaled)


def concat_pool(out: torch.Tensor, mask: torch.Tensor, pooling: tuple[str, ...] = POOLING) -> torch.Tensor:
    """States `bs x len x emb_sz` and mask `bs x len` (True where not pooled: padding, and tokens before the last
    `max_len`) -> `bs x parts * emb_sz`.

    fastai's masked_concat_pool finds the last state by counting the padding in the last chunk. A short text in a batch
    with longer ones has leading padding there too, so that a padded position is read.
    """
    return torch.cat([POOLS[part](out, ~mask) for part in pooling], dim=1)


def _last(out: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    positions = torch.arange(real.size(1), device=real.device)
    return out[torch.arange(len(out), device=out.device), (real * positions).argmax(dim=1)]


def _max(out: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    return out.masked_fill(~real[:, :, None], -float("inf")).amax(dim=1)


def _mean(out: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    return out.masked_fill(~real[:, :, None], 0).sum(dim=1) / real.sum(dim=1, keepdim=True)


POOLS = {"last": _last, "max": _max, "mean": _mean}
"""Functions named by `recipe.pooling`: states `bs x len x emb_sz`, mask `bs x len` (True: pooled) -> `bs x emb_sz`."""
