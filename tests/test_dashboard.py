"""The dashboard: W&B's offline runs and records in trackio, each once, served to this machine alone."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest
from conftest import FORWARD, QUIET
from playwright.sync_api import expect

from experiments.sfu import Sfu
from ulmfit_exp.cli import run
from ulmfit_exp.results import dashboard
from ulmfit_exp.runs.tracking import Tracker

ROOT = Path(__file__).parents[1]
EPOCH = {"phase": 0, "epoch": 0, "step": 10, "valid_loss": 1.0}
RECORDS = ROOT / "experiments" / "results"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two variants, recorded offline: a language model that they share, two classifiers, two evaluations."""
    home = tmp_path_factory.mktemp("home")
    settings = Sfu(recipe_name="tiny", recipe=FORWARD, miniature=True, home=home, **QUIET)
    for drop in (1.0, 2.0):
        clas = replace(FORWARD.clas, drop_mult=drop)
        run(replace(settings, wandb="offline", recipe=replace(FORWARD, clas=clas), label=f"dropout {drop:g}"))
    return home


def files(home: Path) -> dict[str, list[Path]]:
    found = {}
    paths = (home / "wandb").glob("offline-run-*/run-*.wandb")
    for path in sorted(paths, key=lambda p: p.stat().st_mtime_ns):  # two of a second have no order in their names
        found.setdefault(dashboard.read_wandb(path).config["stage"], []).append(path)
    return found


def test_a_run_has_its_group_settings_curves_and_final_figures(home):
    shown = dashboard.read_wandb(files(home)["clas"][1])
    assert shown.name == "clas forward sfu-sentiment-fold0 seed0 | tiny miniature dropout 2"
    assert shown.config["_Group"] == "sfu-sentiment tiny miniature dropout 2"
    assert shown.config["recipe"]["clas"]["drop_mult"] == 2
    assert shown.config["recipe"]["clas"]["phases"]["1"]["epochs"] == 2
    r = json.loads(
        next(p for p in (home / "runs").glob("*/result.json") if '"drop_mult": 2.0' in p.read_text()).read_text()
    )
    errors = [row["valid_error_rate"] for row in r["history"]["clas forward"]]
    assert [row["clas/valid_error_rate"] for row in shown.rows if "clas/valid_error_rate" in row] == pytest.approx(
        errors
    )
    assert [row["clas/phase 1/valid_error_rate"] for row in shown.rows if "clas/phase 1/valid_error_rate" in row]
    assert shown.rows[-1]["final/clas valid_error_rate"] == pytest.approx(errors[-1])
    steps = [row["step"] for row in shown.rows]
    assert steps == sorted(steps) and steps[0] == 1


def test_an_evaluation_has_its_tables(home):
    shown = dashboard.read_wandb(files(home)["eval"][0])
    tables = {k: v["_value"] for row in shown.rows for k, v in row.items() if isinstance(v, dict)}
    assert set(tables) == {"test/predictions", "test/classes", "test/confusion"}
    assert set(tables["test/confusion"][0]) == {"label", "as no", "as yes"} and len(tables["test/predictions"]) == 32
    assert 0 <= shown.rows[-1]["final/test error"] <= 1


def test_reading_is_what_wandbs_own_command_prints(home):
    path = files(home)["lm"][0]
    command = [Path(sys.executable).with_name("wandb"), "leet", "inspect", "--json", str(path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [json.loads(line) for line in printed.splitlines()] == dashboard.inspect(path)


def test_damaged_and_growing_runs_are_named_and_left_out(home, tmp_path):
    (tmp_path / "wandb").mkdir()
    (good, *_), (other, *_) = files(home)["clas"], files(home)["eval"]
    for path in (good, other):
        shutil.copytree(path.parent, tmp_path / "wandb" / path.parent.name)
    track = Tracker("offline", tmp_path, "g", "lm", "growing", [], {})
    track.log_epoch(EPOCH)
    with pytest.raises(KeyboardInterrupt), Tracker("offline", tmp_path, "g", "lm", "broken", [], {}) as broken:
        broken.log_epoch(EPOCH)
        raise KeyboardInterrupt
    for name, content in {
        "flipped": good.read_bytes(),
        "short": good.read_bytes()[:3000],
        "text": b"text" * 99,
        "nothing": b"",
    }.items():
        folder = tmp_path / "wandb" / f"offline-run-20260101_000000-{name}"
        folder.mkdir()
        middle = len(content) // 2
        changed = content[:middle] + bytes(50) + content[middle + 50 :] if name == "flipped" else content
        (folder / f"run-{name}.wandb").write_bytes(changed)
    next((tmp_path / "wandb" / other.parent.name / "files").rglob("predictions*.json")).write_text("{")
    time.sleep(0.1)

    code = """if True:
        import sys, json; from pathlib import Path; from ulmfit_exp import dashboard
        store = dashboard.open_trackio(Path(sys.argv[1]))
        print(json.dumps([dashboard.add_runs(store, Path(sys.argv[1])) for _ in range(2)]))
    """
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    (new, why), (again, why_again) = json.loads(done.stdout)
    track.finish({})
    assert (new, again) == (1, 0) and why == why_again
    reasons = {name.rpartition("-")[2]: text for name, text in why.items()}
    assert all("damaged" in reasons[name] for name in ("flipped", "text"))
    assert all("not finished" in reasons[name] for name in ("short", "nothing", track.path.rpartition("-")[2]))
    assert "broken off" in reasons[broken.path.rpartition("-")[2]]
    assert "predictions" in reasons[other.stem.removeprefix("run-")] and len(why) == 7


def test_every_committed_record_is_shown():
    for path in dashboard.record_paths(RECORDS):
        shown = {s.config["stage"]: s for s in dashboard.read_record(path)}
        record = json.loads(path.read_text())
        if "test" in record:
            assert shown["eval"].rows[0]["final/test error"] == record["test"]["error"]
        if history := record["history"].get("clas forward"):
            clas = next(s for s in dashboard.read_record(path) if s.name.startswith("clas forward"))
            assert [r["clas/valid_loss"] for r in clas.rows[:-1]] == [r["valid_loss"] for r in history]


def test_what_is_no_record_is_named(tmp_path):
    (tmp_path / "a.json").write_text("[1]")
    (tmp_path / "b.json").write_text('{"experiment": "sfu"}')
    for path in dashboard.record_paths(tmp_path):
        with pytest.raises(dashboard.Unreadable, match="no record"):
            dashboard.read_record(path)


@pytest.fixture
def served(home):
    """A function that starts scripts/dashboard.py; its process, what it said, and its address."""
    started = []

    def start():
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        command = [sys.executable, "scripts/dashboard.py", "--home", home, "--no-browser", "--port", str(port)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        started.append(process)
        said = []
        for line in process.stdout:
            said.append(line)
            if "http://" in line:
                return process, "".join(said), f"http://127.0.0.1:{port}"
        raise AssertionError("".join(said))

    yield start
    for process, end in zip(started, cycle((signal.SIGINT, signal.SIGTERM))):
        process.send_signal(end)
        assert process.wait(60) == 0
        process.stdout.close()


def test_a_second_time_adds_nothing_and_what_is_new_once(served, home):
    _, first, _ = served()
    assert re.search(r"my-runs: \d new of 5", first) and "records: " in first
    _, second, _ = served()
    assert "my-runs: 0 new of 5" in second and re.search(r"records: 0 new of \d+", second)


def test_it_listens_to_this_machine_alone(served):
    process, _, address = served()
    assert urllib.request.urlopen(address).status == 200
    port = int(address.rpartition(":")[2])
    listening = [line.split()[1] for line in Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]]
    assert f"0100007F:{port:04X}" in listening and f"00000000:{port:04X}" not in listening


def test_in_a_browser_runs_are_listed_and_compared(served, browser):
    _, _, address = served()
    page = browser(f"{address}/?smoothing=0")
    page.set_viewport_size({"width": 1400, "height": 1000})
    expect(page.get_by_text("Runs (5)")).to_be_visible(timeout=60_000)
    for drop in (1, 2):
        expect(
            page.get_by_text(f"clas forward sfu-sentiment-fold0 seed0 | tiny miniature dropout {drop}").first
        ).to_be_visible()

    plot = page.locator('[data-metric="clas/valid_loss"]')
    plot.scroll_into_view_if_needed()
    lines = plot.locator("svg path[stroke], canvas")
    expect(lines.first).to_be_visible(timeout=60_000)

    page.get_by_placeholder("Type to filter...").fill("clas")
    expect(page.get_by_text("Runs (2)")).to_be_visible()
    page.get_by_text("Show run comparer").click()
    page.get_by_text("Diff only").click()
    expect(page.get_by_text("recipe.clas.drop_mult", exact=True)).to_be_visible()
    expect(page.get_by_text("recipe.lm.wd", exact=True)).to_have_count(0)

    page.goto(f"{address}/media?project=my-runs")
    expect(page.get_by_text("test/predictions").first).to_be_visible(timeout=60_000)
