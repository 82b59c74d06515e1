"""fastai's AWD_LSTM learners for the two tasks, with the fixes that fastai needs; saving and loading of weights."""

from functools import partial
from pathlib import Path

import numpy as np
from fastai.text.all import (
    AWD_LSTM,
    AccumMetric,
    BCEWithLogitsLossFlat,
    CrossEntropyLossFlat,
    GradientClip,
    LMLearner,
    SequentialRNN,
    TextDataLoaders,
    TextLearner,
    error_rate,
    get_language_model,
    get_text_classifier,
    language_model_learner,
    tensor,
    text_classifier_learner,
)
from safetensors.torch import load_model
from torch import Tensor

from ..corpora import multilabel
from ..recipe import LM_HEAD, NO_DROPOUT, LMRecipe, Recipe, Training, fastai_config
from .encoder import FeaturesHead, batch_free
from .fused import FeatureDecoder, FusedAdam, LMLoss
from .machine import precision_cbs
from .pretrained import Pretrained

# The paper's Adam: beta1 0.7, beta2 0.99 (section 4.1).
OPTIMIZER = partial(FusedAdam, mom=0.7, sqr_mom=0.99)


def lm_learner(dls: TextDataLoaders, recipe: LMRecipe, precision: str, path: Path) -> LMLearner:
    """A language-model learner with random weights; 4 layer groups: the LSTMs, then embedding and decoder."""
    learn = language_model_learner(
        dls,
        AWD_LSTM,
        config={**fastai_config(recipe.model), **LM_HEAD},
        drop_mult=recipe.lm.drop_mult or NO_DROPOUT,
        pretrained=False,
        **common(recipe.lm, precision, path),
    )
    learn.model[1] = FeatureDecoder(learn.model[1])
    learn.loss_func = LMLoss(learn.model[1], recipe.softmax_samples, dls.targets)
    learn.model.to(dls.device)
    return learn


def clas_learner(
    dls: TextDataLoaders,
    n_out: int,
    recipe: Recipe,
    precision: str,
    path: Path,
    weight: np.ndarray | None = None,
    multi_label: bool = False,
    thresh: float | Tensor = 0.5,
) -> TextLearner:
    """A classifier of `n_out` classes with random weights; 5 layer groups: embedding, the LSTMs, head.

    `weight` is that of each class in the loss; several labels of a text are those above `thresh`.
    """
    weight = None if weight is None else tensor(weight).float().to(dls.device)
    learn = text_classifier_learner(
        dls,
        AWD_LSTM,
        n_out=n_out,
        pretrained=False,
        **_shape(recipe),
        **loss_and_error(multi_label, weight, thresh),
        **common(recipe.clas, precision, path),
    )
    batch_free(learn.model, recipe.pooling).to(dls.device)
    return learn


def loss_and_error(multi_label: bool, weight: Tensor | None = None, thresh: float | Tensor = 0.5) -> dict:
    """fastai's loss, with the weight of each class, and the error. A text's labels are those above the threshold."""
    if not multi_label:
        return {"loss_func": CrossEntropyLossFlat(weight=weight), "metrics": error_rate}
    options = {"activation": "sigmoid", "to_np": True, "flatten": False, "name": "error_rate"}
    options["thresholds"] = np.asarray(thresh)
    loss = BCEWithLogitsLossFlat(pos_weight=weight, thresh=thresh)
    return {"loss_func": loss, "metrics": AccumMetric(multilabel.error, **options)}


def classifier(vocab_sz: int, n_out: int, recipe: Recipe) -> SequentialRNN:
    """A classifier without a learner, to predict with."""
    model = get_text_classifier(AWD_LSTM, vocab_sz, n_out, **_shape(recipe))
    batch_free(model, recipe.pooling)
    if recipe.head == "features":
        model[1].layers = FeaturesHead(len(recipe.pooling), recipe.model.emb_sz, n_out)
    return model


def _shape(recipe: Recipe) -> dict:
    """fastai's options of a classifier's model."""
    windows = {"seq_len": recipe.seq_len, "max_len": recipe.max_len}
    return {**windows, "config": fastai_config(recipe.model), "drop_mult": recipe.clas.drop_mult or NO_DROPOUT}


def common(training: Training, precision: str, path: Path) -> dict:
    """Options that every learner of ours has: the paper's Adam, weight decay, clipped gradients."""
    cbs = [GradientClip(training.clip), *precision_cbs(precision)]
    return {"opt_func": OPTIMIZER, "wd": training.wd, "path": path, "cbs": cbs}


def load_pretrained(learn: LMLearner, pretrained: Pretrained) -> dict[str, int]:
    """Load a pretrained language model; returns how many of the vocabulary's `words` it knows (`words_found`)."""
    weights, found = pretrained.matched(learn.dls.vocab)
    learn.model.load_state_dict(weights)
    return found


def load_lm_encoder(learn: TextLearner, path: Path, recipe: Recipe) -> None:
    """Load the encoder of a saved language model with the same vocabulary into a classifier."""
    lm = get_language_model(AWD_LSTM, len(learn.dls.vocab), config={**fastai_config(recipe.model), **LM_HEAD})
    load_model(lm, str(path))
    learn.model[0].module.load_state_dict(lm[0].state_dict())
