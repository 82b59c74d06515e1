"""The command line of an experiment: parse, run, print."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from .common import DataError
from .runs.settings import Command

if TYPE_CHECKING:
    from .corpora.corpus import Corpus
    from .corpora.documents import Documents


def main(command: type[Command], args: list[str] | None = None) -> None:
    """Run what the options say and print the table; the record's path is the last line."""
    settings = parse(command, sys.argv[1:] if args is None else args)

    from .runs.interrupt import interruptible, leave

    interruptible()
    try:
        path = run(settings)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command resumes from the last checkpoint", file=sys.stderr, flush=True)
        leave()
    except (DataError, OSError) as e:
        sys.exit(f"error: {e}")
    print(path)


def run(settings: Command, texts: "Corpus | Documents | None" = None) -> Path:
    """Run, print the table and how to look at the run; returns the path of the record."""
    from .results.tables import how_to_look, of_run  # import torch, for which --help does not wait
    from .runs.run import run

    record, path = run(settings, texts)
    print(of_run(record))
    print(how_to_look(record, settings.home))
    return path


def parse(command: type[Command], args: list[str]) -> Command:
    """The settings in `args`, with the recipe they name as the default of every recipe field."""
    name = "tiny" if "--miniature" in args else "small"
    for arg, following in zip(args, [*args[1:], ""]):
        option, _, value = arg.partition("=")
        if option in ("--recipe", "--size") and (value or following) in command.recipes:  # tyro refuses another
            name = value or following
    return tyro.cli(
        command,
        args=args,
        default=command(recipe_name=name, recipe=command.recipes[name]),
        prog=f"python -m experiments.{command.name}",
        description=sys.modules[command.__module__].__doc__,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
