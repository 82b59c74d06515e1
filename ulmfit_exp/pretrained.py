"""Pretrained language models: finding one, reading it safely, and matching its words with a corpus's.

A model's folder holds `model.safetensors` (fastai's parameter names, any floating type) and `vocab.json` (a list, row i
of the embedding being word i). A model of both directions is a folder with such folders `forward` and `backward`. The
finished run of an experiment is one too: it leads to the language models that it fine-tuned.
"""

import io
import json
import pickle
import tarfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from fastai.text.all import match_embeds
from fastai.text.learner import clean_raw_keys
from safetensors import SafetensorError
from safetensors.torch import load_file

from .corpora.corpus import DataError
from .corpora.files import DAMAGE, Source, find, sha256
from .recipe import Model

SHIPPED = Path(__file__).parent / "shipped"
MODELZOO = "https://s3.amazonaws.com/fast-ai-modelzoo"
WT103 = {
    "forward": Source("wt103/wt103-fwd.tgz", f"{MODELZOO}/wt103-fwd.tgz"),
    "backward": Source("wt103/wt103-bwd.tgz", f"{MODELZOO}/wt103-bwd.tgz"),
}
ONE_WAY = {"wt103-fwd": "forward", "wt103-bwd": "backward"}
EMBEDDING, DECODER = "0.encoder.weight", "1.decoder.weight"
TIED = ("0.encoder_dp.emb.weight", DECODER)


@dataclass(frozen=True)
class Pretrained:
    """One direction's language model, on disk."""

    name: str
    """As the user gave it."""
    files: tuple[Path, ...]
    """Weights and vocabulary, or the one archive that holds both."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the files: what a stage that starts from this model hangs on."""
        return "-".join(sha256(path)[:16] for path in self.files)

    @cached_property
    def content(self) -> tuple[dict[str, torch.Tensor], list[str]]:
        """(weights in float32 by fastai's names, vocabulary). Raises `DataError`."""
        weights, vocab = (_archive if len(self.files) == 1 else _folder)(*self.files)
        weights = {k: w.float() for k, w in clean_raw_keys(dict(weights)).items()}
        embedding = weights.setdefault(EMBEDDING, weights.get(DECODER, weights.get(TIED[0])))
        if embedding is None or "0.rnns.0.weight_hh_l0_raw" not in weights:
            raise DataError(f"{self.files[0]} does not hold an AWD-LSTM language model of fastai")
        if len(vocab) != len(embedding):
            raise DataError(
                f"{self.files[-1]} has {len(vocab):,} words, but the embedding of {self.files[0]} has "
                f"{len(embedding):,} rows; they belong to different models"
            )
        return weights, vocab

    def shape(self, model: Model) -> Model:
        """`model` with this one's sizes and its own dropout."""
        weights, _ = self.content
        layers = sum(k.endswith("weight_hh_l0_raw") for k in weights)
        n_hid = weights["0.rnns.0.weight_hh_l0_raw"].shape[1]
        return replace(model, emb_sz=weights[EMBEDDING].shape[1], n_hid=n_hid, n_layers=layers)

    def matched(self, vocab: list[str]) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
        """The weights with a row for each word of `vocab`, and how many `words_found` of its `words` were known.

        A word that was not gets the mean row, as in fastai's own ULMFiT.
        """
        weights, known = self.content
        new = match_embeds(dict(weights), known, vocab)
        new |= dict.fromkeys(TIED, new[EMBEDDING])
        words = set(vocab) - {"xxfake"}  # fastai's padding of a vocabulary to a multiple of 8
        return new, {"words_found": len(words & set(known)), "words": len(words)}


def resolve(what: str, directions: tuple[str, ...], data_dir: Path | None) -> dict[str, Pretrained]:
    """The pretrained model of each direction; empty for none. Raises `DataError`.

    `what` is none, a shipped model's name, wt103 (wt103-fwd or -bwd for one direction), hf:OWNER/NAME or a folder.
    """
    if what == "none":
        return {}
    if what in ONE_WAY and directions != (ONE_WAY[what],):
        raise DataError(f"--pretrained {what} reads texts {ONE_WAY[what]}; add --recipe.direction {ONE_WAY[what]}")
    if what in ("wt103", *ONE_WAY):
        return {d: Pretrained(what, (find(WT103[d], data_dir),)) for d in directions}
    folder = _downloaded(what[3:]) if what.startswith("hf:") else SHIPPED / what
    if not folder.is_dir():
        folder = Path(what)
    if not folder.is_dir():
        shipped = ", ".join(sorted(p.name for p in SHIPPED.iterdir() if p.is_dir()))
        raise DataError(
            f"--pretrained {what}: no such folder; shipped are {shipped}; also none, wt103, hf:OWNER/NAME, a folder"
        )
    return {d: _in_folder(what, folder, d, directions) for d in directions}


def _in_folder(name: str, folder: Path, direction: str, directions: tuple[str, ...]) -> Pretrained:
    """The model of one direction in a folder of any of the three kinds."""
    at = folder / direction
    if (record := folder / "result.json").is_file():
        stages = {s["name"]: s["path"] for s in json.loads(record.read_text(encoding="utf-8"))["stages"]}
        at = folder.parents[1] / stages.get(f"lm {direction}", "")
    elif not at.is_dir() and directions == (direction,):
        at = folder
    files = (at / "model.safetensors", at / "vocab.json")
    for file in files:
        if not file.is_file():
            raise DataError(f"--pretrained {name}: there is no {file}, for the {direction} language model")
    return Pretrained(name, files)


def _downloaded(repo: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, allow_patterns=["*.safetensors", "*.json"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as e:
        reason = str(e).splitlines()[0]
        raise DataError(f"--pretrained hf:{repo} could not be fetched from the Hugging Face hub: {reason}") from e


def _folder(weights: Path, words: Path) -> tuple[dict, list[str]]:
    try:
        vocab = json.loads(words.read_text(encoding="utf-8"))
    except (ValueError, OSError) as e:
        raise DataError(f"{words} is not JSON ({e}); it should be a list of words") from e
    if not isinstance(vocab, list) or not all(isinstance(w, str) for w in vocab):
        raise DataError(f"{words} is not a list of words")
    try:
        return load_file(weights), vocab
    except (SafetensorError, OSError) as e:
        raise DataError(f"{weights} is not a safetensors file ({e})") from e


def _archive(path: Path) -> tuple[dict, list[str]]:
    """fastai's archive of one .pth and one .pkl, without running anything that it might hold."""
    found = {}
    try:
        with tarfile.open(path) as tar:
            for info in tar:
                if info.isfile() and Path(info.name).suffix in (".pth", ".pkl"):
                    found[Path(info.name).suffix] = tar.extractfile(info).read()
        weights = torch.load(io.BytesIO(found[".pth"]), map_location="cpu", weights_only=True)
        vocab = _NoGlobals(io.BytesIO(found[".pkl"])).load()
    except KeyError as e:
        raise DataError(f"{path} holds no {e.args[0]} file: it is not a model archive of fastai") from e
    except (pickle.UnpicklingError, *DAMAGE) as e:
        raise DataError(f"{path} is damaged or no model archive of fastai ({e})") from e
    return weights.get("model", weights), list(vocab)


class _NoGlobals(pickle.Unpickler):
    """Reads lists and strings, and nothing that a pickle could run."""

    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"it names {module}.{name}; a vocabulary is a plain list of words")
