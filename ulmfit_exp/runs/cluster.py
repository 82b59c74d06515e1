"""Running cells on other machines: the nodes of a Ray cluster, or SLURM jobs (docs/clusters.md).

Both are optional extras. The home, the data and this environment must be at the same path on all machines.
"""

import os
import pickle
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from secrets import token_hex
from threading import Event
from types import ModuleType

from filelock import FileLock, Timeout
from joblib import cpu_count

from ..common import DataError, install, replacing, writable
from . import workers
from .interrupt import interruptible
from .settings import Experiment, Grid
from .workers import Workers

OPTION = re.compile(r"([\w-]+)(?:=(.*?)(?=,[\w-]+=|$))?(?:,|$)")
"""Matches one option of sbatch: NAME=VALUE, whose value may contain commas, or a flag, which comes before these."""
CLOSING = 10
"""Seconds that the machines have to end their cells after Ctrl-C."""
ANSWER = 120
"""Seconds that a Ray node has to report what it sees of the home."""
IDLE = 120
"""Seconds without a new cell after which a SLURM job ends."""


def start(options: Grid, home: Path, device: str = "auto") -> AbstractContextManager[Workers]:
    """Return a context with the workers that the options ask for. Raises `DataError` if an option is impossible."""
    if options.jobs < 1:
        raise DataError(f"--jobs {options.jobs} is impossible: it must be 1 or more")
    if None not in (options.ray, options.slurm):
        raise DataError("--ray and --slurm exclude each other")
    if options.ray is not None and options.jobs > 1:
        raise DataError("--jobs has no meaning with --ray, which uses all CPUs of the cluster; leave it out")
    if options.gpus_per_run is not None and options.ray is None:
        raise DataError("--gpus-per-run has no meaning without --ray; leave it out")
    if options.gpus_per_run is not None and not 0 < options.gpus_per_run <= 1:
        raise DataError(f"--gpus-per-run {options.gpus_per_run} is impossible: it must be above 0, and at most 1")
    if options.ray is not None:
        return ray_cluster(options, home, device)
    return workers.pool(options.jobs, device) if options.slurm is None else slurm_jobs(options, home)


@contextmanager
def ray_cluster(options: Grid, home: Path, device: str) -> Iterator[Workers]:
    """Workers on a Ray cluster. First checks that each of its nodes shares the home. Raises `DataError`."""
    ray, refs = _optional("ray", "ray"), []
    _connect(ray, options.ray)
    interruptible(CLOSING)  # Ray has replaced our signal handlers with its own

    def nodes() -> list[dict]:
        return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]

    try:
        gpus = options.gpus_per_run or float(any("GPU" in node["Resources"] for node in nodes()))
        gpus *= device != "cpu"
        needs = {k: n for k, n in {"CPU": 1, "GPU": gpus}.items() if n}
        cell = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_run_cell)

        def submit(settings: Experiment, log: Path) -> Future:
            refs.append(cell.remote(Path.cwd(), workers.work, settings, log))
            return refs[-1].future()

        def slots() -> int:
            return sum(int(min(node["Resources"].get(k, 0) / n for k, n in needs.items())) for node in nodes())

        if not slots():
            wanted = " and ".join(f"{n:g} {kind}" for kind, n in needs.items())
            raise DataError(f"no node of the Ray cluster has what a run needs: {wanted}; see --gpus-per-run")
        with _shared(home) as folder:
            _probe(ray, folder, nodes())
            errors = ray.exceptions
            yield Workers(submit, slots, (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError))
    finally:
        for ref in refs:
            ray.cancel(ref)  # running cells close their W&B runs and end
        if refs:
            ray.wait(refs, num_returns=len(refs), timeout=CLOSING / 2)
        ray.shutdown()


def _connect(ray: ModuleType, address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    passed = {k: v for k, v in os.environ.items() if k.startswith(("WANDB_", "ULMFIT_EXP_", "OMP_")) and "KEY" not in k}
    env = {**passed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    options = {"log_to_driver": False, "logging_level": "ERROR", "runtime_env": {"env_vars": env}}
    try:
        if address not in ("auto", "local"):  # Ray would try for minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, port), timeout=5).close()
        ray.init(address=address, **options)
    except (OSError, RuntimeError, ValueError) as e:
        if address != "auto" or not isinstance(e, ConnectionError):
            raise DataError(f"cannot connect to --ray {address}, which must be HOST:PORT or auto: {e}") from e
        ray.init(
            address="local", num_cpus=cpu_count(), include_dashboard=False, object_store_memory=80_000_000, **options
        )


def _run_cell(folder: Path, work, settings: Experiment, log: Path) -> str | None:
    """Run a cell on another machine, in the folder to which the paths in its settings are relative."""
    os.chdir(folder)
    return work(settings, log)


def _probe(ray: ModuleType, folder: Path, nodes: list[dict]) -> None:
    """Ask every node what it sees of the home. Raises `DataError` if one does not share it."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as OnNode

    ask, asked = ray.remote(num_cpus=0, max_retries=0)(home_problem), []
    for id, host in [(node["NodeID"], node["NodeManagerHostname"]) for node in nodes]:
        file = folder / id / "file"
        file.exists()  # so that NFS caches that it is absent, as it does for records
        asked.append((host, file, ask.options(scheduling_strategy=OnNode(id, soft=False)).remote(folder, id)))
    for host, file, answer in asked:
        try:
            problem = ray.get(answer, timeout=ANSWER)
        except ray.exceptions.RayError as e:
            problem = f"cannot run this package: {workers.error_line(e)}"
        if not problem and not workers.appears(file):
            problem = "writes files that this machine does not see"
        if problem:
            raise DataError(f"--home {folder.parent}: the node {host} {problem}")


@contextmanager
def _shared(home: Path) -> Iterator[Path]:
    """Create a temporary folder in the home, with which other machines check that they share it; see `home_problem`."""
    with writable(home):
        folder = home.absolute() / f"probe-{token_hex(4)}"
        folder.mkdir(parents=True)
    try:
        with FileLock(folder / "lock"):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def home_problem(folder: Path, name: str) -> str | None:
    """Return what is wrong with the home on this machine, or None. Creates a folder called `name` in `folder`."""
    try:
        if not folder.is_dir():
            return "does not see the files that this machine writes: all need one file system, at the same path"
        with suppress(Timeout), FileLock(folder / "lock", timeout=0):
            return "gets a lock that this machine holds: the file system is mounted without locks"
        (folder / f"{name}.part").mkdir()
        (folder / f"{name}.part" / "file").touch()
        os.replace(folder / f"{name}.part", folder / name)
    except (OSError, NotImplementedError) as e:  # filelock raises the second if a file system has no locks
        return f"cannot use it: {e}"
    return None


def _optional(package: str, extra: str) -> ModuleType:
    """Import the package that the option `--extra` needs from the extra of that name. Raises `DataError`."""
    try:
        return import_module(package)
    except ImportError as e:
        raise DataError(f"--{extra} needs an extra; {install(extra)}") from e


@contextmanager
def slurm_jobs(options: Grid, home: Path) -> Iterator[Workers]:
    """Workers in SLURM jobs, at most `options.jobs` at once, each of which runs many cells.

    A thread of this process controls each job: it submits the job when there is a cell for it, and hands it one cell
    after another through files.
    """
    executor = _executor(options.slurm, home)
    with _shared(home) as folder:
        jobs = [_Job(executor, folder, i) for i in range(options.jobs)]
        free = jobs.copy()  # the job that was used last is taken first, since it is still running

        def run(settings: Experiment, log: Path) -> str | None:
            job = free.pop()
            try:
                return job.run(settings, log)
            finally:
                free.append(job)

        threads = ThreadPoolExecutor(options.jobs)
        interruptible(CLOSING)
        try:
            yield Workers(lambda settings, log: threads.submit(run, settings, log), lambda: options.jobs, (JobDied,))
        finally:
            for job in jobs:
                job.end()
            threads.shutdown()


def _executor(options: str, home: Path):
    """Return submitit's executor. `options` are those of sbatch, except cluster, which is submitit's own."""
    submitit = _optional("submitit", "slurm")
    given = {k.strip("-").replace("_", "-"): value or True for k, value in OPTION.findall(options)}
    cluster = given.pop("cluster", "slurm")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # a job has the environment of its submission
    try:
        executor = submitit.AutoExecutor(home.absolute() / "slurm", cluster=cluster)
    except RuntimeError as e:
        raise DataError(f"--slurm: {e}") from e
    cpus = given.get("cpus-per-task", 1)  # srun does not inherit it
    executor.update_parameters(
        name=given.pop("job-name", "ulmfit-exp"),
        timeout_min=240,
        slurm_additional_parameters=given,
        slurm_srun_args=[f"--cpus-per-task={cpus}"],
    )
    return executor


class JobDied(Exception):
    """A SLURM job ended before its cell was finished."""


class _Job:
    """A SLURM job and the folder through which it receives its cells."""

    def __init__(self, executor, folder: Path, number: int):
        self.executor, self.box, self.job = executor, folder / f"job-{number}", None
        self.cells, self.ended = 0, Event()
        self.box.mkdir()

    def run(self, settings: Experiment, log: Path) -> str | None:
        """Run a cell in the job, submitting the job first unless it is running. Raises `JobDied` or `DataError`."""
        import cloudpickle  # comes with submitit; it also pickles a settings class that is defined in __main__

        self.cells += 1
        cell, taken, answer = (self.box / f"{self.cells}.{kind}" for kind in ("cell", "taken", "answer"))
        with replacing(cell) as part:
            part.write_bytes(cloudpickle.dumps((Path.cwd(), workers.work, settings, log)))
        while not workers.visible(answer):
            if self.ended.is_set():
                self.end()  # cancels a job that was being submitted meanwhile
                raise JobDied("the grid was interrupted")
            if self.job and self._has_ended() and not workers.visible(answer):
                job, self.job = self.job, None
                if taken.exists() or (job.done() and job.exception()):
                    cell.unlink(missing_ok=True)
                    raise JobDied(f"its job {job.job_id} ended ({job.state}); see {job.paths.stderr}")
            if not self.job:
                try:
                    self.job = self.executor.submit(serve, self.box, IDLE)
                except (OSError, RuntimeError) as e:  # submitit's errors are RuntimeErrors
                    raise DataError(f"--slurm: no job can be submitted: {e}") from e
            self.ended.wait(1)
        return pickle.loads(answer.read_bytes())

    def _has_ended(self) -> bool:
        """Return whether the job has ended or was preempted: submitit waits for a restart, which need not come."""
        if self.job.state.startswith("PREEMPTED") and not self.job.done():
            self.job.cancel(check=False)
            return True
        return self.job.done()

    def end(self) -> None:
        self.ended.set()
        if self.job and not self.job.done():
            self.job.cancel()


def serve(box: Path, idle: float) -> None:
    """Run the cells that arrive in `box` one after another, until none has come for `idle` seconds. A job runs this."""
    problem, last = home_problem(box.parent, token_hex(8)), time.monotonic()
    while True:
        for cell in sorted(box.glob("*.cell")):
            taken = cell.rename(cell.with_suffix(".taken"))
            error = problem and f"the machine {socket.gethostname()} {problem}"
            error = error or _run_cell(*pickle.loads(taken.read_bytes()))
            with replacing(taken.with_suffix(".answer")) as part:
                part.write_bytes(pickle.dumps(error))
            last = time.monotonic()
        if time.monotonic() - last > idle:
            return
        time.sleep(0.5)
