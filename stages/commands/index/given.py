"""The options that were given on one command line, and which of them have had an effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import UserError
from stages.commands.index.options import Option
from stages.commands.index.table import OPTIONS
from stages.files.image_list import ImageFormat


@dataclass
class Given:
    """The options that were given: name -> value, what of them has had an effect, and the format of image files if any."""

    values: Mapping[str, Any]
    effective: set[str] = field(default_factory=set)
    images: ImageFormat | None = None

    def take(self, name: str) -> Any:
        """Return the value of an option that decides about the shape of the graph; None (or False) if it is not given."""
        assert name in _KNOWN, name
        if name in self.values:
            self.effective.add(name)
        return self.values.get(name)

    def __contains__(self, name: str) -> bool:
        assert name in _KNOWN, name
        return name in self.values


_KNOWN = {row.name for row in OPTIONS}


def is_given(value: Any) -> bool:
    """Whether an option was typed: None, False and empty sequences are what it has otherwise."""
    return value is not None and value is not False and value not in ((), [])


def value_of(row: Option, typed: Any) -> Any:
    """Return the parameter's value of what was typed after an option."""
    try:
        return row.value(typed)
    except ValueError as error:
        raise UserError(f"{row.flag}: {error}") from None
