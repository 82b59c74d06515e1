"""The commands: their list, --help, errors of one line, printed commands, and a wheel outside a checkout."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import tyro

from ulmfit_exp import cli
from ulmfit_exp.__main__ import commands, usage
from ulmfit_exp.common import DataError
from ulmfit_exp.results.tables import mean_sd

ROOT = Path(__file__).parents[1]
OURS = [sys.executable, "-m", "ulmfit_exp"]
HELP_OF_ALL = """
import sys
from contextlib import redirect_stdout
from io import StringIO
from ulmfit_exp.__main__ import commands, main

for name in commands():
    with redirect_stdout(StringIO()) as shown:
        try:
            main([name, "--help"])
        except SystemExit as e:
            assert e.code == 0, name
    assert shown.getvalue().startswith("usage: "), name
    assert not {"torch", "pandas", "fastai"} & set(sys.modules), name
"""


def start(*command, env=None, **options) -> subprocess.CompletedProcess:
    """Run a command in the checkout, or in another folder."""
    options = {"cwd": ROOT, "env": os.environ | {"PYTHONPATH": str(ROOT)} | (env or {}), **options}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)


def test_without_arguments_the_commands_are_listed():
    shown = start(*OURS).stdout
    assert shown == start(*OURS, "--help").stdout == usage(commands()) + "\n"
    for name in ("sfu", "own_csv", "paper", "predict", "report", "dashboard", "export", "results", "reproduce"):
        assert f"\n  {name} " in shown


def test_an_unknown_command_is_one_line_that_names_the_choices():
    done = start(*OURS, "tabel7")
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no command 'tabel7'; the commands are sfu, dbpedia")
    assert done.stderr.count("\n") == 1


def test_help_of_every_command_starts_with_usage_and_imports_neither_torch_nor_pandas():
    done = start(sys.executable, "-c", HELP_OF_ALL)
    assert done.returncode == 0, done.stderr


def test_help_begins_with_the_experiments_own_options_and_ends_with_the_lab_record(tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text("raise ImportError('the user has a folder of this name')")
    options, record = start(*OURS, "sfu", "--help", cwd=tmp_path).stdout.split("Lab record")
    assert options.index("--fold") < options.index("--miniature") < options.index("--recipe.clas.wd")
    assert record.splitlines()[-1].endswith(f" {ROOT / 'experiments' / 'notes' / 'sfu.md'}")


@pytest.mark.parametrize("command", [[*OURS, "sfu"], [*OURS, "report"], [sys.executable, "-m", "experiments.paper"]])
def test_help_ends_quietly_if_the_pipe_is_closed(command):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as closed:
        done = subprocess.run([*command, "--help"], cwd=ROOT, stdout=closed, stderr=subprocess.PIPE, text=True)
    assert done.stderr == ""
    assert done.returncode == 1


def test_printed_commands_are_quoted_for_a_shell():
    stages = [{"name": "lm forward", "wandb": None}, {"name": "eval", "wandb": "wandb/offline-run-1"}]
    record = {"stages": stages}
    lines = [line for line in cli.next_commands(record, Path("my runs")).splitlines() if line]
    assert len(lines) == 5
    for line in lines:
        last = shlex.split(line.partition(": ")[2])[-1]
        assert last in ("my runs", "my runs/wandb/offline-run-1")


def test_a_printed_command_exists_whether_or_not_the_environment_is_activated(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "a b" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert cli.shell_command("ulmfit-exp") == "'a b/python' -m ulmfit_exp"
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "ulmfit-exp").touch(mode=0o755)
    assert cli.shell_command("ulmfit-exp") == "'a b/python' -m ulmfit_exp"
    monkeypatch.setenv("PATH", str(tmp_path / "a b"))
    assert cli.shell_command("ulmfit-exp") == "ulmfit-exp"


def test_report_in_a_folder_that_is_not_there_is_one_line_before_any_work(tmp_path):
    done = start(*OURS, "report", ROOT / "experiments" / "results", "--out", tmp_path / "absent" / "report.html")
    assert done.returncode == 1
    assert done.stderr.startswith("error: --out ")
    assert "its folder does not exist" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def benchmark(monkeypatch):
    """Its module, whose processes are calls in this one."""
    monkeypatch.syspath_prepend(ROOT / "scripts" / "dev")
    import benchmark
    import benchmark_training

    from ulmfit_exp.method import machine

    def run(command, **_) -> subprocess.CompletedProcess:
        with redirect_stdout(StringIO()) as shown:
            tyro.cli(benchmark_training.side, args=list(map(str, command[2:])))
        return subprocess.CompletedProcess(command, 0, shown.getvalue())

    monkeypatch.setattr(benchmark, "subprocess", SimpleNamespace(run=run, PIPE=subprocess.PIPE))
    monkeypatch.setattr(benchmark_training, "WIDTH", 128)
    yield benchmark
    machine.use_device("auto")


@pytest.mark.slow
def test_the_benchmark_of_training_runs_in_miniature(benchmark, capsys):
    benchmark.train("lm", steps=20, bs=4, corpus=None, size="tiny")
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    for side in ("stock", "ours"):
        assert figures[side]["tokens_per_second"] > 0
        assert figures[side]["memory_mb"] > 0
        assert figures[side]["time"]["LSTM"] > 0


def test_a_benchmark_without_its_corpus_is_one_line(benchmark):
    with pytest.raises(DataError, match=r"^there is no file or folder"):
        benchmark.train("lm", corpus="absent.csv")


def test_outside_a_git_checkout_the_commit_is_unknown_and_that_is_noted_once(monkeypatch, tmp_path, capsys):
    from ulmfit_exp.method import machine

    monkeypatch.setattr(machine, "__file__", str(tmp_path / "machine.py"))
    machine._commit.cache_clear()
    assert [machine.description()["commit"] for _ in range(2)] == ["unknown", "unknown"]
    machine._commit.cache_clear()
    assert capsys.readouterr().err.count("not in a git checkout") == 1


def test_an_installed_package_does_not_record_the_commit_of_a_repository_around_it(monkeypatch, tmp_path):
    from ulmfit_exp.method import machine

    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    (tmp_path / "machine.py").touch()
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "machine.py"))
    machine._commit.cache_clear()
    assert machine._commit() == "unknown"
    machine._commit.cache_clear()


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder in which the wheel of this working tree is installed, with the records of one data set."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout.split("\0")
    results = "experiments/results/"
    for name in filter(None, tracked):
        if name.startswith(results) and not name.startswith((f"{results}sfu-sentiment/", f"{results}paper/")):
            continue  # a report of all records takes ten times as long
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / "source" / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    done = start(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, folder / "source")
    assert done.returncode == 0, done.stderr
    done = start(*pip, "install", "-q", "--no-deps", "--target", folder / "site", *folder.glob("*.whl"))
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.mark.slow
def test_the_wheel_works_outside_a_checkout(installed, tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text("raise ImportError('the user has a folder of this name')")

    def ours(*args) -> str:
        env = {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1", "PATH": os.defpath}  # no environment is activated
        done = start(*OURS, *args, env=env, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert {p.name for p in installed.iterdir() if not p.name.endswith(".dist-info")} == {"bin", "ulmfit_exp"}
    notes = Path(ours("sfu", "--help").split()[-1])
    assert notes.is_relative_to(installed)
    assert notes.is_file()
    epochs = {"lm.phases.0": 0, **{f"clas.phases.{i}": int(i == 0) for i in range(5)}}  # the classifier's head alone
    short = [f"--recipe.{phase}.epochs={n}" for phase, n in epochs.items()]
    shown = ours("sfu", "--miniature", "--wandb", "disabled", "--recipe.direction", "forward", *short)
    assert "ulmfit_exp report runs" in shown
    record = tmp_path / shown.splitlines()[-1]
    assert json.loads(record.read_text(encoding="utf-8"))["commit"] == "unknown"
    ours("report", "--out", "all.html")
    committed = installed.rglob("sfu-sentiment/small-table7-from-scratch/*.json")
    error = mean_sd(100 * json.loads(path.read_text(encoding="utf-8"))["test"]["error"] for path in committed)
    assert f">{error}</a>" in (tmp_path / "all.html").read_text(encoding="utf-8")  # in table 7
