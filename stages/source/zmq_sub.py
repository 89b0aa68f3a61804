"""Take frames that are published (SUB socket)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from pipeline import Context, Delivery, stage
from stages.source._unasked import RunningUnasked, Unasked


@stage("source/zmq_sub")
class ZmqSub(Unasked):
    """Receive what a sender publishes on a PUB socket, as OnDA's and OM's viewers do (``--zmq-subscribe``).

    Every subscriber receives everything, and a sender that is faster than its subscribers drops what they do not take.
    Whoever wants each frame once, and none lost, asks for them: `source/zmq_req`.

    A message may be a body alone or a tag and a body, with or without empty parts between them. A message that holds an array
    of maps becomes one frame per map.
    """

    delivery: ClassVar[Delivery] = Delivery.PUBLISHED

    subscribe: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="Tags to receive: all messages that begin with one of them. An empty text receives everything."
    )

    alone: ClassVar[str] = (
        "every subscriber receives every frame, so many of them would process each many times: let 'streamajig relay' "
        "subscribe once, and ask it for frames with source/zmq_req (--zmq-input=tcp://RELAY:5003 --zmq-request=next)"
    )

    def open(self, context: Context) -> RunningUnasked:
        """Connect and subscribe."""
        return RunningUnasked(self, self.subscribe)
