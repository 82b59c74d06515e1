"""Grids on Ray and SLURM: cells of the dead are run by others, nothing is lost, and the table is the same."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread, Timer
from types import SimpleNamespace

import pytest
from conftest import QUICK

from experiments.paper.base import shorter
from experiments.sfu import Sfu
from scripts.dev.faults import closed
from ulmfit_exp.common import DataError, write_json
from ulmfit_exp.runs import cluster, grid, workers
from ulmfit_exp.runs.settings import Grid

ROOT = Path(__file__).parents[1]
SMALLEST = shorter(QUICK)
real_work = workers.work


def stub(settings, log):
    """In the place of `workers.work`: a cell that trains nothing, and notes which process ran it."""
    note = settings.home / "pids" / f"{settings.seed}-{os.getpid()}"
    note.touch()
    time.sleep(0.1)
    found = {"seed": settings.seed, "valid": {"error": 0.0}, "test": {"error": 0.0}, "stages": []}
    folder = settings.home / "runs" / f"{settings.seed}"
    folder.mkdir()
    names = {"dataset": "sfu", "variant": "tiny", "replicate": f"seed{settings.seed}", "changes": {}}
    write_json(folder / "result.json", {"settings": {}, **names, **found})
    note.rename(settings.home / "done" / note.name)


def stubs(home: Path, n: int) -> list[grid.Planned]:
    for folder in ("pids", "done", "runs"):
        (home / folder).mkdir()
    cells = [grid.Cell("stub", "sfu", i, Sfu(seed=i, home=home)) for i in range(n)]
    return [grid.Planned(cell, home / "runs" / f"{cell.replicate}" / "result.json", {}) for cell in cells]


def on_its_node(settings, log):
    """`workers.work`, with a file named by the Ray node as long as it takes."""
    import ray

    note = settings.home / f"on-{ray.get_runtime_context().get_node_id()}"
    note.touch()
    try:
        return real_work(settings, log)
    finally:
        note.unlink()


@pytest.fixture
def two_nodes():
    """A Ray cluster on this machine: a head without processors, and two nodes with one each."""
    pytest.importorskip("ray", reason="the extra ray is not installed: pip install '.[ray]'")
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80_000_000}
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    made.workers = [made.add_node(num_cpus=1, **small) for _ in range(2)]
    made.wait_for_nodes()
    yield made
    made.shutdown()


def run_grid(planned, options: Grid) -> dict:
    with cluster.start(options, planned[0].cell.settings.home) as started:
        return grid.run_grid(planned, started)


@contextmanager
def meanwhile(action):
    """Run `action` in a thread; afterwards it has ended, well."""
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(action)
        yield
        future.result()


def wait_for(condition, seconds: float = 900) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_node_that_is_lost_midway_changes_no_digit_of_the_table(two_nodes, tmp_path, monkeypatch, capsys):
    from experiments.paper import tables

    def planned(home):
        smallest = Sfu(recipe_name="tiny", recipe=SMALLEST, miniature=True, wandb="disabled", home=tmp_path / home)
        rows = tables.module("table7").variants(smallest)
        return grid.plan([grid.Cell(row, "sfu", 0, each) for row, each in rows.items()])[0]

    def errors(cells):
        records = {p.cell.row: json.loads(p.path.read_text()) for p in cells}
        return {row: [r[k] for k in ("valid", "test", "directions", "per_class")] for row, r in records.items()}

    def lose_a_node():
        lost = two_nodes.workers[0]
        wait_for(lambda: len(list((tmp_path / "b" / "runs").glob("*/result.json"))) > 0)
        wait_for((tmp_path / "b" / f"on-{lost.node_id}").exists)
        two_nodes.remove_node(lost, allow_graceful=False)

    undisturbed, disturbed = planned("a"), planned("b")
    assert run_grid(undisturbed, Grid(jobs=2)) == {}
    capsys.readouterr()
    monkeypatch.setattr(workers, "work", on_its_node)
    with meanwhile(lose_a_node):
        assert run_grid(disturbed, Grid(ray=two_nodes.address)) == {}
    assert errors(disturbed) == errors(undisturbed)
    moved = [line for line in capsys.readouterr().out.splitlines() if "runs again" in line]
    assert len(moved) == 1
    assert "runs again from its last checkpoint: sfu 0: " in moved[0]


@pytest.mark.slow
def test_no_cell_of_200_is_lost_if_five_workers_are_killed(two_nodes, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(workers, "work", stub)
    planned, choice = stubs(tmp_path, 200), random.Random(0)

    def kill_five():
        for i in range(5):
            wait_for(lambda i=i: len(list((tmp_path / "done").iterdir())) > 30 * i)
            wait_for(lambda: any((tmp_path / "pids").iterdir()))
            note = choice.choice(sorted((tmp_path / "pids").iterdir()))  # a process that is within a cell
            os.kill(int(note.name.partition("-")[2]), signal.SIGKILL)
            note.unlink(missing_ok=True)

    with meanwhile(kill_five):
        assert run_grid(planned, Grid(ray=two_nodes.address)) == {}
    assert all(p.finished for p in planned)
    assert 1 <= capsys.readouterr().out.count("runs again") <= 5


@pytest.mark.slow
def test_ctrl_c_ends_the_cells_of_ray_with_their_wandb_runs_closed(tmp_path):
    pytest.importorskip("ray", reason="the extra ray is not installed: pip install '.[ray]'")
    command = [sys.executable, "-m", "experiments.sfu", "--miniature", "--seeds", "2", "--ray", "auto"]
    env = {**os.environ, "WANDB_MODE": "offline"}
    process = subprocess.Popen([*command, "--home", tmp_path], cwd=ROOT, env=env, start_new_session=True)
    logged = lambda: list(tmp_path.glob("wandb/offline-run-*/*.wandb"))  # noqa: E731
    wait_for(lambda: any(path.stat().st_size > 2000 for path in logged()))
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(15) == 130
    assert all(closed(path) for path in logged())


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "debug"])
def test_a_slurm_job_runs_many_cells(executor, tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="the extra slurm is not installed: pip install '.[slurm]'")
    monkeypatch.setattr(workers, "work", stub)
    monkeypatch.setattr(cluster, "IDLE", 1 if executor == "local" else 0)
    planned = stubs(tmp_path, 6)
    assert run_grid(planned, Grid(jobs=2, slurm=f"cluster={executor}")) == {}
    assert all(p.finished for p in planned)
    assert len({note.name.partition("-")[2] for note in (tmp_path / "done").iterdir()}) <= 2
    assert not list(tmp_path.glob("probe-*"))


@pytest.mark.slow
def test_a_slurm_job_that_dies_is_replaced_and_its_cell_runs_again(tmp_path, monkeypatch, capsys):
    pytest.importorskip("submitit", reason="the extra slurm is not installed: pip install '.[slurm]'")
    monkeypatch.setattr(workers, "work", stub)
    planned = stubs(tmp_path, 3)

    def kill_one():
        wait_for(lambda: any((tmp_path / "pids").iterdir()))
        (note,) = (tmp_path / "pids").iterdir()
        os.kill(int(note.name.partition("-")[2]), signal.SIGKILL)

    with meanwhile(kill_one):
        assert run_grid(planned, Grid(slurm="cluster=local")) == {}
    assert all(p.finished for p in planned)
    assert "runs again from its last checkpoint: sfu 0: stub: its job" in capsys.readouterr().out


def dying(deaths: Counter):
    """Workers whose process dies so many times in each cell."""

    def submit(settings, log):
        future, left = Future(), deaths[settings.seed]
        deaths[settings.seed] -= 1
        if left > 0:
            future.set_exception(cluster.JobDied("gone"))
        else:
            future.set_result(stub(settings, log))
        return future

    return workers.Workers(submit, lambda: 1, (cluster.JobDied,))


def test_a_cell_runs_again_three_times_and_no_more(tmp_path, capsys):
    planned = stubs(tmp_path, 3)
    failed = grid.run_grid(planned, dying(Counter({0: 3, 1: 4})))
    assert {cell.replicate: error for cell, error in failed.items()} == {1: "gone"}
    assert [p.finished for p in planned] == [True, False, True]
    assert capsys.readouterr().out.count("runs again from its last checkpoint: sfu 1: stub: gone") == 3


def test_a_cell_with_a_new_checkpoint_at_each_death_runs_again_as_often_as_needed(tmp_path):
    (planned,), dies = stubs(tmp_path, 1), dying(Counter({0: 6}))
    checkpoint = tmp_path / "unfinished" / "lm-1" / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    starts = []

    def submit(settings, log):
        starts.append(checkpoint.touch())
        os.utime(checkpoint, (len(starts), len(starts)))
        return dies.submit(settings, log)

    planned = replace(planned, stages={tmp_path / "stages" / "lm-1": 1.0})
    assert grid.run_grid([planned], replace(dies, submit=submit)) == {}
    assert len(starts) == 7


@pytest.mark.parametrize("late", [0.3, None])
def test_a_record_that_becomes_visible_late_is_waited_for(late, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "APPEARS", 60 if late else 0)

    def submit(settings, log):
        if late:
            Timer(late, stub, (settings, log)).start()
        done = Future()
        done.set_result(None)
        return done

    failed = grid.run_grid(stubs(tmp_path, 1), workers.Workers(submit, lambda: 1))
    assert ["this machine does not see" in error for error in failed.values()] == ([] if late else [True])


def test_the_plan_accepts_a_device_that_only_other_machines_have(tmp_path):
    tiny = Sfu(miniature=True, recipe_name="tiny", recipe=SMALLEST, device="cuda:99", home=tmp_path)
    cell = grid.Cell("stub", "sfu", 0, tiny)
    assert "torch finds" in grid.plan([cell])[1][cell]
    ((planned,), failed) = grid.plan([cell], elsewhere=True)
    assert not failed
    assert planned.cell.settings.device == "cuda:99"


@pytest.mark.slow
def test_the_plan_names_the_recipe_that_auto_stands_for(tmp_path):
    seed = Sfu(miniature=True, recipe_name="auto", train_size=40, home=tmp_path)
    cells = [grid.Cell(seed.variant, "sfu", 0, seed), grid.Cell("full", "sfu", 0, seed)]
    planned, _ = grid.plan(cells)
    assert [p.cell.row for p in planned] == ["lp-ft miniature 40 labels", "full"]


def test_a_home_that_is_not_shared_or_has_no_locks_is_noticed(tmp_path):
    assert "does not see the files" in cluster.home_problem(tmp_path / "absent", "node")
    with cluster._shared(tmp_path) as folder:
        assert cluster.home_problem(folder, "node") is None
        assert (folder / "node" / "file").is_file()
    folder.mkdir()
    assert "mounted without locks" in cluster.home_problem(folder, "node")


def test_without_the_extra_the_error_names_its_installation(tmp_path, monkeypatch):
    for options, package, extra in (
        (Grid(ray="auto"), "ray", "ray"),
        (Grid(slurm="gpus=1"), "submitit", "slurm"),
        (Grid(slurm=""), "submitit", "slurm"),  # with sbatch's defaults, not on this machine
    ):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(DataError, match=f"--{extra} needs an extra; install the extra {extra}: "):
            cluster.start(options, tmp_path).__enter__()


def test_impossible_options_of_a_grid_are_named(tmp_path):
    with pytest.raises(DataError, match="exclude each other"):
        cluster.start(Grid(ray="auto", slurm="gpus=1"), tmp_path)
    with pytest.raises(DataError, match="--jobs 0 is impossible"):
        cluster.start(Grid(jobs=0), tmp_path)
    for gpus in (2, 0, float("nan")):
        with pytest.raises(DataError, match=f"--gpus-per-run {gpus} is impossible"):
            cluster.start(Grid(ray="auto", gpus_per_run=gpus), tmp_path)


def test_options_of_sbatch_may_have_commas_underscores_or_no_value(tmp_path, monkeypatch):
    given = {}
    made = SimpleNamespace(AutoExecutor=lambda *_, **__: SimpleNamespace(update_parameters=given.update))
    monkeypatch.setitem(sys.modules, "submitit", made)
    monkeypatch.setenv("PYTHONPATH", "")
    cluster._executor("exclusive,requeue,exclude=a1,a2,cpus_per_task=2,job_name=mine", tmp_path)
    options = {"exclusive": True, "requeue": True, "exclude": "a1,a2", "cpus-per-task": "2"}
    assert given["slurm_additional_parameters"] == options
    assert given["slurm_srun_args"] == ["--cpus-per-task=2"]
    assert given["name"] == "mine"


def test_a_job_that_slurm_refuses_ends_the_grid_with_the_reason(tmp_path, monkeypatch):
    pytest.importorskip("cloudpickle")

    def submit(*_):
        raise RuntimeError("sbatch: error: invalid partition specified: gpus")

    monkeypatch.setattr(cluster, "_executor", lambda *_: SimpleNamespace(submit=submit))
    with pytest.raises(DataError, match="--slurm: no job can be submitted: sbatch: error: invalid partition"):
        run_grid(stubs(tmp_path, 3), Grid(slurm="partition=gpus"))


def test_a_slurm_job_that_is_preempted_and_not_started_again_has_died(tmp_path):
    pytest.importorskip("cloudpickle")
    ends, paths = [], SimpleNamespace(stderr="log")
    job = SimpleNamespace(job_id="7", state="PREEMPTED", done=lambda: False, cancel=lambda check: ends.append(check))

    def submit(_, box, __):
        (box / "1.cell").rename(box / "1.taken")
        return SimpleNamespace(**vars(job), paths=paths)

    with pytest.raises(cluster.JobDied, match=r"its job 7 ended \(PREEMPTED\); see log"):
        cluster._Job(SimpleNamespace(submit=submit), tmp_path, 0).run(Sfu(), tmp_path)
    assert ends == [False]


def test_cells_that_run_one_after_another_need_one_slurm_job(tmp_path, monkeypatch):
    pytest.importorskip("cloudpickle")
    monkeypatch.setattr(workers, "work", lambda settings, log: None)
    jobs = []

    def submit(serve, box, _):
        Thread(target=serve, args=(box, 3), daemon=True).start()
        jobs.append(SimpleNamespace(state="RUNNING", done=lambda: False, cancel=lambda: None))
        return jobs[-1]

    monkeypatch.setattr(cluster, "_executor", lambda *_: SimpleNamespace(submit=submit))
    with cluster.start(Grid(jobs=4, slurm=""), tmp_path) as made:
        assert [made.submit(Sfu(), tmp_path).result(20) for _ in range(3)] == [None] * 3
    assert len(jobs) == 1


def test_a_slurm_job_that_is_being_submitted_at_an_interrupt_is_cancelled(tmp_path):
    pytest.importorskip("cloudpickle")
    cancelled = []

    def submit(*_):
        job.end()  # Ctrl-C
        return SimpleNamespace(state="PENDING", done=lambda: False, cancel=lambda: cancelled.append(True))

    job = cluster._Job(SimpleNamespace(submit=submit), tmp_path, 0)
    with pytest.raises(cluster.JobDied, match="the grid was interrupted"):
        job.run(Sfu(), tmp_path)
    assert cancelled == [True]


@pytest.fixture
def ray(monkeypatch):
    """In the place of Ray: a node with a processor and one with a GPU; a task runs at once."""
    made = SimpleNamespace(init=lambda **_: None, shutdown=lambda: None, get=lambda ref, timeout: ref)
    made.exceptions = SimpleNamespace(WorkerCrashedError=OSError, NodeDiedError=OSError, OutOfMemoryError=OSError)
    made.exceptions.RayError = ZeroDivisionError
    nodes = [("a", {"CPU": 2.0}), ("b", {"CPU": 1.0, "GPU": 1.0}), ("c", {"GPU": 1.0})]
    made.nodes = lambda: [{"Alive": True, "NodeID": n, "NodeManagerHostname": n, "Resources": r} for n, r in nodes]

    def remote(**_):
        return lambda f: SimpleNamespace(options=lambda **_: SimpleNamespace(remote=f))

    made.remote = remote
    strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: node)
    monkeypatch.setitem(sys.modules, "ray", made)
    monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", strategies)
    monkeypatch.setattr(cluster, "interruptible", lambda _: None)
    return made


def test_a_run_on_ray_needs_one_node_with_all_its_resources(ray, tmp_path):
    for device, gpus, slots in (("auto", None, 1), ("auto", 0.5, 1), ("cpu", None, 3)):
        with cluster.start(Grid(ray="auto", gpus_per_run=gpus), tmp_path, device) as started:
            assert started.slots() == slots
    ray.nodes = lambda: [{"Alive": True, "Resources": {"CPU": 1.0}}, {"Alive": True, "Resources": {"GPU": 1.0}}]
    with pytest.raises(DataError, match="no node of the Ray cluster has what a run needs"):
        cluster.start(Grid(ray="auto", gpus_per_run=1.0), tmp_path).__enter__()


def test_a_node_of_ray_that_does_not_answer_is_named(ray, tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "get", lambda ref, timeout: 1 / 0)
    with pytest.raises(DataError, match="the node a cannot run this package: ZeroDivisionError: division by zero"):
        cluster.start(Grid(ray="auto"), tmp_path).__enter__()


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:1", "auto"])
def test_a_ray_cluster_that_cannot_be_reached_is_an_error_that_names_the_option(ray, address, tmp_path, monkeypatch):
    def init(**_):
        raise RuntimeError("Version mismatch")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(DataError, match=f"cannot connect to --ray {address}, which must be HOST:PORT or auto: "):
        cluster.start(Grid(ray=address), tmp_path).__enter__()
