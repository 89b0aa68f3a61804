"""What a stage class says of itself: its role, what it takes from frames and adds to them, and what it tells other stages.

>>> class Shout:
...     def __call__(self, text: str) -> bytes: ...
>>> contract_of(Shout)
Contract(reads=(str,), optional=(), writes=(bytes,))
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from typing import Any


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
    opener = cls.__dict__.get("open") or getattr(cls, "open", None)
    if opener is None:
        return None
    hints = typing.get_type_hints(opener)
    opened = hints.get("return")
    if not isinstance(opened, type):
        raise TypeError(
            f"{cls.__name__}.open must say in its return annotation which class runs, "
            "e.g. 'def open(self, context: Context) -> Running'"
        )
    return opened


def contract_of(cls: type) -> Contract:
    """Read a plain stage's contract from the signature of the ``__call__`` that runs."""
    running = _opened(cls) or cls
    call = running.__dict__.get("__call__") or getattr(running, "__call__", None)  # noqa: B004 - its annotations are wanted
    if call is None or isinstance(call, types.MethodWrapperType):
        raise TypeError(f"stage {cls.__name__}: {running.__name__} has no __call__")
    hints = typing.get_type_hints(call)
    returned = hints.pop("return", None)
    reads, optional = [], []
    for parameter, hint in hints.items():
        kinds = [k for k in typing.get_args(hint) if k is not type(None)] if _is_union(hint) else [hint]
        if len(kinds) != 1:
            raise TypeError(f"stage {cls.__name__}: parameter {parameter!r} must be of one type, or that type or None")
        kind = _plain(kinds[0])
        reads.append(kind)
        if _is_union(hint):
            optional.append(kind)
    written = typing.get_args(returned) if typing.get_origin(returned) is tuple else (returned,)
    writes = tuple(_plain(kind) for kind in written if kind not in (None, type(None)))
    return Contract(tuple(reads), tuple(optional), writes)


def _is_union(hint: object) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _plain(hint: Any) -> type:
    origin = typing.get_origin(hint)
    return origin if isinstance(origin, type) else hint
