"""A relay: one subscriber that answers requests, so that what is published reaches several programs, each message one of them.

Messages pass as they came, part by part, without being copied; none is looked into. What comes faster than it is asked for
waits in a queue that is bounded in messages and in bytes, and every message is counted as sent or as dropped:

>>> import zmq
>>> from stages.wire.serving import FrameServer, serve_in_thread
>>> with FrameServer(socket="pub", topic=b"tag") as sender, zmq.Context() as context:
...     relay = Relay(address=sender.address, subscribe=("tag",), bind="tcp://127.0.0.1:*", max_frames=2).open()
...     serving = serve_in_thread(sender, [b"one", b"two"])
...     with relay, context.socket(zmq.DEALER) as asker:
...         _ = asker.connect(relay.address)
...         asker.send_multipart([b"", b"next"])
...         asker.send_multipart([b"", b"next"])
...         print(relay.run().law())
...         print(asker.recv_multipart(), asker.recv_multipart())
...     serving.join(timeout_s=10)
received 2 = sent 2 + dropped 0
[b'', b'tag', b'one'] [b'', b'tag', b'two']
2
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal, NamedTuple, Self

import pydantic
import zmq
from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline import UserError
from pipeline.metrics import Durations
from pipeline.parameters import in_sentences
from stages.wire.askers import Askers, Connected
from stages.wire.binding import bind, is_where
from stages.wire.connection import Endpoints, addresses_of, notice_vanished_hosts
from stages.wire.curve import Secured, secure_server
from stages.wire.intake import Intake
from stages.wire.multipart import DEFAULT_MAX_MESSAGE_BYTES, MAX_PARTS, HighWaterMark, size_of
from stages.wire.relay_report import ABANDONED, LEFT_OVER, RelayReport

log = logging.getLogger("streamajig.relay")

BATCH = 64
"""Messages that are taken before anything else gets its turn."""

TICK_S = 0.05
"""How long a stop may go unnoticed."""

STUCK_S = 0.001
"""Where those who ask take nothing now, they are tried again so often."""

IN_ZEROMQ = 1000
IN_ZEROMQ_BYTES = 1 << 27
"""Messages and bytes that may wait in ZeroMQ's own queue on the way in, from which they are taken at once if there is room."""

FOR_EACH_ASKER_BYTES = 1 << 26
"""Bytes of answers that may be on their way to one asker. Whoever asks for more than it reads waits until it has read them."""

REMEMBERED = 100_000
"""Requests that may wait; each has 100 bytes or so."""

LINGER_S = 5.0
"""How long what has been sent may take to be delivered when the relay ends."""

PROGRESS_S = 0.2

_IO_THREADS = 4
_OF_SENDER, _OF_ASKERS = 0b0001, 0b1110
"""I/O threads of ZeroMQ, as masks: what comes in has one for itself, so that it is not held up by what goes out."""


@in_sentences
@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class Relay(Secured):
    """What a relay does; `open` makes one that runs."""

    address: Endpoints
    subscribe: Annotated[tuple[str, ...], Field(min_length=1, description="Tags to receive.")]
    bind: Annotated[str, Field(description="Endpoint to answer at.")] = "tcp://127.0.0.1:5003"
    request: Annotated[str, Field(min_length=1, description="Request that is answered with a message.")] = "next"
    when_full: Annotated[
        Literal["drop_oldest", "drop_newest", "block"],
        Field(
            description="What becomes of messages for which there is no room. drop_oldest and drop_newest: dropped and "
            "counted; block: they wait at the sender, which drops them uncounted when its own queue is full."
        ),
    ] = "drop_oldest"
    max_queue_frames: Annotated[int, Field(ge=1, description="Messages that may wait to be asked for.")] = 1000
    max_queue_bytes: Annotated[
        pydantic.ByteSize,
        Field(ge=1, description="Bytes of messages that may wait to be asked for (2GB, say); one message may always."),
    ] = pydantic.ByteSize(1 << 30)
    max_message_bytes: Annotated[int, Field(ge=1, description="Longer messages are dropped.")] = (
        DEFAULT_MAX_MESSAGE_BYTES
    )
    tags: Annotated[bool, Field(description="Whether the tag goes with the message, or what follows it alone.")] = True
    max_frames: Annotated[int | None, Field(ge=1, description="End after this many messages.")] = None
    no_data_timeout_s: Annotated[
        float | None, Field(gt=0, description="End when nothing has come for so many seconds.")
    ] = None
    curve_key: Annotated[
        Path | None,
        Field(description="File of the secret key with which it answers; askers have its public key (CURVE)."),
    ] = None
    drain_s: Annotated[
        float,
        Field(
            ge=0,
            description="Messages that wait at the end are handed out until nobody has been connected for so many seconds, "
            "and for so many seconds altogether where it was stopped.",
        ),
    ] = 5.0

    def open(self) -> RunningRelay:
        """Bind and subscribe."""
        return RunningRelay(self)


class _Waiting(NamedTuple):
    frames: list[zmq.Frame]
    size: int
    since_ns: int


class RunningRelay:
    """`Relay` at work, in one thread.

    Attributes
    ----------
    address
        The endpoint at which it answers.
    """

    def __init__(self, parameters: Relay) -> None:
        self._parameters = parameters
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._received = self._sent = self._sent_bytes = 0
        self._dropped: Counter[str] = Counter()
        self._waited = Durations()
        self._largest = 1
        self._mark = HighWaterMark(zmq.SNDHWM, IN_ZEROMQ, FOR_EACH_ASKER_BYTES)
        self._why_ended = ""
        self._linger_s = LINGER_S
        self._sender_now = ""
        self._started_s = self._last_data_s = self._told_s = time.monotonic()
        keys = parameters.keys()
        with ExitStack() as stack:
            self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(_IO_THREADS)
            stack.callback(self._context.term)
            self._socket = self._context.socket(zmq.ROUTER)
            stack.callback(self._socket.close)
            self._askers = Askers(self._socket, parameters.request.encode(), REMEMBERED)
            self._connected = Connected(self._socket)
            stack.callback(self._connected.close)
            self.address = self._serve()
            poller = zmq.Poller()
            poller.register(self._socket, zmq.POLLIN)
            self._intake = Intake(
                self._context,
                addresses_of(parameters.address),
                parameters.subscribe,
                poller,
                rcvhwm=IN_ZEROMQ,
                max_queue_bytes=IN_ZEROMQ_BYTES,
                max_message_bytes=parameters.max_message_bytes,
                io_threads=_OF_SENDER,
                keys=keys,
            )
            stack.callback(self._intake.close)
            self._closing = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(self._linger_s if kind is None else 0.0)

    def run(
        self,
        stopping: threading.Event | None = None,
        abandon: threading.Event | None = None,
        on_progress: Callable[[RelayReport], None] = lambda _: None,
    ) -> RelayReport:
        """Relay until the stream ends or `stopping` is set, then hand out what waits, unless `abandon` is set.

        `on_progress` is called now and then with what was counted by then.
        """
        stopping, abandon = stopping or threading.Event(), abandon or threading.Event()
        self._started_s = self._last_data_s = time.monotonic()
        while not self._is_over(stopping):
            self._step()
            self._tell(on_progress)
        self._hang_up()
        self._drain(stopping, abandon, on_progress)
        self._see_who_has_gone()
        return self.report()

    def report(self) -> RelayReport:
        """Return what has been counted by now; of all methods this one alone may be called from another thread."""
        return RelayReport(
            received=self._received,
            sent=self._sent,
            sent_bytes=self._sent_bytes,
            waiting=len(self._waiting),
            waiting_bytes=self._waiting_bytes,
            drop_reasons=dict(self._dropped),
            waited=self._waited,
            askers=self._connected.count,
            requests=self._askers.requests,
            unknown_requests=self._askers.unknown,
            unanswered=len(self._askers),
            left=self._askers.left,
            unconfirmed=self._askers.unconfirmed,
            elapsed_s=time.monotonic() - self._started_s,
            sender=self._sender_now,
            losses=self._intake.losses()[0],
            why_ended=self._why_ended,
        )

    def close(self, linger_s: float = LINGER_S) -> None:
        """Let what has been sent be delivered, for so long at most, and let go of the port; may be called twice."""
        if not self._socket.closed:
            self._waiting.clear()
            self._socket.setsockopt(zmq.LINGER, int(1000 * linger_s))
            self._closing.close()

    def _serve(self) -> str:
        """Bind, and return the address."""
        parameters = self._parameters
        self._socket.setsockopt(zmq.AFFINITY, _OF_ASKERS)
        self._mark.set_on(self._socket)
        notice_vanished_hosts(self._socket)
        if parameters.curve_key is not None:
            secure_server(self._socket, parameters.curve_key)
        address = bind(self._socket, parameters.bind)
        for sender in addresses_of(parameters.address):
            if is_where(address, sender):
                raise UserError(
                    f"a relay cannot serve at {parameters.bind} what it receives from {sender}: they are the same; give it a "
                    "port of its own"
                )
        return address

    def _is_over(self, stopping: threading.Event) -> bool:
        parameters = self._parameters
        if self._is_enough():
            self._why_ended = f"{parameters.max_frames} frames, as asked for"
        elif stopping.is_set():
            self._why_ended = "stopped"
        elif parameters.no_data_timeout_s and time.monotonic() - self._last_data_s > parameters.no_data_timeout_s:
            self._why_ended = f"no data for {parameters.no_data_timeout_s:g} s"
        return self._why_ended != ""

    def _is_enough(self) -> bool:
        limit = self._parameters.max_frames
        return limit is not None and self._received >= limit

    def _step(self) -> None:
        """Take requests and messages that have come, hand out what can be, and wait where there was nothing to do."""
        self._intake.look()
        self._hand_out()
        is_idle = False
        for _ in range(BATCH):
            if self._is_enough() or (is_idle := self._is_held_back() or not self._receive()):
                break
        if not is_idle:
            return
        self._hand_out()
        wait_s = STUCK_S if self._waiting and len(self._askers) else TICK_S
        if self._is_held_back():
            self._last_data_s = time.monotonic()  # nothing is taken, so the silence is not the sender's
            self._socket.poll(math.ceil(1000 * wait_s))
        else:
            self._intake.wait(wait_s)

    def _receive(self) -> bool:
        """Take one message; False if there is none."""
        taken = self._intake.take()
        if taken is not None:
            self._accept(taken.frames)
            return True
        for _ in range(self._intake.renew_where_due()):
            self._drop_at_once("refused")
        return False

    def _accept(self, frames: list[zmq.Frame]) -> None:
        """Count a message, and let it wait."""
        parameters = self._parameters
        size = size_of(frames)
        if len(frames) > MAX_PARTS:
            self._drop_at_once("too_many_parts")
            return
        if size > parameters.max_message_bytes:
            self._drop_at_once("too_large")
            return
        self._count()
        self._largest = max(self._largest, size)
        self._mark.lower_for(size, self._socket)
        if not self._has_room(size):
            self._hand_out()
        if not self._has_room(size) and parameters.when_full == "drop_newest":
            self._dropped["no room (drop_newest)"] += 1
            return
        while self._waiting and not self._has_room(size) and parameters.when_full == "drop_oldest":
            self._forget_oldest("no room (drop_oldest)")
        self._waiting.append(_Waiting(frames, size, time.perf_counter_ns()))
        self._waiting_bytes += size
        self._give()

    def _has_room(self, size: int) -> bool:
        """Whether a message of this size may wait, too; one always may."""
        parameters = self._parameters
        fits = self._waiting_bytes + size <= parameters.max_queue_bytes
        return not self._waiting or (fits and len(self._waiting) < parameters.max_queue_frames)

    def _is_held_back(self) -> bool:
        """Whether nothing is to be taken, because there is no room and messages are to wait at the sender."""
        return self._parameters.when_full == "block" and not self._has_room(self._largest)

    def _count(self) -> None:
        self._received += 1
        self._last_data_s = time.monotonic()

    def _drop_at_once(self, why: str) -> None:
        self._count()
        self._dropped[why] += 1

    def _forget_oldest(self, why: str) -> None:
        self._waiting_bytes -= self._waiting.popleft().size
        self._dropped[why] += 1

    def _hand_out(self) -> None:
        """Answer requests, those that have just come, too."""
        self._askers.take()
        self._give()

    def _give(self) -> None:
        """Answer as many requests as there are messages for."""
        while self._waiting and len(self._askers):
            frames, size, since_ns = self._waiting[0]
            parts = frames if self._parameters.tags else [part for part in frames[1:] if len(part)]
            if not self._askers.answer(parts or frames):
                return
            self._waiting.popleft()
            self._waiting_bytes -= size
            self._sent += 1
            self._sent_bytes += size
            self._waited.add(time.perf_counter_ns() - since_ns)

    def _hang_up(self) -> None:
        """Take what has come by now, and nothing more."""
        log.info("no more frames: %s", self._why_ended)
        self._intake.stop_counting_losses()
        if not self._is_enough():
            for taken in self._intake.rest():
                self._accept(taken.frames)
                if self._is_enough():
                    break
            for _ in range(self._intake.refused):
                self._drop_at_once("refused")
        self._intake.close()

    def _drain(
        self, stopping: threading.Event, abandon: threading.Event, on_progress: Callable[[RelayReport], None]
    ) -> None:
        """Hand out what waits, as long as somebody is there and nobody in a hurry; drop the others."""
        until_s = time.monotonic() + self._parameters.drain_s
        was_stopped = stopping.is_set()
        while self._waiting and not abandon.is_set() and time.monotonic() < until_s:
            self._hand_out()
            if self._waiting:
                self._socket.poll(math.ceil(1000 * (STUCK_S if len(self._askers) else TICK_S)))
            self._see_who_has_gone()
            if stopping.is_set() != was_stopped or (not was_stopped and self._connected.count):
                was_stopped = stopping.is_set()
                until_s = time.monotonic() + self._parameters.drain_s
            self._tell(on_progress)
        if abandon.is_set():
            self._linger_s = 0.0
        while self._waiting:
            self._forget_oldest(ABANDONED if abandon.is_set() else LEFT_OVER)

    def _see_who_has_gone(self) -> None:
        for fd in self._connected.look():
            self._askers.connection_ended(fd)

    def _tell(self, on_progress: Callable[[RelayReport], None]) -> None:
        """Say how it goes, not too often."""
        if time.monotonic() - self._told_s >= PROGRESS_S:
            self._told_s = time.monotonic()
            self._see_who_has_gone()
            self._sender_now = "" if self._why_ended else self._intake.status()
            on_progress(self.report())
