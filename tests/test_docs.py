"""Documentation: its figures agree with the records, its links resolve, its lab records stay short."""

import ast
import pkgutil
import re
import subprocess
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import yaml

from scripts import claims, docs
from ulmfit_exp.common import DataError, write_json
from ulmfit_exp.record import read

ROOT = Path(__file__).parents[1]
MODULES = sorted([*ROOT.glob("experiments/[!_]*.py"), *ROOT.glob("experiments/paper/*.py")])
FOLDERS = ("", "docs/", "docs/claims/", "experiments/notes/", "experiments/results/paper/")
PAGES = sorted(page for folder in FOLDERS for page in ROOT.glob(f"{folder}*.md"))


def tracked() -> set[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout
    files = {ROOT / name for name in listed.split("\0") if name}
    return files | {folder for file in files for folder in file.parents}


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.slow
def test_generated_pages_and_figures_in_the_text_agree_with_the_records():
    assert docs.stale() == []


def test_a_figure_that_no_table_has_is_found():
    known = "| 8.56 ± 0.28 | 10.40 ± 0.00 |"
    assert docs.unsupported("8.56 ± 0.28, 10.40 and 9.99 ± 0.01, Python 3.11", known, ROOT) == ["9.99 ± 0.01"]


def test_a_figure_that_links_to_a_note_has_to_be_in_that_note(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "sfu.md").write_text("15.50 ± 6.03")
    text = "[15.50 ± 6.03](notes/sfu.md), [15.51](notes/sfu.md#control)"
    assert docs.unsupported(text, "", tmp_path) == ["15.51"]


def test_a_record_replaces_one_of_the_same_settings_also_under_another_name(tmp_path, monkeypatch, capsys):
    record = read(docs.RECORDS / "trec" / "default" / "seed0.json")
    bundled = {**record, "settings": {**record["settings"], "miniature": True}}
    versions = {"old": record, "new": {**record, "variant": "another name"}, "bundled": bundled}
    for name, version in versions.items():
        write_json(tmp_path / f"{name}.json", version)
    monkeypatch.setattr(docs, "RECORDS", tmp_path / "committed")
    for name in ("old", "new"):
        docs.take_in([tmp_path / f"{name}.json"])
    assert [p.parent.name for p in docs.RECORDS.rglob("*.json")] == ["another-name"]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["added", "replaced"]
    with pytest.raises(DataError, match="bundled texts"):
        docs.take_in([tmp_path / "bundled.json"])


def test_few_labels_are_not_those_of_all_training_texts():
    page = (docs.CLAIMS / "few-labels.md").read_text(encoding="utf-8")
    assert re.search(r"\| DBpedia, 2000 labels \| small: wikipedia-small, 224 million tokens \| \d+ \|", page)
    assert "| TREC-6, 4907 labels |" not in page


def test_a_data_set_that_a_claim_excepts_is_not_counted():
    page = (docs.CLAIMS / "unlabelled-texts.md").read_text(encoding="utf-8")
    assert "| DBpedia, 100 labels |" in page and "| TREC-6" not in page


def test_a_claim_is_supported_only_by_significant_differences_in_its_favour():
    def verdict(*outcomes: str) -> str:
        return claims.verdict(pd.DataFrame({"verdict": outcomes})).partition(":")[0]

    assert verdict("supported", claims.UNTESTED) == "supported"
    assert verdict("supported", "not significant") == "partly supported"
    assert verdict("not significant", claims.UNTESTED) == "not supported"
    assert verdict("supported", "contradicted") == "mixed"
    assert verdict("contradicted") == "contradicted"


def test_the_readme_has_at_most_150_lines():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_relative_links_resolve_to_tracked_files_and_headings(page):
    files = tracked()
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        target, _, heading = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path in files, link
        if heading:
            assert heading in anchors(path), link


def test_code_that_the_pages_name_exists():
    for page in set(PAGES) - {ROOT / "CHANGELOG.md"}:
        text = page.read_text(encoding="utf-8")
        for name, file in re.findall(r"`(\w+)`\s+in\s+`((?:ulmfit_exp|experiments|scripts)/[\w/]+\.py)`", text):
            assert re.search(rf"\b{name}\b", (ROOT / file).read_text(encoding="utf-8")), f"{page}: {name}"
        for name in re.findall(r"`((?:ulmfit_exp|experiments|scripts)(?:\.\w+)+)`", text):
            assert pkgutil.resolve_name(name), f"{page}: {name}"


@pytest.mark.parametrize("module", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_lab_records_have_at_most_15_lines_and_name_their_notes(module):
    doc = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    assert len(doc.splitlines()) <= 15
    if module.parent.name == "experiments":
        assert f"experiments/notes/{module.stem}.md" in doc
        assert (ROOT / "experiments" / "notes" / f"{module.stem}.md").is_file()


def test_the_citation_has_the_projects_version_and_license():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == project["version"]
    assert f"{citation['license']} License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
