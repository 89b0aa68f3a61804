"""Text of any length in HDF5 files, read without HDF5, which never comes back from some heaps that are broken.

Such a text stands in a "global heap"; the data set has its length, the heap's address, and its number there.
https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t4.html (III.E. Global Heap)
"""

from __future__ import annotations

import struct

from pipeline import RejectFrame

_REFERENCE = struct.Struct("<IQI")
"""Length of the text, address of the heap, number of the object in it."""

_HEAP = struct.Struct("<4sB3xQ")
"""Signature, version, size."""

_OBJECT = struct.Struct("<HH4xQ")
"""Number, count of references, size; then its bytes, up to a multiple of eight."""


def text_at(body: memoryview, offset: int) -> str:
    """Return the text that the reference at an offset of the file stands for; rejects the frame if it is broken."""
    try:
        length, at, number = _REFERENCE.unpack_from(body, offset)
        signature, _, size = _HEAP.unpack_from(body, at)
        end = at + size
        at += _HEAP.size
        while signature == b"GCOL" and at + _OBJECT.size <= end:
            found, _, size = _OBJECT.unpack_from(body, at)
            at += _OBJECT.size
            if found == number and length <= size and at + length <= len(body):
                return str(body[at : at + length], "utf-8", "replace").rstrip("\0\r\n")
            if not found:  # the free space at the end
                break
            at += -(-size // 8) * 8
    except struct.error:
        pass
    raise RejectFrame("bad_hdf5", "it is text that the HDF5 file does not hold, or not where it says")
