"""Read a folder with texts by class, or with tables by split, as one table."""

import re
from collections.abc import Collection
from io import BytesIO
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pandas as pd

from ..common import DataError, quote_names
from .archives import SUFFIXES, files_below, members
from .csv_dialect import normalised
from .encodings import decode_bytes, detect_unicode, guess_encoding, is_binary, replace_surrogates
from .options import Format
from .splits import LABELLED, SPLIT_NAMES, SPLITS, split_names
from .table import JSON, PARQUET, TABLES, read_table

NOWHERE = "of no class or split"
PACKED_SUFFIXES = (*SUFFIXES, ".zip")
MAPPING = "mapping.txt"
"""File of TweetEval with the number and name of each class."""
METADATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""Files without texts that the library datasets writes beside its own."""


def read_folder(folder: Path, format: Format, names: Collection[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of a folder, each named by its file, and notes. Raises `DataError`.

    The folder holds CLASS/NAME.txt, SPLIT/CLASS/NAME.txt, or tables: train.csv and perhaps dev.csv, test.csv or others.
    """
    paths = [file.relative_to(folder) for file in files_below(folder)]
    links = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() and path.is_dir()]
    left_out = [f"left out: links to folders, which are not followed: {', '.join(links[:3])}"] if links else []
    packed = [path for path in paths if path.suffix.lower() in PACKED_SUFFIXES and path.with_suffix("") in paths]
    left_out += _left_out(packed, "that are also there unpacked")
    paths = [path for path in paths if path not in packed]
    meanings = split_names(re.findall("[a-z]+", " ".join(map(str, paths)).lower()))
    tables = {path: split for path in paths if (split := _split_of(path, meanings))}
    if "train" in tables.values():
        rows, notes = _by_split(folder, tables, format, names)
        others = [path for path in paths if path not in tables and path.name != MAPPING]
        return rows, notes + left_out + _left_out(others, NOWHERE)
    if inner := sorted({path.parent.as_posix() for path in paths if path.name == "train_text.txt"}):
        raise DataError(f"{folder}: train_text.txt is in folders below it; name one of them: {', '.join(inner[:3])}")
    texts, read = read_texts(folder, format)
    rows, outside = _by_class(texts)
    if rows.empty:
        reason = (
            f"{folder} holds no CLASS/NAME.txt or SPLIT/CLASS/NAME.txt, and no table such as train.csv; "
            "of another table give its own path"
        )
        arrow = any(path.suffix.lower() == ".arrow" for path in paths)
        reason += "; Arrow files are not read, save them with to_parquet" * arrow
        raise DataError("; ".join([reason, *read, *left_out]))
    if len(classes := set(rows["label"]) - {""}) == 1:
        raise DataError(f"{folder}: a text's class is the name of its folder, which is {classes.pop()!r} for all texts")
    notes = [f"{folder.name}: a folder of {len(rows):,} .txt files, one folder per class", *read]
    above = {name for path in rows.index for name in path.split("/")[:-2] if name.lower() not in SPLIT_NAMES}
    if len(above := sorted(above - set(rows["label"]))) > 1:
        notes.append(f"not used: folders above the class folders: {', '.join(above[:5])}")
    return rows, notes + left_out + _left_out(outside, NOWHERE)


def _left_out(files: list, which: str) -> list[str]:
    """Return a list with a note of the files that are not read; it is empty if there are none."""
    names = ", ".join(replace_surrogates(str(file)) for file in files[:3])
    return [f"left out: files {which}: {len(files):,} ({names})"] if files else []


def _split_of(path: Path, meanings: dict[str, str]) -> str:
    """Return the split that a table's name, or else its path below the folder, names; empty if none or several."""
    if path.name in METADATA:
        return ""
    name = Path(path.stem if path.suffix.lower() in PACKED_SUFFIXES else path.name)
    if name.suffix.lower() not in (*TABLES, *JSON, *PARQUET) and (name.suffix.lower() != ".txt" or len(path.parts) > 1):
        return ""
    for words in (name.stem, path.parent.as_posix()):
        if splits := {meanings[word] for word in re.findall("[a-z]+", words.lower()) if word in meanings}:
            return splits.pop() if len(splits) == 1 else ""
    return ""


def _by_split(
    folder: Path, tables: dict[Path, str], format: Format, names: Collection[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of all tables, train first, with the others' columns named as in the train table; and notes."""
    parts, notes, of_train, kind = [], [], {}, None
    labels = {path: path.with_name(path.name.replace("_text.txt", "_labels.txt")) for path in tables}
    labels = {path: other for path, other in labels.items() if path != other and other in tables}
    for path, split in sorted(tables.items(), key=lambda item: (SPLITS.index(item[1]), item[0])):
        if path in labels.values():
            continue
        file = folder / path
        a_text_per_line = split == "unlabelled" or kind in ("fasttext", "lines") or path in labels
        rows, table = read_table(file, format, names, must_be_table=not a_text_per_line)
        kind = kind or table.kind
        rows = _with_labels(rows, file, folder / labels[path], format) if path in labels else rows
        if rows.empty:
            only = ", only a header line (see --header)" * table.header
            raise DataError(f"{file} has no rows{only}; fill or remove it")
        names = names or table.columns
        of_train = of_train or {normalised(column): column for column in rows}
        alike = {column: of_train.get(normalised(column), column) for column in rows}
        if set(alike.values()).isdisjoint(of_train.values()):
            raise DataError(f"{file} has no column of the train table, {quote_names(of_train.values())} (see --header)")
        rows = rows.rename(columns=alike) if len(set(alike.values())) == len(alike) else rows
        notes += [f"{table.notes[0]}; the {split} split", *table.notes[1:]]
        lacks, more = ([c for c in a if c not in b] for a, b in ((of_train.values(), rows), (rows, of_train.values())))
        name = path.as_posix()
        rows = _with_split(rows, split, file.name, notes).set_axis([f"{name}:{i}" for i in rows.index])
        if parts and (key := _joining_column(parts[-1], rows)):
            notes.append(f"{name}: joined to the table before it by column {key!r}")
            parts[-1] = parts[-1].join(rows.drop(columns="split").set_index(key), key)
            of_train |= {normalised(column): column for column in parts[0]} if len(parts) == 1 else {}
            continue
        if lacks and more:
            more, lacks = (quote_names(columns[:5]) for columns in (more, lacks))
            notes.append(f"{file.name} lacks {lacks} of the train table, and has {more}")
        parts.append(rows)
    return pd.concat(parts).fillna(""), notes


def _with_labels(rows: pd.DataFrame, file: Path, labels: Path, format: Format) -> pd.DataFrame:
    """Return the rows of train_text.txt with the lines of train_labels.txt, as TweetEval has them, and with the names
    that mapping.txt beside them gives the classes."""
    lines = read_table(labels, format, must_be_table=False)[0].iloc[:, 0].str.strip()
    if len(lines) != len(rows):
        raise DataError(f"{labels} has {len(lines):,} lines, but {file.name} has {len(rows):,}; give each text a label")
    mapping = file.with_name(MAPPING)
    names = read_table(mapping, Format(header="no"))[0] if mapping.is_file() else pd.DataFrame(columns=["0", "1"])
    if len(names.columns) < 2:
        raise DataError(f"{mapping} has one column; put a tab between the number and the name of each class")
    return rows.assign(label=lines.replace(dict(zip(names.iloc[:, 0], names.iloc[:, 1]))))


def _joining_column(table: pd.DataFrame, other: pd.DataFrame) -> str | None:
    """Return the column that joins two tables of one split, such as texts and their labels: the only one that both
    have, with the same different values in both. None if the tables are not to be joined."""
    common = set(table) & set(other) - {"split"}
    if len(common) != 1 or set(table["split"]) != set(other["split"]):
        return None
    key = common.pop()
    same = table[key].is_unique and other[key].is_unique and set(table[key]) == set(other[key])
    return key if same and min(len(table.columns), len(other.columns)) > 2 else None


def _with_split(rows: pd.DataFrame, split: str, file: str, notes: list[str]) -> pd.DataFrame:
    """Return the rows of a file with its split, or with those that its own column `split` gives training rows."""
    if "split" not in rows:
        return rows.assign(split=split)
    own = rows["split"].astype(str).str.strip().str.lower()
    own = own.map(split_names(own))
    used = split == "train" and own.notna().all()
    notes.append(f"{file}: its column 'split' is {'the split of its rows' if used else 'not used'}")
    return rows.assign(split=own if used else split)


def _by_class(texts: pd.Series) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of the texts in class folders, with splits if folders name any; and the paths of other texts.

    train/pos/1.txt has the split train and the class pos. If no path has both, as in
    bus/1.txt and train/1.txt, train is a class.
    """
    folders = [path.split("/")[:-1] for path in texts.index]
    meanings = split_names(folder.lower() for above in folders for folder in above)
    splits = [[meanings[f.lower()] for f in above if f.lower() in meanings] for above in folders]
    unlabelled = np.array(["unlabelled" in split for split in splits], bool)
    splits = [  # test/unlabelled is not trained on
        [s for s in split if s in ("valid", "test")] or ["unlabelled"] if no_label else split
        for no_label, split in zip(unlabelled, splits)
    ]
    classes = [[f for f in above if f.lower() not in SPLIT_NAMES] for above in folders]
    some_have_both = any(split and split[0] in LABELLED and cls for split, cls in zip(splits, classes))
    if not some_have_both and any(classes):
        classes, splits = folders, [split if no_label else ["train"] for no_label, split in zip(unlabelled, splits)]
    rows = pd.DataFrame(
        {"text": texts, "label": [normalize("NFC", cls[-1]) if cls else "" for cls in classes]}, dtype=object
    )
    default = "" if any("train" in split for split in splits) else "train"
    rows["split"] = [split[0] if split else default for split in splits]
    rows.loc[unlabelled, "label"] = ""
    labelled, test = rows["label"] != "", rows["split"] == "test"
    kept = unlabelled | ((rows["split"] != "") & labelled)
    if labelled.any() and not (test & labelled).any():
        kept |= test  # without labels: to be predicted
    outside = list(texts.index[~kept])
    rows = rows[kept]
    return rows if set(rows["split"]) != {"train"} else rows.drop(columns="split"), outside


def read_texts(folder: Path, format: Format) -> tuple[pd.Series, list[str]]:
    """Return the text of each .txt file below a folder, by path, and notes of files that are left out or not valid.
    Files that are not Unicode are assumed to have the same encoding."""
    contents = {Path(m[0]): data for m, data in members(folder, r"(?i:.*\.txt)")}
    broken = (path for path in folder.rglob("*") if path.is_symlink() and not path.exists())
    not_txt = sorted({path.relative_to(folder) for path in (*files_below(folder), *broken)} - contents.keys())
    encodings = [format.checked().encoding or detect_unicode(BytesIO(data))[0] for data in contents.values()]
    others = (data for data, encoding in zip(contents.values(), encodings) if not encoding)
    guess = guess_encoding(line for data in others for line in data.splitlines(True))
    texts = [decode_bytes(data, encoding or guess) for data, encoding in zip(contents.values(), encodings)]
    found = pd.Series(texts, [replace_surrogates(path.as_posix()) for path in contents], dtype=object)
    binary = np.array([is_binary(text, encoding or guess) for text, encoding in zip(texts, encodings)], bool)
    binary |= found.str.startswith("version https://git-lfs").to_numpy(bool)  # a pointer, not the file
    notes = _left_out(list(found.index[binary]), "that are not text")
    notes += _left_out(not_txt, "whose names do not end in .txt")
    if guessed := encodings.count(""):
        notes.append(f"files that are not UTF-8: {guessed:,}; their encoding {guess} is a guess (see --encoding)")
    found = found[~binary]
    if invalid := found.str.count("\ufffd").sum():
        notes.append(f"sequences invalid in a file's encoding, replaced by U+FFFD: {invalid:,} (see --encoding)")
    return found, notes
