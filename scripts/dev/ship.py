"""Copy the language models of two finished pretraining runs, one per direction, into the package.

python scripts/dev/ship.py runs/runs/FORWARD runs/runs/BACKWARD --name wikipedia-small

Writes the weights as int8 with a scale per row, the vocabulary as JSON, and the run's record. If the run started from a
shipped model, the record lists the cycles before it under `chain`. A run replaces the shipped model of the same name
only if it started from that model and its perplexity on the validation texts is lower.
"""

from pathlib import Path

import tyro
from safetensors.torch import load_file, save_file

from ulmfit_exp.cli import clean_exit
from ulmfit_exp.common import DataError, write_json
from ulmfit_exp.method.pretrained import SHIPPED, Pretrained, resolve
from ulmfit_exp.method.weights import quantised
from ulmfit_exp.record import read


def main(runs: tyro.conf.Positional[tuple[Path, Path]], name: str) -> None:
    """Copy the models of two runs into the package.

    Args:
        runs: Folders of the forward and the backward run.
        name: Name of the model for --pretrained.
    """
    new = {}
    for run, direction in zip(runs, ("forward", "backward")):
        folder, record = SHIPPED / name / direction, read(run)
        start = record["pretrained"].get(direction, {}).get("digest")
        before = next((f for f in SHIPPED.glob(f"*/{direction}") if digest(f) == start), None)
        if folder.exists():
            check_better(folder, before, record)
        if before:
            earlier = read(before / "record.json")
            record["chain"] = [*earlier.get("chain", []), {k: v for k, v in earlier.items() if k != "chain"}]
        new[direction] = run, folder, record
    for direction, (run, folder, record) in new.items():
        weights, vocab = resolve(str(run), (direction,), None)[direction].files
        folder.mkdir(parents=True, exist_ok=True)
        save_file(quantised(load_file(weights)), folder / "model.safetensors")
        (folder / "vocab.json").write_text(vocab.read_text(encoding="utf-8"), encoding="utf-8")
        write_json(folder / "record.json", record)
        size = sum(f.stat().st_size for f in folder.iterdir())
        print(f"{folder}: {size / 1e6:.1f} MB, {len(record.get('chain', [])) + 1} cycles")


def digest(folder: Path) -> str:
    """Return the digest of the shipped model in `folder`, as given in records."""
    return Pretrained((folder / "model.safetensors", folder / "vocab.json")).digest


def check_better(folder: Path, before: Path | None, record: dict) -> None:
    """Raise `DataError` unless the run of `record` started from the model in `folder` and is better than it."""
    if before != folder:
        raise DataError(f"the run did not start from {folder}; remove that first if the new model is to replace it")
    new, old = (r["perplexity"]["valid"]["perplexity"] for r in (record, read(folder / "record.json")))
    if new >= old:
        raise DataError(f"perplexity {new:.2f} on the validation texts, and the model in {folder} has {old:.2f}")


if __name__ == "__main__":
    with clean_exit():
        tyro.cli(main, description=__doc__)
