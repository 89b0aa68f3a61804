"""What a source promises: messages as long as there is room for them, an end when it is asked to stop, and no long wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from pipeline import Context, EndOfStream, Message
from stages.contract_suite.broken import BrokenError, close_twice, nothing_left_open

MOST = 12
"""So many messages are enough."""

TIMEOUT_S = 0.05
PATIENCE_S = 5.0
"""So long it may take until the first message comes, and until the stream has ended."""

SLOW_S = 1.0
"""A call that is told to wait for `TIMEOUT_S` and lasts longer than this holds up the end of the run."""


def promises(stage: Any) -> Iterator[tuple[str, Callable[[], str]]]:
    """The promises, by name; each returns a few words or raises."""
    yield "sends messages", lambda: _sends(stage)
    yield "waits for room", lambda: _waits_for_room(stage)
    yield "stops when asked", lambda: _stops(stage)
    yield "opens and closes", lambda: _closes(stage)


def _sends(stage: Any) -> str:
    running = stage.open(Context())
    try:
        started = time.monotonic()
        found = _received(running, MOST)
        spent_ms = 1000 * (time.monotonic() - started)
        if not isinstance(running.status(), str):
            raise BrokenError("status() returns no text")
    finally:
        close_twice(running)
    if not found:
        raise BrokenError(f"no message came within {PATIENCE_S:g} s")
    for message in found:
        if not isinstance(message, Message):
            raise BrokenError(
                f"receive() returns a {type(message).__name__} among its messages, and Message was wanted"
            )
        if not message.parts:
            raise BrokenError("a message has no parts")
        for part in message.parts:
            memoryview(part)  # TypeError if it is no buffer
    size = sum(memoryview(part).nbytes for part in found[0].parts)
    return f"{len(found)} messages, the first of {size} bytes; {spent_ms / len(found):.3g} ms each"


def _waits_for_room(stage: Any) -> str:
    """With no room it returns nothing, after as long as it was told to wait at most; for those unasked that is allowed."""
    running = stage.open(Context())
    try:
        asks = not hasattr(stage, "when_full")
        started = time.monotonic()
        found = list(running.receive(TIMEOUT_S, 0))
        if time.monotonic() - started > SLOW_S:
            raise BrokenError(
                f"receive({TIMEOUT_S}, 0) came back after more than {SLOW_S:g} s: it waits no longer than it is told"
            )
        if found and asks:
            raise BrokenError(
                f"receive({TIMEOUT_S}, 0) returned {len(found)} messages though there is room for none; one to which data come "
                "unasked has a field when_full"
            )
    except EndOfStream:
        raise BrokenError("it ended before it was asked for anything") from None
    finally:
        close_twice(running)
    return ""


def _stops(stage: Any) -> str:
    running = stage.open(Context())
    try:
        _received(running, 1)
        left = running.stop_asking()
        if not isinstance(left, int) or left < 0:
            raise BrokenError(f"stop_asking() says {left!r}, and the number of messages that may still come was wanted")
        came = _received(running, left + 1, until_end=True)
        if len(came) > left:
            raise BrokenError(f"stop_asking() said that {left} messages may still come, and more came")
    finally:
        close_twice(running)
    return f"{left} messages may still come then"


def _closes(stage: Any) -> str:
    with nothing_left_open():
        for _ in range(2):
            close_twice(stage.open(Context()))
    return ""


def _received(running: Any, most: int, *, until_end: bool = False) -> list[Any]:
    """Up to so many messages; with `until_end` the stream is to end."""
    found: list[Any] = []
    end = time.monotonic() + PATIENCE_S
    while len(found) < most and time.monotonic() < end:
        try:
            found += running.receive(TIMEOUT_S, most - len(found))
        except EndOfStream:
            return found
    if until_end and len(found) < most:
        raise BrokenError(
            f"it did not end within {PATIENCE_S:g} s of being asked to stop: raise EndOfStream when there is no more"
        )
    return found
