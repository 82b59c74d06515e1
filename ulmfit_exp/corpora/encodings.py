"""Bytes as text: the encoding of a file, and how to recognise one that is no text."""

import codecs
import re
import unicodedata
from typing import BinaryIO

from charset_normalizer import from_bytes

ENCODINGS = ("cp1252", "cp1250", "iso8859_2", "cp1254", "cp1257", "cp1251", "koi8_r", "koi8_u", "cp866", "iso8859_5")
ENCODINGS += ("cp1253", "cp1255", "cp1256", "mac_roman", "cp850", "cp852")
ENCODINGS += ("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr")
"""Guesses for what is not UTF-8, the likelier first. Others, such as Thai cp874, only --encoding can name."""
LACKING = {"cp1252": "šžŠŽ", "cp1257": "éÉóÓøØæÆåÅ"}
"""Letters of an encoding that its languages do not have, but those of cp1250 or cp1252."""
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
BLOCK, SAMPLE = 2**20, 2**16
USUAL = "‘’–—ªºµ"
"""Signs that may be anywhere in a word or number."""
FEW_OTHERS = 0.05
"""Share of the letters of a text; fewer of another script are rather signs that were read wrongly."""
CONTROLS = r"[\0-\x08\x0e-\x1a\x7f]"


def replace_surrogates(text: str) -> str:
    """`text` with each lone surrogate, which JSON and file names may bring and no file can hold, as U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_INVALID = re.compile("[\udce0-\udcef][\udc80-\udcbf]|[\udcf0-\udcf4][\udc80-\udcbf]{1,2}|[\udc80-\udcff]")
_CUT = re.compile("\udcf0(?:\udc9f|[\udc90-\udcbf][\udc80-\udcbf])|\udce2[\udc80-\udc9f]")
"""An emoji or a dash that lost its last bytes; no other encoding has these bytes in a row in a text."""


def detect_unicode(stream: BinaryIO) -> tuple[str, int]:
    """UTF-8, UTF-16 or ISO-2022-JP by all of a file's bytes, nothing if it is none of them; and how many places in it
    are not valid.

    UTF-8 with fewer invalid places than characters beyond ASCII is UTF-8: an export may cut characters at a length, and
    tables are joined from several sources.
    """
    block = stream.read(BLOCK)
    mark = next((m for m in MARKS if block.startswith(m)), None)
    if mark and mark != codecs.BOM_UTF8:
        return MARKS[mark], 0
    if b"\x1b$B" in block:  # its bytes are ASCII, and so valid UTF-8
        return "iso2022_jp", 0
    even, odd = (block[start:SAMPLE:2].count(0) for start in (0, 1))
    if max(even, odd) > max(len(block[:SAMPLE]) / 100, 4 * min(even, odd)):  # UTF-16: of ASCII, every second byte is 0
        return ("utf-16-be" if even > odd else "utf-16-le"), 0
    decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
    valid, invalid, cut = -bool(mark), 0, 0
    while block:
        following = stream.read(BLOCK)
        text = decode(block, not following)
        try:
            text.encode()
            valid += len(block.translate(None, bytes(range(0xC0))))  # first bytes of characters beyond ASCII
        except UnicodeEncodeError:
            found = _INVALID.findall(text)
            invalid += len(found)
            cut += sum(map(bool, map(_CUT.match, found)))
            valid += len(re.findall("[^\0-\x7f\udc80-\udcff]", text))
        block = following
    return ("utf-8-sig", invalid) if valid + cut >= invalid else ("", 0)


def decode_bytes(data: bytes, encoding: str) -> str:
    """Bytes as text, without the mark of UTF-8, which may be before any encoding."""
    return data.removeprefix(codecs.BOM_UTF8).decode(encoding, "replace")


def is_binary(text: str, encoding: str) -> bool:
    """Whether more than 2 % of the first characters are control characters, as in a file that is no text."""
    return len(re.findall(r"\0" if encoding == "utf-8-sig" else CONTROLS, text[:SAMPLE])) > len(text[:SAMPLE]) / 50


def guess_encoding(stream: BinaryIO) -> str:
    """The encoding of a file that is not Unicode, guessed from its first lines that are not ASCII.

    It is the one with the fewest odd characters; of equal ones the one that charset-normalizer finds less messy, then
    closer to a language; of equal ones the first in `ENCODINGS`."""
    sample = b""
    while len(sample) < SAMPLE and (line := stream.readline(BLOCK)):
        sample += b"" if line.isascii() else line
    found = [
        (_count_odd(str(match), encoding), round(match.chaos, 2), -round(match.coherence, 1), ENCODINGS.index(encoding))
        for match in from_bytes(sample, cp_isolation=list(ENCODINGS), threshold=0.6)
        for encoding in match.could_be_from_charset
        if encoding in ENCODINGS
    ]
    return ENCODINGS[min(found)[-1]] if found else ENCODINGS[0]


def _count_odd(text: str, encoding: str) -> int:
    """Characters beyond ASCII that look like others, read wrongly: letters that the languages of the encoding lack, a
    few of another script in a text of Latin ones, and those that are odd where they stand."""
    letters = [char for char in text if char.isalpha()]
    others = sum(map(_of_other_script, letters))
    few = others if others < FEW_OTHERS * len(letters) else 0
    return sum(map(text.count, LACKING.get(encoding, ""))) + few + sum(map(_odd_there, text, text[1:], text[2:]))


def _odd_there(before: str, char: str, after: str) -> bool:
    """A capital after a small letter, a sign between two letters, a letter beside a digit or one of another script."""
    if not "\x7f" < char < "\u3000" or char in USUAL:  # from there on are signs of scripts without spaces
        return False
    if not char.isalpha():
        return before.isalpha() and after.isalpha()
    latin = any("a" <= c.lower() <= "z" for c in (before, after))
    return (
        (before.islower() and char.isupper())
        or (before + after).strip("0123456789") != before + after
        or (latin and _of_other_script(char))
    )


def _of_other_script(letter: str) -> bool:
    return letter > "\x7f" and letter not in USUAL and not unicodedata.name(letter).startswith("LATIN")
