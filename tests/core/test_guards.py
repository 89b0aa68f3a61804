"""How a frame goes through a chain of guarded stages, what is left of it where one fails, and what is counted of it."""

from __future__ import annotations

import math
import pickle
import random
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from pipeline import Frame, Message, Outcome, Rejected, RejectFrame
from pipeline.contract import contract_of
from pipeline.frame import Event, Spent
from pipeline.metrics import TOGETHER, Durations, NodeMetrics
from pipeline.running.guards import Place, as_now, chain, link
from pipeline.running.leaves import Ears, guard_encoder


class One(int):
    """A value."""


class Two(int):
    """Another."""


class Three(int):
    """And another."""


class First:
    def __call__(self, message: Message) -> One:
        return One(1)


class Second:
    def __call__(self, one: One, three: Three | None) -> Two:
        return Two(one + 1 if three is None else three)


class Named:
    def __call__(self, one: One, two: Two) -> tuple[Event, Three]:
        return Event("shot 5"), Three(one + two)


class Half:
    """One of what it returns is not what it should be."""

    def __call__(self, event: Event) -> tuple[One, Two]:
        return One(7), 8  # type: ignore[return-value]


class Refuses:
    def __call__(self, two: Two) -> None:
        raise RejectFrame("too_small", str(two))


def through(*stages: Any, place: Place | None = None, **how: Any) -> tuple[Outcome, dict[str, NodeMetrics], Frame]:
    metrics = {type(one).__name__: NodeMetrics() for one in stages}
    links = [
        link(name, contract_of(type(one)), one, metrics[name], **how) for name, one in zip(metrics, stages, strict=True)
    ]
    frame = Frame(3, "", 12, {Message: Message(b"", 0, (b"x",))})
    return chain(links, [None] if place is None else place)(frame), metrics, frame


def test_stages_that_follow_each_other_add_what_they_return_and_the_frame_that_came_stays_as_it_was() -> None:
    done, metrics, frame = through(First(), Second(), Named())
    assert isinstance(done, Frame)
    assert (done.serial, done.event, done.received_ns) == (3, "shot 5", 12)
    assert dict(done.values) == {**frame.values, One: 1, Two: 2, Three: 3}
    assert list(frame.values) == [Message]
    assert frame.event == ""
    assert [(one.durations.count, one.rejected) for one in metrics.values()] == [(1, 0)] * 3


def test_a_frame_that_is_rejected_holds_what_was_known_before_and_no_half_of_a_result() -> None:
    done, metrics, _ = through(First(), Half(), Second())
    assert isinstance(done, Rejected)
    assert (done.node, done.reason) == ("Half", "stage_failed")
    assert "should return a Two and returned a int" in done.detail
    assert set(done.frame.values) == {Message, One}
    assert done.frame[One] == 1
    counted = {name: (one.durations.count, one.rejected) for name, one in metrics.items()}
    assert counted == {"First": (1, 0), "Half": (1, 1), "Second": (0, 0)}


def test_what_a_stage_wants_and_nobody_has_written_is_said() -> None:
    done, _, _ = through(Named())
    assert isinstance(done, Rejected)
    assert "frame 3 holds no One (it holds Message)" in done.detail


def test_a_rejected_frame_is_handed_on_and_a_stage_that_returns_nothing_may_refuse_one() -> None:
    done, _, _ = through(First(), Second(), Refuses(), Named())
    assert isinstance(done, Rejected)
    assert (done.node, done.reason, done.detail) == ("Refuses", "too_small", "2")
    assert chain([], [None])(done) is done


@pytest.mark.parametrize("last", [Second(), Half()], ids=["that returns", "that fails"])
def test_a_frame_is_told_what_stages_have_taken_that_are_timed_and_one(last: Any) -> None:
    done, _, _ = through(First(), last, keeps_time=True)
    frame = done.frame if isinstance(done, Rejected) else done
    assert frame[Spent].ns > 0


def test_who_watches_sees_each_stage_with_the_frame_and_nothing_after_the_last() -> None:
    place: Place = [None]
    seen = []

    class Looking:
        def __call__(self, one: One) -> Two:
            assert place[0] is not None
            seen.append((place[0][0], place[0][1].serial, dict(place[0][1].values)[One]))
            return Two(2)

    through(First(), Looking(), place=place)
    assert seen == [("Looking", 3, 1)]
    assert place == [None]


def test_a_frame_that_is_given_up_stays_as_it_is_when_its_stage_returns_after_all() -> None:
    place: Place = [None]
    given_up = []

    class GivenUp:
        def __call__(self, one: One) -> Two:
            assert place[0] is not None
            given_up.append(as_now(place[0][1]))
            return Two(2)

    done, _, _ = through(First(), GivenUp(), place=place)
    assert isinstance(done, Frame)
    assert set(done.values) == {Message, One, Two}
    assert set(given_up[0].values) == {Message, One}


class Counting:
    """A value that knows how often it was asked."""

    def __init__(self, name: Any = "ones") -> None:
        self.name, self.asked = name, 0

    def counts(self) -> Mapping[str, int]:
        self.asked += 1
        return {self.name: 1}


def test_a_value_is_asked_once_what_it_counts_for_all_leaves_and_anew_for_each_frame() -> None:
    ears = Ears()
    leaves = [guard_encoder(f"leaf{n}", lambda outcome: b"chunk", NodeMetrics(), [None], ears) for n in range(3)]
    values = [Counting(), Counting()]
    for value in values:
        frame = Frame(1, "", 0, {Counting: value})
        assert [leaf(frame).counts for leaf in leaves] == [{"ones": 1}] * 3
        ears.forget()
    assert [value.asked for value in values] == [1, 1]


def test_a_value_that_cannot_be_counted_rejects_the_frame_at_each_leaf() -> None:
    ears = Ears()
    metrics = [NodeMetrics(), NodeMetrics()]
    leaves = [guard_encoder(f"leaf{n}", lambda outcome: b"chunk", one, [None], ears) for n, one in enumerate(metrics)]
    arrived = [leaf(Frame(1, "", 0, {Counting: Counting(7)})) for leaf in leaves]
    assert [(one.leaf, one.encoded, one.counts) for one in arrived] == [("leaf0", None, {}), ("leaf1", None, {})]
    assert all(one.rejected is not None and "one of the names is 7" in one.rejected.detail for one in arrived)
    assert [one.rejected for one in metrics] == [1, 1]


def test_durations_are_all_counted_whoever_asks_meanwhile() -> None:
    durations = Durations()
    add, number, seen = durations.adding, 40 * TOGETHER, []

    def ask() -> None:
        while not seen or seen[-1] < number:
            seen.append(durations.count)

    asking = [threading.Thread(target=ask, daemon=True) for _ in range(2)]
    for one in asking:
        one.start()
    for ns in range(number):
        (add if ns % 2 else durations.add)(ns + 1)
    for one in asking:
        one.join(60)
    assert durations.count == seen[-1] == number
    assert durations.total_ns == number * (number + 1) // 2
    assert Counter(durations.bins).total() == number


def test_a_duration_lies_in_the_bin_of_its_logarithm() -> None:
    rng = random.Random(3)
    special = [0, -5, 1, 2, 3, 4, 7, 8, 16, 1024, 2**20, 2**40]
    for _ in range(50):
        given = [rng.choice([*special, int(10 ** rng.uniform(0, 12))]) for _ in range(2 * TOGETHER)]
        durations = Durations()
        for ns in given:
            durations.add(ns)
        assert durations.bins == Counter(int(8 * math.log2(ns)) if ns > 0 else 0 for ns in given)
        assert (durations.count, durations.total_ns) == (len(given), sum(given))
        assert pickle.loads(pickle.dumps(durations)) == durations
