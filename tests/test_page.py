"""The page of all runs: what is on it, that a browser shows it, and that no record's text can run there."""

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from scripts import report

RECORDS = Path(__file__).parents[1] / "experiments" / "results"
HARM = "</script><script>window.harm = 1</script><img src=x onerror='window.harm = 1'>"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Committed records and one whose texts are hostile."""
    shutil.copytree(RECORDS / "trec", tmp_path, dirs_exist_ok=True)
    record = json.loads((RECORDS / "trec" / "small" / "seed0.json").read_text())
    record["corpus"]["name"], record["settings"]["other"] = HARM, HARM
    record["confusion"] = {HARM: {HARM: 3}, "fine": {HARM: 1, "fine": 2}}
    (tmp_path / "hostile.json").write_text(json.dumps(record))
    return tmp_path


def made(folder: Path, out: Path) -> Path:
    report.main((folder,), out)
    return out


def test_what_is_no_record_is_left_out_and_said(folder, tmp_path, capsys):
    (folder / "cut.json").write_text('{"experiment": "trec", "set')
    (folder / "other.json").write_text("[1, 2]")
    made(folder, tmp_path / "report.html")
    said = capsys.readouterr()
    assert f"{len(list(folder.rglob('*.json'))) - 2} runs" in said.out
    assert said.err.count("left out") == 2 and "cut.json is damaged" in said.err


def test_without_records_it_says_what_to_do(tmp_path):
    with pytest.raises(SystemExit, match="sfu --target category --miniature"):
        report.main((tmp_path,), tmp_path / "report.html")
    with pytest.raises(SystemExit, match="no folder"):
        report.main((tmp_path / "absent",), tmp_path / "report.html")


def test_the_papers_tables_are_those_of_the_records(folder, tmp_path):
    text = made(folder, tmp_path / "report.html").read_text()
    assert "Table 4: pretraining" in text and "<td>without pretraining</td>" in text and "8.56 ± 0.28" in text
    assert '"recipe.clas.phases":"[-1: 1 epoch stlr 0.01/2.6, ' in text  # a schedule is one setting


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_lists_narrows_down_and_compares_runs(folder, tmp_path, scheme, browser):
    view = browser(made(folder, tmp_path / "report.html").as_uri(), scheme)
    rows, curves = view.locator("#runs tbody tr"), view.locator("#clas-error .scatterlayer .trace")
    curves.first.wait_for()
    listed = len(list(folder.rglob("*.json")))
    assert f"of {listed} entries" in view.locator(".dt-info").inner_text()
    view.locator(".dt-search input").fill("features")
    assert rows.count() == 3 and all("features" in row for row in rows.all_inner_texts())
    while view.locator("#chosen button").count():
        view.locator("#chosen button").first.click()
    assert curves.count() == 0
    view.locator(".dt-search input").fill("trec scratch")
    rows.nth(0).click()
    rows.nth(1).click()
    assert view.locator("#chosen button").count() == curves.count() == 2
    assert "seed" in view.locator("#differences").inner_text()
    assert view.locator("#rates .scatterlayer .trace").count() > 0
    view.locator(".dt-search input").fill("window.harm")
    rows.nth(0).click()
    assert "window.harm" in rows.nth(0).inner_text() and view.locator("#matrices .main-svg").count() > 0
    assert view.evaluate("window.harm") is None
