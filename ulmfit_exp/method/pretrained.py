"""Pretrained language models: finding one, reading it safely, and matching its words to a corpus.

A model's folder holds `model.safetensors` (fastai's parameter names, any floating type) and `vocab.json` (a list; row i
of the embedding is word i). A matrix may also be int8 with a scale per row, as `NAME` and `NAME.scale`. A model of both
directions is a folder with such folders `forward` and `backward`. The folder of a finished run can be given too: its
fine-tuned language models are used or, with #clas after its name, the encoders of its classifiers, to continue from a
related labelled task (Phang et al. 2018). A model saved by fastai is a `.pth` and an `itos.pkl` or `itos.json`, in a
folder or in one archive; no code in them is run.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from fastai.text.all import match_embeds
from fastai.text.learner import clean_raw_keys

from .. import record
from ..common import DataError, read_json, sha256
from ..corpora.archives import TARS
from ..corpora.sources import Source, find
from ..recipe import DIRECTIONS, Model
from .models import language_model
from .weights import members, read, read_weights

SHIPPED = Path(__file__).parents[1] / "shipped"
MODELZOO = "https://s3.amazonaws.com/fast-ai-modelzoo"
ONE_WAY = {"wt103-fwd": "forward", "wt103-bwd": "backward"}
WT103 = {way: Source(f"wt103/{name}.tgz", f"{MODELZOO}/{name}.tgz") for name, way in ONE_WAY.items()}
CLASSIFIER = "#clas"
EMBEDDING = "0.encoder.weight"
TIED = ("0.encoder_dp.emb.weight", "1.decoder.weight")


@dataclass(frozen=True)
class Pretrained:
    """A language model of one direction, on disk."""

    files: tuple[Path, ...]
    """Weights and vocabulary, or one archive with both; optionally also a classifier whose encoder is used."""
    lang: str | None = "en"
    """Language of its texts; None if the model does not state it."""
    members: tuple[str, ...] = ()
    """Names of the weights and the vocabulary in the archive."""

    @cached_property
    def digest(self) -> str:
        """Shortened SHA-256 of the files, on which every stage that starts from this model depends."""
        return "-".join(sha256(path)[:16] for path in self.files)

    @cached_property
    def content(self) -> tuple[dict[str, torch.Tensor], list[str]]:
        """The float32 weights under fastai's names, and the vocabulary. Raises `DataError` if they are not a model."""
        weights, vocab = read(*self.files[:2], members=self.members)
        for classifier in self.files[2:]:
            head = {k: w for k, w in weights.items() if k.startswith("1.") and k not in TIED}
            encoder = {k: w for k, w in read_weights(classifier).items() if k.startswith("0.module.")}
            weights = head | {k.replace("module.", "", 1): w for k, w in encoder.items()}
        weights = {k if k[:1].isdigit() else f"0.{k}": w for k, w in weights.items()}  # a saved encoder has no prefix
        weights = {k.replace("module.weight_hh_l0", "weight_hh_l0_raw"): w for k, w in clean_raw_keys(weights).items()}
        weights = {k: w.float() for k, w in {"1.decoder.bias": torch.zeros(len(vocab)), **weights}.items()}
        for tied in (EMBEDDING, *TIED):
            weights.setdefault(tied, next((weights[k] for k in (EMBEDDING, *TIED) if k in weights), None))
        if weights[EMBEDDING] is None or "0.rnns.0.weight_hh_l0_raw" not in weights:
            raise DataError(f"{self.files[0]} does not hold an AWD-LSTM language model of fastai")
        if len(vocab) != len(weights[EMBEDDING]):
            raise DataError(
                f"{self.files[-1]} has {len(vocab):,} words, but the embedding of {self.files[0]} has "
                f"{len(weights[EMBEDDING]):,} rows; they belong to different models"
            )
        with torch.device("meta"):
            whole = language_model(len(vocab), _shape(weights))
        expected, found = ({k: tuple(w.shape) for k, w in ws.items()} for ws in (whole.state_dict(), weights))
        if wrong := sorted(k for k in expected | found if expected.get(k) != found.get(k)):
            k = wrong[0]
            raise DataError(f"{self.files[0]}: {k} is {found.get(k, 'absent')}, expected {expected.get(k, 'nothing')}")
        return weights, vocab

    def shape(self, model: Model) -> Model:
        """Return `model` with the sizes of this pretrained model."""
        sizes = _shape(self.content[0])
        return replace(model, emb_sz=sizes.emb_sz, n_hid=sizes.n_hid, n_layers=sizes.n_layers)

    def matched(self, vocab: list[str]) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
        """Return weights with a row per word of `vocab`, and its number of `words` and of known ones (`words_found`).

        An unknown word gets the mean row, as in fastai's own ULMFiT.
        """
        weights, known = self.content
        new = match_embeds(dict(weights), known, vocab)
        new |= dict.fromkeys(TIED, new[EMBEDDING])
        words = set(vocab) - {"xxfake"}  # fastai's padding of a vocabulary to a multiple of 8
        return new, {"words_found": len(words & set(known)), "words": len(words)}


def _shape(weights: dict[str, torch.Tensor]) -> Model:
    layers = sum(k.endswith("weight_hh_l0_raw") for k in weights)
    n_hid = weights["0.rnns.0.weight_hh_l0_raw"].shape[1] if layers > 1 else weights[EMBEDDING].shape[-1]
    return Model(emb_sz=weights[EMBEDDING].shape[-1], n_hid=n_hid, n_layers=layers)


def resolve(what: str, directions: tuple[str, ...], data_dir: Path | None) -> dict[str, Pretrained]:
    """Return the pretrained model of each direction; an empty dict for none. Raises `DataError`.

    `what` is none, a shipped model's name, wt103 (wt103-fwd or -bwd for one direction), hf:OWNER/NAME, a folder, a
    fastai archive, or two of these as FORWARD,BACKWARD; the folder of a finished run may end in #clas.
    """
    if what == "none":
        return {}
    if what in ONE_WAY and directions != (ONE_WAY[what],):
        raise DataError(
            f"--pretrained {what} reads texts {ONE_WAY[what]}, but the run is {' and '.join(directions)}; "
            "--pretrained wt103 has both directions"
        )
    if what in ("wt103", *ONE_WAY):
        return {d: replace(_in_place(what, find(WT103[d], data_dir), d), lang="en") for d in directions}
    names = [what] if Path(what.removesuffix(CLASSIFIER)).exists() else what.split(",")
    if len(names) > 1:
        if (len(names), len(directions)) != (2, 2):
            raise DataError(f"--pretrained {what}: two models are for a run of both directions, forward first")
        return {d: _in_place(name, _place(name), d) for d, name in zip(DIRECTIONS["both"], names)}
    place = _place(what)
    found = {d: _in_place(what, place, d) for d in directions}
    if len({(model.files, model.members) for model in found.values()}) < len(found):
        raise DataError(
            f"--pretrained {what} is a model of one direction: name two, as FORWARD,BACKWARD, or add "
            "--recipe.direction forward"
        )
    return found


def _place(name: str) -> Path:
    """Return the folder or archive of a model, downloading it if it is on the Hugging Face hub."""
    if name.startswith("hf:"):
        return _downloaded(name.removeprefix("hf:"))
    shipped = sorted(p.name for p in SHIPPED.glob("*"))
    folder = SHIPPED / name if name in shipped else Path(name.removesuffix(CLASSIFIER))
    folder = record.run_folder(folder)
    if folder.is_file() and folder.suffix.lower() == ".pth":
        raise DataError(f"--pretrained {name}: give the folder of the .pth, which has its vocabulary, too")
    if not folder.is_dir() and not (folder.is_file() and folder.name.lower().endswith(TARS)):
        raise DataError(
            f"--pretrained {name}: no such folder or archive; the shipped models are {', '.join(shipped)}; others: "
            "none, wt103, hf:OWNER/NAME"
        )
    return folder.resolve()


def _in_place(name: str, folder: Path, direction: str) -> Pretrained:
    """Return the model of one direction in an archive or any kind of folder."""
    if folder.is_file():
        return Pretrained((folder,), None, members(folder, direction))
    classifier = []
    if (folder / direction).is_dir():
        folder = folder / direction
    elif (folder / record.FILE).is_file() and folder.parent.name == "runs":
        stages = {s["name"]: s["path"] for s in record.read(folder)["stages"]}
        wanted = [f"lm {direction}", *([f"clas {direction}"] if name.endswith(CLASSIFIER) else [])]
        if absent := [stage for stage in wanted if stage not in stages]:
            raise DataError(f"--pretrained {name}: that run has no {absent[0]}; it has {', '.join(stages)}")
        folder, *classifier = (folder.parents[1] / stages[stage] for stage in wanted)
    if name.endswith(CLASSIFIER) and not classifier:
        raise DataError(f"--pretrained {name}: {CLASSIFIER} needs a finished run, which {folder} is not")
    if (reads := _stage_inputs(folder).get("direction", direction)) != direction:
        raise DataError(f"--pretrained {name}: {folder} is a {reads} language model, not a {direction} one")
    files = (folder / "model.safetensors", folder / "vocab.json", *(c / "model.safetensors" for c in classifier))
    if not files[0].is_file() and folder.is_dir() and any(p.suffix.lower() == ".pth" for p in folder.iterdir()):
        return Pretrained(tuple(folder / name for name in members(folder, direction)), None)
    for file in files:
        if not file.is_file():
            raise DataError(f"--pretrained {name}: there is no {file}, for the {direction} language model")
    return Pretrained(files, _lang(folder))


def _stage_inputs(folder: Path) -> dict:
    """Return what a stage was made from; nothing if the folder is not a stage, or another program's."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return {**read_json(folder / "stage.json")["inputs"]}
    return {}


def _lang(folder: Path) -> str | None:
    """Return the language of a model from its stage, its record, or the record in the parent folder."""
    if inputs := _stage_inputs(folder):
        return inputs.get("lang", "en")
    for path in (folder / "record.json", folder.parent / record.FILE):
        with suppress(DataError):  # absent, or another program's file of that name
            return record.read(path)["settings"]["recipe"].get("lang", "en")
    return None


def _downloaded(repo: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, allow_patterns=["*.safetensors", "*.json"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as e:
        reason = str(e).splitlines()[0]
        raise DataError(f"--pretrained hf:{repo} could not be fetched from the Hugging Face hub: {reason}") from e
