"""Decode bytes: detect the encoding of a file, and recognise files that are not text."""

import codecs
import re
import unicodedata
from collections.abc import Iterable
from typing import BinaryIO

from charset_normalizer import from_bytes

from ..common import chunked

ENCODINGS = ("cp1252", "cp1250", "iso8859_2", "cp1254", "cp1257", "cp1251", "koi8_r", "koi8_u", "cp866", "iso8859_5")
ENCODINGS += ("cp1253", "cp1255", "cp1256", "mac_roman", "cp850", "cp852")
ENCODINGS += ("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr")
"""Candidates for a file that is not Unicode, the likeliest first. Others, such as Thai cp874, need --encoding."""
LACKING = {"cp1252": "šžŠŽ", "cp1257": "éÉóÓøØæÆåÅ"}
"""Letters of an encoding that its own languages do not use, but languages of cp1250 or cp1252 do."""
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
BLOCK, SAMPLE = 2**20, 2**16
USUAL = "‘’–—ªºµ"
"""Signs that may be anywhere in a word or number."""
CONTROLS = r"[\0-\x08\x0e-\x1a\x7f]"


def replace_surrogates(text: str) -> str:
    """Replace each lone surrogate, which JSON and file names may contain but no file can hold, by U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_INVALID = re.compile("[\udce0-\udcef][\udc80-\udcbf]|[\udcf0-\udcf4][\udc80-\udcbf]{1,2}|[\udc80-\udcff]")
_CUT = re.compile("\udcf0(?:\udc9f|[\udc90-\udcbf][\udc80-\udcbf])|\udce2[\udc80-\udc9f]")
"""An emoji or dash without its last bytes; texts in other encodings do not have these bytes in sequence."""


def detect_unicode(stream: BinaryIO) -> tuple[str, int]:
    """Return the encoding of a file if it is UTF-8, UTF-16, UTF-32 or ISO-2022-JP, else an empty string; and the number
    of places that are not valid UTF-8, 0 unless it is UTF-8.

    UTF-8 is decided from all bytes. It may have as many invalid places as non-ASCII characters: an export may truncate
    texts within a character, and tables may be joined from several sources.
    """
    block = stream.read(BLOCK)
    mark = next((m for m in MARKS if block.startswith(m)), None)
    if mark and mark != codecs.BOM_UTF8:
        return MARKS[mark], 0
    if b"\x1b$B" in block:  # its bytes are ASCII, and so valid UTF-8
        return "iso2022_jp", 0
    even, odd = (block[start:SAMPLE:2].count(0) for start in (0, 1))
    if max(even, odd) > max(len(block[:SAMPLE]) / 100, 4 * min(even, odd)):  # UTF-16: every second byte of ASCII is 0
        return ("utf-16-be" if even > odd else "utf-16-le"), 0
    decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
    valid, invalid, cut = -bool(mark), 0, 0
    while block:
        following = stream.read(BLOCK)
        text = decode(block, not following)
        found = _INVALID.findall(text) if re.search("[\udc80-\udcff]", text) else []
        invalid += len(found)
        cut += sum(map(bool, map(_CUT.match, found)))
        valid += len(block.translate(None, bytes(range(0xC0)))) - sum(each > "\udcbf" for each in found)  # first bytes
        block = following
    return ("utf-8-sig", invalid) if valid + cut >= invalid else ("", 0)


def decode_bytes(data: bytes, encoding: str) -> str:
    """Decode bytes, without the byte order mark of UTF-8, which may precede text in any encoding."""
    return data.removeprefix(codecs.BOM_UTF8).decode(encoding, "replace")


def is_binary(text: str, encoding: str) -> bool:
    """Whether the file is not text: over 2 % of its first characters are control characters (in UTF-8: NUL)."""
    return len(re.findall(r"\0" if encoding == "utf-8-sig" else CONTROLS, text[:SAMPLE])) > len(text[:SAMPLE]) / 50


def guess_encoding(lines: Iterable[bytes]) -> str:
    """Guess the encoding of lines that are not Unicode, from the first that are not ASCII.

    The guess is the encoding with the fewest suspicious characters; ties are decided by the lower mess, then the higher
    coherence with a language that charset-normalizer finds, then by the order of `ENCODINGS`."""
    sample = b"".join(next(chunked((line for line in lines if not line.isascii()), SAMPLE), []))
    found = [
        (_count_odd(str(match), encoding), round(match.chaos, 2), -round(match.coherence, 1), ENCODINGS.index(encoding))
        for match in from_bytes(sample, cp_isolation=list(ENCODINGS), threshold=0.6)
        for encoding in match.could_be_from_charset
        if encoding in ENCODINGS
    ]
    return ENCODINGS[min(found)[-1]] if found else ENCODINGS[0]


def _count_odd(text: str, encoding: str) -> int:
    """Count the non-ASCII characters that look wrongly decoded: letters that the languages of the encoding do not use,
    and characters that are unlikely beside their neighbours."""
    return sum(map(text.count, LACKING.get(encoding, ""))) + sum(map(_odd_there, text, text[1:], text[2:]))


def _odd_there(before: str, char: str, after: str) -> bool:
    """Whether a non-ASCII character is unlikely beside its neighbours: a capital after a small letter, a sign between
    two letters, a letter beside a digit, or a letter of another script beside a Latin one."""
    if not "\x7f" < char < "\u3000" or char in USUAL:  # from U+3000 on: scripts without spaces
        return False
    if not char.isalpha():
        return before.isalpha() and after.isalpha()
    if (before.islower() and char.isupper()) or re.search("[0-9]", before + after):
        return True
    return bool(re.search("[A-Za-z]", before + after)) and not unicodedata.name(char).startswith("LATIN")
