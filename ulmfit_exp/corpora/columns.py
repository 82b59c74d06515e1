"""Guess which columns of a user's table hold the split, the label and the text, and give its rows names."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from ..common import DataError, counted, quote_names
from .csv_dialect import LABEL_NAMES, TEXT_NAMES
from .options import OwnTable
from .splits import WORD, guess_split_columns, is_flag

MIN_TEXT_SHARE = 0.05
"""Columns with fewer different values, as a share of their cells, are guessed to be the text only if all are such."""
MAX_CLASS_SHARE = 0.5
"""Maximum number of different values, as a share of the rows, in a column that is guessed to be the label."""


def drop_rows(table: pd.DataFrame, named: list[str], notes: list[str]) -> pd.DataFrame:
    """Return the rows that hold texts. Left out are those that repeat the columns' names, as joined files have them;
    the questions and the ids that Qualtrics writes below the names; and those that annotators did not accept in
    Prodigy, whose column `answer` says so, unless it is `named` or there is no other label."""
    ids = table.iloc[1:2].map(lambda cell: cell.startswith('{"ImportId"')).all(axis=1).any()
    names = table.columns.drop("split", errors="ignore")  # a folder's tables have it besides their own
    header = (table[names] == list(names)).all(axis=1) | (ids & (np.arange(len(table)) < 2))  # an index may repeat
    if header.any():
        notes.append(f"left out: further header rows: {header.sum():,}")
        table = table[~header]
    answers = table.get("answer", pd.Series())
    labels = [c for c in (*LABEL_NAMES, "accept") if c in table and table[c].nunique() > 1]
    if "answer" in named or not labels or not {"accept"} < set(answers) <= {"accept", "reject", "ignore"}:
        return table
    notes.append(f"left out: rows whose column 'answer' is reject or ignore: {(answers != 'accept').sum():,}")
    return table[answers == "accept"].drop(columns="answer")


def guess_columns(table: pd.DataFrame, options: OwnTable, notes: list[str]) -> OwnTable:
    """Return the options with the split, label and text columns guessed if not given; notes give the reasons."""
    free = table.drop(columns=options.columns)
    split, label, text = options.split_col, options.label_cols, options.text_col
    if not split and (found := guess_split_columns(free, notes)):
        split = found[0]
        notes.append(f"split: column {split!r}, by its name and values (choose another with --split-col)")
        notes += [f"columns that also name splits, not used: {quote_names(found[1:])}"] * (len(found) > 1)
        free = free.drop(columns=found)
    if not label:
        name, why = _guess_label(free, options.columns)
        notes.append(f"label: column {name!r}, {why} (choose another with --label-col)")
        flags = [column for column in free if is_flag(free[column])]
        if len(flags) > 1 and name in flags:
            notes.append(
                f"columns {quote_names(flags)} are yes or no; if each is a label, name all of them with --label-col"
            )
        label, free = (name,), free.drop(columns=name)
    if not text:
        text = _with_other_of_pair(guess_text(free), free)
        why = "by its name" if _is_text_name(text[0]) else "which has the longest texts"
        also = f", and {text[-1]!r}, which belongs to it" if len(text) > 1 else ""
        notes.append(f"text: column {text[0]!r}, {why}{also} (choose others with --text-col)")
        notes += _other_text_notes(free.drop(columns=[*text]))
    notes += [
        f"text: column {column!r} holds JSON, which is read as it is written; choose others with --text-col"
        for column in text
        if table[column].str.match(r'\s*[{\[]\s*"').mean() > 0.5
    ]
    options = replace(options, text_col=text, label_col=label, split_col=split)
    notes += _nameless_column_notes(table, options.columns)
    return options


def _guess_label(table: pd.DataFrame, named: list[str]) -> tuple[str, str]:
    if named_so := [c for name in LABEL_NAMES for c in table if c.lower() == name and table[c].nunique() > 1]:
        return named_so[0], "by its name"
    filled = table.where(table.map(str.strip) != "")
    kinds = {c: n for c, n in filled.nunique().items() if 1 < n <= MAX_CLASS_SHARE * filled[c].count()}
    kinds = {c: n for i, c in enumerate(table) if (n := kinds.get(c)) and not _nameless(c, i, table)} or kinds
    last_words = {c: _last_word(c) for c in kinds if not c.lower().startswith("pred")}  # another model's labels
    for name in LABEL_NAMES:
        if name not in ("score", "type") and (ending := [c for c, word in last_words.items() if word == name]):
            return ending[0], "by the last word of its name"
    if not kinds:
        raise DataError(
            f"no column looks like a label, of {quote_names(table) or 'none left'}{_constant_label_note(table)}"
            + (f" beside {quote_names(named)}, which other options name" if named else "")
            + "; name it with --label-col, or what separates the columns with --delimiter"
        )
    fewest = min(kinds, key=lambda c: (filled[c].count() < len(table) / 10, kinds[c]))
    return fewest, f"which has the fewest different values, {kinds[fewest]}"


def _constant_label_note(table: pd.DataFrame) -> str:
    """Return a note on a column that has the name of a label but only one value; empty if there is none."""
    called = [column for column in table if column.lower() in LABEL_NAMES and table[column].nunique() == 1]
    return f"; column {called[0]!r} has only the value {table[called[0]].iloc[0]!r}" if called else ""


def _last_word(column: str) -> str:
    """Return the last word of a column's name in lower case, without a number: sentence for sentence2, label for
    gold_label."""
    return ["", *WORD.findall(column)][-1].lower()


def _is_text_name(column: str) -> bool:
    return bool(re.fullmatch(r"text(\.\d+)?", column.lower()))  # text.1 is a second column of that name


def guess_text(table: pd.DataFrame) -> str:
    """Return the column named text, or else the one with the longest values. Values of ASCII without a space, such as
    ids and URLs, and those without a letter count as empty. Raises `DataError` if no column is left."""
    if not len(table.columns):
        raise DataError("there is no column left that could be the text; name it with --text-col")
    few = table.nunique() <= (MIN_TEXT_SHARE * (table != "").sum()).clip(lower=1)
    lengths = table.map(_text_length).mean() / (1 + 1000 * few)
    return max(table, key=lambda c: (_is_text_name(c), lengths[c], table[c].str.len().mean()))


def _with_other_of_pair(text: str, table: pd.DataFrame) -> tuple[str, ...]:
    """Return the column `text` and, of a pair such as sentence1 and sentence2 or sentence_A and sentence_B, also the
    other if it holds texts."""
    other = text[:-1] + text[-1].translate(str.maketrans("12ABab", "21BAba"))
    pair = re.search(r"[^\d.][12]$|[_ ][ABab]$", text) and other in table and table[other].map(_text_length).any()
    return tuple(sorted((text, other))) if pair else (text,)


def _other_text_notes(table: pd.DataFrame) -> list[str]:
    """Return a note if columns other than the guessed text hold texts by the last word of their name and by their
    values: most differ, unlike the names of classes in a column label_text."""
    cells = {c: table[c][table[c].map(_text_length) > 0] for c in table if _last_word(c) in TEXT_NAMES}
    others = [c for c, texts in cells.items() if texts.nunique() > MAX_CLASS_SHARE * len(texts)]
    note = f"text: not read: {quote_names(others)}, which may be part of it (name all with --text-col)"
    return [note] if others else []


def _text_length(cell: str) -> float:
    """Return the number of characters that suggest a text; HTML counts less than its text, JSON and parses far less."""
    if re.fullmatch("[!-~]*", cell) or not any(map(str.isalpha, cell)):
        return 0
    if re.match(r"\s*[{\[]\s*[\"{\[]|\( *\(|\([A-Z]+ \(", cell):
        return len(cell) / 20
    return 0.8 * len(re.sub("<[^<>]*>", "", cell)) if re.match(r"\s*<[a-zA-Z!?/]", cell) else len(cell)


def _nameless_column_notes(table: pd.DataFrame, used: list[str]) -> list[str]:
    """Return a note if columns without a name have values: texts that contain the delimiter continue there."""
    nameless = [c for i, c in enumerate(table) if i and c not in used and _nameless(c, i, table)]  # 0 holds row names
    filled = table.index[(table[nameless] != "").any(axis=1)]
    if not len(filled):
        return []
    return [f"columns without a name are not read; rows with something there: {len(filled):,}, the first {filled[0]}"]


def _nameless(column: str, position: int, table: pd.DataFrame) -> bool:
    """Whether a table's header has no name for a column, which is then called by its position. Tables of a folder have
    a column split besides their own."""
    return column == str(position) and not all(name.isdecimal() or name == "split" for name in table)


def row_names(rows: pd.DataFrame, column: str | None) -> pd.Index:
    """Return the name of each row: its number, or its cell in `column`; if that is empty, `row` and the number."""
    if column is None:
        return rows.index
    return pd.Index(rows[column].where(rows[column].str.strip() != "", [f"row {n}" for n in rows.index]))


def row_name_notes(names: Counter, column: str | None) -> Iterator[str]:
    """Yield notes on duplicate and empty row names; `names` counts the values of the column, or of the index."""
    source = f"column {column!r}" if column else "the index"
    if again := sum(n - 1 for name, n in names.items() if str(name).strip()):
        yield f"{source} has duplicates; rows with the name of an earlier row: {again:,}"
    if empty := sum(n for name, n in names.items() if not str(name).strip()):
        yield f"{source} is empty in {counted(empty, 'row')}, named by number"
