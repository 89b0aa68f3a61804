"""Ask for frames one by one (REQ socket)."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import ClassVar

import zmq
from pydantic import Field

from pipeline import Context, Delivery, EndOfStream, Findings, Message, stage
from pipeline.amounts import several
from stages.source._asking import Sender
from stages.wire.connection import Connection, Endpoints, addresses_of
from stages.wire.curve import Secured
from stages.wire.framing import Framed
from stages.wire.intake import status_of_several
from stages.wire.losses import Losses, lost_since, of_several
from stages.wire.multipart import HARD_CEILING
from stages.wire.peer import ANSWERING
from stages.wire.recording.layout import About
from stages.wire.recording.recorder import RECORDED_ALONE, Recordable, Recorder, recorded, with_recording

MOST_THREADS = 64
"""Connections that have a thread of their own, at most: ZeroMQ tells threads by the bits of a number."""


@stage("source/zmq_req")
class ZmqReq(Framed, Secured, Recordable):
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

    address: Endpoints
    request: str = Field(default="next", min_length=1, description="What to ask with; OM's word is next.")
    outstanding: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="Requests that may wait for an answer at once, over all sockets; one at each of several senders always.",
    )
    sockets: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Connections to each sender over which requests are spread; a thread of its own reads each, for where one "
        "is too slow. With one, a sender's frames come in the order they were sent.",
    )
    timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="Seconds after which an unanswered request is given up: its connection is dropped and made anew, and it "
        "is asked again.",
    )

    @property
    def alone(self) -> str:
        """Why not every worker of a cluster may ask, "" if it may."""
        return "" if self.record is None else RECORDED_ALONE

    def open(self, context: Context) -> RunningZmqReq:
        """Connect; asking begins with the first `receive`."""
        return RunningZmqReq(self)


class RunningZmqReq:
    """`ZmqReq` at work."""

    def __init__(self, parameters: ZmqReq) -> None:
        self._parameters = parameters
        self._is_asking = True
        self._is_closed = False
        addresses = addresses_of(parameters.address)
        self._keys = parameters.keys()
        sockets = min(parameters.sockets, parameters.outstanding)
        self._threads = min(sockets * len(addresses), MOST_THREADS)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(self._threads)
        self._poller = zmq.Poller()
        self._senders: list[Sender] = []
        self.recorder: Recorder | None = None
        try:
            self.recorder = parameters.recorder(About("REQ", parameters.data_format, addresses, (parameters.request,)))
            for n, address in enumerate(addresses):
                self._senders.append(
                    Sender(
                        n,
                        address,
                        partial(self._connect, address),
                        range(n * sockets, (n + 1) * sockets),
                        request=parameters.request,
                        outstanding=parameters.outstanding,
                        timeout_s=parameters.timeout_s,
                        max_message_bytes=parameters.max_message_bytes,
                        framing=recorded(parameters.framing(), self.recorder, n),
                    )
                )
        except BaseException:
            self.close()
            raise

    def receive(self, timeout_s: float, credit: int) -> list[Message]:
        """Ask for as many frames as `credit` and `outstanding` allow, and wait for answers.

        Of each of several senders one frame may be asked for whatever these allow, or a silent one would keep the others from
        being asked. Raises EndOfStream when nothing more is to be asked for and no answer can come.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if self._is_closed:
                raise EndOfStream
            messages = [message for sender in self._senders for message in sender.watch(self._is_asking)]
            self._ask(credit)
            if not messages and not self._is_asking and not self._outstanding:
                raise EndOfStream
            wait_s = 0.0 if messages else max(0.0, self._wake_at(deadline) - time.monotonic())
            ready = dict(self._poller.poll(math.ceil(1000 * wait_s)))
            for sender in self._senders:
                messages += sender.take_answers(ready)
            if messages or time.monotonic() >= deadline:
                return messages

    def stop_asking(self) -> int:
        """Ask for nothing more; return how many requests may still be answered."""
        self._is_asking = False
        for sender in self._senders:
            sender.losses.stop()
            if not self._is_closed:
                sender.look()
        return sum(sender.may_be_answered() for sender in self._senders)

    def status(self) -> str:
        """Say whether anybody is there, and what is waited for."""
        if self._is_closed:
            return "closed"
        return status_of_several([(sender.status(), sender.connected) for sender in self._senders])

    def lost_since(self) -> float | None:
        """Since when a sender is missing that had been there."""
        return lost_since(sender.losses for sender in self._senders) if self._is_asking else None

    def findings(self) -> Findings:
        """Say when senders were lost, which requests came to nothing, and what was recorded."""
        text, figures = of_several([sender.losses for sender in self._senders])
        asked_again = sum(sender.asked_again for sender in self._senders)
        given_up = sum(sender.given_up for sender in self._senders)
        unanswered = sum(sender.unanswered for sender in self._senders)
        lines = [text]
        if asked_again:
            lines.append(f"{several(asked_again, 'request')} asked again, the connection having been lost")
        if given_up:
            patience = f"without an answer for {self._parameters.timeout_s:g} s"
            lines.append(f"{several(given_up, 'request')} given up and asked again, {patience}")
        if unanswered:
            lines.append(
                f"{several(unanswered, 'request')} not answered when the run ended: the sender may have counted as many "
                "frames as sent"
            )
        requests = {"asked_again": asked_again, "given_up": given_up, "unanswered": unanswered}
        found = Findings("\n".join(line for line in lines if line), {**figures, **requests})
        return with_recording(found, self.recorder)

    def close(self) -> None:
        """Disconnect; may be called twice."""
        if not self._is_closed:
            self._is_closed = True
            for sender in self._senders:
                sender.close()
            self._context.term()
            if self.recorder is not None:
                self.recorder.close()

    @property
    def _outstanding(self) -> int:
        return sum(sender.outstanding for sender in self._senders)

    def _connect(self, address: str, number: int, losses: Losses) -> Connection:
        configure = partial(self._configure, number)
        return Connection(self._context, zmq.DEALER, ANSWERING, address, losses, configure, self._poller, self._keys)

    def _configure(self, number: int, socket: zmq.Socket[bytes]) -> None:
        # left to itself libzmq gives connections that are made at once to one thread
        socket.setsockopt(zmq.AFFINITY, 1 << number % self._threads)
        socket.setsockopt(zmq.RCVHWM, self._parameters.outstanding + 1)
        socket.setsockopt(zmq.MAXMSGSIZE, HARD_CEILING * self._parameters.max_message_bytes)

    def _ask(self, credit: int) -> None:
        """Send as many requests as may be sent now, to the sender at which the fewest wait."""
        if not self._is_asking or credit <= 0:
            return
        for sender in self._senders:
            if not sender.outstanding:
                sender.ask()
        for _ in range(min(credit, self._parameters.outstanding) - self._outstanding):
            if not any(sender.ask() for sender in sorted(self._senders, key=lambda one: one.outstanding)):
                return

    def _wake_at(self, deadline: float) -> float:
        """The time at which there is something to do even if nothing comes."""
        # an overdue time in the past is of a request that is still waited for because others are answered
        soonest = min(sender.wake_at(deadline) for sender in self._senders)
        return min(deadline, max(soonest, time.monotonic() + 0.01))
