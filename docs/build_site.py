"""Build the site of the documentation: `python docs/build_site.py`, into build/site.

The pages are written to be read in the repository too. Here links that lead out of `docs/` are
changed, what comments say of code blocks for the tests is left out, and the names of files become
their titles. Then Zensical builds the site, and every link of it is checked.
"""

from __future__ import annotations

import html.parser
import re
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SOURCE = ROOT / "build" / "site-source"
SITE = ROOT / "build" / "site"
OTHERS = {"examples/README.md": "examples.md", "CHANGELOG.md": "changelog.md"}
"""Pages elsewhere in the repository, and where they are on the site."""
ELSEWHERE = {"README.md": "index.md"}
_LINK = re.compile(r"(\]\()([^)\s#]*)(#[^)\s]*)?\)")
_FENCE = re.compile(r"((?:<!--[^\n]*-->\n+)+)```(\w*)\n")
_FILE = re.compile(r"<!-- (?:file|example): (\S+) -->")


def page(path: Path) -> str:
    """A page as the site has it."""
    text = path.read_text(encoding="utf-8")
    text = _FENCE.sub(_titled, text)
    text = re.sub(r"^<!--[^\n]*-->\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^(```)text$", r"\1", text, flags=re.MULTILINE)
    return _LINK.sub(lambda link: f"{link[1]}{_target(path, link[2])}{link[3] or ''})", text)


def _titled(fence: re.Match[str]) -> str:
    name = _FILE.search(fence[1])
    title = f' title="{Path(name[1]).name}"' if name else ""
    return f"\n```{fence[2]}{title}\n"


def _target(path: Path, link: str) -> str:
    """Where a link of a page leads on the site."""
    if not link or "://" in link:
        return link
    linked = (path.parent / link).resolve()
    known = {**OTHERS, **ELSEWHERE}
    names = {(ROOT / name).resolve(): DOCS / there for name, there in known.items()}
    target = names.get(linked, linked)
    here = names.get(path.resolve(), path)
    return Path(*_way(here.parent, target)).as_posix()


def _way(start: Path, end: Path) -> Iterator[str]:
    """The parts of a relative path from a folder to a file."""
    common = 0
    for one, other in zip(start.parts, end.parts, strict=False):
        if one != other:
            break
        common += 1
    yield from [".."] * (len(start.parts) - common)
    yield from end.parts[common:]


def prepare() -> None:
    """Write all pages as the site has them."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.rmtree(SITE, ignore_errors=True)
    pages = {path: path.relative_to(DOCS) for path in DOCS.rglob("*.md")}
    pages |= {ROOT / name: Path(there) for name, there in OTHERS.items()}
    for path, there in pages.items():
        (SOURCE / there).parent.mkdir(parents=True, exist_ok=True)
        (SOURCE / there).write_text(page(path), encoding="utf-8")
    shutil.copytree(DOCS / "assets", SOURCE / "assets")


class _Page(html.parser.HTMLParser):
    """What a built page links to and loads, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(given.get("href", ""))
        elif tag in ("script", "img", "iframe", "source") and "src" in given:
            self.loaded.append(given["src"])


def faults() -> list[str]:
    """The links of the built site that lead nowhere, and what its pages load from other hosts."""
    pages = {path: _Page(path.read_text("utf-8")) for path in SITE.rglob("*.html")}
    found = []
    for path, content in pages.items():
        if path.name == "404.html":
            continue
        name = path.relative_to(SITE)
        found += [f"{name} loads {each}" for each in content.loaded if "//" in each]
        for link in content.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path if not parts.path else (path.parent / parts.path).resolve()
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                found.append(f"{name} links to {link}, which is not there")
            elif parts.fragment and target in pages:
                fragment = urllib.parse.unquote(parts.fragment)
                if fragment not in pages[target].anchors and not fragment.startswith("__"):
                    found.append(f"{name} links to {link}: there is no such place")
    for style in SITE.rglob("*.css"):
        outside = re.findall(r"(?:@import|url\()[^;)]*//[^;)]*", style.read_text("utf-8"))
        found += [f"{style.relative_to(SITE)} loads {each}" for each in outside]
    return found


def main() -> int:
    """Build the site; give the exit code."""
    prepare()
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode != 0:
        return done.returncode
    text = (DOCS / "llms.txt").read_text(encoding="utf-8")
    (SITE / "llms.txt").write_text(re.sub(r"(/index)?\.md\)", "/)", text), encoding="utf-8")
    wrong = faults()
    print("\n".join(wrong) if wrong else f"built: {SITE}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
