"""Read messages that hold an array in NumPy's own format: a sender of one's own, in five lines."""

from __future__ import annotations

import math
import re

import numpy as np

from pipeline import Context, Event, Message, RejectFrame, stage
from stages.records.header import Header, in_short
from stages.records.image import HIGHEST, UNNAMED, Image
from stages.records.told import PixelsDecoded
from stages.wire.encoded import dtype_of
from stages.wire.looks import not_wanted
from stages.wire.naming import Naming

_MAGIC = b"\x93NUMPY"
_HEADER_AT = {b"\x01": 10, b"\x02": 12, b"\x03": 12}
"""Where the header begins, by the format's version; its length stands before it, little-endian."""

_LONGEST_HEADER = 10_000
"""Bytes; numpy's own limit for headers of files that are not trusted."""

_FIELDS = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        r"['\"]descr['\"]\s*:\s*['\"]([^'\"]{1,16})['\"]",
        r"['\"]fortran_order['\"]\s*:\s*(True|False)",
        r"['\"]shape['\"]\s*:\s*\(\s*(\d{1,18}(?:\s*,\s*\d{1,18}){0,8})\s*,?\s*\)",
    )
)
"""What the header says, a Python dictionary as text; numpy's own reader takes whatever Python's grammar allows."""


@stage("decode/npy", publishes=(PixelsDecoded,))
class Npy(Naming):
    """Read a message that holds one array as ``numpy.save`` writes it: the pixels, (ss, fs) or with more dimensions.

    There is no header: the geometry file has to say the photon energy and the camera length. The image has no name: every
    panel's pixels are in it, whatever ``data`` says. The highest value of unsigned integers marks pixels that are bad, as with
    other formats. Objects (pickles) are never opened. Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """

    def open(self, context: Context) -> RunningNpy:
        """Let the stages downstream know that there are images."""
        context.publish(PixelsDecoded(True, named=False, has_sentinels=True))
        return RunningNpy(self)


class RunningNpy:
    """`Npy` at work."""

    def __init__(self, parameters: Npy) -> None:
        self._parameters = parameters

    def __call__(self, message: Message) -> tuple[Event, Header, Image]:
        """Read the array's header; its pixels stay in the message."""
        body = self._parameters.body(message)
        if bytes(body[: len(_MAGIC)]) != _MAGIC:
            raise not_wanted(body, "a .npy file")
        array = array_of(body)
        event, header = self._parameters.named(Header({}), message)
        return event, header, Image({UNNAMED: array}, {}, sentinels=HIGHEST)


def array_of(body: memoryview) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """Return the array of a .npy file, read-only, without copying where the byte order is ours; rejects one that is broken."""
    begin = _HEADER_AT.get(bytes(body[6:7]), 0)
    length = int.from_bytes(body[8:begin], "little") if begin else 0
    header = str(body[begin : begin + min(length, _LONGEST_HEADER)], "latin-1")
    if not (begin and header.startswith("{") and header.rstrip().endswith("}")):
        raise RejectFrame("bad_array", f"the .npy file's header cannot be read: {in_short(header)}")
    descr, order, sizes = (found[1] if (found := field.search(header)) else "" for field in _FIELDS)
    if not order or not sizes:
        raise RejectFrame("bad_array", f"the .npy file's header does not say how its array is: {in_short(header)}")
    dtype = dtype_of(descr)
    if dtype is None:
        raise RejectFrame(
            "bad_dtype", f"the .npy file's header is {in_short(header)}; integers or real numbers were wanted"
        )
    shape = tuple(int(size) for size in sizes.split(",") if size.strip())
    if not 2 <= len(shape) <= 8 or min(shape) < 1:
        raise RejectFrame("bad_shape", f"the .npy file has shape {shape}; two dimensions or more were wanted")
    data = body[begin + length :]
    if math.prod(shape) * dtype.itemsize != len(data):
        raise RejectFrame(
            "bad_array_size",
            f"array of shape {shape} and type {dtype.str} has {len(data)} bytes of data; "
            f"{math.prod(shape) * dtype.itemsize} were wanted",
        )
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if order == "True" else "C")
    if dtype.type == np.float16:
        array = array.astype(np.float32)
    elif not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array
