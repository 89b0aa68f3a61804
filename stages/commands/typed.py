"""Values made of what was typed, or else the options named that are wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from pipeline.errors import UserError, in_words

T = TypeVar("T")


def made_of_options(make: Callable[..., T], spelt: Mapping[str, str], **parameters: Any) -> T:
    """Make something of options; `spelt` are those that have another name than their parameter, with dashes.

    Raises
    ------
    UserError
        For each option that is wrong: what was typed, and what was wanted.
    """
    try:
        return make(**parameters)
    except ValidationError as error:
        said = (
            f"{_flag(str(problem['loc'][0]), spelt)}={_typed(problem['input'])}: {in_words(problem)}"
            for problem in error.errors()
        )
        raise UserError("\n".join(said)) from None


def _flag(name: str, spelt: Mapping[str, str]) -> str:
    return spelt.get(name, f"--{name.replace('_', '-')}")


def _typed(value: Any) -> Any:
    """The one that was typed of options that can be given several times."""
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value
