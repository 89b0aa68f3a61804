"""Messages that come unasked from one sender or from several, each over a connection of its own.

The senders take turns, so that a fast one does not keep a slow one waiting, and each is lost and found again by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import zmq

from stages.wire.curve import Keys
from stages.wire.incoming import Incoming
from stages.wire.losses import lost_since, of_several

TAKE_REST_S = 0.5
"""At the end taking what has come may last so long, over all senders."""

_NAMED = 3
"""Senders that are missing and named in the status, at most."""


class Taken(NamedTuple):
    """A message, and which of the senders it came from."""

    sender: int
    frames: list[zmq.Frame]


class Intake:
    """Connects to all addresses.

    Parameters
    ----------
    addresses
        One or more; `sender` is a number of this list.
    tags
        What is subscribed to; None pulls what is pushed.
    poller
        Has the present sockets and their monitors registered.
    rcvhwm, max_queue_bytes
        What ZeroMQ itself may hold, of all senders together, but always one message of each.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        addresses: Sequence[str],
        tags: tuple[str, ...] | None,
        poller: zmq.Poller,
        *,
        rcvhwm: int,
        max_queue_bytes: int,
        max_message_bytes: int,
        io_threads: int = 0,
        keys: Keys | None = None,
    ) -> None:
        self._poller = poller
        self._turn = 0
        self._all: list[Incoming] = []
        try:
            for address in addresses:
                self._all.append(
                    Incoming(
                        context,
                        address,
                        tags,
                        poller,
                        rcvhwm=max(1, rcvhwm // len(addresses)),
                        max_queue_bytes=max(1, max_queue_bytes // len(addresses)),
                        max_message_bytes=max_message_bytes,
                        io_threads=io_threads,
                        keys=keys,
                    )
                )
        except BaseException:
            self.close()
            raise

    def look(self) -> None:
        """Take in what has become of the connections."""
        for one in self._all:
            one.look()

    def take(self) -> Taken | None:
        """Take one message, of the sender whose turn it is if it has one; None if there is none."""
        for _ in self._all:
            sender = self._turn
            self._turn = (sender + 1) % len(self._all)
            frames = self._all[sender].take()
            if frames is not None:
                return Taken(sender, frames)
        return None

    def renew_where_due(self) -> int:
        """Make anew what libzmq has given up; return how many of these connections ended with a message that it refused.

        What waits is lost, so all is to be taken before.
        """
        return sum([one.renew_where_due() for one in self._all])

    def rest(self) -> Iterator[Taken]:
        """Take what ZeroMQ holds, until nothing comes for a moment; see :meth:`Incoming.rest`."""
        for sender, one in enumerate(self._all):
            for frames in one.rest(TAKE_REST_S / len(self._all)):
                yield Taken(sender, frames)

    @property
    def refused(self) -> int:
        """How many connections libzmq has given up at a message that it would not take."""
        return sum(one.has_refused for one in self._all)

    def wait(self, left_s: float) -> None:
        """Wait until a message or news of a connection come, or something else that is registered, no longer than this."""
        self._poller.poll(math.ceil(1000 * min(one.wait_s(left_s) for one in self._all)))

    def status(self) -> str:
        """Say which senders are there, and whether anything has come."""
        return status_of_several([(one.status(), one.connected) for one in self._all])

    @property
    def lost_since(self) -> float | None:
        """Since when a sender is missing that had been there, in seconds since 1970."""
        return lost_since(one.losses for one in self._all)

    @property
    def cut_off(self) -> int:
        """How many senders still sent when `rest` ended."""
        return sum(one.is_cut_off for one in self._all)

    def stop_counting_losses(self) -> None:
        """Note no loss any more: nothing is wanted of the senders from now on."""
        for one in self._all:
            one.losses.stop()

    def losses(self) -> tuple[str, dict[str, Any]]:
        """When senders were lost, for people and for programs."""
        return of_several([one.losses for one in self._all])

    def close(self) -> None:
        """Hang up; may be called twice."""
        for one in self._all:
            one.close()


def status_of_several(said: Sequence[tuple[str, bool]]) -> str:
    """Put together what is said of each sender, and whether it is connected.

    >>> status_of_several([("connected to A", True), ("nobody listens on B; trying on", False), ("connected to C", True)])
    '2 of 3 connected; nobody listens on B; trying on'
    >>> status_of_several([("connected to A", True), ("connected to B; nothing has come", True)])
    '2 of 2 connected; connected to B; nothing has come'
    """
    texts = [text for text, _ in said]
    if len(said) == 1:
        return texts[0]
    missing = [text for text, connected in said if not connected]
    first = f"{len(said) - len(missing)} of {len(said)} connected"
    notable = missing or [text for text in texts if ";" in text]
    more = [f"and {len(notable) - _NAMED} more"] if len(notable) > _NAMED else []
    return "; ".join([first, *notable[:_NAMED], *more])
