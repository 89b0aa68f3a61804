"""A frame of a file, in place of a message's bytes: whoever decodes it reads it, in the replica in which it does so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pipeline import Message, RejectFrame, UserError
from stages.wire.recorded import read_whole


class FileFrame(bytes):
    """A message's part that names a frame of a file; its bytes are the line of a list that does, ``file //event``.

    It is known by its type, which nothing that comes over a socket or out of a file can have: no sender can make us open a
    file. Made by `file_frame`; with its attributes it crosses to other processes.

    Attributes
    ----------
    filename, event
        As CrystFEL writes them in the stream: together they identify the frame. The event is ``//`` for a file with one frame.
    """

    filename: str
    event: str


def file_frame(filename: str, event: str) -> FileFrame:
    """Return what stands for this frame of a file.

    >>> file_frame("run7.cxi", "//3")
    b'run7.cxi //3'
    """
    frame = FileFrame(f"{filename} {event}".encode(errors="surrogateescape"))
    frame.filename, frame.event = filename, event
    return frame


def file_frame_of(message: Message) -> FileFrame | None:
    """Return which frame of a file a message stands for; None for one that was received."""
    part = message.parts[-1] if message.parts else None
    return part if isinstance(part, FileFrame) else None


@contextlib.contextmanager
def naming_file(message: Message) -> Iterator[None]:
    """Have what a message is rejected for name the frame of a file that it stands for, where that is not said yet."""
    try:
        yield
    except RejectFrame as trouble:
        frame = file_frame_of(message)
        if frame is None or frame.filename in trouble.detail:
            raise
        raise RejectFrame(trouble.reason, f"{frame.filename} {frame.event}: {trouble.detail}") from None


def whole_file(frame: FileFrame, max_bytes: int) -> memoryview:
    """Return all bytes of a frame's file, decompressed if its name ends in ``.gz``; rejects what cannot be read."""
    try:
        return read_whole(Path(frame.filename), max_bytes)
    except UserError as trouble:
        raise RejectFrame("unreadable_file", str(trouble)) from None
