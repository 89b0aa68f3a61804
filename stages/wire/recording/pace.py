"""How fast recorded messages are given out again: as they came, at a given rate, or as fast as they are taken."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from pydantic import Field

from stages.wire.recording.reading import Damaged, Recorded

Speed = Annotated[
    Literal["full", "recorded"] | Annotated[float, Field(gt=0)],
    Field(
        description="How fast: full, as fast as they are taken; recorded, as they came; or so many messages a second."
    ),
]


def speed_of(text: str) -> Literal["full", "recorded"] | float:
    """Read a speed.

    >>> speed_of("recorded"), speed_of("120")
    ('recorded', 120.0)
    """
    if text == "full":
        return "full"
    if text == "recorded":
        return "recorded"
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise ValueError(f"{text!r} should be full, recorded, or a number of messages a second above 0")
    return rate


class Pace:
    """Tells when each message is due.

    Recorded times that go back, as from the end of one recording to the beginning of the next, are taken for no time at all.
    """

    def __init__(self, speed: Literal["full", "recorded"] | float) -> None:
        self._speed = speed
        self._due = 0.0
        self._last_ns = 0
        self._given = 0

    def due(self, received_ns: int) -> float:
        """Return when the next message is to be given out, in the time of ``time.monotonic()``; to be called once for each."""
        self._given += 1
        if self._given == 1:
            self._due = time.monotonic()
        elif self._speed == "recorded":
            self._due += max(0, received_ns - self._last_ns) / 1e9
        elif isinstance(self._speed, float | int):
            self._due += 1 / self._speed
        self._last_ns = received_ns
        return self._due

    def begin(self) -> None:
        """Say that it begins now that the first message has been taken, if only one has."""
        if self._given == 1:
            self._due = time.monotonic()


def paced(found: Iterable[Recorded | Damaged], pace: Pace) -> Iterator[Recorded]:
    """Yield messages when they are due; whoever takes them waits. Damaged places are left out."""
    for one in found:
        if isinstance(one, Recorded):
            time.sleep(max(0.0, pace.due(one.received_ns) - time.monotonic()))
            yield one
            pace.begin()
