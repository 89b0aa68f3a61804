"""How it is said what did not come: a line of the report, figures for programs, a number for the progress line.

That a number is missing is a fact; that the message is lost is known only of a sender that gives every message to everybody.

>>> tally = Tally("shot", in_order=1000, missing=12, late=2)
>>> said(tally, Delivery.PUBLISHED, 1002)
'lost before receipt: 12 of 1014 messages (1.2 %), by their shot; 2 came late'
>>> print(said(tally, Delivery.SHARED, 1002).replace(": lost", ":\\nlost"))
not received: 12 of 1014 messages (1.2 %), by their shot:
lost, unless others take from the same sender or this is a replay; 2 came late
>>> said(Tally(), Delivery.PUBLISHED, 7)
'lost before receipt: unknown: a publisher does not say what it drops, and its messages have no numbers (--sequence-key)'
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from pipeline.counts import percent
from pipeline.sender_numbers import Tally


class Delivery(StrEnum):
    """Which of a sender's messages come to a source, in its class attribute ``delivery``."""

    PUBLISHED = "published"
    """Every one, unless it is lost."""

    SHARED = "shared"
    """Each goes to one of those who ask, or pull."""

    READ = "read"
    """There is no sender that loses any: files, or frames made here."""


def is_lost(tally: Tally, delivery: Delivery) -> bool:
    """Whether a message that is not received is lost for certain."""
    return tally.is_count and tally.counts_messages and delivery is Delivery.PUBLISHED


def lost(tally: Tally, delivery: Delivery) -> int:
    """How many messages are lost for certain."""
    return tally.lost if is_lost(tally, delivery) else 0


def said(tally: Tally, delivery: Delivery, received: int) -> str:
    """The line of the report; "" where there is nothing to say."""
    if not tally.is_count:
        unknown = (
            "lost before receipt: unknown: a publisher does not say what it drops, and its messages have no numbers "
            "(--sequence-key)"
        )
        return unknown if delivery is Delivery.PUBLISHED and received else ""
    if delivery is not Delivery.PUBLISHED and not (tally.lost or tally.repeats or tally.restarts or tally.strays):
        return ""  # as it should be; over several connections some come late
    what = f"{tally.expected} {'messages' if tally.counts_messages else 'events'}"
    by = f"by their {tally.key}"
    if not tally.lost:
        line = f"lost before receipt: none of {what}, {by}"
    else:
        how_many = f"{tally.lost} of {what} ({percent(tally.lost, tally.expected)}), {by}"
        line = f"lost before receipt: {how_many}" if is_lost(tally, delivery) else f"not received: {how_many}"
        line += _unless(tally, delivery)
    return "; ".join([line, *_besides(tally)])


def figures(tally: Tally, delivery: Delivery) -> dict[str, Any]:
    """The same for programs; what is not known is None."""
    return {
        "delivery": str(delivery),
        "numbers": tally.key or None,
        "expected": tally.expected if tally.is_count else None,
        "not_received": tally.lost if tally.is_count else None,
        "lost": tally.lost if is_lost(tally, delivery) else None,
        "in_order": tally.in_order,
        "late": tally.late,
        "repeats": tally.repeats,
        "restarts": tally.restarts,
        "strays": tally.strays,
        "unnumbered": tally.unnumbered,
    }


def _unless(tally: Tally, delivery: Delivery) -> str:
    """What else may have become of them."""
    if delivery is Delivery.READ or is_lost(tally, delivery):
        return ""
    if tally.counts_messages:
        return ": lost, unless others take from the same sender or this is a replay"
    others = ", sent to others" if delivery is Delivery.SHARED else ""
    return f": not sent (a sender may choose among its events){others}, or lost"


def _besides(tally: Tally) -> Iterator[str]:
    if tally.late:
        yield f"{tally.late} came late"
    if tally.repeats:
        yield f"{tally.repeats} came again"
    if tally.restarts:
        yield f"the sender began to count anew {tally.restarts} {'time' if tally.restarts == 1 else 'times'}"
    if tally.strays:
        yield f"{tally.strays} {'number' if tally.strays == 1 else 'numbers'} far from all others"
