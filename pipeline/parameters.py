"""Parameters of a stage or of a run that are wrong, said in sentences, and parameters changed one by one.

>>> from dataclasses import dataclass
>>> @in_sentences
... @pydantic.dataclasses.dataclass(config=pydantic.ConfigDict(extra="forbid"))
... class Search:
...     threshold: float = 10.0
>>> Search(treshold=3)
Traceback (most recent call last):
pipeline.parameters.ParameterError: Search has no parameter 'treshold'; did you mean 'threshold'?
>>> changed(Search(), "the search", {"threshold": "low"})
Traceback (most recent call last):
pipeline.parameters.ParameterError: the search: threshold: input should be a valid number... (found 'low')
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import pydantic
import pydantic_core

from pipeline.errors import UserError, in_words
from pipeline.hints import did_you_mean

C = TypeVar("C", bound=type)

_UNKNOWN = "unexpected_keyword_argument"
"""Pydantic's word for a parameter that there is not."""


class ParameterError(UserError, pydantic.ValidationError):
    """Parameters that are wrong, a sentence for each; also pydantic's error, for code that takes its ``errors()`` apart."""

    text: str

    @classmethod
    def of(cls, what: str, error: pydantic.ValidationError, known: Iterable[str]) -> ParameterError:
        """Say pydantic's error in sentences that begin with `what` has the parameters; `known` are those that there are."""
        found = error.errors()
        made = cls.from_exception_data(error.title, list(map(_as_given, found)))
        made.text = "\n".join(sentence(what, problem, known) for problem in found)
        return made

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"ParameterError({self.text!r})"


def sentence(what: str, problem: Mapping[str, Any], known: Iterable[str] = ()) -> str:
    """Say one of pydantic's errors: whose parameter, which, what was found, what was wanted."""
    if problem["type"] == _UNKNOWN and len(problem["loc"]) == 1:
        name = str(problem["loc"][0])
        return f"{what} has no parameter {name!r}{did_you_mean(name, known)}"
    return f"{what}: {describe_problem(problem)}"


def describe_problem(problem: Mapping[str, Any]) -> str:
    """Say one of pydantic's errors: which parameter, what was found, what was wanted."""
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] in ("missing", "missing_argument"):
        return f"the parameter {where!r} is missing"
    if problem["type"] == _UNKNOWN:
        return f"there is no parameter {where!r}"
    found = f"{in_words(problem)} (found {problem.get('input')!r})"
    return f"{where}: {found}" if where else found


def in_sentences(cls: C) -> C:
    """Let a pydantic dataclass raise :class:`ParameterError` where pydantic would raise its own error."""
    made: Any = cls
    make = made.__init__

    @functools.wraps(make)
    def init(self: Any, *arguments: Any, **parameters: Any) -> None:
        try:
            make(self, *arguments, **parameters)
        except pydantic.ValidationError as error:
            if isinstance(error, ParameterError):
                raise
            raise ParameterError.of(cls.__name__, error, names_of(cls)) from None

    made.__init__ = init
    return cls


def names_of(value: Any) -> tuple[str, ...]:
    """The names of the parameters of a stage or of a run, or of its class."""
    return tuple(field.name for field in dataclasses.fields(value))


def default_of(field: dataclasses.Field[Any]) -> Any:
    """A field's default, which may be wrapped in pydantic's ``Field(default=...)``."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    default = field.default
    if isinstance(default, pydantic.fields.FieldInfo):
        return default.get_default(call_default_factory=True) if not default.is_required() else dataclasses.MISSING
    return default


def changed(value: Any, what: str, changes: Mapping[str, Any]) -> Any:
    """Return a stage (or the options of a run) with some parameters changed; `what` is what an error calls it."""
    known = names_of(value)
    unknown = [f"{what} has no parameter {name!r}{did_you_mean(name, known)}" for name in changes if name not in known]
    if unknown:
        raise UserError("\n".join(unknown))
    try:
        return dataclasses.replace(value, **changes)
    except pydantic.ValidationError as error:
        raise ParameterError.of(what, error, known) from None


def nested(value: Any, keys: Sequence[str], new: Any) -> Any:
    """Return what a parameter is to be so that the value under these keys in it is `new` and all else as it was.

    >>> nested({"completeness": 0.9}, ["cc_half"], 0.5), nested(None, ["a", "b"], 1)
    ({'completeness': 0.9, 'cc_half': 0.5}, {'a': {'b': 1}})
    """
    if not keys:
        return new
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        given = {name: getattr(value, name) for name in names_of(value)}
        if keys[0] not in given:
            raise UserError(f"there is no {keys[0]!r} in it{did_you_mean(keys[0], given)}")
    elif value is None or isinstance(value, Mapping):
        given = dict(value or {})
    else:
        raise UserError(f"it is {value!r} and no map, so there is no {'.'.join(keys)!r} in it")
    return {**given, keys[0]: nested(given.get(keys[0]), keys[1:], new)}


def _as_given(problem: Any) -> pydantic_core.InitErrorDetails:
    """One of ``error.errors()`` in the form of which an error is made."""
    try:
        pydantic_core.PydanticKnownError(problem["type"], problem.get("ctx"))
        kind: Any = problem["type"]
    except (KeyError, ValueError, TypeError):  # a type that a validator has made up
        kind = pydantic_core.PydanticCustomError(problem["type"], problem["msg"].replace("{", "{{"), problem.get("ctx"))
    details = {"type": kind, "loc": problem["loc"], "input": problem["input"], "ctx": problem.get("ctx", {})}
    return cast(pydantic_core.InitErrorDetails, details)
