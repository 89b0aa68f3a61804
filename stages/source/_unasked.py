"""What sources of messages that come unasked, published or pushed, have in common."""

from __future__ import annotations

import time
from collections import deque
from typing import Literal

import zmq
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline import EndOfStream, Findings, Message
from pipeline.amounts import several
from stages.source._messages import messages_of, refused
from stages.wire.connection import Endpoints, addresses_of
from stages.wire.curve import Secured
from stages.wire.framing import Framed
from stages.wire.intake import Intake, Taken
from stages.wire.recording.layout import About
from stages.wire.recording.recorder import Recordable, recorded, with_recording

BATCH = 64
"""Messages that are taken at a time."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Unasked(Framed, Secured, Recordable):
    """The parameters of these sources."""

    address: Endpoints
    when_full: Literal["block", "drop_newest", "drop_oldest"] = Field(
        default="block",
        description="What becomes of frames that come faster than they are processed. block: they wait, first here, then at "
        "the sender, which drops them uncounted when its own queue is full, or is held up; drop_newest and drop_oldest: "
        "dropped and counted.",
    )
    rcvhwm: int = Field(
        default=100,
        ge=1,
        description="Messages that ZeroMQ itself may hold for us, at most; one of each sender it always may.",
    )
    max_queue_bytes: int = Field(
        default=1 << 29,
        ge=1,
        description="Bytes that ZeroMQ itself may hold for us: from the first message on, so many messages that the largest "
        "seen fits in as often, and always one of each sender. What does not fit waits at the sender.",
    )


class RunningUnasked:
    """The running half of a source that subscribes or pulls.

    Frames wait in ZeroMQ's own queues. When the run ends, they are taken out of these, to be processed or counted.

    Parameters
    ----------
    parameters
        Those of the source.
    tags
        What it subscribes to; None where it pulls.
    """

    def __init__(self, parameters: Unasked, tags: tuple[str, ...] | None) -> None:
        addresses = addresses_of(parameters.address)
        keys = parameters.keys()
        self._max_message_bytes = parameters.max_message_bytes
        self._pulls = tags is None
        # each sender says what it says once to us
        self.recorder = parameters.recorder(
            About("PULL" if tags is None else "SUB", parameters.data_format, addresses, tags or ())
        )
        self._framings = [recorded(parameters.framing(), self.recorder, n) for n in range(len(addresses))]
        self._waiting: deque[Message] = deque()
        self._is_stopped = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._intake = Intake(
                self._context,
                addresses,
                tags,
                zmq.Poller(),
                rcvhwm=parameters.rcvhwm,
                max_queue_bytes=parameters.max_queue_bytes,
                max_message_bytes=parameters.max_message_bytes,
                keys=keys,
            )
        except BaseException:
            self._context.term()
            if self.recorder is not None:
                self.recorder.close()
            raise

    def receive(self, timeout_s: float, credit: int) -> list[Message]:
        """Wait for messages, and take those that are there, but no more than `credit`.

        Raises EndOfStream after `stop_asking` when all that had come is taken.
        """
        if credit <= 0:
            time.sleep(min(max(timeout_s, 0.0), 0.005))
            return []
        deadline = time.monotonic() + timeout_s
        while True:
            if not self._is_stopped:
                self._fill(min(credit, BATCH))
            if self._waiting:
                return [self._waiting.popleft() for _ in range(min(credit, len(self._waiting)))]
            if self._is_stopped:
                raise EndOfStream
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return []
            self._intake.wait(left_s)

    def stop_asking(self) -> int:
        """Take what has come by now and hang up; return the number of messages that wait here to be received."""
        if not self._is_stopped:
            self._is_stopped = True
            self._intake.stop_counting_losses()
            for taken in self._intake.rest():
                self._accept(taken)
            self._note_refusals(self._intake.refused)
            self._intake.close()
        return len(self._waiting)

    def status(self) -> str:
        """Say whether there are senders, and whether anything has come."""
        if self._is_stopped:
            return f"{len(self._waiting)} frames wait" if self._waiting else "closed"
        return self._intake.status()

    def lost_since(self) -> float | None:
        """Since when a sender is missing that had been there."""
        return None if self._is_stopped else self._intake.lost_since

    def findings(self) -> Findings:
        """Say when senders were lost, whether they still sent at the end where that means a loss, and what was recorded."""
        text, figures = self._intake.losses()
        if not self._pulls:
            return with_recording(Findings(text, figures), self.recorder)
        cut_off = self._intake.cut_off
        if cut_off:
            last = f"{several(cut_off, 'sender')} still pushed when the run ended: what was on its way then is lost, uncounted"
            text = f"{text}\n{last}" if text else last
        return with_recording(Findings(text, {**figures, "cut_off": cut_off}), self.recorder)

    def close(self) -> None:
        """Disconnect, and forget what waits; may be called twice."""
        if not self._context.closed:
            self._is_stopped = True
            self._waiting.clear()
            self._intake.close()
            self._context.term()
            if self.recorder is not None:
                self.recorder.close()

    def _fill(self, wanted: int) -> None:
        """Let at least `wanted` messages wait here if there are so many; make connections anew where that is due."""
        self._intake.look()
        while len(self._waiting) < wanted and (taken := self._intake.take()) is not None:
            self._accept(taken)
        if len(self._waiting) < wanted:  # then all that had come is here
            self._note_refusals(self._intake.renew_where_due())

    def _accept(self, taken: Taken) -> None:
        self._waiting += messages_of(taken.frames, self._max_message_bytes, self._framings[taken.sender], taken.sender)

    def _note_refusals(self, number: int) -> None:
        self._waiting += [refused(self._max_message_bytes) for _ in range(number)]
