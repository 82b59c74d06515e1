"""Tokens: what fastai would give, test words kept out, and what the loaders feed."""

import numpy as np
import pytest
from conftest import QUICK
from fastai.text.all import SpacyTokenizer, TokenizeWithRules

from ulmfit_exp.tokens import clas_dl, dls_lm


def test_ids_are_fastais_tokens_and_the_vocabulary_is_of_training_texts(quick_tokens):
    corpus, tokens = quick_tokens
    words = list(TokenizeWithRules(tok=SpacyTokenizer())(corpus.df["text"]))
    train = corpus.df["split"].eq("train")
    seen = [w for ws, keep in zip(words, train) if keep for w in ws]
    for i in (0, 77, 159):
        expected = [w if w in tokens.vocab else "xxunk" for w in words[i]]
        assert [tokens.vocab[t] for t in tokens[i]] == expected
    counts = {w: seen.count(w) for w in set(seen)}
    assert {w for w, n in counts.items() if n >= QUICK.min_freq} <= set(tokens.vocab)
    assert {w for w in tokens.vocab if not w.startswith("xx")} <= set(counts)
    assert tokens.ids.dtype == np.uint16 and isinstance(tokens.ids, np.memmap)


def test_language_model_batches_are_the_text_and_the_text_a_word_later(quick_tokens):
    corpus, tokens = quick_tokens
    for backwards in (False, True):
        dls = dls_lm(tokens, bs=4, seq_len=30, backwards=backwards)
        x, y = dls.valid.one_batch()
        assert x.shape == y.shape == (4, 30) and (x[:, 1:] == y[:, :-1]).all()
        first = tokens[corpus.split("valid").index[0]]
        assert x[0].tolist() == (first[::-1] if backwards else first)[:30].tolist()


@pytest.mark.parametrize("shuffle", [False, True])
def test_classifier_batches_hold_every_text_once_with_its_label(quick_tokens, shuffle):
    corpus, tokens = quick_tokens
    rows = corpus.split("train")
    expected = sorted((tuple(tokens[i]), corpus.classes.index(c)) for i, c in zip(rows.index, rows["label"]))
    dl = clas_dl(tokens, corpus, "train", 37, QUICK.seq_len, backwards=False, shuffle=shuffle)  # 112 % 37 == 1
    batches = list(dl)
    got = sorted((tuple(t for t in x.tolist() if t != 1), int(y)) for xs, ys in batches for x, y in zip(xs, ys))
    assert got == expected
    assert not shuffle or all(len(ys) > 1 for _, ys in batches)
