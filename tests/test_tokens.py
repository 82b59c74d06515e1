"""Tokens: what fastai would give, test words kept out, and what the loaders feed."""

import numpy as np
import pytest
import torch
from conftest import QUICK
from fastai.text.all import LMDataLoader, SpacyTokenizer, TokenizeWithRules, set_seed

from ulmfit_exp.method.batches import clas_dl, dls_lm
from ulmfit_exp.method.tokenizer import words
from ulmfit_exp.method.tokens import read_tokens, write_tokens


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


@pytest.mark.slow
def test_several_processes_write_the_same_files(quick_tokens, tmp_path, monkeypatch):
    corpus, tokens = quick_tokens
    monkeypatch.setattr("ulmfit_exp.method.tokens.CHUNK", 1_000)
    write_tokens(corpus.documents(), tmp_path, QUICK.max_vocab, QUICK.min_freq, processes=2)
    again = read_tokens(tmp_path)
    assert again.vocab == tokens.vocab and (again.ids == tokens.ids).all() and (again.offsets == tokens.offsets).all()
    assert not (tmp_path / "raw.bin").exists()


def test_long_texts_are_cut_between_words_and_endless_words_within(monkeypatch):
    monkeypatch.setattr("ulmfit_exp.method.tokenizer.PIECE", 50)
    text = "The cat sat on the mat and the dog sat on the log. " * 10
    expected = next(iter(TokenizeWithRules(tok=SpacyTokenizer())([text])))
    assert words(text) == expected and words(text).count("xxbos") == 1
    monkeypatch.undo()
    for part in ("ab", "()", "ab-", "\0", "é ", "http://x.y/"):  # seconds by the hundred thousand, hours if quadratic
        assert words(part * 10_000)[0] == "xxbos"


def test_a_texts_own_word_for_padding_does_not_end_it():
    assert words("one xxpad two XXPAD") == ["xxbos", "one", "xxunk", "two", "xxup", "xxunk"]


@pytest.mark.slow
@pytest.mark.parametrize("vocab", [200, 300, 66_000])
def test_ids_have_the_smallest_type(vocab, tmp_path):
    texts = [" ".join(f"w{i}" for i in range(start, start + 1000)) for start in range(0, vocab + 2_000, 1000)]
    info = write_tokens(((t, "train") for t in texts * 2), tmp_path, max_vocab=vocab, min_freq=1, processes=1)
    assert vocab <= info["vocab"] < vocab + 16
    assert read_tokens(tmp_path).ids.dtype == {200: np.uint8, 300: np.uint16, 66_000: np.uint32}[vocab]


def test_language_model_batches_are_the_text_and_the_text_a_word_later(quick_tokens):
    corpus, tokens = quick_tokens
    for backwards in (False, True):
        dls = dls_lm(tokens, bs=4, seq_len=30, backwards=backwards)
        x, y = dls.valid.one_batch()
        assert x.shape == y.shape == (4, 30) and (x[:, 1:] == y[:, :-1]).all()
        first = tokens[corpus.split("valid").index[0]]
        assert x[0].tolist() == (first[::-1] if backwards else first)[:30].tolist()


@pytest.mark.parametrize("backwards", [False, True])
def test_language_model_batches_are_fastais(backwards, quick_tokens):
    _, tokens = quick_tokens
    ours = dls_lm(tokens, bs=4, seq_len=30, backwards=backwards).train
    theirs = LMDataLoader(ours.dataset, lens=ours.dataset.lengths, bs=4, seq_len=30, shuffle=True)
    for _ in range(2):
        batches = []
        for dl in (ours, theirs):
            set_seed(3)
            batches.append(list(dl))
        for a, b in zip(*batches, strict=True):
            assert all(torch.equal(i, j) for i, j in zip(a, b))
            assert [*map(type, a)] == [*map(type, b)]


@pytest.mark.parametrize("shuffle", [False, True])
def test_classifier_batches_hold_every_text_once_with_its_label(quick_tokens, shuffle):
    corpus, tokens = quick_tokens
    rows = corpus.split("train")
    expected = sorted((tuple(tokens[i]), corpus.classes.index(c)) for i, c in zip(rows.index, rows["label"]))
    dl = clas_dl(tokens, corpus, "train", 37, backwards=False, shuffle=shuffle)  # 112 % 37 == 1
    batches = list(dl)
    got = sorted((tuple(t for t in x.tolist() if t != 1), int(y)) for xs, ys in batches for x, y in zip(xs, ys))
    assert got == expected
    assert not shuffle or all(len(ys) > 1 for _, ys in batches)


def test_a_union_vocabulary_has_the_texts_words_first_and_only_they_are_predicted(tmp_path):
    texts = [("a fine fine book", "train"), ("a fine kettle", "valid"), ("a broken lamp", "test")] * 2
    found = write_tokens(texts, tmp_path, 100, 2, pretrained=["xxunk", "fine", "kettle", "broken"])
    tokens = read_tokens(tmp_path)
    assert tokens.vocab[tokens.targets :] == ["kettle", "broken"]
    assert "book" in tokens.vocab[: tokens.targets]
    assert tokens.vocab.count("fine") == 1
    assert "lamp" not in tokens.vocab
    assert found["unknown_test"] == 0.25  # xxbos a broken lamp
