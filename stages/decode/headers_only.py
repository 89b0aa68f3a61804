"""Read messages that hold a MessagePack map, without their pixels."""

from __future__ import annotations

from pydantic import Field

from pipeline import Context, Event, Message, stage
from stages.encoded import encoded_array, is_map
from stages.header import Header
from stages.received import event_of, header_of, keys_of
from stages.wire import DEFAULT_MAX_MESSAGE_BYTES, DEFAULT_MAX_NESTING


@stage("decode/headers_only")
class HeadersOnly:
    """Read a message as `decode/msgpack_map` does, but never touch its pixels (``--no-image-data``).

    Images, broken or not, are passed over; everything else in the message makes the header.
    """

    event_keys: tuple[str, ...] = Field(
        default=("event_id", "event"),
        description="Keys that may hold the event's name; the first that is there counts.",
    )
    max_nesting: int = Field(
        default=DEFAULT_MAX_NESTING, ge=1, le=256, description="Messages nested more deeply are rejected."
    )
    max_message_bytes: int = Field(
        default=DEFAULT_MAX_MESSAGE_BYTES, ge=1, description="Longer messages are rejected before they are looked at."
    )

    def open(self, context: Context) -> RunningHeadersOnly:
        """Compile the kernels, and let the stages downstream know that there are no images."""
        context.publish("has_image", False)
        keys_of(Message(b"", 0, (b"\x80",)), self.max_nesting, self.max_message_bytes)
        return RunningHeadersOnly(self)


class RunningHeadersOnly:
    """`HeadersOnly` at work."""

    def __init__(self, parameters: HeadersOnly) -> None:
        self._parameters = parameters

    def __call__(self, message: Message) -> tuple[Event, Header]:
        """Take the message's header."""
        values = keys_of(message, self._parameters.max_nesting, self._parameters.max_message_bytes)
        arrays = {key: encoded_array(encoded) for key, encoded in values.items() if is_map(encoded)}
        header = header_of(
            values, frozenset(key for key, array in arrays.items() if array is not None and array.is_image)
        )
        return event_of(header, self._parameters.event_keys), header
