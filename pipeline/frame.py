"""What travels along the edges of a graph: a Frame, or the reason why there is none.

A frame is immutable: no stage changes one; the wiring has one of its own, and adds to it what stages return. Values are keyed
by their domain type, so a frame holds at most one of each type:

>>> frame = Frame(serial=7, event="run 3 // 12", received_ns=0)
>>> class Temperature(float): ...
>>> warm = frame.with_values(Temperature(294.5))
>>> warm[Temperature], Temperature in frame
(294.5, False)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pipeline.texts import LONGEST_NAME, LONGEST_TEXT, LONGEST_WORD, one_line

T = TypeVar("T")

Buffer = bytes | bytearray | memoryview
"""Anything that a message part may be; read only to every stage, and never copied on the way."""


@dataclass(frozen=True, slots=True)
class Preamble:
    """What a sender has said once before this message and others: the header of a series of frames, say.

    Attributes
    ----------
    number
        Whoever has made something of one, and sees the same number again, need not do so again.
    parts
        As they came.
    keep_alive
        Whatever owns the memory behind `parts`.
    """

    number: int
    parts: tuple[Buffer, ...]
    keep_alive: object = field(default=None, compare=False, repr=False)

    @staticmethod
    def of(parts: tuple[Buffer, ...], keep_alive: object = None) -> Preamble:
        """Give what a sender has said a number that no other has, from whichever process or machine it comes."""
        return Preamble(int.from_bytes(os.urandom(8)), parts, keep_alive)

    def as_bytes(self) -> Preamble:
        """Return one that has memory of its own."""
        return Preamble(self.number, tuple(part if isinstance(part, bytes) else bytes(part) for part in self.parts))

    def __reduce__(self) -> Any:
        own = self.as_bytes()
        return Preamble, (own.number, own.parts)


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came: topic, time and parts.

    Attributes
    ----------
    topic
        The tag frame of a PUB message, ``b""`` where there is none.
    received_ns
        ``time.time_ns()`` at which the last part arrived.
    parts
        The message's body, as the buffers that came, in order (one, for every format of today).
    keep_alive
        Whatever owns the memory behind `parts` (a ``zmq.Frame``, a shared-memory slot).
    preamble
        What the sender has said once, and means for this message too; None where there is nothing of the kind.
    sender
        Which of a source's senders it came from, where there are several; 0 is the first.
    """

    topic: bytes
    received_ns: int
    parts: tuple[Buffer, ...]
    keep_alive: object = field(default=None, compare=False, repr=False)
    preamble: Preamble | None = None
    sender: int = 0

    def detached(self) -> None:
        """Nothing is left of a message without its memory."""

    def __reduce__(self) -> Any:
        # in another process it has memory of its own; what is `bytes` already stays what it is, a stand-in too
        parts = tuple(part if isinstance(part, bytes) else bytes(part) for part in self.parts)
        return Message, (self.topic, self.received_ns, parts, None, self.preamble, self.sender)

    def __repr__(self) -> str:
        return f"Message({sum(memoryview(part).nbytes for part in self.parts)} bytes)"


LONGEST_EVENT = 1024
"""Characters of an event's name."""


class Event(str):
    """The name under which the sender knows the frame; a stage that writes it renames the frame, any may read it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame on its way: who it is, and what is known of it so far.

    Attributes
    ----------
    serial
        The frame's number in the run, stamped at ingest.
    event
        The event's name; empty until a stage has read it from the message.
    received_ns
        ``time.time_ns()`` at ingest.
    values
        Results so far, keyed by domain type.
    """

    serial: int
    event: str = ""
    received_ns: int = 0
    values: Mapping[type, object] = field(default_factory=dict)

    def __getitem__(self, kind: type[T]) -> T:
        if kind is Event:
            return Event(self.event)  # type: ignore[return-value]
        try:
            return self.values[kind]  # type: ignore[return-value]
        except KeyError:
            _check_is_type(kind)
            have = ", ".join(sorted(k.__name__ for k in self.values)) or "nothing"
            raise KeyError(f"frame {self.serial} holds no {kind.__name__} (it holds {have})") from None

    def __contains__(self, kind: type) -> bool:
        return kind in self.values or kind is Event or _check_is_type(kind)

    def get(self, kind: type[T]) -> T | None:
        """Return the frame's value of this type, or None."""
        if kind is Event:
            return Event(self.event)  # type: ignore[return-value]
        value = self.values.get(kind)
        if value is None:
            _check_is_type(kind)
        return value  # type: ignore[return-value]

    def with_values(self, *values: object) -> Frame:
        """Return a frame that holds these values too, each under its own type."""
        return self.with_items((type(value), value) for value in values)

    def with_items(self, items: Iterable[tuple[type, object]]) -> Frame:
        """Return a frame that holds these (type, value) pairs too; a later value of a type replaces an earlier one."""
        merged = dict(self.values)
        event = self.event
        for kind, value in items:
            if kind is Event:
                event = one_line(str(value), LONGEST_EVENT)
            else:
                merged[kind] = value
        return Frame(self.serial, event, self.received_ns, merged)

    def without(self, *kinds: type) -> Frame:
        """Return a frame that no longer holds values of these types (to let go of pixels, say)."""
        return replace(self, values={k: v for k, v in self.values.items() if k not in kinds})

    def detached(self) -> Frame:
        """Return a frame that keeps nothing alive of the message in which it came, and so no pixels.

        The message is let go of. A value that holds memory of it has a method ``detached()``, which returns the value without
        that, or None where nothing would be left.
        """
        held = self.values.items()
        kept = {kind: value.detached() if hasattr(value, "detached") else value for kind, value in held}
        return replace(self, values={kind: value for kind, value in kept.items() if value is not None})

    def plot(self) -> Any:
        """Draw the frame, with all that is known of it, as a matplotlib ``Figure``, which a notebook shows."""
        from pipeline.drawing import plot

        return plot(self)

    def __repr__(self) -> str:
        return f"Frame({_who(self)}: {_what_it_holds(self)})"


def _who(frame: Frame | Rejected) -> str:
    return str(frame.serial) + (f", {frame.event!r}" if frame.event else "")


def _what_it_holds(frame: Frame) -> str:
    return ", ".join(_in_short(kind, value) for kind, value in frame.values.items()) or "nothing yet"


def _in_short(kind: type, value: object) -> str:
    """The name of a value's type, and how many it has."""
    return (
        f"{kind.__name__}[{len(value)}]"
        if isinstance(value, Sized) and not isinstance(value, str | bytes)
        else kind.__name__
    )


def _check_is_type(kind: object) -> bool:
    """False; TypeError for what is no type, by which nothing can be found in a frame."""
    if isinstance(kind, type):
        return False
    what = f"write {kind} without quotes" if isinstance(kind, str) else f"{kind!r} is none"
    raise TypeError(f"a frame's values are found by their types, as in frame[Message]: {what}")


@dataclass(frozen=True, slots=True)
class Rejected:
    """A frame that could not be processed: where it failed, why, and what was known of it by then.

    It travels down the same edges as a frame would, and later stages hand it on. Its texts, whatever they quote, are escaped
    and cut when it is made.
    """

    serial: int
    event: str
    received_ns: int
    node: str
    reason: str
    detail: str
    frame: Frame

    def detached(self) -> Rejected:
        """Return the rejection of a frame that keeps nothing alive of its message: see :meth:`Frame.detached`."""
        return replace(self, frame=self.frame.detached())

    def __repr__(self) -> str:
        return f"Rejected({_who(self)}, at {self.node}: {self.reason}: {self.detail})"

    def __post_init__(self) -> None:
        for name, most in _LONGEST.items():
            object.__setattr__(self, name, one_line(getattr(self, name), most))

    def __str__(self) -> str:
        name = f" ({self.event})" if self.event else ""
        return f"frame {self.serial}{name} rejected at {self.node}: {self.reason}: {self.detail}"


_LONGEST = {"event": LONGEST_EVENT, "node": LONGEST_NAME, "reason": LONGEST_WORD, "detail": LONGEST_TEXT}

Outcome = Frame | Rejected
"""What arrives at every leaf, exactly once for each frame."""


@dataclass(frozen=True, slots=True)
class Spent:
    """How long stages have worked on the frame so far, all that it has passed; kept only where a node downstream reads it."""

    ns: int


class Joined(Mapping[str, Outcome]):
    """The outcomes of a fan-out's branches for one frame, by the name of each branch's last node."""

    def __init__(self, outcomes: Mapping[str, Outcome]) -> None:
        self._outcomes = dict(outcomes)

    def __getitem__(self, branch: str) -> Outcome:
        return self._outcomes[branch]

    def __iter__(self) -> Any:
        return iter(self._outcomes)

    def __len__(self) -> int:
        return len(self._outcomes)

    def detached(self) -> Joined:
        """Return the outcomes without what keeps their message alive."""
        return Joined({branch: outcome.detached() for branch, outcome in self._outcomes.items()})

    def __repr__(self) -> str:
        return f"Joined({', '.join(f'{branch}: {outcome!r}' for branch, outcome in self._outcomes.items())})"
