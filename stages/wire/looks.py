"""What a message's body looks like, for whoever has to say why it is not what was wanted.

Only to make a sentence of it: which format a sender speaks is said with ``--data-format`` and never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline import RejectFrame
from stages.wire.formats import DECODERS, IN_PARTS

_MAGIC = (
    (b"\x89HDF\r\n", "an HDF5 file", "hdf5"),
    (b"###CBF", "a CBF image", "cbf"),
    (b"\x93NUMPY", "a .npy file", "npy"),
    (b"\xd9\xd9\xf7", "CBOR, as DECTRIS' Stream2 sends it", "dectris2"),
    (b"\x1f\x8b", "compressed with gzip", ""),
    (b"(\xb5/\xfd", "compressed with zstd", ""),
    (b"II*\x00", "a TIFF image", ""),
    (b"MM\x00*", "a TIFF image", ""),
    (b"\x89PNG", "a PNG image", ""),
    (b"<", "XML or HTML", ""),
)


_LOOK = 300
"""Bytes within which the first part of a message of DECTRIS' first stream or of a train says what it is."""

_KARABO = re.compile(
    rb"[\x81-\x8f]\xa6source.{1,200}?\xa7content(\xa7msgpack|\xa5array|\xa9ImageData)|\x82\xaeframe_of_train", re.DOTALL
)


_FIRST = frozenset((ord("{"), *range(0x81, 0x90), *(magic[0] for magic, _, _ in _MAGIC)))
"""The first bytes of all of these; a message that begins with another one, as most do, is looked at no further."""


def magic_of(body: memoryview) -> tuple[str, str]:
    """Name the file format that the message begins like, and the data format that reads it; "" if there is none.

    >>> magic_of(memoryview(b"###CBF: VERSION 1.5"))
    ('a CBF image', 'cbf')
    """
    if not len(body) or body[0] not in _FIRST:
        return "", ""
    head = bytes(body[:_LOOK])
    if head.startswith(b"{") and b'"htype"' in head:
        return "JSON, as DECTRIS' first stream sends it", "dectris1"
    if head.startswith(b"{") and (b'"seedee"' in head or b'"_data_format"' in head):
        return "the description of a Seedee array", "seedee"
    if _KARABO.match(head):
        return "the first part of a train of a karabo bridge", "karabo"
    return next(((what, name) for magic, what, name in _MAGIC if head.startswith(magic)), ("", ""))


def shown_by(parts: Sequence[memoryview], wanted: str) -> memoryview | None:
    """Return the part that shows a message to be of a format that has several; None where none does, or it is the one wanted.

    >>> shown_by([memoryview(b"tag"), memoryview(b'{"_data_format": ""}'), memoryview(b"pixels")], "cbf").tobytes()
    b'{"_data_format": ""}'
    """
    others = IN_PARTS - {wanted}
    first = parts[:_FIRST_PARTS] if len(parts) > 1 else ()
    return next((part for part in first if magic_of(part)[1] in others), None)


_FIRST_PARTS = 3
"""An empty one and a tag may stand before it."""


def advice(data_format: str) -> str:
    """Say how to have messages read that have this format; "" for one that is not read.

    >>> advice("cbf"), advice("tiff")
    ('; --data-format=cbf reads it (decode/cbf)', '')
    """
    return f"; --data-format={data_format} reads it ({DECODERS[data_format]})" if data_format in DECODERS else ""


def no_frame(body: memoryview) -> RejectFrame | None:
    """What senders of any format may say in place of a frame, and what is no ZeroMQ producer at all; None for the rest."""
    head = bytes(body[:256])
    text = head.strip()
    if not head:
        return RejectFrame("empty_message", "the message is empty")
    if text in (b"What?", b"Ok"):
        return RejectFrame(
            "error_reply",
            f"the server answered {text.decode()!r}, which is what OM says to a request that asks for no frame; "
            "ask with --zmq-request=next",
        )
    if re.match(rb"HTTP/\d|(GET|POST|PUT|HEAD|OPTIONS|DELETE|PATCH|CONNECT) \S", text):
        return RejectFrame("http", f"the message is HTTP ({excerpt(body)}): this is no ZeroMQ producer")
    return None


def excerpt(body: memoryview, length: int = 24) -> str:
    """The first bytes of a message, as they are written in Python."""
    text = repr(bytes(body[:length]))[1:]
    return text if len(body) <= length else f"{text}..."


def not_wanted(body: memoryview, wanted: str) -> RejectFrame:
    """Say what a message is that should be something else, and how to have it read.

    >>> print(not_wanted(memoryview(b"###CBF: VERSION"), "a .npy file").detail)
    the message is a CBF image (15 bytes); a .npy file was wanted; --data-format=cbf reads it (decode/cbf)
    """
    if (other := no_frame(body)) is not None:
        return (
            other
            if other.reason == "error_reply"
            else RejectFrame(other.reason, f"{other.detail}; {wanted} was wanted")
        )
    what, data_format = magic_of(body)
    if not what and (0x80 <= body[0] <= 0x9F or 0xDC <= body[0] <= 0xDF):
        what, data_format = "a MessagePack map or array", "msgpack"
    if what:
        detail = f"the message is {what} ({len(body)} bytes); {wanted} was wanted{advice(data_format)}"
    else:
        detail = f"the message begins with {excerpt(body)} ({len(body)} bytes); {wanted} was wanted"
    return RejectFrame("another_format", detail)
