"""The paper's tables: every module in miniature, its rows, what a grid survives, and what is drawn from records."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from subprocess import DEVNULL

import pandas as pd
import pytest
from conftest import QUICK

from experiments.dbpedia import Dbpedia
from experiments.own_csv import OwnCsv
from experiments.paper import base, figure3, figure4, table6, table7, tables
from experiments.paper.__main__ import main
from scripts import reproduce
from ulmfit_exp.cli import run
from ulmfit_exp.common import DataError
from ulmfit_exp.corpora.sources import MINIATURE
from ulmfit_exp.method import pretrained
from ulmfit_exp.recipe import Phase
from ulmfit_exp.record import cost, read, variant_folder
from ulmfit_exp.results import figures
from ulmfit_exp.results.tables import mean_sd
from ulmfit_exp.runs import grid, workers
from ulmfit_exp.runs.run import prepare
from ulmfit_exp.runs.settings import Cell, Where

ROOT = Path(__file__).parents[1]
PATHS = {**os.environ, "PYTHONPATH": str(ROOT)}
QUIET = {"wandb": "disabled"}
COMMITTED = cache(tables.committed)


def quick(settings):
    """In miniature, with a model of a few numbers and an epoch a phase."""
    return replace(settings, miniature=True, recipe_name="tiny", recipe=base.shorter(QUICK))


@pytest.fixture
def small(in_process, monkeypatch):
    monkeypatch.setattr(tables, "miniature_of", quick)
    monkeypatch.setitem(base.DATA["sfu"].recipes, "scratch", QUICK)


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("grids")


@pytest.mark.slow
@pytest.mark.parametrize("table", tables.NAMES)
def test_every_table_and_figure_is_planned_and_runs_in_miniature(table, small, home, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tables, "committed", COMMITTED)  # each command reads them
    assert "to compute" in shown_by(table, tmp_path, capsys, plan=True)
    assert not list(tmp_path.rglob("*.json"))
    shown = shown_by(table, home, capsys)
    text, plot = (home / "paper" / "miniature" / f"{table}.{kind}" for kind in ("md", "svg"))
    assert text.read_text() in shown
    assert "SFU sentiment" in text.read_text()
    assert plot.read_text().startswith("<?xml")
    rows = [cell.row for cell in tables.cells(table, ("sfu",), 1, True)]
    assert all(row in text.read_text() for row in rows)
    assert f"cells:   {len(rows)}, of which {len(rows)} are finished" in shown_by(table, home, capsys)


def test_the_miniature_is_the_tiny_recipe_on_the_shipped_model():
    settings = {cell.row: cell.settings for cell in tables.cells("table4", ("sfu",), 1, True)}
    assert {s.recipe.pretrained for s in settings.values()} == {"none", "wikipedia-small"}
    assert all(s.miniature and sum(p.epochs for p in s.recipe.clas.phases) == 5 for s in settings.values())


def test_table_7_has_the_papers_rows_on_one_fine_tuned_language_model(tmp_path):
    sfu = replace(quick(base.DATA["sfu"]), home=tmp_path)
    rows = table7.variants(sfu)
    published = {row: rows[row] for row in table7.PAPER["trec"]}
    planned, failed = grid.plan([grid.Cell(row, "sfu", 0, s) for row, s in published.items()])
    assert not failed
    models = {p.cell.row: frozenset(path for path in p.stages if path.name.startswith("lm-")) for p in planned}
    assert models.pop("from scratch") not in models.values()
    assert len(set(models.values())) == 1
    epochs = {row: sum(p.epochs for p in s.recipe.clas.phases) for row, s in published.items()}
    assert set(epochs.values()) - {epochs["chain-thaw"]} == {2}
    assert [row for row, s in published.items() if s.recipe.clas.patience is None] == [table7.REFERENCE]
    assert rows["full"].recipe.clas.phases[0].decay == 1
    assert rows["freez"].recipe.clas.phases[0].freeze_to == -1


@pytest.mark.parametrize("table", tables.NAMES)
def test_different_settings_of_a_table_have_different_rows_and_different_folders_of_records(table):
    cells = [tables.labelled(table, cell) for cell in tables.cells(table, tuple(base.DATA), 1)]
    folders = {replace(c.settings, label="", tags=()): variant_folder(c.settings.names()) for c in cells}
    assert len(set(folders.values())) == len(folders)
    assert len({(c.data, c.row, c.settings.train_size, c.settings.shots) for c in cells}) == len(cells)
    assert not {table7.BEST, "forward alone", "backward alone"} & {c.row for c in cells}


def test_a_new_data_set_has_its_own_name_and_the_usual_numbers_of_labels():
    news = base.replicates("trec", 1)[0]
    assert [s.train_size for s in figure3.sized(news, "news")] == [*figure3.USUAL, None]
    rows = [("ours", "news", i, 5.0, "news/small") for i in range(3)]
    text, _ = figures.ablation(pd.DataFrame(rows, columns=figures.COLUMNS), {}, "ours")
    assert "| news (n = 3) |" in text


def test_a_new_row_of_one_data_set_keeps_its_place_among_the_others():
    rows = {"sfu": ("none", "ours"), "trec": ("none", "new", "ours")}
    found = [(row, data, i, 5.0, row) for data, order in rows.items() for row in order for i in range(3)]
    text, _ = figures.ablation(pd.DataFrame(found, columns=figures.COLUMNS), {}, "ours")
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")][1:] == [
        "| ---", "| none", "| new", "| **ours**",
    ]  # fmt: skip


def test_chain_thaw_trains_each_layer_alone_and_then_all():
    phases = table7.chain_thaw(replace(base.DATA["trec"], recipe=base.DATA["trec"].recipes["small"]))
    assert [p.freeze_to for p in phases] == [-1, -5, -4, -3, -2, -1, 0]
    assert [p.alone for p in phases] == [True] * 6 + [False]


def test_the_papers_recipe_has_a_tenth_of_the_rate_where_rates_are_not_discriminative():
    rows = table7.variants(base.replicates("trec", 1, "paper")[0])
    rates = {row: [phase.lr for phase in s.recipe.clas.phases] for row, s in rows.items()}
    assert rates.pop("chain-thaw") == pytest.approx([1e-3, 1e-4, 1e-4, 1e-4, 1e-4, 1e-3, 1e-4])
    discriminative = {"full + discr", "freez + discr", table7.REFERENCE}
    assert {row: set(found) for row, found in rates.items()} == {
        row: {0.01 if row in discriminative else 0.001} for row in rates
    }
    assert [p.lr for p in figure4.variants(base.replicates("trec", 1, "paper")[0])["full"].recipe.clas.phases] == [1e-3]


def test_table_6_varies_the_language_model_alone():
    rows = table6.variants(replace(base.DATA["trec"], recipe=QUICK))
    assert len({s.recipe.clas for s in rows.values()}) == 1 and len({s.recipe.lm for s in rows.values()}) == len(rows)
    assert rows["none"].recipe.lm.phases == ()


def test_figure_3_sees_the_unlabelled_texts_only_where_it_should():
    rows = figure3.variants(replace(base.DATA["dbpedia"], recipe=QUICK))
    assert {row: s.labelled_only for row, s in rows.items()} == {
        "from scratch": True, "supervised": True, "semi-supervised": False,
    }  # fmt: skip


@pytest.mark.slow
def test_the_draws_of_few_labels_differ_in_their_texts_and_share_the_language_model():
    found = tables.cells("few_shot", ("dbpedia",), 2, miniature=True, recipe="small")
    drawn = [prepare(cell.settings) for cell in found if cell.row == "ULMFiT" and cell.settings.shots == 4]
    assert [len(each.corpus.split("train")) for each in drawn] == [56, 56]
    assert drawn[0].corpus.digest != drawn[1].corpus.digest
    assert drawn[0].plan["lm forward"] == drawn[1].plan["lm forward"]


@pytest.mark.slow
def test_the_plan_reads_a_corpus_once_for_all_rows_and_numbers_of_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the default home is in it
    read, load = [], Dbpedia.load
    monkeypatch.setattr(Dbpedia, "load", lambda *args: read.append(args) or load(*args))
    cells = tables.cells("few_shot", ("dbpedia",), 2, miniature=True, recipe="small")
    rows = [tables.labelled("table6", cell) for cell in tables.cells("table6", ("dbpedia",), 1, miniature=True)]
    planned, failed = grid.plan([*cells, *rows])
    assert len(planned) == len(cells) + len(rows) and not failed and len(read) == 1


def test_a_damaged_record_is_written_again_by_its_cell(tmp_path, capsys):
    (tmp_path / "result.json").write_text('{"experiment": "trec", "set')
    grid._drop_if_damaged(tmp_path / "result.json")
    assert not list(tmp_path.iterdir()) and "is damaged" in capsys.readouterr().out


def test_runs_that_fail_for_the_same_reason_are_reported_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main("table6", data=("trec",), miniature=True, where=Where(home=tmp_path, **QUIET))
    shown = capsys.readouterr()
    assert end.value.code == 1 and "no record" not in shown.out
    assert shown.err.startswith("failed: trec 0: none and 3 other runs: there is no miniature of trec")
    assert len(shown.err.splitlines()) == 1


def test_a_data_set_named_twice_is_run_once():
    assert tables.cells("table5", ("trec", "trec"), 1) == tables.cells("table5", ("trec",), 1)


def test_options_that_have_no_meaning_without_another_are_refused(tmp_path):
    with pytest.raises(DataError, match="--draw 3 has no meaning without --shots"):
        prepare(replace(Dbpedia(miniature=True), draw=3))
    with pytest.raises(DataError, match="no meaning without --level dump"):
        prepare(Dbpedia(miniature=True, dump_rows=100))
    with pytest.raises(DataError, match="leave out --csv"):
        prepare(OwnCsv(miniature=True, csv=Path("a.csv")))
    tickets = MINIATURE / "own" / "tickets.csv"
    settings = OwnCsv(csv=tickets, multi_label=True, unlabelled=tickets, labelled_only=True, home=tmp_path)
    _, failed = grid.plan([Cell("", "own_csv", "seed0", settings)])
    assert "--labelled-only leaves out the texts of --unlabelled" in "".join(failed.values())


def test_figure_4_has_a_curve_for_recipes_of_few_epochs_too():
    epochs = [
        {sum(p.epochs for p in s.recipe.clas.phases) for s in figure4.variants(settings).values()}
        for settings in (base.replicates(data, 1)[0] for data in figure4.DATA)
    ]
    assert epochs == [{12}] * 4


@pytest.mark.slow
def test_one_cell_with_a_broken_setting_fails_alone(small, home, monkeypatch, capsys):
    def with_broken(*args, **kwargs):
        (cell, *_) = cells(*args, **kwargs)
        impossible = replace(cell, row="too many", settings=replace(cell.settings, train_size=10**6))
        phases = (Phase(lr=1e30, decay=1.0, schedule="const"),)
        broken = replace(cell.settings, recipe=replace(QUICK, lm=replace(QUICK.lm, phases=phases)))
        return [impossible, replace(cell, row="diverging", settings=broken), cell]

    cells = tables.cells
    monkeypatch.setattr(tables, "cells", with_broken)
    with pytest.raises(SystemExit) as end:
        main("table4", miniature=True, where=Where(home=home, **QUIET))
    assert end.value.code == 1
    shown = capsys.readouterr()
    assert "failed: sfu 0: too many" in shown.err and "--train-size 1000000" in shown.err
    assert "failed: sfu 0: diverging: the loss is nan" in shown.err
    assert "without pretraining" in shown.out


def test_a_finished_cell_without_labelled_test_rows_is_shown_by_its_validation_error(tmp_path):
    record = {"settings": {"recipe_name": "tiny"}, "corpus": {"name": "mine"}, "valid": {"error": 0.25}}
    record |= {"stages": [{"name": "eval", "seconds": 1, "reused": False}]}
    source = json.loads((tables.RECORDS / "trec" / "default" / "seed0.json").read_text(encoding="utf-8"))
    (tmp_path / "result.json").write_text(json.dumps({k: v for k, v in source.items() if k != "test"} | record))
    shown = grid._result_line(tmp_path / "result.json")
    assert shown.startswith("valid 25.00 %")
    assert "test" not in shown


KILLED = """
import sys; sys.path.insert(0, 'tests'); from test_paper import Path, main, quick, tables
from ulmfit_exp.runs.settings import Grid, Where
tables.miniature_of = quick
if __name__ == '__main__':
    main('table6', miniature=True, where=Where(home=Path(sys.argv[1]), wandb='disabled'), grid=Grid(jobs=2))
"""


@pytest.mark.slow
def test_a_killed_grid_ends_with_the_same_table(small, home, tmp_path, capsys):
    (tmp_path / "grid.py").write_text(KILLED)
    process = subprocess.Popen([sys.executable, tmp_path / "grid.py", tmp_path], cwd=ROOT, env=PATHS, stdout=DEVNULL)
    while len(list((tmp_path / "stages").glob("clas-*"))) < 2 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    undisturbed, killed = (shown_by("table6", where, capsys) for where in (home, tmp_path))
    assert re.search("of which [123] are finished", killed)
    assert figures_of(killed) == figures_of(undisturbed)


def shown_by(table: str, home: Path, capsys, **options) -> str:
    """What a grid without a failure prints."""
    with pytest.raises(SystemExit) as end:
        main(table, miniature=True, where=Where(home=home, **QUIET), **options)
    assert end.value.code == 0
    return capsys.readouterr().out


def figures_of(shown: str) -> list[str]:
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    variants = len(table6.variants(base.DATA["sfu"]))
    assert len(rows) == 2 * (2 + variants)  # valid and test, with their heads
    return rows


@pytest.fixture
def records(small, home, tmp_path, monkeypatch, capsys):
    """Records of table 5 in miniature, as they would be committed, made on another machine."""
    shown_by("table5", home, capsys)
    for path in (home / "runs").glob("*/result.json"):
        record = json.loads(path.read_text())
        record["settings"]["precision"] = "bf16"
        (tmp_path / f"{path.parent.name}.json").write_text(json.dumps(record))
    cells = tables.cells
    monkeypatch.setattr(tables, "cells", lambda name, data, seeds, *_, **__: cells(name, ("sfu",), seeds, True))
    return tmp_path


def test_tables_are_drawn_from_records_of_the_same_settings(records, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tables, "RECORDS", records)
    assert [cell.row for cell, _ in tables.recorded("table5", tables.committed())] == ["vanilla LM", "AWD-LSTM LM"]
    with pytest.raises(SystemExit) as end:
        main("table5", render=True, where=Where(home=tmp_path / "drawn"))
    assert end.value.code == 0 and "| vanilla LM |" in capsys.readouterr().out
    assert (tmp_path / "drawn" / "paper" / "committed" / "table5.md").is_file()
    with pytest.raises(DataError, match="leave out --plan and --miniature"):
        main("table5", render=True, miniature=True)
    for path in records.glob("*.json"):
        other = json.loads(path.read_text())
        other["settings"]["seed"] = 777
        path.write_text(json.dumps(other))
    assert tables.recorded("table5", tables.committed()) == []


def test_the_plan_reports_how_many_cells_are_committed(records, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tables, "RECORDS", records)
    assert "2 of 2 cells are committed: --render shows them" in shown_by("table5", tmp_path, capsys, plan=True)


def die_or_work(settings, log):
    """In the place of `workers.work`."""
    if settings.recipe.lm.drop_mult == 0:  # the row "vanilla LM"
        os.kill(os.getpid(), signal.SIGKILL)
    return workers.work(settings, log)


@pytest.mark.slow
def test_a_worker_that_dies_fails_its_cell_alone_and_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "miniature_of", quick)
    monkeypatch.setattr(workers, "work", die_or_work)
    monkeypatch.setattr(grid, "MOVES", 0)
    planned, _ = grid.plan(
        [tables.labelled("table5", cell, home=tmp_path, **QUIET) for cell in tables.cells("table5", ("sfu",), 1, True)]
    )
    with workers.pool(1) as pool:
        failed = grid.run_grid(planned, pool)
    assert [cell.row for cell in failed] == ["vanilla LM"]
    assert "exit code -9" in next(iter(failed.values()))
    assert [p.cell.row for p in planned if p.finished] == ["AWD-LSTM LM"]


@pytest.mark.slow
def test_a_record_is_reproduced_from_itself_alone(sfu, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # it sets this
    record = run(sfu)

    def again() -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            reproduce.main(record, home=tmp_path / "again")
        return int(end.value.code), capsys.readouterr().out

    code, shown = again()
    verdicts = re.findall(r"^\S.* \d\.\d{5} +\d\.\d{5}  (.+)$", shown, re.MULTILINE)
    assert len(verdicts) >= 8
    assert set(verdicts) == {"equal"}
    assert code == 0
    assert "not computed again" not in shown
    changed = json.loads(record.read_text())
    changed["test"]["error"] += 0.1
    record.write_text(json.dumps(changed))
    code, shown = again()
    assert code == 1
    assert "different" in shown
    assert "not computed again" in shown


def test_a_record_of_an_earlier_shipped_model_is_reproduced_with_that_model(tmp_path):
    old = read(tables.RECORDS / "trec" / "default" / "seed0.json")
    found = reproduce.shipped_then(old, "wikipedia-small", tmp_path)
    if found == "wikipedia-small":
        pytest.skip("the history of this checkout does not reach back so far")
    models = pretrained.resolve(found, ("forward", "backward"), None)
    assert {d: model.digest for d, model in models.items()} == {d: m["digest"] for d, m in old["pretrained"].items()}


def test_a_record_of_texts_that_are_not_there_is_not_reproduced(tmp_path, monkeypatch):
    old = read(tables.RECORDS / "trec" / "default" / "seed0.json") | {"experiment": "own_csv"}
    for given, message in (({}, "a corpus in memory"), ({"csv": "a.csv"}, "only the name of its table, a.csv")):
        (tmp_path / "result.json").write_text(json.dumps(old | {"settings": old["settings"] | given}))
        with pytest.raises(DataError, match=message):
            reproduce.main(tmp_path / "result.json")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert reproduce._git("log") == b""  # git is not installed


def test_the_folder_that_a_table_links_to_is_answered_with_the_records_in_it():
    with pytest.raises(DataError, match=r"holds \d+ records: name one, such as \S+seed0\.json"):
        reproduce.main(Path("trec/default"))


def test_figure_3_gives_few_labels_more_epochs_and_averages_the_baseline_over_folds():
    sfu = replace(base.DATA["sfu"], recipe=base.DATA["sfu"].recipes["small"])
    assert [s.recipe.clas.phases[-1].epochs for s in figure3.sized(sfu, "sfu")] == [80, 40, 8]
    scratch = [s.recipe.clas for s in figure3.sized(figure3.variants(sfu)["from scratch"], "sfu")]
    assert [(c.phases[0].epochs, c.patience) for c in scratch] == [(600, 50), (300, 25), (60, 5)]
    imdb = replace(base.DATA["imdb"], recipe=base.DATA["imdb"].recipes["small"])
    assert [s.recipe.clas.bs for s in figure3.sized(imdb, "imdb")] == [16, 16, 16, 16, 64]
    scratch = [s.recipe.clas.phases[0].lr for s in figure3.sized(figure3.variants(imdb)["from scratch"], "imdb")]
    assert scratch == [0.001, 0.001, 0.001, 0.001, 0.004]
    results = []
    for fold, wrong in enumerate((0.1, 0.5)):
        record = {"test": {"error": 0.2}, "baseline": {"method": "TF-IDF", "error": wrong}}
        record |= {"dataset": "sfu", "variant": "small", "replicate": f"fold{fold}", "corpus": {"rows": {"train": 40}}}
        results.append((grid.Cell("supervised", "sfu", fold, sfu), record))
    text, _ = figures.by_labels(figures.errors_with_baseline(results), "supervised", "from scratch")
    assert "SFU sentiment (n = 2)" in text and "| 40 | [20.00 ± 0.00](sfu/small) | [30.00 ± 28.28](sfu/small) |" in text


def test_figure_3_says_how_many_times_as_many_labels_the_other_row_needs():
    theirs = pd.Series({100: 50.0, 1000: 20.0, 10_000: 10.0})
    ours = pd.Series({20: 60.0, 50: 50.0, 100: 15.0, 1000: 10.0, 10_000: 9.0, 20_000: 8.0})
    assert figures.labels_needed(ours, theirs).to_dict() == {
        20: "< 5.0 ×", 50: "2.0 ×", 100: "31.6 ×", 1000: "10.0 ×", 10_000: "> 1.0 ×",
    }  # fmt: skip


def marked(**rows: list[float]) -> str:
    """The table of these errors."""
    found = [(row, "sfu", i, e, f"sfu/{row}") for row, errors in rows.items() for i, e in enumerate(errors)]
    return figures.ablation(pd.DataFrame(found, columns=figures.COLUMNS), {}, "ours")[0]


def test_a_figure_links_to_its_records_and_is_marked_only_where_the_test_supports_it():
    rows = {"ours": [5.0, 6.0, 7.0, 8.0, 9.0], "same": [5.1, 5.9, 7.1, 7.9, 9.0], "worse": [6.0, 7.1, 7.9, 9.0, 10.1]}
    text = marked(**rows)
    assert "| SFU sentiment (n = 5) |" in text
    assert "| worse | [8.02 ± 1.60](sfu/worse)\\* |" in text
    assert "| same | [7.00 ± 1.55](sfu/same) |" in text
    fewer = marked(**{**rows, "worse": rows["worse"][:3]})
    assert re.search(r"7.00 ± 0.95\S* \(n = 3\)", fewer)


def test_table_7_has_the_best_epoch_of_ulmfit_and_tests_no_validation_error():
    results = tables.recorded("table7", tables.committed(), ("sfu",))
    text = tables.drawn("table7", results)[0]
    valid, test = text.split("Test error")
    records = [record for cell, record in results if cell.row == table7.REFERENCE]
    lowest = [100 * min(epoch["valid_error_rate"] for epoch in r["history"]["clas forward"]) for r in records]
    assert f"| {table7.BEST} | {mean_sd(lowest)} |" in valid
    assert table7.BEST not in test
    assert "\\*" not in valid
    assert "\\*" in test


def test_links_start_from_the_page_or_are_left_out():
    results = tables.recorded("table4", tables.committed(), ("trec",))
    assert re.search(r"\[\d\.\d\d ± \d\.\d\d\]\(\.\./trec/small-forward\)", tables.drawn("table4", results, "..")[0])
    assert "](" not in tables.drawn("table4", results)[0]


def test_shared_stages_count_once():
    record = {"stages": [{"path": "stages/lm", "seconds": 60}, {"path": "clas", "seconds": 40}]}
    other = {"stages": [record["stages"][0], {"path": "clas2", "seconds": 40}]}
    assert cost([record, other]) == (140, 200)
