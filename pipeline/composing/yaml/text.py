"""YAML text, as people write it, made into values that know where they stand; what is wrong says file:line:column."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from toolz import keymap, valmap

from pipeline.composing.yaml import limits
from pipeline.errors import UserError
from pipeline.texts import one_line

_LONGEST = 4000
"""Characters of one problem; the names of all stages, where one is not known, have some 1500."""


class Place(NamedTuple):
    """Where something stands: a file, a line and a column in it, counted from 1."""

    filename: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}:{self.column}"


class SpecError(UserError):
    """Something in a YAML file is wrong; `places` has each thing with its place."""

    def __init__(self, places: Iterable[tuple[Place, str]]) -> None:
        self.places = sorted((place, one_line(text, _LONGEST)) for place, text in places)
        super().__init__("\n".join(f"{place}: {text}" for place, text in self.places))


def document_of(text: str, filename: str | Path) -> Any:
    """Read YAML text with ruamel, which keeps the place of every key and value."""

    def wrong(line: int, column: int, said: str) -> SpecError:
        return SpecError([(Place(str(filename), line, column), said)])

    try:
        if trouble := limits.trouble_with(text):
            raise wrong(*trouble)
        return YAML(typ="rt").load(text)
    except SpecError:
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise wrong(line, column, f"this is not YAML: {error.problem or error.context}") from error
    except YAMLError as error:
        raise wrong(1, 1, f"this is not YAML: {error}") from error
    except (
        Exception
    ) as error:  # ruamel lets pass what Python's own conversions raise at values that it takes for numbers or dates
        raise wrong(*limits.place_of_bad_value(text, error)) from error


def value_of(text: str) -> Any:
    """Read one value as YAML has it, without its place.

    >>> value_of("10"), value_of("[1, a]"), value_of("tcp://127.0.0.1:5002"), value_of("")
    (10, [1, 'a'], 'tcp://127.0.0.1:5002', None)
    >>> value_of("[1, 2")
    Traceback (most recent call last):
    pipeline.errors.UserError: this is not YAML: expected ',' or ']', but got '<stream end>'
    """
    try:
        return plain(document_of(text, "value"))
    except SpecError as error:
        ((_, said), *_) = error.places
        raise UserError(said) from None


def plain(value: Any) -> Any:
    """Strip ruamel's types, which carry positions and styles."""
    if isinstance(value, CommentedMap):
        return keymap(str, valmap(plain, value))
    if isinstance(value, CommentedSeq):
        return [plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
