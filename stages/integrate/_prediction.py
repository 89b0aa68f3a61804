"""What all integration stages do first: settle each crystal's profile radius and resolution limit, and predict."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stages.prediction.estimates import limit_of_pairs, profile_radius, radius_of_pairs
from stages.prediction.pairing import pair_peaks
from stages.prediction.panel_finder import PanelFinder
from stages.prediction.predict import REACH, check_crystal, predict
from stages.records.changed import changed
from stages.records.crystal import Crystal, Crystals, Reflections
from stages.records.geometry import DetGeom
from stages.records.peaklist import PeakList

OVERPREDICTION = 5.0
"""By how much --overpredict widens the profile radius."""


@dataclass(frozen=True)
class PredictionOptions:
    """The parameters of prediction, in indexamajig's units: m^-1, radians, nm^-1."""

    push_res: float = math.inf
    fix_profile_radius: float | None = None
    fix_divergence: float | None = None
    overpredict: bool = False
    reach: float = REACH


class Predictor:
    """Predicts crystal after crystal, frame after frame; keeps the latest geometry's panel finder."""

    def __init__(self, options: PredictionOptions) -> None:
        self._options = options
        self._finder: PanelFinder | None = None
        fixed = options.fix_profile_radius
        self._fixed_radius = None if fixed is None else 1e-10 * fixed

    def finder(self, geom: DetGeom) -> PanelFinder:
        """Return the geometry prepared for this frame."""
        self._finder = PanelFinder.of(geom, self._finder)
        return self._finder

    def with_radius(self, crystal: Crystal, peaks: PeakList, finder: PanelFinder) -> Crystal:
        """Return the crystal with its profile radius: the fixed one, the one it has, or one estimated from the peaks."""
        check_crystal(crystal)
        radius = self._known_radius(crystal)
        if radius is None:
            radius = profile_radius(crystal, peaks, finder)
        return changed(crystal, profile_radius_per_angstrom=radius)

    def with_limit(self, crystal: Crystal, peaks: PeakList, finder: PanelFinder) -> Crystal:
        """Return the crystal with its profile radius and its resolution limit."""
        check_crystal(crystal)
        pairs = pair_peaks(crystal.real_space_angstrom, crystal.lattice, crystal.det_shift_m, peaks, finder)
        radius = self._known_radius(crystal)
        if radius is None:
            radius = radius_of_pairs(pairs)
        limit = limit_of_pairs(pairs, crystal)
        return changed(crystal, profile_radius_per_angstrom=radius, resolution_limit_per_angstrom=limit)

    def _known_radius(self, crystal: Crystal) -> float | None:
        if self._fixed_radius is not None:
            return self._fixed_radius
        radius = crystal.profile_radius_per_angstrom
        return radius if 0.0 < radius < math.inf else None

    def predict(self, crystal: Crystal, finder: PanelFinder) -> Reflections:
        """Predict the reflections of a crystal whose radius and limit are known, to push_res beyond the limit."""
        options = self._options
        radius = crystal.profile_radius_per_angstrom * (OVERPREDICTION if options.overpredict else 1.0)
        max_q = max(0.0, crystal.resolution_limit_per_angstrom + 0.1 * options.push_res)
        return predict(
            crystal, finder, radius, max_q=max_q, divergence=options.fix_divergence or 0.0, reach=options.reach
        )


def without_reflections(crystals: Crystals, predictor: Predictor, geom: DetGeom, peaks: PeakList) -> Crystals:
    """Return the crystals with profile radius and no reflections: what --cell-parameters-only asks for."""
    finder = predictor.finder(geom)
    return changed(crystals, found=tuple(predictor.with_radius(crystal, peaks, finder) for crystal in crystals))
