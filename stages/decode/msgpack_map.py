"""Read messages that hold a MessagePack map, pixels included."""

from __future__ import annotations

from pipeline import Context, Event, Message, RejectFrame, stage
from stages.records.header import Header
from stages.records.image import Image
from stages.records.told import PixelsDecoded
from stages.wire.encoded import KINDS, MAPS, encoded_array
from stages.wire.received import MapReader, header_of


@stage("decode/msgpack_map", publishes=(PixelsDecoded,))
class MsgpackMap(MapReader):
    """Read a message that holds a MessagePack map (or an array of one map): header, images and the event's name.

    Keys and text may be MessagePack str, bin or legacy raw. Every map in it with ``type``, ``shape`` and ``data`` and two
    dimensions or more, as msgpack-numpy writes it, is an image. Its pixels stay in the message's own memory, read-only;
    only a foreign byte order is converted, and float16 becomes float32. An image that is broken rejects the frame when
    somebody needs it, so that a frame can still be processed from its peak list. All other values make the header, and are
    decoded when they are asked for.

    A pickle is never opened. Formats: https://github.com/msgpack/msgpack/blob/master/spec.md and
    https://github.com/lebedov/msgpack-numpy
    """

    def open(self, context: Context) -> RunningMsgpackMap:
        """Compile the kernels, and let the stages downstream know that there are images."""
        context.publish(PixelsDecoded(True))
        self.compile()
        return RunningMsgpackMap(self)


class RunningMsgpackMap:
    """`MsgpackMap` at work."""

    def __init__(self, parameters: MsgpackMap) -> None:
        self._parameters = parameters

    def __call__(self, message: Message) -> tuple[Event, Header, Image]:
        """Take the message apart."""
        values = self._parameters.keys_of(message)
        arrays, broken, others = {}, {}, {}
        for key, encoded in values.items():
            first = encoded[0]
            array = encoded_array(encoded) if first in MAPS else None
            if array is None:
                others[key] = KINDS[first]
            elif not array.is_image:
                others[key] = "a single number" if array.is_scalar else "an array of one dimension or without a shape"
            else:
                try:
                    arrays[key] = array.view()
                except RejectFrame as trouble:
                    broken[key] = RejectFrame(trouble.reason, f"key {key!r}: {trouble.detail}")
        header = header_of(values, frozenset((*arrays, *broken)))
        event, header = self._parameters.named(header)
        return event, header, Image(arrays, broken, others)
