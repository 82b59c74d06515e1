"""ULMFiT with and without a pretrained language model, on 112 bundled texts of 14 classes.

Trains the same network by the same recipe from the shipped language model and from random weights, forward, on the
bundled texts in DBpedia's layout, and prints both beside TF-IDF + logistic regression. The task was chosen among the
bundled ones by cross-validation on its training texts. Everything is in fp32 with one seed and on one thread, because
the order of sums depends on the number of threads. 42 test texts are a demonstration, not a measurement: on another
processor one or two of them may be classified differently.
"""

from dataclasses import replace
from pathlib import Path

from ulmfit_exp.cli import command, import_part, interrupted
from ulmfit_exp.recipe import RECIPES, Model, changed
from ulmfit_exp.runs.settings import Wandb

TINY = RECIPES["tiny"]
RECIPE = replace(
    TINY,
    direction="forward",
    vocab="union",
    clas=replace(TINY.clas, phases=changed(TINY.clas.phases, decay=1.3)),
)


def main(home: Path = Path("runs"), wandb: Wandb = "auto") -> None:
    """Run the demonstration.

    Args:
        home: Folder for stages, records and W&B runs; finished stages there are reused.
        wandb: Weights & Biases: auto is online when logged in, else offline.
    """
    import torch

    from ulmfit_exp.runs.run import run

    torch.set_num_threads(1)
    experiment = import_part("experiments").experiment("dbpedia")
    base = experiment(recipe_name="tiny", recipe=RECIPE, miniature=True, precision="fp32", home=home, wandb=wandb)
    with interrupted():
        pretrained, path = run(base)
        same = replace(RECIPE, pretrained="none", model=Model(**pretrained["model"]))
        scratch, _ = run(replace(base, recipe=same))
    rows = {
        "ULMFiT, pretrained": pretrained["test"]["error"],
        "the same from random weights": scratch["test"]["error"],
        "TF-IDF + logistic regression": pretrained["baseline"]["error"],
    }
    print(f"\n14 classes, {pretrained['corpus']['rows']['train']} training texts: test error in %")
    for name, error in rows.items():
        print(f"  {name:<30} {100 * error:5.1f}  {'█' * round(40 * error)}")
    print(f"\nrecord: {path}")


if __name__ == "__main__":
    command("demo", main)
