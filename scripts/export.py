"""Hand a finished run on, as fastai's own Learner or to the Hugging Face hub.

python scripts/export.py runs/runs/NAME --learner export.pkl
python scripts/export.py runs/runs/NAME --hub folder                       writes the folder, sends nothing
python scripts/export.py runs/runs/NAME --hub folder --push OWNER/NAME     sends it, to a private repository

export.pkl is a pickle: whoever loads one runs what is in it, so load none that you did not make or do not trust. It
holds both directions and the temperature, and predicts what the run does; load_learner needs this package beside
fastai. The hub's folder holds safetensors, the record and a model card made from it. It predicts by ulmfit_exp.predict
and is a --pretrained.
"""

import sys
from pathlib import Path

import numpy as np
import tyro

from ulmfit_exp.common import DataError
from ulmfit_exp.inference import predict

TEXTS = ["A fine, fine book.", "It broke twice; I want my money back. " * 30, "No."]


def main(
    run: tyro.conf.Positional[Path], learner: Path | None = None, hub: Path | None = None, push: str | None = None
) -> None:
    """Export a run.

    Args:
        run: Folder of a finished run, or its result.json.
        learner: Write fastai's export.pkl here.
        hub: Write a folder for the Hugging Face hub here.
        push: Send that folder to this repository, OWNER/NAME, with the token of `hf auth login`.
    """
    run = run.parent if run.name == "result.json" else run
    if not (learner or hub) or (push and not hub):
        sys.exit("error: name what to write: --learner export.pkl, or --hub folder; --push goes with --hub")
    try:
        if learner:
            write_learner(run, learner)
        if hub:
            write_hub(run, hub, push)
    except (DataError, OSError) as e:
        sys.exit(f"error: {e}")


def write_learner(run: Path, out: Path) -> None:
    """The learner, written, loaded again and held against the run."""
    from fastai.text.all import load_learner

    from ulmfit_exp.inference import export

    predictor = predict.load(run)
    out.parent.mkdir(parents=True, exist_ok=True)
    export.learner(predictor).export(out.resolve())
    loaded = load_learner(out)
    with loaded.no_bar():
        said = loaded.get_preds(dl=loaded.dls.test_dl(TEXTS))[0].numpy()
    off = float(np.abs(said - predictor.probabilities(TEXTS)).max())
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB; loaded again, it differs from the run by at most {off:.0e}")
    print("it is a pickle: whoever loads it runs what is in it. Load no export.pkl that you do not trust")
    if off > 1e-5:
        sys.exit("error: the learner does not predict what the run does")


def write_hub(run: Path, out: Path, push: str | None) -> None:
    """The hub's folder; sent only where that was asked for."""
    from ulmfit_exp.inference import export

    for what in export.hub_folder(run, out):
        print(f"left out: {what}")
    size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    print(f"{out}: {size / 1e6:.1f} MB; its README.md is the model card")
    if push:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError

        try:
            HfApi().create_repo(push, private=True, exist_ok=True)
            HfApi().upload_folder(repo_id=push, folder_path=out, commit_message="A finished run of ULMFiT")
        except (HfHubHTTPError, HFValidationError, OSError) as e:
            raise DataError(f"{push} could not be sent to the Hugging Face hub: {str(e).splitlines()[0]}") from e
        print(f"sent to {push}; it is private until you publish it")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
