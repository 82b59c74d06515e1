"""Training: recipe values, learning rates, seeds, metrics of each step; kills, damaged checkpoints and divergence."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import FORWARD, QUICK, TINY

from ulmfit_exp.bounds import check
from ulmfit_exp.cli import run
from ulmfit_exp.common import DataError
from ulmfit_exp.method import batches, schedules, training
from ulmfit_exp.method.schedules import passes_per_epoch, shortened, stlr
from ulmfit_exp.recipe import PRETRAINING, RECIPES, Phase, gradual

# Schedules


@pytest.mark.parametrize("steps", [20, 100, 1234])
def test_stlr_is_the_papers_equation_3(steps):
    cut_frac, ratio, highest = 0.1, 32, 0.01
    cut = math.floor(steps * cut_frac)
    for t in range(steps):
        p = t / cut if t < cut else max(0, 1 - (t - cut) / (cut * (1 / cut_frac - 1)))
        assert highest * stlr(t, steps) == pytest.approx(highest * (1 + p * (ratio - 1)) / ratio, rel=1e-12)
    assert stlr(0, steps) == pytest.approx(1 / 32) and stlr(cut, steps) == 1


def test_stlr_of_a_few_steps_stays_between_its_bounds():
    assert all(1 / 32 <= stlr(t, steps) <= 1 for steps in range(1, 30) for t in range(steps))


def rates_in_training(learn, phase: Phase) -> np.ndarray:
    """The rate of each layer group at each step of a phase."""
    rates = []

    class Look(training.Callback):
        order = 61  # after ParamScheduler

        def before_batch(self):
            if self.training:
                rates.append([h["lr"] for h in self.opt.hypers])

    learn.create_opt()
    training.freeze(learn, phase)
    training.fit(learn, phase, 0, [Look()])
    return np.array(rates)


def test_rates_in_training_follow_stlr_and_fall_by_the_decay_from_layer_to_layer(one_learner):
    learn = one_learner()
    rates = rates_in_training(learn, Phase(epochs=2, lr=0.01, decay=2.6))
    assert len(rates) == 2 * len(learn.dls.train)
    assert np.allclose(rates[:, 1:] / rates[:, :-1], 2.6)
    assert np.allclose(rates[:, -1], [0.01 * stlr(t, len(rates)) for t in range(len(rates))])


@pytest.mark.parametrize("schedule", ["stlr", "one_cycle", "cos", "const"])
def test_the_rates_that_are_drawn_are_those_of_training(schedule, one_learner):
    learn = one_learner()
    phase = Phase(epochs=2, freeze_to=-2, schedule=schedule)
    seen = rates_in_training(learn, phase)
    drawn = schedules.rates((phase,), 5, len(learn.dls.train)).to_numpy()
    assert np.isnan(drawn[:, :3]).all() and np.allclose(drawn[:, 3:], seen[:, 3:])


def test_gradual_unfreezing_frees_one_more_group_each_phase_and_frozen_weights_stay(one_learner):
    phases = gradual(groups=5, lr=0.02)
    assert [p.freeze_to for p in phases] == [-1, -2, -3, -4]
    learn = one_learner()
    for phase in phases[:3]:
        assert groups_moved_by(learn, phase) == [i >= 5 + phase.freeze_to for i in range(5)]


def test_a_phase_above_the_models_layer_groups_is_refused(one_learner):
    learn = one_learner()
    learn.create_opt()
    with pytest.raises(DataError, match=r"freeze-to 5 in --recipe.clas.phases is impossible: the model has 5"):
        training.freeze(learn, Phase(freeze_to=5))


def groups_moved_by(learn, phase: Phase) -> list[bool]:
    """Which layer groups a phase changes."""
    before = [[p.detach().clone() for p in group] for group in learn.splitter(learn.model)]
    learn.create_opt()
    training.freeze(learn, phase)
    training.fit(learn, phase, 0, [])
    after = learn.splitter(learn.model)
    return [any(not torch.equal(a, b) for a, b in zip(x, y)) for x, y in zip(before, after)]


def epochs(training) -> list[int]:
    return [phase.epochs for phase in training.phases]


def test_an_epoch_goes_over_few_texts_several_times_and_many_texts_have_fewer_epochs():
    clas = RECIPES["default"].clas
    assert (clas.min_steps, clas.max_steps) == (400, 6000)
    assert [passes_per_epoch(clas, steps) for steps in (300, 7, 1)] == [1, 5, 10]
    assert passes_per_epoch(RECIPES["small"].clas, 1) == 1
    assert epochs(shortened(clas, 300)) == [1, 1, 1, 1, 8]
    assert epochs(shortened(clas, 1000)) == [1, 1, 1, 1, 2]
    assert epochs(shortened(clas, 10_000)) == [1, 1, 1, 1, 1]
    assert shortened(RECIPES["small"].clas, 10_000) == RECIPES["small"].clas


def test_the_paper_recipe_has_the_papers_values():
    paper = RECIPES["paper"]
    assert (paper.model.emb_sz, paper.model.n_hid, paper.model.n_layers, paper.seq_len) == (400, 1150, 3, 70)
    assert [getattr(paper.model, f"{k}_p") for k in ("output", "hidden", "input", "embed", "weight")] == [
        0.4, 0.3, 0.4, 0.05, 0.5,
    ]  # fmt: skip
    assert paper.lm.phases[0].lr == 0.004 and {p.lr for p in paper.clas.phases} == {0.01}
    assert paper.lm.bs == paper.clas.bs == 64 and sum(p.epochs for p in paper.clas.phases) == 50


# Kills, damaged checkpoints, divergence


class Killed(BaseException):
    """Stands in for SIGKILL: nothing catches it."""


class Kill(training.Callback):
    """Kills the training after so many epochs, or at a training step before it can be saved."""

    def __init__(self, epochs: int | None = None, step: int | None = None):
        self.after, self.step = epochs, step

    @property
    def order(self):
        return 66 if self.after else 64  # after History, or before it

    def after_batch(self):
        if self.training and len(self.history.steps) + 1 == self.step:
            raise Killed

    def after_epoch(self):
        if len(self.history.epochs) == self.after:
            raise Killed


def killed(learn, recipe, work, **kill):
    """Train until the kill."""
    with pytest.raises(Killed):
        training.train(learn, recipe, 7, work, [Kill(**kill)])


def without_seconds(info: dict) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in info["history"]]


def assert_same_training(learn, info, steps, other, other_info, other_steps):
    for a, b in zip(learn.model.parameters(), other.model.parameters()):
        assert torch.equal(a, b)
    assert without_seconds(info) == without_seconds(other_info)
    assert steps == other_steps


@pytest.fixture(scope="module", params=["lm", "clas"])
def undisturbed(request, one_learner, tmp_path_factory):
    """The task, its learner after a training without a kill, and what the training returned."""
    learn, folder = one_learner(request.param), tmp_path_factory.mktemp("undisturbed")
    return request.param, learn, *training.train(learn, getattr(QUICK, request.param), 7, folder)


@pytest.mark.parametrize("epochs", [1, 2])
def test_resuming_after_an_epoch_gives_the_same_weights_and_metrics(epochs, undisturbed, one_learner, tmp_path):
    task, learn, info, steps = undisturbed
    killed(one_learner(task), getattr(QUICK, task), tmp_path, epochs=epochs)
    resumed = one_learner(task)
    torch.rand(3), np.random.rand(3)  # the new process has another random state
    again = training.train(resumed, getattr(QUICK, task), 7, tmp_path)
    assert_same_training(learn, info, steps, resumed, *again)


@pytest.mark.parametrize("step", [3, 6])
def test_resuming_within_an_epoch_gives_the_same_weights_and_metrics(
    step, undisturbed, one_learner, tmp_path, monkeypatch
):
    task, learn, info, steps = undisturbed
    monkeypatch.setattr(training, "SAVE_EVERY", -1)
    monkeypatch.setattr(training, "READ_EVERY", 1)  # a checkpoint after each batch
    killed(one_learner(task), getattr(QUICK, task), tmp_path, step=step)
    resumed, made = one_learner(task), []
    torch.rand(3), np.random.rand(3)  # the new process has another random state

    class Made(training.Callback):
        order = 66  # after History

        def after_batch(self):
            if self.training and self.iter >= self.history.finished_batches:
                made.append(len(self.history.steps))

    again = training.train(resumed, getattr(QUICK, task), 7, tmp_path, [Made()])
    assert made == list(range(step, len(steps) + 1))  # from the step of the kill on
    assert_same_training(learn, info, steps, resumed, *again)


@pytest.mark.parametrize("after", [0, 2])  # batches of the second pass; a checkpoint between passes would lack a draw
def test_an_epoch_of_several_passes_shuffles_each_and_is_resumed_within(
    after, one_learner, tmp_path, tmp_path_factory, monkeypatch
):
    once, learn, resumed = (one_learner() for _ in range(3))
    n, recipe = len(once.dls.train), replace(QUICK.clas, phases=(Phase(epochs=2),), min_steps=4 * len(once.dls.train))
    info, steps = training.train(learn, recipe, 7, tmp_path_factory.mktemp("learn"))
    assert [row["step"] for row in info["history"]] == [2 * n, 4 * n]
    first, second = np.array_split([y for _, y in learn.dls.train], 2)
    assert not np.array_equal(first, second) and sorted(first.flat) == sorted(second.flat)
    monkeypatch.setattr(training, "SAVE_EVERY", -1)
    monkeypatch.setattr(training, "READ_EVERY", 1)
    killed(once, recipe, tmp_path, step=n + after)
    assert_same_training(learn, info, steps, resumed, *training.train(resumed, recipe, 7, tmp_path))


def test_each_step_has_its_phase_its_loss_and_the_rates_of_the_groups_that_train(one_learner, tmp_path):
    learn = one_learner()
    phases = (Phase(freeze_to=-5, alone=True), Phase(freeze_to=-1), Phase(freeze_to=0))
    info, steps = training.train(learn, replace(FORWARD.clas, phases=phases), 0, tmp_path)
    assert [row["step"] for row in steps] == list(range(1, info["history"][-1]["step"] + 1))
    trains = {(row["phase"], *[row[f"lr_{i}"] is not None for i in range(5)]) for row in steps}
    assert trains == {(0, *[True] + [False] * 4), (1, *[False] * 4 + [True]), (2, *[True] * 5)}
    first = [row["train_loss"] for row in steps if row["phase"] == 0]
    assert info["history"][0]["train_loss"] == sum(first) / len(first)
    assert all(row["lr_0"] <= row["lr_4"] for row in steps if row["phase"] == 2)


@pytest.mark.slow
@pytest.mark.parametrize("undisturbed", ["clas"], indirect=True)
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "older"])
def test_a_damaged_checkpoint_is_reported_and_training_starts_again(damage, undisturbed, one_learner, tmp_path, capsys):
    task, learn, info, steps = undisturbed
    killed(one_learner(task), getattr(QUICK, task), tmp_path, epochs=2)
    file = tmp_path / "checkpoint.pt"
    if damage == "older":
        torch.save({"history": []}, file)
    else:
        content, middle = file.read_bytes(), file.stat().st_size // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        file.write_bytes({"cut": content[:middle], "flipped": flipped, "empty": b""}[damage])
    again = one_learner(task)
    capsys.readouterr()
    result = training.train(again, getattr(QUICK, task), 7, tmp_path)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"{file} cannot be read") and printed[0].endswith("training starts again")
    assert printed[1].startswith("epoch 1/3")
    assert_same_training(learn, info, steps, again, *result)


@pytest.mark.parametrize("task", ["lm", "clas"])
def test_a_loss_that_is_not_finite_ends_training_with_the_option_to_lower(task, one_learner, tmp_path):
    recipe = replace(getattr(QUICK, task), phases=(Phase(), Phase(epochs=3, lr=1e30, decay=1.0, schedule="const")))
    with pytest.raises(DataError) as error:
        training.train(one_learner(task), recipe, 7, tmp_path)
    message = rf"the loss is (nan|inf) at training step \d+; lower .* --recipe.{task}.phases.1.lr \(now 1e\+30\)"
    assert re.fullmatch(message, str(error.value))


@pytest.mark.parametrize("every", [2, 1000])
def test_losses_are_the_same_however_often_they_are_read(every, undisturbed, one_learner, tmp_path, monkeypatch):
    task, learn, info, steps = undisturbed
    monkeypatch.setattr(training, "READ_EVERY", every)
    again = one_learner(task)
    assert_same_training(learn, info, steps, again, *training.train(again, getattr(QUICK, task), 7, tmp_path))


def test_a_stage_that_diverged_is_not_finished(sfu):
    lm = replace(FORWARD.lm, phases=(Phase(lr=1e30, decay=1.0, schedule="const"),))
    with pytest.raises(DataError, match=r"--recipe.lm.phases.0.lr"):
        run(replace(sfu, recipe=replace(FORWARD, lm=lm)))
    assert not list(sfu.home.glob("stages/lm*"))


def test_early_stopping_keeps_the_best_epoch_after_a_kill(one_learner, tmp_path):
    phase = Phase(epochs=8, lr=0.3, decay=1.0, schedule="const")  # so high that it gets worse
    recipe = replace(QUICK.clas, phases=(phase,), patience=2)
    (tmp_path / "undisturbed").mkdir()
    learn = one_learner()
    info, _ = training.train(learn, recipe, 7, tmp_path / "undisturbed")
    errors = [(r["valid_error_rate"], r["valid_loss"]) for r in info["history"]]
    best = errors.index(min(errors))
    assert info["kept_epoch"] == best
    assert len(errors) == min(8, best + 3)
    kept = info["history"][best]
    assert list(learn.validate()) == pytest.approx([kept["valid_loss"], kept["valid_error_rate"]])

    killed(one_learner(), recipe, tmp_path, epochs=len(errors))  # just before it would stop
    resumed = one_learner()
    assert training.train(resumed, recipe, 7, tmp_path)[0]["kept_epoch"] == best
    for a, b in zip(learn.model.parameters(), resumed.model.parameters()):
        assert torch.equal(a, b)


def test_no_phases_leave_the_weights_as_they_are(one_learner, tmp_path):
    learn = one_learner()
    before = [p.detach().clone() for p in learn.model.parameters()]
    info, steps = training.train(learn, replace(QUICK.clas, phases=()), 0, tmp_path)
    assert info["history"] == steps == []
    assert all(torch.equal(a, b) for a, b in zip(before, learn.model.parameters()))


def test_chain_thaw_trains_one_group_alone_and_leaves_the_others(one_learner):
    learn = one_learner()
    for i in (4, 0, 2):
        phase = Phase(freeze_to=i, alone=True, lr=0.02, schedule="cos")
        assert groups_moved_by(learn, phase) == [j == i for j in range(5)]


def test_the_perplexity_weights_each_batch_by_its_tokens(quick_tokens, one_learner):
    _, tokens = quick_tokens
    learn, total = one_learner("lm"), training.TotalLoss()
    dl = batches.lm_dl(tokens, tokens.rows("valid"), 4, 33, backwards=False)
    learn.validate(dl=dl, cbs=total)
    learn.model.eval().reset()
    with torch.no_grad():
        losses, sizes = zip(*[(float(learn.loss_func(learn.model(x)[0], y)), y.numel()) for x, y in dl])
    assert len({*sizes}) == 2  # the last batch is shorter
    assert total.tokens == sum(sizes)
    assert total.summed == pytest.approx(np.dot(losses, sizes))


def test_another_seed_gives_another_model(one_learner, tmp_path):
    a = training.train(one_learner(), FORWARD.clas, 1, tmp_path)[0]["history"]
    (tmp_path / "checkpoint.pt").unlink()
    b = training.train(one_learner(), FORWARD.clas, 2, tmp_path)[0]["history"]
    assert [r["train_loss"] for r in a] != [r["train_loss"] for r in b]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"lm": replace(TINY.lm, bs=0)}, "--recipe.lm.bs 0 .* 1 or more"),
        ({"clas": replace(TINY.clas, bs=1)}, "--recipe.clas.bs 1 .* 2 or more"),
        ({"lm": replace(TINY.lm, phases=(Phase(epochs=-1),))}, "--recipe.lm.phases.0.epochs -1 .* 0 or more"),
        ({"clas": replace(TINY.clas, phases=(Phase(freeze_to=9),))}, "freeze-to 9 .* -5 to 4"),
        ({"lm": replace(TINY.lm, phases=(Phase(decay=0),))}, "decay 0 .* more than 0"),
        ({"lm": replace(TINY.lm, phases=(Phase(lr=float("nan")),))}, "lr nan .* more than 0"),
        ({"lm": replace(TINY.lm, phases=(Phase(lr=float("inf")),))}, "lr inf .* more than 0, finite"),
        ({"model": replace(TINY.model, emb_sz=0)}, "--recipe.model.emb-sz 0 .* 1 or more"),
        ({"max_len": 0}, "--recipe.max-len 0"),
        ({"lm": replace(TINY.lm, phases=(Phase(decay=1e300),))}, "decay 1e\\+300 .* more than 0, up to 1e\\+09"),
        (
            {"clas": replace(TINY.clas, drop_mult=20)},
            "drop-mult 20 is impossible: multiplied by --recipe.model.* it is 1 or more",
        ),
        ({"pooling": ()}, "--recipe.pooling is empty"),
        ({"pooling": ("avg",)}, "--recipe.pooling.0 'avg' is unknown; choose one of .*last"),
        ({"vocab": "merged"}, "--recipe.vocab 'merged' is unknown; choose one of task, union, pretrained"),
        (
            {"clas": replace(TINY.clas, phases=(Phase(schedule="cosine"),))},
            "phases.0.schedule 'cosine' is unknown; choose one of stlr",
        ),
        ({"max_len": "x"}, "--recipe.max-len is 'x', of type str; it must be of type int"),
        ({"clas": None}, "--recipe.clas is None, of type NoneType; it must be of type Training"),
        ({"clas": replace(TINY.clas, patience=0)}, "--recipe.clas.patience 0 .* 1 or more"),
    ],
)
def test_an_impossible_setting_is_one_line_that_names_the_option(changes, error):
    with pytest.raises(DataError, match=error):
        check(replace(TINY, **changes))
    assert all(check(recipe) is None for recipe in [*RECIPES.values(), *PRETRAINING.values()])


@pytest.mark.parametrize(("n", "bs"), [(7, 2), (7, 3), (13, 4), (841, 8), (33, 16), (5, 16), (1, 4)])
def test_no_batch_has_a_single_text_where_there_are_more(n, bs):
    assert n % batches.without_single(n, bs) != 1 or n == 1


def test_the_batch_size_is_the_nearest_one_below_where_there_is_one():
    assert batches.without_single(33, 16) == 15
