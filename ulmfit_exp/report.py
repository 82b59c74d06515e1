"""Records -> tables."""

from pathlib import Path

import pandas as pd

from .store import Stage


def stage_line(stage: Stage) -> None:
    """Say that a stage is there."""
    how = "reused" if stage.reused else f"{stage.info['seconds']:.0f} s"
    print(f"{stage.name:<32} {how}", flush=True)


def record(settings, run, stages: dict[str, Stage]) -> dict:
    """What `result.json` holds: settings, data, seed, stages, figures, versions, commit and machine."""
    from .machine import description

    figures = stages["eval"].info["figures"]
    trained = [s.info for s in stages.values() if "tokens_per_second" in s.info]
    tokens = sum(row["tokens"] for info in trained for row in info["history"])
    seconds = sum(info["seconds"] for info in trained)
    return {
        "experiment": settings.name,
        "settings": settings.settings(),
        "seed": settings.seed,
        "corpus": {
            "name": run.corpus.name,
            "digest": run.corpus.digest,
            "rows": run.corpus.counts(),
            "classes": run.corpus.classes,
            **{k: stages["tokens"].info[k] for k in ("tokens", "vocab", "unknown")},
        },
        "stages": [
            {
                "name": name,
                "path": f"stages/{s.name}",
                "seconds": s.info["seconds"],
                "reused": s.reused,
                "wandb": s.info.get("wandb"),
            }
            for name, s in stages.items()
        ],
        "valid": {k: figures["mean"]["valid"][k] for k in ("error", "loss")},
        "test": figures["mean"]["test"],
        "directions": {d: f for d, f in figures.items() if d != "mean"},
        "baseline": {k: v for k, v in stages["baseline"].info.items() if k != "seconds"},
        "paper": settings.paper,
        "tokens_per_second": round(tokens / max(seconds, 1e-9)),
        "history": {name: s.info["history"] for name, s in stages.items() if "history" in s.info},
        **description(),
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
    title = f"{record['corpus']['name']}: error in %, {record['corpus']['rows']['test']:,} test texts"
    return f"\n{title}\n" + pd.DataFrame(lines, columns=["", "valid", "test"]).to_string(index=False)


def how_to_look(record: dict, home: Path) -> str:
    """Commands that show the run in W&B's own tools, one run of theirs a stage."""
    runs = [f"{home}/{s['wandb']}" for s in record["stages"] if s["wandb"]]
    if not runs:
        return ""
    return "\n".join(
        [
            "",
            f"curves in the terminal:  wandb leet {home}/wandb",
            f"one run's figures:       wandb leet inspect --summary {runs[-1]}",
            f"to your W&B account:     wandb sync {' '.join(runs)}",
        ]
    )


def summary(records: list[dict]) -> str:
    """Markdown: a row an experiment and recipe, test error in % as mean ± deviation over its folds and seeds."""
    rows = []
    for r in records:
        name = r["corpus"]["name"].split("-fold")[0]
        alone = {d: f["test"]["error"] for d, f in r["directions"].items()} if len(r["directions"]) > 1 else {}
        rows.append(
            {
                "experiment": name,
                "recipe": r["settings"]["recipe_name"],
                "runs": 1,
                "ULMFiT": r["test"]["error"],
                **alone,
                "TF-IDF + LR": r["baseline"]["error"],
                "paper": r["paper"],
            }
        )
    df = pd.DataFrame(rows)
    lines = []
    for (name, recipe), group in df.groupby(["experiment", "recipe"], sort=False):
        cells = [name, recipe, str(len(group))]
        for column in ("ULMFiT", "forward", "backward", "TF-IDF + LR"):
            values = 100 * group[column].dropna() if column in group else pd.Series(dtype=float)
            spread = f" ± {values.std():.2f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.2f}{spread}" if len(values) else "")
        paper = group["paper"].iloc[0]
        cells.append("" if pd.isna(paper) else f"{paper:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    head = ["experiment", "recipe", "runs", "ULMFiT", "forward alone", "backward alone", "TF-IDF + LR", "paper"]
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *lines])
