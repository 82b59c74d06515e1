"""Make tables from records."""

import json
from collections import Counter
from functools import cache
from itertools import accumulate

import pandas as pd

from ..common import counted
from ..method.pretrained import SHIPPED, Pretrained
from ..record import certainty, error_name, read, run_name, settings_in_words, tokens, variant_folder
from .statistics import ALPHA, p_against, without_seed

REPEATED = ("seed", "fold", "draw")
"""Settings in which the runs of a variant differ."""


def run_table(record: dict) -> str:
    """Return the table of one run as text."""
    return classification_table(record) if "valid" in record else perplexity_table(record)


def classification_table(record: dict) -> str:
    """Return the table of one run as text: error in % of our model, of the baseline, and of the paper if it has one."""
    both = len(record["directions"]) > 1
    ours = {f"{method(record)}{', mean of both directions' if both else ''}": record}
    ours |= {f"  {d} alone": figures for d, figures in record["directions"].items() if both}
    rows = [(name, f["valid"]["error"], f["test"]["error"] if "test" in f else None) for name, f in ours.items()]
    base = record["baseline"]
    rows.append((base["method"], base["valid_error"], base.get("error")))
    lines = [[name, *("" if x is None else f"{100 * x:.2f}" for x in errors)] for name, *errors in rows]
    if record["paper"] is not None:
        lines.append(["the paper (full size, pretrained)", "", f"{record['paper']:.2f}"])
    tested = f", {record['test']['n']:,} test texts" if "test" in record else ""
    title = f"{record['corpus']['name']}: {error_name(record)} in %{tested}"
    shown = f"\n{title}\n" + pd.DataFrame(lines, columns=["", "valid", "test"]).to_string(index=False)
    return f"{shown}\n\n{certainty(record)}"


def method(record: dict) -> str:
    """Return the name of the method: ULMFiT, or logistic regression on its features."""
    return "features + LR" if record["settings"]["recipe"].get("head") == "features" else "ULMFiT"


def perplexity_table(record: dict) -> str:
    """Return the table of a pretraining run as text."""
    rows = [
        [name, f"{f['perplexity']:.1f}", f"{f['texts']:,}", f"{f['tokens']:,}", f"{100 * f['unknown']:.1f} %"]
        for name, f in record["perplexity"].items()
    ]
    return "\n" + pd.DataFrame(rows, columns=["", "perplexity", "texts", "tokens", "unknown"]).to_string(index=False)


def summary(records: list[dict], folder: str = "") -> str:
    """Return a Markdown table, a row per variant: settings, test error in % (mean ± deviation over folds and seeds).

    `folder` is the folder of committed records that the table links to; without it, nothing is linked.
    """
    groups: dict[str, list[dict]] = {}
    classified = [r for r in records if "test" in r]  # the others are pretraining runs, or have no labelled test texts
    for r, variant in zip(classified, variants_of(classified)):
        groups.setdefault(variant, []).append(r)
    rows = []
    for group in groups.values():
        first = group[0]
        few = first["settings"].get("train_size") or first["settings"].get("shots")
        both = [r for r in group if len(r["directions"]) > 1]
        rows.append(
            {
                "experiment": f"[{first['dataset']}]({folder}/{variant_folder(first)})" if folder else first["dataset"],
                "variant": first["variant"],
                "pretrained": pretrained(first),
                "direction": first["settings"]["recipe"]["direction"],
                "runs": len(group),
                "test texts": sum({r["corpus"]["name"]: r["test"]["n"] for r in group}.values()),
                "test error": _percent({r["replicate"]: r["test"] for r in group}),
                "forward": _percent({r["replicate"]: r["directions"]["forward"]["test"] for r in both}),
                "backward": _percent({r["replicate"]: r["directions"]["backward"]["test"] for r in both}),
                "TF-IDF + LR": _percent({r["replicate"]: r["baseline"] for r in group}),
                "the paper": "" if first["paper"] is None or few else f"{first['paper']:.2f}",
            }
        )
    rows.sort(key=lambda row: (row["experiment"].partition("]")[0], row["pretrained"], row["variant"]))
    return markdown(pd.DataFrame(rows))


def pretrained(record: dict) -> str:
    """Return the model that a run started from; for a shipped one, which has several versions, with its tokens read."""
    model = record["settings"]["recipe"].get("pretrained", "none")
    digests = [start["digest"] for start in record.get("pretrained", {}).values()]
    seen = max((_tokens_read().get(digest, 0) for digest in digests), default=0)
    return f"{model}, {seen / 1e6:.0f} million tokens" if seen else model


@cache
def _tokens_read() -> dict[str, int]:
    """Return digest -> number of training tokens over all cycles, for each version of the shipped models."""
    found = {}
    for folder in SHIPPED.glob("*/*"):
        record = read(folder / "record.json")
        cycles = [*record.get("chain", []), record]
        before = [cycle["pretrained"][folder.name]["digest"] for cycle in cycles[1:]]
        now = Pretrained((folder / "model.safetensors", folder / "vocab.json")).digest
        found |= zip([*before, now], accumulate(map(tokens, cycles)))
    return found


def beside_baseline(records: list[dict]) -> str:
    """Return a Markdown list: for each variant, whether it or the baseline has the lower test error, and by how much.

    The differences are tested over seeds or folds by `statistics.p_against`, corrected for all comparisons in the
    list.
    """
    records = [r for r in records if "test" in r]  # as in `summary`
    variants = variants_of(records)
    names = {variant: f"{r['dataset']}, {r['variant']}" for r, variant in zip(records, variants)}
    rows = [
        (row, variant, r["replicate"], 100 * error)
        for r, variant in zip(records, variants)
        for row, error in ((method(r), r["test"]["error"]), (r["baseline"]["method"], r["baseline"]["error"]))
    ]
    found, lines = pd.DataFrame(rows, columns=["row", "data", "replicate", "error"]), []  # a variant has one data set
    ours = found.replace({"row": "features + LR"}, "ULMFiT")
    p = {data: value for (data, _), value in p_against(ours, "ULMFiT").items()}
    for variant, part in found.groupby("data", sort=False):
        (lower, low), (_, high) = part.groupby("row")["error"].mean().sort_values(kind="stable").items()
        best = f"**{lower}** has the lower error, {low:.2f} against {high:.2f} %" if low < high else f"both {low:.2f} %"
        tested = f"{'not ' * (p[variant] >= ALPHA)}significant, p = {p[variant]:.2g}"
        runs = counted(part["replicate"].nunique(), "run")
        lines.append(f"- {names[variant]}: {best} ({runs}, {'not tested' if pd.isna(p[variant]) else tested})")
    return "\n".join(lines)


def variant_of(record: dict, but: tuple[str, ...] = REPEATED) -> str:
    """Return a key shared by records of an experiment with the same texts and, apart from `but`, the same settings."""
    same = {k: v for k, v in record["settings"].items() if k not in but}
    return json.dumps([record["experiment"], same, texts_of(record)], sort_keys=True)


def variants_of(records: list[dict]) -> list[str]:
    """Return each record's variant. Its runs may differ in precision, unless a seed, fold or draw was run in two."""
    pooled = [variant_of(r, (*REPEATED, "precision")) for r in records]
    run = {(v, r["replicate"], r["settings"].get("precision")) for v, r in zip(pooled, records)}
    in_both = {v for (v, _), n in Counter((v, replicate) for v, replicate, _ in run).items() if n > 1}
    return [variant_of(r) if v in in_both else v for v, r in zip(pooled, records)]


def texts_of(record: dict) -> str | int:
    """Return the digest of the texts; for folds and draws, which split the same texts differently, the token count."""
    settings = record["settings"]
    return record["corpus"]["tokens" if "fold" in settings or settings.get("shots") else "digest"]


def difference(*records: dict) -> pd.DataFrame:
    """Return the settings in which records differ, one row per setting and one column per record."""
    table = pd.DataFrame(map(settings_in_words, records), index=map(run_name, records), dtype=object).T
    return table[[len({repr(v) for v in row}) > 1 for row in table.to_numpy()]]


def markdown(table: pd.DataFrame) -> str:
    """Return a data frame as a Markdown table."""
    lines = [list(table), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def mean_sd(values: list[float] | pd.Series) -> str:
    """Return the mean as text, with the standard deviation (n - 1) of several values; of no values, an empty string.

    The index of a series has the replicates; the seeds of a fold count once, by their mean.
    """
    values = pd.Series(values, dtype=float).groupby(without_seed).mean()
    if len(values) > 1:
        return f"{values.mean():.2f} ± {values.std():.2f}"
    return "".join(f"{v:.2f}" for v in values)


def _percent(figures: dict[str, dict]) -> str:
    """Return mean and deviation of the errors, in %, of these figures by replicate."""
    return mean_sd(pd.Series({replicate: 100 * part["error"] for replicate, part in figures.items()}, dtype=float))
