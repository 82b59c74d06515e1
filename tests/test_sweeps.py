"""The sweep files: W&B's own schema takes them, and what its agent would start is parsed by the experiment."""

from importlib import import_module
from pathlib import Path

import pytest
import yaml

from ulmfit_exp.cli import parse
from ulmfit_exp.common import flat

SWEEPS = Path(__file__).parents[1] / "experiments" / "sweeps"


@pytest.fixture(params=sorted(path.stem for path in SWEEPS.iterdir()))
def sweep(request) -> tuple[str, dict]:
    return request.param, yaml.safe_load((SWEEPS / f"{request.param}.yaml").read_text(encoding="utf-8"))


@pytest.mark.filterwarnings("ignore")  # W&B's package is older than what it uses
def test_sweeps_are_valid_by_wandbs_schema(sweep):
    from sweeps import schema_violations_from_proposed_config

    _, config = sweep
    assert schema_violations_from_proposed_config(config) == []
    assert schema_violations_from_proposed_config({**config, "method": "guess"})  # it does refuse


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_the_agent_starts_is_parsed(sweep):
    """Values as W&B's engine draws them, as the arguments that `wandb agent` makes of them."""
    from sweeps import next_run
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    name, config = sweep
    drawn = next_run({**config, "method": "random"}, []).config
    assert set(drawn) == set(config["parameters"])
    start = ["${env}", "${interpreter}", "-m", f"experiments.{name}"]
    assert config["command"][:4] == start and config["command"][-1] == "${args}"
    args = [*config["command"][4:-1], *create_sweep_command_args({"args": drawn})["args"]]

    module = import_module(f"experiments.{name}")
    command = next(c for c in vars(module).values() if getattr(c, "name", None) == name)
    settings = flat(parse(command, args)[0].settings())
    assert {k: settings[k] for k in drawn} == {k: v["value"] for k, v in drawn.items()}


def test_sweeps_rank_by_the_validation_error(sweep):
    """The name under which tracking.log_sweep logs it; tests/test_tracking.py has that."""
    _, config = sweep
    assert config["metric"] == {"name": "valid/error", "goal": "minimize"}
