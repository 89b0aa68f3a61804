"""Conclusions in steps: what takes long is drawn between frames, a step at each, so that none of them waits for all of it."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[float, None, T]
"""A conclusion on its way: it stops after each step, says which part of what may be done with one frame, some milliseconds, the
step has been, and returns what it comes to in the end. The parts follow from how much there was to do and not from a clock, so
that every run says the same after the same frame."""


def at_once(steps: Steps[T]) -> T:
    """Go on to the end without a stop, and return what a conclusion comes to.

    >>> def five():
    ...     yield 0.5
    ...     return 5
    >>> at_once(five())
    5
    """
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
