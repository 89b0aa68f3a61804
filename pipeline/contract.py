"""What a stage class says of itself: its role, what it takes from frames and adds to them, and what it tells other stages.

>>> class Shout:
...     def __call__(self, text: str) -> bytes: ...
>>> contract_of(Shout)
Contract(reads=(str,), optional=(), writes=(bytes,))
"""

from __future__ import annotations

import inspect
import types
import typing
from dataclasses import dataclass
from typing import Any

from pipeline.errors import UserError
from pipeline.frame import Frame
from pipeline.hints import only_if_close


class ContractError(UserError, TypeError):
    """A stage's signature does not say what it takes from a frame and adds to it."""


@dataclass(frozen=True)
class Tells:
    """What a stage tells others, and asks of them, outside frames; all by type, and checked by ``graph.check()``.

    Attributes
    ----------
    publishes
        What it may publish to the stages downstream when it opens.
    needs
        What a stage upstream must publish.
    uses
        What it looks for there, and does without if need be.
    posts
        What it may put up on the noticeboard while frames run.
    awaits
        What it waits for there: some stage of the graph must post it.
    """

    publishes: tuple[type, ...] = ()
    needs: tuple[type, ...] = ()
    uses: tuple[type, ...] = ()
    posts: tuple[type, ...] = ()
    awaits: tuple[type, ...] = ()


@dataclass(frozen=True)
class Contract:
    """What a stage takes from a frame and what it adds, by type.

    Attributes
    ----------
    reads
        Types that must have been written upstream, in the order of the parameters.
    optional
        Those of the parameters that may be None (``Image | None``).
    writes
        Types of the results: one, several (``tuple[A, B]``) or none (``None``).
    """

    reads: tuple[type, ...]
    optional: tuple[type, ...]
    writes: tuple[type, ...]

    def __repr__(self) -> str:
        def names(kinds: tuple[type, ...]) -> str:
            return (
                "(" + "".join(f"{k.__name__}," + (" " if i + 1 < len(kinds) else "") for i, k in enumerate(kinds)) + ")"
            )

        return f"Contract(reads={names(self.reads)}, optional={names(self.optional)}, writes={names(self.writes)})"


def tells_of(cls: type) -> Tells:
    """Return what a stage class has declared to tell others and to ask of them."""
    return getattr(cls, "tells", Tells())


def role_of(cls: type) -> str:
    """Tell whether a stage class is a ``source``, a ``sink``, a ``join`` or a plain ``stage``."""
    if hasattr(cls, "open_writer"):
        return "sink"
    if getattr(cls, "joins_branches", False):
        return "join"
    opened = _opened(cls)
    if opened is not None and hasattr(opened, "receive"):
        return "source"
    return "stage"


def _opened(cls: type) -> type | None:
    """The class of what ``open`` returns, from its annotation; None if the stage has no ``open``."""
    if not hasattr(cls, "open"):
        return None
    opened = opened_by(cls, "open")
    if not isinstance(opened, type):
        raise ContractError(
            f"{cls.__name__}.open must say in its return annotation which class runs, "
            "e.g. 'def open(self, context: Context) -> Running'"
        )
    return opened


def opened_by(cls: type, name: str) -> Any:
    """What a class says that its method `name` returns, as annotated; None if it does not say."""
    return _hints(cls.__dict__.get(name) or getattr(cls, name), cls, name).get("return")


def contract_of(cls: type) -> Contract:
    """Read a plain stage's contract from the signature of the ``__call__`` that runs; ContractError if it does not say all."""
    running = _opened(cls) or cls
    call = running.__dict__.get("__call__") or getattr(running, "__call__", None)  # noqa: B004 - its annotations are wanted
    if call is None or isinstance(call, types.MethodWrapperType):
        raise ContractError(f"stage {cls.__name__}: {running.__name__} has no __call__")
    where = f"stage {cls.__name__}: __call__" + (f" of {running.__name__}" if running is not cls else "")
    written = inspect.unwrap(call)
    if inspect.iscoroutinefunction(written) or inspect.isgeneratorfunction(written):
        raise ContractError(
            f"{where} is async or yields: it returns once for each frame, so write a plain 'def' with 'return'"
        )
    hints = _hints(call, cls, "__call__")
    reads, optional = [], []
    for name in _parameters(call, where):
        if name not in hints:
            raise ContractError(
                f"{where} does not say of which type {name!r} is: write '{name}: ItsType' (values are found by their types)"
            )
        hint = hints[name]
        kinds = [k for k in typing.get_args(hint) if k is not type(None)] if _is_union(hint) else [hint]
        if len(kinds) != 1:
            raise ContractError(f"stage {cls.__name__}: parameter {name!r} must be of one type, or that type or None")
        kind = _plain(kinds[0])
        if kind is Frame:
            raise ContractError(
                f"{where} takes the whole frame as {name!r}: name the types of the values that it needs"
            )
        reads.append(_checked(kind, f"{where} has for {name!r}"))
        if _is_union(hint):
            optional.append(kind)
    if "return" not in hints:
        raise ContractError(f"{where} does not say what it returns: write '-> ItsType:', or '-> None:'")
    return Contract(tuple(reads), tuple(optional), _written(hints["return"], where))


def _written(returned: Any, where: str) -> tuple[type, ...]:
    """The types of the results."""
    if _is_union(returned):
        raise ContractError(
            f"{where} may return one thing or another: it returns what it says for every frame, or raises RejectFrame"
        )
    kinds = typing.get_args(returned) if typing.get_origin(returned) is tuple else (returned,)
    if Ellipsis in kinds:
        raise ContractError(
            f"{where} returns a tuple of any length: make a class that holds it, which has a type of its own"
        )
    return tuple(_checked(_plain(kind), f"{where} returns") for kind in kinds if kind not in (None, type(None)))


def _parameters(call: Any, where: str) -> list[str]:
    """Names of the parameters but the first, which is the stage."""
    _, *parameters = inspect.signature(call).parameters.values()
    for parameter in parameters:
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise ContractError(
                f"{where} takes {str(parameter).partition(':')[0]}: give each value a parameter with its type"
            )
    return [parameter.name for parameter in parameters]


def _hints(function: Any, cls: type, what: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except NameError as error:
        names = getattr(inspect.unwrap(function), "__globals__", {})
        known = [name for name, value in names.items() if isinstance(value, type)]
        found = only_if_close(error.name or "", known)
        raise ContractError(
            f"stage {cls.__name__}: an annotation of {what} names {error.name}, which is not there{found}"
        ) from error
    except Exception as error:  # an annotation may be any expression
        raise ContractError(f"stage {cls.__name__}: the annotations of {what} cannot be read: {error}") from error


def _checked(kind: Any, what: str) -> type:
    if isinstance(kind, type) and kind is not Any:  # which is a class since Python 3.11
        return kind
    raise ContractError(f"{what} {kind}, which is no class: values of a frame are found by their classes")


def _is_union(hint: object) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _plain(hint: Any) -> Any:
    origin = typing.get_origin(hint)
    return origin if isinstance(origin, type) else hint
