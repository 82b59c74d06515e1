"""Set-up: the two lists of pins agree, and the project names no host and no path of a machine."""

import re
import subprocess
import tomllib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]


def name(requirement: str) -> str:
    return re.split(r"[<>=!~ \[]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict((name(x), x.split("==")[1]) for x in lines if x and not x.startswith("#"))


def test_environment_yml_has_the_pins_of_the_lock():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][-1]["pip"]
    assert [x for x in listed if x.startswith("-")] == ["-e ."]  # pip's other options may not stand in such a list
    wanted = {name(x): x.split("==")[1] for x in listed if not x.startswith("-")}
    lock = pins()
    assert wanted == {n: lock[n] for n in wanted}


def test_every_dependency_is_pinned_and_in_environment_yml():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = {name(d) for d in project["dependencies"] + project["optional-dependencies"]["test"]}
    environment = (ROOT / "environment.yml").read_text().lower()
    assert direct <= set(pins()) and all(f"- {d}==" in environment for d in direct)


def test_the_lock_names_no_address():
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._!]+", line)


def test_the_pinned_packages_install_on_the_first_release_of_the_oldest_python():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = f"{project['requires-python'].removeprefix('>=')}.0"
    for package in pins():
        with suppress(PackageNotFoundError):  # of another platform
            assert SpecifierSet(metadata(package).get("Requires-Python", "")).contains(oldest), package


def test_no_tracked_file_names_a_path_of_a_machine():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for f in filter(None, listed.split("\0")):
        text = (ROOT / f).read_bytes()
        assert not re.search(rb"/(home|root|Users)/\w|" + re.escape(str(ROOT).encode()), text), f
