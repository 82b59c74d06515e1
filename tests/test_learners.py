"""The classifier gives a text the same logits whatever it is batched with; weights go in and out."""

from dataclasses import replace

import pytest
import torch
from conftest import QUICK
from fastai.text.all import pad_input, pad_input_chunk, tensor
from fastai.text.models.core import SentenceEncoder, masked_concat_pool

from ulmfit_exp.method import learners, models
from ulmfit_exp.method.batches import dls_clas, dls_lm
from ulmfit_exp.method.encoder import concat_pool

SEQ_LEN = QUICK.seq_len


def padded(texts):
    """As our batches are padded."""
    return torch.stack([t[0] for t in pad_input([(t,) for t in texts])])


@pytest.fixture
def texts():
    torch.manual_seed(3)
    return [torch.randint(9, 60, (n,)) for n in (3, 40, 69, 70, 71, 150, 400, 1)]


@pytest.fixture
def model(one_learner):
    model = one_learner().model.eval()
    model[0].max_len = 3 * SEQ_LEN  # shorter than the longest text
    return model


@torch.no_grad()
def test_a_text_has_the_same_logits_alone_in_a_batch_and_in_any_order(model, texts):
    alone = torch.cat([model(padded([t]))[0] for t in texts])
    for order in (range(8), range(7, -1, -1), [6, 0, 7, 3, 5, 1, 4, 2]):
        together = model(padded([texts[i] for i in order]))[0]
        assert torch.allclose(together, alone[list(order)], atol=1e-6)
    few = model(padded([texts[0], texts[5]]))[0]
    assert torch.allclose(few, alone[[0, 5]], atol=1e-6)


def test_concat_pool_reads_the_last_real_state_the_maximum_and_the_mean():
    out = torch.arange(24.0).reshape(2, 4, 3)
    mask = tensor([[True, False, False, True], [False, False, False, False]])
    pooled = concat_pool(out, mask)
    assert pooled.shape == (2, 9)
    assert pooled[0].tolist() == [6, 7, 8, 6, 7, 8, 4.5, 5.5, 6.5]
    assert pooled[1].tolist() == [21, 22, 23, 21, 22, 23, 16.5, 17.5, 18.5]


@torch.no_grad()
def test_only_the_last_tokens_of_a_long_text_are_pooled(model, texts):
    _, mask = model[0](padded([texts[6], texts[0]]))
    assert (~mask).sum(dim=1).tolist() == [3 * SEQ_LEN, 3]


def test_the_gradient_is_that_of_the_pooled_chunks(model, texts):
    """Chunks that nothing pools run without gradient; those that count lose none of it."""
    batch = padded([texts[6], texts[5]])

    def gradient(everywhere):
        model.zero_grad()
        out, mask = model[0](batch) if not everywhere else whole(batch)
        concat_pool(out, mask).pow(2).sum().backward()
        return [p.grad.clone() for p in model[0].parameters() if p.grad is not None]

    def whole(batch):  # every chunk with its gradient, the pooled ones picked afterwards
        picked, longest = model[0](batch)[1], model[0].max_len
        model[0].max_len = 10_000
        out, _ = model[0](batch)
        model[0].max_len = longest
        return out, picked

    for lean, full in zip(gradient(False), gradient(True), strict=True):
        assert full.abs().sum() > 0 and torch.allclose(lean, full, atol=1e-6)


def test_a_batch_has_one_dropout_of_words_and_weights(one_learner):
    model = one_learner().model.train()
    encoder = model[0]
    encoder.module.encoder_dp.embed_p = 0.5
    embedded = encoder.embed(torch.arange(2, 60).repeat(2, 1))
    assert torch.equal(embedded[0], embedded[1])
    dropped = (embedded[0] == 0).all(dim=1)
    assert 5 < dropped.sum() < 53
    assert torch.allclose(embedded[0, ~dropped], 2 * encoder.module.encoder.weight[2:60][~dropped])
    encoder(torch.arange(2, 60)[None])
    lstm = encoder.module.rnns[0]
    zeros = (lstm.module.weight_hh_l0 == 0) & (lstm.weight_hh_l0_raw != 0)
    encoder.module(torch.arange(2, 60)[None])
    assert torch.equal(zeros, (lstm.module.weight_hh_l0 == 0) & (lstm.weight_hh_l0_raw != 0))
    assert zeros.any()


def chunked(texts):
    """As fastai pads a batch for its SentenceEncoder: whole chunks before the text, the rest after it."""
    return torch.stack([t[0] for t in pad_input_chunk([(t,) for t in texts], seq_len=SEQ_LEN)])


@torch.no_grad()
def test_fastai_still_needs_the_fixes(model, texts):
    """When a line fails, fastai has mended its pooling or its encoder: drop concat_pool or BatchFreeEncoder."""
    stock = SentenceEncoder(SEQ_LEN, model[0].module, max_len=None)
    out, mask = stock(chunked([texts[6], texts[0]]))
    assert not torch.allclose(masked_concat_pool(out, mask, SEQ_LEN), concat_pool(out, mask))
    batch = chunked([texts[6], texts[3], texts[7]])  # the second does not reach the last chunk
    pooled = concat_pool(*stock(batch))
    assert not torch.allclose(pooled[2:], concat_pool(*stock(chunked([texts[7]]))), atol=1e-4)


@pytest.mark.parametrize("task", ["lm", "clas"])
def test_a_learner_has_the_decay_clipping_and_dropout_of_its_task(task, quick_tokens):
    corpus, tokens = quick_tokens[0], replace(quick_tokens[1], targets=100)
    training = replace(getattr(QUICK, task), wd=0.3, clip=0.7, drop_mult=2.0)
    recipe = replace(QUICK, softmax_samples=50, **{task: training})
    if task == "lm":
        learn = learners.lm_learner(dls_lm(tokens, 8, 70, False), recipe, "fp32")
        rnn, output = learn.model[0], learn.model[1].output_dp
        assert (learn.loss_func.samples, learn.loss_func.n_targets) == (50, 100)
    else:
        learn = learners.clas_learner(dls_clas(tokens, corpus, 28, False), 8, recipe, "fp32")
        rnn, output = learn.model[0].module, learn.model[1].layers[0][1]
    assert (learn.wd, learn.gradient_clip.max_norm) == (0.3, 0.7)
    dropouts = (rnn.input_dp.p, rnn.hidden_dps[0].p, rnn.rnns[0].weight_p, output.p)
    assert dropouts == pytest.approx((0.2,) * 4)  # twice those of the recipe


def test_the_pooling_is_a_setting_of_the_recipe(quick_tokens):
    _, tokens = quick_tokens
    recipe = replace(QUICK, pooling=("max",))
    model = models.classifier(len(tokens.vocab), 4, recipe).eval()
    logits, out, _ = model(padded([torch.tensor([2, 20, 21]), torch.tensor([2, 22])]))
    assert logits.shape == (2, 4)
    assert model[1].layers[0][0].num_features == out.shape[2]
