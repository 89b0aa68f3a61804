"""Docstrings, which are written for people, as reStructuredText that means the same."""

from __future__ import annotations

import re
from typing import Any

_CODE = re.compile(r"``.+?``|`[^`]+`")


def escaped(lines: list[str]) -> list[str]:
    r"""Let ``|q|`` be the length of q, and ``a*`` a reciprocal axis: neither is markup, except in code, which stays as it is.

    >>> print("\n".join(escaped(["of |q| and a* with `x|y`, as in::", "", "    |q| = 1", "", "and |k|"])))
    of \|q\| and a\* with `x|y`, as in::
    <BLANKLINE>
        |q| = 1
    <BLANKLINE>
    and \|k\|
    """
    done: list[str] = []
    code_deeper_than: int | None = None
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if code_deeper_than is not None and line.strip() and depth <= code_deeper_than:
            code_deeper_than = None
        if code_deeper_than is not None or line.lstrip().startswith(">>>"):
            done.append(line)
            continue
        if line.rstrip().endswith("::"):
            code_deeper_than = depth
        done.append(_outside_code(line))
    return done


def process(_app: Any, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Escape what autodoc has read (event ``autodoc-process-docstring``), in place."""
    lines[:] = escaped(with_examples_apart(lines))


def with_examples_apart(lines: list[str]) -> list[str]:
    """Give examples that follow numpydoc's sections a heading of their own, lest they be read as parameters.

    >>> with_examples_apart(["Parameters", "----------", "x", "    A number.", "", ">>> 1"])[-4:]
    ['Examples', '--------', '', '>>> 1']
    """
    first = next((n for n, line in enumerate(lines) if line.startswith(">>>")), None)
    if first is None or not any(line and set(line) == {"-"} for line in lines[:first]):
        return lines
    return [*lines[:first], "Examples", "--------", "", *lines[first:]]


def _outside_code(line: str) -> str:
    pieces, end = [], 0
    for code in _CODE.finditer(line):
        pieces += [_escape(line[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*pieces, _escape(line[end:])])


def _escape(text: str) -> str:
    """Escape bars, and stars that begin no emphasis."""
    return re.sub(r"(?<=(?<![\w'])\w)\*(?![\w*])|\*(?=\.)", r"\\*", text.replace("|", "\\|"))
