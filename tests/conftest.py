"""What the tests share: runs in miniature that take seconds, in a fresh home, without a network."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: figures must not hang on the machine's cores
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.pop("ULMFIT_EXP_DATA", None)

from experiments.sfu import Sfu
from ulmfit_exp.recipe import RECIPES, Phase

SHARED = Path(__file__).parents[2] / "shared" / "data"
TINY = RECIPES["tiny"]
# Two phases for each task: enough for a kill between phases and within one.
QUICK = replace(
    TINY,
    model=replace(TINY.model, emb_sz=12, n_hid=16),
    lm=replace(TINY.lm, phases=(Phase(epochs=2, decay=1.0, schedule="one_cycle"), Phase(epochs=1))),
    clas=replace(TINY.clas, phases=(Phase(freeze_to=-1), Phase(freeze_to=0, epochs=2))),
)
FORWARD = replace(QUICK, direction="forward")


@pytest.fixture
def shared() -> Path:
    """The folder of real data, where it lies beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("no real data beside the checkout")
    return SHARED


@pytest.fixture
def sfu(tmp_path) -> Sfu:
    """A forward SFU run in miniature, of seconds, in its own home."""
    return Sfu(recipe_name="tiny", recipe=FORWARD, miniature=True, home=tmp_path / "home", wandb="disabled")
