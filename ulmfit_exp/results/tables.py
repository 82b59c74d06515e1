"""Records -> tables."""

import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from ..common import flat
from ..runs.store import Stage

TOO_FAR = 2
"""Points of error; a test set that tells only greater differences apart is called small."""


def stage_line(stage: Stage) -> None:
    """Say that a stage is there."""
    how = "reused" if stage.reused else f"{stage.info['seconds']:.0f} s"
    print(f"{stage.name:<32} {how}", flush=True)


def record(settings, run, stages: dict[str, Stage], figures: dict) -> dict:
    """What `result.json` holds: settings, texts, seed, stages, `figures`; versions, commit, machine."""
    trained = [s.info for s in stages.values() if "tokens_per_second" in s.info]
    tokens = sum(row["tokens"] for info in trained for row in info["history"])
    seconds = sum(info["seconds"] for info in trained)
    *_, last = stages.values()
    return {
        "experiment": settings.name,
        "settings": settings.settings(),
        "seed": settings.seed,
        "corpus": {
            "name": run.corpus.name,
            "digest": run.corpus.digest,
            **{k: stages["tokens"].info[k] for k in ("tokens", "vocab", "unknown")},
            **figures.pop("corpus", {}),
        },
        "pretrained": {
            d: {"digest": p.digest, **{k: stages[f"lm {d}"].info[k] for k in ("words_found", "words")}}
            for d, p in run.pretrained.items()
        },
        "model": asdict(run.recipe.model),
        "stages": [
            {
                "name": name,
                "path": f"stages/{s.name}",
                "seconds": s.info["seconds"],
                "reused": s.reused,
                "commit": s.info["by"]["commit"],
                "threads": s.info["by"]["machine"]["threads"],
                "wandb": s.info.get("wandb"),
            }
            for name, s in stages.items()
        ],
        **figures,
        "tokens_per_second": round(tokens / max(seconds, 1e-9)),
        "history": {name: s.info["history"] for name, s in stages.items() if "history" in s.info},
        **last.info["by"],
    }


def classified(run, stages: dict[str, Stage]) -> dict:
    """The figures of an experiment: its corpus, and errors and losses of ours and of the baseline."""
    done = stages["eval"].info
    figures, calibrated = done["figures"], done["calibrated"]
    return {
        "corpus": {"rows": run.corpus.counts(), "classes": run.corpus.classes},
        "valid": {k: figures["mean"]["valid"][k] for k in ("error", "loss")},
        "test": figures["mean"]["test"],
        "interval": done["interval"],
        "per_class": done["per_class"],
        "confusion": done["confusion"],
        "calibration": {
            "temperature": done["temperature"],
            **{
                f"{split} {k}": {"before": figures["mean"][split][k], "after": calibrated[split][k]}
                for split in ("valid", "test")
                for k in ("loss", "ece")
            },
        },
        "directions": {d: f for d, f in figures.items() if d != "mean"},
        "baseline": {k: v for k, v in stages["baseline"].info.items() if k not in ("seconds", "by")},
    }


def table(record: dict) -> str:
    """One run as text: error in % of ours, of the baseline, and the paper's figure where there is one."""
    rows = [("ULMFiT", record["valid"]["error"], record["test"]["error"])]
    if len(record["directions"]) > 1:
        rows[0] = ("ULMFiT, mean of both directions", *rows[0][1:])
        rows += [(f"  {d} alone", f["valid"]["error"], f["test"]["error"]) for d, f in record["directions"].items()]
    base = record["baseline"]
    rows.append((base["method"], base["valid_error"], base["error"]))
    lines = [[name, f"{100 * valid:.2f}", f"{100 * test:.2f}"] for name, valid, test in rows]
    if record["paper"] is not None:
        lines.append(["the paper (full size, pretrained)", "", f"{record['paper']:.2f}"])
    title = f"{record['corpus']['name']}: error in %, {record['test']['n']:,} test texts"
    shown = f"\n{title}\n" + pd.DataFrame(lines, columns=["", "valid", "test"]).to_string(index=False)
    return f"{shown}\n\n{certainty(record)}"


def certainty(record: dict) -> str:
    """How sure the test error and the probabilities are, in words."""
    (low, high), n, c = record["interval"], record["test"]["n"], record["calibration"]
    apart = 100 * 1.96 * (2 * (low + high) / 2 * (1 - (low + high) / 2) / n) ** 0.5
    text = f"test error between {100 * low:.1f} and {100 * high:.1f} (95 % interval)"
    if apart > TOO_FAR:
        text += f"; {n:,} test texts are too few to tell recipes apart that differ by less than {apart:.0f} points"
    before, after = (100 * c["test ece"][k] for k in ("before", "after"))
    text += f"\nconfidence is off by {before:.1f} points on test, and by {after:.1f} at a temperature of "
    return f"{text}{c['temperature']:.2f}, fitted on valid"


def perplexity_table(record: dict) -> str:
    """A pretraining run as text."""
    rows = [
        [name, f"{f['perplexity']:.1f}", f"{f['texts']:,}", f"{f['tokens']:,}", f"{100 * f['unknown']:.1f} %"]
        for name, f in record["perplexity"].items()
    ]
    return "\n" + pd.DataFrame(rows, columns=["", "perplexity", "texts", "tokens", "unknown"]).to_string(index=False)


def how_to_look(record: dict, home: Path) -> str:
    """Commands that show the run in W&B's own tools, one run of theirs a stage."""
    runs = [f"{home}/{s['wandb']}" for s in record["stages"] if s["wandb"]]
    if not runs:
        return ""
    return "\n".join(
        [
            "",
            f"runs beside each other:  python scripts/report.py {home}",
            f"the same in a dashboard: python scripts/dashboard.py --home {home}",
            f"curves in the terminal:  wandb leet {home}/wandb",
            f"one run's figures:       wandb leet inspect --summary {runs[-1]}",
            f"to your W&B account:     wandb sync {' '.join(runs)}",
        ]
    )


def summary(records: list[dict]) -> str:
    """Markdown: a row for each experiment with its settings; test error in %, mean ± deviation over folds and seeds."""
    groups: dict[str, list[dict]] = {}
    for r in records:
        if "test" not in r:  # a pretraining run
            continue
        same = {k: v for k, v in r["settings"].items() if k not in ("seed", "fold")}
        groups.setdefault(json.dumps([r["experiment"], same], sort_keys=True), []).append(r)
    rows = []
    for group in groups.values():
        first = group[0]
        labels = first["settings"].get("train_size")
        rows.append(
            {
                "experiment": first["corpus"]["name"].split("-fold")[0] + (f", {labels} labels" if labels else ""),
                "recipe": first["settings"]["recipe_name"],
                "pretrained": first["settings"]["recipe"].get("pretrained", "none"),
                "direction": first["settings"]["recipe"]["direction"],
                "runs": len(group),
                "test texts": sum(r["test"]["n"] for r in group),
                "ULMFiT": _percent([r["test"]["error"] for r in group]),
                "forward": _percent([r["directions"]["forward"]["test"]["error"] for r in group if _both(r)]),
                "backward": _percent([r["directions"]["backward"]["test"]["error"] for r in group if _both(r)]),
                "TF-IDF + LR": _percent([r["baseline"]["error"] for r in group]),
                "the paper": "" if first["paper"] is None else f"{first['paper']:.2f}",
            }
        )
    rows.sort(key=lambda row: (row["experiment"], row["pretrained"], row["recipe"]))
    return markdown(pd.DataFrame(rows))


def name(record: dict) -> str:
    """A run in a few words."""
    settings = record["settings"]
    start = settings["recipe"].get("pretrained", "none").replace("none", "random weights")
    return f"{record['corpus']['name']}, {settings['recipe_name']} from {start}, seed {record['seed']}"


def difference(*records: dict) -> pd.DataFrame:
    """The settings in which some records differ: a row a setting, a column a record."""
    table = pd.DataFrame([flat(r["settings"]) for r in records], index=map(name, records), dtype=object).T
    return table[[len({repr(v) for v in row}) > 1 for row in table.to_numpy()]]


def mistakes(path: Path) -> list[dict]:
    """The most confident mistakes on test that the evaluation of a run's `result.json` left; none of another record."""
    last = json.loads(path.read_text(encoding="utf-8"))["stages"][-1]["path"]
    kept = path.parents[2] / last / "mistakes.json"
    return json.loads(kept.read_text(encoding="utf-8")) if path.name == "result.json" and kept.is_file() else []


def markdown(table: pd.DataFrame) -> str:
    """A Markdown table."""
    lines = [list(table), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _both(record: dict) -> bool:
    return len(record["directions"]) > 1


def spread(values: list[float]) -> str:
    """Mean, and standard deviation (n - 1) where there are several; nothing of none."""
    values = pd.Series(values, dtype=float)
    if len(values) > 1:
        return f"{values.mean():.2f} ± {values.std():.2f}"
    return "".join(f"{v:.2f}" for v in values)


def _percent(errors: list[float]) -> str:
    return spread([100 * e for e in errors])
