"""SQuAD (Rajpurkar et al. 2016, 2018) turned into two classification tasks.

Layout: {train,dev}-v1.1.json or {train,dev}-v2.0.json, train and dev or dev alone.
"""

import json
from pathlib import Path

import pandas as pd

from ..common import DataError
from .archives import readable
from .corpus import Corpus
from .encodings import replace_surrogates
from .sources import Source, find
from .splits import hold_out_groups

_ADDRESS = "https://rajpurkar.github.io/SQuAD-explorer/dataset/"
_SHA256 = {
    "train-v1.1": "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955",
    "dev-v1.1": "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9",
    "train-v2.0": "68dcfbb971bd3e96d5b46c7177b16c1a4e7d4bdef19fb204502738552dede002",
    "dev-v2.0": "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8",
}
SOURCES = {name: Source(f"squad/{name}.json", f"{_ADDRESS}{name}.json", digest) for name, digest in _SHA256.items()}
FIELD = "xxfld"  # fastai's mark before each field of a text


def load(data_dir: Path | None, task: str = "topic", version: str = "v2.0", train: bool = False) -> Corpus:
    """Load `task` answerable (can the paragraph answer the question?) or topic (which article is a question about?).

    answerable is split by article and topic by paragraph, so that no article (or paragraph) is in two splits. With
    `train`, the published training set is read too; for answerable, the whole dev set is then the test split.
    """
    if task == "answerable" and version == "v1.1":
        raise DataError("SQuAD v1.1 has no unanswerable questions; the answerable task needs --version v2.0")
    parts = [_read(find(SOURCES[f"dev-{version}"], data_dir)).assign(part="dev")]
    if train:
        parts.append(_read(find(SOURCES[f"train-{version}"], data_dir)).assign(part="train"))
    df = pd.concat(parts, ignore_index=True)
    return Corpus(f"squad-{task}", _answerable(df) if task == "answerable" else _topic(df))


def _answerable(df: pd.DataFrame) -> pd.DataFrame:
    """Return one row per question: its paragraph and then the question as two fastai fields, labelled yes or no."""
    if (train := df["part"] == "train").any():
        split = hold_out_groups(df.loc[train, "article"], {"valid": 0.1}).reindex(df.index, fill_value="test")
    else:
        split = hold_out_groups(df["article"], {"test": 0.2, "valid": 0.1})
    text = FIELD + " 1 " + df["paragraph"] + f" {FIELD} 2 " + df["question"]
    return pd.DataFrame({"text": text, "label": df["answerable"], "split": split})


def _topic(df: pd.DataFrame) -> pd.DataFrame:
    """Return one row per question, labelled with its article; the training paragraphs are added as unlabelled texts."""
    split = pd.concat(
        hold_out_groups(rows["paragraph"], {"test": 0.2, "valid": 0.1}) for _, rows in df.groupby("article")
    ).reindex(df.index)
    questions = pd.DataFrame({"text": df["question"], "label": df["article"], "split": split})
    paragraphs = df.loc[split == "train", ["paragraph"]].drop_duplicates().rename(columns={"paragraph": "text"})
    return pd.concat([questions, paragraphs.assign(label="", split="unlabelled")], ignore_index=True)


def _read(path: Path) -> pd.DataFrame:
    with readable(path):
        content = path.read_text(encoding="utf-8")
    try:
        rows = [
            [replace_surrogates(text.strip()) for text in (article["title"], paragraph["context"], qa["question"])]
            + ["no" if qa.get("is_impossible") else "yes"]
            for article in json.loads(content)["data"]
            for paragraph in article["paragraphs"]
            for qa in paragraph["qas"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        what = f"no field {e}" if isinstance(e, KeyError) else str(e)
        raise DataError(
            f"{path} is not SQuAD JSON ({what}); it needs data > paragraphs > context and qas > question"
        ) from e
    if not rows:
        raise DataError(f"{path} holds no questions")
    return pd.DataFrame(rows, columns=["article", "paragraph", "question", "answerable"])
