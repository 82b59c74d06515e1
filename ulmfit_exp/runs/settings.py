"""The settings that all commands share, their command line, and the record that a run leaves.

Nothing here imports torch before a run starts, so that `--help` answers at once.
"""

import os
import signal
import sys
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NoReturn

import tyro

from ..common import flat
from ..recipe import DIRECTIONS, RECIPES, LMRecipe, Recipe

if TYPE_CHECKING:
    from ..corpora.corpus import Corpus
    from ..corpora.documents import Documents
    from .stages import Run
    from .store import Stage

# Settings that say where and how to show, not what: they change no figure and name no record.
WHERE = ("data_dir", "home", "wandb", "log_artifacts", "tags", "label")


@dataclass(frozen=True, kw_only=True)
class Command(ABC):
    """Settings of one run."""

    name: ClassVar[str]
    recipes: ClassVar[dict[str, LMRecipe]]
    also_variant: ClassVar[tuple[str, ...]] = ()
    """Settings that make another variant where they are set, though `variant` does not name them."""

    recipe_name: str
    recipe: LMRecipe
    seed: int = 0
    """Seed of every stage."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """fp32 is the paper's arithmetic. auto takes bf16 where it was measured to be faster: GPUs, AMX, AMD's AVX-512."""
    data_dir: Path | None = None
    """Where the data sets lie (default: $ULMFIT_EXP_DATA); what is absent is downloaded to the user's cache."""
    home: Path = Path("runs")
    """Where stages, records and W&B runs go."""
    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    """Weights & Biases: auto is online when logged in, else offline."""
    log_artifacts: bool = False
    """Keep each stage's folder (weights, vocabulary, predictions) as a W&B artifact."""
    tags: tuple[str, ...] = ()
    """Tags for W&B, besides data set, seed, commit and miniature."""
    label: str = ""
    """What to call this variant in W&B (default: the fields that differ from the recipe's own)."""

    @property
    @abstractmethod
    def variant(self) -> str:
        """The command and its own settings in a few words, for names."""

    @property
    @abstractmethod
    def directions(self) -> tuple[str, ...]:
        """forward, backward or both."""

    @property
    def group(self) -> str:
        """Experiment and variant: the W&B group, whose members differ in seed and fold."""
        also = {k: v for k in self.also_variant if (v := getattr(self, k))}
        words = [k if v is True else f"{k}={v}" for k, v in also.items()]
        return " ".join([self.variant, self.recipe_name, *words, self.label or self._changes()]).strip()[:128]

    def _changes(self) -> str:
        """The recipe's fields that are not as it has them, or a digest of them where that is long."""
        from .store import digest

        plain = flat(replace(self, recipe=self.recipes[self.recipe_name]).settings()["recipe"])
        changes = [f"{k}={v}" for k, v in flat(self.settings()["recipe"]).items() if plain.get(k) != v]
        return text if len(text := " ".join(changes)) <= 60 else digest(changes)

    @abstractmethod
    def texts(self, data_dir: Path | None) -> "Corpus | Documents":
        """What the run is about, read from `data_dir`; None is the user's cache."""

    @abstractmethod
    def figures(self, run: "Run", done: "dict[str, Stage]") -> dict:
        """What `result.json` is to hold of the finished stages."""

    @abstractmethod
    def table(self, record: dict) -> str:
        """What to print of `result.json`."""

    def settings(self) -> dict:
        """What the figures hang on, as JSON. Of a folder or file elsewhere on this machine, only its name."""
        settings = {k: v for k, v in asdict(self).items() if k not in WHERE}
        settings["recipe"]["pretrained"] = ",".join(map(_here, self.recipe.pretrained.split(",")))
        return settings | {k: _here(settings[k]) for k in ("corpus", "csv", "unlabelled") if settings.get(k)}


def _here(path: str | Path) -> str:
    """A path as a record may hold it: of one elsewhere its name; what is no UTF-8, in the place of a letter."""
    named = Path(path).name if Path(path).is_absolute() or ".." in Path(path).parts else str(path)
    return os.fsencode(named).decode("utf-8", "replace")


@dataclass(frozen=True, kw_only=True)
class Experiment(Command):
    """Settings of one run of ULMFiT. A data set's experiment adds its own and says how its corpus is loaded."""

    recipes: ClassVar[dict[str, Recipe]] = RECIPES
    also_variant: ClassVar[tuple[str, ...]] = ("miniature", "train_size", "labelled_only")
    paper: ClassVar[float | None] = None
    """The paper's test error in % on this data, where it has one."""

    recipe_name: Annotated[
        Literal["paper", "small", "few", "features", "scratch", "tiny"], tyro.conf.arg(name="recipe")
    ] = "small"
    """Recipe to start from (with --miniature: tiny); few is for a hundred labels; features trains no classifier. Its
    fields are the --recipe.… options below."""
    recipe: Recipe = RECIPES["small"]
    miniature: bool = False
    """Run on the bundled hand-written texts: no data, no network, a minute."""
    train_size: int | None = None
    """Keep the labels of so many training texts, stratified; the others stay in as unlabelled."""
    labelled_only: bool = False
    """Leave out the texts without a label: the language model reads the labelled ones alone (paper, figure 3)."""

    @abstractmethod
    def load(self, data_dir: Path | None) -> "Corpus":
        """The corpus, read from `data_dir`; None is the user's cache."""

    @property
    def variant(self) -> str:
        own = [f.name for f in fields(self) if f.name not in {f.name for f in fields(Experiment)}]
        return "-".join([self.name, *(f"{getattr(self, k)}" for k in own if k != "fold")])

    @property
    def directions(self) -> tuple[str, ...]:
        return DIRECTIONS[self.recipe.direction]

    def texts(self, data_dir: Path | None) -> "Corpus":
        from ..corpora.sources import MINIATURE

        corpus = self.load(MINIATURE if self.miniature else data_dir).with_train_size(self.train_size)
        return corpus.labelled() if self.labelled_only else corpus

    def figures(self, run: "Run", done: "dict[str, Stage]") -> dict:
        from ..results.tables import classified

        return classified(run, done) | {"paper": self.paper}

    def table(self, record: dict) -> str:
        from ..results.tables import table

        return table(record)


def main(command: type[Command], args: list[str] | None = None) -> None:
    """The command line of an experiment module: parse, run, print the table; the record's path is the last line."""
    args = sys.argv[1:] if args is None else args
    settings = parse(command, args)

    from ..common import DataError

    interruptible()
    try:
        path = run(settings)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last checkpoint", file=sys.stderr, flush=True)
        leave()
    except (DataError, OSError) as e:
        sys.exit(f"error: {e}")
    print(path)


def leave() -> NoReturn:
    """End this process at once with W&B's runs closed, one that is being opened too; its pools' processes follow."""
    with suppress(Exception):  # W&B may be missing, or broken
        sys.modules["wandb"].teardown(exit_code=130)
    os._exit(130)


def interruptible() -> None:
    """SIGTERM is like Ctrl-C, and either ends this process within two seconds, whatever it is about."""

    def stop(*_):
        timer = Timer(1.8, os._exit, (130,))
        timer.daemon = True
        timer.start()
        for s in (signal.SIGINT, signal.SIGTERM):
            signal.signal(s, signal.SIG_IGN)  # what is being closed is closed
        raise KeyboardInterrupt

    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, stop)


def parse(command: type[Command], args: list[str]) -> Command:
    """The settings in `args`, with the recipe they name as the default of every recipe field."""
    name = "tiny" if "--miniature" in args else "small"
    for arg, following in zip(args, [*args[1:], ""]):
        option, _, value = arg.partition("=")
        if option in ("--recipe", "--size") and (value or following) in command.recipes:  # tyro refuses another
            name = value or following
    default = command(recipe_name=name, recipe=command.recipes[name])
    module = sys.modules[command.__module__]
    return tyro.cli(
        command,
        args=args,
        default=default,
        prog=f"python -m experiments.{command.name}",
        description=module.__doc__,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def command_of(record: dict) -> type[Command]:
    """The experiment that a record is of."""
    module = import_module(f"experiments.{record['experiment']}")
    return next(c for c in vars(module).values() if getattr(c, "name", None) == record["experiment"])


def settings_of(record: dict, **where) -> Command:
    """The settings that a record was made with; `where` has those that say where. Raises `DataError`."""
    from ..common import DataError
    from ..recipe import recipe_from

    command = command_of(record)
    if unknown := set(record["settings"]) - {f.name for f in fields(command)}:
        raise DataError(f"the record has settings that this commit does not know: {', '.join(sorted(unknown))}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in record["settings"].items()}
    paths = {k: Path(values[k]) for k in ("csv", "unlabelled") if values.get(k)}
    return command(**{**values, **paths, "recipe": recipe_from(values["recipe"]), **where})


def data_directory() -> Path | None:
    """$ULMFIT_EXP_DATA."""
    from ..corpora.sources import DATA_VARIABLE

    return Path(d) if (d := os.environ.get(DATA_VARIABLE)) else None


def run(settings: Command, texts: "Corpus | Documents | None" = None) -> Path:
    """Run every stage, reusing what is finished; write and show the record. Returns the path of `result.json`.

    `texts` take the place of those that the settings would read.
    """
    settings, this = prepare(settings, texts)

    from ..common import writable, write_json
    from ..inference import predict
    from ..results import tables as report
    from . import stages, tracking

    done = stages.run_all(this, report.stage_line)
    record = report.record(settings, this, done, settings.figures(this, done))
    path = result(settings, this)
    with writable(settings.home):
        path.parent.mkdir(parents=True, exist_ok=True)
        predict.keep(this, path.parent)
        write_json(path, record)
    if tracking.in_sweep():
        tracking.log_sweep(this.tracker("sweep"), record)
    print(settings.table(record))
    print(report.how_to_look(record, settings.home))
    return path


def prepare(settings: Command, texts: "Corpus | Documents | None" = None) -> "tuple[Command, Run]":
    """The settings with the precision that this machine takes, and the run: read and checked, nothing computed.

    `texts` take the place of those that the settings would read.
    """
    data_dir = settings.data_dir or data_directory()
    texts = texts or settings.texts(data_dir)

    from ..method import machine, pretrained  # these import torch: what is wrong with the data is said before
    from . import stages

    machine.keep_memory()
    settings = replace(settings, precision=machine.precision(settings.precision))
    models = pretrained.resolve(settings.recipe.pretrained, settings.directions, data_dir)
    return settings, stages.Run(
        corpus=texts,
        recipe=stages.fitted(settings.recipe, models),
        directions=settings.directions,
        pretrained=models,
        seed=settings.seed,
        precision=settings.precision,
        home=settings.home,
        data_dir=data_dir,
        group=settings.group,
        settings=settings.settings(),
        wandb=settings.wandb,
        tags=(*settings.tags, *(["miniature"] if getattr(settings, "miniature", False) else [])),
        log_artifacts=settings.log_artifacts,
    )


def result(settings: Command, run: "Run") -> Path:
    """Where the record of a prepared run is when it is finished; named by its settings and all of its stages."""
    from .store import digest, name

    what = digest({"settings": run.settings, "stages": {k: name(*stage) for k, stage in run.plan.items()}})
    return (
        settings.home / "runs" / f"{run.corpus.name}-{settings.recipe_name}-seed{settings.seed}-{what}" / "result.json"
    )
