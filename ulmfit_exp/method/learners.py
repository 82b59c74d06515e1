"""fastai's AWD_LSTM learners for the two tasks, with the fixes that fastai needs; weights in and out."""

from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from fastai.text.all import (
    AWD_LSTM,
    CrossEntropyLossFlat,
    GradientClip,
    LMLearner,
    Module,
    SentenceEncoder,
    SequentialRNN,
    TextDataLoaders,
    TextLearner,
    dropout_mask,
    error_rate,
    get_language_model,
    get_text_classifier,
    language_model_learner,
    noop,
    text_classifier_learner,
)
from safetensors.torch import load_model, save_model

from ..recipe import LM_HEAD, LMRecipe, Recipe, Training, fastai_config
from .fused import FeatureDecoder, FusedAdam, LMLoss
from .machine import precision_cbs
from .pretrained import Pretrained

# The paper's Adam: beta1 0.7, beta2 0.99 (section 4.1).
OPTIMIZER = partial(FusedAdam, mom=0.7, sqr_mom=0.99)
NO_DROPOUT = 1e-9  # at 0 fastai's WeightDropout breaks: F.dropout then returns the parameter itself, not a copy


def lm_learner(dls: TextDataLoaders, recipe: LMRecipe, precision: str, path: Path) -> LMLearner:
    """A language-model learner with random weights; 4 layer groups: the LSTMs, then embedding and decoder."""
    learn = language_model_learner(
        dls,
        AWD_LSTM,
        config={**fastai_config(recipe.model), **LM_HEAD},
        drop_mult=recipe.lm.drop_mult or NO_DROPOUT,
        pretrained=False,
        **_common(recipe.lm, precision, path),
    )
    learn.model[1] = FeatureDecoder(learn.model[1])
    learn.loss_func = LMLoss(learn.model[1], recipe.softmax_samples)
    learn.model.to(dls.device)
    return learn


def clas_learner(dls: TextDataLoaders, n_out: int, recipe: Recipe, precision: str, path: Path) -> TextLearner:
    """A classifier of `n_out` classes with random weights; 5 layer groups: embedding, the LSTMs, head."""
    learn = text_classifier_learner(
        dls,
        AWD_LSTM,
        seq_len=recipe.seq_len,
        max_len=recipe.max_len,
        config=fastai_config(recipe.model),
        drop_mult=recipe.clas.drop_mult or NO_DROPOUT,
        n_out=n_out,
        pretrained=False,
        loss_func=CrossEntropyLossFlat(),
        metrics=error_rate,
        **_common(recipe.clas, precision, path),
    )
    _batch_free(learn.model).to(dls.device)
    return learn


def classifier(vocab_sz: int, n_out: int, recipe: Recipe) -> SequentialRNN:
    """A classifier without a learner, to predict with."""
    config = fastai_config(recipe.model)
    sizes = {"seq_len": recipe.seq_len, "max_len": recipe.max_len}
    return _batch_free(get_text_classifier(AWD_LSTM, vocab_sz, n_out, config=config, **sizes))


def _batch_free(model: SequentialRNN) -> SequentialRNN:
    encoder, head = model
    model[0] = BatchFreeEncoder(encoder.bptt, encoder.module, encoder.pad_idx, encoder.max_len)
    model[1] = ConcatPoolClassifier(head.layers)
    return model


def _common(training: Training, precision: str, path: Path) -> dict:
    cbs = [GradientClip(training.clip), *precision_cbs(precision)]
    return {"opt_func": OPTIMIZER, "wd": training.wd, "path": path, "cbs": cbs}


class BatchFreeEncoder(SentenceEncoder):
    """fastai's encoder (BPT3C; paper, section 3.3), made to give a text the same states whatever it is batched with.

    fastai 2.8 takes for granted that rows come longest first and that each text reaches the batch's last chunk, which
    its padding does not see to; it then runs the wrong rows. Here every text starts on the first chunk and drops out
    after its own last one. test_learners says when this is no longer needed. A batch of texts has one dropout of words
    and of weights for all of its chunks, and looks up the words that it has, not the vocabulary: 1.4 times as fast.
    """

    def __init__(self, bptt: int, module: AWD_LSTM, pad_idx: int, max_len: int):
        super().__init__(bptt, module, pad_idx, max_len)
        self.drop_weights = [rnn._setweights for rnn in module.rnns]
        for rnn in module.rnns:
            rnn._setweights = noop  # it would drop anew for every chunk

    def forward(self, input):
        """Token ids `bs x len`, padded at the end -> states `bs x len x emb_sz`, and mask `bs x len`: not to pool."""
        input = input.as_subclass(torch.Tensor)  # fastai's class costs at every operation
        lengths = (input != self.pad_idx).sum(dim=1)
        order = lengths.argsort(descending=True, stable=True)
        self.reset()
        for drop in self.drop_weights:
            drop()
        embedded, outs = self.embed(input[order]), []
        for start in range(0, int(lengths.max()), self.bptt):
            there = lengths[lengths > start]
            pooled = start + self.bptt > there.min() - self.max_len  # else all that counts is the state it leads to
            with torch.set_grad_enabled(torch.is_grad_enabled() and bool(pooled)):
                out = self.module(embedded[: len(there), start : start + self.bptt], from_embeds=True)
            outs.append(F.pad(out, (0, 0, 0, 0, 0, len(input) - len(there))))
        out = torch.cat(outs, dim=1)[order.argsort()]
        place = torch.arange(out.size(1), device=input.device)
        return out, (place >= lengths[:, None]) | (place < lengths[:, None] - self.max_len)

    def embed(self, input):
        """Vectors of token ids; in training whole words are dropped."""
        embedded, p = self.module.encoder(input), self.module.encoder_dp.embed_p
        if not self.training or p == 0:
            return embedded
        return embedded * dropout_mask(embedded.data, (self.module.encoder.num_embeddings, 1), p)[input]


class ConcatPoolClassifier(Module):
    """The classifier's head over the last state, the maximum and the mean of a text's states (paper, section 3.3)."""

    def __init__(self, layers):
        self.layers = layers

    def forward(self, input):
        out, mask = input
        return self.layers(concat_pool(out, mask)), out, out


def concat_pool(out: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """States `bs x len x emb_sz` and padding mask `bs x len` (True where padded) -> `bs x 3 emb_sz`: last, max, mean.

    fastai's masked_concat_pool finds the last state by counting padding in the last chunk, where a short text in a
    batch with longer ones has leading padding too: it then reads a padded place.
    """
    real = ~mask
    places = torch.arange(mask.size(1), device=mask.device)
    last = out[torch.arange(len(out), device=out.device), (real * places).argmax(dim=1)]
    highest = out.masked_fill(mask[:, :, None], -float("inf")).amax(dim=1)
    mean = out.masked_fill(mask[:, :, None], 0).sum(dim=1) / real.sum(dim=1, keepdim=True)
    return torch.cat([last, highest, mean], dim=1)


def save_weights(learn: TextLearner, path: Path) -> None:
    """The model's weights as safetensors; tied weights once."""
    save_model(learn.model, str(path))


def load_weights(learn: TextLearner, path: Path) -> None:
    """Weights that `save_weights` wrote, into a learner of the same recipe."""
    load_model(learn.model, str(path))


def load_pretrained(learn: LMLearner, pretrained: Pretrained) -> dict[str, int]:
    """Start from a pretrained language model; says how many `words_found` of the `words` of the vocabulary it knew."""
    weights, found = pretrained.matched(learn.dls.vocab)
    learn.model.load_state_dict(weights)
    return found


def load_lm_encoder(learn: TextLearner, path: Path, recipe: Recipe) -> None:
    """The encoder of a saved language model with the same vocabulary, into a classifier."""
    lm = get_language_model(AWD_LSTM, len(learn.dls.vocab), config={**fastai_config(recipe.model), **LM_HEAD})
    load_model(lm, str(path))
    learn.model[0].module.load_state_dict(lm[0].state_dict())
