"""The site of the documentation: it is built strictly, and what is generated is up to date."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from module_files import load

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def test_the_site_is_built_strictly_and_its_links_and_parts_are_there() -> None:
    pytest.importorskip("zensical")
    done = subprocess.run(
        [sys.executable, str(DOCS / "build_site.py")], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    site = load(DOCS / "build_site.py").SITE
    pages = list(site.rglob("index.html"))
    assert len(pages) >= len(list(DOCS.rglob("*.md")))
    home = (site / "index.html").read_text("utf-8")
    assert 'src="assets/run.svg"' in home
    assert list(site.rglob("search.json"))
    for link in re.findall(r"\]\(([^)]+)\)", (site / "llms.txt").read_text("utf-8")):
        assert (site / link / "index.html").exists(), link
    # What tells the tests of a page is for nobody else.
    tutorial = (site / "tutorial" / "first-flow" / "index.html").read_text("utf-8")
    assert "first.yaml" in tutorial
    assert "<!-- file:" not in tutorial
    assert "```" not in tutorial


def test_a_fault_of_a_built_page_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = load(DOCS / "build_site.py")
    monkeypatch.setattr(build, "SITE", tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "index.html").write_text('<h1 id="here">A</h1>')
    (tmp_path / "index.html").write_text(
        '<a href="a/#here">good</a><a href="a/#there">bad</a><a href="b/">bad</a>'
        '<script src="https://cdn.example.com/x.js"></script>'
        '<link rel="stylesheet" href="//fonts.example.com/x.css">'
    )
    (tmp_path / "own.css").write_text("@import url(https://fonts.example.com/y.css);")
    found = build.faults()
    assert len(found) == 5, found
    assert sum(" loads " in fault for fault in found) == 3


def test_every_page_is_in_the_navigation() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    pages_of = load(DOCS / "generate_llms.py").pages_of
    listed = [path for _, paths in pages_of(settings["nav"]) for path in paths]
    assert len(listed) == len(set(listed))
    others = set(load(DOCS / "build_site.py").OTHERS.values())
    assert set(listed) == {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")} | others


def test_the_reference_of_keys_is_up_to_date() -> None:
    page = (DOCS / "reference" / "schema.md").read_text("utf-8")
    assert page == load(DOCS / "generate_schema.py").page(), "run: python docs/generate_schema.py"


@pytest.mark.parametrize("name", ["status-api.md", "python-api.md"])
def test_the_generated_parts_of_references_are_up_to_date(name: str) -> None:
    page = DOCS / "reference" / name
    written = page.read_text("utf-8")
    assert "<!-- generated: " in written
    found = load(DOCS / "generate_api.py").text_of(page)
    assert written == found, "run: python docs/generate_api.py"


def test_the_list_for_language_models_is_up_to_date() -> None:
    text = (DOCS / "llms.txt").read_text("utf-8")
    assert text == load(DOCS / "generate_llms.py").text(), "run: python docs/generate_llms.py"
