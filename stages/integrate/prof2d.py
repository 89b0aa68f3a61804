"""integrate/prof2d: predict each crystal's reflections and fit them with the shape of its strong ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline import Context, stage
from stages.compute.pixel_types import PIXEL_TYPES
from stages.integrate._kernels import profile as kernel
from stages.integrate._kernels.tuples import UNMEASURABLE, Measured, Pixels, Places
from stages.integrate._parameters import STRICT, IntegrationParameters
from stages.integrate.rings import RunningRings


@stage("integrate/prof2d")
@dataclass(frozen=True, config=STRICT)
class Prof2d(IntegrationParameters):
    """Predict the reflections of each crystal, and fit each with the two-dimensional profile of the crystal's strong ones.

    Prediction, circles and rings, what is left out and counted, and the part f of a spot that the circle catches are those of
    ``integrate/rings``; the background is always a plane b, fitted to the ring. The profile (Rossmann 1979,
    doi:10.1107/S0021889879012218) is the mean shape of the suitable reflections, each weighted by its intensity S by
    summation, as photons ask for: for pixel i of the circle, and normalised to the sum 1 ::

        P_i = sum(v_i - b_i) / sum(S)

    (With weights S^2 the one or two strongest spots, and where in their pixels they happen to lie, would be the profile: the
    others then come out too weak, by 1 to 2 %.)

    Suitable are reflections with S > 5 sigma (those with the highest pixels would be those in the middle of one, a profile
    that is too sharp). All reflections are then fitted with it::

        f I = J = sum(P_i (v_i - b_i)) / sum(P_i^2)
        f^2 sigma^2 = (adu_per_photon J sum(P_i^3) + s^2 (sum(P_i^2) + sum(P_i)^2 / m)) / sum(P_i^2)^2

    Pixels that several reflections claim are left out, and the profile makes up for them. Reflections with a plane that rises
    by more than a tenth of the peak's height in a pixel are left out. A crystal without suitable reflections has no profile,
    and so no reflections, as with indexamajig's ``--integration=prof2d``; sigma is the fit's own error here.
    """

    cen: bool = Field(
        default=True,
        description="Move each circle to where its intensity has its centre, within the inner radius, if the sum exceeds five "
        "of its standard deviations (prof2d-nocen: do not).",
    )

    def open(self, context: Context) -> RunningProf2d:
        """Compile the kernels."""
        running = RunningProf2d(self, context.replica)
        running.warm_up((np.int32,))
        return running

    @classmethod
    def warm_up(cls) -> None:
        """Compile the kernels for every type of pixel."""
        RunningProf2d(cls()).warm_up(PIXEL_TYPES)


class RunningProf2d(RunningRings):
    """The profile fitting of one replica."""

    def _measure(
        self, arrays: list[Pixels], places: Places, adu_per_photon: NDArray[np.float64], measured: Measured
    ) -> None:
        stage, inner = self._stage, self._circles.inner
        self._sum(arrays, places, adu_per_photon, measured)
        sums = np.zeros((2, len(inner)))
        for pixels in arrays:
            kernel.collect_profile(pixels, places, inner, stage.cen, stage.sat, measured, sums)
        shape = np.divide(sums[0], sums[1], out=np.zeros(len(inner)), where=sums[1] > 0.0)
        if not shape.sum() > 0.0:
            measured.status[:] = UNMEASURABLE
        shape /= max(shape.sum(), 1e-300)
        for pixels in arrays:
            kernel.fit_profile(pixels, places, inner, adu_per_photon, stage.cen, shape, measured)
