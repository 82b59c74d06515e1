"""The notebooks run from top to bottom on the bundled texts, show their pictures, and hold no logic of their own."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from jupyter_core.utils import run_sync
from nbformat.v4 import new_code_cell, new_notebook

from scripts.notebooks import INSTALL, client, executed, pictures, source

ROOT = Path(__file__).parents[1]
PICTURES = {
    "1_the_method": 5,
    "2_sfu": 4,
    "3_dbpedia": 4,
    "4_squad": 4,
    "5_ablations": 7,
    "6_your_own_csv": 1,
    "7_comparing_runs": 2,
    "8_plain_fastai": 3,
}
SHORT = """
from dataclasses import replace
from functools import partialmethod
from fastai.text.all import Learner
from ulmfit_exp.recipe import RECIPES, Phase
tiny = RECIPES["tiny"]
lm, clas = (replace(part, phases=(Phase(freeze_to=-1), Phase()), bs=32) for part in (tiny.lm, tiny.clas))
model = replace(tiny.model, emb_sz=12, n_hid=16)
RECIPES["tiny"] = replace(tiny, pretrained="none", model=model, lm=lm, clas=clas)
Learner.lr_find = partialmethod(Learner.lr_find, num_it=30)
"""
LOGIC = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.If, ast.Try)


def path(name: str) -> Path:
    return ROOT / "notebooks" / f"{name}.ipynb"


def code(name: str) -> list:
    return [cell for cell in nbformat.read(path(name), as_version=4).cells if cell.cell_type == "code"]


def cell(code: str) -> nbformat.NotebookNode:
    return new_notebook(cells=[new_code_cell(code)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One for all notebooks, so that what they share is made once."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="module")
def kernel(folder):
    """One for all notebooks, as it takes seconds to import fastai; in it the recipe `tiny` is a shorter one."""
    starting = client(cell(SHORT), folder)
    starting.execute(cleanup_kc=False)
    yield starting.km
    run_sync(starting.km.shutdown_kernel)(now=True)


def test_every_notebook_is_listed():
    assert {p.stem for p in (ROOT / "notebooks").glob("*.ipynb")} == set(PICTURES)


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_a_notebook_runs_and_shows_its_plots(name, kernel, folder):
    client(cell("%reset -f"), folder, km=kernel).execute()
    notebook = executed(path(name), folder, km=kernel)
    assert pictures(notebook) == PICTURES[name]
    assert not [out for cell in notebook.cells for out in cell.get("outputs", ()) if out.get("name") == "stderr"]


@pytest.mark.parametrize("name", PICTURES)
def test_a_notebook_is_saved_with_its_outputs_and_no_machine_path(name):
    content = path(name).read_text(encoding="utf-8")
    assert len(content) < 400_000 and pictures(nbformat.read(path(name), as_version=4)) == PICTURES[name]
    assert [cell.execution_count for cell in code(name)] == list(range(1, len(code(name)) + 1))
    outputs = [out for cell in code(name) for out in cell.outputs]
    assert not [out for out in outputs if out.output_type == "error" or out.get("name") == "stderr"]
    shown = re.sub(r'"image/png": "[^"]*"', "", content)
    assert not re.search(r"/(home|root|tmp|Users|usr)/|/notebooks/runs/|site-packages|127\.0\.0\.1", shown)
    assert not re.search(r"\bcommit\b .?[0-9a-f]{7}", shown)


@pytest.mark.parametrize("name", PICTURES)
def test_a_notebook_is_made_from_the_template_with_the_cells_for_colab(name):
    saved = nbformat.read(path(name), as_version=4)
    assert [cell.source for cell in saved.cells] == [cell.source for cell in source(path(name)).cells]
    assert INSTALL in [cell.source for cell in saved.cells]


def parsed(name: str) -> list[ast.Module]:
    """The code of each cell but the one that installs the package, without IPython's commands."""
    sources = [cell.source for cell in code(name) if cell.source != INSTALL]
    return [ast.parse(re.sub("^%.*", "", source, flags=re.MULTILINE)) for source in sources]


@pytest.mark.parametrize("name", PICTURES)
def test_a_notebook_has_no_logic(name):
    assert not [node for cell in parsed(name) for node in ast.walk(cell) if isinstance(node, LOGIC)]
    assert max(len(cell.source.splitlines()) for cell in code(name)) <= 30


@pytest.mark.parametrize("name", PICTURES)
def test_a_notebook_imports_public_modules(name):
    page = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([\w.]+)`", page, re.MULTILINE))
    imports = [node for cell in parsed(name) for node in ast.walk(cell) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if node.module.startswith(("ulmfit_exp", "experiments", "scripts"))]
    named = {(node.module, f"{node.module}.{alias.name}") for node in ours for alias in node.names}
    assert not [names for names in named if documented.isdisjoint(names)]
    assert not re.search(r"import _|\._\w", "".join(cell.source for cell in code(name)))
