"""Runs and records in a dashboard on this machine: no account, no network.

    ulmfit-exp dashboard                  the runs below runs/, and the committed records as a project of their own
    ulmfit-exp dashboard --home elsewhere --no-browser --port 8000
    ulmfit-exp dashboard --records elsewhere/runs      other records: a folder of NAME.json or NAME/result.json

W&B's offline runs are read by `wandb leet inspect --json` into trackio, which keeps them in HOME/trackio. The next time
takes in what is new. A run that is damaged or not finished is named and left out; it is tried again the next time.
"""

import sys
from pathlib import Path

from ulmfit_exp.cli import ROOT, command
from ulmfit_exp.runs.interrupt import interruptible

COMMITTED = ROOT / "experiments" / "results"


def main(
    home: Path = Path("runs"),
    records: Path = COMMITTED,
    no_browser: bool = False,
    port: int | None = None,
) -> None:
    """Show runs and records.

    Args:
        home: Where runs were recorded.
        records: A folder of records.
        no_browser: Only say where the dashboard is.
        port: Port on 127.0.0.1 (default: the first free one from 7860).
    """
    if not records.is_dir():
        sys.exit(f"error: there is no folder {records}")
    from ulmfit_exp.results import dashboard  # imports torch, for which --help does not wait
    from ulmfit_exp.results.dashboard import RECORDS, RUNS

    interruptible()  # also where a shell started it in the background, which then ignores SIGINT
    try:
        store = dashboard.open_trackio(home)
        added = {RUNS: dashboard.add_runs(store, home), RECORDS: dashboard.add_records(store, records)}
        for project, (new, left_out) in added.items():
            for name, why in left_out.items():
                print(f"left out of {project}: {name}: {why}")
            print(f"{project}: {new} new of {len(store.get_run_records(project))}")
        dashboard.show(store, port, browser=not no_browser)
    except OSError as e:
        taken = "Cannot find empty port" in str(e)
        sys.exit(f"error: port {port} is taken; name another with --port" if taken and port else f"error: {e}")
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    command("dashboard", main)
