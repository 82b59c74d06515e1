"""A user's own labelled texts, in a table or in folders of a class each -> `Corpus`; what was found is said.

corpus, notes = load(Path("reviews.csv"))
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from charset_normalizer import from_bytes

from ..common import DataError
from .archives import MOST_COLUMNS, parquet_rows, readable, unpacked
from .corpus import Corpus, sound
from .documents import JSON_LINES
from .splits import stratified

ENCODINGS = ["utf_16", "cp1252", "cp1251", "cp1253", "cp1255", "cp1256", "shift_jis", "gb18030", "big5", "euc_kr"]
"""Of tables that are not UTF-8, one for each script: which of the Latin ones it is, a short text does not tell."""
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
LABEL_NAMES = ("label", "class", "category", "target", "sentiment", "topic", "stars", "rating", "score", "type")
SPLIT_NAMES = {"train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid"} | {
    "dev": "valid", "test": "test", "unlabelled": "unlabelled", "unlabeled": "unlabelled", "unsup": "unlabelled",
}  # fmt: skip
MOST_CLASSES = 0.5
"""Of its rows, the largest share of different values that a column guessed to be the label may have."""
LONG = 10_000
"""Words from which a text is reported as very long."""


def load(
    path: Path,
    text_cols: tuple[str, ...] = (),
    label_col: str | None = None,
    split_col: str | None = None,
    valid_pct: float = 0.1,
    test_pct: float = 0.2,
    unlabelled: Path | None = None,
) -> tuple[Corpus, list[str]]:
    """The corpus of a table or folder, and notes for its owner: how it was read, what is odd in it, what was left out.

    Columns that are not named are guessed. Without a split column, `test_pct` and `valid_pct` of the rows are held out,
    stratified by class; equal texts stay on one side. `unlabelled` is a table of texts for the language model alone.
    Raises `DataError`.
    """
    table, notes = read(path)
    split_col = split_col or _guessed_split(table, (*text_cols, label_col), notes)
    text_cols, label_col = _columns(table, text_cols, label_col, split_col, path, notes)
    df = pd.DataFrame({"text": _joined(table, text_cols), "label": table[label_col].str.strip()})
    df["split"] = _named_splits(table[split_col], path) if split_col else "train"
    if unlabelled:
        more, its_notes = read(unlabelled)
        columns = [c for c in text_cols if c in more] or [_longest(more)]
        notes += [*its_notes, f"{unlabelled.name}: {len(more):,} unlabelled texts from {_and(columns)}"]
        df = pd.concat([df, pd.DataFrame({"text": _joined(more, columns), "label": "", "split": "unlabelled"})])
    df.loc[(df["label"] == "") & (df["split"] == "train"), "split"] = "unlabelled"
    df = _usable(df.reset_index(drop=True), notes)
    for split, share in (("test", test_pct), ("valid", valid_pct)):
        if split not in set(df["split"]):
            _hold_out(df, split, share)
            notes.append(f"{share:.0%} of the labelled rows are held out as the {split} split")
    notes += _report(df)
    return Corpus(plain_name(path), df), [sound(note) for note in notes]


def plain_name(path: Path) -> str:
    """A table's name in letters, digits and dashes."""
    return re.sub(r"\W+", "-", sound(path.name.split(".")[0])).strip("-")[:60] or "table"


def read(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """A table whose values are all texts, and how it was read. Raises `DataError`."""
    if path.is_dir():
        return _folders(path)
    if not path.is_file():
        raise DataError(f"there is no file or folder {path}")
    if path.suffix == ".parquet":
        table = pd.concat([pd.DataFrame(), *parquet_rows(path)], ignore_index=True)
        return table.where(table.notna(), "").map(str), [f"{path.name}: Parquet"]
    with readable(path), open(path, "rb") as raw:
        content, name = unpacked(raw, path)
        text, encoding = _decoded(content.read())
    if Path(name).suffix in JSON_LINES:
        return _json_lines(text, path), [f"{path.name}: JSON lines, {encoding}"]
    return _delimited(text, path, encoding)


def _decoded(data: bytes) -> tuple[str, str]:
    """Text, and the encoding that it turned out to be in."""
    try:
        return data.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError:
        found = from_bytes(data[:1_000_000], cp_isolation=ENCODINGS).best()
        encoding = found.encoding if found else "cp1252"
        return data.decode(encoding, errors="replace"), encoding


def _json_lines(text: str, path: Path) -> pd.DataFrame:
    rows, names = [], set()
    for n, line in enumerate(text.split("\n"), 1):
        try:
            row = json.loads(line) if line.strip() else {}
        except (ValueError, RecursionError) as e:
            raise DataError(f"{path}, line {n}: not JSON ({e}); one object a line is wanted") from e
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {n}: not a JSON object")
        texts = {sound(k): sound(v) if isinstance(v, str) else json.dumps(v) for k, v in row.items() if v is not None}
        rows += [texts] * bool(row)
        names.update(texts)
        if len(names) > MOST_COLUMNS:
            raise DataError(f"{path}, line {n}: more than {MOST_COLUMNS:,} different fields; is it a table of texts?")
    return pd.DataFrame(rows).fillna("")


def _delimited(text: str, path: Path, encoding: str) -> tuple[pd.DataFrame, list[str]]:
    delimiter = max(DELIMITERS, key=lambda d: _fit(text, d))
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        found = [(rows.line_num, row) for row in rows if any(cell.strip() for cell in row)]
    except csv.Error as e:
        raise DataError(f"{path}, line {rows.line_num}: {e}") from e
    if not found:
        raise DataError(f"{path} is empty")
    lines = enumerate(text.split("\n"), 1)
    plain = [(n, line.rstrip("\r").split(delimiter)) for n, line in lines if line.strip()]
    unquoted = len(plain) > len(found) and len({len(row) for _, row in plain}) == 1  # quotes are mere characters in it
    found = plain if unquoted else found
    if len(found[0][1]) > MOST_COLUMNS:
        raise DataError(f"{path} seems to have {len(found[0][1]):,} columns; is it a table of texts?")
    head, below = found[0][1], [row for _, row in found[1:]]
    named = len(set(head)) == len(head) and all(0 < len(c) <= 40 and not c.replace(".", "").isdigit() for c in head)
    named = named and not any(cell == row[i] for row in below for i, cell in enumerate(head[: len(row)]))
    columns = [c.strip() for c in head] if named else [str(i) for i in range(len(head))]
    for line, row in found:
        if len(row) != len(columns):
            raise DataError(
                f"{path}, line {line}: {len(row)} columns, but the first line has {len(columns)}; "
                f"a text with a {DELIMITERS[delimiter]} or a line break in it must stand in double quotes"
            )
    how = f"{path.name}: {encoding}, columns separated by {DELIMITERS[delimiter]}s"
    how += ", quotes are part of the text" if unquoted else ""
    how += "" if named else "; no header line, so the columns are named 0, 1, ..."
    return pd.DataFrame([row for _, row in found[named:]], columns=columns, dtype=object), [how]


def _fit(text: str, delimiter: str) -> tuple[float, int]:
    """How well a delimiter explains the first rows: their share with the commonest number of columns, and that."""
    sample = io.StringIO(text[:200_000], newline="")
    try:
        sizes = Counter(len(row) for row, _ in zip(csv.reader(sample, delimiter=delimiter), range(200)) if row)
    except csv.Error:
        return 0.0, 0
    size, times = sizes.most_common(1)[0] if sizes else (0, 0)
    return (times / sizes.total(), size) if size > 1 else (0.0, size)


def _folders(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """CLASS/*.txt, or SPLIT/CLASS/*.txt."""
    rows = list(_files(path))
    if not rows:
        raise DataError(f"{path} holds no CLASS/NAME.txt")
    table = pd.DataFrame(rows, columns=["split", "label", "text"])
    return table, [f"{path.name}: a folder of {len(table):,} .txt files, a folder a class"]


def _files(path: Path) -> Iterator[tuple[str, str, str]]:
    for file in sorted(path.rglob("*.txt")):
        *above, label = map(sound, file.relative_to(path).parts[:-1] or [""])
        split = next((SPLIT_NAMES[p.lower()] for p in above if p.lower() in SPLIT_NAMES), "")
        if label:
            with readable(file):
                yield split, label, _decoded(file.read_bytes())[0]


def _columns(table, text_cols, label_col, split_col, path, notes) -> tuple[list[str], str]:
    """Names of the text columns and of the label column: those asked for, or guessed with a reason."""
    for name in [*text_cols, *filter(None, (label_col, split_col))]:
        if name not in table:
            raise DataError(f"{path} has no column {name!r}; it has {', '.join(map(repr, table.columns))}")
    if not label_col:
        rest = [c for c in table if c not in text_cols and c != split_col]
        label_col, why = _guessed_label(table[rest], path)
        notes.append(f"label: column {label_col!r}, {why} (--label-col names another)")
    if not text_cols:
        text_cols = (_longest(table.drop(columns=[label_col, *filter(None, [split_col])])),)
        notes.append(f"text: column {text_cols[0]!r}, which has the longest values (--text-col names others)")
    return list(text_cols), label_col


def _guessed_split(table: pd.DataFrame, taken: tuple[str | None, ...], notes: list[str]) -> str | None:
    """A column named split all of whose values name one: that is how whoever made the table wants it to be used."""
    for column in table.columns.difference(taken):
        named = {SPLIT_NAMES.get(name) for name in table[column].str.strip().str.lower().unique()}
        if column.lower() == "split" and None not in named and "train" in named:
            notes.append(f"split: column {column!r}, by its name and values (--split-col names another)")
            return column
    return None


def _guessed_label(table: pd.DataFrame, path: Path) -> tuple[str, str]:
    for name in LABEL_NAMES:
        for column in table:
            if column.lower() == name:
                return column, "by its name"
    kinds = {c: table[c].nunique() for c in table if 1 < table[c].nunique() <= MOST_CLASSES * len(table)}
    if not kinds:
        raise DataError(f"{path}: no column looks like a label; name it with --label-col. There are {list(table)}")
    fewest = min(kinds, key=kinds.get)
    return fewest, f"which has the fewest different values, {kinds[fewest]}"


def _longest(table: pd.DataFrame) -> str:
    if table.empty:
        raise DataError("there is no column left that could be the text; name it with --text-col")
    return max(table, key=lambda c: table[c].str.len().mean())


def _joined(table: pd.DataFrame, columns: list[str]) -> pd.Series:
    return table[list(columns)].agg("\n".join, axis=1) if len(columns) > 1 else table[columns[0]]


def _named_splits(names: pd.Series, path: Path) -> pd.Series:
    splits = names.str.strip().str.lower().map(SPLIT_NAMES)
    if splits.isna().any():
        raise DataError(f"{path}: unknown split {names[splits.isna()].iloc[0]!r}; known are {', '.join(SPLIT_NAMES)}")
    return splits


def _usable(df: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Without empty texts, and without labels of classes that cannot stand in train, valid and test."""
    empty = df["text"].str.strip() == ""
    if empty.any():
        notes.append(f"left out: rows without a text: {empty.sum():,}")
    df = df[~empty].reset_index(drop=True)
    labelled = df["split"] != "unlabelled"
    sizes = df[labelled].drop_duplicates("text")["label"].value_counts()
    if small := sorted(sizes.index[sizes < 3]):
        rare = labelled & df["label"].isin(small)
        notes.append(f"unlabelled now: classes with fewer than 3 texts: {_and(small[:10])} ({rare.sum():,} rows)")
        df.loc[rare, ["label", "split"]] = ["", "unlabelled"]
    if df.loc[df["split"] != "unlabelled", "label"].nunique() < 2:
        raise DataError("fewer than two classes of three or more texts each are left; is the label column right?")
    return df


def _hold_out(df: pd.DataFrame, split: str, share: float) -> None:
    """Turn `share` of the train texts into another split; copies of a text go together."""
    if not 0 < share < 1:
        raise DataError(f"{share} is no share of the rows to hold out: more than 0, less than 1")
    once = df[df["split"] == "train"].drop_duplicates("text")
    classes = once["label"].nunique()
    if len(once) < 2 * max(1, classes):
        raise DataError(
            f"the train split has {len(once)} different texts of {classes} classes, too few to hold out {share:.0%} of "
            f"them as the {split} split; your own column of splits can name {split} rows"
        )
    size = min(max(classes, round(share * len(once))), len(once) - classes)
    chosen = once.loc[stratified(once, size), "text"]
    df.loc[df["text"].isin(chosen) & (df["split"] == "train"), "split"] = split


def _report(df: pd.DataFrame) -> list[str]:
    """What the owner of the data should know of it."""
    labelled = df[df["split"] != "unlabelled"]
    words = labelled["text"].str.split().str.len()
    classes = labelled["label"].value_counts()
    shown = ", ".join(f"{label} {n:,}" for label, n in classes.head(12).items())
    notes = [
        "rows: " + ", ".join(f"{split} {n:,}" for split, n in df["split"].value_counts().items()),
        f"classes: {len(classes)} ({shown}{', ...' if len(classes) > 12 else ''})",
        f"words a text: median {words.median():.0f}, 95 % below {words.quantile(0.95):.0f}, longest {words.max():,}",
    ]
    if long := int((words > LONG).sum()):
        notes.append(f"{long:,} texts of more than {LONG:,} words; the classifier pools over a text's last tokens")
    copies = labelled["text"].duplicated(keep=False)
    if copies.any():
        several = labelled[copies].groupby("text")["label"].nunique()
        notes.append(
            f"{copies.sum():,} rows are copies of another's text, {(several > 1).sum():,} texts with several labels"
        )
    train, test = (labelled[labelled["split"] == s].groupby("text")["label"].agg(set) for s in ("train", "test"))
    if both := set(train.index) & set(test.index):
        other = sum(train[t] != test[t] for t in both)
        notes.append(f"{len(both):,} test texts stand in train as well, {other:,} of them with another label")
    return notes


def _and(names) -> str:
    return ", ".join(map(repr, names))
