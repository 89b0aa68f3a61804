"""Numbers that a sender gives its messages: what is missing, late, there again, counted anew."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.lost import Delivery, figures, lost, said
from pipeline.sender_numbers import (
    BEGUN_ANEW,
    LEAP,
    MOST_HELD,
    MOST_SERIES,
    WINDOW,
    SenderNumber,
    SenderNumbers,
    Series,
    Tally,
)

KEY = "sequence_number"


def tally_of(numbers: Iterable[int], window: int = WINDOW) -> Tally:
    tally = Tally(key=KEY)
    series = Series(tally, window)
    for number in numbers:
        series.take(number)
    series.end()
    return tally


def counted(pairs: Iterable[tuple[int, int | None]], first_serial: int = 1) -> Tally:
    """Serials, each with its number."""
    numbers = SenderNumbers(first_serial)
    for serial, number in pairs:
        numbers.take(serial, None if number is None else SenderNumber(number, KEY))
    numbers.end()
    return numbers.tally


shuffled = st.tuples(
    st.integers(-1000, 10**15),
    st.sets(st.integers(0, 400), min_size=1, max_size=120),
    st.lists(st.integers(0, 10**6), max_size=BEGUN_ANEW - 1),
    st.randoms(use_true_random=False),
)
"""Where the numbers begin, which of them come, which of those twice, and in what order."""


def arrivals(begin: int, offsets: set[int], again: list[int], random: random.Random) -> list[int]:
    come = sorted(begin + offset for offset in offsets)
    numbers = come + [come[n % len(come)] for n in again]
    random.shuffle(numbers)
    return numbers


@given(shuffled)
@settings(max_examples=40)
def test_any_order_with_holes_and_repeats_is_counted_as_sets_count_it(drawn: tuple) -> None:
    numbers = arrivals(*drawn)
    seen: set[int] = set()
    in_order = late = repeats = 0
    for number in numbers:
        in_order += number not in seen and number > max(seen, default=number - 1)
        late += number not in seen and number < max(seen, default=number)
        repeats += number in seen
        seen.add(number)

    tally = tally_of(numbers)

    assert tally.missing == len(set(range(min(seen), max(seen) + 1)) - seen)
    assert (tally.in_order, tally.late, tally.repeats) == (in_order, late, repeats)
    assert (tally.restarts, tally.strays) == (0, 0)
    assert tally.expected == max(seen) - min(seen) + 1


@given(st.lists(st.integers(-(2**63), 2**64) | st.integers(0, 60), max_size=200))
@settings(max_examples=60)
def test_whatever_numbers_come_each_is_counted_once(numbers: list[int]) -> None:
    tally = tally_of(numbers, window=16)

    assert tally.in_order + tally.late + tally.repeats + tally.strays == len(numbers)
    assert min(tally.missing, tally.late, tally.repeats, tally.in_order) >= 0


@given(shuffled, st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_replicas_that_finish_in_any_order_change_nothing(drawn: tuple, random: random.Random) -> None:
    pairs = list(enumerate(arrivals(*drawn), start=7))
    finished = list(pairs)
    random.shuffle(finished)

    assert counted(finished, first_serial=7) == counted(pairs, first_serial=7)


def test_a_frame_that_is_never_finished_holds_nothing_up_and_is_not_lost() -> None:
    numbers = SenderNumbers()
    for serial in (1, *range(3, MOST_HELD + 13)):
        numbers.take(serial, SenderNumber(serial, KEY))

    assert numbers.tally.in_order == MOST_HELD + 11, "serial 2 is passed over"
    assert (numbers.tally.missing, numbers.tally.lost, numbers.tally.unnumbered) == (1, 0, 1)
    numbers.take(2, SenderNumber(2, KEY))
    numbers.end()
    assert (numbers.tally.missing, numbers.tally.lost, numbers.tally.strays) == (1, 0, 0)


def test_a_sender_that_begins_anew_loses_nothing_by_that() -> None:
    far = [*range(10_000), *range(50)]
    near = [*range(100), *range(50)]
    with_a_gap_before = [*range(30), *range(40, 60), *range(45)]
    to_other_numbers = [*range(10), *range(10**9, 10**9 + 10)]

    for numbers, missing in ((far, 0), (near, 0), (with_a_gap_before, 10), (to_other_numbers, 0)):
        tally = tally_of(numbers)
        assert (tally.restarts, tally.missing, tally.strays, tally.repeats) == (1, missing, 0, 0)
        assert tally.in_order == len(numbers)


def test_messages_lost_after_a_sender_has_begun_anew_are_counted() -> None:
    tally = tally_of([*range(10_000), *range(3, 40), *range(50, 60)])

    assert (tally.restarts, tally.missing) == (1, 10), "of those before the first nobody knows"


def test_one_number_far_from_all_others_is_no_loss() -> None:
    for stray in (-5, 10**12):
        tally = tally_of([*range(20_000), stray, *range(20_000, 20_010)])
        assert (tally.missing, tally.restarts, tally.strays) == (0, 0, 1)
    assert tally_of([1, 2, 10**12]).missing == 0


def test_a_long_silence_is_a_loss_of_all_that_was_sent_meanwhile() -> None:
    assert tally_of([1, 2, LEAP, LEAP + 1]).missing == LEAP - 3


def test_what_is_missing_for_long_takes_no_memory() -> None:
    tally = Tally(key=KEY)
    series = Series(tally)
    for number in range(0, 20 * WINDOW, 2):
        series.take(number)

    assert tally.missing == 10 * WINDOW - 1
    assert len(series._begins) <= WINDOW // 2 + 1


def test_what_was_received_and_dropped_here_is_not_lost_before() -> None:
    tally = counted([(1, 10), (2, None), (3, None), (4, 15), (5, 16), (6, None), (7, 17)])

    assert (tally.missing, tally.accounted, tally.lost) == (4, 2, 2)
    assert said(tally, Delivery.PUBLISHED, 7) == (
        "lost before receipt: 2 of 8 messages (25.0 %), by their sequence_number"
    )


def test_events_are_numbered_in_each_file_from_the_beginning() -> None:
    numbers = SenderNumbers()
    events = [("a // ", 0), ("a // ", 1), ("b // ", 0), ("a // ", 2), ("b // ", 2)]
    for serial, (series, number) in enumerate(events, start=1):
        numbers.take(serial, SenderNumber(number, "event_id", False, series))

    tally = numbers.tally
    assert (tally.missing, tally.restarts, tally.expected) == (1, 0, 6)
    assert lost(tally, Delivery.PUBLISHED) == 0, "a sender may choose among its events"
    assert "1 of 6 events (16.7 %), by their event_id: not sent" in said(tally, Delivery.PUBLISHED, 5)


def test_files_of_one_event_each_have_no_count() -> None:
    numbers = SenderNumbers()
    for serial in range(1, 3 * MOST_SERIES):
        numbers.take(serial, SenderNumber(0, "event_id", False, f"{serial}.cbf // "))

    assert not numbers.tally.is_count
    assert figures(numbers.tally, Delivery.PUBLISHED)["not_received"] is None
    assert said(numbers.tally, Delivery.SHARED, 100) == ""


def test_only_what_goes_to_everybody_is_lost_for_certain() -> None:
    tally = tally_of([1, 2, 5])

    assert [lost(tally, delivery) for delivery in Delivery] == [2, 0, 0]
    assert figures(tally, Delivery.SHARED)["lost"] is None
    assert "lost, unless others take from the same sender or this is a replay" in said(tally, Delivery.SHARED, 3)
    whole = replace(tally, missing=0)
    assert said(whole, Delivery.PUBLISHED, 3) == "lost before receipt: none of 3 messages, by their sequence_number"
    assert [said(whole, delivery, 3) for delivery in (Delivery.SHARED, Delivery.READ)] == ["", ""]


def test_numbers_of_another_key_than_the_first_are_not_mixed_with_them() -> None:
    numbers = SenderNumbers()
    numbers.take(1, SenderNumber(5, KEY))
    numbers.take(2, SenderNumber(900, "event_id", False))
    numbers.take(3, SenderNumber(6, KEY))

    assert (numbers.tally.missing, numbers.tally.unnumbered) == (0, 1)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shared", [True, False], ids=["one count", "a count each"])
def test_of_two_accounts_the_one_in_which_less_is_odd_holds(seed: int, shared: bool) -> None:
    """Three senders, of whose messages a few are lost, and which are read in no particular order."""
    draw = random.Random(seed)
    if shared:
        dealt = [(n % 3, n) for n in range(600)]
        sent = [[one for one in dealt if one[0] == sender] for sender in range(3)]
    else:
        sent = [[(sender, 1000 * sender * (seed % 2) + n) for n in range(200)] for sender in range(3)]
    lost = 0
    for one in sent:
        for at in sorted(draw.sample(range(30, 170), 4), reverse=True):
            del one[at]
            lost += 1
    numbers = SenderNumbers()
    serial = 0
    ahead = [0, 0, 0]
    while any(sent):
        # senders that share a count are dealt to in turn, and none is far ahead of the others
        sender = draw.choice([k for k in range(3) if sent[k] and (not shared or ahead[k] <= min(ahead) + 20)] or [0])
        if not sent[sender]:
            sender = next(k for k in range(3) if sent[k])
        serial += 1
        ahead[sender] += 1
        _, number = sent[sender].pop(0)
        numbers.take(serial, SenderNumber(number, KEY, sender=sender))
    numbers.end()
    assert (numbers.tally.missing, numbers.tally.repeats) == (lost, 0)
