"""The method: recipe values, schedules, rates, seeds; going on after a kill."""

import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from conftest import FORWARD, QUICK

from ulmfit_exp.method import schedules, training
from ulmfit_exp.method.schedules import stlr
from ulmfit_exp.recipe import RECIPES, Phase, gradual

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
    phases = gradual(groups=5, epochs=1, last=3, lr=0.02)
    assert [p.freeze_to for p in phases] == [-1, -2, -3, -4, 0] and phases[-1].epochs == 3
    learn = one_learner()
    for phase in phases[:3]:
        before = [[p.detach().clone() for p in group] for group in learn.splitter(learn.model)]
        learn.create_opt()
        training.freeze(learn, phase)
        training.fit(learn, phase, 0, [])
        after = learn.splitter(learn.model)
        moved = [any(not torch.equal(a, b) for a, b in zip(x, y)) for x, y in zip(before, after)]
        assert moved == [i >= 5 + phase.freeze_to for i in range(5)]


def test_recipes_are_frozen_and_refuse_unknown_fields():
    with pytest.raises(FrozenInstanceError):
        RECIPES["paper"].seq_len = 5
    with pytest.raises(TypeError, match="lmm"):
        replace(RECIPES["paper"], lmm=3)


def test_the_paper_recipe_has_the_papers_values():
    paper = RECIPES["paper"]
    assert (paper.model.emb_sz, paper.model.n_hid, paper.model.n_layers, paper.seq_len) == (400, 1150, 3, 70)
    assert [getattr(paper.model, f"{k}_p") for k in ("output", "hidden", "input", "embed", "weight")] == [
        0.4, 0.3, 0.4, 0.05, 0.5,
    ]  # fmt: skip
    assert paper.lm.phases[0].lr == 0.004 and {p.lr for p in paper.clas.phases} == {0.01}
    assert paper.lm.bs == paper.clas.bs == 64 and sum(p.epochs for p in paper.clas.phases) == 50


# A kill between any two epochs


class Killed(BaseException):
    """Stands in for SIGKILL: nothing catches it."""


class Track:
    """A tracker that only counts epochs, and kills the run after so many."""

    def __init__(self, kill_after: int | None = None, kill_after_steps: int | None = None):
        self.left, self.steps = kill_after, kill_after_steps

    def log_epoch(self, row):
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise Killed

    def log_step(self, step, *args):
        if step == self.steps:
            raise Killed


@pytest.mark.parametrize("task", ["lm", "clas"])
@pytest.mark.parametrize("after", [1, 2])
def test_going_on_after_a_kill_gives_the_same_weights(task, after, one_learner, tmp_path):
    recipe = getattr(QUICK, task)
    whole = one_learner(task)
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    history = training.train(whole, recipe, 7, tmp_path / "a", Track())["history"]

    with pytest.raises(Killed):
        training.train(one_learner(task), recipe, 7, tmp_path / "b", Track(kill_after=after))
    again = one_learner(task)
    torch.rand(3), np.random.rand(3)  # the new process's random state is another
    rest = training.train(again, recipe, 7, tmp_path / "b", Track())["history"]

    for a, b in zip(whole.model.parameters(), again.model.parameters()):
        assert torch.equal(a, b)
    keep = [[{k: v for k, v in row.items() if k != "seconds"} for row in h] for h in (history, rest)]
    assert keep[0] == keep[1]


@pytest.mark.parametrize("task", ["lm", "clas"])
@pytest.mark.parametrize("steps", [2, 5])
def test_going_on_after_a_kill_within_an_epoch_gives_the_same_weights(task, steps, one_learner, tmp_path, monkeypatch):
    recipe = getattr(QUICK, task)
    whole = one_learner(task)
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    history = training.train(whole, recipe, 7, tmp_path / "a", Track())["history"]

    monkeypatch.setattr(training, "SAVE_EVERY", -1)  # after each batch
    with pytest.raises(Killed):
        training.train(one_learner(task), recipe, 7, tmp_path / "b", Track(kill_after_steps=steps))
    again = one_learner(task)
    torch.rand(3), np.random.rand(3)  # the new process's random state is another
    steps_again = []
    track = Track()
    track.log_step = lambda step, *args: steps_again.append(step)
    rest = training.train(again, recipe, 7, tmp_path / "b", track)["history"]

    assert steps_again == list(range(steps, rest[-1]["step"] + 1))  # the step of the kill is made again
    for a, b in zip(whole.model.parameters(), again.model.parameters()):
        assert torch.equal(a, b)
    keep = [[{k: v for k, v in row.items() if k != "seconds"} for row in h] for h in (history, rest)]
    assert keep[0] == keep[1]


def test_early_stopping_keeps_the_best_epoch_through_a_kill_too(one_learner, tmp_path):
    phase = Phase(epochs=8, lr=0.3, decay=1.0, schedule="const")  # so high that it gets worse
    recipe = replace(QUICK.clas, phases=(phase,), patience=2)
    for folder in "ab":
        (tmp_path / folder).mkdir()
    whole = one_learner()
    info = training.train(whole, recipe, 7, tmp_path / "a", Track())
    errors = [(r["valid_error_rate"], r["valid_loss"]) for r in info["history"]]
    best = errors.index(min(errors))
    assert info["kept_epoch"] == best and len(errors) == min(8, best + 3)
    figures = whole.validate()
    assert list(figures) == pytest.approx(
        [info["history"][best]["valid_loss"], info["history"][best]["valid_error_rate"]]
    )

    with pytest.raises(Killed):
        training.train(one_learner(), recipe, 7, tmp_path / "b", Track(kill_after=len(errors)))  # as it would stop
    again = one_learner()
    assert training.train(again, recipe, 7, tmp_path / "b", Track())["kept_epoch"] == best
    for a, b in zip(whole.model.parameters(), again.model.parameters()):
        assert torch.equal(a, b)


def test_no_phases_leave_the_weights_as_they_are(one_learner, tmp_path):
    learn = one_learner()
    before = [p.detach().clone() for p in learn.model.parameters()]
    info = training.train(learn, replace(QUICK.clas, phases=()), 0, tmp_path, Track())
    assert info["history"] == [] and all(torch.equal(a, b) for a, b in zip(before, learn.model.parameters()))


def test_chain_thaw_trains_one_group_alone_and_leaves_the_others(one_learner):
    learn = one_learner()
    for i in (4, 0, 2):
        before = [[p.detach().clone() for p in group] for group in learn.splitter(learn.model)]
        learn.create_opt()
        phase = Phase(freeze_to=i, alone=True, lr=0.02, schedule="cos")
        training.freeze(learn, phase)
        training.fit(learn, phase, 0, [])
        after = learn.splitter(learn.model)
        assert [any(not torch.equal(a, b) for a, b in zip(x, y)) for x, y in zip(before, after)] == [
            j == i for j in range(5)
        ]


def test_another_seed_gives_another_model(one_learner, tmp_path):
    a = training.train(one_learner(), FORWARD.clas, 1, tmp_path, Track())["history"]
    (tmp_path / "checkpoint.pt").unlink()
    b = training.train(one_learner(), FORWARD.clas, 2, tmp_path, Track())["history"]
    assert [r["train_loss"] for r in a] != [r["train_loss"] for r in b]
