"""Ask for frames one by one (REQ socket)."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from functools import partial
from typing import ClassVar

import zmq
from pydantic import Field

from pipeline import Context, Delivery, EndOfStream, Findings, Message, stage
from pipeline.amounts import several
from stages.source._messages import messages_of, refused
from stages.wire.connection import Connection, Endpoint
from stages.wire.framing import ImageSource, PulseAxis, Spoken, framing_of
from stages.wire.losses import Losses
from stages.wire.message import stand_in
from stages.wire.multipart import DEFAULT_MAX_MESSAGE_BYTES, HARD_CEILING, Reader
from stages.wire.peer import ANSWERING

log = logging.getLogger("streamajig.source")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
SHORT_REPLY_BYTES = 64

SILENT_S = 2.0
"""Without an answer for so long, this is said."""


@stage("source/zmq_req")
class ZmqReq:
    """Ask a sender for frames, each with a request of its own, as OM serves them (``--zmq-request``).

    Each frame goes to one asker, and none is sent that is not asked for, so any number of these may share a sender's frames.
    Requests are kept waiting at the sender, `outstanding` at a time, so that a frame is sent the moment there is one: a
    single request in lock-step misses most hits of an OM that skips a hit which nobody waits for. OM keeps the 20
    newest requests.

    A request is lost when its server restarts; the connection tells, and the request is made again. Where a connection tells
    nothing, `timeout_s` does; it should be longer than the sender's pauses, since each request that is given up costs a
    frame when the sender comes to answer it. A reply that is no frame (OM's ``What?``) is counted as a rejected frame, and the
    next request waits a while.

    The requests are sent as REQ sockets send them, an empty part first, from DEALER sockets, which can have several on their
    way: https://rfc.zeromq.org/spec/28/
    """

    delivery: ClassVar[Delivery] = Delivery.SHARED

    address: Endpoint
    request: str = Field(default="next", min_length=1, description="What to ask with; OM's word is next.")
    outstanding: int = Field(
        default=10, ge=1, le=1000, description="Requests that may wait for an answer at once, over all sockets."
    )
    sockets: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Connections over which the requests are spread; a thread of its own reads each, for where one is too "
        "slow. With one, frames come in the order they were sent.",
    )
    timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="Seconds after which an unanswered request is given up: its connection is dropped and made anew, and it "
        "is asked again.",
    )
    data_format: Spoken = "msgpack"
    first_only: bool = Field(default=False, description="Of an array of maps take the first only, as CrystFEL does.")
    image_source: ImageSource = ""
    pulse_axis: PulseAxis = None
    max_message_bytes: int = Field(default=DEFAULT_MAX_MESSAGE_BYTES, ge=1, description="Longer messages are rejected.")

    def open(self, context: Context) -> RunningZmqReq:
        """Connect; asking begins with the first `receive`."""
        return RunningZmqReq(self)


class _Asker:
    """One connection, and when each of its unanswered requests was sent: the time, and how many answers had come by then."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.reader = Reader(connection.socket)
        self.asked: deque[tuple[float, int]] = deque()
        self.is_lost = False

    def begin_anew(self) -> None:
        """Connect anew; what has been asked for is forgotten."""
        self.connection.renew()
        self.reader = Reader(self.connection.socket)
        self.asked.clear()
        self.is_lost = False


class RunningZmqReq:
    """`ZmqReq` at work."""

    def __init__(self, parameters: ZmqReq) -> None:
        self._parameters = parameters
        self._framing = framing_of(
            parameters.data_format,
            first_only=parameters.first_only,
            image_source=parameters.image_source,
            pulse_axis=parameters.pulse_axis,
        )
        self._framing.warm_up()
        self._is_asking = True
        self._is_closed = False
        self._answers = 0
        self._last_answer = time.monotonic()
        self._asked_again = 0
        self._given_up = 0
        self._unanswered = 0
        self._pause_s = 0.0
        self._paused_until = 0.0
        self._complaint = ""
        self._losses = Losses(parameters.address)
        sockets = min(parameters.sockets, parameters.outstanding)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(sockets)
        self._poller = zmq.Poller()
        self._askers: list[_Asker] = []
        try:
            for number in range(sockets):
                self._askers.append(_Asker(self._connect(number)))
        except BaseException:
            self.close()
            raise

    def receive(self, timeout_s: float, credit: int) -> list[Message]:
        """Ask for as many frames as `credit` and `outstanding` allow, and wait for answers.

        Raises EndOfStream when nothing more is to be asked for and no answer can come.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if self._is_closed:
                raise EndOfStream
            messages = self._watch()
            self._ask(credit)
            if not messages and not self._is_asking and not self._outstanding:
                raise EndOfStream
            wait_s = 0.0 if messages else max(0.0, self._wake_at(deadline) - time.monotonic())
            ready = dict(self._poller.poll(math.ceil(1000 * wait_s)))
            for asker in self._askers:
                if asker.connection.socket in ready:
                    messages += self._take_answers(asker)
            if messages or time.monotonic() >= deadline:
                return messages

    def stop_asking(self) -> int:
        """Ask for nothing more; return how many requests may still be answered."""
        self._is_asking = False
        self._losses.stop()
        if not self._is_closed:
            for asker in self._askers:
                asker.is_lost = asker.connection.look() or asker.is_lost
        return sum(len(asker.asked) for asker in self._askers if not self._is_over(asker))

    def status(self) -> str:
        """Say whether anybody is there, and what is waited for."""
        if self._is_closed:
            return "closed"
        address = self._parameters.address
        for asker in self._askers:
            asker.is_lost = asker.connection.look() or asker.is_lost
        if not any(asker.connection.connected for asker in self._askers):
            return self._askers[0].connection.nobody()
        if self._complaint:
            return f"{self._complaint}; asking less often"
        silent_s = time.monotonic() - self._last_answer
        if silent_s < SILENT_S or not self._outstanding:
            return f"connected to {address}"
        return f"connected to {address}; no answer for {silent_s:.0f} s, {several(self._outstanding, 'request')} waiting there"

    def findings(self) -> Findings:
        """Say when the sender was lost, and which requests came to nothing."""
        lines = [self._losses.text()]
        if self._asked_again:
            lines.append(f"{several(self._asked_again, 'request')} asked again, the connection having been lost")
        if self._given_up:
            patience = f"without an answer for {self._parameters.timeout_s:g} s"
            lines.append(f"{several(self._given_up, 'request')} given up and asked again, {patience}")
        if self._unanswered:
            lines.append(
                f"{several(self._unanswered, 'request')} not answered when the run ended: the sender may have counted as many "
                "frames as sent"
            )
        figures = {
            **self._losses.figures(),
            "asked_again": self._asked_again,
            "given_up": self._given_up,
            "unanswered": self._unanswered,
        }
        return Findings("\n".join(line for line in lines if line), figures)

    def close(self) -> None:
        """Disconnect; may be called twice."""
        if not self._is_closed:
            self._is_closed = True
            self._unanswered += self._outstanding
            for asker in self._askers:
                asker.asked.clear()
                asker.connection.close()
            self._context.term()

    @property
    def _outstanding(self) -> int:
        return sum(len(asker.asked) for asker in self._askers)

    def _connect(self, number: int) -> Connection:
        return Connection(
            self._context,
            zmq.DEALER,
            ANSWERING,
            self._parameters.address,
            self._losses,
            partial(self._configure, number),
            self._poller,
        )

    def _configure(self, number: int, socket: zmq.Socket[bytes]) -> None:
        # left to itself libzmq gives connections that are made at once to one thread
        socket.setsockopt(zmq.AFFINITY, 1 << number)
        socket.setsockopt(zmq.RCVHWM, self._parameters.outstanding + 1)
        socket.setsockopt(zmq.MAXMSGSIZE, HARD_CEILING * self._parameters.max_message_bytes)

    def _watch(self) -> list[Message]:
        """Make anew the connections that were lost, and those on which an answer is overdue.

        The answers that came before are taken first. Returns what stands for answers that ZeroMQ refused.
        """
        messages: list[Message] = []
        for asker in self._askers:
            connection = asker.connection
            asker.is_lost = connection.look() or asker.is_lost
            is_over = self._is_over(asker)
            if not (is_over or self._is_overdue(asker) or connection.is_to_be_renewed):
                continue
            if connection.socket.poll(0):
                continue
            if connection.has_refused:
                messages.append(refused(self._parameters.max_message_bytes))
                if asker.asked:  # this was its answer
                    asker.asked.popleft()
            if not self._is_asking:
                self._unanswered += len(asker.asked)
            elif is_over or not asker.asked:
                self._asked_again += len(asker.asked)
            else:
                self._given_up += len(asker.asked)
                patience_s = self._parameters.timeout_s
                log.warning("no answer for %g s: asking again on a new connection", patience_s)
            asker.begin_anew()
        return messages

    def _is_over(self, asker: _Asker) -> bool:
        """Whether what was asked for on this connection will not be answered, the connection having been lost."""
        return asker.is_lost and asker.connection.is_settled and not asker.connection.socket.poll(0)

    def _is_overdue(self, asker: _Asker) -> bool:
        """Whether the oldest request will hardly be answered any more.

        A slow sender that answers at all is waited for, until it has answered so many requests that this one must have had
        its turn.
        """
        if not asker.asked:
            return False
        asked, answers_then = asker.asked[0]
        now = time.monotonic()
        passed_over = self._answers - answers_then > 2 * self._parameters.outstanding
        silent_since = asked if passed_over else max(asked, self._last_answer)
        return now - silent_since > self._parameters.timeout_s

    def _ask(self, credit: int) -> None:
        """Send as many requests as may be sent now, spread over the connections."""
        now = time.monotonic()
        if not self._is_asking or now < self._paused_until:
            return
        allowed = min(credit, self._parameters.outstanding, 1 if self._pause_s else credit)
        request = [b"", self._parameters.request.encode()]
        for _ in range(allowed - self._outstanding):
            for asker in sorted(self._askers, key=lambda one: len(one.asked)):
                # not zmq.IMMEDIATE, which throws away answers that came before the connection was lost
                if asker.is_lost or not asker.connection.connected:
                    continue
                try:
                    asker.connection.socket.send_multipart(request, zmq.NOBLOCK)
                except zmq.Again:  # the sender takes no more
                    continue
                asker.asked.append((now, self._answers))
                break
            else:
                return

    def _wake_at(self, deadline: float) -> float:
        """The time at which there is something to do even if nothing comes."""
        now = time.monotonic()
        times = [now + asker.connection.wait_s(deadline - now) for asker in self._askers]
        if self._paused_until > time.monotonic():
            times.append(self._paused_until)
        times += [asker.asked[0][0] + self._parameters.timeout_s for asker in self._askers if asker.asked]
        # an overdue time in the past is of a request that is still waited for because others are answered
        return min(deadline, max(min(times), time.monotonic() + 0.01))

    def _take_answers(self, asker: _Asker) -> list[Message]:
        parameters = self._parameters
        messages: list[Message] = []
        for _ in range(parameters.outstanding + 1):  # whoever sends more than was asked for does not keep us here
            try:
                frames = asker.reader.take()
            except zmq.Again:
                break
            self._answers += 1
            self._last_answer = time.monotonic()
            if asker.asked:
                asker.asked.popleft()
            found = messages_of(frames, parameters.max_message_bytes, self._framing)
            body = found[0].parts[0]
            if len(found) == 1 and len(body) <= SHORT_REPLY_BYTES and not self._framing.may_be_frame(memoryview(body)):
                messages.append(Message(b"", found[0].received_ns, (self._complain(bytes(body)),)))
            else:
                self._pause_s, self._paused_until, self._complaint = 0.0, 0.0, ""
                messages += found
        return messages

    def _complain(self, reply: bytes) -> bytes:
        """Pause after a reply that is no frame, longer each time; return what stands for it."""
        if self._last_answer >= self._paused_until:
            self._pause_s = min(max(FIRST_PAUSE_S, 2 * self._pause_s), LONGEST_PAUSE_S)
            self._paused_until = self._last_answer + self._pause_s
        request = self._parameters.request
        self._complaint = f"the sender answered {reply!r} to the request {request!r}, which is no frame"
        advice = "" if request == "next" else "; OM's request for a frame is 'next': --zmq-request=next"
        return stand_in("error_reply", self._complaint + advice)
