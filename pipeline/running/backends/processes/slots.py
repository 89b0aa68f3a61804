"""Messages in shared memory: slots, written by the process that receives, read by those that process.

The memory is one anonymous file (``memfd_create``): it has no name that could be left over, is not bound by the size of
``/dev/shm``, and is gone when the last process that has it is. It is sparse: slots lie far apart, and only what was
written to takes memory, so that a slot has room for whatever comes. It is written with ``pwrite``, which says so when there is
no memory (a store to mapped memory would end the process), and mapped read-only.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.errors import UserError
from pipeline.frame import Buffer, Message, Preamble

STRIDE = 1 << 36
"""Bytes from slot to slot: 64 GiB of addresses in a file, of which only what is written takes memory."""

_PLAIN = (bytes, bytearray, memoryview)
_ALIGNED = 64
_GRAIN = 1 << 21
"""Slots are mapped in multiples of this, so that messages of nearly the same size need no new mapping."""

_MOST_AT_ONCE = 1 << 30
"""Bytes that are written with one call; Linux writes no more than 2 GiB."""


@dataclass(frozen=True)
class Written:
    """A message in its slot: what goes through the pipe in its place.

    Attributes
    ----------
    spans
        Where each part lies in the slot: first byte, and the one behind its last.
    carried
        The parts themselves, of a message that is more than its bytes: a source may put a value of its own in the place of
        something that it could not take.
    preamble
        Number and place of what the sender has said before this message and others, which has a slot of its own.
    """

    topic: bytes
    received_ns: int
    slot: int
    spans: tuple[tuple[int, int], ...]
    carried: tuple[Buffer, ...] = ()
    preamble: tuple[int, Written] | None = None
    sender: int = 0


def make_memory(slots: int) -> int:
    """Return the file descriptor of shared memory with so many slots; OSError if the system gives none."""
    fd = os.memfd_create("streamajig-messages", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, slots * STRIDE)
    except OSError as error:
        os.close(fd)
        raise UserError(
            f"shared memory cannot be had: {error.strerror} (is there a limit on the size of files?)"
        ) from error
    return fd


def write(fd: int, slot: int, message: Message) -> Written:
    """Copy a message into a slot. OSError if there is no memory for it."""
    if not all(type(part) in _PLAIN for part in message.parts):
        carried = tuple(part if isinstance(part, bytes) else bytes(part) for part in message.parts)
        return Written(message.topic, message.received_ns, slot, (), carried, sender=message.sender)
    if total(message.parts) > STRIDE // 2:
        raise UserError(f"a message of {total(message.parts)} bytes is too long for shared memory")
    spans, at = [], 0
    for part in message.parts:
        view = memoryview(part).cast("B")
        spans.append((at, at + view.nbytes))
        for begin in range(0, view.nbytes, _MOST_AT_ONCE):
            _write_all(fd, view[begin : begin + _MOST_AT_ONCE], slot * STRIDE + at + begin)
        at += -(-view.nbytes // _ALIGNED) * _ALIGNED
    return Written(message.topic, message.received_ns, slot, tuple(spans), sender=message.sender)


def _write_all(fd: int, view: memoryview, offset: int) -> None:
    while view.nbytes:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done


class Reader:
    """Sees the slots, read-only, as the messages that lie in them.

    >>> fd = make_memory(2)
    >>> reader = Reader(fd)
    >>> [bytes(part) for part in reader.parts(write(fd, 1, Message(b"tag", 0, (b"body", b"", b"more"))))]
    [b'body', b'', b'more']
    >>> os.close(fd)
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._maps: dict[int, mmap.mmap] = {}

    def parts(self, written: Written) -> tuple[Buffer, ...]:
        """The parts of a message; they are what they are until the slot is written again.

        Their ``obj`` is an array of this message alone, which lives as long as anything that was made of its parts.
        """
        if written.carried:
            return written.carried
        length = max((end for _, end in written.spans), default=0)
        if length == 0:
            return tuple(memoryview(b"") for _ in written.spans)
        mapped = self._maps.get(written.slot)
        if mapped is None or len(mapped) < length:
            size = -(-length // _GRAIN) * _GRAIN
            mapped = mmap.mmap(self._fd, size, mmap.MAP_SHARED, mmap.PROT_READ, offset=written.slot * STRIDE)
            self._maps[written.slot] = mapped  # the one before lives as long as somebody looks at it
        whole = np.frombuffer(mapped, np.uint8).data
        return tuple(whole[begin:end] for begin, end in written.spans)

    def close(self) -> None:
        """Give up what is mapped; what somebody still looks at is left to him."""
        for mapped in self._maps.values():
            with contextlib.suppress(BufferError):
                mapped.close()
        self._maps.clear()


@dataclass
class Lease:
    """Holds a slot as long as anybody holds this; a message has it as ``keep_alive``, and frees its slot when it is gone."""

    written: Written
    leases: Leases = field(repr=False)

    def __del__(self) -> None:
        self.leases.free(self.written.slot)


class Leases:
    """Which slots are free, of those from `first` on; any thread may free one."""

    def __init__(self, slots: int, first: int = 0) -> None:
        self._free = deque(range(first, first + slots))
        self._lock = threading.Lock()

    def take(self, most: int) -> list[int]:
        """Take as many free slots as there are, but no more than `most`; those that were freed last, whose memory is there."""
        with self._lock:
            return [self._free.pop() for _ in range(min(most, len(self._free)))]

    def free(self, slot: int) -> None:
        """Give a slot back."""
        # one operation: it may run in a destructor, where a lock could be held by this very thread
        self._free.append(slot)

    def __len__(self) -> int:
        """How many slots are free."""
        return len(self._free)


def leased(written: Written, reader: Reader, leases: Leases, preamble: Preamble | None = None) -> Message:
    """The message in this slot, which holds the slot."""
    lease = Lease(written, leases)
    return Message(written.topic, written.received_ns, reader.parts(written), lease, preamble, written.sender)


def leased_preamble(number: int, written: Written, reader: Reader, leases: Leases) -> Preamble:
    """The preamble in this slot, which holds the slot."""
    return Preamble(number, reader.parts(written), Lease(written, leases))


def total(parts: Sequence[Buffer]) -> int:
    """Bytes of a message's parts."""
    return sum(memoryview(part).nbytes for part in parts)
