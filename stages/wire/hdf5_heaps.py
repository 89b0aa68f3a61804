"""Local heaps of HDF5 files, in which the names of a group are: their lists of free blocks, which may go round in circles.

HDF5 follows such a list when it looks a name up, and never comes back from one that has no end.
https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t4.html (III.D. Local Heaps)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pipeline import RejectFrame
from stages.wire.hdf5_objects import SYMBOL_TABLE, TWO, messages_of

_HEAP = struct.Struct("<8xQQQ")
"""Behind signature, version and what is reserved: size, first free block, address of the data."""

_END_OF_LIST = 1


_ROOT_AT = {0: 64, 1: 68}
"""Where the address of the root group's header stands, by the version of the file; its heap's is 24 bytes behind."""


def check_root(body: memoryview) -> None:
    """Reject a file of which HDF5 would not come back when it opens it."""
    at = _ROOT_AT.get(body[8] if len(body) > 8 else 255)
    try:
        if at is not None:
            check_group(body, TWO.unpack_from(body, at)[0])
            _check_heap(body, TWO.unpack_from(body, at + 16)[1])
    except (struct.error, OverflowError):
        return


def check_group(body: memoryview, address: int) -> None:
    """Reject a file in which the group with its header at an address has a heap whose free blocks have no end."""
    try:
        for at in _heaps_of(body, address):
            _check_heap(body, at)
    except (struct.error, IndexError, OverflowError):  # outside of the file, where HDF5 gives up too
        return


def _heaps_of(body: memoryview, address: int) -> Iterator[int]:
    for kind, at, _ in messages_of(body, address):
        if kind == SYMBOL_TABLE:
            yield TWO.unpack_from(body, at)[1]


def _check_heap(body: memoryview, at: int) -> None:
    size, block, data = _HEAP.unpack_from(body, at)
    steps = min(size, len(body)) // TWO.size
    while block != _END_OF_LIST and block + TWO.size <= size:
        block, _ = TWO.unpack_from(body, data + block)
        if not block:  # HDF5 gives up here
            return
        steps -= 1
        if steps < 0:
            raise RejectFrame("bad_hdf5", "the HDF5 file has a group whose list of free blocks has no end")
