"""What one frame was in each variant: the numbers of :data:`stages.comparison.table.MEASURES`, and how orientations agree.

A peak is explained if it is paired with a reflection of one of the crystals, as refinement pairs them: predicted nearer than a
sixth of the shortest reciprocal vector, and no other peak nearer (:mod:`stages.prediction.pairing`). Resolution and residual
are those of the crystal that explains most; the residual is the median distance of its peaks from where they are predicted,
since what refinement minimizes is a sum over peaks and grows with their number.

A variant that has rejected the frame has no hit and no crystal. A frame that was rejected before the variants parted, or by all
of them, is so in each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from toolz import concat

from pipeline import Frame, Joined, Outcome, Rejected, Spent
from stages.comparison.orientations import apart, spans_a_cell
from stages.comparison.table import MEASURES
from stages.prediction.estimates import limit_of_pairs
from stages.prediction.pairing import Pairs, pair_peaks
from stages.prediction.panel_finder import PanelFinder
from stages.records import Crystal, Crystals, DetGeom, Header, PeakList
from stages.records.peaklist import is_hit
from stages.simulation.truth import TRUTH_KEY, TrueCrystal, TrueCrystals, any_is_right

_MS = 1e-6
"""Milliseconds in a nanosecond."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One frame in all variants; small, and sent from replicas to where the table is.

    Attributes
    ----------
    serial, event
        Who it is.
    variants
        Their names in the order of the columns; empty for a frame that was rejected in all.
    values
        float64 (m, v), a row for each of MEASURES; (m, 1), which holds for all, of a frame that was rejected in all.
    angles
        float64 (v (v - 1) / 2,), radians, as :meth:`FrameTable.append` takes them; empty of such a frame.
    """

    serial: int
    event: str
    variants: tuple[str, ...]
    values: NDArray[np.float64]
    angles: NDArray[np.float64]


class Measuring:
    """Measures frame after frame; belongs to one replica, whose latest geometries it keeps prepared.

    Parameters
    ----------
    truths
        What is true of simulated frames; if there is no such file, frames are asked whether they carry it.
    """

    def __init__(self, truths: TrueCrystals | None = None) -> None:
        self._truths = truths
        self._finders: dict[str, PanelFinder] = {}
        self._latest: PanelFinder | None = None

    def __call__(self, outcome: Outcome) -> Measured:
        """Measure a frame that holds Joined, or one that was rejected."""
        if isinstance(outcome, Rejected):
            true = self._true(outcome)
            alone = self._column(outcome, "", true, math.nan)
            return Measured(outcome.serial, outcome.event, (), alone[:, None], np.zeros(0))
        variants = outcome[Joined]
        true = self._true(next(iter(variants.values())))
        found = [_crystals_of(one) for one in variants.values()]
        truth = [] if true is None else [_as_found(true, found)]
        angles = apart([*found, *truth])
        _, other = np.triu_indices(len(variants) + len(truth), 1)
        off = angles[other == len(variants)] if truth else np.full(len(variants), math.nan)
        columns = [
            self._column(variants[name], name, true, float(angle)) for name, angle in zip(variants, off, strict=True)
        ]
        return Measured(
            outcome.serial, outcome.event, tuple(variants), np.stack(columns, axis=1), angles[other < len(variants)]
        )

    def _column(self, outcome: Outcome, variant: str, true: TrueCrystal | None, off_rad: float) -> NDArray[np.float64]:
        """Return all measures of a frame in one variant, whose nearest crystal is off the truth by an angle."""
        values = dict.fromkeys(MEASURES, math.nan)
        frame = outcome.frame if isinstance(outcome, Rejected) else outcome
        is_rejected = isinstance(outcome, Rejected)
        crystals, peaks = frame.get(Crystals), frame.get(PeakList)
        spent = frame.get(Spent)
        values["rejected"] = float(is_rejected)
        values["hits"] = not is_rejected and is_hit(frame)
        num_crystals = 0 if is_rejected else math.nan if crystals is None else len(crystals)
        values["crystals"] = num_crystals
        values["indexed"] = min(num_crystals, 1)
        if spent is not None:
            values["ms"] = _MS * spent.ns
        if true is not None and not math.isnan(num_crystals):
            is_right = any_is_right([off_rad])
            values["wrong"] = num_crystals > 0 and not is_right
            if true.basis is not None:
                values["right"] = is_right
        if not is_rejected and peaks is not None:
            values["peaks"] = len(peaks)
            if crystals is not None and crystals.found:
                values |= self._of_crystals(frame, variant, crystals, peaks)
        return np.array(list(values.values()), np.float64)

    def _of_crystals(self, frame: Frame, variant: str, crystals: Crystals, peaks: PeakList) -> dict[str, float]:
        """Return what the peaks say of the crystals, as far as there are peaks and a geometry."""
        geom = frame.get(DetGeom)
        found = [crystal for crystal in crystals if spans_a_cell(crystal.real_space_angstrom)]
        if geom is None or not len(peaks) or not found:
            return {}
        finder = self._finder(geom, variant)
        pairs = [
            pair_peaks(crystal.real_space_angstrom, crystal.lattice, crystal.det_shift_m, peaks, finder)
            for crystal in found
        ]
        explained = np.logical_or.reduce([of_one.paired for of_one in pairs])
        best = int(np.argmax([np.count_nonzero(of_one.paired) for of_one in pairs]))
        return {
            "explained": np.count_nonzero(explained) / len(peaks),
            "resolution": _resolution(found[best], pairs[best]),
            "residual": _median_distance(pairs[best]),
        }

    def _finder(self, geom: DetGeom, variant: str) -> PanelFinder:
        """Return the geometry prepared for pairing; variants that share it share that too."""
        if self._latest is None or self._latest.geom is not geom:
            self._latest = self._finders[variant] = PanelFinder.of(geom, self._finders.get(variant))
        return self._latest

    def _true(self, outcome: Outcome) -> TrueCrystal | None:
        """Return how the frame's crystal lies in truth; None if nobody knows."""
        if self._truths is not None:
            return self._truths.find(outcome.event)
        header = (outcome.frame if isinstance(outcome, Rejected) else outcome).get(Header)
        if header is None or TRUTH_KEY not in header:
            return None
        return TrueCrystal.of_message(outcome.event, header[TRUTH_KEY])


def _crystals_of(outcome: Outcome) -> Sequence[Crystal]:
    """The crystals of a variant; none of a frame that it has rejected."""
    crystals = None if isinstance(outcome, Rejected) else outcome.get(Crystals)
    return () if crystals is None else crystals.found


def _as_found(true: TrueCrystal, found: Sequence[Sequence[Crystal]]) -> Sequence[Crystal]:
    """The true crystal, in the lattice that was looked for; none of a blank."""
    basis = true.basis
    if basis is None:
        return ()
    for crystal in concat(found):
        return (Crystal(basis, crystal.lattice if crystal.limits is None else crystal.limits.target.lattice),)
    return (Crystal(basis),)


def _resolution(crystal: Crystal, pairs: Pairs) -> float:
    """Return the 1/d that a crystal reaches, as integration has found it, or as it would; NaN if too few peaks say so."""
    known = crystal.resolution_limit_per_angstrom
    reached = known if math.isfinite(known) else limit_of_pairs(pairs, crystal)
    return reached if reached > 0.0 else math.nan


def _median_distance(pairs: Pairs) -> float:
    """Return how far peaks are off their reflections in pixels; NaN if none has any."""
    if not pairs.paired.any():
        return math.nan
    distance = np.sort(np.hypot(pairs.dfs[pairs.paired], pairs.dss[pairs.paired]))  # np.median takes ten times as long
    return float(distance[(len(distance) - 1) // 2] + distance[len(distance) // 2]) / 2
