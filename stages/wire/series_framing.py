"""How messages of DECTRIS' two streams become frames: the header of a series is kept, and comes with each frame after it.

A message of SIMPLON's stream (version 1) has several parts, of which the first says what it is; one of Stream2 (and of
Jungfraujoch) has one part in CBOR. Both: https://github.com/dectris/documentation
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipeline import Message, Preamble
from stages.wire.cbor_outline import text_under
from stages.wire.json_parts import json_object
from stages.wire.looks import magic_of


class _KindOf(Protocol):
    def __call__(self, body: memoryview, /) -> str: ...


class SeriesFraming:
    """Keeps what begins a series, and passes over what is no frame.

    Parameters
    ----------
    kind_of
        What the first part that is not empty says that the message is.
    begins
        How the kind of a series' header begins.
    passed_over
        How others begin that are no frames.

    >>> framing = dectris1_framing()
    >>> header, end = [b'{"htype": "dheader-1.0"}', b"{}"], [b'{"htype": "dseries_end-1.0"}']
    >>> [framing.frames_of([memoryview(part) for part in parts], 0, None) for parts in (header, end)]
    [[], []]
    >>> message, = framing.frames_of([memoryview(b'{"htype": "dimage-1.0"}')], 0, None)
    >>> len(message.preamble.parts)
    2
    """

    def __init__(self, kind_of: _KindOf, begins: str, passed_over: tuple[str, ...]) -> None:
        self._kind_of = kind_of
        self._begins = begins
        self._passed_over = passed_over
        self._preamble: Preamble | None = None

    def frames_of(self, parts: Sequence[memoryview], received_ns: int, keep_alive: object) -> list[Message]:
        """Return the message with all its parts, and what the series' header said; nothing for what is no frame."""
        filled = tuple(part for part in parts if len(part)) or (memoryview(b""),)
        topic, kind = b"", self._kind_of(filled[0])
        if not kind and len(filled) > 1 and _may_be_tag(filled[0]):  # detectors have none; who sends theirs on may
            topic, filled = bytes(filled[0]), filled[1:]
            kind = self._kind_of(filled[0])
        if kind.startswith(self._begins):
            self._preamble = Preamble.of(filled, keep_alive)
            return []
        if kind.startswith(self._passed_over):
            return []
        return [Message(topic, received_ns, filled, keep_alive, self._preamble)]

    def may_be_frame(self, short: memoryview) -> bool:
        """Messages that end a series are as short."""
        return bool(self._kind_of(short))


def _may_be_tag(part: memoryview) -> bool:
    return len(part) <= _LONGEST_TAG and bytes(part[:1]) != b"{" and not magic_of(part)[0]


_LONGEST_TAG = 256


def dectris1_framing() -> SeriesFraming:
    """For SIMPLON's stream, version 1."""
    return SeriesFraming(_htype, "dheader-", ("dseries_end-",))


def dectris2_framing() -> SeriesFraming:
    """For Stream2; Jungfraujoch says more that is no frame."""
    return SeriesFraming(_type, "start", ("end", "calibration", "metadata"))


def _htype(body: memoryview) -> str:
    return str((json_object(body) or {}).get("htype", ""))


def _type(body: memoryview) -> str:
    return text_under(body, "type")
