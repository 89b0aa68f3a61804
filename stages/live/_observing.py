"""What live/merge takes out of a frame: the intensities of its crystals, each in the settings that it may be in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline import Frame, Outcome
from stages.live._grouping import MISSING, Grouping
from stages.merging.ambiguity import NO_AMBIGUITY, Settings
from stages.merging.crystals import Observed, Polarisation, observe_in
from stages.merging.point_group import PointGroup
from stages.records.crystal import Crystals
from stages.records.geometry import DetGeom


class RunningMerge:
    """Takes the intensities out of a frame, each under the key of its symmetry equivalents."""

    def __init__(
        self,
        group: PointGroup,
        polarisation: Polarisation,
        settings: Settings = NO_AMBIGUITY,
        grouping: Grouping | None = None,
    ) -> None:
        self._group = group
        self._polarisation = polarisation
        self._settings = settings
        self._grouping = grouping

    def __call__(self, outcome: Outcome) -> tuple[tuple[Observed, ...], ...] | None:
        """Return an extract of each crystal, in each of the settings it may be in; None where there are none."""
        if not isinstance(outcome, Frame):
            return None
        crystals = outcome[Crystals]
        if not crystals.found:
            return None
        energy_ev = outcome[DetGeom].photon_energy_ev
        extracts: list[tuple[Observed, ...]] = []
        for crystal in crystals:
            found = crystal.reflections
            if found is None or not _spans_a_cell(crystal.real_space_angstrom):
                extracts.append((_without_reflections(),))
                continue
            extracts.append(
                observe_in(
                    self._settings.operations,
                    found.hkl,
                    found.intensity,
                    crystal.reciprocal_per_angstrom,
                    energy_ev,
                    self._group,
                    self._polarisation,
                    crystal.lattice.centering,
                )
            )
        if self._grouping is None:
            return tuple(extracts)
        group = self._grouping.of_outcome(outcome) or MISSING
        return tuple(tuple(replace(observed, group=group) for observed in settings) for settings in extracts)


def _spans_a_cell(real_space_angstrom: NDArray[np.float64]) -> bool:
    if not np.isfinite(real_space_angstrom).all():
        return False
    return abs(float(np.linalg.det(real_space_angstrom))) > 0.0


def _without_reflections() -> Observed:
    return Observed(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros((3, 3)), has_signal=False)
