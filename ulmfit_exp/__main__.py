"""`ulmfit-exp COMMAND …`, or `python -m ulmfit_exp COMMAND …`: run an experiment or a script."""

import ast
import sys
from pathlib import Path

from . import cli
from .common import DataError

SCRIPTS = ("demo", "report", "dashboard", "reproduce", "export", "results", "workspace")


def main(args: list[str] | None = None) -> None:
    """Run the command that the first argument names; without one, or with --help, list the commands."""
    with cli.clean_exit():
        name, *rest = (sys.argv[1:] if args is None else args) or ["--help"]
        files, experiments = commands(), cli.import_part("experiments")
        if name in ("-h", "--help"):
            print(usage(files))
        elif name not in files:
            raise DataError(f"there is no command {name!r}; the commands are {', '.join(files)}")
        elif name in experiments.NAMES:
            cli.main(experiments.experiment(name), rest)
        else:
            module = ".".join(files[name].relative_to(cli.ROOT).with_suffix("").parts)
            cli.command(name, cli.import_part(module).main, rest)


def commands() -> dict[str, Path]:
    """Return the file of each command's module."""
    experiments, scripts = cli.ROOT / "experiments", cli.ROOT / "scripts"
    return {
        **{name: experiments / f"{name}.py" for name in cli.import_part("experiments").NAMES},
        "paper": experiments / "paper" / "__main__.py",
        "predict": cli.PACKAGE / "predict.py",
        **{name: scripts / f"{name}.py" for name in SCRIPTS},
    }


def usage(files: dict[str, Path]) -> str:
    """List the commands, each with the first line of its docstring, without importing them."""
    docs = {name: ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) for name, file in files.items()}
    ours = cli.shell_command("ulmfit-exp")
    lines = [f"usage: {ours} COMMAND [OPTIONS]", ""]
    lines += [f"  {name:<11}{doc.splitlines()[0]}" for name, doc in docs.items()]
    return "\n".join([*lines, "", f"The options of a command: {ours} COMMAND --help"])


if __name__ == "__main__":
    main()
