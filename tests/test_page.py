"""The page of all variants: what is on it, what a browser does with it, and that no record's text can run there."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from conftest import FORWARD, QUIET
from playwright.sync_api import expect

from experiments.own_csv import OwnCsv
from experiments.paper.base import shorter
from scripts import report
from ulmfit_exp.cli import run
from ulmfit_exp.common import DataError
from ulmfit_exp.record import read
from ulmfit_exp.results.tables import mean_sd

RECORDS = Path(__file__).parents[1] / "experiments" / "results"
HARM = "</script><script>window.harm = 1</script><img src=x onerror='window.harm = 1'>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Committed records and one whose texts are hostile."""
    folder = tmp_path_factory.mktemp("records")
    shutil.copytree(RECORDS / "trec", folder, dirs_exist_ok=True)
    record = json.loads((RECORDS / "trec" / "default" / "seed0.json").read_text())
    record["dataset"] = record["corpus"]["name"] = record["settings"]["other"] = HARM
    record["confusion"] = {HARM: {HARM: 3}, "fine": {HARM: 1, "fine": 2}}
    (folder / "hostile.json").write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="module")
def file(folder) -> Path:
    """The page of these records."""
    return made(folder, folder.parent / "report.html")


def made(folder: Path, out: Path) -> Path:
    report.main((folder,), out)
    return out


def error(variant: str, split: str = "test") -> str:
    """The mean error of the committed runs of a variant, as the page shows it."""
    records = [json.loads(path.read_text()) for path in sorted((RECORDS / variant).glob("*.json"))]
    return mean_sd(pd.Series({record["replicate"]: 100 * record[split]["error"] for record in records}))


def names(variant: str) -> list[str]:
    """The committed runs of a variant."""
    return sorted(path.stem for path in (RECORDS / variant).iterdir())


def test_what_is_no_record_is_left_out_and_reported(tmp_path, capsys):
    folder = shutil.copytree(RECORDS / "imdb", tmp_path / "records")
    (folder / "cut.json").write_text('{"experiment": "trec", "set')
    (folder / "other.json").write_text("[1, 2]")
    made(folder, tmp_path / "report.html")
    said = capsys.readouterr()
    assert f"{len(list(folder.rglob('*.json'))) - 2} runs" in said.out
    assert said.err.count("left out") == 2
    assert "cut.json is damaged" in said.err


def test_without_records_the_message_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"to make one: .*demo"):
        report.main((tmp_path,), tmp_path / "report.html")
    with pytest.raises(DataError, match="no folder"):
        report.main((tmp_path / "absent",), tmp_path / "report.html")


def test_a_users_own_run_replaces_the_committed_one_of_the_same_settings_in_the_papers_tables():
    committed, other = (read(RECORDS / "trec" / name / "seed0.json") for name in ("small-forward", "small-table7-full"))
    own = committed | {"valid": {**committed["valid"], "error": 0.4321}}
    (table, *_) = [s for s in report.sections([own, committed, other]) if s.title.startswith("Table 7")]
    assert "43.21" in table.markdown


def data_of(file: Path) -> dict:
    """What the page's script reads."""
    return json.loads(file.read_text().partition('id="data">')[2].partition("</script>")[0])


def test_the_papers_tables_are_those_of_the_records_and_link_to_their_variants(file):
    text = file.read_text()
    assert "Table 4: pretraining" in text
    assert "<td>without pretraining</td>" in text
    for variant in ("trec/small-forward", "trec/small-figure4-full"):
        assert f'<a href="#show=/{variant}">{error(variant, "valid")}</a>' in text


def test_a_variant_has_mean_and_deviation_of_its_runs_and_its_rows_in_the_papers_tables(file):
    variants = {v["id"]: v for v in data_of(file)["variants"]}
    ulmfit = variants["trec/small-forward"]
    assert ulmfit["test"][1] == error("trec/small-forward")
    assert [run["name"] for run in ulmfit["runs"]] == names("trec/small-forward")
    assert "Table 7: freez + discr + stlr" in ulmfit["rows"]
    assert ulmfit["data"] == "TREC-6"
    assert ulmfit["runs"][0]["alone"] == {}
    assert set(variants["trec/default"]["runs"][0]["alone"]) == {"forward", "backward"}
    assert ulmfit["settings"]["recipe.clas.phases"].startswith("[-1: 1 epoch stlr 0.01/2.6, ")


def test_the_learning_rates_are_those_of_what_was_trained(file, tmp_path):
    data = data_of(file)
    rates = {v["id"]: data["rates"][v["rates"]] for v in data["variants"]}
    assert rates["trec/default"].keys() == {"lm", "clas"}
    assert rates["trec/default-head=features"].keys() == {"lm"}
    shortened = data_of(made(RECORDS / "dbpedia-l1", tmp_path / "report.html"))  # by max_steps, to 9 epochs of 12
    assert 8.9 < shortened["rates"][shortened["variants"][0]["rates"]]["clas"]["epoch"][-1] < 9


def test_the_page_opens_with_table_7s_reference_and_the_best_other_row(file):
    data = data_of(file)
    errors = {v["id"]: v["test"][0] for v in data["variants"] if "Table 7: " in v["rows"]}
    reference, other = data["opening"]
    assert reference == "trec/small-forward"
    del errors[reference]
    assert errors[other] == min(errors.values())


def test_variants_are_tested_against_every_reference_with_as_many_labels(file):
    p = data_of(file)["p"]
    far = p["trec/default"]["trec/small-table4-without-pretraining"]
    near = p["trec/small-forward"]["trec/small-table7-full"]
    assert 0 < far < near <= 1
    fewer_labels = "trec/small-500-labels-figure3-semi-supervised"
    assert names(fewer_labels)
    assert fewer_labels not in p["trec/default"]


def test_other_settings_or_texts_of_the_same_name_are_another_variant_and_a_seed_counts_once(tmp_path):
    folder = shutil.copytree(RECORDS / "trec" / "default", tmp_path / "records")
    for path in list(folder.iterdir()):
        record = json.loads(path.read_text())
        record["corpus"]["digest"] = "of other texts"
        record["per_class"]["ABBR"]["n"] += 1
        (folder / f"texts-{path.name}").write_text(json.dumps(record))
    record = json.loads((folder / "seed0.json").read_text())
    (folder / "again.json").write_text(json.dumps(record))
    record["settings"]["precision"] = "bf16"
    (folder / "other.json").write_text(json.dumps(record))
    data = data_of(made(folder, tmp_path / "report.html"))
    runs = {v["id"]: len(v["runs"]) for v in data["variants"]}
    n = len(names("trec/default"))
    assert runs == {"trec/default": n, "trec/default~2": n, "trec/default~3": 1}
    assert data["variants"][0]["settings"]["texts"] != data["variants"][1]["settings"]["texts"]
    assert "trec/default~2" not in data["p"]["trec/default"]


def test_the_draws_of_few_labels_are_one_variant_and_are_compared_with_as_many_labels_alone(tmp_path):
    record = json.loads((RECORDS / "trec" / "default" / "seed0.json").read_text())
    for shots, draw in ((8, 0), (8, 1), (16, 0), (16, 1)):
        record["settings"] |= {"shots": shots, "draw": draw}
        record["corpus"]["rows"]["train"] = shots
        record |= {"replicate": f"seed0-draw{draw}", "variant": f"small {shots} shots"}
        (tmp_path / f"{shots}-{draw}.json").write_text(json.dumps(record))
    data = data_of(made(tmp_path, tmp_path / "report.html"))
    assert {v["name"]: (len(v["runs"]), v["labels"]) for v in data["variants"]} == {
        "small 8 shots": (2, 8), "small 16 shots": (2, 16),
    }  # fmt: skip
    assert not any(data["p"].values())


@pytest.fixture
def view(file, browser):
    """The page of TREC-6's records, open in a browser; its argument is what follows # in the address."""

    def opened(hash: str = "", scheme: str = "light"):
        shown = browser(f"{file.as_uri()}#{hash}", scheme)
        expect(shown.locator("#datasets button").first).to_be_visible()
        return shown

    return opened


def search(view, text: str):
    """The rows of the table for a search."""
    view.locator(".dt-search input").fill(text)
    return view.locator("#variants > tbody > tr:has(> td > input)")


def scroll_to(view, section: str):
    """Scroll to a section by its link, as its plots are drawn when they are in view."""
    view.get_by_role("link", name=section, exact=True).click()


def chosen(view):
    return view.locator("#chosen li")


@pytest.mark.slow
def test_in_a_browser_of_dark_colours_the_best_variant_is_found_and_the_text_of_a_record_stays_text(view):
    shown = view(scheme="dark")
    shown.locator("#datasets button", has_text="TREC-6").click()
    best = search(shown, "").first
    expect(best).to_contain_text("default")
    expect(best).to_contain_text(error("trec/default"))
    found = search(shown, "freez + stlr").filter(has_text="small table7 freez + stlr")
    expect(found).to_contain_text(error("trec/small-table7-freez+stlr"))
    shown.locator("#datasets button", has_text="all").click()
    expect(search(shown, "TREC-6 vanilla")).to_have_count(1)
    shown.locator("#datasets button", has_text="TREC-6").click()
    expect(search(shown, "window.harm")).to_have_count(1)  # where the data set has no match, the others' are shown
    expect(shown.locator("#datasets button")).to_have_text(["all", "TREC-6 (0)", re.compile(r"script.* \(1\)$")])
    search(shown, "window.harm").click()
    scroll_to(shown, "Confusion")
    expect(shown.locator("#matrices .xtick text", has_text=f"{HARM[:40]}…").first).to_be_attached()
    assert shown.evaluate("window.harm") is None


@pytest.mark.slow
def test_in_a_browser_ulmfit_is_compared_with_full_fine_tuning(view):
    shown = view("show=trec/small-forward")
    box = search(shown, "figure4 full").get_by_role("checkbox")
    box.press("Space")
    expect(box).to_be_focused()
    expect(chosen(shown)).to_have_count(2)
    scroll_to(shown, "Curves")
    expect(shown.locator("#clas-error .legendtext")).to_have_text(["small forward", "small figure4 full"])
    expect(shown.locator("#clas-error .fills path.js-fill")).to_have_count(2)
    expect(shown.locator("#differences p")).to_have_count(1)
    expect(shown.locator("#differences")).to_contain_text("[-1: 1 epoch stlr 0.01/2.6, ")
    expect(shown.locator("#differences")).to_contain_text("] vs [0: 12 epochs const 0.004]")
    scroll_to(shown, "Classes")
    expect(shown.locator("#per-class .main-svg").first).to_be_attached()
    expect(shown.locator("#ece p")).to_have_count(2)
    expect(search(shown, "small table7 full").first.locator("td[title^='clas.phases ']")).to_be_visible()
    reference = chosen(shown).get_by_role("button", name="make reference")
    reference.press("Enter")
    expect(reference).to_be_focused()
    scroll_to(shown, "Curves")
    expect(shown.locator("#clas-error .legendtext").first).to_have_text("small figure4 full")


@pytest.mark.slow
def test_in_a_browser_a_cell_of_table_7_leads_to_its_runs_and_back_by_address(view):
    shown, full = view(), error("trec/small-table7-full", "valid")
    expect(chosen(shown)).to_have_count(2)
    shown.locator("#paper details", has_text="Table 7:").get_by_role("link", name=full).click()
    expect(chosen(shown)).to_have_text([re.compile("small table7 full")])
    runs = shown.locator("#variants td > table tr")
    expect(runs).to_have_count(1 + len(names("trec/small-table7-full")))
    expect(runs.nth(1)).to_contain_text("reproduce")
    runs.nth(1).get_by_role("checkbox").check()
    expect(chosen(shown).last).to_contain_text("small table7 full, seed0")
    address = shown.url
    shown.go_back()
    shown.go_back()
    expect(chosen(shown)).to_have_count(2)
    expect(chosen(shown).first).to_contain_text("small forward")
    shown.goto(address)
    expect(chosen(shown).last).to_contain_text("small table7 full, seed0")


@pytest.mark.slow
def test_in_a_browser_an_address_may_hide_what_is_chosen_or_name_what_is_not_there(view):
    shown = view("show=trec/small-forward&search=100%")
    expect(shown.locator("#variants")).to_contain_text("No variant matches.")
    expect(chosen(shown)).to_have_text([re.compile("small forward")])
    shown.goto(shown.url.partition("#")[0] + "#show=trec/gone")
    expect(chosen(shown).first).to_have_text("not in this report: trec/gone")
    shown.goto(shown.url.partition("#")[0] + "#show=trec/default-head=features,trec/default")
    expect(shown.locator("#ece p").last).to_have_text("Records without the reliability diagram: features.")


@pytest.mark.slow
def test_in_a_browser_the_order_of_the_table_is_in_the_address(view):
    def times() -> list[float]:
        return [float(text) for text in shown.locator("#variants > tbody > tr > td:last-child").all_inner_texts()]

    shown = view("data=TREC-6&sort=minutes:desc")
    assert times() == sorted(times(), reverse=True)
    for order in ("", "minutes:asc"):  # what a click on a column in descending order leads to
        shown.locator("#variants th", has_text="minutes").click()
        expect(shown).to_have_url(re.compile(f"sort={order}$"))  # waits: DataTables sorts after the click
    assert times() == sorted(times())


@pytest.mark.slow
def test_in_a_browser_the_runs_that_are_shown_are_in_the_address(view):
    shown = view("show=trec/small-forward&data=TREC-6")
    runs = shown.locator("#variants table")
    expect(runs).to_have_count(1)  # of the variant that is alone in the address
    shown.locator("#variants > tbody > tr", has_text="features").first.get_by_title("show the runs").click()
    expect(shown).to_have_url(re.compile("open=trec/small-forward,trec/"))
    shown.reload()
    expect(runs).to_have_count(2)
    for _ in range(2):
        shown.get_by_title("show the runs").and_(shown.locator("tr:has(+ tr table) button")).first.click()
    expect(shown).to_have_url(re.compile("open=$"))
    shown.reload()
    expect(runs).to_have_count(0)


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """A home with a user's runs of three seeds."""
    home = tmp_path_factory.mktemp("own")
    lines = [
        f"{word} {i},{label}" for i in range(20) for word, label in (("a fine day", "good"), ("rain again", "bad"))
    ]
    (home / "mine.csv").write_text("\n".join(["text,label", *lines]))
    settings = OwnCsv(csv=home / "mine.csv", recipe=shorter(FORWARD), home=home / "home", **QUIET)
    for seed in range(3):
        run(replace(settings, seed=seed))
    return home / "home"


@pytest.mark.slow
def test_in_a_browser_a_users_runs_are_shown_first_with_calibration_and_weights_of_words(own, tmp_path, browser):
    report.main((own, RECORDS / "trec" / "default"), tmp_path / "report.html")
    shown = browser((tmp_path / "report.html").as_uri())
    row = search(shown, "")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("3 ▸")
    expect(row).to_contain_text("±")
    expect(chosen(shown)).to_contain_text("3 runs")
    shown.pdf()  # printing draws all plots
    expect(shown.get_by_text("accuracy", exact=True)).to_be_visible()
    expect(shown.locator("#mistaken span[style]").first).to_be_attached()
