"""Tables come from records."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ulmfit_exp.common import DataError
from ulmfit_exp.recipe import RECIPES, Phase, differences
from ulmfit_exp.record import mistakes, read_all, variant_folder
from ulmfit_exp.results import draw
from ulmfit_exp.results.tables import beside_baseline, difference, run_table, summary

ROOT = Path(__file__).parents[1]


def record(fold=0, seed=0, error=0.1, **settings) -> dict:
    part = {"error": error, "loss": 1.0, "accuracy": 1 - error, "n": 80}
    return {
        "experiment": "sfu",
        "dataset": "sfu-category",
        "variant": "small",
        "replicate": f"fold{fold}",
        "settings": {"recipe_name": "small", "recipe": {"direction": "both"}, "fold": fold, "seed": seed, **settings},
        "corpus": {"name": f"sfu-category-fold{fold}", "rows": {"test": 80}, "tokens": 9},
        "valid": part,
        "test": part,
        "directions": {d: {"valid": part, "test": part} for d in ("forward", "backward")},
        "baseline": {"method": "TF-IDF + logistic regression", "valid_error": 0.2, "error": 0.25},
        "interval": [0.04, 0.2],
        "calibration": {"temperature": 1.5, "test ece": {"before": 0.1, "after": 0.03}},
        "paper": 3.6,
        "seed": seed,
    }


def test_folds_and_seeds_are_one_row_with_mean_and_deviation_and_other_settings_another():
    lines = summary([record(0, error=0.1), record(1, error=0.2), record(0, precision="bf16")]).splitlines()
    assert len(lines) == 4
    assert lines[2].split(" | ")[:7] == ["| sfu-category", "small", "none", "both", "2", "160", "15.00 ± 7.07"]
    assert lines[3].split(" | ")[4:7] == ["1", "80", "10.00"]  # fold 0 in both precisions
    assert summary([record(0, error=0.1), record(1, error=0.2, precision="bf16")]).splitlines()[2:] == lines[2:3]


def test_in_tests_over_texts_a_text_counts_once_for_all_seeds():
    assert summary([record(seed=0), record(seed=1)]).splitlines()[2].split(" | ")[4:6] == ["2", "80"]


def test_a_row_links_to_its_records():
    assert "| [sfu-category](results/sfu-category/small) |" in summary([record()], "results")


def test_the_lower_of_ours_and_the_baselines_error_is_named_and_tested_where_there_are_three_runs():
    assert beside_baseline([record(error=0.3)]) == (
        "- sfu-category, small: **TF-IDF + logistic regression** has the lower error, 25.00 against 30.00 % "
        "(1 run, not tested)"
    )
    assert beside_baseline([record(error=0.25)]) == "- sfu-category, small: both 25.00 % (1 run, not tested)"
    several = beside_baseline([record(fold, error=error) for fold, error in enumerate((0.1, 0.11, 0.12))])
    assert "**ULMFiT** has the lower error, 11.00 against 25.00 % (3 runs, significant, p = 0.0017)" in several
    features = record(error=0.1, recipe={"direction": "both", "head": "features"})
    assert "**features + LR** has the lower error" in beside_baseline([features])
    assert "features + LR, mean of both directions 10.00 10.00" in run_table(features)


def test_the_table_of_a_run_sets_ours_beside_the_baseline_and_the_paper():
    shown = run_table(record(error=0.125))
    for part in (
        "12.50",
        "forward alone",
        "TF-IDF",
        "25.00",
        "the paper",
        "3.60",
        "80 test texts",
        "4.0 to 20.0",
        "not significant",
        "1.50",
    ):
        assert part in shown


def test_only_the_settings_that_differ_between_two_records_are_reported():
    told = difference(record(seed=0, train_size=100), record(seed=3))
    assert list(told.index) == ["seed", "train_size"] and list(told.loc["seed"]) == [0, 3]
    assert difference(record(), record()).empty


def test_a_schedule_differs_in_one_row_of_words():
    recipes = [{"clas": {"bs": 16, "phases": [asdict(phase)]}} for phase in (Phase(), Phase(epochs=3, decay=1.0))]
    table = difference(*(record(fold=fold, recipe=recipe) for fold, recipe in enumerate(recipes)))
    assert table.loc["recipe.clas.phases"].tolist() == ["[0: 1 epoch stlr 0.01/2.6]", "[0: 3 epochs stlr 0.01]"]
    assert list(table.index) == ["recipe.clas.phases", "fold"]


def test_another_pooling_is_a_change_in_words():
    recipe = RECIPES["small"]
    assert differences(replace(recipe, pooling=("last", "max")), recipe) == {"pooling": "last, max"}


def test_a_record_without_confusion_or_mistakes_says_so(tmp_path):
    with pytest.raises(DataError, match="older than the confusion matrix"):
        draw.confusion(record())
    untested = {k: v for k, v in record().items() if k != "test"}
    with pytest.raises(DataError, match="no test text has a label"):
        draw.confusion(untested)
    assert beside_baseline([untested]) == "" and draw.mistakes([]).get_figheight() > 0
    old = record() | {"stages": [{"path": "stages/eval-0"}]}
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert mistakes(tmp_path / "old.json") == []


def test_a_home_without_a_finished_run_has_no_records(tmp_path):
    home = tmp_path / "home"
    (home / "stages" / "tokens-1").mkdir(parents=True)
    for name in ("vocab.json", "targets.json"):
        (home / "stages" / "tokens-1" / name).write_text("[]")
    assert read_all([home]) == read_all([tmp_path]) == ([], [])
    (home / "runs" / "NAME" / "classifier").mkdir(parents=True)
    (home / "runs" / "NAME" / "classifier" / "vocab.json").write_text("[]")
    assert read_all([home / "runs"]) == ([], [])
    (home / "in" / "runs" / "runs" / "NAME").mkdir(parents=True)
    (home / "in" / "runs" / "runs" / "NAME" / "result.json").write_text("{}")
    assert len(read_all([home / "in"])[1]) == 1  # the folder in which the default home is


def test_committed_records_are_whole_findable_and_name_no_machine_path():
    folder = ROOT / "experiments" / "results"
    found, left_out = read_all([folder])
    assert left_out == []
    assert len(found) == len(list(folder.rglob("*.json")))
    wanted = {"experiment", "settings", "seed", "corpus", "stages", "valid", "test", "baseline", "commit"}
    wanted |= {"tokens_per_second", "versions", "machine", "label", "changes"}
    for path, record in found:
        assert wanted <= set(record), path
        assert not record["commit"].endswith("+"), path
        assert '"/' not in path.read_text(encoding="utf-8"), path
        assert path == folder / variant_folder(record) / f"{record['replicate']}.json"
