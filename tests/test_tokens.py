"""Tokens: what fastai would give, test words kept out, and what the loaders feed."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import QUICK
from fastai.text.all import LMDataLoader, SpacyTokenizer, TokenizeWithRules, set_seed

from ulmfit_exp.corpora.splits import SPLITS
from ulmfit_exp.method.batches import clas_dl, dls_lm
from ulmfit_exp.method.tokenizer import words
from ulmfit_exp.method.tokens import read_tokens, write_tokens

ROOT = Path(__file__).parents[1]


def test_ids_are_those_of_fastais_tokens_and_the_vocabulary_is_from_training_texts(quick_tokens):
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


SCRIPT = """
import sys
from pathlib import Path
from ulmfit_exp.method import tokens

print("once", flush=True)
tokens.CHUNK = 100
texts = [(f"a fine, fine book {i % 7}", "train") for i in range(40)]
tokens.write_tokens(texts, Path(sys.argv[1]), 100, 1, processes=2)
"""


@pytest.mark.slow
def test_processes_of_a_script_without_a_main_guard_do_not_run_it_again_and_write_the_same_files_as_one(tmp_path):
    for folder in ("script", "here"):
        (tmp_path / folder).mkdir()
    (tmp_path / "script.py").write_text(SCRIPT)
    command, env = [sys.executable, "script.py", "script"], {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["once"]
    texts = [(f"a fine, fine book {i % 7}", "train") for i in range(40)]
    write_tokens(texts, tmp_path / "here", 100, 1, processes=1)
    files = [{path.name: path.read_bytes() for path in (tmp_path / f).iterdir()} for f in ("script", "here")]
    assert files[0] == files[1]
    assert "ids.npy" in files[0]
    assert "raw.bin" not in files[0]


def test_long_texts_are_cut_between_words_and_endless_words_within(monkeypatch):
    monkeypatch.setattr("ulmfit_exp.method.tokenizer.PIECE", 50)
    text = "The cat sat on the mat and the dog sat on the log. " * 10
    expected = next(iter(TokenizeWithRules(tok=SpacyTokenizer())([text])))
    assert words(text) == expected and words(text).count("xxbos") == 1
    monkeypatch.undo()
    for part in ("ab", "()", "ab-", "\0", "é ", "http://x.y/"):  # seconds by the hundred thousand, hours if quadratic
        assert words(part * 10_000)[0] == "xxbos"
    assert max(map(len, words("ab" * 10_000))) == 100


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_a_line_break_is_one_token_whatever_its_form(end):
    assert words(f"one{end}two") == words("one\ntwo") == ["xxbos", "one", "\n", "two"]


def test_the_padding_token_within_a_text_does_not_end_it():
    assert words("one xxpad two XXPAD") == ["xxbos", "one", "xxunk", "two", "xxup", "xxunk"]


@pytest.mark.slow
@pytest.mark.parametrize("vocab", [200, 300, 66_000])
def test_ids_have_the_smallest_type(vocab, tmp_path):
    texts = [" ".join(f"w{i}" for i in range(start, start + 1000)) for start in range(0, vocab + 2_000, 1000)]
    info = write_tokens(((t, "train") for t in texts), tmp_path, max_vocab=vocab, min_freq=1, processes=1)
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


def test_the_language_model_trains_on_all_texts_except_those_held_out(quick_tokens):
    tokens = replace(quick_tokens[1], splits=np.arange(len(quick_tokens[1].splits)) % 4)
    dls = dls_lm(tokens, 4, 30, backwards=False)
    assert {*dls.train.dataset.rows % 4} == {SPLITS.index("train"), SPLITS.index("unlabelled")}
    assert {*dls.valid.dataset.rows % 4} == {SPLITS.index("valid")}


def test_the_tokens_to_skip_and_to_train_on_are_rounded_up_to_whole_texts(quick_tokens):
    _, tokens = quick_tokens
    rows = tokens.rows("train", "unlabelled").tolist()
    ends = np.cumsum(tokens.lengths[rows])

    def read(max_tokens, skip_tokens) -> list[int]:
        return dls_lm(tokens, 4, 30, False, max_tokens, skip_tokens).train.dataset.rows.tolist()

    assert read(None, ends[2]) == rows[3:]
    assert read(None, ends[2] + 1) == rows[4:]
    assert read(ends[5] - ends[2], ends[2]) == rows[3:6]
    assert read(ends[5] + 1, 0) == rows[:7]


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
