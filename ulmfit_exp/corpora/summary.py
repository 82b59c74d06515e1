"""Summarise a user's texts in notes: splits, classes, lengths and duplicates."""

import pandas as pd

from .multilabel import NONE, each_label

LONG_TEXT = 10_000
"""Number of words above which a text is reported as very long."""


def describe(df: pd.DataFrame, multi_label: bool) -> list[str]:
    """Return notes that summarise the data: sizes of splits and classes, length of texts, duplicates."""
    labelled = df[df["label"] != ""]
    words = labelled["text"].str.split().str.len()
    classes = each_label(labelled["label"], multi_label).value_counts()
    shown = ", ".join(f"{label[:60]} {n:,}" for label, n in classes.head(12).items())
    notes = [
        "rows: " + ", ".join(f"{split} {n:,}" for split, n in df["split"].value_counts().items()),
        f"classes: {len(classes)} ({shown}{', ...' if len(classes) > 12 else ''})",
        f"words per text: median {words.median():.0f}, 95 % below {words.quantile(0.95):.0f}, longest {words.max():,}",
    ]
    if multi_label:
        none = (labelled["label"] == NONE).sum()
        notes.append(f"labels per text: {classes.sum() / len(labelled):.2f}; texts with none: {none:,}")
    if long := int((words > LONG_TEXT).sum()):
        notes.append(f"texts of more than {LONG_TEXT:,} words: {long:,}; the classifier pools over the last tokens")
    copies = labelled["text"].duplicated(keep=False)
    if copies.any():
        other = (labelled[copies].groupby("text")["label"].nunique() > 1).sum()
        notes.append(f"rows with the text of another row: {copies.sum():,}; texts with different labels: {other:,}")
    train, test = (labelled[labelled["split"] == s].groupby("text")["label"].agg(set) for s in ("train", "test"))
    if both := set(train.index) & set(test.index):
        other = sum(train[t] != test[t] for t in both)
        notes.append(f"test texts that are also in train: {len(both):,}, with another label: {other:,}")
    if both := set(df.loc[df["split"] == "unlabelled", "text"]) & set(df.loc[df["split"] == "test", "text"]):
        notes.append(f"test texts among the unlabelled texts, which the language model reads: {len(both):,}")
    return notes
