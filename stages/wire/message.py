"""Reading what comes off the network: where the maps of a message are, and what it is if it holds none.

Nobody can be trusted here. Everything is checked before anything is allocated, pixels stay where ZeroMQ put them, no pickle
is ever opened, and whatever cannot be read is rejected with a sentence that says what it looks like. What the maps hold is
the business of :mod:`stages.wire.encoded`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from pipeline import Message, RejectFrame
from stages.wire._kernels import msgpack as kernel
from stages.wire.encoded import (
    SHORT_KEY,
    declared_length,
    is_array,
    is_map,
    key_text,
    kind_of,
    octets,
    short_key_text,
)
from stages.wire.looks import advice, excerpt, magic_of, no_frame
from stages.wire.multipart import DEFAULT_MAX_MESSAGE_BYTES

DEFAULT_MAX_NESTING = 32
"""Levels of maps and arrays within a message; OM uses three."""

MAX_KEYS = 4096
"""Entries of a map in which keys are looked up."""

MAX_MAPS = 65536
"""Maps of one message."""


class StandIn(bytes):
    """A message's body that stands for one that is not passed on, and is rejected with this reason and detail.

    It is known by its type, which nothing that comes over a socket or out of a file can have.
    """

    rejection: RejectFrame


# --- the message as a whole -----------------------------------------------------------------------------------------


def body_of(message: Message) -> memoryview:
    """Return the part of a message that holds its map: the last one that is not empty."""
    for part in reversed(message.parts):
        if len(part):
            return memoryview(part).toreadonly().cast("B")
    return memoryview(b"")


def check_body(body: memoryview, max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES) -> None:
    """Reject what is too long, and what stands for a message that was not passed on."""
    if isinstance(body.obj, StandIn):
        raise RejectFrame(body.obj.rejection.reason, body.obj.rejection.detail)
    if len(body) > max_message_bytes:
        raise too_large(len(body), max_message_bytes)


def too_large(size: int, max_message_bytes: int, what: str = "message") -> RejectFrame:
    """Say that a message has more bytes than it may."""
    return RejectFrame("too_large", f"the {what} has {size} bytes, and max_message_bytes allows {max_message_bytes}")


def stand_in(reason: str, detail: str) -> StandIn:
    """Return a message body that is rejected with this reason and detail, in place of one that cannot be passed on."""
    rejection = RejectFrame(reason, detail)
    body = StandIn(str(rejection).encode())
    body.rejection = rejection
    return body


def split_parts(parts: Sequence[memoryview]) -> tuple[bytes, list[memoryview]]:
    """Tell the tag of a message from its bodies, by position and never by length.

    One part is a body. Of several the first is the tag and the last that is not empty is the body; where there are more
    in between, each that holds MessagePack maps is a body of its own, so that none is lost. Empty parts are delimiters.

    >>> split_parts([memoryview(b"tag"), memoryview(b""), memoryview(bytes([0x80]))])[0]
    b'tag'
    """
    if parts and not len(parts[0]):  # the envelope of a reply
        parts = [part for part in parts if len(part)]
    if len(parts) <= 1:
        return b"", list(parts) or [memoryview(b"")]
    rest = [part for part in parts[1:] if len(part)]
    if not rest:
        return (b"", [parts[0]]) if is_well_formed(parts[0]) else (bytes(parts[0][:256]), [memoryview(b"")])
    if len(rest) > 1:
        rest = [part for part in rest if is_well_formed(part)] or rest[-1:]
    return bytes(parts[0][:256]), rest


def is_map_or_array(body: memoryview) -> bool:
    """Whether the first byte is that of a MessagePack map or array."""
    return len(body) > 0 and (is_map(body) or is_array(body))


def length_of_first(body: memoryview) -> int:
    """How many bytes the MessagePack map or array has with which this begins; 0 if it is not whole, or something else.

    >>> length_of_first(memoryview(bytes.fromhex("81a16101 80"))), length_of_first(memoryview(bytes.fromhex("81a161")))
    (4, 0)
    """
    if not is_map_or_array(body):
        return 0
    after, _, status = kernel.skip(octets(body), 0, len(body), DEFAULT_MAX_NESTING)
    return int(after) if status == kernel.OK else 0


def is_well_formed(body: memoryview) -> bool:
    """Whether this is one complete MessagePack map or array, with nothing behind it."""
    if not is_map_or_array(body):
        return False
    after, _, status = kernel.skip(octets(body), 0, len(body), DEFAULT_MAX_NESTING)
    return bool(status == kernel.OK and after == len(body))


def split_maps(
    body: memoryview, *, first_only: bool = False, max_nesting: int = DEFAULT_MAX_NESTING
) -> list[memoryview]:
    """Return the maps of a message as slices of it: itself if it is one map, each element if it is an array of maps.

    With `first_only` the first map alone, as CrystFEL does. What is not an array with a map in it comes back whole, for the
    decoder to say what is wrong with it.

    >>> [part.hex() for part in split_maps(memoryview(bytes.fromhex("92 81a16101 80")))]
    ['81a16101', '80']
    """
    if not is_array(body):
        return [body]
    rows = np.empty((min(declared_length(body), MAX_MAPS, len(body)), kernel.COLUMNS), np.int64)
    count, after, status = kernel.entries(octets(body), 0, len(body), max_nesting, False, rows)
    if status != kernel.OK or after != len(body):
        return [body]
    parts = [body[start:end] for start, end in rows[:count, [kernel.VALUE, kernel.END]].tolist()]
    maps = [is_map(part) for part in parts]
    if not any(maps):
        return [body]
    return [parts[maps.index(True)]] if first_only else parts


def read_map(
    body: memoryview,
    *,
    max_nesting: int = DEFAULT_MAX_NESTING,
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
) -> dict[str, memoryview]:
    """Return the still encoded value of each key of a message that is one map (or an array of one map).

    Raises RejectFrame with what the message looks like if it is anything else.
    """
    check_body(body, max_message_bytes)
    if not is_map_or_array(body) or looks_like_pickle(body) or magic_of(body)[0]:
        raise what_it_is(body)
    start = 0 if is_map(body) else _start_of_single_map(body, max_nesting)
    rows = np.empty((min(declared_length(body[start:]), MAX_KEYS, len(body)), kernel.COLUMNS), np.int64)
    count, after, status = kernel.entries(octets(body), start, len(body), max_nesting, True, rows)
    if status != kernel.OK:
        raise _trouble(body, status, after, max_nesting, count)
    if after != len(body):
        raise _trailing(body, after)
    return {
        short_key_text(bytes(body[key:value])) if value - key <= SHORT_KEY else key_text(body[key:value]): body[
            value:end
        ]
        for key, value, end, _ in rows[:count].tolist()
    }


def _start_of_single_map(body: memoryview, max_nesting: int) -> int:
    """Return where the one map of an array begins; rejects every other array."""
    declared = declared_length(body)
    if declared == 0 and len(body) == 1:
        raise RejectFrame("empty_array", "the message is an empty array; a map, or an array of maps, was wanted")
    if declared != 1:
        after, _, status = kernel.skip(octets(body), 0, len(body), max_nesting)
        if status != kernel.OK:
            raise _trouble(body, status, after, max_nesting)
        if after != len(body):
            raise _trailing(body, after)
        if declared > MAX_MAPS:
            raise RejectFrame(
                "too_many_maps", f"the message is an array of {declared} values; at most {MAX_MAPS} are taken"
            )
        if not any(is_map(part) for part in split_maps(body, max_nesting=max_nesting)):
            raise RejectFrame("not_a_map", f"the message is an array of {declared} values, none of which is a map")
        raise RejectFrame(
            "several_maps",
            f"the message is an array of {declared} maps; the source splits such a message into one per map: "
            "take zmq_sub, zmq_req or replay as the source",
        )
    start = 1 if body[0] == 0x91 else (3 if body[0] == 0xDC else 5)
    if not is_map(body[start:]):
        raise RejectFrame("not_a_map", f"the message is an array that holds {kind_of(body[start:])}; a map was wanted")
    return start


def _trailing(body: memoryview, after: int) -> RejectFrame:
    return RejectFrame(
        "trailing_bytes",
        f"the message's value ends at byte {after} and {len(body) - after} further bytes follow "
        f"({excerpt(body[after:])}); a message holds one map or one array of maps",
    )


def _trouble(body: memoryview, status: int, where: int, max_nesting: int, count: int = 0) -> RejectFrame:
    if status == kernel.TRUNCATED:
        return RejectFrame(
            "truncated", f"the message has {len(body)} bytes, and what begins at byte {where} declares more than that"
        )
    if status == kernel.TOO_DEEP:
        return RejectFrame("too_deep", f"the message is nested deeper than max_nesting = {max_nesting} at byte {where}")
    if status == kernel.RESERVED:
        return RejectFrame("not_msgpack", f"the message holds the byte 0xc1 at {where}, which MessagePack never uses")
    return RejectFrame("too_many_keys", f"the message's map has {count} keys, and at most {MAX_KEYS} are taken")


# --- what else it may be --------------------------------------------------------------------------------------------


def looks_like_pickle(body: memoryview) -> bool:
    """Whether this is a Python pickle of protocol 2 to 5 (never opened: opening one runs the sender's code).

    Its first byte is also MessagePack's empty map, which a naive reader therefore takes it for.
    """
    return len(body) > 2 and body[0] == 0x80 and 2 <= body[1] <= 5 and (body[2] == 0x95 or body[-1] == ord("."))


def what_it_is(body: memoryview) -> RejectFrame:
    """Say what a message that is no MessagePack map looks like."""
    head = bytes(body[:256])
    text = head.strip()
    wanted = "a MessagePack map, or an array of maps, was wanted"
    if looks_like_pickle(body):
        return RejectFrame(
            "pickle",
            f"the message is a Python pickle ({len(body)} bytes), as OM's PUB socket sends them to its GUI; pickles are "
            "never opened, since that runs the sender's code. Ask OM's REQ socket instead: --zmq-request=next",
        )
    if (other := no_frame(body)) is not None:
        return other if other.reason == "error_reply" else RejectFrame(other.reason, f"{other.detail}; {wanted}")
    if re.match(rb'\{\s*(}|")|\[\s*(]|[\[{"\d-])', text):
        is_dectris = b'"htype"' in head
        what = "a part of a DECTRIS SIMPLON stream" if is_dectris else "JSON"
        return RejectFrame("json", f"the message is {what} ({excerpt(body)}); {wanted}{advice(magic_of(body)[1])}")
    what, data_format = magic_of(body)
    if what:
        return RejectFrame("not_msgpack", f"the message is {what} ({len(body)} bytes); {wanted}{advice(data_format)}")
    if head[0] == 0xC1:
        return RejectFrame(
            "not_msgpack",
            f"the message begins with the byte 0xc1, which MessagePack never uses ({excerpt(body)}); {wanted}",
        )
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head) and len(body) > 1:
        return RejectFrame("not_msgpack", f"the message is text ({excerpt(body)}); {wanted}")
    after, _, status = kernel.skip(octets(body), 0, len(body), DEFAULT_MAX_NESTING)
    if status == kernel.OK and after == len(body):
        return RejectFrame("not_a_map", f"the message is {kind_of(body)} ({excerpt(body)}); {wanted}")
    return RejectFrame("not_msgpack", f"the message is not MessagePack ({len(body)} bytes: {excerpt(body)}); {wanted}")
