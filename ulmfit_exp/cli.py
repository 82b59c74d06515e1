"""Command lines: parse the options, run, print. Imports nothing heavy, so that `--help` is quick.

A command's `--help` prints the first line of its module's docstring, usage, options, and the docstring's other lines.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, NoReturn

import tyro
import tyro._strings

from .common import DataError, counted, shell_quoted
from .runs.settings import ONE, Cell, Command, Experiment, Grid, recipe_named

if TYPE_CHECKING:
    from .corpora.corpus import Corpus
    from .corpora.documents import Documents

# tyro keeps the line breaks of docstrings whose lines are indented, as those of fields are: its help would be ragged.
# It joins lines of commands as well, which a description may have.
tyro._strings.remove_single_line_breaks = lambda text: "\n\n".join(
    p if p.lstrip().startswith(("python ", "pip ")) else " ".join(p.split()) for p in text.split("\n\n")
)

PACKAGE = Path(__file__).parent
INSTALLED = (PACKAGE / "experiments").is_dir()
ROOT = PACKAGE if INSTALLED else PACKAGE.parent
"""Folder of `experiments` and `scripts`: the checkout, or this package if it was installed from a wheel."""


def import_part(name: str) -> ModuleType:
    """Import a module of `experiments` or `scripts`: top-level in a checkout, within this package in a wheel.

    Only the console script and the scripts use this; the library itself imports neither.
    """
    if INSTALLED:
        return import_module(f"{__package__}.{name}")
    if sys.path[0] != str(ROOT):  # a folder before it may have modules of the same name
        sys.path.insert(0, str(ROOT))
    return import_module(name)


def main(command: type[Command], args: list[str] | None = None) -> None:
    """Run a command with its options; the last line printed has the record's path, or several seeds' mean error."""
    with clean_exit():
        settings, grid = parse(command, sys.argv[1:] if args is None else args)
        if grid == ONE:
            with interrupted():
                print(run(settings))
        else:
            over_seeds(settings, grid)


def over_seeds(settings: Experiment, grid: Grid) -> None:
    """Run an experiment with several seeds, from its own upwards; the last line printed has their mean test error."""
    from .results.tables import mean_sd

    each = [replace(settings, seed=settings.seed + i) for i in range(grid.seeds)]
    results, failed = compute([Cell(settings.variant, settings.dataset, s.seed, s) for s in each], grid)
    tested = [r for _, r in results if "test" in r]  # without labelled test texts there is no test error
    if tested:
        ours, baseline = (mean_sd([100 * r[k]["error"] for r in tested]) for k in ("test", "baseline"))
        seeds = f"{len(tested)} of {grid.seeds} seeds"
        print(f"compare runs: {shell_command('ulmfit-exp')} report {shell_quoted(str(settings.home))}")
        print(f"test error {ours} % (mean ± sd of {seeds}), baseline {baseline} %", flush=True)
    exit_with_failures(failed)


def compute(cells: list[Cell], options: Grid, only_plan: bool = False) -> tuple[list[tuple], dict]:
    """Plan and run a grid's cells; return (cell, record) of each finished run, and why others failed."""
    from .record import read
    from .runs import cluster, grid

    if not cells:
        raise DataError("there is no run: --seeds must be 1 or more")
    elsewhere = (options.ray, options.slurm) != (None, None)
    with interrupted():
        starting = cluster.start(options, cells[0].settings.home, cells[0].settings.device)  # checks the options
        print(f"reading the data of {counted(len(cells), 'run')}", flush=True)
        planned, failed = grid.plan(cells, elsewhere)
        with starting as workers:
            if planned:
                print(grid.describe(planned, workers.slots(), elsewhere), flush=True)
            failed |= {} if only_plan else grid.run_grid(planned, workers)
    return [(p.cell, read(p.path)) for p in planned if p.finished], failed


def exit_with_failures(failed: dict[Cell, str]) -> NoReturn:
    """Print each error with the cells that failed by it and exit, with code 1 if there are any."""
    for error in dict.fromkeys(failed.values()):
        first, *others = [cell for cell, theirs in failed.items() if theirs == error]
        also = f" and {counted(len(others), 'other run')}" if others else ""
        print(f"failed: {first}{also}: {error}", file=sys.stderr)
    sys.exit(1 if failed else 0)  # W&B reads the exit code, which must not be a bool


@contextmanager
def interrupted(then: str = "the same command resumes from the last checkpoint") -> Iterator[None]:
    """Context in which Ctrl-C and SIGTERM close the W&B runs of this process, print what to do `then`, and end it."""
    from .runs.interrupt import interruptible, leave

    interruptible()
    try:
        yield
    except KeyboardInterrupt:
        print(f"\ninterrupted; {then}", file=sys.stderr, flush=True)
        leave()


def run(settings: Command, texts: "Corpus | Documents | None" = None) -> Path:
    """Run, print the table and the commands that show the run, and return the path of the record."""
    from .results.tables import run_table  # imports torch, for which --help does not wait
    from .runs.run import run

    record, path = run(settings, texts)
    print(run_table(record))
    print(next_commands(record, settings.home))
    return path


def command(name: str, function: Callable, args: list[str] | None = None) -> None:
    """Run a function whose parameters are the options of a command."""
    with clean_exit():
        _parsed(name, function, function.__module__, sys.argv[1:] if args is None else args)


def parse(command: type[Command], args: list[str]) -> tuple[Command, Grid]:
    """Parse `args` into settings, whose recipe fields default to the recipe that `args` names, and a grid: how many
    seeds are run by which processes. Pretraining always runs one seed in this process."""
    _own_fields_first(command)
    name = _recipe_name(command, args)
    default = command(recipe_name=name, recipe=recipe_named(command.recipes, name))
    if not issubclass(command, Experiment):
        return _parsed(command.name, command, command.__module__, args, default=default), ONE
    both = tuple[tuple(Annotated[each, tyro.conf.arg(name="")] for each in (command, Grid))]
    return _parsed(command.name, both, command.__module__, args, default=(default, ONE))


def _own_fields_first(command: type[Command]) -> None:
    """Order the fields of a command so that --help lists its own options before those of its base classes."""
    fields, classes = command.__dataclass_fields__, [c for c in command.__mro__ if is_dataclass(c)]
    defined = {name: max(i for i, c in enumerate(classes) if name in c.__dataclass_fields__) for name in fields}
    command.__dataclass_fields__ = {name: fields[name] for name in sorted(fields, key=defined.get)}


def _recipe_name(command: type[Command], args: list[str]) -> str:
    """Return the recipe named by the arguments. tyro needs it before it parses them: its fields are the defaults."""
    name = "tiny" if "--miniature" in args else command.recipe_name
    for arg, following in zip(args, [*args[1:], ""]):
        option, _, value = arg.partition("=")
        if option in ("--recipe", "--size") and (value or following) in {*command.recipes, command.recipe_name}:
            name = value or following  # tyro rejects other names
    return name


def _parsed(name: str, target, module: str, args: list[str], **default):
    """Parse the command line with tyro; --help also prints the docstring of the module."""
    summary, _, details = (sys.modules[module].__doc__ or "").strip().partition("\n")
    config = (tyro.conf.FlagCreatePairsOff,)
    prog = f"{shell_command('ulmfit-exp')} {name}"
    try:
        return tyro.cli(target, args=args, prog=prog, description=summary, config=config, **default)
    except SystemExit as e:
        if not e.code and {"-h", "--help"} & set(args):
            print(details.strip("\n").replace("experiments/notes", shell_path(ROOT / "experiments" / "notes")))
        raise


@contextmanager
def clean_exit() -> Iterator[None]:
    """Print errors that the user can correct as one line; exit without a message if the reader of a pipe has gone."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a label that the locale cannot encode must not end a run
            stream.reconfigure(errors="replace")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes the remaining output when it exits
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except (DataError, OSError) as e:
        sys.exit(f"error: {e}")


def next_commands(record: dict, home: Path) -> str:
    """List commands that show the run: those of this package, and those of W&B, which has a run for each stage."""
    ours, wandb, folder = shell_command("ulmfit-exp"), shell_command("wandb"), shell_quoted(str(home))
    lines = [
        "",
        f"compare runs:           {ours} report {folder}",
        f"or in a dashboard:      {ours} dashboard --home {folder}",
    ]
    if runs := {s["name"]: shell_quoted(f"{home}/{s['wandb']}") for s in record["stages"] if s["wandb"]}:
        *_, last = runs.values()
        curves = next((run for name, run in runs.items() if name.startswith("clas")), last)
        lines += [
            f"curves in the terminal: {wandb} leet {curves}",
            f"final figures:          {wandb} leet inspect --summary {last}",
        ]
        if offline := [run for run in runs.values() if "offline-run-" in run]:
            lines.append(f"upload to W&B:          {wandb} sync {' '.join(offline)}")
    return "\n".join(lines)


def shell_command(program: str) -> str:
    """Return the shell command for a program of this environment: its name, or `python -m` if the name is not on PATH
    or finds a program of another environment."""
    python = Path(sys.executable)
    found = shutil.which(program)
    if found and Path(found).resolve().parent == python.parent.resolve():
        return program
    return f"{shell_path(python)} -m {program.replace('-', '_')}"


def shell_path(path: Path) -> str:
    """Quote a path for the shell; make it relative if it is below the current folder."""
    return shell_quoted(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))
