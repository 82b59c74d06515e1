"""Try every loader on damaged and hostile files: it must return a corpus or one clear error, soon, in bounded memory.

python scripts/dev/fuzz.py sfu                  a minute of inputs made from the bundled texts
python scripts/dev/fuzz.py all --minutes 30     each loader in its turn
python scripts/dev/fuzz.py table --only 1234    one input again, with its traceback

For a given seed, input N of a loader is the same on any machine: files in the publisher's layout, changed as in
inputs.py. A finding is an error other than DataError or OSError, a message that is empty or longer than 2,000
characters, --hang seconds of processor time, or --memory additional megabytes. The exit code is 1 if there was a
finding, or if a loader read no input.

atheris was tried on the reader of tables: in 90 seconds it found nothing either. It is not used, because it changes the
bytes of one file, while most of these inputs are folders and archives of several, and because it is guided by the
coverage of Python code, while the bytes are parsed in C.
"""

import bz2
import faulthandler
import gc
import io
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from random import Random
from typing import Literal

import inputs
import tyro
from inputs import Files
from tqdm import tqdm

from ulmfit_exp.cli import clean_exit
from ulmfit_exp.common import DataError
from ulmfit_exp.corpora import dbpedia, imdb, sfu, squad, trec
from ulmfit_exp.corpora.corpus import Corpus
from ulmfit_exp.corpora.documents import open_documents


@dataclass(frozen=True)
class Loader:
    """A function that makes valid files, and the loader that reads them."""

    files: Callable[[Random], Files]
    load: Callable[[Path, Random], object]
    archive: tuple[str, ...] = ()
    """Paths of archives in which the files may be packed instead; the suffix gives the format."""


def load_table(folder: Path, rng: Random):
    path = min(folder.iterdir(), default=folder / "absent")
    columns = [{"split_col": "split"}] if path.is_dir() else [{"text_col": "body"}, {"label_col": "stars"}]
    with redirect_stdout(io.StringIO()):
        corpus = Corpus.from_csv(path, **rng.choice([{}, *columns]))
    "\n".join(corpus.notes).encode()
    return corpus


def load_documents(folder: Path, rng: Random):
    list(open_documents(str(min(folder.iterdir(), default=folder / "absent")), None).documents())


def load_pretrained(folder: Path, rng: Random):
    from ulmfit_exp.method.pretrained import resolve

    what = "wt103-fwd" if (folder / "wt103").exists() else str(folder / "m")
    weights, vocab = resolve(what, ("forward",), folder)["forward"].content
    assert len(vocab) == len(weights["0.encoder.weight"])


LOADERS = {
    "sfu": Loader(
        lambda rng: inputs.miniature("sfu"),
        lambda folder, rng: sfu.load(folder, rng.choice(["sentiment", "category"]), rng.randrange(5)),
        ("sfu/SFU_Review_Corpus_Raw.zip",),
    ),
    "dbpedia-csv": Loader(
        lambda rng: {f"dbpedia_csv/{k}": v for k, v in inputs.miniature("dbpedia_csv").items()},
        lambda folder, rng: dbpedia.load(folder),
        ("dbpedia_csv/dbpedia_csv.tar.gz",),
    ),
    "dbpedia-classes": Loader(
        lambda rng: inputs.miniature("dbpedia_classes"),
        lambda folder, rng: dbpedia.load(folder, rng.choice(["l1", "l2", "l3"])),
    ),
    "dbpedia-dump": Loader(
        lambda rng: {k: bz2.compress(v) for k, v in inputs.dump_files(rng).items()},
        lambda folder, rng: dbpedia.load(folder, "dump", ("Film", "Album"), 12),
    ),
    "squad": Loader(
        lambda rng: inputs.miniature("squad"),
        lambda folder, rng: squad.load(folder, rng.choice(["topic", "answerable"])),
    ),
    "trec": Loader(inputs.trec_files, lambda folder, rng: trec.load(folder)),
    "imdb": Loader(inputs.imdb_files, lambda folder, rng: imdb.load(folder), ("imdb/aclImdb_v1.tar.gz",)),
    "table": Loader(inputs.table_files, load_table, ("a.csv.zip", "a.zip")),
    "pretrained": Loader(inputs.pretrained_files, load_pretrained),
    "documents": Loader(inputs.documents_files, load_documents, ("d.zip", "d.tar.gz", "d.tar.xz")),
}  # fmt: skip


def make(loader: Loader, rng: Random, n: int) -> Files:
    """Return input `n`: 0 is the valid files; others have up to four changes, and may be packed in an archive."""
    files = loader.files(rng)
    for _ in range(rng.choice([1, 1, 2, 4]) if n else 0):
        name = rng.choice(list(files))
        kind = rng.random()
        if kind < 0.04 and len(files) > 1:
            del files[name]
        elif kind < 0.12:
            parts, i = name.split("/"), rng.randrange(name.count("/") + 1)
            parts[i] = rng.choice(inputs.PARTS) + rng.choice(["", Path(parts[i]).suffix])
            files["/".join(parts)] = files.pop(name) if rng.random() < 0.5 else files[name]
        else:
            files[name] = inputs.mutate(files[name], rng)
    if n and loader.archive and rng.random() < 0.5:
        name = rng.choice(loader.archive)
        data = inputs.packed(files, name, rng)
        files = {name: inputs.flipped(data, rng) if rng.random() < 0.3 else data}
    return files


class Hang(BaseException):
    """Raised when an input takes too much processor time."""


def attempt(name: str, seed: int, n: int, hang: float) -> BaseException | None:
    """Return the error that a loader raised on input `n`, if any."""

    def stop(*_):
        raise Hang

    loader, rng = LOADERS[name], Random(f"{name} {seed} {n}")
    with tempfile.TemporaryDirectory() as folder:
        for path, data in make(loader, rng, n).items():
            target = Path(folder) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        signal.signal(signal.SIGPROF, stop)
        signal.setitimer(signal.ITIMER_PROF, hang)
        try:
            found = loader.load(Path(folder), rng)
            if isinstance(found, Corpus):
                assert len(found.digest) == 64
        except KeyboardInterrupt:
            raise
        except BaseException as e:
            return e
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    return None


def clear(error: BaseException | None) -> bool:
    return error is None or (isinstance(error, DataError | OSError) and 0 < len(str(error)) <= 2000)


def fuzz(name: str, minutes: float, seed: int, hang: float) -> int:
    """Fuzz one loader and return the number of findings, each kind printed once; 1 if the loader read no input."""
    counts, found, end = Counter(), set(), time.monotonic() + 60 * minutes
    for n in tqdm(takewhile(lambda _: time.monotonic() < end, count()), name, unit=" inputs", disable=None):
        error = attempt(name, seed, n, hang)
        counts["read" if error is None else "refused" if clear(error) else "findings"] += 1
        if not clear(error):
            where = traceback.extract_tb(error.__traceback__)[-1]
            if (what := (type(error), where.name)) not in found:
                found.add(what)
                tqdm.write(f"{name} --seed {seed} --only {n}: {what[0].__name__} in {what[1]}: {str(error)[:200]!r}")
        del error
        if n % 100 == 0:
            gc.collect()  # a traceback's frames hold inputs of many megabytes, which gc does not count
    how = ", ".join(f"{counts[k]:,} {k}" for k in ("read", "refused", "findings"))
    print(f"{name}: seed {seed}, {counts.total():,} inputs in {minutes:g} min: {how}", flush=True)
    return counts["findings"] or not counts["read"]


def main(
    loader: tyro.conf.Positional[Literal[(*LOADERS, "all")]],
    minutes: float = 1,
    seed: int = 0,
    only: int | None = None,
    hang: float = 10,
    memory: int = 1500,
) -> None:
    """Fuzz loaders.

    Args:
        loader: Loader to fuzz; all takes each in turn.
        minutes: Minutes for each loader.
        seed: Seed of the inputs.
        only: Try this input alone and show its traceback.
        hang: Seconds of processor time that an input may take.
        memory: Megabytes that the process may grow by.
    """
    faulthandler.enable()
    if loader in ("pretrained", "all"):
        inputs.tiny_model()  # torch's own memory does not count
    if loader in ("table", "all"):
        # Arrow reserves a gigabyte of addresses when it is first used.
        inputs.own_rows().to_parquet(io.BytesIO())
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + memory * 2**20,) * 2)
    if only is not None:
        error = attempt(loader, seed, only, hang)
        traceback.print_exception(error) if error else print("read")
        sys.exit(not clear(error))
    sys.exit(any([fuzz(name, minutes, seed, hang) for name in (LOADERS if loader == "all" else [loader])]))


if __name__ == "__main__":
    with clean_exit():
        tyro.cli(main, description=__doc__)
