"""What a difference is called: "A indexes 4.1 +- 0.8 % more frames than B (1,200 frames, p = 1e-6)".

A per cent of a rate is a per cent of all frames that were compared. A per cent of a number that is compared as a part of
the mean (time, resolution) is one of the other's mean. What follows +- is the standard error, and p counts all pairs that
were asked about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stages.comparison import words
from stages.comparison.table import Measure

if TYPE_CHECKING:
    from stages.comparison.paired import Difference

_SAYINGS = {
    "hits": ("finds {} more hits", "finds {} fewer hits"),
    "indexed": ("indexes {} more frames", "indexes {} fewer frames"),
    "crystals": ("finds {} more crystals per frame", "finds {} fewer crystals per frame"),
    "peaks": ("finds {} more peaks", "finds {} fewer peaks"),
    "explained": ("explains {} more of its peaks", "explains {} fewer of its peaks"),
    "resolution": ("reaches a resolution {} higher", "reaches a resolution {} lower"),
    "residual": ("has a residual {} larger", "has a residual {} smaller"),
    "ms": ("takes {} more time", "takes {} less time"),
    "right": ("has {} more orientations right", "has {} fewer orientations right"),
    "wrong": ("indexes {} more frames wrongly", "indexes {} fewer frames wrongly"),
    "cc_half": ("has a CC1/2 {} higher", "has a CC1/2 {} lower"),
    "rejected": ("rejects {} more frames", "rejects {} fewer frames"),
}
"""What the variant with more and the one with less does, by measure; others have more or less of what the measure is
called."""

_FINER = 5
"""An interval is said to a digit more than a mean, so that it can be seen on which side of 0 it ends."""


def sentence_of(d: Difference, time: Difference | None = None) -> str:
    """Say a difference, without a full stop; with `time`, the same pair's, at how many times the time it comes."""
    if d.outcome in ("better", "worse", "differs"):
        return _claim(d, time)
    what = f"{d.one} and {d.other}, {d.measure.words}"
    frames = f"{d.frames:,} frames"
    if not d.frames:
        return f"no frame has a number of both ({what})"
    if d.outcome == "identical":
        return f"{d.one} and {d.other} gave the same on every frame ({d.measure.words}, {frames})"
    size = bare(d.measure, d.size)
    if d.outcome == "no_difference":
        return f"no difference larger than {size} after {frames} ({what})"
    if d.frames_needed is not None and d.frames_needed > d.frames:
        return f"too few frames ({d.frames:,}): a difference of {size} would need some {round_number(d.frames_needed)} ({what})"
    scale = scale_of(d.measure)
    low, high = (number(scale * end, scale * d.error / _FINER) for end in (d.low, d.high))
    unit = unit_of(d.measure)
    between = f"between {low} and {high}{' ' + unit if unit else ''}"
    return f"undecided after {frames}: the difference is {between} ({d.one} less {d.other}, {d.measure.words})"


def _claim(d: Difference, time: Difference | None) -> str:
    better = d.measure.better or 1
    if d.difference * better < 0:
        d, time = d.mirrored(), time.mirrored() if time else None
    text = f"{d.one} {phrase(d)} than {d.other} ({d.frames:,} frames, {p_value(d.p_adjusted)})"
    if max(abs(d.low), abs(d.high)) < d.size:
        text += f", which is less than {bare(d.measure, d.size)}"
    return text + (at_what_time(time) if time else "")


def at_what_time(time: Difference) -> str:
    """At how many times the time, where that is known: ", at 1.3 times the time"."""
    if time.outcome in ("better", "worse", "differs") and time.ratio > 0:
        return f", at {time.ratio:.2g} times the time"
    return ", in the same time" if time.is_equal else ""


def phrase(d: Difference) -> str:
    """What the one does: ``indexes 4.1 +- 0.8 % more frames``."""
    value, error = d.difference, d.error
    if d.measure.relative and value < 2:  # from a part of the mean of both to one of the other's: (2 + R) / (2 - R)
        value, error = 2 * value / (2 - value), 4 * error / (2 - value) ** 2
    amount = words.with_error(scale_of(d.measure) * abs(value), scale_of(d.measure) * error)
    unit = unit_of(d.measure)
    what = d.measure.words
    more, less = _SAYINGS.get(d.measure.name, (f"has {{}} more {what}", f"has {{}} less {what}"))
    return (more if value > 0 else less).format(f"{amount} {unit}" if unit else amount)


def scale_of(measure: Measure) -> float:
    """By what a difference is multiplied before it is said: 100 for what is said in per cent."""
    return 100.0 if measure.relative else words.scale_of(measure)


def unit_of(measure: Measure) -> str:
    """The unit in which a difference is said."""
    return "%" if scale_of(measure) != 1.0 else measure.unit


def bare(measure: Measure, size: float) -> str:
    """A size without an error: ``1 %``."""
    unit = unit_of(measure)
    return f"{scale_of(measure) * size:.6g}{' ' + unit if unit else ''}"


def number(value: float, error: float) -> str:
    """A number to the digits that its error leaves."""
    if not (math.isfinite(value) and error > 0):
        return f"{value:.3g}"
    return f"{value:.{max(0, words.decimals_of_error(error))}f}"


def round_number(frames: int) -> str:
    """A number of frames of which the first two digits are worth something.

    >>> round_number(3951), round_number(123456)
    ('4,000', '120,000')
    """
    return f"{int(float(f'{frames:.1e}')):,}"


def p_value(p: float) -> str:
    """Say a p: ``p = 0.03``, ``p = 1e-6``.

    >>> p_value(0.0312), p_value(1.2e-6), p_value(0.0)
    ('p = 0.031', 'p = 1e-6', 'p < 1e-300')
    """
    if p < 1e-300:
        return "p < 1e-300"
    if p >= 0.001:
        return f"p = {p:.2g}"
    mantissa, exponent = f"{p:.0e}".split("e")
    return f"p = {mantissa}e{int(exponent)}"


def listed(names: Sequence[str]) -> str:
    """Names in a row.

    >>> listed(["A", "B", "C"]), listed(["A"])
    ('A, B and C', 'A')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
