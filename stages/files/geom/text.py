"""Words of a geometry file: numbers, whole numbers, truth values, directions; and what to suggest for a misspelt one."""

from __future__ import annotations

import difflib
import math
import re
import sys
from collections.abc import Iterable

_NUMBER = re.compile(
    r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|0[xX][0-9a-fA-F]+|inf(inity)?|nan)", re.IGNORECASE
)
_UNITED = re.compile(r"([+-]?[\d.]+(?:[eE][+-]?\d+)?)([A-Za-z]+)")
_HEX = re.compile(r"[+-]?0[xX][0-9a-fA-F]+")
_TERM = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)?([xyz])")


class BadValue(ValueError):
    """A value that its directive cannot mean; the text continues "its value '...'"."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the known word that is nearest, or nothing.

    >>> suggestion("corner_z", ["corner_x", "res"])
    "; did you mean 'corner_x'?"
    """
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6 if len(word) > 2 else 0.5)
    if not near:
        lower = {k.lower(): k for k in known}
        near = [lower[word.lower()]] if word.lower() in lower else []
    return f"; did you mean {near[0]!r}?" if near else ""


def to_number(word: str) -> float | None:
    """Return the number that the whole word is (also hexadecimal, inf and nan), or None.

    >>> to_number("0x10"), to_number("1e-3"), to_number("beam_energy"), to_number("1_000")
    (16.0, 0.001, None, None)
    """
    if not _NUMBER.fullmatch(word) and not _HEX.fullmatch(word):
        return None
    if not _HEX.fullmatch(word):
        return float(word)
    whole_number = int(word, 16)
    too_large = whole_number.bit_length() > sys.float_info.max_exp - 1
    return (math.inf if whole_number > 0 else -math.inf) if too_large else float(whole_number)


def leading_number(text: str) -> tuple[float, str]:
    """Return the number with which the text begins, and what follows it; CrystFEL reads the one and drops the other.

    >>> leading_number("5814.0 px/m")
    (5814.0, 'px/m')
    """
    match = _HEX.match(text) or _NUMBER.match(text)
    if match is None or (match.group()[-1:].isalpha() and text[match.end() :][:1].isalpha()):
        raise BadValue("should be a number")
    number = to_number(match.group())
    assert number is not None
    return number, text[match.end() :].strip()


def bit_set(text: str) -> int:
    """Return the bits of a mask, decimal or hexadecimal, exactly.

    >>> bit_set("0xffffffffffffffff") == 2**64 - 1, bit_set("16"), bit_set("1e2")
    (True, 16, 100)
    """
    word = text.split(maxsplit=1)[0]
    if _HEX.fullmatch(word) or word.isdecimal():
        bits = int(word, 16 if _HEX.fullmatch(word) else 10)
    else:
        number = to_number(word)
        if number is None:
            raise BadValue("should be a set of bits, e.g. 0xffff")
        bits = whole(number)
    if not 0 <= bits < 1 << 64:
        raise BadValue("should be a set of bits, 0 to 0xffffffffffffffff")
    return bits


def split_unit(word: str, units: Iterable[str]) -> str:
    """Return how a number that runs into its unit should have been written, or nothing.

    >>> split_unit("0.12m", ["m", "mm"]), split_unit("distance", ["m", "mm"])
    ('0.12 m', '')
    """
    match = _UNITED.fullmatch(word)
    return f"{match.group(1)} {match.group(2)}" if match and match.group(2) in units else ""


def whole(number: float) -> int:
    """Return the number as an int if it is a whole one."""
    if not math.isfinite(number) or number != int(number):
        raise BadValue("should be a whole number")
    return int(number)


def truth(text: str) -> bool:
    """Read what ``no_index`` takes: true, false, or a number other than 0 or 0."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    number, _ = leading_number(text)
    return int(number) != 0 if math.isfinite(number) else True


def direction(text: str) -> tuple[float, float, float]:
    """Read a sum of multiples of x, y and z.

    >>> direction("-0.001x +0.99y -z"), direction("x")
    ((-0.001, 0.99, -1.0), (1.0, 0.0, 0.0))
    """
    squeezed = re.sub(r"\s+", "", text)
    sums = {"x": 0.0, "y": 0.0, "z": 0.0}
    at = 0
    while at < len(squeezed):
        term = _TERM.match(squeezed, at)
        if term is None or (at > 0 and not term.group(1)):
            hint = " (without exponents: 0.00001x, not 1e-5x)" if "e" in squeezed.lower() else ""
            raise BadValue(f"should be a sum of multiples of x, y and z, e.g. '-0.0024x +0.99999y'{hint}")
        sign, size, axis = term.groups()
        sums[axis] += float(f"{sign}{size or '1'}")
        at = term.end()
    if at == 0 or not any(sums.values()):
        raise BadValue("should not be the null vector")
    return sums["x"], sums["y"], sums["z"]
