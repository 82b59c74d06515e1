"""Copy the language models of two finished pretraining runs, one per direction, into the package.

python scripts/dev/ship.py runs/runs/FORWARD runs/runs/BACKWARD --name wikipedia-small

Writes the weights in half precision, the vocabulary as JSON, and the run's record.
"""

import json
from pathlib import Path

import tyro
from safetensors.torch import load_file, save_file

from ulmfit_exp.cli import ending_well
from ulmfit_exp.common import write_json
from ulmfit_exp.method.pretrained import SHIPPED, resolve


def main(runs: tyro.conf.Positional[tuple[Path, Path]], name: str) -> None:
    """Ship two runs.

    Args:
        runs: Folders of the forward and the backward run.
        name: The model's name for --pretrained.
    """
    for run, direction in zip(runs, ("forward", "backward")):
        weights, vocab = resolve(str(run), (direction,), None)[direction].files
        folder = SHIPPED / name / direction
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: w.half() for k, w in load_file(weights).items()}, folder / "model.safetensors")
        (folder / "vocab.json").write_text(vocab.read_text(encoding="utf-8"), encoding="utf-8")
        write_json(folder / "record.json", json.loads((run / "result.json").read_text(encoding="utf-8")))
        size = sum(f.stat().st_size for f in folder.iterdir())
        print(f"{folder}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    with ending_well():
        tyro.cli(main, description=__doc__)
