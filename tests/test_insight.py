"""The words that are shown moved the prediction: the planted one leads, and without it the class is less likely."""

import json
import random
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest
import torch
from conftest import QUIET, TINY

from ulmfit_exp.api import OfCorpus
from ulmfit_exp.cli import run
from ulmfit_exp.common import DataError
from ulmfit_exp.corpora.corpus import Corpus
from ulmfit_exp.inference import insight, predict
from ulmfit_exp.recipe import Phase

NEUTRAL = ["the", "lamp", "stands", "on", "a", "table", "by", "our", "window", "and", "someone", "put", "it", "there"]
DECISIVE = {"for": ["splendid", "lovely"], "against": ["dreadful", "awful"]}
LEARNS = replace(
    TINY,
    pretrained="none",
    model=replace(TINY.model, output_p=0.0, hidden_p=0.0, input_p=0.0, weight_p=0.0),
    lm=replace(TINY.lm, phases=()),
    clas=replace(TINY.clas, bs=16, phases=(Phase(epochs=8, lr=0.01, decay=1.0, schedule="cos"),)),
)


@pytest.fixture(scope="module")
def decided() -> Corpus:
    """Texts of random words, one word of which decides the class."""
    order, rows = random.Random(0), []
    for split, n in (("train", 160), ("valid", 16), ("test", 24)):
        for i in range(n):
            label = list(DECISIVE)[i % 2]
            text = order.sample(NEUTRAL, k=12)
            text.insert(order.randrange(13), DECISIVE[label][i // 2 % 2])
            rows.append((" ".join(text), label, split))
    rows[-1] = (rows[-1][0], "for", "test")  # so that there is a mistake
    return Corpus("decided", pd.DataFrame(rows, columns=["text", "label", "split"]))


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> OfCorpus:
    return OfCorpus(corpus="decided", recipe_name="tiny", recipe=LEARNS, home=tmp_path_factory.mktemp("home"), **QUIET)


@pytest.fixture(scope="module")
def folder(settings, decided):
    return run(settings, decided).parent


@pytest.fixture(scope="module")
def predictor(folder) -> predict.Predictor:
    return predict.load(folder)


def heaviest(words: insight.WordWeights) -> str:
    return max(words, key=lambda pair: pair[1])[0]


def test_the_decisive_word_has_the_largest_weight_and_removing_it_lowers_the_probability(predictor, decided):
    texts, drops, others = decided.split("test")["text"].tolist()[:-1], [], []
    for text in texts:
        words = predictor.words(text)
        assert [w for w, _ in words] == text.split()
        top = heaviest(words)
        assert any(top in words for words in DECISIVE.values())
        certain = predictor.predict([text])["confidence"][0]
        said = predictor.predict([text])["class"][0]
        less = predictor.predict([" ".join(w for w in text.split() if w != left_out) for left_out in (top, *NEUTRAL)])
        drops.append(certain - less[f"p {said}"][0])
        others.append(certain - less[f"p {said}"][1:].mean())
    # without it nothing decides, and the classifier takes all texts for the same class: right for half of them
    assert sum(drops) / len(drops) > 0.3 and sum(drops) > 5 * abs(sum(others))


def test_weights_sum_to_what_the_text_adds_to_the_log_odds(predictor):
    text = "The lamp is splendid on our table, and it stands by a window."

    def log_odds(tokens):
        total = 0
        for direction, model in predictor.models.items():
            ids = torch.tensor([predictor.ids_of.get(t, 0) for t in tokens[:: -1 if direction == "backward" else 1]])
            with torch.no_grad():
                total += model(ids[None])[0][0].double().log_softmax(dim=0)
        return float(total[1] - total[0]) / 2  # of two classes: the log-odds of the second

    tokens = insight.words(text)
    added = log_odds(tokens) - log_odds(["xxbos"] + ["xxunk"] * (len(tokens) - 1))
    for name, change in (("for", added), ("against", -added)):
        weights = [w for _, w in predictor.words(text, name)]
        assert sum(weights) == pytest.approx(change, abs=0.05 * sum(map(abs, weights)))


def test_weights_depend_on_nothing_before_them_and_change_no_prediction(predictor):
    texts = ["It is lovely.", "someone put " * 300 + "it away, dreadful", "", "🙂 unheard of"]
    before, first = predictor.probabilities(texts), [predictor.words(t) for t in texts]
    assert [predictor.words(t) for t in reversed(texts)] == first[::-1]
    assert (predictor.probabilities(texts) == before).all()
    assert len(first[1]) == insight.LONGEST and first[1][-1][0] == "dreadful" and first[2] == []
    assert dict(first[3])["unheard"] == 0  # a word that is not in the vocabulary
    assert all(p.grad is None for model in predictor.models.values() for p in model.parameters())
    with pytest.raises(DataError, match="there is no class 'good'; the classes are against, for"):
        predictor.words("Fine.", "good")


def test_words_are_spelled_as_in_the_text(predictor):
    assert [w for w, _ in predictor.words("The AWFUL lamp, IT!")] == ["The", "AWFUL", "lamp", ",", "IT", "!"]
    assert [w for w, _ in predictor.words("Sooooo good, very very very good")] == [
        *("s", "ooooo", "good", ",", "very very very", "good"),
    ]
    ((word, _), *_) = predictor.words("xxrep 12345678901234567890 a")  # a text may hold fastai's own marks
    assert word == "a" * insight.LONGEST


def test_the_evaluation_keeps_its_most_confident_mistakes(folder, settings, predictor, decided):
    record = json.loads((folder / "result.json").read_text())
    kept = json.loads((settings.home / record["stages"][-1]["path"] / "mistakes.json").read_text())
    assert len(kept) == round(record["test"]["error"] * record["test"]["n"]) > 0
    assert decided.df.loc[kept[0]["row"], "text"] == kept[0]["text"]
    assert [m["confidence"] for m in kept] == sorted((m["confidence"] for m in kept), reverse=True)
    for m in kept:
        assert m["label"] != m["predicted"] == predictor.predict([m["text"]])["class"][0]
        assert heaviest(m["words"]) == heaviest(predictor.words(m["text"]))
    assert kept[0]["text"] not in json.dumps(record)


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text = set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text += data


def test_a_text_cannot_reach_the_page_it_is_shown_on():
    words = [("<script>alert(1)</script>", 2.0), ('"><img src=x onerror=alert(1)>', -1.0), ("plain", 0.0)]
    shown = Tags(insight.html(words))
    assert shown.tags == {"span"} and shown.text == " ".join(w for w, _ in words)
