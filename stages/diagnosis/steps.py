"""Conclusions in steps: what takes long is drawn between frames, a step at each, so that none of them waits for all of it."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
"""A conclusion on its way: it stops after each step, of some milliseconds, and returns what it comes to."""


def at_once(steps: Steps[T]) -> T:
    """Go on to the end without a stop, and return what a conclusion comes to.

    >>> def five():
    ...     yield
    ...     return 5
    >>> at_once(five())
    5
    """
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
