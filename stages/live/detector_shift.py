"""live/detector_shift: by how much the detector is off, from the shifts that each crystal asks for."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline import Context, Findings, Frame, Outcome, stage
from stages.files.geom.detector import Detector
from stages.records.crystal import Crystals
from stages.records.geometry import DetGeom

_FEWEST = 3
"""Shifts without which there is no spread to speak of."""

_FEWEST_TO_ADVISE = 25
"""Crystals without which nothing is said of the geometry file: of few, the spread itself is known to a third at best, and
crystals that were found with the file as it is are those that it suits."""


@stage("live/detector_shift", uses=(Detector,))
class DetectorShift:
    """Average the detector shifts that prediction refinement finds, and say what to put into the geometry file.

    Each crystal's own shift, from the search and from refine/prediction with ``refine_detector_shift: true``, is as uncertain
    as its few peaks are; their mean is not. Shifts further from the median than `outliers` times the spread (1.4826 times the
    median absolute deviation) are set aside. The report gives mean, spread and standard error of the mean along x and y, the
    means of the first and the second half of the crystals (a detector or beam that drifts), and the change for the .geom: the
    mean is added to ``detector_shift_x`` and ``detector_shift_y``, or times ``res`` to ``corner_x`` and ``corner_y`` of every
    panel. A mean shift within three standard errors of zero is no shift. Search and refinement hold each shift by a weak
    spring, so that a large shift comes out somewhat too small: apply it, and run again.

    Shifts are those of the detector in the laboratory: positive x moves it along +x. Units: mm in the report, metres in JSON.
    """

    outliers: float = Field(
        default=4.0, gt=0, description="Set aside what is further off the median than so many spreads."
    )
    in_order: bool = Field(
        default=True, description="Take crystals in the order of their frames: the same in every run."
    )

    reads: ClassVar[tuple[type, ...]] = (Crystals,)
    may_read: ClassVar[tuple[type, ...]] = (DetGeom,)

    def open(self, context: Context) -> RunningDetectorShift:
        """Return what takes the shifts out of a frame."""
        return RunningDetectorShift()

    def open_writer(self, context: Context) -> DetectorShiftWriter:
        """Return what averages."""
        return DetectorShiftWriter(self.outliers, context.upstream.get(Detector))


class RunningDetectorShift:
    """Takes the shifts out of a frame."""

    def __call__(self, outcome: Outcome) -> tuple[tuple[float, float], ...] | None:
        """Return the shift of each crystal, as seen from the geometry file, in metres; None where there are none."""
        if not isinstance(outcome, Frame):
            return None
        geom = outcome.get(DetGeom)
        shifts = [crystal.det_shift_m for crystal in outcome[Crystals]]
        if geom is not None:  # that of a crystal that was not refined stays (0, 0), which is how the writer knows it
            shifts = [shift if shift == (0.0, 0.0) else geom.shift_from_file(shift) for shift in shifts]
        return tuple((float(x), float(y)) for x, y in shifts) or None


@dataclass(frozen=True)
class Shift:
    """The shift along one axis, in metres."""

    mean_m: float
    spread_m: float
    error_m: float
    first_half_m: float
    second_half_m: float

    @property
    def is_significant(self) -> bool:
        """Whether it differs from 0 by more than three standard errors."""
        return abs(self.mean_m) > 3 * self.error_m


class DetectorShiftWriter:
    """Keeps every shift, 16 bytes a crystal, and averages at the end."""

    def __init__(self, outliers: float, detector: Detector | None) -> None:
        self._outliers = outliers
        self._detector = detector
        self._x, self._y = array("d"), array("d")
        self._sums = [0.0, 0.0]
        self._num_unrefined = 0

    def write(self, encoded: tuple[tuple[float, float], ...]) -> None:
        """Keep the shifts of one frame's crystals; exactly (0, 0) is that of a crystal that was not refined."""
        for x, y in encoded:
            if (x == 0.0 and y == 0.0) or not (math.isfinite(x) and math.isfinite(y)):
                self._num_unrefined += 1
                continue
            self._x.append(x)
            self._y.append(y)
            self._sums[0] += x
            self._sums[1] += y

    def status(self) -> str:
        """The mean so far."""
        n = len(self._x)
        if n < _FEWEST:
            return ""
        return f"detector shift x {1e3 * self._sums[0] / n:+.3f} y {1e3 * self._sums[1] / n:+.3f} mm"

    def figures_now(self) -> dict[str, Any]:
        """The means so far, in mm, and of how many crystals they are."""
        n = len(self._x)
        x_mm, y_mm = (1e3 * total / n if n >= _FEWEST else None for total in self._sums)
        return {"n": n, "x_mm": x_mm, "y_mm": y_mm}

    def findings(self) -> Findings:
        """Mean, spread and what to do about it."""
        shifts = np.array([self._x, self._y], np.float64)
        if shifts.shape[1] < _FEWEST:
            hint = "; refine/prediction finds them with refine_detector_shift: true" if self._num_unrefined else ""
            text = f"{shifts.shape[1]} crystals with a refined detector shift, too few to say anything{hint}"
            return Findings(text, self._figures(shifts.shape[1], 0, None))
        kept = self._kept(shifts)
        along = tuple(_shift(shifts[axis, kept]) for axis in (0, 1))
        num_kept = int(kept.sum())
        lines = [
            f"detector shift from {num_kept} crystals ({shifts.shape[1] - num_kept} outliers, {self._num_unrefined} not "
            "refined set aside)"
        ]
        lines += [
            f"{axis}: mean {_mm(shift.mean_m)} +- {_mm(shift.error_m, sign=False)} mm, spread "
            f"{_mm(shift.spread_m, sign=False)} mm, first half {_mm(shift.first_half_m)} mm, second half "
            f"{_mm(shift.second_half_m)} mm"
            for axis, shift in zip("xy", along, strict=True)
        ]
        if num_kept < _FEWEST_TO_ADVISE:
            lines.append(
                f"{num_kept} crystals do not carry advice on the geometry file; {_FEWEST_TO_ADVISE} are needed"
            )
        else:
            lines += self._advice(along)
        return Findings("\n".join(lines), self._figures(num_kept, shifts.shape[1] - num_kept, along))

    def close(self) -> None:
        """Nothing is open."""

    def _kept(self, shifts: NDArray[np.float64]) -> NDArray[np.bool_]:
        off = np.abs(shifts - np.median(shifts, axis=1, keepdims=True))
        spread = 1.4826 * np.median(off, axis=1, keepdims=True)
        near = off <= np.maximum(self._outliers * spread, 1e-9)
        return np.asarray(near.all(axis=0))

    def _advice(self, along: tuple[Shift, ...]) -> list[str]:
        if not any(shift.is_significant for shift in along):
            return ["no shift beyond three standard errors: leave the geometry file as it is"]
        moved = [shift.mean_m if shift.is_significant else 0.0 for shift in along]
        detector = self._detector
        if detector is None:
            return ["in the geometry file, add to detector_shift: " + " and ".join(f"{_mm(m)} mm" for m in moved)]
        lines = []
        present = (detector.shift_x, detector.shift_y)
        if all(quantity is None or quantity.number is not None for quantity in present):
            lines.append("in the geometry file, before the first panel, set:")
            for axis, quantity, move in zip("xy", present, moved, strict=True):
                before = quantity.number if quantity is not None and quantity.number is not None else 0.0
                lines.append(f"  detector_shift_{axis} = {before + move:.6f} m")
            lines.append("or, for programs that know no detector_shift, add to every panel:")
        else:
            lines.append("detector_shift comes with each frame, so add to every panel in the geometry file:")
        for res in sorted({panel.res_per_m for panel in detector.panels}):
            which = f" (panels with res = {res:g})" if len({p.res_per_m for p in detector.panels}) > 1 else ""
            lines.append(f"  corner_x {moved[0] * res:+.3f}, corner_y {moved[1] * res:+.3f}{which}")
        return lines

    def _figures(self, kept: int, outliers: int, along: tuple[Shift, ...] | None) -> dict[str, Any]:
        figures: dict[str, Any] = {"crystals": kept, "outliers": outliers, "not_refined": self._num_unrefined}
        for axis, shift in zip("xy", along or (), strict=False):
            figures[axis] = {
                "mean_m": shift.mean_m,
                "spread_m": shift.spread_m,
                "error_m": shift.error_m,
                "first_half_m": shift.first_half_m,
                "second_half_m": shift.second_half_m,
                "is_significant": shift.is_significant,
            }
        return figures


def _shift(values: NDArray[np.float64]) -> Shift:
    n = len(values)
    spread = float(values.std(ddof=1)) if n > 1 else math.nan
    return Shift(
        float(values.mean()),
        spread,
        spread / math.sqrt(n),
        float(values[: n // 2].mean()) if n > 1 else math.nan,
        float(values[n // 2 :].mean()),
    )


def _mm(metres: float, *, sign: bool = True) -> str:
    return f"{1e3 * metres:+.4f}" if sign else f"{1e3 * metres:.4f}"
