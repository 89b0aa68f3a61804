"""What did not come: gaps in the numbers that a sender gives its messages.

A message may hold a number that goes up by one with each message of its sender. What is missing between the numbers that came
was not received. Numbers may come late (over several connections, or because a sender of many processes does not wait for the
slowest), twice, and from the beginning again when the sender is restarted:

>>> tally = Tally()
>>> series = Series(tally)
>>> for number in (7, 8, 11, 10, 11): series.take(number)
>>> tally.missing, tally.in_order, tally.late, tally.repeats  # 9 is missing: 10 came late
(1, 3, 1, 1)

Messages of one sender are counted in the order in which they were received, whichever replica is done with them first.
"""

from __future__ import annotations

import copy
import heapq
import itertools
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

WINDOW = 4096
"""A number so much smaller than the greatest is no longer late, but of a sender that has begun anew.

A number is late by at most as many as are on their way at once: 1000 requests (``outstanding`` of a source that asks), a few
hundred events in the processes of an OM, times the replicas of a cluster that ask each for itself.
"""

LEAP = 1 << 20
"""So many numbers at a time are held for lost; beyond that (a quarter of an hour at 1 kHz) it is another count."""

BEGUN_ANEW = 16
"""So many numbers in a row that had all come before are a sender that counts from the beginning again."""

MOST_SERIES = 64
"""Series of numbers that are followed at once: names of files in event ids. The one that is silent for longest is let go of."""

MOST_HELD = 4096
"""Frames that wait here for one that was received before them and is still worked on."""


class SenderNumber(NamedTuple):
    """A message's number in its sender's own count.

    Attributes
    ----------
    number
        Goes up by one from message to message.
    key
        Where it stands in the message.
    counts_messages
        Whether each message has the next number. Events are numbered as they were measured, and a sender that chooses
        among them leaves gaps.
    series
        Numbers of different series have nothing to do with each other: the file in an event's name.
    sender
        Which of a source's senders has sent it.
    """

    number: int
    key: str
    counts_messages: bool = True
    series: str = ""
    sender: int = 0


@dataclass
class Tally:
    """What the numbers have told.

    Attributes
    ----------
    key, counts_messages
        Of the numbers that are followed: those of the first message that had one.
    in_order, late, repeats
        Messages whose number was above all before it, whose number had been missing, whose number had come already.
    missing
        Numbers between others that have not come.
    accounted
        Of those that are missing: at most so many were received, and dropped here or not understood.
    restarts
        How often a count has begun anew.
    strays
        Numbers that fit none of their neighbours.
    unnumbered
        Frames of which the number is not known: dropped here, not understood, or without one.
    followed
        Numbers that could be compared with one before them.
    """

    key: str = ""
    counts_messages: bool = True
    in_order: int = 0
    late: int = 0
    repeats: int = 0
    missing: int = 0
    accounted: int = 0
    restarts: int = 0
    strays: int = 0
    unnumbered: int = 0
    followed: int = 0

    @property
    def is_count(self) -> bool:
        """Whether there is a count; events of one file each have none."""
        return bool(self.key) and (self.counts_messages or self.followed > 0)

    @property
    def lost(self) -> int:
        """How many were not received: those that are missing, without those of which it is known that they came."""
        return max(0, self.missing - self.accounted)

    @property
    def oddities(self) -> int:
        """How much of what came is not as it would be in a count that has lost nothing."""
        return self.lost + self.repeats + self.restarts + self.strays

    @property
    def expected(self) -> int:
        """How many different numbers should have come."""
        return self.in_order + self.late + self.missing


class Series:
    """One count of a sender, as far as it has come.

    Parameters
    ----------
    tally
        What is found is added to it.
    window
        See `WINDOW`.
    """

    def __init__(self, tally: Tally, window: int = WINDOW) -> None:
        self._tally = tally
        self._window = window
        self._first: int | None = None
        self._last = 0
        self._begins: list[int] = []  # the missing numbers, as far as they may still come: ranges in order
        self._ends: list[int] = []  # the number behind the last of each
        self._astray: int | None = None
        self._before = 0
        self._run: list[bool] = []  # numbers in a row that were there before: whether each of them had been missing

    def take(self, number: int, unnumbered: int = 0) -> None:
        """Count a number; `unnumbered` frames have come since the last one of which the number is not known."""
        tally = self._tally
        if self._astray is not None and not self._fits(self._astray, number):
            tally.strays += 1
            self._astray = None
        if self._first is None:
            self._begin(number)
        elif self._astray is not None:
            tally.restarts += 1
            self._begin(self._astray)
            self._astray = None
            self.take(number)
        elif not self._last - self._window <= number <= self._last + LEAP:
            self._astray = number  # the next one tells whether the count goes on from here
        else:
            tally.followed += 1
            self._go_on(number, unnumbered)
        self._before = number

    def end(self) -> None:
        """No number will come any more."""
        if self._astray is not None:
            self._tally.strays += 1
            self._astray = None

    def _fits(self, astray: int, number: int) -> bool:
        """Whether a number goes on from one that was out of line, rather than from those before that."""
        return 0 < abs(number - astray) < min(self._window, abs(number - self._last))

    def _begin(self, number: int) -> None:
        self._first = self._last = number
        self._begins.clear()
        self._ends.clear()
        self._run.clear()
        self._tally.in_order += 1

    def _go_on(self, number: int, unnumbered: int) -> None:
        assert self._first is not None
        if number > self._last:
            self._run.clear()
            self._tally.accounted += min(number - self._last - 1, unnumbered)
            self._add_gap(self._last + 1, number, len(self._begins))
            self._tally.in_order += 1
            self._last = number
            self._forget()
        elif number < self._first:
            self._run.clear()
            self._add_gap(number + 1, self._first, 0)
            self._tally.late += 1
            self._first = number
        else:
            self._look_back(number)

    def _look_back(self, number: int) -> None:
        """A number among those that have come: it was missing, or comes again, or the sender counts anew."""
        if self._run and number != self._before + 1:
            self._run.clear()
        was_missing = self._take_back(number)
        self._tally.late += was_missing
        self._tally.repeats += not was_missing
        self._run.append(was_missing)
        again = self._run.count(False)
        if again < BEGUN_ANEW:
            return
        late = len(self._run) - again
        self._tally.repeats -= again
        self._tally.late -= late
        self._tally.missing += late  # what was missing of the old count still is
        self._tally.restarts += 1
        begin, length = number - len(self._run) + 1, len(self._run)
        self._begin(begin)
        self._last = number
        self._tally.in_order += length - 1

    def _add_gap(self, begin: int, end: int, place: int) -> None:
        if end > begin:
            self._begins.insert(place, begin)
            self._ends.insert(place, end)
            self._tally.missing += end - begin

    def _take_back(self, number: int) -> bool:
        """Let a number be missing no more; False if it was not."""
        at = bisect_right(self._begins, number) - 1
        if at < 0 or number >= self._ends[at]:
            return False
        begin, end = self._begins.pop(at), self._ends.pop(at)
        for one, other in ((number + 1, end), (begin, number)):
            if other > one:
                self._begins.insert(at, one)
                self._ends.insert(at, other)
        self._tally.missing -= 1
        return True

    def _forget(self) -> None:
        """What is missing and too old to be late needs no place."""
        old = bisect_right(self._ends, self._last - self._window)
        del self._begins[:old], self._ends[:old]


class _Account:
    """The tally of a run, and the series that are added up in it, by what tells them apart."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.series: OrderedDict[tuple[int, str], Series] = OrderedDict()
        self._unnumbered = 0

    def count(self, number: SenderNumber | None, sender: int) -> None:
        """Count a frame, whose number may not be known, as one of this sender."""
        tally = self.tally
        if number is not None and not tally.key:
            tally.key, tally.counts_messages = number.key, number.counts_messages
        if number is None or number.key != tally.key:
            tally.unnumbered += 1
            self._unnumbered += 1
            return
        which = sender, number.series
        series = self.series.get(which)
        if series is None:
            series = self.series[which] = Series(tally)
            if len(self.series) > MOST_SERIES:
                self.series.popitem(last=False)[1].end()
        self.series.move_to_end(which)
        series.take(number.number, self._unnumbered)
        self._unnumbered = 0

    def as_sent_by(self, sender: int) -> _Account:
        """Return a copy, all of whose series are this sender's."""
        own = copy.deepcopy(self)
        own.series = OrderedDict(((sender, name), series) for (_, name), series in own.series.items())
        return own

    def end(self) -> None:
        """No number will come any more."""
        for series in self.series.values():
            series.end()


class SenderNumbers:
    """All numbers of a run, in the order of receipt.

    Frames come as they are finished, with their serials; those that are finished early wait here, at most `MOST_HELD`. One that
    takes even longer is passed over, as one of which the number is not known.

    Several senders may share one count (the images of a series, dealt over several sockets) or have one each. So both accounts
    are kept, and the one holds in which less is odd:

    >>> def missing_of(*sent):
    ...     numbers = SenderNumbers()
    ...     for serial, (sender, number) in enumerate(sent, 1): numbers.take(serial, SenderNumber(number, "n", sender=sender))
    ...     return numbers.tally.missing
    >>> missing_of((0, 1), (1, 2), (0, 3), (1, 4), (0, 7)), missing_of((0, 1), (1, 1), (0, 2), (1, 2), (1, 4))
    (2, 1)

    Parameters
    ----------
    first_serial
        The serial with which the run begins.
    """

    def __init__(self, first_serial: int = 1) -> None:
        self._next = first_serial
        self._waiting: list[tuple[int, int, SenderNumber | None]] = []
        self._order = itertools.count()  # so that numbers are never compared
        self._together = _Account()
        self._apart: _Account | None = None
        self._first_sender: int | None = None

    @property
    def tally(self) -> Tally:
        """What the numbers have told by now."""
        together = self._together.tally
        if self._apart is None or together.oddities <= self._apart.tally.oddities:
            return together
        return self._apart.tally

    def take(self, serial: int, number: SenderNumber | None) -> None:
        """Count a frame, whose number may not be known: it has none, was not understood, or was dropped."""
        if serial == self._next and not self._waiting:
            self._next += 1
            self._count(number)
            return
        if serial < self._next:  # it was passed over
            return
        heapq.heappush(self._waiting, (serial, next(self._order), number))
        while self._waiting and (self._waiting[0][0] == self._next or len(self._waiting) > MOST_HELD):
            serial, _, number = heapq.heappop(self._waiting)
            for _ in range(serial - self._next):
                self._count(None)
            self._next = serial + 1
            self._count(number)

    def end(self) -> None:
        """Count what waits; nothing will come any more."""
        while self._waiting:
            self._count(heapq.heappop(self._waiting)[2])
        for account in (self._together, self._apart):
            if account is not None:
                account.end()

    def _count(self, number: SenderNumber | None) -> None:
        if number is not None and self._apart is None:
            if self._first_sender is None:
                self._first_sender = number.sender
            elif number.sender != self._first_sender:  # up to now both were the same
                self._apart = self._together.as_sent_by(self._first_sender)
        self._together.count(number, 0)
        if self._apart is not None:
            self._apart.count(number, 0 if number is None else number.sender)
