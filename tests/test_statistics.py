"""The tests of significance: known values, what is not tested, and what they refuse to compare."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from ulmfit_exp.common import DataError
from ulmfit_exp.results.statistics import ALPHA, bootstrap, holm, mcnemar, p_against, paired, wrong
from ulmfit_exp.results.tables import mean_sd

OURS, THEIRS = [5.0, 6.0, 7.0, 8.0, 9.0], [6.0, 7.1, 7.9, 9.0, 10.1]


def found(**rows: list[float]) -> pd.DataFrame:
    """Errors as `p_against` takes them, of one data set."""
    cells = [(row, "sfu", i, error) for row, errors in rows.items() for i, error in enumerate(errors)]
    return pd.DataFrame(cells, columns=["row", "data", "replicate", "error"])


def texts(*is_wrong: bool) -> pd.Series:
    """A run's test texts as `wrong` returns them."""
    return pd.Series(is_wrong, index=pd.MultiIndex.from_tuples([(i, "a") for i in range(len(is_wrong))]))


def test_the_paired_test_is_scipys_on_the_same_seeds():
    (p,) = paired((pd.Series(OURS) - pd.Series(THEIRS)).to_frame())
    assert p == pytest.approx(ttest_rel(OURS, THEIRS).pvalue)


def test_two_runs_are_too_few_to_test():
    assert paired(pd.DataFrame([0.5, 0.6])).isna().all()


def test_differences_that_are_all_equal_are_not_tested():
    errors = pd.Series([5.5, 5.7, 6.1])
    assert paired((errors - (errors + 1 / 3)).to_frame()).isna().all()


def test_holm_multiplies_the_smallest_p_by_the_number_of_tests_and_keeps_their_order():
    p = holm(pd.Series([0.01, 0.04, float("nan"), 0.03, 0.005]))
    assert p.dropna().round(10).tolist() == [0.03, 0.06, 0.06, 0.02]


def test_what_is_significant_alone_may_not_be_beside_many_other_rows():
    alone = p_against(found(ours=OURS[:3], theirs=[6.0, 7.1, 7.8]), "ours")
    assert alone["sfu", "theirs"] < ALPHA
    rng = np.random.default_rng(0)
    others = {f"row {i}": list(OURS[:3] + rng.normal(size=3)) for i in range(20)}
    among = p_against(found(ours=OURS[:3], theirs=[6.0, 7.1, 7.8], **others), "ours")
    assert among["sfu", "theirs"] > ALPHA


def test_seeds_of_a_fold_count_once_by_their_mean():
    table = found(ours=OURS[:3], theirs=THEIRS[:3]).assign(replicate=["fold0", "fold1", "fold2"] * 2)
    again = table.assign(replicate=table["replicate"] + "-seed1", error=table["error"] + 1)
    means = table.assign(error=table["error"] + 0.5)
    assert p_against(pd.concat([table, again]), "ours") == p_against(means, "ours")
    assert mean_sd(pd.Series([1, 3, 5, 7], ["fold0", "fold0-seed1", "fold1", "fold1-seed1"])) == mean_sd([2, 6])


def test_a_table_without_its_reference_has_no_tests():
    assert p_against(found(theirs=THEIRS), "ours") == {}


def test_false_positives_of_a_table_are_at_most_alpha():
    rng = np.random.default_rng(0)
    tables = [found(**{f"{i}": list(rng.normal(size=3)) for i in range(10)}) for _ in range(100)]
    assert np.mean([min(p_against(table, "0").values()) < ALPHA for table in tables]) < 2 * ALPHA


@pytest.fixture
def finished(tmp_path):
    """The folder of a run with predictions of two labelled test texts, one wrong, of classes that look like numbers."""
    run, stage = tmp_path / "runs" / "sfu-small-seed0", tmp_path / "stages" / "eval-1"
    run.mkdir(parents=True)
    stage.mkdir(parents=True)
    rows = ["0,valid,1,NA,0.4", "3,test,NA,NA,0.2", "7,test,1,NA,0.3", "8,test,,NA,0.3"]
    (stage / "predictions.csv").write_text("\n".join(["row,split,label,predicted,p 1", *rows]), encoding="utf-8")
    record = {"settings": {}, "dataset": "sfu", "variant": "small", "replicate": "seed0", "changes": {}}
    (run / "result.json").write_text(json.dumps({**record, "stages": [{"path": "stages/eval-1"}]}), encoding="utf-8")
    return run


def test_a_finished_run_has_its_predictions(finished):
    assert wrong(finished).to_dict() == {(3, "NA"): False, (7, "1"): True}
    assert wrong(finished / "result.json").equals(wrong(finished))


def test_a_record_without_predictions_is_refused(finished):
    (finished.parents[1] / "stages" / "eval-1" / "predictions.csv").unlink()
    with pytest.raises(DataError, match="has no predictions"):
        wrong(finished)


def test_four_differing_texts_are_not_significant_by_mcnemar():
    ours, theirs = texts(*[False] * 4, True, False), texts(*[True] * 4, True, False)
    assert mcnemar(ours, theirs) == 0.125
    assert mcnemar(ours, ours) == 1


def test_the_bootstrap_has_the_mean_difference_in_points_and_an_interval_around_it():
    rng = np.random.default_rng(0)
    ours, theirs = ([texts(*(rng.random(500) < share)) for _ in range(3)] for share in (0.05, 0.15))
    mean, low, high = bootstrap(ours, theirs)
    assert mean == pytest.approx(100 * np.mean([a.mean() - b.mean() for a, b in zip(ours, theirs)]))
    assert low < mean < high < 0
    assert bootstrap(ours, theirs) == (mean, low, high)
    _, low, high = bootstrap(ours, [texts(*rng.permutation(run)) for run in ours])
    assert low < 0 < high


def test_runs_on_different_texts_are_not_compared():
    with pytest.raises(DataError, match="different test texts"):
        mcnemar(texts(True, False), texts(True))
    with pytest.raises(DataError, match="different test texts"):
        bootstrap([texts(True, False)], [texts(True, False, True)])
