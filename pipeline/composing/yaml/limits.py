"""A look at YAML text before anything is made of it: how deep, how large, and whether it says what kinds its values have.

Whoever wrote the file may not mean well, and ruamel makes of it whatever it says: lists in lists until Python's stack is full,
aliases of aliases that stand for more values than there is memory, numbers of more digits than Python reads. The parser's
events come one by one, before any of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent

MAX_CHARACTERS = 1 << 18
"""Of a file; a graph of a hundred nodes has some 20,000."""

MAX_DEPTH = 20
"""Levels of maps and lists, aliases included; a graph has four."""

MAX_VALUES = 20_000
"""Maps, lists, keys and values, those of an alias each time that it is used."""

MAX_TEXT = 4096
"""Characters of one value; also the longest path of the operating system."""

MAX_DIGITS = 100
"""Characters of a number."""

MAX_OPEN = 100
"""Brackets and braces that are open in one line; the scanner's time grows with the square of their number."""


_NUMBER = re.compile(r"[-+]?\.?[0-9][-+0-9_.:a-fA-FxXo]*")


class Place(NamedTuple):
    """Something that is wrong, and where, counted from 1."""

    line: int
    column: int
    text: str


class _Size(NamedTuple):
    values: int
    depth: int


class _Open(NamedTuple):
    anchor: str | None
    inside: list[_Size]


def trouble_with(text: str) -> Place | None:
    """Say what of a YAML text goes beyond the limits, None if nothing does; raises ruamel's errors where it is no YAML."""
    if len(text) > MAX_CHARACTERS:
        return Place(
            1, 1, f"the file has {len(text)} characters, and at most {MAX_CHARACTERS} are taken: is it a graph?"
        )
    for number, line in enumerate(text.splitlines(), start=1):
        if line.count("[") + line.count("{") > MAX_OPEN:
            return Place(
                number, 1, f"the line has more than {MAX_OPEN} brackets and braces; write the graph in several lines"
            )
    return next(_troubles(text), None)


def _troubles(text: str) -> Iterator[Place]:
    known: dict[str, _Size] = {}
    stack: list[_Open] = [_Open(None, [])]
    values = 0
    for event in YAML(typ="rt").parse(text):
        if isinstance(event, ScalarEvent | CollectionStartEvent) and event.tag is not None:
            yield _at(
                event, f"the tag {event.tag!r} is not taken: write the value alone, its kind follows from the parameter"
            )
        if isinstance(event, ScalarEvent) and len(event.value) > MAX_TEXT:
            yield _at(event, f"the value has {len(event.value)} characters, and at most {MAX_TEXT} are taken")
        if isinstance(event, ScalarEvent) and len(event.value) > MAX_DIGITS and _NUMBER.fullmatch(event.value):
            yield _at(event, f"the number has {len(event.value)} characters, and at most {MAX_DIGITS} are taken")
        if isinstance(event, CollectionStartEvent):
            stack.append(_Open(event.anchor, []))
            size = _Size(1, len(stack) - 1)
        elif isinstance(event, CollectionEndEvent):
            anchor, inside = stack.pop()
            whole = _Size(1 + sum(s.values for s in inside), 1 + max((s.depth for s in inside), default=0))
            if anchor:
                known[anchor] = whole
            stack[-1].inside.append(whole)
            continue
        elif isinstance(event, AliasEvent):
            if any(event.anchor == opened.anchor for opened in stack):
                yield _at(event, f"the alias *{event.anchor} stands within what it stands for")
            size = known.get(str(event.anchor), _Size(1, 0))  # an unknown one is ruamel's to name
            stack[-1].inside.append(size)
            size = _Size(size.values, len(stack) - 1 + size.depth)
        elif isinstance(event, ScalarEvent):
            size = _Size(1, 0)
            if event.anchor:
                known[event.anchor] = size
            stack[-1].inside.append(size)
        else:
            continue
        values += size.values
        if size.depth > MAX_DEPTH:
            yield _at(event, f"maps and lists are nested deeper than {MAX_DEPTH} levels; a graph has four")
        if values > MAX_VALUES:
            yield _at(
                event, f"there are more than {MAX_VALUES} values, those of aliases counted wherever they are used"
            )


def place_of_bad_value(text: str, error: Exception) -> Place:
    """Find the value that ruamel takes for a number or a date and cannot make one of: ``2024-99-99``, say."""
    for event in YAML(typ="rt").parse(text):
        if isinstance(event, ScalarEvent) and event.style is None and event.value[:1] in "0123456789+-.":
            try:
                YAML(typ="rt").load(event.value)
            except Exception as refused:  # whatever ruamel raises at this value it has raised before
                return _at(
                    event, f"the value {event.value!r} cannot be read: {refused}; write it in quotes if it is text"
                )
    return Place(1, 1, f"this cannot be read as YAML: {type(error).__name__}: {error}")


def _at(event: Any, text: str) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1, text)
