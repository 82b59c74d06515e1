"""The notebooks run from top to bottom on the bundled texts, show their pictures, and hold no logic of their own."""

import ast
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from scripts.notebooks import executed, pictures

ROOT = Path(__file__).parents[1]
PICTURES = {
    "1_the_method": 5,
    "2_sfu": 4,
    "3_dbpedia": 4,
    "4_squad": 4,
    "5_ablations": 7,
    "6_your_own_csv": 1,
    "7_comparing_runs": 2,
}
LOGIC = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.If, ast.Try)


def path(name: str) -> Path:
    return ROOT / "notebooks" / f"{name}.ipynb"


def code(name: str) -> list:
    return [cell for cell in nbformat.read(path(name), as_version=4).cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Every notebook as a run of it ends, in one folder, so that what they share is made once."""
    folder = tmp_path_factory.mktemp("notebooks")
    with ThreadPoolExecutor(2) as pool:
        return {name: pool.submit(executed, path(name), folder) for name in PICTURES}


def test_these_are_all_notebooks():
    assert {p.stem for p in (ROOT / "notebooks").glob("*.ipynb")} == set(PICTURES)


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_it_runs_and_shows_its_pictures(name, runs):
    notebook = runs[name].result()
    assert pictures(notebook) == PICTURES[name]
    assert not [out for cell in notebook.cells for out in cell.get("outputs", ()) if out.get("name") == "stderr"]


@pytest.mark.parametrize("name", PICTURES)
def test_it_is_saved_with_what_it_shows_and_nothing_of_the_machine(name):
    content = path(name).read_text(encoding="utf-8")
    assert len(content) < 400_000 and pictures(nbformat.read(path(name), as_version=4)) == PICTURES[name]
    assert [cell.execution_count for cell in code(name)] == list(range(1, len(code(name)) + 1))
    outputs = [out for cell in code(name) for out in cell.outputs]
    assert not [out for out in outputs if out.output_type == "error" or out.get("name") == "stderr"]
    shown = re.sub(r'"image/png": "[^"]*"', "", content)
    assert not re.search(r"/(home|root|tmp|Users|usr)/|site-packages|127\.0\.0\.1|\bcommit\b .?[0-9a-f]{7}", shown)


@pytest.mark.parametrize("name", PICTURES)
def test_it_holds_no_logic(name):
    for cell in code(name):
        lines = [line for line in cell.source.splitlines() if not line.startswith("%")]
        assert len(lines) <= 30 and not [
            node for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, LOGIC)
        ]
