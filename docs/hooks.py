"""MkDocs hooks: show pages from outside docs/, and make every relative link work on the site.

Pages link to each other as they do on a code host, also to files outside ``docs/``. The site gets
a copy of those files under ``project/``, so that it is complete without a network.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "project"
# Pages outside docs/, with their place on the site.
OUTSIDE = {
    "CONTRIBUTING.md": f"{FOLDER}/contributing.md",
    "CHANGELOG.md": f"{FOLDER}/changelog.md",
    "data/README.md": f"{FOLDER}/data-sets.md",
    "results/README.md": f"{FOLDER}/published-runs.md",
    "ecg_siglip/pretrained/README.md": f"{FOLDER}/default-model.md",
    "examples/README.md": f"{FOLDER}/examples.md",
}
LINK = re.compile(r"(!?\[[^\]\n]*\])\(([^)#\s]*)(#[^)\s]*)?\)")
FENCE = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)[^\n]*$)", re.M | re.S)


def site_path(path: str) -> str | None:
    """Return the site's path of a file or folder of the repository; None if it has none."""
    if path in ("README.md", "."):
        return "index.md"
    if (ROOT / path).is_dir():
        path = posixpath.join(path, "README.md")
        if not (ROOT / path).is_file():
            return None
    if path.startswith("docs/"):
        path = path.removeprefix("docs/")
        return None if path.endswith(".py") else path
    return OUTSIDE.get(path, f"{FOLDER}/{path}")


def repository_path(site: str) -> str:
    """Return the path within the repository of a page of the site."""
    return next((page for page, place in OUTSIDE.items() if place == site), f"docs/{site}")


def linked_files(markdown: str, page: str) -> set[str]:
    """Return the files outside docs/ that a page of the repository links to."""
    found = set()
    for _, target, _ in LINK.findall(FENCE.sub("", markdown)):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
        outside = not re.match(r"[a-z]+:", target) and not path.startswith("docs/")
        if target and outside and path != "README.md" and (ROOT / path).is_file():
            found.add(path)
    return found


def rewrite_links(markdown: str, site: str) -> str:
    """Return a page with relative links as they have to be on the site.

    A link to a folder without a README, which the site cannot show, becomes plain text.
    """
    page = repository_path(site)

    def rewrite(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
        if not (ROOT / path).exists():
            return match[0]  # MkDocs reports it
        found = site_path(path)
        if found is None:
            return label.strip("![]")
        return f"{label}({posixpath.relpath(found, posixpath.dirname(site) or '.')}{anchor})"

    parts = FENCE.split(markdown)
    return "".join(part if i % 2 else LINK.sub(rewrite, part) for i, part in enumerate(parts))


def add_decisions(nav: list[Any]) -> None:
    """Add every decision to the navigation, after the page that lists them."""
    for entry in nav:
        for value in entry.values() if isinstance(entry, dict) else ():
            if isinstance(value, list):
                add_decisions(value)
    if "decisions/README.md" in nav:
        found = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("0*.md"))
        nav += [f"decisions/{name}" for name in found]


def on_config(config: Any) -> Any:
    """Complete the navigation."""
    add_decisions(config.nav)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages outside docs/, and the files that any page links to."""
    pages = {page: (ROOT / page).read_text("utf-8") for page in OUTSIDE}
    for file in files.documentation_pages():
        pages[f"docs/{file.src_uri}"] = file.content_string
    added = set(OUTSIDE).union(*(linked_files(text, page) for page, text in pages.items()))
    for path in sorted(added):
        uri = OUTSIDE.get(path, f"{FOLDER}/{path}")
        if path.endswith(".md") and path not in OUTSIDE:
            raise ValueError(f"{path}: linked to; expected in OUTSIDE of docs/hooks.py and in nav")
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite the links of a page."""
    return rewrite_links(markdown, page.file.src_uri)


def on_page_content(html: str, **_: Any) -> str:
    """Drop the ``::`` that docstrings have before a block of code."""
    html = re.sub(r"<p>::</p>\s*", "", html)
    return re.sub(r"::</p>(\s*<(?:div|pre))", r":</p>\1", html)
