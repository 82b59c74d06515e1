"""The dashboard: records and their stage folders in trackio, each once, served to this machine alone."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from conftest import FORWARD, QUIET
from filelock import FileLock
from playwright.sync_api import expect

from experiments.sfu import Sfu
from ulmfit_exp.cli import run
from ulmfit_exp.record import find_records
from ulmfit_exp.results import dashboard

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "experiments" / "results"
ENV = os.environ | {"PYTHONPATH": str(ROOT)}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two runs that share a language model."""
    home = tmp_path_factory.mktemp("home")
    settings = Sfu(recipe_name="tiny", recipe=FORWARD, miniature=True, home=home, **QUIET)
    for drop in (1.0, 2.0):
        run(replace(settings, recipe=replace(FORWARD, clas=replace(FORWARD.clas, drop_mult=drop))))
    return home


def newest(home: Path) -> Path:
    return max(find_records(home), key=lambda path: path.stat().st_mtime_ns)


def values(rows: list[dict], metric: str) -> list:
    return [row[metric] for row in rows if metric in row]


def final(path: Path) -> dict:
    return dashboard.read_record(path).rows[-1]


def test_a_record_is_a_run_of_its_data_set_with_its_settings(home):
    shown = dashboard.read_record(newest(home))
    assert shown.project == "sfu-sentiment"
    assert shown.config["recipe/clas/drop_mult"] == 2
    assert ", 0: 2 epochs " in shown.config["recipe/clas/phases"]


def test_a_run_is_named_by_its_variant_seed_and_fold(home, tmp_path):
    record = json.loads(newest(home).read_text())
    (tmp_path / "a.json").write_text(json.dumps({**record, "variant": "dropout 2"}))
    shown = dashboard.read_record(tmp_path / "a.json")
    assert shown.name == "dropout 2 fold0"
    assert shown.config["_Group"] == "dropout 2"


def test_curves_are_those_of_the_record(home):
    path = newest(home)
    rows, history = dashboard.read_record(path).rows, json.loads(path.read_text())["history"]["clas forward"]
    for metric in ("train_loss", "valid_loss", "valid_error_rate"):
        assert values(rows, f"clas/forward/{metric}") == [row[metric] for row in history]
    at = [row["step"] for row in rows if "clas/forward/valid_loss" in row]
    assert at == [row["step"] for row in history]


def test_training_steps_have_the_loss_and_the_rate_of_each_layer_group(home):
    path = newest(home)
    (folder,) = (s["path"] for s in json.loads(path.read_text())["stages"] if s["name"] == "clas forward")
    steps, rows = pd.read_csv(home / folder / "steps.csv"), dashboard.read_record(path).rows
    assert values(rows, "clas/forward/batch_loss") == steps["train_loss"].tolist()
    assert values(rows, "clas/forward/lr/group_0") == steps["lr_0"].fillna(0).tolist()
    assert values(rows, "clas/forward/frozen_groups") == [{0: 4, 1: 0}[phase] for phase in steps["phase"]]


def copied(home: Path, to: Path) -> Path:
    """The record of a copy of the newest run."""
    for folder in ("runs", "stages"):
        shutil.copytree(home / folder, to / folder)
    return to / newest(home).relative_to(home)


def test_a_thousand_steps_of_a_long_training_are_drawn(home, tmp_path):
    path = copied(home, tmp_path)
    long = pd.DataFrame({"step": range(1, 3502), "phase": 0, "train_loss": 1.0, "lr_0": 0.1})
    for folder in tmp_path.glob("stages/clas*"):
        long.to_csv(folder / "steps.csv", index=False)
    steps = [row["step"] for row in dashboard.read_record(path).rows if "clas/forward/batch_loss" in row]
    assert steps == list(range(1, 3502, 4))


def test_final_metrics_are_of_the_run_its_directions_the_baseline_and_the_language_model(home):
    path = newest(home)
    found, record = final(path), json.loads(path.read_text())
    assert found["final/test_error"] == record["test"]["error"]
    assert found["final/valid_error"] == record["valid"]["error"]
    assert found["final/forward_test_error"] == record["directions"]["forward"]["test"]["error"]
    assert found["final/baseline_test_error"] == record["baseline"]["error"]
    assert found["final/lm_forward_valid_loss"] == record["history"]["lm forward"][-1]["valid_loss"]


def test_tables_are_the_classes_the_confusion_and_the_most_confident_mistakes(home):
    tables = {k: v["_value"] for k, v in final(newest(home)).items() if isinstance(v, dict)}
    assert set(tables) == {"test/classes", "test/confusion", "test/mistakes"}
    assert set(tables["test/confusion"][0]) == {"class", "as no", "as yes"}
    confidence = [row["confidence"] for row in tables["test/mistakes"]]
    assert confidence == sorted(confidence, reverse=True)
    assert all(row["words"] for row in tables["test/mistakes"])


def test_every_committed_record_is_shown():
    for path in find_records(RECORDS):
        shown, record = dashboard.read_record(path), json.loads(path.read_text())
        assert "fold" not in shown.project
        assert shown.rows[-1]["final/test_error"] == record["test"]["error"]
        for stage, history in record["history"].items():
            losses = values(shown.rows, f"{stage.replace(' ', '/')}/valid_loss")
            assert losses == [row["valid_loss"] for row in history]


UPDATES = """if True:
    import sys, json; from pathlib import Path; from ulmfit_exp.results import dashboard
    home, records = map(Path, sys.argv[1:])
    store = dashboard.open_trackio(home)
    for _ in sys.stdin:
        counts, left_out = dashboard.update(store, home, records)
        print(json.dumps([counts, left_out, {p: store.get_runs(p) for p in store.get_projects()}]), flush=True)
"""


@contextmanager
def updates(home: Path, records: Path):
    """A function that updates a home and returns what `update` did, and the runs stored. It does so in a process of its
    own, as trackio's folder is set at import."""
    command = [sys.executable, "-c", UPDATES, home, records]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=ENV, **pipes) as process:

        def update() -> list:
            print(file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())

        yield update
        process.stdin.close()
    assert process.returncode == 0


def updated(home: Path, records: Path) -> list:
    with updates(home, records) as update:
        return update()


def test_what_cannot_be_read_is_left_out_with_the_reason(home, tmp_path):
    for name, content in {"list": "[1]", "part": '{"experiment": "sfu"}', "cut": newest(home).read_text()[:99]}.items():
        (tmp_path / f"{name}.json").write_text(content)
    (tmp_path / "good.json").write_text(newest(home).read_text())
    counts, left_out, _ = updated(tmp_path / "home", tmp_path)
    assert counts == {"sfu-sentiment": [1, 1]}
    assert {Path(why.partition(" is ")[0]).name for why in left_out} == {"list.json", "part.json", "cut.json"}
    assert f"{tmp_path / 'part.json'} is damaged or not a record (KeyError: 'settings')" in left_out


def test_a_damaged_stage_folder_leaves_its_record_out(home, tmp_path):
    copied(home, tmp_path)
    (broken,) = tmp_path.glob("stages/lm*")
    (broken / "steps.csv").write_text("step")
    counts, left_out, _ = updated(tmp_path, tmp_path / "none")
    assert counts == {}
    assert len(left_out) == 2


def test_an_update_adds_new_records_and_removes_deleted_ones(home, tmp_path):
    records, text = tmp_path / "records", newest(home).read_text()
    (records / "experiment" / "variant").mkdir(parents=True)
    first, second = (records / "experiment" / "variant" / f"seed{i}.json" for i in (0, 1))
    first.write_text(text)
    with updates(tmp_path / "home", records) as update:
        assert update()[0] == {"sfu-sentiment": [1, 1]}
        second.write_text(text.replace('"replicate": "fold0"', '"replicate": "fold1"'))
        assert update()[0] == {"sfu-sentiment": [1, 2]}
        first.unlink()
        counts, _, runs = update()
        assert counts == {"sfu-sentiment": [0, 1]}
        assert [name.rpartition(" ")[2] for name in runs["sfu-sentiment"]] == ["fold1"]
        second.unlink()
        assert update() == [{}, [], {}]


@pytest.fixture(scope="module")
def served(home):
    """A scripts/dashboard.py that found another at work: its process, what it printed, and its address."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [sys.executable, "scripts/dashboard.py", "--home", home, "--no-browser", "--port", str(port)]
    (home / "trackio").mkdir()
    with FileLock(home / "trackio" / "update.lock"):
        process = subprocess.Popen(command, cwd=ROOT, env=ENV, stdout=subprocess.PIPE, text=True)
        lines = [process.stdout.readline()]
    for line in process.stdout:
        lines.append(line)
        if address := re.match(r"http://127\.0\.0\.1:\d+/\S+", line):
            break
    yield process, "".join(lines), address[0]
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.stdout.close()


def test_two_dashboards_wait_for_each_other_and_updating_again_adds_nothing(served, home):
    shown = served[1]
    assert shown.startswith("another dashboard is reading the records; waiting for it\n")
    assert sum(map(int, re.findall(r"runs?, (\d+) of them new", shown))) == len(find_records(RECORDS)) + len(
        find_records(home)
    )
    counts, _, _ = updated(home, RECORDS)
    assert {new for new, _ in counts.values()} == {0}


def test_the_dashboard_listens_on_this_machine_only(served):
    process, _, address = served
    assert urllib.request.urlopen(address).status == 200
    port = int(re.search(r":(\d+)/", address)[1])
    listening = [line.split()[1] for line in Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]]
    assert f"0100007F:{port:04X}" in listening
    assert f"00000000:{port:04X}" not in listening


def test_the_runs_of_the_two_newest_variants_are_drawn_at_first():
    names = ["old seed0", "new seed0", "few labels seed0", "few labels seed1"]
    runs = [{"name": name, "id": str(i)} for i, name in enumerate(names)]
    assert dashboard._opening(runs) == ["3", "2", "1"]


def test_in_a_browser_the_newest_variants_of_the_newest_data_set_are_shown_and_compared(served, browser):
    page = browser(served[2])
    page.set_viewport_size({"width": 1400, "height": 1000})
    expect(page.get_by_text(re.compile(r"Runs \(\d+\)"))).to_be_visible()
    expect(page.locator(".checkbox-item input:checked")).to_have_count(dashboard.VARIANTS)
    expect(page.get_by_role("listbox", name="Project")).to_have_value("sfu-sentiment")  # the menu of data sets

    page.get_by_placeholder("Type to filter...").fill("tiny")
    expect(page.get_by_text("Runs (2)")).to_be_visible()
    page.get_by_text("Show run comparer").click()
    page.get_by_text("Diff only").click()
    expect(page.get_by_text("recipe/clas/drop_mult", exact=True)).to_be_visible()
    expect(page.get_by_text("recipe/lm/wd", exact=True)).to_have_count(0)

    plot = page.locator('[data-metric="clas/forward/valid_loss"]')
    plot.scroll_into_view_if_needed()
    expect(plot.locator("svg path[stroke], canvas").first).to_be_visible()

    page.get_by_text("Media & Tables").click()
    expect(page.get_by_text("test/mistakes").first).to_be_visible()

    page.goto(other := served[0].stdout.readline().strip())  # another project's
    expect(page.get_by_text(re.compile(r"Runs \(\d+\)"))).to_be_visible()
    expect(page.locator(".checkbox-item input:checked")).to_have_count(other.count(",") + 1)
