"""integrate/prof2d: predict each crystal's reflections and fit them with the shape of its strong ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from pipeline import Context, stage
from stages.integrate import _kernel as kernel
from stages.integrate._prediction import PredictionOptions
from stages.integrate.rings import RunningRings, radii_that_grow
from stages.tables import PIXEL_TYPES


@stage("integrate/prof2d")
class Prof2d:
    """Predict the reflections of each crystal, and fit each with the two-dimensional profile of the crystal's strong ones.

    Prediction, circles and rings, what is left out and counted, and the part f of a spot that the circle catches are those of
    ``integrate/rings``; the background is always a plane b, fitted to the ring. The profile (Rossmann 1979,
    doi:10.1107/S0021889879012218) is the mean shape of the suitable reflections, each weighted by its own intensity S by
    summation: for pixel i of the circle, and normalised to the sum 1 ::

        P_i = sum(S (v_i - b_i)) / sum(S^2)

    Suitable are reflections whose highest pixel exceeds ten times the background. All reflections are then fitted with it::

        f I = J = sum(P_i (v_i - b_i)) / sum(P_i^2)
        f^2 sigma^2 = (adu_per_photon J sum(P_i^3) + s^2 (sum(P_i^2) + sum(P_i)^2 / m)) / sum(P_i^2)^2

    Pixels that several reflections claim are left out, and the profile makes up for them. Reflections with a plane that rises
    by more than a tenth of the peak's height in a pixel are left out. A crystal without suitable reflections has no profile,
    and so no reflections, as with indexamajig's ``--integration=prof2d``; sigma is the fit's own error here.
    """

    int_radius: tuple[float, float, float] = Field(
        default=(4.0, 5.0, 7.0), description="Inner, middle and outer radius in pixels; cut down to whole pixels."
    )
    cen: bool = Field(
        default=True,
        description="Move each circle to its highest pixel, within the inner radius, if two pixels stand out (prof2d-nocen: "
        "do not).",
    )
    sat: bool = Field(default=False, description="Keep reflections with pixels above max_adu (prof2d-sat).")
    correct_tails: bool = Field(
        default=True, description="Divide intensities by the part of a spot that lies in the circle, f."
    )
    push_res: float = Field(
        default=math.inf, description="Integrate so many nm^-1 beyond each crystal's resolution limit; may be negative."
    )
    fix_profile_radius: float | None = Field(
        default=None, gt=0, description="Profile radius in m^-1 for all crystals, instead of one estimated for each."
    )
    fix_divergence: float | None = Field(
        default=None, ge=0, description="Full angle of the beam's divergence in radians; nil if not given."
    )
    overpredict: bool = Field(default=False, description="Predict with five times the profile radius.")
    cell_parameters_only: bool = Field(default=False, description="Do not predict or integrate at all.")

    @field_validator("int_radius")
    @classmethod
    def _radii_grow(cls, radii: tuple[float, float, float]) -> tuple[float, float, float]:
        return radii_that_grow(radii)

    @property
    def options(self) -> PredictionOptions:
        """The parameters that concern prediction."""
        return PredictionOptions(self.push_res, self.fix_profile_radius, self.fix_divergence, self.overpredict)

    @property
    def grad(self) -> bool:
        """Backgrounds are planes."""
        return True

    def open(self, context: Context) -> RunningProf2d:
        """Compile the kernels."""
        running = RunningProf2d(self)
        running.warm_up((np.int32,))
        return running

    @classmethod
    def warm_up(cls) -> None:
        """Compile the kernels for every type of pixel."""
        RunningProf2d(cls()).warm_up(PIXEL_TYPES)


class RunningProf2d(RunningRings):
    """The profile fitting of one replica."""

    def _measure(
        self,
        arrays: list[tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]],
        panel: NDArray[np.int32],
        fs: NDArray[np.float64],
        ss: NDArray[np.float64],
        adu_per_photon: NDArray[np.float64],
        results: NDArray[np.float64],
        status: NDArray[np.int64],
    ) -> None:
        stage = self._stage
        fits = np.zeros((len(panel), 8))
        sums = np.zeros((2, len(self._inner)))
        for flat, where, row_of_panel, marks in arrays:
            kernel.collect_profile(
                flat,
                where,
                row_of_panel,
                marks,
                panel,
                fs,
                ss,
                self._inner,
                self._ring,
                self._half,
                adu_per_photon,
                self._max_adu,
                stage.cen,
                stage.sat,
                results,
                status,
                fits,
                sums,
            )
        shape = np.divide(sums[0], sums[1], out=np.zeros(len(self._inner)), where=sums[1] > 0.0)
        if not shape.sum() > 0.0:
            status[:] = kernel.UNMEASURABLE
        shape /= max(shape.sum(), 1e-300)
        for flat, where, row_of_panel, marks in arrays:
            kernel.fit_profile(
                flat,
                where,
                row_of_panel,
                marks,
                panel,
                fs,
                ss,
                self._inner,
                adu_per_photon,
                stage.cen,
                shape,
                results,
                status,
                fits,
            )
