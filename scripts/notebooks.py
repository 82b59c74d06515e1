"""Run every notebook from top to bottom and save it with what it shows.

python scripts/notebooks.py                    all of them, two at a time; they share notebooks/runs
python scripts/notebooks.py notebooks/2*.ipynb --check

What depends on the time or the machine is not saved: timings, versions, and the output of cells tagged `progress`.
Pictures are saved in 128 colours, which are a third of the bytes.
"""

import os
import sys
import time
from base64 import b64decode, b64encode
from concurrent.futures import ThreadPoolExecutor, as_completed
from io import BytesIO
from pathlib import Path

import nbformat
import tyro
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

from ulmfit_exp.cli import ending_well

FOLDER = Path(__file__).parents[1] / "notebooks"
KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """A notebook as its run from top to bottom in `folder` leaves it. Raises `CellExecutionError`."""
    notebook = nbformat.read(path, as_version=4)
    quiet = ["--IPKernelApp.log_level=ERROR"]
    options = {"timeout": 600, "kernel_name": "python3", "record_timing": False, "extra_arguments": quiet}
    NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}, **options).execute()
    notebook.metadata = KERNEL
    for cell in notebook.cells:
        if "progress" in cell.metadata.get("tags", ()):
            cell.outputs = []
        for data in (out.data for out in cell.get("outputs", ()) if "image/png" in out.get("data", ())):
            data["image/png"] = smaller(data["image/png"])
    return notebook


def smaller(png: str) -> str:
    """A picture in few colours; both are PNG as base64."""
    picture = Image.open(BytesIO(b64decode(png))).convert("RGB").quantize(128)
    picture.save(saved := BytesIO(), "png", optimize=True)
    return b64encode(saved.getvalue()).decode()


def pictures(notebook: nbformat.NotebookNode) -> int:
    """How many pictures a notebook shows."""
    return sum("image/png" in out.get("data", ()) for cell in notebook.cells for out in cell.get("outputs", ()))


def main(paths: tyro.conf.Positional[tuple[Path, ...]] = (), check: bool = False, jobs: int = 2) -> None:
    """Run notebooks and save them.

    Args:
        paths: Which (default: all).
        check: Save nothing; exit code 1 where one fails or shows another number of pictures than it was saved with.
        jobs: How many at once, a thread each.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # figures are the same for the same number of threads
    try:
        sys.exit(run_all(paths or tuple(sorted(FOLDER.glob("*.ipynb"))), check, jobs))
    except KeyboardInterrupt:
        os._exit(130)  # threads wait for their kernels; without this process the kernels end


def run_all(paths: tuple[Path, ...], check: bool, jobs: int) -> int:
    """How many notebooks failed, or show another number of pictures than they were saved with."""
    wrong, start = 0, time.monotonic()
    pool = ThreadPoolExecutor(jobs)
    under_way = {pool.submit(executed, path, FOLDER): path for path in paths}
    for i, done in enumerate(as_completed(under_way), 1):
        path = under_way[done]
        try:
            notebook, saved = done.result(), nbformat.read(path, as_version=4)
            said = f"{pictures(notebook)} pictures"
            if check and pictures(notebook) != pictures(saved):
                said, wrong = f"{said}, {pictures(saved)} saved", wrong + 1
            if not check:
                nbformat.write(notebook, path)
        except CellExecutionError as e:
            said, wrong = f"failed\n{e}", wrong + 1
        print(f"{i}/{len(paths)}  {path.name}  {said}  {time.monotonic() - start:.0f} s", flush=True)
    return wrong


if __name__ == "__main__":
    with ending_well():
        tyro.cli(main, description=__doc__, config=(tyro.conf.FlagCreatePairsOff,))
