"""Read messages that hold a MessagePack map, without their pixels."""

from __future__ import annotations

from pipeline import Context, Event, Message, stage
from stages.records.header import Header
from stages.records.told import PixelsDecoded
from stages.wire.encoded import encoded_array, is_map
from stages.wire.received import MapReader, header_of


@stage("decode/headers_only", publishes=(PixelsDecoded,))
class HeadersOnly(MapReader):
    """Read a message as `decode/msgpack_map` does, but never touch its pixels (``--no-image-data``).

    Images, broken or not, are passed over; everything else in the message makes the header.
    """

    def open(self, context: Context) -> RunningHeadersOnly:
        """Compile the kernels, and let the stages downstream know that there are no images."""
        context.publish(PixelsDecoded(False))
        self.compile()
        return RunningHeadersOnly(self)


class RunningHeadersOnly:
    """`HeadersOnly` at work."""

    def __init__(self, parameters: HeadersOnly) -> None:
        self._parameters = parameters

    def __call__(self, message: Message) -> tuple[Event, Header]:
        """Take the message's header."""
        values = self._parameters.keys_of(message)
        arrays = {key: encoded_array(encoded) for key, encoded in values.items() if is_map(encoded)}
        header = header_of(
            values, frozenset(key for key, array in arrays.items() if array is not None and array.is_image)
        )
        return self._parameters.named(header)
