"""Show runs and committed records in a local dashboard in the browser, without account or network.

    ulmfit-exp dashboard                               the runs in runs/, and the committed records
    ulmfit-exp dashboard --home elsewhere --no-browser --port 8000
    ulmfit-exp dashboard --records elsewhere           records of another home or folder instead of the committed ones

The records and their stage folders are read into trackio, which keeps them in HOME/trackio: a data set is a project, a
record is a run. Run it again to import new runs. A record that cannot be read is reported and left out.
"""

from pathlib import Path

from ulmfit_exp.cli import command, import_part
from ulmfit_exp.common import DataError, counted
from ulmfit_exp.runs.interrupt import interruptible

COMMITTED = import_part("experiments").RECORDS


def main(
    home: Path = Path("runs"),
    records: Path = COMMITTED,
    no_browser: bool = False,
    port: int | None = None,
) -> None:
    """Show runs and records.

    Args:
        home: Folder in which runs were recorded.
        records: Another home, or a folder of records.
        no_browser: Only print the address of the dashboard.
        port: Port on 127.0.0.1 (default: the first free one from 7860).
    """
    if not records.is_dir():
        raise DataError(f"there is no folder {records}; name one with --records")
    from ulmfit_exp.results import dashboard  # imported late: pandas would slow down --help

    interruptible()  # also if a shell started it in the background, ignoring SIGINT
    try:
        store = dashboard.open_trackio(home)
        counts, left_out = dashboard.update(store, home, records)
        for why in left_out:
            print(f"left out: {why}")
        for project, (new, runs) in counts.items():
            print(f"{project}: {counted(runs, 'run')}, {new} of them new")
        dashboard.show(store, port, browser=not no_browser)
    except OSError as e:
        if port and "Cannot find empty port" in str(e):
            raise DataError(f"port {port} is taken; name another with --port") from e
        raise
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    command("dashboard", main)
