"""Predict with a folder written by `scripts/export.py --onnx`. Needs onnxruntime, numpy and spacy, but no torch.

python FOLDER/predict.py "A fine book." "It broke twice."
"""

import html
import json
import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import spacy

FOLDER = Path(__file__).parent
S = json.loads((FOLDER / "settings.json").read_text(encoding="utf-8"))
IDS = {word: i for i, word in enumerate(S["vocab"])}
MODEL = onnxruntime.InferenceSession(FOLDER / "model.onnx")
SPACY = spacy.blank(S["lang"]).tokenizer
for special in S["special"]:
    SPACY.add_special_case(special, [{"ORTH": special}])
HTML = [("#39;", "'"), ("amp;", "&"), ("#146;", "'"), ("nbsp;", " "), ("#36;", "$"), ("\\n", "\n"), ("quot;", "'")]
HTML += [("<br />", "\n"), ('\\"', '"'), ("<unk>", "xxunk"), (" @.@ ", "."), (" @-@ ", "-"), ("...", " …")]


def probabilities(texts: list[str]) -> np.ndarray:
    """Return probabilities `texts x classes`."""
    ids = [[IDS.get(token, 0) for token in tokens(text)] for text in texts]
    result, order = np.zeros((len(texts), len(S["classes"]))), sorted(range(len(texts)), key=lambda i: len(ids[i]))
    for batch in (order[i : i + 32] for i in range(0, len(order), 32)):  # texts of similar length
        padded = np.ones((len(batch), len(ids[batch[-1]])), dtype=np.int64)  # 1 is padding
        for row, i in enumerate(batch):
            padded[row, : len(ids[i])] = ids[i]
        result[batch] = MODEL.run(None, {"ids": padded})[0]
    return result


def tokens(text: str) -> list[str]:
    """Split a text into tokens by fastai's rules and spaCy's tokenizer."""
    text = text.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")
    char = rf"(?!{S['characters']})\S" if S["characters"] else r"\S"
    text = re.sub(rf"(?:{char}){{{S['longest_word']}}}(?={char})", r"\g<0> ", text)
    pieces = re.findall(rf"(?s).{{1,{S['piece']}}}(?!\S)|.{{1,{S['piece']}}}", text) or [""]
    words = [word.text.replace(" ", "▁") for piece in pieces for word in SPACY(marked(piece))[1:]]
    return ["xxbos", *("xxunk" if word == "xxpad" else word for word in words)]


def marked(text: str) -> str:
    """Return the text with fastai's marks for its beginning, repetitions and capital letters."""
    for old, new in HTML:
        text = text.replace(old, new)
    text = re.sub(r"(\S)(\1{2,})", lambda m: f" xxrep {len(m[2]) + 1} {m[1]} ", html.unescape(text))
    twice = r"(?:\s|^)(\w+)\s+((?:\1\s+)+)\1(\s|\W|$)"
    text = re.sub(twice, lambda m: f" xxwrep {len(m[2].split()) + 2} {m[1]} {m[3]}", text)
    text = re.sub(" {2,}", " ", re.sub(r"([/#\\])", r" \1 ", text))
    for mark, capitals in (("xxup ", r"[A-Z]+[^a-z\s]*"), ("xxmaj ", r"[A-Z][^A-Z\s]*")):
        found = rf"(\s|^)({capitals})(?=\s|$)"
        text = re.sub(found, lambda m, mark=mark: m[1] + mark * (len(m[2]) > 1) + m[2].lower(), text)
    text = f"xxbos {text.lower().strip()}"
    return re.sub(" {2,}", " ", re.sub(S["characters"], r" \g<0> ", text)) if S["characters"] else text


if __name__ == "__main__":
    for text, row in zip(sys.argv[1:], probabilities(sys.argv[1:])):
        least = S["thresholds"] or [row.max()] * len(row)
        found = [(name, f"{p:.4f}") for name, p, t in zip(S["classes"], row, least) if p >= t]
        print(*(map(";".join, zip(*found)) if found else (";", "")), text, sep="\t")
