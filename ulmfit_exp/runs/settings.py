"""The settings that all commands share, and the names of a run. Imports nothing slow, so that `--help` is fast."""

import os
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import tyro

from ..common import DataError, as_utf8, digest
from ..recipe import DIRECTIONS, RECIPES, LMRecipe, Recipe, differences, in_words, recipe_from

if TYPE_CHECKING:
    from ..corpora.corpus import Corpus
    from ..corpora.documents import Documents

Precision = Literal["auto", "fp32", "bf16"]
RecipeName = Literal["auto", "default", "lp-ft", "paper", "small", "features", "scratch", "tiny"]
Wandb = Literal["auto", "online", "offline", "disabled"]
AUTO = "auto"
FEW_LABELS = 300
"""Number of labelled training texts below which `auto` is lp-ft (experiments/notes/recipe.md)."""
LONGEST_NAME = 60
"""Most characters of a setting, or of a recipe's changes, in a variant's name; longer ones are cut, with a digest."""


def recipe_named(recipes: dict[str, LMRecipe], name: str) -> LMRecipe:
    """Return the recipe with this name; for `auto` the default one, because the number of labels is not yet known."""
    return recipes["default" if name == AUTO else name]


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where a run computes, and where it reads and writes files."""

    device: str = "auto"
    """auto uses a GPU if there is one; cpu, cuda or cuda:N selects the device."""
    data_dir: Path | None = None
    """Folder of the data sets (default: $ULMFIT_EXP_DATA); missing files are downloaded to the user's cache."""
    home: Path = Path("runs")
    """Folder for stages, records and W&B runs."""
    wandb: Wandb = "auto"
    """Weights & Biases: auto is online when logged in, else offline."""


HERE = Where()
# Settings that say where to run and how to report, not what to run: they affect no result and no record's path.
NOT_RECORDED = (*vars(HERE), "log_artifacts", "log_texts", "tags", "label")


@dataclass(frozen=True, kw_only=True)
class Command(Where, ABC):
    """Settings of one run."""

    name: ClassVar[str]
    recipes: ClassVar[dict[str, LMRecipe]]
    replicate_by: ClassVar[str] = "seed"
    """Name of the setting in which repetitions of a variant differ."""
    paths: ClassVar[tuple[str, ...]] = ()
    """Names of settings that are paths. If a path is absolute or contains `..`, a record has only its last part."""
    in_variant: ClassVar[dict[str, str]] = {}
    """Setting -> how the variant's name shows its value; default values are left out."""

    recipe_name: str
    recipe: LMRecipe
    seed: int = 0
    """Seed of every stage."""
    precision: Precision = "auto"
    """fp32 is the paper's arithmetic. auto is bf16 on GPUs that support it, on CPUs with AMX, and on AMD CPUs with
    AVX-512 bf16."""
    log_artifacts: bool = False
    """Keep each stage's folder (weights, vocabulary, predictions) as a W&B artifact."""
    log_texts: bool = True
    """Upload the test texts to W&B with their predictions; --no-log-texts uploads the predictions alone."""
    tags: tuple[str, ...] = ()
    """Tags for W&B, in addition to data set, seed, commit and miniature."""
    label: str = ""
    """Name of this variant in records and W&B (default: the fields that differ from the named recipe)."""

    @property
    @abstractmethod
    def dataset(self) -> str:
        """Data set and what is predicted, in one word, for use in names."""

    @property
    @abstractmethod
    def directions(self) -> tuple[str, ...]:
        """The directions in which texts are read: forward, backward or both."""

    @property
    def changes(self) -> dict[str, str]:
        """The fields in which the recipe differs from the one called `recipe_name`, with their values in words."""
        return differences(self.recipe, recipe_named(self.recipes, self.recipe_name))

    @property
    def variant(self) -> str:
        """Recipe and settings in a few words, the same for all runs that differ only in seed or fold."""
        defaults = {f.name: f.default for f in fields(self)}
        shown = {k: v for k in self.in_variant if (v := getattr(self, k)) != defaults[k]}
        also = [_shortened(self.in_variant[k].format(in_words(v))) for k, v in shown.items()]
        changes = " ".join(v if k == "direction" else f"{k}={v}" for k, v in self.changes.items())
        changes = _shortened(changes, " ".join(self.changes))
        return " ".join([self.recipe_name, *also, as_utf8(self.label) or changes]).strip()

    @property
    def replicate(self) -> str:
        """Name of the repetition, such as seed0 or fold0."""
        by = self.replicate_by
        name = f"{by}{getattr(self, by)}" + (f"-seed{self.seed}" if by != "seed" and self.seed else "")
        return name + (f"-draw{self.draw}" if getattr(self, "shots", None) else "")

    @property
    def group(self) -> str:
        """Data set and variant: the W&B group, whose runs differ only in seed or fold."""
        return f"{self.dataset} {self.variant}"[:128]

    def names(self) -> dict:
        """Return the fields of a record that describe the run in words."""
        names = {k: getattr(self, k) for k in ("dataset", "variant", "replicate", "changes")}
        return {**names, "label": as_utf8(self.label)}

    @property
    def data_directory(self) -> Path | None:
        """`data_dir`, or else $ULMFIT_EXP_DATA; None means the user's cache."""
        return self.data_dir or (Path(d) if (d := os.environ.get("ULMFIT_EXP_DATA")) else None)

    @abstractmethod
    def texts(self) -> "Corpus | Documents":
        """Read the run's texts from the data directory."""

    @classmethod
    def from_record(cls, record: dict, **where) -> Self:
        """Return the settings that a record was made with; `where` gives others, such as `home`. Raises `DataError`."""
        if unknown := set(record["settings"]) - {f.name for f in fields(cls)}:
            names = ", ".join(sorted(unknown))
            raise DataError(f"the record has settings that this commit does not know: {names}; use the record's commit")
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in record["settings"].items()}
        paths = {k: Path(values[k]) for k in cls.paths if values.get(k)}
        return cls(**{**values, **paths, "recipe": recipe_from(values["recipe"]), **where})

    def settings(self) -> dict:
        """Return the settings that the results depend on, as JSON."""
        settings = {k: v for k, v in asdict(self).items() if k not in NOT_RECORDED}
        settings["recipe"]["pretrained"] = ",".join(map(_without_folders, self.recipe.pretrained.split(",")))
        return settings | {k: _without_folders(settings[k]) for k in self.paths if settings.get(k)}


def _shortened(name: str, short: str | None = None) -> str:
    """Return a name of at most `LONGEST_NAME` characters as it is, a longer one as `short`, cut, with its digest."""
    return name if len(name) <= LONGEST_NAME else f"{(short or name)[:LONGEST_NAME]} {digest(name)}"


def _without_folders(path: str | Path) -> str:
    """Return a path for a record: its last part if it is absolute or contains `..`."""
    return as_utf8(Path(path).name if Path(path).is_absolute() or ".." in Path(path).parts else str(path))


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Number of runs, and the processes that run them."""

    seeds: int = 1
    """Number of runs of each variant, with consecutive seeds. An experiment starts at --seed, and prints the mean and
    standard deviation last. `paper` starts at seed 0, and with 3 or more seeds runs all five folds of SFU."""
    jobs: int = 1
    """Number of runs at once; they share the processor's threads, unless OMP_NUM_THREADS sets the number for each run.
    With --slurm, the largest number of jobs at once."""
    ray: str | None = None
    """Address of a Ray cluster; auto uses the one running on this machine, or starts one with all its cores."""
    gpus_per_run: float | None = None
    """With --ray, number of GPUs per run, such as 0.25 (default: 1 if the cluster has any)."""
    slurm: str | None = None
    """Run in SLURM jobs with these options of sbatch: partition=NAME,gpus=1,time=240 (minutes)."""


ONE = Grid()
"""One run, in this process."""


@dataclass(frozen=True, kw_only=True)
class Experiment(Command):
    """Settings of one run of ULMFiT. Each data set's experiment adds its own settings and loads its corpus."""

    recipes: ClassVar[dict[str, Recipe]] = RECIPES
    in_variant: ClassVar[dict[str, str]] = {
        "miniature": "miniature",
        "train_size": "{} labels",
        "shots": "{} shots",
        "labelled_only": "labelled texts only",
    }
    paper: ClassVar[float | None] = None
    """The paper's test error in % on this data, if it reports one."""

    recipe_name: Annotated[RecipeName, tyro.conf.arg(name="recipe")] = AUTO
    """Recipe to start from (with --miniature: tiny). auto is lp-ft with fewer than 300 labelled training texts, else
    default. features trains no classifier. The --recipe.… options below change its fields."""
    recipe: Recipe = RECIPES["default"]
    miniature: bool = False
    """Run on the bundled texts, without data or network, in about a minute. TREC-6, IMDb, DBpedia's dump, and
    SQuAD's training set and version v1.1 have none."""
    train_size: int | None = None
    """Keep the labels of this many training texts, stratified by class; the others are kept without labels."""
    shots: int | None = None
    """Keep the labels of this many training texts per class, drawn at random; the others are kept without labels."""
    draw: int = 0
    """Seed of the random draw of --shots."""
    labelled_only: bool = False
    """Leave out the unlabelled texts: the language model reads only the labelled ones (paper, figure 3)."""

    @abstractmethod
    def load(self, data_dir: Path | None) -> "Corpus":
        """Read the corpus from `data_dir`; None means the user's cache."""

    @property
    def dataset(self) -> str:
        return self.name

    @property
    def directions(self) -> tuple[str, ...]:
        return DIRECTIONS[self.recipe.direction]

    def resolve_auto(self, labels: int) -> Self:
        """Return the settings with recipe `auto` replaced by the one for this number of labelled training texts."""
        if self.recipe_name != AUTO:
            return self
        default, few = self.recipes["default"], self.recipes["lp-ft"]
        ours, usual = ((recipe.head, recipe.clas) for recipe in (self.recipe, default))
        if labels >= FEW_LABELS or ours != usual:  # or the user has changed how the classifier is trained
            return replace(self, recipe_name="default")
        return replace(self, recipe_name="lp-ft", recipe=replace(self.recipe, head=few.head, clas=few.clas))

    def texts(self) -> "Corpus":
        from ..corpora.sources import MINIATURE

        return self.select_labels(self.load(MINIATURE if self.miniature else self.data_directory))

    def select_labels(self, corpus: "Corpus") -> "Corpus":
        """Return the corpus with only the labels and texts that the settings keep. Raises `DataError`."""
        if self.draw and self.shots is None:
            raise DataError(f"--draw {self.draw} has no meaning without --shots")
        corpus = corpus.with_train_size(self.train_size).with_shots(self.shots, self.draw)
        return corpus.labelled() if self.labelled_only else corpus


@dataclass(frozen=True)
class Cell:
    """One run of a table or figure."""

    row: str
    """Name of the variant."""
    data: str
    """Name of the data set."""
    replicate: int | str
    """Number of the seed, fold or draw, or the name of the repetition."""
    settings: Experiment

    def __str__(self):
        sizes = {"labels": self.settings.train_size, "shots": self.settings.shots}
        return f"{self.data} {self.replicate}: {self.row}" + "".join(f", {n} {k}" for k, n in sizes.items() if n)
