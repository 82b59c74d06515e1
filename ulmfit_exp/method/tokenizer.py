"""Texts -> words: fastai's rules and spaCy's tokenizer; characters, for languages without spaces between words."""

import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from itertools import chain, islice

from fastai.text.all import PAD, UNK, SpacyTokenizer, compose, defaults, rm_useless_spaces

from ..common import DataError

UNK_ID, PAD_ID, BOS_ID = 0, 1, 2
"""Ids that fastai gives the words xxunk, xxpad and xxbos: an unknown word, padding, the beginning of a text."""
LONGEST_WORD = 100
"""Characters; a longer word is split. spaCy's time is quadratic in a word's length."""
PIECE = 100_000
"""Characters; a longer text is tokenised in pieces, split between words. spaCy refuses a million."""
UNSPACED = ("ja", "zh", "th", "lo", "km", "my")
"""Languages written without spaces between words, which are read by characters."""
UNSPACED_CHARACTER = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)
"""A character of their scripts: Thai and Lao, Myanmar, Khmer, then Chinese and Japanese with their punctuation."""
RULES = [rule.__name__ for rule in defaults.text_proc_rules + defaults.text_postproc_rules]
TOKENIZER = {
    "spacy": version("spacy"),
    "fastai": version("fastai"),
    "lang": "en",
    "rules": RULES,
    "longest_word": LONGEST_WORD,
    "piece": PIECE,
}


@cache
def tokenizer(lang: str):
    """fastai's rules and spaCy's tokenizer as fastai makes it, without fastai's list of each token's attributes.

    The word xxpad in a text becomes xxunk: as padding it would end the text. Raises `DataError`.
    """
    try:
        spacy = SpacyTokenizer("xx" if lang in UNSPACED else lang).pipe.__self__.tokenizer
    except (ImportError, AttributeError) as e:
        if isinstance(e, ModuleNotFoundError):  # of a package that spaCy needs; of a language it is an ImportError
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
    """Spaces around each character of a script without spaces; words and numbers of other scripts stay whole."""
    return rm_useless_spaces(UNSPACED_CHARACTER.sub(r" \g<0> ", text))


def unspaced(texts: Iterable[str]) -> bool:
    """Whether scripts without spaces between words have a third of the letters, or more, of the first texts."""
    sample = "\n".join(islice(texts, 1000))
    return 3 * len(UNSPACED_CHARACTER.findall(sample)) > len(re.findall(r"\w", sample))


def words(text: str, lang: str = "en") -> list[str]:
    """fastai's tokens of a text of any size."""
    tokenize = tokenizer(lang)
    text = text.encode("utf-8", "replace").decode()  # spaCy refuses a lone surrogate
    text = text.replace("\r\n", "\n").replace("\r", "\n")  # pretrained models know only \n
    if len(text) > LONGEST_WORD:
        char = rf"(?!{UNSPACED_CHARACTER.pattern})\S" if lang in UNSPACED else r"\S"
        text = re.sub(rf"(?:{char}){{{LONGEST_WORD}}}(?={char})", r"\g<0> ", text)
    if len(text) <= PIECE:
        return tokenize(text)
    pieces = map(tokenize, re.findall(rf"(?s).{{1,{PIECE}}}(?!\S)|.{{1,{PIECE}}}", text))
    return list(chain(next(pieces), *(piece[1:] for piece in pieces)))  # each begins with xxbos
