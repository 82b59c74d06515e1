"""Write the generated parts of README.md and docs/ from the committed records in experiments/results/.

    ulmfit-exp results            rewrite README's table, docs/results.md, docs/claims/ and experiments/results/paper/
    ulmfit-exp results --check    exit with 1 if one of them or a figure in hand-written text differs from records
    ulmfit-exp results --add runs/runs/NAME ...    add the records of these runs first

Works in a checkout of the project.
"""

import sys
from pathlib import Path

from ulmfit_exp.cli import INSTALLED, command, import_part, shell_command
from ulmfit_exp.common import DataError


def main(check: bool = False, add: tuple[Path, ...] = ()) -> None:
    """Rebuild the results.

    Args:
        check: Change nothing; only report what differs from the records.
        add: Folders of finished runs whose records are to be added to the committed ones.
    """
    if INSTALLED:
        raise DataError("results works in a checkout of the project, whose README.md and docs/ it writes")
    if check and add:
        raise DataError("--check changes nothing: leave out --add")
    docs = import_part("scripts.docs")  # imported late: torch would slow down --help
    if add:
        docs.take_in(add)
    if not check:
        docs.rewrite()
    elif lines := docs.stale():
        lines.append(f"run {shell_command('ulmfit-exp')} results, and correct the text where a figure changed")
        sys.exit("\n".join(lines))


if __name__ == "__main__":
    command("results", main)
