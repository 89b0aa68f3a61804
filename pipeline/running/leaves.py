"""Where a replica ends: a sink's encoder makes of an outcome what is to be written, and what its values count comes along."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from pipeline.faults import STAGE, named, refusal
from pipeline.frame import Frame, Message, Outcome, Preamble, Rejected
from pipeline.metrics import NodeMetrics
from pipeline.protocols import Encoder
from pipeline.running.guards import Place
from pipeline.sender_numbers import SenderNumber

log = logging.getLogger("streamajig.wiring")


class Arrived(NamedTuple):
    """What one leaf made of one frame; what crosses from a replica to the collector.

    Attributes
    ----------
    encoded
        What the sink's encoder returned, for its writer; None writes nothing.
    rejected
        The rejection, without the frame's values, or None for a frame that was delivered.
    counts
        What the frame's values add to the run's totals.
    message
        The raw message's parts as bytes, for dead letters that ask for it; empty otherwise.
    number
        The message's number in its sender's count, if a value of the frame has one.
    preamble
        What the sender has said before the raw message and others, where that is kept.
    """

    leaf: str
    serial: int
    event: str
    received_ns: int
    encoded: Any
    rejected: Rejected | None
    counts: Mapping[str, int]
    message: tuple[bytes, ...] = ()
    number: SenderNumber | None = None
    preamble: Preamble | None = None


class Said(NamedTuple):
    """What an outcome's values say: its sender's number, and what they count; or what went wrong when they were asked."""

    number: SenderNumber | None = None
    counts: Mapping[str, int] = {}  # nobody writes to it
    error: BaseException | None = None


class Ears:
    """Hears what outcomes say, once for all leaves at which one arrives. A replica has one pair."""

    def __init__(self) -> None:
        self._outcome: Outcome | None = None
        self._said = Said()

    def hear(self, outcome: Outcome) -> Said:
        """Return what an outcome says."""
        if outcome is not self._outcome:
            self._said = _said(outcome)
            self._outcome = outcome
        return self._said

    def forget(self) -> None:
        """Let go of the frame."""
        self._outcome = None


def guard_encoder(
    leaf: str, encoder: Encoder, metrics: NodeMetrics, place: Place, ears: Ears, *, keep_messages: bool = False
) -> Callable[[Outcome], Arrived]:
    """Wrap a sink's encoder: return what arrives, which is what is to be written, what is counted, and the sender's number.

    A frame that cannot be encoded or counted is rejected here, and nothing is written of it. One that comes rejected here,
    because encoding it took too long, is not tried again.
    """
    clock, took = time.perf_counter_ns, metrics.durations.adding

    def step(outcome: Outcome) -> Arrived:
        started = clock()
        place[0] = (leaf, outcome, started)
        encoded: Any = None
        number, counts, error = ears.hear(outcome)
        try:
            if error is not None:
                raise error
            if not (isinstance(outcome, Rejected) and outcome.node == leaf):
                encoded = encoder(outcome)
        except BaseException as error:  # as in guard
            metrics.rejected += 1
            log.debug("sink %s failed on frame %d", leaf, outcome.serial, exc_info=True)
            outcome = refusal(outcome, leaf, error)
        finally:
            place[0] = None
            took(clock() - started)
        if isinstance(outcome, Rejected):
            return _refused(leaf, outcome, encoded, number, counts, keep_messages)
        serial, event, received_ns = outcome.serial, outcome.event, outcome.received_ns
        return Arrived(leaf, serial, event, received_ns, encoded, None, counts, (), number)

    return named(f"{STAGE}{leaf}", step)


def _refused(
    leaf: str,
    rejected: Rejected,
    encoded: Any,
    number: SenderNumber | None,
    counts: Mapping[str, int],
    keep_messages: bool,
) -> Arrived:
    message: tuple[bytes, ...] = ()
    preamble = None
    raw = rejected.frame.get(Message)
    if keep_messages and raw is not None:
        message = tuple(bytes(part) for part in raw.parts)
        preamble = raw.preamble
    serial, event, received_ns = rejected.serial, rejected.event, rejected.received_ns
    bare = replace(rejected, frame=Frame(serial, event, received_ns))
    return Arrived(leaf, serial, event, received_ns, encoded, bare, counts, message, number, preamble)


_COUNTS, _HAS_NUMBER = 1, 2
_TELLS: dict[type, int] = {}
"""What values of a type tell beyond themselves: they count (HasCounts), and have their sender's number (HasNumber).

To look at each value anew takes longer than all else at a leaf.
"""


def _tells(value: object) -> int:
    told = _COUNTS * hasattr(value, "counts") + _HAS_NUMBER * hasattr(value, "sender_number")
    return _TELLS.setdefault(type(value), told)


def _said(outcome: Outcome) -> Said:
    frame = outcome.frame if isinstance(outcome, Rejected) else outcome
    number: SenderNumber | None = None
    try:
        telling = []
        for value in frame.values.values():
            told = _TELLS.get(type(value))
            if told is None:
                told = _tells(value)
            if told:
                telling.append((value, told))
        number = _number_of(frame, telling)
        return Said(number, _counts(telling))
    except BaseException as error:  # the leaf's guard raises it again
        return Said(number, {}, error)


def _number_of(frame: Frame, telling: list[tuple[Any, int]]) -> SenderNumber | None:
    """The message's number in its sender's count, of the value that has one (:class:`~pipeline.protocols.HasNumber`)."""
    for value, told in telling:
        if told & _HAS_NUMBER:
            number = value.sender_number
            if isinstance(number, SenderNumber):
                message = frame.get(Message)
                return number._replace(sender=message.sender) if message is not None and message.sender else number
    return None


def _counts(telling: list[tuple[Any, int]]) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for value, told in telling:
        if told & _COUNTS:
            for name, number in value.counts().items():
                if type(name) is not str:
                    raise TypeError(f"counts() should name what it counts, and one of the names is {name!r}")
                counts[name] = counts.get(name, 0) + number
    return counts
