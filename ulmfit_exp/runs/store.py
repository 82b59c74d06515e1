"""Folders of stages: each is named by the stage's inputs, and is finished or absent, never incomplete.

HOME/stages/KIND-DIGEST       finished; appears by one rename
HOME/unfinished/KIND-DIGEST   in progress; only its last checkpoint is used again
HOME/locks/                   one file per stage: if two processes need a stage, one computes it and the other waits
"""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..common import digest, locked, read_json, sha256, writable, write_json
from ..method.checkpoint import CHECKPOINT

VERSIONS = {"tokens": 1, "lm": 1, "clas": 2, "features": 2, "baseline": 2, "eval": 3, "perplexity": 2}
"""Version of each kind of stage. Raise it when the same inputs would give another result: finished stages are then not
reused."""


@dataclass(frozen=True)
class Stage:
    """A finished stage."""

    path: Path
    """Its folder, named KIND-DIGEST; the name is unique to its inputs."""
    info: dict
    """What its work returned, and the `seconds` that it took; kept in stage.json."""
    reused: bool
    """Whether it was finished before this run."""


def stage(home: Path, name: str, inputs: dict, work: Callable[[Path], dict]) -> Stage:
    """Return the stage that `work` makes from `inputs`, reused if it is finished.

    `work` gets a folder to write to, and returns what to keep as JSON. If it was interrupted before, the folder holds
    its last checkpoint. Raises `StoreError` if the home cannot be written.
    """
    final = stage_path(home, name, inputs)
    under_way = home / "unfinished" / final.name
    if not why_unfinished(final):
        return _finished(final)
    with writable(home):
        for folder in (final.parent, under_way.parent, home / "locks"):
            folder.mkdir(parents=True, exist_ok=True)
        waiting = f"another process is computing {final.name}; waiting for it"
        with locked(home / "locks" / f"{final.name}.lock", waiting):
            if not (changed := why_unfinished(final)):
                return _finished(final)
            if final.exists():
                print(f"{final.name}: {changed} was modified since the stage finished; recomputing", flush=True)
                shutil.rmtree(final)
            if under_way.exists():
                _keep_checkpoint_alone(under_way)
            under_way.mkdir(exist_ok=True)
            start = time.monotonic()
            try:
                info = work(under_way)
                info.setdefault("seconds", round(time.monotonic() - start, 1))
                files = {p.name: sha256(p) for p in sorted(under_way.iterdir()) if p.name != CHECKPOINT}
                made = {"name": final.name, "inputs": inputs, "info": info, "files": files}
                write_json(under_way / "stage.json", {**made, "sha256": digest(made)})
            except BaseException:
                _keep_checkpoint_alone(under_way)
                raise
            (under_way / CHECKPOINT).unlink(missing_ok=True)
            os.replace(under_way, final)
    return Stage(final, info, reused=False)


def stage_name(name: str, inputs: dict) -> str:
    """Return the name of the folder of a stage, such as `lm forward`: KIND-DIGEST."""
    return f"{name.replace(' ', '-')}-{digest([VERSIONS[name.split()[0]], inputs])}"


def stage_path(home: Path, name: str, inputs: dict) -> Path:
    """Return the folder that the stage has when it is finished."""
    return home / "stages" / stage_name(name, inputs)


def _keep_checkpoint_alone(folder: Path) -> None:
    """Remove everything that an unfinished stage wrote, except its last checkpoint."""
    for file in folder.iterdir():
        if file.name != CHECKPOINT:
            file.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def why_unfinished(path: Path) -> str | None:
    """Return the first file that is missing or was modified since the stage finished; None if the stage is finished."""
    try:
        saved = read_json(path / "stage.json")
        recorded = saved.pop("sha256", None)  # an older stage has none
    except (FileNotFoundError, NotADirectoryError, ValueError, AttributeError):
        return "stage.json"
    if recorded and not recorded.startswith(digest(saved)):  # older versions kept all digits
        return "stage.json"
    wanted = saved.get("files", {})
    return next((f for f, known in wanted.items() if not (path / f).is_file() or sha256(path / f) != known), None)


def _finished(path: Path) -> Stage:
    return Stage(path, read_json(path / "stage.json")["info"], reused=True)
