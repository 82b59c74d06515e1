"""Read fastText's format: in each line the labels, and then the text, as in `__label__good __label__cheap The soup.`"""

import json
import re
from collections.abc import Iterable, Iterator

COLUMNS = ("label", "text")
_LABELS = re.compile(r"(?:__label__\S+(?:\s+|$))*")


def is_fasttext(head: list[str]) -> bool:
    """Whether most lines begin with a label. A space follows it, and no delimiter of columns."""
    return 2 * sum(bool(re.match(r"__label__[^\s,;|]+ +[^\s;|]", line)) for line in head) > len(head)


def has_several(lines: Iterable[str]) -> bool:
    """Whether any line has more than one label."""
    return any(len(_LABELS.match(line)[0].split()) > 1 for line in lines)


def fasttext_rows(lines: Iterable[str], several: bool) -> Iterator[dict[str, str]]:
    """Yield the rows; a label is empty if the line has none, and if lines have `several`, a JSON list."""
    for line in filter(str.strip, lines):
        labels = _LABELS.match(line)[0]
        names = [label.removeprefix("__label__") for label in labels.split()]
        label = json.dumps(names, ensure_ascii=False) if several and names else "".join(names)
        yield {"label": label, "text": line.removeprefix(labels).rstrip("\n")}
