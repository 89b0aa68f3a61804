"""refine/prediction: turn, stretch and shift each crystal until its reflections are predicted where the peaks are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline import Context, stage
from stages.lattices.cell import Lattice, lattice_rotations
from stages.lattices.metric import allowed_metrics
from stages.prediction.estimates import profile_radius, radius_of_pairs
from stages.prediction.pairing import Pairs, pair_peaks
from stages.prediction.panel_finder import PanelFinder
from stages.prediction.predict import check_crystal, predict, warm_up
from stages.records.changed import changed
from stages.records.crystal import Crystal, Crystals
from stages.records.geometry import DetGeom, Panel
from stages.records.peaklist import PeakList
from stages.refine._kernels import cycle as kernel

_PIXEL = 0.5
"""Pixels that a position is typically off: sets the weight of what is known beforehand against that of a peak."""

_CELL_SPREAD = 0.02
_LEAST_ERROR, _LEAST_DISTANCE = 1e-4, 0.5
"""Excitation error (1/Angstrom) and distance (pixels) that no pair is dropped for."""

_NO_INDICES, _NOTHING_CHOSEN = np.empty((0, 3), np.int32), np.empty(0, np.bool_)


@stage("refine/prediction")
class Prediction:
    """Refine orientation, cell and detector shift of each crystal against the peaks, before reflections are predicted.

    Each peak is paired with the reflection whose indices are nearest to its own, if that is predicted nearer than a sixth of
    the shortest reciprocal lattice vector. Pairs that disagree with most others are dropped: those with an excitation error
    or a distance of more than `outlier_spread` times the median. Then

        R = sum over pairs of (w e)^2 + (fs - fs_peak)^2 + (ss - ss_peak)^2

    is minimised, e = k - |k0 + g| being the excitation error and w `excitation_weight`, by a damped least-squares fit of three
    turns, of the cell under the restrictions of its lattice type (kept exactly: the metric tensor A A^T moves in the space of
    those that have the lattice's symmetry), and of the detector's shift if asked for, from the one with which the crystal was
    found; else that one stays. Peaks are paired anew after that,
    `cycles` times at most. Cell and shift are held by a weak spring to where they started (2 % of a length, and
    `detector_shift_spread`), so that a few peaks cannot run away with them. Target and terms are CrystFEL's (White et al.
    2016, doi:10.1107/S1600576716004751), the pairing is stricter.

    A crystal that was found with a target cell must be within the tolerance afterwards, too. One that refinement takes out of
    it is another cell's, is left out, and counted. A crystal with fewer than three pairs, before or after, is no crystal and is
    left out, as in CrystFEL. If R, over the pairs of the end, is not smaller than before, the crystal stays what it was, in its
    cell as it was found. Residuals are R of the cell with its restrictions imposed, before and after, over the pairs of the
    end, in square pixels. The profile radius is estimated afterwards (the standard deviation of e, without
    chance pairs).
    """

    refine_detector_shift: bool = Field(
        default=False, description="Refine the detector's shift along x and y too, for each crystal by itself."
    )
    excitation_weight: float = Field(
        default=1000.0, gt=0, description="Pixels that count as much as an excitation error of 1/Angstrom."
    )
    outlier_spread: float = Field(default=5.0, gt=1, description="Drop pairs further off than so many medians.")
    cycles: int = Field(default=3, ge=1, le=50, description="Pair and fit at most so many times.")
    iterations: int = Field(default=8, ge=1, le=100, description="Steps of each fit at most.")
    tolerance: float = Field(default=1e-4, gt=0, description="End a fit when a step gains less than this part of R.")
    detector_shift_spread: float = Field(
        default=2e-4, gt=0, description="Metres by which the detector is expected to be off."
    )

    def open(self, context: Context) -> RunningPrediction:
        """Compile the kernels."""
        running = RunningPrediction(self)
        running.warm_up()
        return running


@dataclass(frozen=True, eq=False)
class _Symmetry:
    """What a lattice type leaves free: its rotations, and a basis of the metrics that have them."""

    rotations: NDArray[np.float64]
    metrics: NDArray[np.float64]


class RunningPrediction:
    """The refinement of one replica."""

    def __init__(self, stage: Prediction) -> None:
        self._stage = stage
        self._finder: PanelFinder | None = None
        rules = np.empty(kernel.N_RULES)
        rules[kernel.EXCITATION] = stage.excitation_weight
        rules[kernel.PRIOR_CELL] = (_PIXEL / (2.0 * _CELL_SPREAD)) ** 2
        rules[kernel.PRIOR_SHIFT] = (_PIXEL / stage.detector_shift_spread) ** 2
        rules[kernel.TOLERANCE] = stage.tolerance
        rules[kernel.SPREAD] = stage.outlier_spread
        rules[kernel.LEAST_ERROR], rules[kernel.LEAST_DISTANCE] = _LEAST_ERROR, _LEAST_DISTANCE
        self._rules = rules

    def __call__(self, crystals: Crystals, peaks: PeakList, geom: DetGeom) -> Crystals:
        """Return the crystals, refined; those that too few peaks belong to, or with a cell out of tolerance, are left out."""
        if not crystals.found:
            return crystals
        finder = self._finder = PanelFinder.of(geom, self._finder)
        refined = [self._refined(crystal, peaks, finder) for crystal in crystals]
        paired = [crystal for crystal in refined if crystal is not None]
        found = tuple(crystal for crystal in paired if crystal.is_within_limits)
        unused = None if found else crystals.found[0].det_shift_m
        return changed(crystals, found=found, unused_shift_m=unused, num_out_of_tolerance=len(paired) - len(found))

    def _refined(self, crystal: Crystal, peaks: PeakList, finder: PanelFinder) -> Crystal | None:
        check_crystal(crystal)
        bases, shifts, at_both = np.empty((2, 3, 3)), np.empty((2, 2)), np.empty(2)
        real, shift = bases[1], shifts[1]
        real[:], shift[:] = crystal.real_space_angstrom, crystal.det_shift_m
        pairs = self._cycles(bases, shifts, crystal.lattice, peaks, finder, at_both)
        if pairs is None:
            return None
        initial, final = at_both.tolist()
        if not final < initial:
            radius = profile_radius(crystal, peaks, finder)
            return changed(
                crystal, initial_residual=initial, final_residual=initial, profile_radius_per_angstrom=radius
            )
        x, y = shift.tolist()
        return changed(
            crystal,
            real_space_angstrom=real,
            det_shift_m=(x, y),
            initial_residual=initial,
            final_residual=final,
            profile_radius_per_angstrom=radius_of_pairs(pairs),
        )

    def _cycles(
        self,
        bases: NDArray[np.float64],
        shifts: NDArray[np.float64],
        lattice: Lattice,
        peaks: PeakList,
        finder: PanelFinder,
        at_both: NDArray[np.float64],
    ) -> Pairs | None:
        """Pair and fit until the pairs stay the same; return them, None if they are too few. See the kernel."""
        stage, symmetry = self._stage, _symmetry(lattice)
        real, shift, k, n = bases[1], shifts[1], finder.wave_number, len(peaks)
        before, chosen_before = _NO_INDICES, _NOTHING_CHOSEN
        for number in range(stage.cycles + 1):
            pairs = pair_peaks(real, lattice, shift, peaks, finder)
            chosen = np.empty(n, np.bool_)
            ended = kernel.cycle(
                bases,
                shifts,
                symmetry.rotations,
                symmetry.metrics,
                stage.refine_detector_shift,
                k,
                self._rules,
                stage.iterations,
                pairs.hkl,
                pairs.paired,
                pairs.excitation_error_per_angstrom,
                pairs.dfs,
                pairs.dss,
                before,
                chosen_before,
                chosen,
                peaks.panel,
                peaks.fs,
                peaks.ss,
                finder.panels,
                number == stage.cycles,
                at_both,
            )
            if ended != kernel.FITTED:
                return pairs if ended == kernel.SETTLED else None
            before, chosen_before = pairs.hkl, chosen
        raise AssertionError("the cycle after the last fit ends a refinement")

    def warm_up(self) -> None:
        """Compile the kernels, or load them from the cache."""
        warm_up()
        panel = Panel("p", max_fs=1023, max_ss=1023)
        steps = np.eye(3) * 1e-4
        geom = DetGeom(
            (panel,),
            np.array([[-0.05, -0.05, 0.1]]),
            steps[:1],
            steps[1:2],
            12000.0,
            np.array([0.1]),
            (np.zeros((1024, 1024), np.uint8),),
        )
        crystal = Crystal(np.eye(3) * 50.0, Lattice("cubic", "P"))
        spots = predict(crystal, PanelFinder.of(geom), 1e-3)
        self(Crystals((crystal,)), PeakList.make(spots.panel, spots.fs, spots.ss, spots.partiality), geom)


@lru_cache(maxsize=64)
def _symmetry(lattice: Lattice) -> _Symmetry:
    """Rotations of a lattice type and a basis of its metrics, each with 1 as its largest element.

    >>> [len(_symmetry(Lattice(t, "P", "c")).metrics) for t in ("triclinic", "monoclinic", "tetragonal", "cubic")]
    [6, 4, 2, 1]
    """
    return _Symmetry(np.ascontiguousarray(lattice_rotations(lattice)), allowed_metrics(lattice))
