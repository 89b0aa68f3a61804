"""Stages, guarded: what they want is taken from a frame, what they return is added, and what they raise rejects the frame.

Stages that follow each other are one chain. It has one frame in its hands, whose values are its own while it goes
through, so that nothing is copied between two stages; and one look at the clock ends a stage and begins the next.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from pipeline.contract import Contract
from pipeline.faults import STAGE, named, refusal
from pipeline.frame import Event, Frame, Outcome, Rejected, Spent
from pipeline.metrics import NodeMetrics

log = logging.getLogger("streamajig.wiring")

At = tuple[str, Any, int]
"""Node, what it works on, and since when by ``time.perf_counter_ns``."""

Place = list[At | None]
"""Where a replica is: its one item, None outside of stages.

It is set at each stage and read by whoever watches from another thread; a store and a load of one item need no lock. When the
stage returns more values are added to the frame that stands there: see `as_now`.
"""

Values = dict[type, object]

Work = Callable[[Frame, Values], Frame | None]
"""Has a stage work on a frame, and adds what it returns to the frame's values, which are handed over beside it to be written
to. A frame is returned if it is another one now, because the stage has renamed it."""


def as_now(outcome: Outcome) -> Outcome:
    """Return an outcome that stays as it is, of one on which a stage works: that may return after all, and add to it."""
    if isinstance(outcome, Rejected):
        return outcome
    return Frame(outcome.serial, outcome.event, outcome.received_ns, dict(outcome.values))


class Link(NamedTuple):
    """One stage of a chain."""

    node: str
    work: Work
    metrics: NodeMetrics


def guard(
    node: str, contract: Contract, call: Callable[..., Any], metrics: NodeMetrics, place: Place
) -> Callable[[Outcome], Outcome]:
    """Wrap a running stage: take its arguments from the frame, add its results, turn exceptions into rejections."""
    return chain([link(node, contract, call, metrics)], place)


def link(
    node: str, contract: Contract, call: Callable[..., Any], metrics: NodeMetrics, *, keeps_time: bool = False
) -> Link:
    """Make a running stage part of a chain. With `keeps_time` the frame is told how long stages have worked on it (`Spent`)."""
    work = named(f"{STAGE}{node}", _working(contract, call))
    return Link(node, _timed(work) if keeps_time else work, metrics)


def chain(links: Sequence[Link], place: Place) -> Callable[[Outcome], Outcome]:
    """Return what takes a frame through stages that follow each other; one that is rejected is handed on."""
    clock = time.perf_counter_ns
    steps = [(one.node, one.work, one.metrics, one.metrics.durations.adding) for one in links]

    def pass_through(outcome: Outcome) -> Outcome:
        if isinstance(outcome, Rejected):
            return outcome
        values = dict(outcome.values)
        frame = Frame(outcome.serial, outcome.event, outcome.received_ns, values)
        started = clock()
        for node, work, metrics, took in steps:
            place[0] = (node, frame, started)
            try:
                frame = work(frame, values) or frame
            except BaseException as error:
                # the guard's purpose: whatever a stage raises rejects this frame and no other
                place[0] = None
                took(clock() - started)
                metrics.rejected += 1
                log.debug("stage %s failed on frame %d", node, frame.serial, exc_info=True)
                return refusal(frame, node, error)
            ended = clock()
            took(ended - started)
            started = ended
        place[0] = None
        return frame

    return pass_through


def _working(contract: Contract, call: Callable[..., Any]) -> Work:
    """How a stage works on a frame, as fast as its contract allows."""
    taking, writes = _taking(contract), contract.writes
    if len(writes) > 1 or Event in writes:
        return _adding_several(taking, call, writes)
    if not writes:

        def only_look(outcome: Frame, values: Values) -> None:
            call(*taking(outcome, values))

        return only_look
    (kind,) = writes
    if len(contract.reads) == 1 and not contract.optional and Event not in contract.reads:
        (read,) = contract.reads

        def add_one_of_one(outcome: Frame, values: Values) -> None:
            result = call(values[read] if read in values else outcome[read])
            if not isinstance(result, kind):
                raise _wrong(kind, result)
            values[kind] = result

        return add_one_of_one

    def add_one(outcome: Frame, values: Values) -> None:
        result = call(*taking(outcome, values))
        if not isinstance(result, kind):
            raise _wrong(kind, result)
        values[kind] = result

    return add_one


def _adding_several(
    taking: Callable[[Frame, Values], Sequence[Any]], call: Callable[..., Any], writes: tuple[type, ...]
) -> Work:
    def add_several(outcome: Frame, values: Values) -> Frame | None:
        returned = call(*taking(outcome, values))
        results = returned if len(writes) > 1 else (returned,)
        if not isinstance(results, tuple) or len(results) != len(writes):
            raise TypeError(f"the stage should return {len(writes)} values and returned {type(returned).__name__}")
        for kind, value in zip(writes, results, strict=True):
            if not isinstance(value, kind):
                raise _wrong(kind, value)
        made = outcome.with_items(zip(writes, results, strict=True))
        values.update(made.values)
        return Frame(made.serial, made.event, made.received_ns, values)

    return add_several


def _taking(contract: Contract) -> Callable[[Frame, Values], Sequence[Any]]:
    """How a stage's arguments are taken from a frame; one that is wanted and not there is a KeyError that says so."""
    kinds = [(kind, kind in contract.optional) for kind in contract.reads]

    def ask(outcome: Frame, _: Values) -> Sequence[Any]:
        return [outcome.get(kind) if may_lack else outcome[kind] for kind, may_lack in kinds]

    def take(outcome: Frame, values: Values) -> Sequence[Any]:
        try:
            return [values.get(kind) if may_lack else values[kind] for kind, may_lack in kinds]
        except KeyError:
            return ask(outcome, values)

    if Event in contract.reads:  # an event is no value; else asking a frame takes twice as long
        return ask
    if len(kinds) < 2 or contract.optional:
        return take
    pick = itemgetter(*contract.reads)

    def pick_all(outcome: Frame, values: Values) -> Sequence[Any]:
        try:
            return pick(values)  # type: ignore[no-any-return]
        except KeyError:
            return ask(outcome, values)

    return pick_all


def _wrong(kind: type, value: Any) -> TypeError:
    return TypeError(f"the stage should return a {kind.__name__} and returned a {type(value).__name__}")


def _timed(work: Work) -> Work:
    """The same, and what the stage has taken is added to what those before it took."""

    def keep_time(outcome: Frame, values: Values) -> Frame | None:
        started = time.perf_counter_ns()
        try:
            return work(outcome, values)
        finally:
            spent = values.get(Spent)
            before = spent.ns if isinstance(spent, Spent) else 0
            values[Spent] = Spent(before + time.perf_counter_ns() - started)

    return keep_time
