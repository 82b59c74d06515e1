"""Run every notebook from top to bottom and save it with its output.

python scripts/notebooks.py                    all of them, two at a time; they share notebooks/runs
python scripts/notebooks.py notebooks/2*.ipynb --check

The notebooks of the data sets are made from notebooks/template/, so change them there; edit all others directly. The
cells for Colab are inserted after the first cell. Output that depends on the time or the machine is not saved: timings,
versions, progress bars, and the output of cells tagged `progress`. Pictures are saved in 128 colours, which takes a
third of the bytes.
"""

import os
import re
import sys
import time
import tomllib
from base64 import b64decode, b64encode
from concurrent.futures import ThreadPoolExecutor, as_completed
from io import BytesIO
from pathlib import Path
from string import Template

import nbformat
import tyro
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

from ulmfit_exp.cli import clean_exit

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
TEMPLATE = FOLDER / "template"
DATA_SETS = tomllib.loads((TEMPLATE / "data_sets.toml").read_text(encoding="utf-8"))
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
REPOSITORY = URLS.get("Repository", "https://github.com/OWNER/ulmfit-exp")
INSTALL = f"""\
import sys

if "google.colab" in sys.modules:  # elsewhere the package is installed already
    %pip install -q git+{REPOSITORY}"""
CODE = re.compile(r"^```python(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
BAR = re.compile(r"\s*(<div></div>|<style>\s*progress .*)?", re.DOTALL)
"""HTML that a finished progress bar of fastai leaves behind."""
KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def source(path: Path) -> nbformat.NotebookNode:
    """Return a notebook ready to run, with the cells for Colab; a data set's notebook is made from the template."""
    notebook = from_template(DATA_SETS[path.stem]) if path.stem in DATA_SETS else nbformat.read(path, as_version=4)
    first, *others = (cell for cell in notebook.cells if cell.id not in ("colab", "install"))
    colab = REPOSITORY.replace("https://", "https://colab.research.google.com/").replace("github.com", "github")
    owner = "; OWNER is the account that has the repository" * ("OWNER" in REPOSITORY)
    badge = new_markdown_cell(f"[Open in Colab]({colab}/blob/main/notebooks/{path.name}){owner}", id="colab")
    notebook.cells = [first, badge, new_code_cell(INSTALL, id="install"), *others]
    return notebook


def from_template(words: dict[str, str]) -> nbformat.NotebookNode:
    """Return the notebook of a data set, a cell for each code block of the template and each text between two."""
    text = (TEMPLATE / "cells.md").read_text(encoding="utf-8")
    about, *rest = CODE.split(Template(text).substitute({k: v.strip() for k, v in words.items()}))
    cells = [new_markdown_cell(about.strip(), id="about")]
    for i, (tag, code, prose) in enumerate(zip(rest[0::3], rest[1::3], rest[2::3])):
        cells.append(new_code_cell(code.strip(), id=f"code-{i}", metadata={"tags": tag.split()} if tag else {}))
        cells += [new_markdown_cell(prose.strip(), id=f"text-{i}")] if prose.strip() else []
    return new_notebook(cells=cells)


def client(notebook: nbformat.NotebookNode, folder: Path, **options) -> NotebookClient:
    """Return a client that runs a notebook in `folder`, in a kernel of its own unless `options` has a `km`."""
    quiet = ["--IPKernelApp.log_level=ERROR"]
    options |= {"timeout": 600, "kernel_name": "python3", "record_timing": False, "extra_arguments": quiet}
    return NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}, **options)


def executed(path: Path, folder: Path, **options) -> nbformat.NotebookNode:
    """Run a notebook from top to bottom in `folder` and return it with its output. Raises `CellExecutionError`."""
    notebook = source(path)
    client(notebook, folder, **options).execute()
    notebook.metadata = KERNEL
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        bars = [out for out in cell.outputs if BAR.fullmatch(out.get("data", {}).get("text/html", "no HTML"))]
        unsaved = cell.outputs if "progress" in cell.metadata.get("tags", ()) else bars
        cell.outputs = [out for out in cell.outputs if out not in unsaved]
        for data in (out.data for out in cell.outputs if "image/png" in out.get("data", ())):
            data["image/png"] = smaller(data["image/png"])
    return notebook


def smaller(png: str) -> str:
    """Return a picture in fewer colours; both are PNG as base64."""
    picture = Image.open(BytesIO(b64decode(png))).convert("RGB")
    picture = picture.quantize(128, Image.Quantize.MAXCOVERAGE)  # other methods lose the colours of thin lines
    picture.save(saved := BytesIO(), "png", optimize=True)
    return b64encode(saved.getvalue()).decode()


def pictures(notebook: nbformat.NotebookNode) -> int:
    """Return the number of pictures that a notebook shows."""
    return sum("image/png" in out.get("data", ()) for cell in notebook.cells for out in cell.get("outputs", ()))


def main(paths: tyro.conf.Positional[tuple[Path, ...]] = (), check: bool = False, jobs: int = 2) -> None:
    """Run notebooks and save them.

    Args:
        paths: Notebooks to run (default: all).
        check: Save nothing; exit with the number of notebooks that fail, or show another number of pictures than saved.
        jobs: Number of notebooks to run at once, a thread each.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # figures depend on the number of threads
    try:
        sys.exit(run_all(paths or tuple(sorted(FOLDER.glob("*.ipynb"))), check, jobs))
    except KeyboardInterrupt:
        os._exit(130)  # threads wait for their kernels; without this process the kernels end


def run_all(paths: tuple[Path, ...], check: bool, jobs: int) -> int:
    """Return how many notebooks failed or, with `check`, show another number of pictures than the saved ones."""
    wrong, start = 0, time.monotonic()
    pool = ThreadPoolExecutor(jobs)
    under_way = {pool.submit(executed, path, FOLDER): path for path in paths}
    for i, done in enumerate(as_completed(under_way), 1):
        path = under_way[done]
        try:
            notebook = done.result()
            outcome = f"{pictures(notebook)} pictures"
            if not check:
                nbformat.write(notebook, path)
            elif pictures(notebook) != (saved := pictures(nbformat.read(path, as_version=4))):
                outcome, wrong = f"{outcome}, {saved} saved", wrong + 1
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as e:
            outcome, wrong = f"failed\n{e}", wrong + 1
        print(f"{i}/{len(paths)}  {path.name}  {outcome}  {time.monotonic() - start:.0f} s", flush=True)
    return wrong


if __name__ == "__main__":
    with clean_exit():
        tyro.cli(main, description=__doc__, config=(tyro.conf.FlagCreatePairsOff,))
