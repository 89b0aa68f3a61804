"""Lays out what the site is made of: ``python docs/site/sources.py FOLDER``.

The pages are written for people who read them in the repository: with relative links to pages, folders and files, diagrams in
mermaid, and comments that tell the tests what to do with a block. Here they are copied into a folder in which all of that works
in the site, too, and the pages that are made of the code (:mod:`code_pages`) are laid beside them.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import code_pages
from list_of_pages import DOCS, PARTS, pages_of, without_part

PROJECT = DOCS.parent
_TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
_PICTURES = {".png", ".svg", ".jpg"}
_CODE = re.compile(r"(?ms)^```.*?^```$|`[^`\n]*`")
_LINK = re.compile(r"(?<!\!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_DIAGRAM = re.compile(r"(?ms)^```mermaid\n(.*?)^```$")
_REMARK = re.compile(r"(?m)^<!-- (file|keeps running|ended by Ctrl-C)(?:: *(.*?))? -->\n```([\w-]+)\n")
_SAID_ABOVE = {"keeps running": "In a terminal of its own", "ended by Ctrl-C": "Until you press Ctrl-C"}
_LANGUAGES = {"geom": "text", "mermaid": "text", "": "text"}
"""Languages of blocks that nothing can colour, and what they are for the site."""


class Layout:
    """The folder in which pages are laid out.

    Attributes
    ----------
    shown
        Files that are no pages and to which pages link: each becomes a page that shows it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shown: set[str] = set()

    def write(self, name: str, text: str) -> None:
        """Write one page, if it is another one than before: Sphinx reads again what is newer."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")

    def page(self, name: str) -> str:
        """The text of the repository's page `name`, as the site has it."""
        text = (PROJECT / name).read_text(encoding="utf-8")
        text = _DIAGRAM.sub(lambda found: self._drawn(found[1], name), text)
        text = _REMARK.sub(_with_caption, text)
        text = re.sub(
            r"(?m)^( *)```([\w-]+)$", lambda found: f"{found[1]}```{_LANGUAGES.get(found[2], found[2])}", text
        )
        return _outside_code(text, lambda prose: _LINK.sub(lambda found: self._linked(found, name), prose))

    def _drawn(self, text: str, page: str) -> str:
        """Draw a diagram; pages show pictures without a network, and without running anything."""
        from mmdr import render

        picture = f"{page.removesuffix('.md').replace('/', '-')}-{len(text)}.svg"
        self.write(posixpath.join(posixpath.dirname(page), picture), render(text).svg())
        words = "; ".join(re.sub(r"<br/?>", " ", word) for word in re.findall(r'"([^"]+)"', text))
        return f"```{{image}} {picture}\n:alt: {json.dumps(words)}\n:class: diagram\n```"

    def _linked(self, link: re.Match[str], page: str) -> str:
        """Let a link lead to where its target is in the site."""
        words, target = link.groups()
        name, _, heading = target.partition("#")
        if not name or re.match(r"\w+:", target):
            return link[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(page), name))
        if place == "README.md":
            place = "index.md"
        elif (PROJECT / place).is_dir():
            place = f"{place}/README.md" if (PROJECT / place / "README.md").exists() else f"{place}/index.md"
        elif (PROJECT / place).suffix not in {".md", *_PICTURES} and (PROJECT / place).is_file():
            self.shown.add(place)
            place += ".md"
        where = posixpath.relpath(place, posixpath.dirname(page) or ".")
        return f"[{words}]({where}{'#' + heading if heading else ''})"


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    pieces, end = [], 0
    for code in _CODE.finditer(text):
        pieces += [change(text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*pieces, change(text[end:])])


def _with_caption(remark: re.Match[str]) -> str:
    what, value, language = remark.groups()
    caption = value if what == "file" else _SAID_ABOVE[what]
    return f"```{{code-block}} {_LANGUAGES.get(language, language)}\n:caption: {caption}\n\n"


def lay_out(folder: Path) -> None:
    """Lay out all pages in `folder`."""
    if lost := without_part():
        raise SystemExit(
            f"no part of the documentation has {', '.join(map(str, lost))}: see docs/site/list_of_pages.py"
        )
    layout = Layout(folder)
    names = [*_TOP, "docs/README.md"]
    names += [page.relative_to(PROJECT).as_posix() for part in PARTS for page in pages_of(part)]
    texts = {name: layout.page(name) for name in names}
    texts["index.md"] = texts.pop("README.md") + "\n" + "\n".join(_contents())
    texts["docs/glossary.md"] = _glossary(texts["docs/glossary.md"])
    texts["docs/decisions/index.md"] = "# Decisions\n\nWhat was decided, and why.\n\n" + _contents_of("*", depth=1)
    layout.shown |= {f"examples/{file.name}" for file in (PROJECT / "examples").iterdir() if file.is_file()}
    for name in sorted(layout.shown):
        texts[f"{name}.md"] = _shown(name)
    texts["examples/index.md"] = "# Examples\n\nFiles to start from.\n\n" + _contents_of("*", depth=1)
    texts |= code_pages.pages()
    for name, text in texts.items():
        layout.write(name, text)
    _copy_pictures(folder)
    _drop_others(folder, set(texts))


def _contents() -> Iterator[str]:
    """The contents beside each page, in the four parts, and what there is of the project itself."""
    generated = {"Reference": ["stages/index", "python/index"]}
    for part in PARTS:
        entries = [page.relative_to(PROJECT).as_posix().removesuffix(".md") for page in pages_of(part)]
        entries = [entry for entry in entries if not entry.startswith("docs/decisions/")]
        if part.name == "Explanation":
            entries.append("docs/decisions/index")
        yield _contents_of(*generated.get(part.name, []), *entries, caption=part.name)
    yield _contents_of("docs/README", "examples/index", "CONTRIBUTING", "CHANGELOG", caption="Project")


def _contents_of(*entries: str, caption: str = "", depth: int = 2) -> str:
    options = f":caption: {caption}\n:hidden:\n" if caption else ""
    pattern = ":glob:\n" if "*" in entries else ""
    return f"```{{toctree}}\n:maxdepth: {depth}\n{options}{pattern}\n" + "\n".join(entries) + "\n```\n"


def _glossary(page: str) -> str:
    """Make of the table of words a glossary: search and the index know its words."""
    head, _, table = page.partition("| word | meaning |\n|---|---|\n")
    rows = re.findall(r"(?m)^\| (.+?) \| (.+) \|$", table)
    words = "\n\n".join(f"{word}\n  {meaning}" for word, meaning in rows)
    return f"{head}```{{glossary}}\n\n{words}\n```\n"


def _shown(name: str) -> str:
    language = {".py": "python", ".yaml": "yaml", ".json": "json"}.get(Path(name).suffix, "text")
    text = (PROJECT / name).read_text(encoding="utf-8")
    orphan = "" if name.startswith("examples/") else "---\norphan: true\n---\n"
    return f"{orphan}# {Path(name).name}\n\n`{name}`\n\n````{language}\n{text}````\n"


def _copy_pictures(folder: Path) -> None:
    for picture in DOCS.rglob("*"):
        if picture.suffix in _PICTURES and "_build" not in picture.parts:
            target = folder / picture.relative_to(PROJECT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(picture, target)


def _drop_others(folder: Path, names: set[str]) -> None:
    """Remove pages that are gone from the repository."""
    for suffix in (".md", ".rst"):
        for page in folder.rglob(f"*{suffix}"):
            if page.relative_to(folder).as_posix() not in names:
                os.remove(page)


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
