"""Every experiment in miniature, as its user runs it: records, reuse, kills, bad input."""

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import FORWARD, QUICK, QUIET
from safetensors.torch import load_file, load_model, save_file

from experiments import NAMES
from experiments.ag_news import AgNews
from experiments.dbpedia import Dbpedia
from experiments.imdb import Imdb
from experiments.own_csv import OwnCsv
from experiments.paper.base import shorter
from experiments.sfu import Sfu
from experiments.squad import Squad
from experiments.trec import Trec
from experiments.yelp import Yelp
from scripts.dev.faults import closed
from ulmfit_exp import Corpus, ulmfit
from ulmfit_exp.__main__ import main as ulmfit_exp
from ulmfit_exp.cli import main, over_seeds, parse, run
from ulmfit_exp.runs import stages
from ulmfit_exp.runs.run import prepare
from ulmfit_exp.runs.settings import Grid

ROOT = Path(__file__).parents[1]
TICKETS = ROOT / "ulmfit_exp" / "corpora" / "miniature" / "own" / "tickets.csv"


def record(settings) -> dict:
    return json.loads(run(settings).read_text())


def figures(record: dict) -> dict:
    """What must be the same for the same command."""
    return {k: record[k] for k in ("valid", "test", "directions", "baseline", "corpus")}


@pytest.mark.slow
@pytest.mark.parametrize(
    "experiment",
    [
        *(Sfu(target="sentiment", fold=4), Sfu(target="category"), Dbpedia(level="ontology"), Dbpedia(level="l3")),
        *(Squad(task="topic"), Squad(task="answerable"), AgNews(), Yelp(level="full")),
    ],
    ids=lambda e: e.dataset,
)
def test_each_experiment_runs_in_miniature(experiment, tmp_path):
    quick = {"recipe_name": "tiny", "recipe": shorter(FORWARD), "miniature": True, "home": tmp_path, **QUIET}
    r = record(replace(experiment, **quick))
    assert r["experiment"] == experiment.name and r["corpus"]["name"].startswith(experiment.dataset)
    assert set(r["corpus"]["rows"]) == {"train", "valid", "test", "unlabelled"}
    assert [s["name"] for s in r["stages"]] == ["baseline", "tokens", "lm forward", "clas forward", "eval"]
    assert all((tmp_path / s["path"]).is_dir() for s in r["stages"])
    assert r["test"]["n"] == r["corpus"]["rows"]["test"] and r["test"]["error"] == 1 - r["test"]["accuracy"]
    taken_for = r["confusion"]
    assert {c: sum(row.values()) for c, row in taken_for.items()} == {c: s["n"] for c, s in r["per_class"].items()}
    assert sum(row.get(c, 0) for c, row in taken_for.items()) == round(r["test"]["accuracy"] * r["test"]["n"])
    assert {"error", "loss"} <= set(r["valid"]) and 0 <= r["baseline"]["error"] <= 1
    assert r["tokens_per_second"] > 0 and r["versions"]["fastai"] and r["machine"]["threads"]
    assert str(tmp_path) not in json.dumps(r)


def test_trec_and_imdb_run_from_their_publishers_files(tmp_path):
    ask = {"NUM:dist": "How far is town {} ?", "HUM:ind": "Who lives in house {} ?"}
    lines = [f"{label} {text.format(i)}\n" for i in range(30) for label, text in ask.items()]
    (tmp_path / "train_5500.label").write_text("".join(lines))
    (tmp_path / "TREC_10.label").write_text("".join(lines[:10]))
    for split in ("train", "test"):
        for label, word in (("pos", "good"), ("neg", "bad"), ("unsup", "odd")):
            folder = tmp_path / "aclImdb" / split / label
            folder.mkdir(parents=True)
            for i in range(20 if split == "train" else 5):
                (folder / f"{i}_5.txt").write_text(f"A {word} film, number {i}, that I saw with friend {i % 7}.")
    for experiment, paper in ((Trec, 3.6), (Imdb, 4.6)):
        settings = experiment(recipe=FORWARD, data_dir=tmp_path, home=tmp_path / "home", **QUIET)
        assert record(settings)["paper"] == paper


def test_both_directions_are_averaged_and_the_second_time_all_stages_are_reused(finished, capsys):
    (path,) = finished.home.glob("runs/*/result.json")
    first, second = json.loads(path.read_text()), record(finished)
    assert set(first["directions"]) == {"forward", "backward"}
    shown = capsys.readouterr().out
    assert "mean of both directions" in shown
    assert "TF-IDF" in shown
    assert not any(s["reused"] for s in first["stages"])
    assert all(s["reused"] for s in second["stages"])
    assert figures(first) == figures(second)
    forward = record(replace(finished, recipe=FORWARD))  # shares the baseline, the tokens and the forward stages
    assert [s["name"] for s in forward["stages"] if not s["reused"]] == ["eval"]
    assert forward["test"] == first["directions"]["forward"]["test"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_who_may_read_the_files_of_a_run_may_read_its_weights(finished, tmp_path):
    assert len({file.stat().st_mode for file in finished.home.glob("stages/*/*")}) == 1
    save_file({}, tmp_path / "plain.safetensors")
    fixed = (tmp_path / "plain.safetensors").stat().st_mode & 0o77
    assert not fixed, "safetensors issue 782 is fixed: stages.py may write weights as safetensors does"


def test_predictions_are_beside_their_texts(finished):
    import numpy as np
    import pandas as pd
    import torch

    from ulmfit_exp.corpora import sfu as source
    from ulmfit_exp.corpora import sources
    from ulmfit_exp.inference.scores import apply_temperature
    from ulmfit_exp.method import learners
    from ulmfit_exp.method.batches import dls_clas
    from ulmfit_exp.method.tokens import read_tokens

    r = record(replace(finished, recipe=FORWARD))
    folder = {s["name"]: finished.home / s["path"] for s in r["stages"]}
    table = pd.read_csv(folder["eval"] / "predictions.csv", index_col="row")
    corpus, tokens = source.load(sources.MINIATURE, "sentiment"), read_tokens(folder["tokens"])
    assert (corpus.df.loc[table.index, "label"] == table["label"]).all()
    learn = learners.clas_learner(dls_clas(tokens, corpus, 8, False), 2, FORWARD, "fp32")
    load_model(learn.model, folder["clas forward"] / "model.safetensors")
    for row in table.index[::7]:
        with torch.no_grad():
            alone = learn.model.eval()(torch.tensor(tokens[row].astype(np.int64))[None])[0].softmax(dim=1)
        alone = apply_temperature(alone.numpy(), r["calibration"]["temperature"])[0]
        assert table.loc[row, ["p no", "p yes"]].to_numpy(float) == pytest.approx(alone, abs=1e-5)
    test = table[table["split"] == "test"]
    assert (test["label"] != test["predicted"]).mean() == pytest.approx(r["test"]["error"])


def test_targets_share_the_language_model_but_not_the_classifier(finished):
    other = record(replace(finished, target="category", recipe=FORWARD))
    assert [s["name"] for s in other["stages"] if s["reused"]] == ["tokens", "lm forward"]


def test_each_task_trains_on_its_own_texts_in_its_direction(finished, tmp_path):
    this = prepare(finished)
    for direction, step in (("forward", 1), ("backward", -1)):
        lm, _ = stages.new_lm(this, direction)
        for learn in (lm, stages.clas_learner(this, direction)):
            for split, texts in (("train", learn.dls.train.dataset), ("valid", learn.dls.valid.dataset)):
                rows = this.corpus.split(split).index.tolist()
                assert texts.rows.tolist() == rows
                assert texts.ids(0).tolist() == this.tokens[rows[0]][::step].tolist()
    second = replace(this, recipe=replace(QUICK, skip_tokens=1, max_tokens=1))
    learn, _ = stages.new_lm(second, "forward")
    assert learn.dls.train.dataset.rows.tolist() == [this.corpus.split("train").index[1]]


def test_a_classifier_starts_from_the_encoder_of_its_directions_language_model(finished):
    r = record(replace(finished, recipe=replace(QUICK, clas=replace(QUICK.clas, phases=()))))
    weights = {s["name"]: finished.home / s["path"] / "model.safetensors" for s in r["stages"]}
    for direction in ("forward", "backward"):
        lm, clas = (load_file(weights[f"{kind} {direction}"]) for kind in ("lm", "clas"))
        for name in ("encoder.weight", "rnns.1.weight_hh_l0_raw"):
            assert (clas[f"0.module.{name}"] == lm[f"0.{name}"]).all()


def test_the_seed_of_a_run_gives_its_first_weights_and_the_order_of_its_texts(sfu, monkeypatch):
    seen = []

    def train(learn, training, seed, *_):
        seen.append((seed, sum(float(p.detach().sum()) for p in learn.model[1].parameters())))
        return {"history": [], "kept_epoch": -1, "seconds": 0.0, "tokens_per_second": 0}, []

    monkeypatch.setattr(stages, "train", train)
    for seed in (3, 4):
        run(replace(sfu, seed=seed))
    assert [seed for seed, _ in seen] == [3, 3, 4, 4]
    lm, clas, other_lm, other_clas = (weights for _, weights in seen)
    assert lm != other_lm
    assert clas != other_clas


@pytest.mark.parametrize("head", ["clas", "lp-ft"])
def test_a_setting_changes_the_first_stage_that_depends_on_it_and_all_later_ones(head, sfu):
    this = prepare(replace(sfu, recipe=replace(FORWARD, head=head)))
    lm, model, clas = replace(FORWARD.lm, wd=0.1), replace(FORWARD.model, emb_sz=10), replace(FORWARD.clas, wd=0.1)
    batches = {"seq_len": 60, "skip_tokens": 9, "max_tokens": 999}
    settings = {
        "tokens": {"lang": "de", "max_vocab": 500, "min_freq": 3},
        "lm forward": {"lm": lm, "model": model, "softmax_samples": 50, **batches},
        "features forward": {"max_len": 99, "pooling": ("last",), "class_weights": True},
        "clas forward": {"clas": clas},
    }
    names = list(this.plan)
    for first, changes in settings.items():
        first = first if first in names else "clas forward"
        for field, value in changes.items():
            other = replace(this, recipe=replace(this.recipe, **{field: value}))
            changed = [name for name in names if this.path(name) != other.path(name)]
            assert (field, changed) == (field, names[names.index(first) :])


def test_no_choice_depends_on_the_labels_of_the_test(tmp_path):
    corpus = Corpus.from_csv(TICKETS, multi_label=True, test_pct=0.5)
    df, test = corpus.df.copy(), corpus.df["split"] == "test"
    df.loc[test, "label"] = np.roll(df.loc[test, "label"], 1)
    recipe = replace(FORWARD, pretrained="wikipedia-small", lm=replace(FORWARD.lm, phases=()), head="features")

    def choices(corpus: Corpus) -> tuple:
        r = ulmfit(corpus, recipe, home=tmp_path, **QUIET).record
        (folder,) = (tmp_path / s["path"] for s in r["stages"] if s["name"] == "features forward")
        regression = json.loads((folder / "stage.json").read_text())["info"]
        calibration = {k: v for k, v in r["calibration"].items() if not k.startswith("test")}
        baseline = {k: v for k, v in r["baseline"].items() if k != "error"}
        return r["valid"], regression["scaling"], regression["C"], calibration, baseline

    assert choices(corpus) == choices(replace(corpus, df=df))


# The command line


MINIATURE = ["--miniature", "--wandb", "disabled"]
MODEL = ["--pretrained", "none", "--recipe.model.emb-sz", "12", "--recipe.model.n-hid", "16"]
EPOCHS = ["--recipe.lm.phases.0.epochs", "3", "--recipe.clas.phases.4.epochs", "2", "--recipe.clas.bs", "16"]
SMALL = [*MODEL, *EPOCHS, "--recipe.lm.bs", "16", "--recipe.direction", "forward"]


def command(home, capsys) -> tuple[str, dict]:
    """What the command prints, in this process, and its record."""
    main(Sfu, [*MINIATURE, *SMALL, "--home", str(home)])
    shown = capsys.readouterr().out
    return shown, json.loads(Path(shown.splitlines()[-1]).read_text())


@pytest.mark.slow
def test_killed_and_then_stopped_the_same_command_ends_with_the_same_figures(tmp_path, capsys):
    home = tmp_path / "home"
    start = [sys.executable, "-m", "experiments.sfu", "--miniature", "--wandb", "offline", *SMALL, "--home", str(home)]
    for kind, end in (("lm-forward", signal.SIGKILL), ("clas-forward", signal.SIGTERM)):
        with subprocess.Popen(start, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
            while not list(home.glob(f"unfinished/{kind}-*/checkpoint.pt")):
                assert p.poll() is None, f"ended before its {kind} stage had a checkpoint"
                time.sleep(0.01)
            p.send_signal(end)
            out, err = p.communicate()
        assert not list(home.glob(f"stages/{kind}-*"))
    assert "resuming after epoch" in out  # after the kill
    assert p.returncode == 130
    assert "the same command resumes" in err
    assert "Traceback" not in err
    assert closed(max(home.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns))
    shown, again = command(home, capsys)
    assert "resuming after epoch" in shown
    assert figures(again) == figures(command(tmp_path / "whole", capsys)[1])
    assert not any((home / "unfinished").iterdir())


@pytest.mark.parametrize(
    "args, message",
    [
        (["--fold", "5"], "--fold 5: the folds of SFU are 0 to 4"),
        (["--recipe.lmm.bs", "3"], "Unrecognized options: --recipe.lmm.bs"),
        (["--recipe", "huge"], "--recipe"),
        (["--train-size", "1"], "--train-size 1 is impossible"),
        (["--no-such-option"], "Unrecognized options"),
        (["--data-dir", "absent"], "error: the data directory"),
    ],
)
def test_bad_settings_and_data_end_with_a_clear_message_and_leave_nothing(args, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(Sfu, [*([] if "--data-dir" in args else MINIATURE), "--home", str(tmp_path / "home"), *args])
    assert end.value.code
    assert message in f"{end.value.code}{capsys.readouterr().err}"
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("name", NAMES)
def test_help_teaches_the_options(name, capsys):
    with pytest.raises(SystemExit):
        ulmfit_exp([name, "--help"])
    shown = capsys.readouterr().out
    for option in ("--seed", "--precision", "--data-dir", "--home", "--recipe.lm.phases.0.lr", "--pretrained"):
        assert option in shown


def test_recipe_is_named_and_its_fields_are_overridden():
    settings = parse(Sfu, ["--recipe", "paper", "--recipe.lm.phases.0.lr", "0.1", "--fold", "2"])[0]
    assert settings.recipe.lm.phases[0].lr == 0.1 and settings.recipe.model.emb_sz == 400 and settings.fold == 2
    assert parse(Sfu, ["--miniature"])[0].recipe_name == "tiny"
    assert parse(Sfu, ["--miniature"])[0].resolve_auto(10).recipe_name == "tiny"
    assert parse(Sfu, ["--miniature", "--recipe=scratch"])[0].recipe.model.emb_sz == 128
    assert parse(Dbpedia, ["--level", "dump", "--dump-classes", "Film", "Album"])[0].dump_classes == ("Film", "Album")


@pytest.mark.parametrize(
    "args, few, many",
    [
        ([], "lp-ft", "default"),
        (["--recipe.direction", "forward"], "lp-ft forward", "default forward"),
        (["--recipe.clas.bs", "8"], "default clas.bs=8", "default clas.bs=8"),
        (["--recipe.head", "features"], "default head=features", "default head=features"),
        (["--recipe", "default"], "default", "default"),
        (["--recipe", "lp-ft"], "lp-ft", "lp-ft"),
    ],
)
def test_recipe_auto_is_lp_ft_with_few_labels_unless_the_classifier_was_set(args, few, many):
    settings = parse(Dbpedia, args)[0]
    assert settings.resolve_auto(299).variant == few and settings.resolve_auto(300).variant == many


def test_recipe_auto_in_miniature_has_the_fields_of_default_not_of_tiny():
    settings, _ = parse(Sfu, ["--miniature", "--recipe", "auto"])
    assert (settings.variant, settings.recipe) == ("auto miniature", Sfu.recipes["default"])


def test_a_long_list_of_changes_is_named_by_its_fields():
    changed = Sfu(recipe_name="default", recipe=shorter(Sfu.recipes["default"]))
    assert re.fullmatch(r"default lm\.phases clas\.phases [0-9a-f]{12}", changed.variant)


@pytest.mark.slow
def test_several_seeds_end_with_the_mean_and_the_standard_deviation(sfu, in_process, capsys):
    with pytest.raises(SystemExit) as end:
        over_seeds(replace(sfu, seed=3), Grid(seeds=2))
    assert end.value.code == 0
    *shown, last = capsys.readouterr().out.splitlines()
    assert "cells:   2, of which 0 are finished" in shown
    assert shown[-1].startswith("compare runs: ")
    assert re.fullmatch(r"test error \d+\.\d\d ± \d+\.\d\d % \(mean ± sd of 2 of 2 seeds\), baseline .+ %", last)
    assert sorted(json.loads(p.read_text())["seed"] for p in sfu.home.glob("runs/*/result.json")) == [3, 4]


def test_the_options_of_a_grid_are_no_settings_of_a_run():
    args = ["--seeds", "10", "--ray", "auto", "--gpus-per-run", "0.25", "--seed", "1"]
    settings, grid = parse(Sfu, args)
    assert grid == Grid(seeds=10, ray="auto", gpus_per_run=0.25)
    assert settings == parse(Sfu, ["--seed", "1"])[0]


def test_runs_on_other_columns_of_a_table_are_other_variants():
    by_column = [OwnCsv(csv=Path("a.csv"), text_col=("body",), label_col=label) for label in ("stars", "topic")]
    assert [run.variant for run in by_column] == ["auto text body label stars", "auto text body label topic"]
    many = OwnCsv(csv=Path("a.csv"), label_col=tuple(f"label{i}" for i in range(20))).variant
    assert many.startswith("auto label label0, label1") and len(many) < 90
