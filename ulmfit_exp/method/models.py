"""The language model and the classifier, with random weights: fastai's AWD-LSTM and fastai's heads.

Only the classifier's pooling and the order in which it reads a batch are changed; see `encoder`.
"""

from dataclasses import asdict

from fastai.text.all import AWD_LSTM, PoolingLinearClassifier, SequentialRNN, awd_lstm_lm_config, get_language_model

from ..recipe import Model, Recipe
from .encoder import BatchFreeEncoder, ConcatPoolClassifier, FeaturesHead
from .tokenizer import PAD_ID

NO_DROPOUT = 1e-9  # 0 breaks fastai's WeightDropout: F.dropout then returns the parameter itself, not a copy


def fastai_config(model: Model) -> dict:
    """Return fastai's options for AWD_LSTM, and `output_p` for its head."""
    return {**asdict(model), "weight_p": model.weight_p or NO_DROPOUT}


def language_model(vocab_sz: int, model: Model, drop_mult: float = 1.0) -> SequentialRNN:
    """Return fastai's language model: AWD_LSTM and a linear decoder that shares the embedding's weights."""
    config = {**awd_lstm_lm_config, **fastai_config(model)}
    return get_language_model(AWD_LSTM, vocab_sz, config=config, drop_mult=drop_mult or NO_DROPOUT)


def classifier(vocab_sz: int, n_out: int, recipe: Recipe) -> SequentialRNN:
    """Return the model of fastai's `get_text_classifier` with `BatchFreeEncoder`, any pooling and a head to match."""
    drop_mult, width = recipe.clas.drop_mult or NO_DROPOUT, len(recipe.pooling) * recipe.model.emb_sz
    config = {k: v * drop_mult if k.endswith("_p") else v for k, v in fastai_config(recipe.model).items()}
    dropout = [config.pop("output_p"), 0.1]
    encoder = BatchFreeEncoder(recipe.seq_len, AWD_LSTM(vocab_sz, **config), PAD_ID, recipe.max_len)
    if recipe.head != "clas":
        head = FeaturesHead(len(recipe.pooling), recipe.model.emb_sz, n_out)
    else:
        head = PoolingLinearClassifier([width, 50, n_out], dropout, recipe.seq_len).layers
    return SequentialRNN(encoder, ConcatPoolClassifier(head, recipe.pooling))
