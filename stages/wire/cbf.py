"""CBF images: what their header says, and where their pixels are.

A CBF image is text up to one binary section, with a MIME header of its own. Detectors write "miniCBF": all that they say of
the experiment is in comments, ``# Wavelength 1.0332 A``. https://www.iucr.org/resources/cif/spec/ancillary/imgcif
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pipeline import RejectFrame

_BEGINS = b"\x0c\x1a\x04\xd5"
_LONGEST_HEADER = 1 << 20
"""Bytes of text before the pixels; detectors write some two thousand."""

BYTE_OFFSET = "x-cbf_byte_offset"

WIDE = 1 << 62
"""No pixel is as large, whatever its differences add up to."""

_RANGES = {
    f"{sign} {bits}-bit integer": (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    if sign == "signed"
    else (0, (1 << bits) - 1)
    for bits in (8, 16, 32)
    for sign in ("signed", "unsigned")
}


@dataclass(frozen=True)
class CbfImage:
    """What a CBF image is, before its pixels are decoded.

    Attributes
    ----------
    comments
        The header's comments by their first word: a number where they are one, with a unit or without, else text.
    body
        The bytes of the compressed pixels, without what follows them.
    width, height
        Pixels along the fast and the slow direction.
    least, most
        Which values pixels of this type can have; those of 32 bits are not limited, since some programs write differences of
        them modulo 2**32.
    is_signed
        Whether pixels can be below 0.
    md5
        The digest of `body`, in base64; "" where none is given.
    """

    comments: dict[str, Any]
    body: memoryview
    width: int
    height: int
    least: int
    most: int
    is_signed: bool
    md5: str


def read_cbf(message: memoryview) -> CbfImage:
    """Find the header and the pixels of a CBF image; rejects what is none, or of another kind than detectors write."""
    text_end = bytes(message[:_LONGEST_HEADER]).find(_BEGINS)
    if text_end < 0:
        raise RejectFrame(
            "no_pixels",
            f"the CBF image has no binary section within its first {min(len(message), _LONGEST_HEADER)} bytes",
        )
    text = str(message[:text_end], "latin-1")
    before, found, mime = text.rpartition("--CIF-BINARY-FORMAT-SECTION--")
    if not found:
        raise RejectFrame("no_pixels", "the CBF image has no line --CIF-BINARY-FORMAT-SECTION-- before its pixels")
    fields = {name.lower(): value.strip() for name, value in _FIELD.findall(mime)}
    conversion = fields.get("content-type", "").lower()
    if BYTE_OFFSET not in conversion:
        raise RejectFrame(
            "other_compression",
            f"the CBF image's pixels are {fields.get('content-type', 'of no Content-Type')!r}; x-CBF_BYTE_OFFSET is read, "
            "which detectors write",
        )
    least, most, is_signed = _range_of(fields)
    width = _size(fields, "x-binary-size-fastest-dimension")
    height = _size(fields, "x-binary-size-second-dimension")
    size = _size(fields, "x-binary-size")
    if fields.get("x-binary-size-third-dimension", "1") not in ("0", "1"):
        raise RejectFrame("wrong_dimensions", "the CBF image has three dimensions; one image was wanted")
    if _size(fields, "x-binary-number-of-elements") != width * height:
        raise RejectFrame(
            "bad_shape",
            f"the CBF image says that it has {fields['x-binary-number-of-elements']} pixels, and {width} x {height} of them",
        )
    begin = text_end + len(_BEGINS)
    if begin + size > len(message):
        raise RejectFrame(
            "truncated", f"the CBF image says that its pixels take {size} bytes, and {len(message) - begin} are there"
        )
    if size < width * height:
        raise RejectFrame("bad_shape", f"the CBF image has {width} x {height} pixels, and {size} bytes for them")
    body = message[begin : begin + size]
    return CbfImage(_comments(before), body, width, height, least, most, is_signed, fields.get("content-md5", ""))


_FIELD = re.compile(r"^[ \t]*([A-Za-z][\w-]*)[ \t]*:[ \t]*((?:[^\r\n]|\r?\n[ \t]+(?=\S))*)", re.MULTILINE)
"""A field of the MIME header; it goes on in lines that are indented."""

_COMMENT = re.compile(r"^# *([A-Za-z_]\w*)[ \t:=]*([^\r\n]*)", re.MULTILINE)
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?:\s+[A-Za-z/%]+)?\s*", re.ASCII)
"""A number and perhaps one word, its unit."""


def _comments(text: str) -> dict[str, Any]:
    """Read the header's comments.

    >>> _comments("# Wavelength 1.0332 A\\r\\n# Beam_xy (1231.50, 1263.50) pixels\\r\\n# Exposure_time = 5e-4 s")
    {'Wavelength': 1.0332, 'Beam_xy': '(1231.50, 1263.50) pixels', 'Exposure_time': 0.0005}
    """
    values: dict[str, Any] = {}
    for name, text_after in _COMMENT.findall(text):
        number = _NUMBER.fullmatch(text_after)
        values.setdefault(name, float(number[1]) if number else text_after.strip())
    return values


def _range_of(fields: dict[str, str]) -> tuple[int, int, bool]:
    kind = fields.get("x-binary-element-type", "").strip('"').lower()
    if kind not in _RANGES:
        raise RejectFrame(
            "bad_dtype",
            f"the CBF image's pixels are of type {kind or 'unknown'!r}; integers of 8, 16 or 32 bits are read",
        )
    if fields.get("x-binary-element-byte-order", "LITTLE_ENDIAN").upper() != "LITTLE_ENDIAN":
        raise RejectFrame("bad_dtype", "the CBF image's pixels are in big-endian order; LITTLE_ENDIAN is read")
    least, most = _RANGES[kind]
    is_signed = least < 0
    return (-WIDE, WIDE, is_signed) if "32" in kind else (least, most, is_signed)


def _size(fields: dict[str, str], name: str) -> int:
    text = fields.get(name, "")
    if not re.fullmatch(r"[1-9]\d{0,11}", text, re.ASCII):
        raise RejectFrame("bad_shape", f"the CBF image says {name}: {text or 'nothing'}; a number above 0 was wanted")
    return int(text)
