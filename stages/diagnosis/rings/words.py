"""What rings say, each in one sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from stages.diagnosis.finding import Finding
from stages.diagnosis.place.place import Place
from stages.diagnosis.place.words import distance_in_words, energy_in_words, shift_in_words
from stages.diagnosis.rings.counted import Ring, RingCount
from stages.diagnosis.rings.ice import ice_among
from stages.diagnosis.rings.place import RingPlace

RING_CENTRE = "ring_centre"
"""Key of the finding that says where the detector is by rings."""

_CLEAR = 0.005
"""Spacings that are off by a smaller part than that are said to be right."""
_AGREE_ERRORS, _AGREE_PX, _AGREE_ALONG = 3.0, 0.4, 0.0015
"""Two that differ by fewer errors, or by less than that, say the same."""


def findings_of(counted: RingCount, rings: Sequence[Ring], place: RingPlace | None) -> list[Finding]:
    """Say which rings there are, and where the detector is if they tell that it is elsewhere."""
    if not rings:
        return []
    factor, ice = ice_among(rings)
    found = []
    if ice:
        found.append(_ice(counted, ice, factor))
    others = [ring for ring in rings if ring not in ice]
    if others:
        found.append(_others(counted, others))
    return [*found, *_centre(rings, place)]


def _ice(counted: RingCount, rings: Sequence[Ring], factor: float) -> Finding:
    text = f"ICE: {counted.share(rings)}; they are no crystal's: --exclude-rings=ice (peaks/rings) takes them out"
    if abs(factor - 1.0) >= _CLEAR:
        how, length = ("larger", "long") if factor > 1 else ("smaller", "short")
        text += (
            f"; their spacings are {100 * abs(factor - 1):.1f} % {how} than those of ice: check the camera length, which "
            f"may be as much too {length}"
        )
    return Finding(
        "ice", text, f"ICE {100 * counted.num_with / counted.num_frames:.0f} % of frames", counted.num_frames,
        figures={"spacings_angstrom": [ring.d_angstrom for ring in rings], "factor": factor},
    )  # fmt: skip


def _others(counted: RingCount, rings: Sequence[Ring]) -> Finding:
    spacings = ",".join(f"{ring.d_angstrom:.2f}" for ring in rings)
    return Finding(
        "rings",
        f"A POWDER: {counted.share(rings)}; they are no crystal's: --exclude-rings={spacings} (peaks/rings) takes them out",
        f"RINGS at {spacings} A",
        counted.num_frames,
        figures={"spacings_angstrom": [ring.d_angstrom for ring in rings]},
    )


def _centre(rings: Sequence[Ring], place: RingPlace | None) -> Iterator[Finding]:
    if place is None or place.correction.is_none:
        return
    move, parts, briefs = place.correction, [], []
    if place.is_shifted:
        words, brief = shift_in_words(move, place.shift_error_m, place.pixel_m)
        parts.append(f"{words}, where they have their centre")
        briefs.append(brief)
    if place.is_along:
        words, brief = distance_in_words(move, place.along_error_m, place.clen_m)
        parts.append(f"{words}, where ice has them")
        briefs.append(brief)
    num = place.counted.num_with
    text = (
        f"THE DETECTOR IS OFF by its powder rings: it is {', and '.join(parts)}, as {place.centre.num_peaks} peaks on "
        f"{len(rings)} ring{'s' if len(rings) > 1 else ''} in {num} frames agree"
    )
    if place.is_along:
        text += f"; {energy_in_words(move, place.clen_m)} would look nearly the same"
    text += " (the corrected geometry file has it; --follow-detector goes on with it)"
    yield Finding(
        RING_CENTRE,
        text,
        f"RINGS SAY DETECTOR OFF {', '.join(briefs)}",
        num,
        figures=place.figures(),
        displacement=move,
    )


def beside_crystals(found: Sequence[Finding], crystals: Place | None) -> tuple[Finding, ...]:
    """Return findings of which one at most says where the detector is: what rings say only confirms what crystals do.

    Crystals know it better: each of their peaks has a place of its own, and they tell tilts, which move the centre of rings.
    """
    if crystals is None or (crystals.is_of_few and crystals.correction.is_none):
        return tuple(found)
    return tuple(_beside(finding, crystals) if finding.key == RING_CENTRE else finding for finding in found)


def _beside(rings: Finding, crystals: Place) -> Finding:
    figures, (x, y, along) = rings.figures, (float(value) for value in crystals.best.values[:3])
    off = math.hypot(figures["shift_x_m"] - x, figures["shift_y_m"] - y)
    is_same = off < _AGREE_PX * figures["pixel_m"] + _AGREE_ERRORS * math.hypot(
        figures["shift_error_m"], crystals.shift_error_m
    )
    if figures["along_m"] is not None:
        error = math.hypot(figures["along_error_m"], float(crystals.best.errors[2]))
        is_same &= abs(figures["along_m"] - along) < _AGREE_ALONG * figures["clen_m"] + _AGREE_ERRORS * error
    if is_same:
        text = f"the powder rings of {rings.num_frames} frames confirm where crystals have the detector"
    else:
        text = (
            f"the powder rings of {rings.num_frames} frames have their centre {off / figures['pixel_m']:.1f} pixels from where "
            "crystals have it, or another distance: the detector may be tilted, or the rings none; crystals are believed"
        )
    return Finding(RING_CENTRE, text, "", rings.num_frames, is_wrong=False, figures=figures)
