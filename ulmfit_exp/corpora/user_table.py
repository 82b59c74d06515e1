"""Read a user's own labelled texts from a table, a folder or a DataFrame: find the columns and the splits.

`notes` is a list to which the functions append messages for the user, in the order in which they are shown."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ..common import DataError, counted, quote_names
from .columns import drop_rows, guess_columns, guess_text, row_name_notes, row_names
from .csv_dialect import column_names, normalised
from .encodings import replace_surrogates
from .folders import read_folder, read_texts
from .json_parquet import cell_text
from .labels import NO_LABEL, class_labels
from .multilabel import NONE, drop_labels, each_label, rare_labels, rarest_label, read_labels
from .options import OwnTable
from .splits import merge_test_flag, row_splits, stratified
from .summary import describe
from .table import find_column, join_columns, read_table

MIN_PER_CLASS = 3
"""Minimum number of different texts in a class: one for each split."""


def load(path: Path, options: OwnTable) -> dict:
    """Return the fields of a `Corpus` from a table or folder, with notes on how it was read, anything unusual in it and
    what was left out. A missing validation or test split is held out from the training rows, stratified by class;
    copies of a text stay together.

    Raises `DataError`.
    """
    path = path.expanduser()
    if path.is_dir():
        table, notes = read_folder(path, options, options.columns)
        table, options = _divide_training_rows(table, options)
    elif not path.exists():
        raise DataError(f"there is no file or folder {path}" + "; download it first" * str(path).startswith("http"))
    else:
        table, read = read_table(path, options, options.columns)
        notes = list(read.notes)
    try:
        return from_frame(table, dataset_name(path), options, notes)
    except DataError as e:
        raise DataError(f"{path}: {e}") from e


def _divide_training_rows(table: pd.DataFrame, options: OwnTable) -> tuple[pd.DataFrame, OwnTable]:
    """Return a folder's rows with their splits in column split: in a folder, `split_col` only divides the training
    rows, and the rows of files of another split keep that split."""
    if options.split_col is None or "split" not in table or options.split_col == "split":
        return table, options
    train = table["split"] == "train"
    within = row_splits(table.loc[train, find_column(options.split_col, list(table))].map(cell_text))
    return table.assign(split=within.reindex(table.index).fillna(table["split"])), replace(options, split_col="split")


def from_frame(table: pd.DataFrame, name: str, options: OwnTable, notes: list[str]) -> dict:
    """Return the same fields as `load`, from a table in memory. Raises `DataError`."""
    try:
        return _fields(table, name, options, notes)
    except DataError as e:
        reasons = ("split: ", "label: ", "text: column", "left out", "made unlabelled")
        raise DataError("; ".join([str(e), *(note for note in notes if note.startswith(reasons))])) from e


def _fields(table: pd.DataFrame, name: str, options: OwnTable, notes: list[str]) -> dict:
    table = table.set_axis(column_names(list(map(str, table.columns))), axis=1)
    if len(table) < 2 * MIN_PER_CLASS:
        raise DataError(
            f"the table has {counted(len(table), 'row')}, of columns {quote_names(table)[:200] or 'without a name'}; "
            "two classes of three texts each are needed, in one row per text"
        )
    options = _resolve_columns(options, list(table))
    for column in table:
        if column == options.id_col or table[column].isna().any():
            table[column] = table[column].convert_dtypes()  # pandas turns 1 into 1.0 if a cell is missing
    table = table.astype(object).where(table.notna(), None).map(cell_text)
    table = drop_rows(table, options.columns, notes)
    table = table if options.split_col else merge_test_flag(table, options.columns, notes)
    options = guess_columns(table, options, notes)
    labels, multi_label = read_labels(table, options, notes)
    texts, rows = join_columns(table, options.text_col), row_names(table, options.id_col)
    split = row_splits(table[options.split_col]) if options.split_col else "train"
    df = pd.DataFrame({"text": texts, "label": labels, "split": split, "row": rows})
    notes += row_name_notes(Counter(table[options.id_col] if options.id_col else table.index), options.id_col)
    df = df.reset_index(drop=True)  # the index of a DataFrame may have duplicates
    df["label"] = df["label"] if multi_label else class_labels(df["label"], df["split"] == "train", options, notes)
    if options.unlabelled:
        df = pd.concat([df, _read_unlabelled(options, notes)])
    df = _handle_missing_labels(_drop_empty_texts(df, notes), notes)
    if multi_label:
        rare = rare_labels(df, MIN_PER_CLASS)
        df["label"] = drop_labels(df["label"], rare, f"of fewer than {MIN_PER_CLASS} texts", notes)
    else:
        _drop_small_classes(df, notes)
    _hold_out_missing_splits(df, options, multi_label, notes)
    if multi_label:
        unseen = set(each_label(df["label"])) - set(each_label(df.loc[df["split"] == "train", "label"]))
        df["label"] = drop_labels(df["label"], sorted(unseen), "without a training text", notes)
    reported = tuple(map(replace_surrogates, notes + describe(df, multi_label)))
    return dict(name=name, df=df, text_cols=options.text_col, notes=reported, multi_label=multi_label)


def dataset_name(path: Path) -> str:
    """Return the name of a data set: its file's name, with dashes for all but letters, digits and underscores."""
    return re.sub(r"\W+", "-", replace_surrogates(path.name.split(".")[0])).strip("-")[:60] or "table"


def _read_unlabelled(options: OwnTable, notes: list[str]) -> pd.DataFrame:
    """Read the texts of `options.unlabelled`, from the text columns of the labelled table or else a guessed column."""
    path = Path(options.unlabelled).expanduser()
    if not path.exists():
        raise DataError(f"--unlabelled {path}: there is no such file or folder")
    if path.is_dir():
        texts, read = read_texts(path, options)
        more, columns = texts.to_frame("text"), ["text"]
        notes += read
    else:
        more, table = read_table(path, options, options.text_col, must_be_table=False)
        alike = {normalised(column): column for column in more}
        columns = [alike[normalised(c)] for c in options.text_col if normalised(c) in alike] or [guess_text(more)]
        notes += table.notes
    if more.empty:
        raise DataError(f"--unlabelled {path}: it holds no texts; a folder must have .txt files")
    notes.append(f"{path.name}: {counted(len(more), 'unlabelled text')} from {quote_names(columns)}")
    return pd.DataFrame({"text": join_columns(more, columns), "label": "", "split": "unlabelled", "row": more.index})


def _resolve_columns(options: OwnTable, columns: list[str]) -> OwnTable:
    """Return the options with each column given by its exact name.

    Raises `DataError` if there is no such column, or if a text column is also the label or the split."""
    single = (options.split_col, options.id_col)
    split, row_id = (None if name is None else find_column(name, columns) for name in single)
    several = (options.text_col, options.label_cols)
    text, label = (tuple(dict.fromkeys(find_column(name, columns) for name in names)) for names in several)
    if both := set(text) & {*label, split}:
        raise DataError(f"column {both.pop()!r} cannot be a --text-col and also the --label-col or the --split-col")
    return replace(options, text_col=text, label_col=label, split_col=split, id_col=row_id)


def _drop_empty_texts(df: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Return the rows with a text. Raises `DataError` if a split other than unlabelled has only empty texts."""
    empty = df["text"].str.fullmatch(r"[\s\u200b-\u200f\u2060\ufeff]*")
    missing = df["text"].str.strip().isin(NO_LABEL)
    if missing.sum() > 1:
        notes.append(f"{missing.sum():,} texts that are only {df['text'][missing].iloc[0].strip()!r} count as missing")
        empty |= missing
    if empty.any():
        notes.append(f"left out: rows without a text: {empty.sum():,}")
        if lost := set(df["split"]) - set(df["split"][~empty]) - {"unlabelled"}:
            raise DataError(f"the {lost.pop()} split has no text; its columns may have other names, or no header line")
    return df[~empty].reset_index(drop=True)


def _handle_missing_labels(df: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Return the rows, of which those without a label become unlabelled in train, are left out in valid, stay in test.

    If all labels of the test split are the same and no other row has that label, such as ? or -1, it means no label.
    """
    in_test = df["split"] == "test"
    placeholder = set(df["label"][in_test]) - {""}
    if placeholder == {NONE}:
        df.loc[in_test, "label"] = ""
    elif len(placeholder) == 1 and not placeholder & set(df["label"][~in_test]):
        notes.append(f"label {placeholder.pop()!r} of the test split, which no other row has, counts as missing")
        df.loc[in_test, "label"] = ""
    df.loc[(df["label"] == "") & (df["split"] == "train"), "split"] = "unlabelled"
    df.loc[df["split"] == "unlabelled", "label"] = ""
    valid, test = ((df["label"] == "") & (df["split"] == split) for split in ("valid", "test"))
    if valid.any():
        notes.append(f"left out: rows of the valid split without a label: {valid.sum():,}")
    if test.any():
        notes.append(f"rows of the test split without a label, predicted but not in the figures: {test.sum():,}")
    return df[~valid].reset_index(drop=True)


def _drop_small_classes(df: pd.DataFrame, notes: list[str]) -> None:
    """Remove the labels of classes that are too small for three splits or absent from train. Their rows become
    unlabelled, but those of test stay. Raises `DataError` if fewer than two classes are left."""
    labelled = df["label"] != ""
    sizes = df[labelled].drop_duplicates(["text", "label"])["label"].value_counts()
    unseen = set(sizes.index) - set(df.loc[df["split"] == "train", "label"])
    for which, classes in (("with fewer than 3 texts", sizes.index[sizes < MIN_PER_CLASS]), ("not in train", unseen)):
        rows = labelled & df["label"].isin(classes)
        if rows.any():
            names = quote_names(sorted(set(df["label"][rows]))[:10])
            notes.append(f"made unlabelled: classes {which}: {names} ({counted(rows.sum(), 'row')})")
            df.loc[rows & (df["split"] != "test"), "split"] = "unlabelled"
            df.loc[rows, "label"] = ""
    if df.loc[df["label"] != "", "label"].nunique() < 2:
        raise DataError(
            "fewer than two classes of three or more different texts each are left; are the label and the text column "
            "right? If a cell holds several labels, use --multi-label"
        )


def _hold_out_missing_splits(df: pd.DataFrame, options: OwnTable, multi_label: bool, notes: list[str]) -> None:
    """Hold out the test and the valid split of the training rows, unless there are such rows."""
    for split, share in (("test", options.test_pct), ("valid", options.valid_pct)):
        if not 0 < share < 1:
            raise DataError(f"--{split}-pct {share} is impossible: it is a share between 0 and 1, such as 0.1")
        if split in set(df["split"]):
            if share != getattr(OwnTable, f"{split}_pct"):
                notes.append(f"--{split}-pct {share} is not used, as the texts have a {split} split")
        else:
            before = (df["split"] == "train").sum()
            _hold_out(df, split, share, multi_label)
            held_out = (df["split"] == split).sum()
            notes.append(f"{held_out:,} of {before:,} training rows are held out as the {split} split")


def _hold_out(df: pd.DataFrame, split: str, share: float, multi_label: bool) -> None:
    """Turn `share` of the train texts into another split; copies of a text go together."""
    once = df[df["split"] == "train"].drop_duplicates("text")
    once = once.assign(label=rarest_label(once["label"])) if multi_label else once
    classes = once["label"].nunique()
    if len(once) < 2 * max(1, classes):
        raise DataError(
            f"the train split has {len(once)} different texts of {classes} classes, too few to hold out {share:.0%} of "
            f"them as the {split} split; mark the {split} rows yourself with --split-col"
        )
    able = once[once["label"].map(once["label"].value_counts()) > 1]  # the only text of a class stays in train
    classes = able["label"].nunique()
    size = min(max(classes, round(share * len(once))), len(able) - classes)
    chosen = able.loc[stratified(able, size, left=1), "text"]
    df.loc[df["text"].isin(chosen) & (df["split"] == "train"), "split"] = split
