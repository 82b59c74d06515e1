"""What the plan says of time: by finished trainings of the same size, or else by the model's size."""

import json
from dataclasses import replace
from pathlib import Path

from conftest import FORWARD
from rich.progress import Progress

from experiments.paper import tables
from experiments.sfu import Sfu
from ulmfit_exp.method.pretrained import SHIPPED
from ulmfit_exp.recipe import recipe_from
from ulmfit_exp.runs import estimate, grid
from ulmfit_exp.runs.run import prepare


def planned(*cells: dict[str, float]) -> list[grid.Planned]:
    """Cells that were never run, with the seconds of their stages."""
    return [
        grid.Planned(grid.Cell("row", "sfu", i, Sfu()), Path(f"absent/{i}"), {Path(k): v for k, v in stages.items()})
        for i, stages in enumerate(cells)
    ]


def test_more_processes_do_not_shorten_the_wait_for_a_shared_stage():
    cells = planned({"lm": 10, "a": 5}, {"lm": 10, "b": 5}, {"lm": 10, "c": 5})
    assert [grid.makespan(cells, n) for n in (1, 2, 3, 64)] == [25, 20, 15, 15]
    assert grid.makespan(planned({"a": 4}, {"b": 3}, {"c": 2}), 2) == 5
    assert grid.makespan([], 2) == 0


def test_a_damaged_stage_is_no_finished_training(tmp_path):
    info = {"history": [{"tokens": 100, "step": 10}], "seconds": 2}
    whole = json.dumps({"info": info, "inputs": {"precision": "fp32"}})
    for name, text in (("lm-a", "{"), ("lm-b", '{"inputs": {}}'), ("clas-c", "[]"), ("lm-d", whole)):
        (tmp_path / "stages" / name).mkdir(parents=True)
        (tmp_path / "stages" / name / "stage.json").write_text(text)
    assert [trained.tokens for trained in estimate.finished_trainings(tmp_path)] == [100]


def test_while_a_grid_runs_its_end_is_predicted_from_the_cells_that_have_ended(tmp_path, monkeypatch):
    """Cells take twice the estimated time, some more and some less, in two processes."""
    waiting, running, starts, now, predicted = [], [], {}, 0, {}
    for i, p in enumerate(planned(*({f"{tmp_path}/{i}": 100} for i in range(10)))):
        waiting.append(replace(p, path=tmp_path / f"{i}.json"))
    took = {p.path: 200 + 15 * (i % 3 - 1) for i, p in enumerate(waiting)}
    monkeypatch.setattr(grid.time, "monotonic", lambda: now)
    view = grid.View(Progress(disable=True), waiting)
    while waiting or running:
        while waiting and len(running) < 2:
            running.append(waiting.pop(0))
            starts[running[-1].path] = now
        predicted[now] = now + view.seconds_left(waiting, running, 2)
        now += 5
        for ended in [p for p in running if now - starts[p.path] >= took[p.path]]:
            running.remove(ended)
            for path in (ended.path, *ended.stages):
                path.touch()
    assert predicted[0] == 500
    assert all(abs(end / now - 1) < 0.05 for time, end in predicted.items() if time > 250)


def test_only_trainings_of_the_same_size_count():
    this = estimate.Trained("clas", "bf16", {"n_hid": 448}, 200)
    assert this.like(replace(this, batch=390))
    assert not this.like(replace(this, batch=20))  # a miniature's short texts
    assert not this.like(replace(this, precision="fp32"))
    assert not this.like(replace(this, model=None))


def test_finished_trainings_of_a_home_give_the_rate_of_the_next(finished, monkeypatch):
    trained = estimate.finished_trainings(finished.home)
    assert sorted(t.kind for t in trained) == ["clas", "clas", "lm", "lm"]
    assert all(t.tokens > 0 for t in trained)
    again = grid.Cell("row", "sfu", 1, replace(finished, seed=1, recipe=FORWARD))
    ((cell,), failed) = grid.plan([again])
    assert failed == {}
    (lm,) = (seconds for stage, seconds in cell.stages.items() if stage.name.startswith("lm-"))
    slower = [replace(t, seconds=100 * t.seconds) for t in trained]
    monkeypatch.setattr(estimate, "finished_trainings", lambda home: slower)
    ((cell,), _) = grid.plan([again])
    (slow,) = (seconds for stage, seconds in cell.stages.items() if stage.name.startswith("lm-"))
    assert slow - 1 > 99 * (lm - 1)


def test_with_few_labels_the_validation_of_each_epoch_counts(sfu, monkeypatch):
    run = prepare(replace(sfu, train_size=10))
    training = estimate.seconds(run, "clas forward", [])
    monkeypatch.setattr(estimate, "_forward_pass", lambda run, splits: 100 if splits == ("valid",) else 0)
    epochs = sum(phase.epochs for phase in run.recipe.clas.phases)
    assert estimate.seconds(run, "clas forward", []) > 100 * epochs > training


def test_the_guess_for_a_gpu_agrees_with_the_pretraining_of_the_shipped_model():
    record = json.loads((SHIPPED / "wikipedia-small" / "forward" / "record.json").read_text("utf-8"))
    epochs, recipe = record["history"]["lm forward"], recipe_from(record["settings"]["recipe"])
    tokens, steps, seconds = epochs[0]["tokens"], epochs[0]["step"], epochs[0]["seconds"]
    guess = estimate.seconds_by_size("lm", recipe, tokens, steps, estimate.GPU_SPEED, gpu=True)
    assert record["machine"]["gpu"] and 0.7 < guess / seconds < 1.4


def test_the_guess_by_size_agrees_with_the_committed_records():
    """On a CPU in bf16 and a thread each: those that the constants are from. docs/performance.md has the ratios."""
    speed = 6.0e10  # of their processor
    guessed, took = {}, {}
    for record in tables.committed():
        recipe = recipe_from(record["settings"]["recipe"])
        on_cpu = record["settings"]["precision"] == "bf16" and not record["machine"]["gpu"]
        for stage in record["stages"] if on_cpu else ():
            kind, epochs = stage["name"].split()[0], record["history"].get(stage["name"])
            if kind in ("lm", "clas") and epochs:
                n, tokens = len(epochs), sum(row["tokens"] for row in epochs)
                each = estimate.seconds_by_size(kind, recipe, tokens / n, epochs[-1]["step"] / n, speed)
                guessed[stage["path"]], took[stage["path"]] = n * each, stage["seconds"]
    assert took
    assert 0.8 < sum(guessed.values()) / sum(took.values()) < 1.25
