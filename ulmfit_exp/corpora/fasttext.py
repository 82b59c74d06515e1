"""Read fastText's format: in each line the labels, and then the text, as in `__label__good __label__cheap The soup.`"""

import json
import re
from collections.abc import Iterable, Iterator

import pandas as pd

COLUMNS = ("label", "text")
MARK = "__label__"
_LABELS = re.compile(rf"(?:{MARK}\S+(?:\s+|$))*")


def is_fasttext(head: list[str]) -> bool:
    """Whether most lines begin with a label. A space follows it, and no delimiter of columns."""
    return 2 * sum(bool(re.match(rf"{MARK}[^\s,;|]+ +[^\s;|]", line)) for line in head) > len(head)


def fasttext_rows(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield the rows; a line without a label has an empty one."""
    for line in filter(str.strip, lines):
        labels = _LABELS.match(line)[0]
        yield {"label": labels, "text": line.removeprefix(labels).rstrip("\n")}


def without_marks(cells: pd.Series) -> pd.Series:
    """Return the labels' names if all cells are labels in this format or empty; if any cell has several, as lists in
    JSON."""
    if not cells.any() or not cells.str.fullmatch(_LABELS.pattern).all():
        return cells
    names = cells.str.split().map(lambda labels: [label.removeprefix(MARK) for label in labels])
    several = names.str.len().max() > 1
    return names.map(lambda labels: json.dumps(labels, ensure_ascii=False) if several and labels else "".join(labels))
