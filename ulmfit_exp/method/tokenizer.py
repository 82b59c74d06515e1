"""Texts -> words by fastai's rules and spaCy's tokenizer; characters in languages without spaces between words."""

import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from itertools import chain, islice

from fastai.text.all import PAD, UNK, SpacyTokenizer, compose, defaults, rm_useless_spaces

from ..common import DataError

UNK_ID, PAD_ID, BOS_ID = 0, 1, 2
"""Ids that fastai gives to xxunk (an unknown word), xxpad (padding) and xxbos (the beginning of a text)."""
LONGEST_WORD = 100
"""Characters; a longer word is split, as the time that spaCy takes is quadratic in a word's length."""
PIECE = 100_000
"""Characters; a longer text is tokenised in pieces, split between words, as spaCy rejects texts above a million."""
UNSPACED = ("ja", "zh", "th", "lo", "km", "my")
"""Languages written without spaces between words; each character is a token."""
UNSPACED_CHARACTER = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)
"""A character of their scripts: Thai and Lao, Myanmar, Khmer, then Chinese and Japanese with their punctuation."""
RULES = [rule.__name__ for rule in defaults.text_proc_rules + defaults.text_postproc_rules]
TOKENIZER = {
    "spacy": version("spacy"),
    "fastai": version("fastai"),
    "rules": RULES,
    "longest_word": LONGEST_WORD,
    "piece": PIECE,
}


@cache
def tokenizer(lang: str):
    """Return a function from text to tokens, which applies fastai's rules and the spaCy tokenizer that fastai creates.

    Unlike fastai, it makes no list of each token's attributes. The word xxpad in a text becomes xxunk, as padding would
    end the text. Raises `DataError` if spaCy has no tokenizer for the language.
    """
    try:
        spacy = SpacyTokenizer("xx" if lang in UNSPACED else lang).pipe.__self__.tokenizer
    except (ImportError, AttributeError) as e:
        if isinstance(e, ModuleNotFoundError):  # of a package that spaCy needs; an unknown language is an ImportError
            raise
        raise DataError(
            f"--lang {lang}: spaCy has no tokenizer of that language here; give a code such as de, or xx, which suits "
            "most languages that put spaces between words"
        ) from e
    before, after = compose(*defaults.text_proc_rules), compose(*defaults.text_postproc_rules)
    if lang in UNSPACED:
        before = compose(before, _apart)
    return lambda text: [UNK if token.text == PAD else after(token.text) for token in spacy(before(text))]


def _apart(text: str) -> str:
    """Put spaces around each character of a script without them; words and numbers in other scripts stay whole."""
    return rm_useless_spaces(UNSPACED_CHARACTER.sub(r" \g<0> ", text))


def unspaced(texts: Iterable[str]) -> bool:
    """Return whether more than a third of the first 1000 texts' letters are in scripts without spaces between words."""
    sample = "\n".join(islice(texts, 1000))
    return 3 * len(UNSPACED_CHARACTER.findall(sample)) > len(re.findall(r"\w", sample))


def words(text: str, lang: str = "en") -> list[str]:
    """Return the tokens of a text of any length."""
    tokenize = tokenizer(lang)
    text = text.encode("utf-8", "replace").decode()  # spaCy rejects lone surrogates
    text = text.replace("\r\n", "\n").replace("\r", "\n")  # pretrained models know only \n
    if len(text) > LONGEST_WORD:
        char = rf"(?!{UNSPACED_CHARACTER.pattern})\S" if lang in UNSPACED else r"\S"
        text = re.sub(rf"(?:{char}){{{LONGEST_WORD}}}(?={char})", r"\g<0> ", text)
    if len(text) <= PIECE:
        return tokenize(text)
    pieces = map(tokenize, re.findall(rf"(?s).{{1,{PIECE}}}(?!\S)|.{{1,{PIECE}}}", text))
    return list(chain(next(pieces), *(piece[1:] for piece in pieces)))  # each piece begins with xxbos
