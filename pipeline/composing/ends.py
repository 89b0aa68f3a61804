"""What sources and sinks must have, and every stage that has ``open``: said before any of them is opened.

>>> class Running: ...
>>> class Numbers:
...     def open(self) -> Running: ...
>>> list(missing_of(Numbers))
["Numbers.open does not take the context: write 'def open(self, context: Context) -> ...'"]
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.contract import opened_by, role_of

_OF_SOURCE = {
    "receive": (3, "def receive(self, timeout_s: float, credit: int) -> Sequence[Message]"),
    "stop_asking": (1, "def stop_asking(self) -> int"),
    "status": (1, "def status(self) -> str"),
    "close": (1, "def close(self) -> None"),
}
_OF_ENCODER = {"__call__": (2, "def __call__(self, outcome: Outcome) -> ...")}
_OF_WRITER = {"write": (2, "def write(self, encoded: ...) -> None"), "close": (1, "def close(self) -> None")}
"""Methods that each must have, by name: how many arguments they take, and how one writes them (:mod:`pipeline.protocols`)."""


def missing_of(cls: type) -> Iterator[str]:
    """Say what a stage's class lacks to be opened and, if it is a source or a sink, to run."""
    for name in ("open", "open_writer"):
        if hasattr(cls, name) and not _takes(getattr(cls, name), 2):
            yield f"{cls.__name__}.{name} does not take the context: write 'def {name}(self, context: Context) -> ...'"
    role = role_of(cls)
    if role == "source":
        yield from _lacks(opened_by(cls, "open"), _OF_SOURCE)
    elif role == "sink":
        yield from _lacks(opened_by(cls, "open") if hasattr(cls, "open") else cls, _OF_ENCODER)
        yield from _lacks(opened_by(cls, "open_writer"), _OF_WRITER)


def _lacks(running: Any, wanted: Mapping[str, tuple[int, str]]) -> Iterator[str]:
    """Say what a class lacks; what is annotated with something else cannot be looked into."""
    if not isinstance(running, type) or running is Any:
        return
    own = {name: method for cls in reversed(running.__mro__[:-1]) for name, method in vars(cls).items()}
    for name, (arguments, written) in wanted.items():
        if name not in own:
            yield f"{running.__name__} has no {name}: write '{written}'"
        elif not _takes(getattr(running, name), arguments):
            yield f"{running.__name__}.{name} takes other arguments: write '{written}'"


def _takes(function: Any, arguments: int) -> bool:
    """Whether a function can be called with so many; what does not say so itself is believed."""
    try:
        inspect.signature(function).bind(*[None] * arguments)
    except TypeError:
        return False
    except ValueError:
        return True
    return True
