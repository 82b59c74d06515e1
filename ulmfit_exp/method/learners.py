"""fastai's AWD_LSTM learners for the two tasks, with the fixes that fastai needs; loading weights into them."""

from pathlib import Path

import numpy as np
from fastai.text.all import (
    AccumMetric,
    BCEWithLogitsLossFlat,
    CrossEntropyLossFlat,
    GradientClip,
    LMLearner,
    TextDataLoaders,
    TextLearner,
    error_rate,
    tensor,
)
from fastai.text.learner import _get_text_vocab
from fastai.text.models.awdlstm import awd_lstm_clas_split, awd_lstm_lm_split
from safetensors.torch import load_file
from torch import Tensor

from ..corpora import multilabel
from ..recipe import LMRecipe, Recipe, Training
from .fused import FeatureDecoder, FusedAdam, LMLoss
from .machine import Autocast
from .models import classifier, language_model


def lm_learner(dls: TextDataLoaders, recipe: LMRecipe, precision: str) -> LMLearner:
    """Return a language-model learner with random weights and 4 layer groups: the LSTMs, then embedding and decoder."""
    model = language_model(len(dls.vocab), recipe.model, recipe.lm.drop_mult)
    model[1] = FeatureDecoder(model[1])
    loss = LMLoss(model[1], recipe.softmax_samples, dls.targets)
    options = learner_options(recipe.lm, precision)
    return LMLearner(dls, model.to(dls.device), loss_func=loss, splitter=awd_lstm_lm_split, **options)


def clas_learner(
    dls: TextDataLoaders,
    n_out: int,
    recipe: Recipe,
    precision: str,
    weight: np.ndarray | None = None,
    multi_label: bool = False,
    thresh: float | Tensor = 0.5,
) -> TextLearner:
    """Return a classifier for `n_out` classes with random weights and 5 layer groups: embedding, the LSTMs, head.

    `weight` is the weight of each class in the loss. With `multi_label`, a text has the labels that reach `thresh`.
    """
    weight = None if weight is None else tensor(weight).float().to(dls.device)
    model = classifier(len(_get_text_vocab(dls)), n_out, recipe).to(dls.device)
    options = {**loss_and_error(multi_label, weight, thresh), **learner_options(recipe.clas, precision)}
    return TextLearner(dls, model, splitter=awd_lstm_clas_split, **options)


def loss_and_error(multi_label: bool, weight: Tensor | None = None, thresh: float | Tensor = 0.5) -> dict:
    """Return fastai's loss with class weights, and the error; with `multi_label`, for labels that reach `thresh`."""
    if not multi_label:
        return {"loss_func": CrossEntropyLossFlat(weight=weight), "metrics": error_rate}
    as_arrays = {"activation": "sigmoid", "to_np": True, "flatten": False}
    metric = AccumMetric(multilabel.error, **as_arrays, name="error_rate", thresholds=np.asarray(thresh))
    return {"loss_func": BCEWithLogitsLossFlat(pos_weight=weight, thresh=thresh), "metrics": metric}


def learner_options(training: Training, precision: str) -> dict:
    """Return the options that all learners share: the paper's Adam, weight decay, clipped gradients, fp32 or bf16."""
    cbs = [GradientClip(training.clip), *([Autocast()] if precision == "bf16" else [])]
    return {"opt_func": FusedAdam, "wd": training.wd, "cbs": cbs}


def load_lm_encoder(learn: TextLearner, path: Path) -> None:
    """Load into a classifier the encoder of a saved language model with the same vocabulary."""
    weights = {k.removeprefix("0."): w for k, w in load_file(path).items() if k.startswith("0.")}
    learn.model[0].module.load_state_dict(weights | {"encoder_dp.emb.weight": weights["encoder.weight"]})
