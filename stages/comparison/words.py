"""Numbers of a verdict as people read them: as many digits as their errors allow, parts in per cent.

>>> from stages.comparison.table import MEASURES
>>> said(MEASURES["indexed"], 0.63821, 0.0113), said(MEASURES["ms"], 12.3456, 0.31)
('63.8 +- 1.1', '12.3 +- 0.3')
"""

from __future__ import annotations

import math

from pipeline.texts import one_line
from stages.comparison.table import Measure

_PARTS = {"explained"}
"""Measures that are a part of something without being a rate; they are said in per cent as well."""

_FEW_DIGITS = 3
"""Of a number whose error is not known."""

_SHORTEST = 6


def scale_of(measure: Measure) -> float:
    """By what a number is multiplied before it is said: 100 for what is said in per cent."""
    return 100.0 if measure.is_rate or measure.name in _PARTS else 1.0


def unit_of(measure: Measure) -> str:
    """The unit in which a measure is said."""
    return "%" if scale_of(measure) != 1.0 else measure.unit


def heading(measure: Measure) -> str:
    """A measure as the head of a column: ``indexed %``, ``resolution 1/A``, ``ms``."""
    unit = unit_of(measure)
    return measure.name if unit in ("", measure.name) else f"{measure.name} {unit}"


def said(measure: Measure, value: float, error: float, between: str = " +- ") -> str:
    """Say a mean with its standard error, in the measure's unit, which is not said; a dash for NaN."""
    return with_error(scale_of(measure) * value, scale_of(measure) * error, between)


def with_error(value: float, error: float, between: str = " +- ", sign: str = "") -> str:
    """Say a number to the digits that its error leaves: one digit of the error, two if the first is a 1.

    >>> with_error(4.13, 0.78), with_error(4.13, 0.0132), with_error(1234.5, 130.0), with_error(-0.5, 0.02, sign="+")
    ('4.1 +- 0.8', '4.130 +- 0.013', '1230 +- 130', '-0.50 +- 0.02')
    >>> with_error(float("nan"), 1.0), with_error(17.25, float("nan")), with_error(0.0, 0.0)
    ('-', '17.2', '0 +- 0')
    """
    if not math.isfinite(value):
        return "-"
    if not math.isfinite(error):
        return f"{value:{sign}.{_decimals(value, _FEW_DIGITS)}f}"
    places = decimals_of_error(error)
    if places < 0:
        value, error, places = round(value, places), round(error, places), 0
    return f"{value:{sign}.{places}f}{between}{error:.{places}f}"


def short(name: str, most: int) -> str:
    """Cut a name in its middle, so that beginning and end tell it from others.

    >>> short("peakfinder8-threshold-100", 15), short("zaef", 15)
    ('peakfinde…d-100', 'zaef')
    """
    name = one_line(name)
    if len(name) <= max(most, _SHORTEST):
        return name
    tail = (most - 1) * 2 // 5
    return f"{name[: most - 1 - tail]}…{name[-tail:]}"


def decimals_of_error(error: float) -> int:
    """How many decimals an error of one digit has, or of two if the first of them is a 1; less than 0 for tens, hundreds ..."""
    if error <= 0:
        return 0
    exponent = math.floor(math.log10(error))
    leading = error / 10.0**exponent
    digits = 2 if leading < 1.95 else 1
    return digits - 1 - exponent


def _decimals(value: float, digits: int) -> int:
    if value == 0:
        return 0
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))
