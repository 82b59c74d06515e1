"""Export a finished run as fastai's Learner, for ONNX Runtime, or as a folder for the Hugging Face hub.

    ulmfit-exp export runs/runs/NAME --learner export.pkl
    ulmfit-exp export runs/runs/NAME --onnx folder                      with a predict.py that needs no torch
    ulmfit-exp export runs/runs/NAME --hub folder                       writes the folder, uploads nothing
    ulmfit-exp export runs/runs/NAME --hub folder --push OWNER/NAME     uploads it to a private repository

export.pkl is a pickle: loading it runs the code in it, so load only files that you trust. It holds both directions and
the temperature, and predicts what the run predicts; load_learner needs this package besides fastai. The folder for the
hub holds safetensors, the record and a model card made from it. It can be used for prediction or given to --pretrained.
"""

import runpy
import sys
from pathlib import Path

import tyro

from ulmfit_exp.cli import command, shell_path
from ulmfit_exp.common import DataError, install
from ulmfit_exp.record import folder_with_models, read

TEXTS = ["A fine, fine book.", "It broke twice; I want my money back. " * 30, "No."]


def main(
    run: tyro.conf.Positional[Path],
    learner: Path | None = None,
    onnx: Path | None = None,
    hub: Path | None = None,
    push: str | None = None,
) -> None:
    """Export a run.

    Args:
        run: Folder of a finished run, or its result.json.
        learner: Write fastai's export.pkl here.
        onnx: Write a folder for ONNX Runtime here; it needs the extra onnx.
        hub: Write a folder for the Hugging Face hub here.
        push: Upload that folder to this repository, OWNER/NAME, with the token of `hf auth login`.
    """
    read(run)
    run = folder_with_models(run)
    if not (learner or onnx or hub) or (push and not hub):
        raise DataError(
            "name what to write: --learner export.pkl, --onnx folder or --hub folder; --push goes with --hub"
        )
    if learner:
        write_learner(run, learner)
    if onnx:
        write_onnx(run, onnx)
    if hub:
        write_hub(run, hub, push)


def write_learner(run: Path, out: Path) -> None:
    """Write the learner, load it again and compare its predictions with those of the run."""
    from fastai.text.all import load_learner

    from ulmfit_exp.inference import export, predict

    if out.is_dir():
        raise DataError(f"--learner {out} is a folder; name the file, such as export.pkl")
    predictor = predict.load(run)
    out.parent.mkdir(parents=True, exist_ok=True)
    export.learner(predictor).export(out.resolve())
    loaded = load_learner(out)
    with loaded.no_bar():
        probs = loaded.get_preds(dl=loaded.dls.test_dl(TEXTS))[0].numpy()
    _compare(out, probs, predictor.probabilities(TEXTS), 1e-5)
    print("it is a pickle, which runs code when it is loaded: load only files that you trust")


def write_onnx(run: Path, out: Path) -> None:
    """Write the folder for ONNX Runtime, and compare the predictions of its `predict.py` with those of the run."""
    from ulmfit_exp.inference import predict

    try:
        import onnxruntime  # noqa: F401

        from ulmfit_exp.inference import onnx
    except ImportError as e:
        raise DataError(f"--onnx needs an extra; {install('onnx')} ({e})") from e
    predictor = predict.load(run)
    onnx.write(predictor, out)
    probs = runpy.run_path(str(out / "predict.py"))["probabilities"](TEXTS)
    _compare(out / "model.onnx", probs, predictor.probabilities(TEXTS), 1e-4)
    print(f'python {shell_path(out / "predict.py")} "A text." needs onnxruntime, numpy and spacy')


def _compare(file: Path, probs, expected, most: float) -> None:
    difference = float(abs(probs - expected).max())
    size = file.stat().st_size / 1e6
    print(f"{file}: {size:.1f} MB; its probabilities differ from the run's by at most {difference:.0e}")
    if difference > most:
        sys.exit(f"error: {file} does not predict what the run predicts")


def write_hub(run: Path, out: Path, push: str | None) -> None:
    """Write the folder for the hub, and upload it if `push` names a repository."""
    from ulmfit_exp.inference import hub

    for what in hub.write(run, out):
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
            raise DataError(f"the upload to {push} on the Hugging Face hub failed: {str(e).splitlines()[0]}") from e
        print(f"uploaded to {push}; it is private until you publish it")


if __name__ == "__main__":
    command("export", main)
