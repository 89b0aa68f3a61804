"""Texts in lines of so many columns, of which nothing is lost.

>>> list(wrapped(pieces("connected to tcp://127.0.0.1:5002; nothing has come, and so on"), 34))
['connected to tcp://127.0.0.1:5002', 'nothing has come, and so on']
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_SEPARATORS = re.compile(r"(?<=[,;]) ")
"""What a status or an analysis says is broken where it has a comma or a semicolon."""


def pieces(text: str) -> list[str]:
    """Return the pieces that stay together."""
    return _SEPARATORS.split(text)


def wrapped(parts: Sequence[str], width: int) -> Iterator[str]:
    """Put as many parts into each line as it takes; one that is longer goes on in the next, from a blank if it has one."""
    room = max(1, width)
    said = ""
    for part in parts:
        if said and len(f"{said} {part}".rstrip(",")) > room:
            yield said.rstrip(" ,;")
            said = ""
        said = f"{said} {part}" if said else part
        while len(said.rstrip(",")) > room:
            blank = said.rfind(" ", 1, room + 1)
            end = blank if blank > 0 else room
            yield said[:end].rstrip()
            said = said[end:].lstrip()
    if said.rstrip(" ,"):
        yield said.rstrip(" ,;")
