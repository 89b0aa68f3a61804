"""One connecting ZeroMQ socket, watched by its monitor and made anew when libzmq has given it up.

libzmq connects again by itself when a connection breaks. It does so no more, and says no word of it, after what it holds for
a violation of its protocol: a part longer than ZMQ_MAXMSGSIZE, a peer whose type of socket does not go with ours, a mechanism
of security that is not ours (https://github.com/zeromq/libzmq/issues/4196). The monitor tells one from the other: where an end
is not followed by ZMQ_EVENT_CONNECT_RETRIED, libzmq does not try, and a new socket is needed.
"""

from __future__ import annotations

import itertools
import logging
import math
import re
import time
from collections.abc import Callable
from typing import Annotated

import zmq
from pydantic import AfterValidator, Field
from zmq.utils.monitor import recv_monitor_message

from pipeline import UserError
from stages.wire.losses import Losses
from stages.wire.peer import ask

log = logging.getLogger("streamajig.source")

_FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
_WATCHED = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | _FAILED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_CLOSED
)
_numbers = itertools.count()

RECONNECT_MS = 100
RECONNECT_MAX_MS = 1000

SETTLE_S = 0.25
"""libzmq says within a millisecond of an end that it tries again; after so long it will not."""

LONGEST_PAUSE_S = 1.0
"""Before a new socket is made where the last ones found nobody to talk to."""

GRACE_S = 1.0
"""A connection may take so long before it is said that nobody listens, or that whoever does says nothing."""

ASK_AGAIN_S = 5.0
"""Who it is that listens is asked so often."""


def _endpoint(address: str) -> str:
    """Check that an address is one that ZeroMQ can connect to."""
    wanted = "wanted is tcp://HOST:PORT, such as tcp://127.0.0.1:5002, or ipc://PATH"
    if re.fullmatch(r"ipc://.+", address):
        return address
    match = re.fullmatch(r"tcp://(?:[^/\s;]+;)?(\[[0-9A-Fa-f:.%\w]+\]|[^\s/:\[\]*]+):(\d+)", address)
    if match is None:
        raise ValueError(f"{address!r} is no address to connect to; {wanted}")
    if not 1 <= int(match[2]) <= 65535:
        raise ValueError(f"{address!r}: a port is a number from 1 to 65535; {wanted}")
    return address


Endpoint = Annotated[
    str,
    AfterValidator(_endpoint),
    Field(description="ZeroMQ endpoint of the sender, e.g. tcp://127.0.0.1:5002."),
]


def addresses_of(address: str | tuple[str, ...]) -> tuple[str, ...]:
    """One address or several, as several."""
    return (address,) if isinstance(address, str) else address


def _endpoints(address: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Check that all addresses are some that ZeroMQ can connect to, and each is there once."""
    found = tuple(_endpoint(one) for one in addresses_of(address))
    if not found:
        raise ValueError("there is no address; wanted is one or several, such as tcp://127.0.0.1:5002")
    twice = [one for one in found if found.count(one) > 1]
    if twice:
        raise ValueError(f"{twice[0]} is there twice; each sender is connected to once")
    return found[0] if len(found) == 1 else found


Endpoints = Annotated[
    str | tuple[str, ...],
    AfterValidator(_endpoints),
    Field(
        description="ZeroMQ endpoint of the sender, e.g. tcp://127.0.0.1:5002, or a list of those of several senders."
    ),
]


def notice_vanished_hosts(socket: zmq.Socket[bytes]) -> None:
    """Let the kernel notice after about half a minute that a host has vanished without a word."""
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 15)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 5)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)


class Connection:
    """A socket, connected to one endpoint and watched.

    Parameters
    ----------
    kind
        Type of the socket.
    takes
        Types of sockets at the other end that frames can come from.
    losses
        Where it is noted that the connection is lost and back.
    configure
        Sets the options of each new socket.
    poller
        Has the present socket and monitor registered.

    Attributes
    ----------
    socket
        The present socket; read and written by the owner.
    connected
        Whether somebody at the other end speaks ZeroMQ.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        kind: int,
        takes: frozenset[str],
        address: str,
        losses: Losses,
        configure: Callable[[zmq.Socket[bytes]], None],
        poller: zmq.Poller,
    ) -> None:
        self._context, self._kind, self._takes, self._address = context, kind, takes, address
        self._losses, self._configure, self._poller = losses, configure, poller
        self._number = next(_numbers)
        self._started_s = time.monotonic()
        self._pause_s = SETTLE_S
        self._who = ""
        self._asked_who_s = -math.inf
        self._stranger = False
        self._open()

    def renew(self) -> None:
        """Let go of the socket and what waits in it, and connect with a new one."""
        self.close()
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._open()

    def look(self) -> bool:
        """Take in what the monitor has to say; return True if the connection was lost meanwhile, even if it is back."""
        lost = False
        while self.monitor.poll(0):
            event = recv_monitor_message(self.monitor)["event"]
            lost = lost or (event == zmq.EVENT_DISCONNECTED and self.connected)
            self._take(event)
        if self.has_refused:
            self._note_loss("ZeroMQ refused a message, which ended it")
        return lost

    @property
    def is_settled(self) -> bool:
        """Whether it is known what comes after an end: that libzmq tries on, or that it does not."""
        return self._ended_s is None or time.monotonic() - self._ended_s >= SETTLE_S

    @property
    def has_refused(self) -> bool:
        """Whether libzmq has given the connection up at a message that it would not take."""
        return self._was_up and self._ended_s is not None and self.is_settled

    @property
    def is_to_be_renewed(self) -> bool:
        """Whether libzmq has given the connection up, for so long that it is time to make a new one."""
        pause_s = SETTLE_S if self._was_up else self._pause_s
        return self._ended_s is not None and time.monotonic() - self._ended_s >= pause_s

    def wait_s(self, left_s: float) -> float:
        """How long to wait at most until the next look, if there are `left_s` left."""
        return max(0.0, left_s if self._ended_s is None else min(left_s, SETTLE_S / 4))

    def nobody(self) -> str:
        """Say why there is no connection; asks who listens where there is somebody who does not talk to us."""
        now = time.monotonic()
        is_silent = self._tcp_s is not None and now - self._tcp_s >= GRACE_S
        if (self._stranger or is_silent) and now - self._asked_who_s >= ASK_AGAIN_S:
            self._asked_who_s = now
            peer = ask(self._address)
            who = peer.text(self._address, self._takes) if peer is not None else ""
            if who and who != self._who:
                log.warning("%s", who)
            self._who = who
        if self._who and (self._stranger or is_silent):
            return f"{self._who}; trying on"
        if self._losses.since is not None:
            since = time.strftime("%H:%M:%S", time.localtime(self._losses.since))
            return f"nobody listens on {self._address} since {since}; trying on"
        if now - self._started_s < GRACE_S or self._stranger or self._tcp_s is not None:
            return f"connecting to {self._address}"
        return f"nobody listens on {self._address}; trying on"

    def close(self) -> None:
        """Let go of both sockets at once; may be called twice."""
        for one in (self.socket, self.monitor):
            if one in self._poller:
                self._poller.unregister(one)
        if not self.socket.closed:
            self.socket.monitor(None, 0)
            self.socket.close(0)
        self.monitor.close(0)

    def _open(self) -> None:
        self.connected = False
        self._was_up = False
        self._ended_s: float | None = None
        self._tcp_s: float | None = None
        self.socket = self._context.socket(self._kind)
        self.monitor = self._context.socket(zmq.PAIR)
        try:
            self.socket.setsockopt(zmq.LINGER, 0)
            self.socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
            self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
            notice_vanished_hosts(self.socket)
            if "[" in self._address:
                self.socket.setsockopt(zmq.IPV6, 1)
            self._configure(self.socket)
            endpoint = f"inproc://monitor-{next(_numbers)}"
            self.socket.monitor(endpoint, _WATCHED)
            self.monitor.connect(endpoint)
            self.socket.connect(self._address)
        except zmq.ZMQError as error:
            self.close()
            raise UserError(f"cannot connect to {self._address}: {error}") from None
        self._poller.register(self.socket, zmq.POLLIN)
        self._poller.register(self.monitor, zmq.POLLIN)

    def _take(self, event: int) -> None:
        """One event; an end and what libzmq makes of it are two, in this order."""
        if event == zmq.EVENT_CONNECTED:
            self._tcp_s, self._ended_s = time.monotonic(), None
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.connected, self._was_up, self._stranger = True, False, False
            self._tcp_s, self._ended_s, self._pause_s = None, None, SETTLE_S
            self._losses.back(self._number)
        elif event & _FAILED:
            self._stranger, self._ended_s = True, time.monotonic()
        elif event == zmq.EVENT_DISCONNECTED:
            self._was_up, self._stranger = self.connected, not self.connected
            self.connected, self._tcp_s, self._ended_s = False, None, time.monotonic()
        elif event == zmq.EVENT_CONNECT_RETRIED:
            if self._was_up:
                self._note_loss("the sender ended it")
            self._was_up, self._ended_s = False, None
        elif event == zmq.EVENT_CLOSED:  # nobody listens
            self._stranger, self._tcp_s = False, None

    def _note_loss(self, why: str) -> None:
        self._losses.lost(self._number, why)
