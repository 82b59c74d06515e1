"""Run a committed record again, from the record alone, and compare the results.

    ulmfit-exp reproduce trec/default/seed0.json

Reports for each figure whether it is equal, within the spread of the other seeds of the same settings among the
committed records, or different; and any differences in versions and machine. Exit code 1 if a figure is different.

If the language model that ships has changed since, the version that the record used is taken from the git
history of a checkout; without one, a warning is printed and the figures differ.
"""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import stdev

import tyro

from ulmfit_exp.cli import ROOT, command, import_part, interrupted, run
from ulmfit_exp.common import DataError, counted, shell_quoted
from ulmfit_exp.record import FILE, environment_changes, figures, read, read_all
from ulmfit_exp.runs.settings import Wandb

RECORDS = import_part("experiments").RECORDS


def spreads(record: dict, others: list[dict]) -> dict[str, float]:
    """Return the standard deviation of each figure over the records that differ only in seed and precision."""
    from ulmfit_exp.results.tables import variant_of  # imported late: torch would slow down --help

    but = ("seed", "precision")
    seeds = {r["seed"]: figures(r) for r in [*others, record] if variant_of(r, but) == variant_of(record, but)}
    if len(seeds) < 2:
        return {}
    return {k: stdev(f[k] for f in seeds.values()) for k in figures(record) if all(k in f for f in seeds.values())}


def verdict(old: float, new: float | None, spread: float | None) -> str:
    """Return whether `new` is equal to `old`, within the spread (two standard deviations over seeds), or different."""
    if new is None:
        return "not measured now: WikiText-2 is not in the data directory"
    if old == new:
        return "equal"
    return "within the spread" if spread is not None and abs(old - new) <= 2 * spread else "different"


def shipped_then(record: dict, name: str, folder: Path) -> str:
    """Return the shipped model `name`, or the path in `folder` of a copy of the version that a record started from."""
    from ulmfit_exp.method.pretrained import SHIPPED, resolve

    def same(what: str) -> bool:
        models = resolve(what, tuple(record["pretrained"]), None)
        return all(model.digest == record["pretrained"][d]["digest"] for d, model in models.items())

    if name not in os.listdir(SHIPPED) or same(name):
        return name
    for commit, earlier in versions(name, folder):
        if same(str(earlier)):
            print(f"{name} has changed since: that of commit {commit[:12]} is used", flush=True)
            return str(earlier)
    print(f"warning: {name} has changed since, and git has no earlier version here: figures will differ", flush=True)
    return name


def versions(name: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (commit, copy in `folder`) for every version of a shipped model in the git history, the newest first."""
    from ulmfit_exp.method.pretrained import SHIPPED

    path = str((SHIPPED / name).relative_to(ROOT))
    for commit in _git("log", "--format=%H", "--", path).decode().split():
        with tarfile.open(fileobj=io.BytesIO(_git("archive", commit, path))) as tar:
            tar.extractall(folder / commit, filter="data")
        yield commit, folder / commit / path


def _git(*args: str) -> bytes:
    """Return the output of a git command in this checkout; nothing if it fails, for example without a checkout."""
    try:
        return subprocess.run(["git", *args], cwd=ROOT, capture_output=True).stdout
    except OSError:  # git is not installed
        return b""


def located(record: Path) -> Path:
    """Return the path of a record, here or among the committed ones. Raises `DataError` if it is not one record."""
    path = record if record.exists() else RECORDS / record
    if not path.exists():
        raise DataError(f"there is no {record}, neither here nor among the committed records in {RECORDS}")
    if path.is_dir() and not (path / FILE).exists() and (records := sorted(path.glob("*.json"))):
        one = record / records[0].name
        raise DataError(f"{record} holds {counted(len(records), 'record')}: name one, such as {one}")
    return path


def check_texts(record: dict) -> None:
    """Raise `DataError` if a record of a user's own texts does not say where they are."""
    if record["experiment"] != "own_csv" or record["settings"].get("miniature"):
        return
    if not (table := record["settings"].get("csv")):
        raise DataError("this run was made in Python, of a corpus in memory; pass the corpus to ulmfit() again")
    if not Path(table).exists():
        raise DataError(f"the record has only the name of its table, {table}; run this in the folder of the table")


def main(
    record: tyro.conf.Positional[Path],
    home: Path | None = None,
    data_dir: Path | None = None,
    wandb: Wandb = "disabled",
) -> None:
    """Run a record again and compare.

    Args:
        record: A result.json, the folder of a run, or DATASET/VARIANT/seed0.json of the committed records.
        home: Folder for stages; finished stages there are reused. Default: a new temporary folder.
        data_dir: As in the experiments.
        wandb: As in the experiments.
    """
    old = read(located(record))
    check_texts(old)
    os.environ["OMP_NUM_THREADS"] = str(old["machine"]["threads"])  # figures depend on it; torch is not imported yet
    home = home or Path(tempfile.mkdtemp(prefix="reproduce-"))
    settings = import_part("experiments").settings_of(old, home=home, data_dir=data_dir, wandb=wandb)
    pretrained = shipped_then(old, settings.recipe.pretrained, home / "pretrained")
    with interrupted(f"with --home {shell_quoted(str(home))} the same command resumes from the last checkpoint"):
        new = read(run(replace(settings, recipe=replace(settings.recipe, pretrained=pretrained))))
    others = [other for _, other in read_all([RECORDS])[0]]
    spread, found = spreads(old, others), figures(new)
    verdicts = {k: verdict(value, found.get(k), spread.get(k)) for k, value in figures(old).items()}
    print(f"\nstages and record are in {home}\n\n{'':<28}{'record':>12}{'now':>12}")
    for k, value in figures(old).items():
        print(f"{k:<28}{value:>12.5f}{found.get(k, float('nan')):>12.5f}  {verdicts[k]}")
    if reused := [s["name"] for s in new["stages"] if s["reused"]]:
        print(f"not computed again, but reused from {home}: {', '.join(reused)}")
    for line in environment_changes(old, new):
        print(line)
    if old["corpus"]["digest"] != new["corpus"]["digest"]:
        print("the texts differ from those of the record")
    sys.exit(int("different" in verdicts.values()))  # W&B reads the exit code, which must not be a bool


if __name__ == "__main__":
    command("reproduce", main)
