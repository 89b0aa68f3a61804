"""Take frames that are published (SUB socket)."""

from __future__ import annotations

import time
from collections import deque
from typing import Annotated, ClassVar, Literal

import zmq
from pydantic import Field

from pipeline import Context, Delivery, EndOfStream, Findings, Message, stage
from stages.source._messages import messages_of, refused
from stages.wire.connection import Endpoint
from stages.wire.framing import Spoken, framing_of
from stages.wire.multipart import DEFAULT_MAX_MESSAGE_BYTES
from stages.wire.recording.layout import About
from stages.wire.recording.recorder import Recordable, Recorder, with_recording
from stages.wire.subscription import Subscription

BATCH = 64
"""Messages that are taken at a time."""


@stage("source/zmq_sub")
class ZmqSub(Recordable):
    """Receive what a sender publishes on a PUB socket, as OnDA's and OM's viewers do (``--zmq-subscribe``).

    Every subscriber receives everything, and a sender that is faster than its subscribers drops what they do not take.
    Whoever wants each frame once, and none lost, asks for them: `source/zmq_req`.

    A message may be a body alone or a tag and a body, with or without empty parts between them. A message that holds an array
    of maps becomes one frame per map.
    """

    delivery: ClassVar[Delivery] = Delivery.PUBLISHED

    address: Endpoint
    subscribe: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="Tags to receive: all messages that begin with one of them. An empty text receives everything."
    )
    when_full: Literal["block", "drop_newest", "drop_oldest"] = Field(
        default="block",
        description="What becomes of frames that come faster than they are processed. block: they wait, first here, then at "
        "the sender, which drops them uncounted when its own queue is full; drop_newest and drop_oldest: dropped and counted.",
    )
    rcvhwm: int = Field(default=100, ge=1, description="Messages that ZeroMQ itself may hold for us, at most.")
    max_queue_bytes: int = Field(
        default=1 << 29,
        ge=1,
        description="Bytes that ZeroMQ itself may hold for us: from the first message on, so many messages that the largest "
        "seen fits in as often, and always one. What does not fit waits at the sender.",
    )
    data_format: Spoken = "msgpack"
    first_only: bool = Field(default=False, description="Of an array of maps take the first only, as CrystFEL does.")
    max_message_bytes: int = Field(default=DEFAULT_MAX_MESSAGE_BYTES, ge=1, description="Longer messages are rejected.")

    alone: ClassVar[str] = (
        "every subscriber receives every frame, so many of them would process each many times: let 'streamajig relay' "
        "subscribe once, and ask it for frames with source/zmq_req (--zmq-input=tcp://RELAY:5003 --zmq-request=next)"
    )

    def open(self, context: Context) -> RunningZmqSub:
        """Connect and subscribe."""
        return RunningZmqSub(self)


class RunningZmqSub:
    """`ZmqSub` at work.

    Frames wait in ZeroMQ's own queue. When the run ends, they are taken out of it, to be processed or counted.
    """

    def __init__(self, parameters: ZmqSub) -> None:
        self._parameters = parameters
        self._framing = framing_of(parameters.data_format, first_only=parameters.first_only)
        self._framing.warm_up()
        self._waiting: deque[Message] = deque()
        self._is_stopped = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.recorder: Recorder | None = None
        try:
            self.recorder = parameters.recorder(
                About("SUB", parameters.data_format, parameters.address, parameters.subscribe)
            )
            self._subscription = Subscription(
                self._context,
                parameters.address,
                parameters.subscribe,
                zmq.Poller(),
                rcvhwm=parameters.rcvhwm,
                max_queue_bytes=parameters.max_queue_bytes,
                max_message_bytes=parameters.max_message_bytes,
            )
        except BaseException:
            if self.recorder is not None:
                self.recorder.close()
            self._context.term()
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
            self._subscription.wait(left_s)

    def stop_asking(self) -> int:
        """Take what has come by now and hang up; return the number of messages that wait here to be received."""
        if not self._is_stopped:
            self._is_stopped = True
            self._subscription.losses.stop()
            for frames in self._subscription.rest():
                self._accept(frames)
            if self._subscription.has_refused:
                self._note_refusal()
            self._subscription.close()
        return len(self._waiting)

    def status(self) -> str:
        """Say whether anybody publishes, and whether anything has come."""
        if self._is_stopped:
            return f"{len(self._waiting)} frames wait" if self._waiting else "closed"
        return self._subscription.status()

    def findings(self) -> Findings:
        """Say when the sender was lost, and what was recorded."""
        losses = self._subscription.losses
        return with_recording(Findings(losses.text(), losses.figures()), self.recorder)

    def close(self) -> None:
        """Disconnect, and forget what waits; may be called twice."""
        if not self._context.closed:
            self._is_stopped = True
            self._waiting.clear()
            self._subscription.close()
            self._context.term()
            if self.recorder is not None:
                self.recorder.close()

    def _fill(self, wanted: int) -> None:
        """Let at least `wanted` messages wait here if there are so many; make the connection anew where that is due."""
        self._subscription.look()
        while len(self._waiting) < wanted and (frames := self._subscription.take()) is not None:
            self._accept(frames)
        if len(self._waiting) < wanted and self._subscription.renew_where_due():  # then all that had come is here
            self._note_refusal()

    def _accept(self, frames: list[zmq.Frame]) -> None:
        self._waiting += messages_of(frames, self._parameters.max_message_bytes, self._framing, self.recorder)

    def _note_refusal(self) -> None:
        self._waiting.append(refused(self._parameters.max_message_bytes, self.recorder))
