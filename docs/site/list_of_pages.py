"""The list of all pages, ``docs/README.md``, made from their names and titles: ``python docs/site/list_of_pages.py`` writes it.

A page is put where its name says: ``tutorial*``, ``howto-*``, ``reference-*``; the others are named here.
"""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).resolve().parent.parent
LIST = DOCS / "README.md"


class Part(NamedTuple):
    """One part of the documentation: its name, what it is for, and the patterns of its pages' names, in their order."""

    name: str
    purpose: str
    patterns: tuple[str, ...]


PARTS = (
    Part("Tutorials", "to learn it, from the beginning", ("tutorial.md", "tutorial-*.md")),
    Part("How to", "for what you want to do now", ("howto-*.md", "diagnosis.md")),
    Part("Reference", "to look things up", ("coming-from-crystfel.md", "reference-*.md", "glossary.md")),
    Part("Explanation", "to understand it", ("architecture.md", "studies/*/README.md", "decisions/*.md")),
)
"""The four kinds of documentation (https://diataxis.fr)."""

_HEAD = """\
# All pages

This list is made of the pages' names and titles by `make docs`, which also builds all of them into a site with search, the
manual of each stage and the Python reference: open `docs/_build/html/index.html`.
"""


def pages_of(part: Part) -> list[Path]:
    """The pages of one part, in the order of its patterns and of their names."""
    return [page for pattern in part.patterns for page in sorted(DOCS.glob(pattern)) if page != LIST]


def without_part() -> list[Path]:
    """Pages that belong to no part, and would be found by nobody."""
    patterns = [pattern for part in PARTS for pattern in part.patterns]
    names = (page.relative_to(DOCS).as_posix() for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts)
    return [DOCS / name for name in names if name != LIST.name and not any(fnmatch(name, one) for one in patterns)]


def title_of(page: Path) -> str:
    """The heading of a page.

    >>> title_of(DOCS / "glossary.md")
    'Glossary'
    """
    heading = re.search(r"(?m)^# (.+)$", page.read_text(encoding="utf-8"))
    if heading is None:
        raise ValueError(f"{page} has no heading")
    return heading[1]


def list_of_pages() -> str:
    """The whole list, as Markdown."""
    lines = [_HEAD]
    for part in PARTS:
        lines += [f"## {part.name}", "", f"{part.purpose.capitalize()}.", ""]
        lines += [f"- [{title_of(page)}]({page.relative_to(DOCS).as_posix()})" for page in pages_of(part)]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    if lost := without_part():
        raise SystemExit(f"no part of the documentation has {', '.join(map(str, lost))}: see PARTS in {__file__}")
    LIST.write_text(list_of_pages(), encoding="utf-8")
