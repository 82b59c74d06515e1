"""What is faster than fastai's is the same arithmetic."""

import torch
from fastai.text.all import Adam, CrossEntropyLossFlat, LinearDecoder

from ulmfit_exp.method import fused


def test_the_fused_loss_and_its_gradients_are_cross_entropys(monkeypatch):
    monkeypatch.setattr(fused, "CHUNK", 1_000)  # several chunks, the last one smaller
    torch.manual_seed(0)
    decoder = LinearDecoder(n_out=160, n_hid=12, output_p=0.0)
    features, targets = torch.randn(4, 9, 12), torch.randint(0, 160, (4, 9))

    def gradients(loss_of):
        x = features.clone().requires_grad_()
        decoder.zero_grad()
        loss = loss_of(x)
        (3 * loss).backward()
        return [loss.detach(), x.grad, decoder.decoder.weight.grad.clone(), decoder.decoder.bias.grad.clone()]

    loss = fused.LMLoss(fused.FeatureDecoder(decoder), samples=None, n_targets=160)
    ours = gradients(lambda x: loss(x, targets))
    stock = gradients(lambda x: CrossEntropyLossFlat()(decoder(x)[0], targets))
    for a, b in zip(ours, stock):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(loss(features, targets), stock[0])


def test_the_fused_loss_in_bfloat16_is_near_that_in_float32():
    torch.manual_seed(0)
    decoder = LinearDecoder(n_out=160, n_hid=12, output_p=0.0)
    features, targets = torch.randn(4, 9, 12, requires_grad=True), torch.randint(0, 160, (4, 9))
    loss = fused.LMLoss(fused.FeatureDecoder(decoder), samples=None, n_targets=160)
    with torch.autocast("cpu", torch.bfloat16):
        low = loss(features, targets)
    high = loss(features, targets)
    torch.testing.assert_close(low, high, rtol=1e-3, atol=0)
    a, b = (torch.autograd.grad(x, features)[0] for x in (low, high))
    assert torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.999


def test_the_fused_adam_takes_fastais_steps():
    torch.manual_seed(0)
    weights, ends = torch.randn(7, 5), []
    for opt_func in (fused.FusedAdam, Adam):
        p = torch.nn.Parameter(weights.clone())
        opt = opt_func([p], lr=0.01, mom=0.7, sqr_mom=0.99, wd=0.1)
        for step in range(5):
            opt.set_hyper("lr", 0.01 * (step + 1))
            p.grad = (p.detach() - step).sin()
            opt.step()
        ends.append(p.detach())
    torch.testing.assert_close(*ends)


def test_a_sampled_softmax_trains_like_the_full_one_and_validates_with_it():
    torch.manual_seed(0)
    linear = LinearDecoder(n_out=160, n_hid=12, output_p=0.0)
    decoder = fused.FeatureDecoder(linear)
    features, targets = torch.randn(2, 9, 12, requires_grad=True), torch.randint(0, 160, (2, 9))
    full, some, all_drawn = (fused.LMLoss(decoder, samples, 160) for samples in (None, 60, 160))

    torch.testing.assert_close(all_drawn(features, targets), full(features, targets))
    with torch.no_grad():
        torch.testing.assert_close(some(features, targets), full(features, targets))
    drawn = torch.stack([some(features, targets) for _ in range(300)])
    assert drawn.std() > 0
    assert abs(drawn.mean() - full(features, targets)) < 0.02
    (gradient,) = torch.autograd.grad(some(features, targets), linear.decoder.weight)
    trained = (gradient != 0).any(dim=1)
    assert trained.sum() == len(targets.unique()) + 60
    assert trained[targets.unique()].all()


def test_words_that_are_only_read_have_no_logit_and_are_the_unknown_word_as_a_target():
    torch.manual_seed(0)
    linear = LinearDecoder(n_out=160, n_hid=12, output_p=0.0)
    features, targets = torch.randn(2, 9, 12), torch.randint(0, 160, (2, 9))
    loss = fused.LMLoss(fused.FeatureDecoder(linear), samples=None, n_targets=100)
    expected = CrossEntropyLossFlat()(linear(features)[0][..., :100], targets.masked_fill(targets >= 100, 0))
    torch.testing.assert_close(loss(features, targets), expected)
    loss(features, targets).backward()
    assert not linear.decoder.weight.grad[100:].any()
