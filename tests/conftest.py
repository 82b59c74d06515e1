"""What the tests share: runs in miniature that take seconds, in a fresh home, without a network."""

import os
import shutil
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: figures depend on it
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.pop("ULMFIT_EXP_DATA", None)

from experiments.sfu import Sfu
from ulmfit_exp.recipe import RECIPES, Phase

LOCAL = ("file:", "blob:", "data:", "http://127.0.0.1", "ws://127.0.0.1")
SHARED = Path(__file__).parents[2] / "shared" / "data"
TINY = RECIPES["tiny"]
# Two phases for each task: enough for a kill between phases and within one. An epoch is four steps of the classifier.
QUICK = replace(
    TINY,
    pretrained="none",
    model=replace(TINY.model, emb_sz=12, n_hid=16),
    lm=replace(TINY.lm, bs=32, phases=(Phase(epochs=2, decay=1.0, schedule="one_cycle"), Phase(epochs=1))),
    clas=replace(TINY.clas, bs=28, phases=(Phase(freeze_to=-1), Phase(freeze_to=0, epochs=2))),
)
FORWARD = replace(QUICK, direction="forward")
QUIET = {"wandb": "disabled", "precision": "fp32"}


def pytest_collection_modifyitems(items):
    """The longest files first: with two processes (make test) none is then left alone with a long file."""
    longest = ("test_paper", "test_experiments", "test_commands", "test_tracking", "test_notebooks", "test_page")
    longest += ("test_dashboard", "test_user_table", "test_hostile", "test_tokens", "test_training")
    items.sort(key=lambda item: longest.index(item.path.stem) if item.path.stem in longest else len(longest))


@pytest.fixture
def shared() -> Path:
    """The folder of real data, where it is beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("no real data beside the checkout")
    return SHARED


@pytest.fixture
def sfu(tmp_path) -> Sfu:
    """A forward SFU run in miniature, of seconds, in its own home."""
    return Sfu(recipe_name="tiny", recipe=FORWARD, miniature=True, home=tmp_path / "home", **QUIET)


@pytest.fixture(scope="session")
def finished_home(tmp_path_factory) -> Path:
    """The home of a finished run in miniature, of both directions. Tests have copies of it, from `finished`."""
    from ulmfit_exp.cli import run

    home = tmp_path_factory.mktemp("finished")
    run(Sfu(recipe_name="tiny", recipe=QUICK, miniature=True, home=home, **QUIET))
    return home


@pytest.fixture
def finished(finished_home, sfu) -> Sfu:
    """The settings of a run in miniature that is finished, of both directions, in its own home."""
    shutil.copytree(finished_home, sfu.home)
    return replace(sfu, recipe=QUICK)


@pytest.fixture
def in_process(monkeypatch):
    """Grids run their cells in this process, which has imported fastai; a new one takes seconds to."""
    from ulmfit_exp.runs import workers

    def submit(settings, log) -> Future:
        future = Future()
        future.set_result(workers.work(settings, log))
        return future

    here = workers.Workers(submit, slots=lambda: 1)
    monkeypatch.setattr(workers, "pool", lambda jobs, device: nullcontext(here))


@pytest.fixture(scope="session")
def quick_tokens(tmp_path_factory):
    """The SFU miniature and its tokens."""
    from ulmfit_exp.corpora import sfu, sources
    from ulmfit_exp.method.tokens import read_tokens, write_tokens

    corpus, folder = sfu.load(sources.MINIATURE, "category"), tmp_path_factory.mktemp("tokens")
    write_tokens(corpus.documents(), folder, QUICK.max_vocab, QUICK.min_freq)
    return corpus, read_tokens(folder)


@pytest.fixture(scope="session")
def one_learner(quick_tokens):
    """A function that makes a fresh learner for lm or clas, with the same first weights each time for a seed."""
    from fastai.text.all import set_seed

    from ulmfit_exp.method import learners
    from ulmfit_exp.method.batches import dls_clas, dls_lm
    from ulmfit_exp.method.progress import quiet

    corpus, tokens = quick_tokens

    def make(task: str = "clas"):
        set_seed(1)
        if task == "lm":
            dls = dls_lm(tokens, QUICK.lm.bs, QUICK.seq_len, backwards=False)
            return quiet(learners.lm_learner(dls, QUICK, "fp32"))
        dls = dls_clas(tokens, corpus, QUICK.clas.bs, backwards=False)
        return quiet(learners.clas_learner(dls, len(corpus.classes), QUICK, "fp32"))

    return make


@pytest.fixture(scope="module")
def chromium():
    """Headless Chromium, started once for a module."""
    expect.set_options(timeout=60_000)  # a slow machine draws for seconds
    with sync_playwright() as play:
        own = play.chromium.executable_path  # of `playwright install chromium`
        found = shutil.which("chromium") or shutil.which("chromium-browser") or own
        if not Path(found).exists():
            pytest.skip("no Chromium on this machine")
        started = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def browser(chromium):
    """A function that opens an address in a new browser profile; fails afterwards where the page had an error or asked
    another host."""
    opened, wrong = [], []

    def view(address: str, scheme: str = "light"):
        opened.append(chromium.new_context(color_scheme=scheme))
        page = opened[-1].new_page()
        page.on("pageerror", lambda e: wrong.append(f"{e}"))
        page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
        page.on("request", lambda r: wrong.append(r.url) if not r.url.startswith(LOCAL) else None)
        page.goto(address)
        return page

    yield view
    for profile in opened:
        profile.close()
    assert wrong == []
