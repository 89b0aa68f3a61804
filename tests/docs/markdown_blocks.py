"""The fenced code blocks of a Markdown page, and what the page says is to be done with each.

A comment before a block, which readers of the rendered page do not see, says what is special about it:

``<!-- file: NAME -->``
    the block is what stands in the file NAME, which is written;
``<!-- keeps running -->``
    its command goes on in a terminal of its own, until the next such block or the end of the page;
``<!-- ended by Ctrl-C -->``
    its command goes on until it is interrupted;
``<!-- output of: COMMAND -->``
    the block is what COMMAND prints;
``<!-- not run: REASON -->``
    nothing is done with it, and this is why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})\s*(?P<language>[\w-]*)[^\n]*$")
_REMARK = re.compile(
    r"^\s*<!--\s*(?P<key>file|keeps running|ended by Ctrl-C|output of|not run)\s*(?::\s*(?P<value>.*?))?\s*-->\s*$"
)


class BrokenPageError(Exception):
    """A page holds something that could not be run by accident."""


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, its language, its text, and the remark before it (``""`` where there is none)."""

    page: Path
    line: int
    language: str
    text: str
    remark: str = ""
    value: str = ""

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    return blocks_in(page.read_text(encoding="utf-8"), page)


def blocks_in(text: str, page: Path = Path("page.md")) -> list[Block]:
    found: list[Block] = []
    lines = text.splitlines()
    remark, remark_line, n = None, 0, 0
    while n < len(lines):
        line = lines[n]
        fence = _FENCE.match(line)
        if fence is None:
            if line.strip():
                remark = _REMARK.match(line)
                if remark is None and re.match(r"^\s*<!--\s*(file|keeps|ended|output|not run)", line):
                    raise BrokenPageError(f"{page.name}:{n + 1}: this remark is not understood: {line.strip()}")
                remark_line = n
                if re.match(r"^( {4}|\t)", line) and not _inside_a_list(lines, n):
                    raise BrokenPageError(f"{page.name}:{n + 1}: indented code cannot be run; put it between fences")
            n += 1
            continue
        end = next((k for k in range(n + 1, len(lines)) if lines[k].strip() == fence["fence"]), None)
        if end is None:
            raise BrokenPageError(f"{page.name}:{n + 1}: this block has no end")
        indent = len(fence["indent"])
        body = "".join(inner[indent:] + "\n" for inner in lines[n + 1 : end])
        near = remark if remark is not None and remark_line >= n - 2 else None
        key, value = (near["key"], near["value"] or "") if near else ("", "")
        if key in ("file", "output of", "not run") and not value:
            raise BrokenPageError(f"{page.name}:{n + 1}: '{key}' says nothing after its colon")
        found.append(Block(page, n + 1, fence["language"], body, key, value))
        remark, n = None, end + 1
    return found


def _inside_a_list(lines: list[str], n: int) -> bool:
    """Whether an indented line goes on with an item of a list."""
    for line in reversed(lines[:n]):
        if re.match(r"^\s*([-*+]|\d+\.)\s", line):
            return True
        if line.strip() and not line.startswith(" "):
            return False
    return False


@dataclass(frozen=True)
class Command:
    """A command of a ``console`` block, and what the page says that it prints."""

    text: str
    output: str


def commands_of(block: Block) -> list[Command]:
    """The commands of a ``console`` block: lines after ``$``, continued after a backslash, and output below each."""
    commands: list[tuple[list[str], list[str]]] = []
    continued = False
    for line in block.text.splitlines():
        if continued:
            commands[-1][0].append(line)
        elif line.startswith("$ "):
            commands.append(([line[2:]], []))
        elif commands:
            commands[-1][1].append(line)
        else:
            raise BrokenPageError(f"{block.place}: a console block begins with '$ ' and a command")
        continued = (line.startswith("$ ") or continued) and line.endswith("\\")
    return [Command("\n".join(words), "".join(f"{line}\n" for line in output)) for words, output in commands]
