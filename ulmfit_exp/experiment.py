"""`Experiment`: the settings every experiment shares, its command line, and the record it leaves.

Nothing here imports torch before a run starts, so that `--help` answers at once.
"""

import os
import sys
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import tyro

from .recipe import DIRECTIONS, RECIPES, Recipe

if TYPE_CHECKING:
    from .corpora.corpus import Corpus

WHERE = ("data_dir", "home", "wandb")  # settings that say where, not what: they change no figure and name no record


@dataclass(frozen=True, kw_only=True)
class Experiment(ABC):
    """Settings of one run. A data set's experiment adds its own and says how its corpus is loaded."""

    name: ClassVar[str]
    paper: ClassVar[float | None] = None
    """The paper's test error in % on this data, where it has one."""

    recipe_name: Annotated[Literal["paper", "small", "tiny"], tyro.conf.arg(name="recipe")] = "small"
    """Recipe to start from (with --miniature: tiny). Its fields are the --recipe.… options below."""
    recipe: Recipe = RECIPES["small"]
    miniature: bool = False
    """Run on the bundled hand-written texts with a tiny model: no data, no network, a minute."""
    seed: int = 0
    """Seed of every stage."""
    train_size: int | None = None
    """Keep the labels of so many training texts, stratified; the others stay in as unlabelled."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """fp32 is the paper's arithmetic. bf16 is for GPUs and processors with AMX; with AVX-512 alone it is slower."""
    data_dir: Path | None = None
    """Where the data sets lie (default: $ULMFIT_EXP_DATA); what is absent is downloaded to the user's cache."""
    home: Path = Path("runs")
    """Where stages, records and W&B runs go."""
    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    """Weights & Biases: auto is online when logged in, else offline."""

    @abstractmethod
    def load(self, data_dir: Path | None) -> "Corpus":
        """The corpus, read from `data_dir`; None is the user's cache."""

    @property
    def variant(self) -> str:
        """The experiment's own settings in a few words, for names."""
        own = [f.name for f in fields(self) if f.name not in {f.name for f in fields(Experiment)}]
        return "-".join([self.name, *(f"{getattr(self, k)}" for k in own if k != "fold")])

    def settings(self) -> dict:
        """What the figures hang on, as JSON."""
        return {k: v for k, v in asdict(self).items() if k not in WHERE}


def main(experiment: type[Experiment], args: list[str] | None = None) -> None:
    """The command line of an experiment module: parse, run, print the table; the record's path is the last line."""
    args = sys.argv[1:] if args is None else args
    settings = parse(experiment, args)

    from .corpora.corpus import DataError  # imports pandas, for which --help does not wait

    try:
        path = run(settings)
    except KeyboardInterrupt:
        sys.exit("\ninterrupted; the same command goes on from the last complete epoch")
    except (DataError, OSError) as e:
        sys.exit(f"error: {e}")
    print(path)


def parse(experiment: type[Experiment], args: list[str]) -> Experiment:
    """The settings in `args`, with the recipe they name as the default of every recipe field."""
    name = "tiny" if "--miniature" in args else "small"
    for arg, following in zip(args, [*args[1:], ""]):
        option, _, value = arg.partition("=")
        if option == "--recipe" and (value or following) in RECIPES:  # tyro refuses another
            name = value or following
    default = experiment(recipe_name=name, recipe=RECIPES[name])
    module = sys.modules[experiment.__module__]
    return tyro.cli(
        experiment,
        args=args,
        default=default,
        prog=f"python -m experiments.{experiment.name}",
        description=module.__doc__,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def run(settings: Experiment) -> Path:
    """Run every stage, reusing what is finished; write and show the record. Returns the path of `result.json`."""
    # OpenMP's threads wait by spinning, 300,000 times: two runs on the same two cores then reach a twentieth of the
    # speed of one. With 1,000 they share it evenly, and one alone has 0.91 of it. Must precede torch's import.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from .corpora.files import DATA_VARIABLE, MINIATURE

    data_dir = settings.data_dir or (Path(d) if (d := os.environ.get(DATA_VARIABLE)) else None)
    corpus = settings.load(MINIATURE if settings.miniature else data_dir).with_train_size(settings.train_size)

    from . import report, stages  # these import torch: what is wrong with the data is said before
    from .machine import keep_memory
    from .store import digest, writable, write_json

    keep_memory()
    this = stages.Run(
        corpus=corpus,
        recipe=settings.recipe,
        seed=settings.seed,
        precision=settings.precision,
        home=settings.home,
        group=f"{settings.variant} {settings.recipe_name}",
        settings=settings.settings(),
        wandb=settings.wandb,
        tags=("miniature",) if settings.miniature else (),
    )
    done = stages.run_all(this, DIRECTIONS[settings.recipe.direction], report.stage_line)
    record = report.record(settings, this, done)
    what = digest({"settings": record["settings"], "corpus": corpus.digest})
    name = f"{corpus.name}-{settings.recipe_name}-seed{settings.seed}-{what}"
    path = settings.home / "runs" / name / "result.json"
    with writable(settings.home):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, record)
    print(report.table(record))
    print(report.how_to_look(record, settings.home))
    return path
