"""Pixels that show the same value in every frame: gaps that the geometry does not mask, dead pixels.

A value is a mark if hardly any of the pixels that change ever has it. Zero is ordinary where few photons fall; there pixels
that are always 0 are told by how many photons others in the same window have counted: with a mean of N over all frames
together, one in exp(N) has none by chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.diagnosis.finding import Finding
from stages.diagnosis.pixels.probe import Probe, Range
from stages.files.geom.edits import Edit

RARE = 1e-3
"""A value that so few of the pixels that change ever have is no count."""
FEWEST_PIXELS, FEWEST_WINDOWS = 16, 4
"""Fewer that share a value may be a damaged spot."""
FEWEST_ACTIVE = 500
"""So many pixels that change are needed to say that others do not."""
ENOUGH_PHOTONS, FEWEST_BESIDE = 20.0, 8
"""Where so many pixels of a window have counted so many photons each, one in exp(20) counts none by chance."""
MOST_EDITS = 3


def gap_findings(probes: Sequence[Probe]) -> list[Finding]:
    """Return what is known of pixels that never change."""
    seen = Range.of(probes)
    still, changing = seen.is_still, seen.good & ~seen.is_still
    first, num_active = probes[0].pixels, int(changing.sum())
    if num_active < FEWEST_ACTIVE:
        return []
    values, counts = np.unique(first[still], return_counts=True)
    marks = [
        (float(value), int(count))
        for value, count in zip(values, counts, strict=True)
        if count >= FEWEST_PIXELS
        and (still & (first == value)).any(axis=1).sum() >= FEWEST_WINDOWS
        and _times(value, changing, probes) < RARE * num_active * len(probes)
    ]
    scale = probes[-1].total / still.size
    findings = [_marked(marks, scale, len(probes), probes[-1].total)] if marks else []
    zero = still & (first == 0)
    if zero.any() and all(value != 0 for value, _ in marks):
        sums = np.array([np.where(changing, probe.pixels, 0).sum(axis=1, dtype=np.float64) for probe in probes])
        # the median over frames: Bragg spots, which come and go, are no light that all pixels of the window have
        counted = len(probes) * np.median(sums, axis=0) / np.maximum(changing.sum(axis=1), 1)
        is_lit = counted / np.nan_to_num(probes[-1].adu_per_photon, nan=1.0) >= ENOUGH_PHOTONS
        beside = zero & (is_lit & (changing.sum(axis=1) >= FEWEST_BESIDE))[:, None]
        if beside.sum() >= FEWEST_PIXELS and beside.any(axis=1).sum() >= FEWEST_WINDOWS:
            num_zero = int(beside.sum() + zero[zero.all(axis=1)].sum())
            level = float(sums.sum()) / (num_active * len(probes))
            findings.append(_dead(num_zero, scale, len(probes), probes[-1].total, level))
    return findings


def _times(value: np.generic, among: NDArray[np.bool_], probes: Sequence[Probe]) -> int:
    """How often pixels among these show a value, in all frames together."""
    return sum(int(np.count_nonzero((probe.pixels == value) & among)) for probe in probes)


def _marked(marks: list[tuple[float, int]], scale: float, num: int, total: int) -> Finding:
    marks = sorted(marks, key=lambda mark: -mark[1])
    count = scale * sum(number for _, number in marks)
    named = " or ".join(f"{value:.9g}" if value % 1 else f"{value:.0f}" for value, _ in marks[:MOST_EDITS])
    edits = tuple(
        Edit(
            "flag_equal", f"{value:.9g}" if value % 1 else f"{value:.0f}", f"{scale * number:.2g} pixels always show it"
        )
        for value, number in marks[:MOST_EDITS]
    )
    text = (
        f"about {_number(count)} pixels ({100 * count / total:.2g} %) that the geometry does not mask show {named} in all of "
        f"{num} frames, which hardly any other pixel ever shows: gaps or dead pixels, in which peaks are found and reflections "
        f"predicted; write {' and '.join(repr(f'flag_equal = {edit.value}') for edit in edits)}"
    )
    figures = {"values": [value for value, _ in marks], "pixels": round(count), "share": count / total}
    return Finding("gaps_not_masked", text, f"gaps not masked ({named})", num, True, figures, edits)


def _dead(number: int, scale: float, num: int, total: int, level: float) -> Finding:
    count = scale * number
    text = (
        f"about {_number(count)} pixels ({100 * count / total:.2g} %) that the geometry does not mask show 0 in all of {num} "
        f"frames, where the others show {level:.2g} ADU on average: gaps, dead pixels or a shadow; mask them (bad regions, or "
        "a mask file)"
    )
    figures = {"pixels": round(count), "share": count / total}
    return Finding("dead_pixels", text, f"{_number(count)} dead pixels", num, True, figures)


def _number(count: float) -> str:
    """Two digits of a number, without exponent.

    >>> _number(314159.0), _number(87.3)
    ('310000', '87')
    """
    digits = max(0, len(str(int(count))) - 2)
    return str(int(round(count, -digits)))
