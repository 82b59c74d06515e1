"""Make docs/claims/ from records, one page per claim of the paper: our runs, their plot, the tests, and the verdict.

The tests are those of the tables: differences from the table's reference, corrected for all comparisons in the table.
"""

from dataclasses import dataclass

import pandas as pd

from experiments.paper.tables import command_line, module
from ulmfit_exp.record import variant_folder
from ulmfit_exp.results import figures
from ulmfit_exp.results.statistics import ALPHA, FEWEST, p_against
from ulmfit_exp.results.tables import markdown, mean_sd, pretrained

RECORDS = "../../experiments/results"
"""Path of the committed records in the links of the pages."""
BASELINE = "TF-IDF + logistic regression"
UNTESTED = "not tested"
ABOUT = (
    "Error in % on the test set (rows named last epoch: on the validation set), as mean ± standard deviation over n "
    "seeds or folds. "
    "p is that of a two-sided paired t-test after Holm's correction for all comparisons in the table (in figure 3: "
    "of the data set), so the same pair may have another p on another page. A difference is significant at p < "
    f"{ALPHA}. Nothing is tested with fewer than {FEWEST} pairs of runs, or if all differences are equal. Over folds "
    "p is too small, because their training texts overlap. The column runs has the reference's "
    "recipe and the language model that it starts from, with the number of tokens that this version had read; "
    "[pretrained-models.md](../pretrained-models.md) describes the one that ships."
)


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and the rows of our tables that are compared with the table's reference."""

    title: str
    text: str
    tables: tuple[str, ...]
    rows: tuple[str, ...]
    limits: str = ""
    """Questions that the tests leave open."""
    few: bool = False
    """Whether to leave out runs with the labels of all training texts."""
    but: tuple[str, ...] = ()
    """Data sets that the claim excepts."""

    @property
    def page(self) -> str:
        return f"{self.title.lower().replace(' ', '-')}.md"


CLAIMS = (
    Claim(
        "Pretraining",
        "Pretraining the language model on general text lowers the error (section 5, table 4).",
        ("table4",),
        ("without pretraining", "without, recipe scratch"),
        "Recipe scratch is a smaller model, with learning rates and epochs for random weights, for which there was no "
        "systematic search.",
    ),
    Claim(
        "Few labels",
        "With few labels ULMFiT is better than training from scratch, which needs 10 to 20 times as many labels for "
        "the same error, and 50 to 100 times as many if ULMFiT also reads unlabelled texts (section 5, figure 3).",
        ("figure3",),
        ("from scratch",),
        "Runs with the labels of all training texts are left out. Only the first part of the claim is tested, at "
        "equal numbers of labels and with unlabelled texts. How many times as many labels training from scratch "
        "needs is not tested; [the last column of the table](../results.md#figure-3-labelled-texts) has estimates.",
        few=True,
    ),
    Claim(
        "Unlabelled texts",
        "Fine-tuning the language model on unlabelled texts of the task as well lowers the error, except on TREC-6 "
        "(section 5, figure 3).",
        ("figure3",),
        ("supervised",),
        "The unlabelled texts also add words to the vocabulary, so the two differ in more than fine-tuning. TREC-6 is "
        "left out.",
        but=("trec",),
    ),
    Claim(
        "Dropout of the language model",
        "A regularised language model, AWD-LSTM, is a better start than a vanilla one (section 5, table 5).",
        ("table5",),
        ("vanilla LM",),
        "Both rows start from the same pretrained model: only the dropout of its fine-tuning differs.",
    ),
    Claim(
        "Fine-tuning the language model",
        "Fine-tuning the language model on the task's texts lowers the error (section 5, table 6).",
        ("table6",),
        ("none",),
    ),
    Claim(
        "Learning rates of the language model",
        "Discriminative and slanted triangular learning rates improve its fine-tuning (section 5, table 6).",
        ("table6",),
        ("full", "full + discr"),
    ),
    Claim(
        "Pretrained layers of the classifier",
        "A classifier needs the pretrained layers, and has to fine-tune them (section 5, table 7).",
        ("table7",),
        ("from scratch", "last"),
        "On SFU the classifier from scratch does not even learn its training texts (their loss stays near that of "
        "guessing), so that difference says little about pretraining.",
    ),
    Claim(
        "Fine-tuning the classifier",
        "Gradual unfreezing with discriminative and slanted triangular learning rates is best on IMDb and TREC-6, and "
        "close to the best on AG News (section 5, table 7).",
        ("table7",),
        ("full", "full + discr", "chain-thaw", "freez", "freez + discr", "freez + stlr", "freez + cos"),
        "The other rows stop early, on the validation texts, so only test errors are compared.",
    ),
    Claim(
        "Forgetting",
        "Full fine-tuning forgets: its error rises again after its best epoch; ULMFiT's does not (figure 4).",
        ("figure4",),
        ("full",),
        '"last epoch" is the validation error after the last epoch. Its rise since the best epoch is not tested, '
        "because that epoch is chosen on the same validation texts.",
    ),
    Claim(
        "Both directions",
        "The mean of a forward and a backward classifier is better than a single classifier (section 5).",
        ("directions",),
        ("forward alone",),
        "The single classifier is the forward one, as in the paper; the plot below also has the backward one.",
    ),
    Claim(
        "Simpler methods",
        "ULMFiT is better than earlier methods (section 4.2, tables 2 and 3); here: than TF-IDF and features.",
        ("table2", "table3", "figure3"),
        (BASELINE, "features + LR"),
        "The paper compares with other neural networks, which were not run here. In figure 3 ULMFiT "
        "is forward only, and its numbers of labels are parts of one draw, with one test set.",
    ),
)


def pages(results: dict[str, list[tuple]]) -> dict[str, str]:
    """Return file name -> page, made from each table's (cell, record) pairs; README.md lists the claims' verdicts."""
    found = {claim: pd.concat([compared(t, results[t], claim) for t in claim.tables]) for claim in CLAIMS}
    lines = [
        {"the paper's claim": f"[{claim.title}]({claim.page}). {claim.text}", "here": verdict(found[claim])}
        for claim in CLAIMS
    ]
    index = (
        "# The paper's claims\n\nMade by `python scripts/results.py` from the committed records. "
        "[findings.md](../findings.md) says how to read the tests, and what they leave open. Many runs have recipe "
        "`small`, and some start from an early version of the language model, not from the one that ships; the pages "
        "say which.\n\n"
    )
    made = {claim.page: page(claim, found[claim], results) for claim in CLAIMS}
    return {"README.md": f"{index}{markdown(pd.DataFrame(lines))}\n\n## How to read the pages\n\n{ABOUT}\n", **made}


def page(claim: Claim, found: pd.DataFrame, results: dict[str, list]) -> str:
    """Return the page of a claim: verdict, comparisons with links to records, plots, commands."""
    parts = [f"# {claim.title}", f"The paper: {claim.text}", f"**Here: {verdict(found)}.** {claim.limits}".strip()]
    parts += [markdown(found), "[How to read this table](README.md#how-to-read-the-pages)"]
    for name in claim.tables:
        parts += [
            f"## {module(name).TITLE}",
            f"![{name}]({RECORDS}/paper/{name}.svg)",
            f"[{name}.md]({RECORDS}/paper/{name}.md) has the description, all rows, and their run times. To run the "
            f"grid, or draw it from the records:\n\n```\n{command_line(name, results[name])}\n"
            f"python -m experiments.paper {name} --render\n```",
        ]
    return "\n\n".join(parts) + "\n"


def compared(name: str, results: list[tuple], claim: Claim) -> pd.DataFrame:
    """Compare a table's reference with each of the claim's rows, on each data set of the table."""
    reference, lines = module(name).REFERENCE, []
    runs_of = {variant_folder(r): f"{c.settings.recipe_name}: {pretrained(r)}" for c, r in results}
    for family in families(name, results, reference):
        p, full = p_against(family, reference), family.loc[family["labels"].idxmax(), "data"]
        for (data, row), runs in family.groupby(["data", "row"], sort=False):
            ours = family[(family["data"] == data) & (family["row"] == reference)]
            key, _, rest = data.partition(", ")
            if row in claim.rows and len(ours) and key not in claim.but and not (claim.few and data == full):
                shown = {"data": ", ".join(filter(None, (figures.title(key), rest)))}
                shown |= {"runs": runs_of[ours["records"].iloc[0]], "n": len(runs)}
                shown |= {"reference": _linked(reference, ours), "compared with": _linked(row, runs)}
                lines.append({**shown, **_tested(ours, runs, p.get((data, row), float("nan")))})
    return pd.DataFrame(lines)


def families(name: str, results: list[tuple], reference: str) -> list[pd.DataFrame]:
    """Return the test errors of a table's cells, one data frame per set of comparisons that is corrected together."""
    if name == "figure3":
        found = figures.errors_with_baseline(results)
        named = found.assign(data=found["data"] + ", " + found["labels"].astype(str) + " labels")
        return [part for _, part in named.groupby(found["data"], sort=False)]
    if name == "figure4":
        return [figures.errors_by_epoch(results)]
    if name not in ("table2", "table3", "directions"):
        return [figures.errors(results, "test")]
    found = figures.test_errors(results, reference)
    return [found[found["row"] != BASELINE] if name == "directions" else found]


def _linked(row: str, runs: pd.DataFrame) -> str:
    return f"{row} [{mean_sd(runs.set_index('replicate')['error'])}]({RECORDS}/{runs['records'].iloc[0]})"


def _tested(ours: pd.DataFrame, theirs: pd.DataFrame, p: float) -> dict[str, str]:
    errors, reference = (runs.set_index("replicate")["error"] for runs in (theirs, ours))
    difference = (errors - reference).mean()  # paired, as the test is
    if p != p:
        outcome = UNTESTED
    elif p >= ALPHA:
        outcome = "not significant"
    else:
        outcome = "supported" if difference > 0 else "contradicted"
    return {"difference": f"{difference:+.2f}", "p": "" if p != p else f"{p:.3g}", "verdict": outcome}


def verdict(found: pd.DataFrame) -> str:
    """Summarise the outcome of all comparisons in a few words."""
    counts = found["verdict"].value_counts()
    tested = len(found) - counts.get(UNTESTED, 0)
    if not tested:
        return UNTESTED
    agree, disagree = counts.get("supported", 0), counts.get("contradicted", 0)
    if not agree and not disagree:
        return f"not supported: significant in 0 of {tested} tested comparisons"
    if disagree:
        word = "mixed" if agree else "contradicted"
    else:
        word = "supported" if agree == tested else "partly supported"
    text = f"{word}: significant in {agree} of {tested} tested comparisons"
    return text + (f", and against the claim in {disagree}" if disagree else "")
