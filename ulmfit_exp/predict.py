"""A finished run's classifier on new texts.

    ulmfit-exp predict runs/runs/NAME texts.csv --text-col body --out predictions.csv
    echo "A fine book." | ulmfit-exp predict runs/runs/NAME -

CSV, TSV, JSON lines, Parquet, or plain text with a text a line; also packed by gzip, bzip2, xz or zip. A row for each
text in its order: class, confidence, the probability of each class. The run's folder may have been moved or copied from
another machine.
"""

from pathlib import Path

import tyro

from .cli import command


def main(
    run: tyro.conf.Positional[Path],
    texts: tyro.conf.Positional[str],
    out: Path | None = None,
    text_col: str = "text",
) -> None:
    """Predict the classes of texts.

    Args:
        run: Folder of a finished run, or its result.json.
        texts: A file, or - for standard input, a text a line.
        out: Where to write; default: standard output.
        text_col: Column or field of the text; a number counts the columns, from 0, of a CSV without header.
    """
    from .inference.predict import main  # imports torch, for which --help does not wait

    main(run, texts, out, text_col)


if __name__ == "__main__":
    command("predict", main)
