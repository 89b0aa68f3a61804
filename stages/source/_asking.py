"""Asking one sender for frames: which requests wait there for an answer, and which will have none."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Container

import zmq

from pipeline import Message
from pipeline.amounts import duration
from stages.source._messages import messages_of, refused
from stages.wire.connection import Connection
from stages.wire.framing import Framing
from stages.wire.losses import Losses
from stages.wire.message import stand_in
from stages.wire.multipart import Reader

log = logging.getLogger("streamajig.source")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
SHORT_REPLY_BYTES = 64

SILENT_S = 2.0
"""Without an answer for so long, this is said."""


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


class Sender:
    """One sender, with its connections.

    Parameters
    ----------
    number
        Its place among those of the source.
    address
        Where it answers.
    connect
        Makes connection n to it, which notes losses there.
    connections
        How many there are to be.
    request, outstanding, timeout_s, max_message_bytes
        Parameters of the source.
    framing
        What becomes of this sender's answers.

    Attributes
    ----------
    asked_again, given_up, unanswered
        Requests that were made again because their connection was lost; because no answer came; that were out at the end.
    """

    def __init__(
        self,
        number: int,
        address: str,
        connect: Callable[[int, Losses], Connection],
        connections: range,
        *,
        request: str,
        outstanding: int,
        timeout_s: float,
        max_message_bytes: int,
        framing: Framing,
    ) -> None:
        self._number, self._address, self._request, self._most = number, address, request, outstanding
        self._timeout_s, self._max_message_bytes, self._framing = timeout_s, max_message_bytes, framing
        self._answers = 0
        self._asked_again_after = -1
        self._last_answer = time.monotonic()
        self._pause_s = 0.0
        self._paused_until = 0.0
        self._complaint = ""
        self.asked_again = self.given_up = self.unanswered = 0
        self.losses = Losses(address)
        self.askers: list[_Asker] = []
        try:
            for connection in connections:
                self.askers.append(_Asker(connect(connection, self.losses)))
        except BaseException:
            self.close()
            raise

    @property
    def outstanding(self) -> int:
        """Requests that wait for an answer."""
        return sum(len(asker.asked) for asker in self.askers)

    @property
    def connected(self) -> bool:
        """Whether it was there at the last look."""
        return any(asker.connection.connected for asker in self.askers)

    def look(self) -> None:
        """Take in what has become of the connections."""
        for asker in self.askers:
            asker.is_lost = asker.connection.look() or asker.is_lost

    def may_be_answered(self) -> int:
        """How many requests may still be answered."""
        return sum(len(asker.asked) for asker in self.askers if not self._is_over(asker))

    def status(self, is_alone: bool = True) -> str:
        """Say whether it is there; of one beside others also since when it has sent nothing.

        That requests wait there for a frame is as it should be, and not worth a word.
        """
        self.look()
        if not self.connected:
            return self.askers[0].connection.nobody()
        if self._complaint:
            return f"{self._complaint}; asking less often"
        silent_s = time.monotonic() - self._last_answer
        connected = f"connected to {self._address}"
        if silent_s < SILENT_S or not self.outstanding:
            return connected
        if not self._answers:
            return f"{connected}; nothing has come"
        return connected if is_alone else f"{connected}; no frame for {duration(silent_s)}"

    def close(self) -> None:
        """Disconnect; may be called twice."""
        self.unanswered += self.outstanding
        for asker in self.askers:
            asker.asked.clear()
            asker.connection.close()

    def watch(self, is_asking: bool) -> list[Message]:
        """Make anew the connections that were lost, and those on which an answer is overdue.

        The answers that came before are taken first. Returns what stands for answers that ZeroMQ refused.
        """
        messages: list[Message] = []
        for asker in self.askers:
            connection = asker.connection
            asker.is_lost = connection.look() or asker.is_lost
            is_over = self._is_over(asker)
            if not (is_over or self._is_overdue(asker) or connection.is_to_be_renewed):
                continue
            if connection.socket.poll(0):
                continue
            if connection.has_refused:
                messages.append(refused(self._max_message_bytes))
                if asker.asked:  # this was its answer
                    asker.asked.popleft()
            if not is_asking:
                self.unanswered += len(asker.asked)
            elif is_over or not asker.asked:
                self.asked_again += len(asker.asked)
            else:
                self.given_up += len(asker.asked)
                self._say_it_asks_again()
            asker.begin_anew()
        return messages

    def _say_it_asks_again(self) -> None:
        """Say it once while nothing comes: a sender may have no frame for hours, and that is no fault."""
        is_said = self._asked_again_after == self._answers
        self._asked_again_after = self._answers
        log.log(
            logging.DEBUG if is_said else logging.INFO,
            "no frame from %s for %s: asking anew on another connection, and again every %g s, until one comes",
            self._address,
            duration(time.monotonic() - self._last_answer),
            self._timeout_s,
        )

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
        passed_over = self._answers - answers_then > 2 * self._most
        silent_since = asked if passed_over else max(asked, self._last_answer)
        return now - silent_since > self._timeout_s

    def ask(self) -> bool:
        """Send one more request, on the connection with the fewest; False if none can be sent now."""
        now = time.monotonic()
        if now < self._paused_until or (self._pause_s and self.outstanding):
            return False
        for asker in sorted(self.askers, key=lambda one: len(one.asked)):
            # not zmq.IMMEDIATE, which throws away answers that came before the connection was lost
            if asker.is_lost or not asker.connection.connected:
                continue
            try:
                asker.connection.socket.send_multipart([b"", self._request.encode()], zmq.NOBLOCK)
            except zmq.Again:  # the sender takes no more
                continue
            asker.asked.append((now, self._answers))
            return True
        return False

    def wake_at(self, deadline: float) -> float:
        """The time at which there is something to do even if nothing comes."""
        now = time.monotonic()
        times = [now + asker.connection.wait_s(deadline - now) for asker in self.askers]
        if self._paused_until > now:
            times.append(self._paused_until)
        times += [asker.asked[0][0] + self._timeout_s for asker in self.askers if asker.asked]
        return min(times)

    def take_answers(self, ready: Container[zmq.Socket[bytes]]) -> list[Message]:
        """Take the answers that have come over these sockets."""
        return [
            message
            for asker in self.askers
            if asker.connection.socket in ready
            for message in self._take_answers(asker)
        ]

    def _take_answers(self, asker: _Asker) -> list[Message]:
        messages: list[Message] = []
        for _ in range(self._most + 1):  # whoever sends more than was asked for does not keep us here
            try:
                frames = asker.reader.take()
            except zmq.Again:
                break
            self._answers += 1
            self._last_answer = time.monotonic()
            if asker.asked:
                asker.asked.popleft()
            found = messages_of(frames, self._max_message_bytes, self._framing, self._number)
            body = found[0].parts[0] if len(found) == 1 else None
            if body is not None and len(body) <= SHORT_REPLY_BYTES and not self._framing.may_be_frame(memoryview(body)):
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
        request = self._request
        self._complaint = f"the sender answered {reply!r} to the request {request!r}, which is no frame"
        advice = "" if request == "next" else "; OM's request for a frame is 'next': --zmq-request=next"
        return stand_in("error_reply", self._complaint + advice)
