"""A function as a stage: what stands before ``*`` is taken from the frame, what stands behind it are the parameters.

>>> from pipeline import stage
>>> @stage("numbers/doctest_largest_few")
... def largest_few(found: list, *, n: int = 50) -> list:
...     '''Keep the n largest.'''
...     return sorted(found)[-n:]
>>> largest_few(n=2)([3, 1, 2])
[2, 3]

The decorator makes a class of it, as if one had written it with fields and ``__call__``: ``largest_few()`` is the stage with
its defaults, ``largest_few(n=2)`` one with another parameter, and a graph takes ``largest_few`` itself for ``largest_few()``.
"""

from __future__ import annotations

import dataclasses
import inspect
from types import FunctionType
from typing import Any

from pipeline.parameters import default_of

FROM_FUNCTION = "made_of_function"
"""The attribute of a stage's class that says it was written as a function."""

_TAKEN_FROM_FRAME = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def class_of(function: FunctionType, name: str) -> type:
    """Make the class of stage `name` of a function; TypeError if it cannot be told what its parameters are."""
    parameters = inspect.signature(function).parameters.values()
    fields = [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    values = [parameter for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY]
    where = f"stage {name!r}: {function.__name__}"
    for parameter in values:
        if parameter.default is not parameter.empty and parameter.kind in _TAKEN_FROM_FRAME:
            raise TypeError(
                f"{where} has a default for {parameter.name!r}, which is taken from the frame: write '*' before it if it is a "
                "parameter ('*, n: int = 50'), or 'ItsType | None' without a default if frames may lack it"
            )
    for parameter in fields:
        if parameter.annotation is parameter.empty:
            raise TypeError(
                f"{where} does not say of which type its parameter {parameter.name!r} is: write '{parameter.name}: int'"
            )
    names = tuple(parameter.name for parameter in fields)

    def call(self: Any, *given: Any) -> Any:
        return function(*given, **{name: getattr(self, name) for name in names})

    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    returned = inspect.signature(function).return_annotation
    call.__wrapped__ = function  # type: ignore[attr-defined]  # annotations are read among the names of its module
    call.__signature__ = inspect.Signature([itself, *values], return_annotation=returned)  # type: ignore[attr-defined]
    call.__annotations__ = {name: kind for name, kind in function.__annotations__.items() if name not in names}
    call.__doc__ = function.__doc__
    return type(
        function.__name__,
        (),
        {
            "__module__": function.__module__,
            "__qualname__": function.__qualname__,
            "__doc__": function.__doc__ or "",
            "__annotations__": {parameter.name: parameter.annotation for parameter in fields},
            **{parameter.name: parameter.default for parameter in fields if parameter.default is not parameter.empty},
            "__call__": call,
            FROM_FUNCTION: True,
        },
    )


def with_defaults(given: Any) -> Any:
    """Take the function that a stage was made of for the stage with its defaults; whatever else it is stays as it is.

    One that has a parameter without a default stays too, for ``graph.check()`` to ask for it.
    """
    if not (isinstance(given, type) and getattr(given, FROM_FUNCTION, False)) or must_be_given(given):
        return given
    return given()


def must_be_given(cls: Any) -> list[str]:
    """The parameters of a stage's class that have no default."""
    return [field.name for field in dataclasses.fields(cls) if default_of(field) is dataclasses.MISSING]
