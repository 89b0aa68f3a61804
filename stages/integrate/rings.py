"""integrate/rings: predict each crystal's reflections and sum their pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline import Context, stage
from stages.compute.pixel_types import PIXEL_TYPES
from stages.integrate._containment import Containment
from stages.integrate._diagnose import Condition, Diagnostician, Looking, Outcome
from stages.integrate._kernels import rings as kernel
from stages.integrate._kernels.keep import N_SUMS, keep
from stages.integrate._kernels.marks import BAD, CLAIM, RELEASE, mark
from stages.integrate._kernels.tuples import (
    BACKGROUND,
    FS,
    INTENSITY,
    N_RESULTS,
    PEAK,
    SIGMA,
    SS,
    UNMEASURABLE,
    Circles,
    Measured,
    Pixels,
    Places,
)
from stages.integrate._parameters import STRICT, IntegrationParameters
from stages.integrate._prediction import Predictor, without_reflections
from stages.pixels.tables import Flattener, PackedMask
from stages.records.changed import changed
from stages.records.crystal import Crystals, Reflections
from stages.records.diagnosis import Diagnosis
from stages.records.geometry import DetGeom, Panel
from stages.records.image import Image
from stages.records.peaklist import PeakList

STRONG = 10.0
"""Reflections of so many sigma tell the width of the spots."""


@stage("integrate/rings")
@dataclass(frozen=True, config=STRICT)
class Rings(IntegrationParameters):
    """Predict the reflections of each crystal, and sum the pixels of each in a circle above the background in a ring around it.

    **Prediction.** With a monochromatic parallel beam, a reflection is predicted if it lies within `reach` profile radii of the
    Ewald sphere, the radius being the standard deviation of the excitation errors of the peaks that belong to the crystal,
    unless it is given. Otherwise the modelled partiality is to be as high as it is there. Model and reach are CrystFEL's
    (xsphere, White et al. 2016, doi:10.1107/S1600576716004751); the centring alone causes absences.

    **Integration.** Of the pixel in which the predicted position lies, the circle is what is within the inner radius, the
    ring what is between the middle and the outer one. With n pixels v_i in the circle, background b (the mean of the m pixels
    of the ring, or the plane through them) and variance s^2 of the ring about it::

        f I = sum(v_i - b)          f^2 sigma^2 = adu_per_photon f I + n s^2 (1 + n / m)

    in ADU (for |I| below one photon the first term is that of one photon, for I < 0 that of -I); n^2 s^2 / m is the error of
    the subtracted mean. f is the part of a spot that the difference of circle and ring catches, one number for each crystal:
    the width of its strong reflections (I > 10 sigma) about their predicted positions tells it, for spots of a Gaussian shape.
    With fewer than three strong reflections, or without `correct_tails`, f = 1. Pixels claimed by several
    reflections, of whatever crystal, count for none, and a ring leaves out the circles of all others. A reflection is left
    out if its box leaves the panel, if a pixel of its circle is bad or not finite, if fewer than four pixels remain in circle
    or ring, if a pixel exceeds max_adu (counted as saturated), or if I < -5 sigma (counted as implausible). Box and rings as in
    indexamajig's ``--integration=rings`` (White et al. 2013, doi:10.1107/S0907444913013620).

    Crystals get their profile radius and their resolution limit (diffraction_resolution_limit) here too.
    """

    grad: bool = Field(default=False, description="Fit a plane to the background instead of its mean (rings-grad).")

    @property
    def has_sloping_background(self) -> bool:
        """Whether the background is a plane."""
        return self.grad

    def open(self, context: Context) -> RunningRings:
        """Compile the kernels."""
        running = RunningRings(self, context.replica)
        running.warm_up((np.int32,))
        return running

    @classmethod
    def warm_up(cls) -> None:
        """Compile the kernels for every type of pixel."""
        RunningRings(cls()).warm_up(PIXEL_TYPES)


class RunningRings:
    """The integration of one replica, with its buffers."""

    def __init__(self, stage: IntegrationParameters, replica: int = 0) -> None:
        self._stage = stage
        self._replica = replica
        self._diagnostician = self._new_diagnostician()
        self._predictor = Predictor(stage.options)
        self._flatten = Flattener()
        self._pack_mask = PackedMask()
        inner, ring = ring_offsets(stage.int_radius)
        self._circles = Circles(inner, ring, int(stage.int_radius[2]))
        self._containment = Containment.of(inner, ring) if stage.correct_tails else None
        self._panels: tuple[Panel, ...] | None = None
        self._max_adu: NDArray[np.float64] = np.zeros(0)
        self._gains: NDArray[np.float64] = np.zeros(0)
        self._gains_of: tuple[tuple[Panel, ...], float] | None = None
        self._marks: NDArray[np.uint8] = np.zeros(0, np.uint8)

    def __call__(self, crystals: Crystals, geom: DetGeom, image: Image, peaks: PeakList) -> Crystals:
        """Return the crystals with their reflections."""
        if not crystals.found:
            return crystals
        if self._stage.cell_parameters_only:
            return without_reflections(crystals, self._predictor, geom, peaks)
        finder = self._predictor.finder(geom)
        found = [self._predictor.with_limit(crystal, peaks, finder) for crystal in crystals]
        predicted = [self._predictor.predict(crystal, finder) for crystal in found]
        integrated = self._integrate(predicted, geom, image)
        return changed(
            crystals,
            found=tuple(changed(crystal, reflections=r) for crystal, r in zip(found, integrated, strict=True)),
        )

    def _integrate(self, predicted: list[Reflections], geom: DetGeom, image: Image) -> list[Reflections]:
        flattened = self._flatten(image, geom)
        self._prepare(geom)
        if len(predicted) == 1:
            places = Places(predicted[0].panel, predicted[0].fs, predicted[0].ss)
        else:
            places = Places(*(np.concatenate([getattr(r, name) for r in predicted]) for name in Places._fields))
        measured = Measured.nothing(len(places.panel))
        adu_per_photon = self._adu_per_photon(geom)
        arrays = []
        for table, flat in flattened:
            row_of_panel = np.full(len(geom.panels), -1, np.int64)
            row_of_panel[table.panel] = np.arange(len(table.panel))
            arrays.append(Pixels(flat, table.where, row_of_panel, self._marks))
        for pixels in arrays:
            mark(pixels, places, self._circles.inner, CLAIM)
        of_each = []
        begin = 0
        for one in predicted:
            part = slice(begin, begin + len(one))
            panel, fs, ss = places
            own = Measured(measured.results[part], measured.fits[part], measured.status[part])
            self._measure(arrays, Places(panel[part], fs[part], ss[part]), adu_per_photon, own)
            of_each.append((one, own))
            begin = part.stop
        kept = [self._kept(one, own) for one, own in of_each]
        if self._diagnostician.is_wanted:
            shown = [self._diagnoses(arrays, geom, one, own) for one, own in of_each]
            kept = [replace(one, diagnoses=some) for one, some in zip(kept, shown, strict=True)]
        for pixels in arrays:
            mark(pixels, places, self._circles.inner, RELEASE)
        return kept

    def _diagnoses(
        self, arrays: list[Pixels], geom: DetGeom, predicted: Reflections, measured: Measured
    ) -> tuple[Diagnosis, ...]:
        """Show the reflections that int_diag asks for, while all peaks are marked."""
        looking = Looking(geom, arrays, self._circles, self._stage.cen)
        results = measured.results
        outcome = Outcome(predicted.hkl, results[:, INTENSITY], results[:, SIGMA], measured.status != UNMEASURABLE)
        chosen = self._diagnostician.choose(outcome)
        return tuple(looking.diagnosis(predicted, measured, n) for n in chosen.tolist())

    def _measure(
        self, arrays: list[Pixels], places: Places, adu_per_photon: NDArray[np.float64], measured: Measured
    ) -> None:
        """Measure one crystal's reflections, all peaks being marked."""
        self._sum(arrays, places, adu_per_photon, measured)

    def _sum(
        self, arrays: list[Pixels], places: Places, adu_per_photon: NDArray[np.float64], measured: Measured
    ) -> None:
        grad = self._stage.has_sloping_background
        for pixels in arrays:
            kernel.integrate(
                pixels, places, self._circles, adu_per_photon, self._max_adu, self._stage.cen, grad, measured
            )

    def _kept(self, predicted: Reflections, measured: Measured) -> Reflections:
        results, room = measured.results, len(measured.status)
        kept, columns, sums = np.empty(room, np.int64), np.empty((N_RESULTS, room)), np.empty(N_SUMS)
        n = keep(results, measured.status, self._stage.sat, STRONG, kept, columns, sums)
        kept, columns = kept[:n], columns[:, :n]
        intensity, sigma = columns[INTENSITY], columns[SIGMA]
        num_saturated, num_implausible, num_strong, total, moment = sums.tolist()
        if self._containment is not None:
            caught = self._containment.from_sums(int(num_strong), total, moment)
            intensity, sigma = intensity / caught, sigma / caught
            if self._diagnostician.is_wanted:
                results[:, [INTENSITY, SIGMA]] /= caught
        return Reflections(
            predicted.hkl[kept],
            predicted.panel[kept],
            columns[FS],
            columns[SS],
            intensity,
            sigma,
            columns[PEAK],
            columns[BACKGROUND],
            predicted.excitation_error_per_angstrom[kept],
            predicted.partiality[kept],
            int(num_saturated),
            int(num_implausible),
        )

    def _adu_per_photon(self, geom: DetGeom) -> NDArray[np.float64]:
        """ADU per photon of each panel; made anew only for other panels or another photon energy."""
        made_for = (geom.panels, geom.photon_energy_ev)
        if self._gains_of is None or self._gains_of[0] is not made_for[0] or self._gains_of[1] != made_for[1]:
            self._gains = np.array([geom.adu_per_photon(p) for p in range(len(geom.panels))])
            self._gains_of = made_for
        return self._gains

    def _prepare(self, geom: DetGeom) -> None:
        """Make what depends on the panels alone: a map of marks with the bad pixels alone, and where pixels saturate."""
        version = self._pack_mask.version
        mask = self._pack_mask(geom)
        if version != self._pack_mask.version:
            self._marks = (mask != 0) * np.uint8(BAD)
        if self._panels is geom.panels:
            return
        self._max_adu = np.array([panel.max_adu for panel in geom.panels], np.float64)
        self._panels = geom.panels

    def warm_up(self, dtypes: tuple[type, ...]) -> None:
        """Compile everything for these types of pixels, on an empty frame."""
        from stages.records.crystal import Crystal

        panel = Panel("p", data="d", max_fs=31, max_ss=31)
        one = np.eye(3)
        geom = DetGeom(
            (panel,),
            np.array([[-0.016, -0.016, 0.1]]),
            one[:1] * 1e-3,
            one[1:2] * 1e-3,
            1e4,
            np.array([0.1]),
            (np.zeros((32, 32), np.uint8),),
        )
        crystals = Crystals((Crystal(one * 50.0, profile_radius_per_angstrom=1e-3),))
        peaks = PeakList.make([0], [3.0], [3.0], [1.0])
        for dtype in dtypes:
            self(crystals, geom, Image.of(d=np.zeros((32, 32), dtype)), peaks)
        self._diagnostician = self._new_diagnostician()  # what was shown of the empty frame does not count

    def _new_diagnostician(self) -> Diagnostician:
        return Diagnostician(Condition.parse(self._stage.int_diag), self._stage.int_diag_most, self._replica)


def ring_offsets(
    int_radius: tuple[float, float, float],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return offsets (dx, dy) of the pixels within the inner radius, and of those from the middle to the outer one.

    >>> [len(offsets) for offsets in ring_offsets((4.0, 5.0, 7.0))]
    [49, 80]
    """
    inner, middle, outer = (int(radius) for radius in int_radius)
    dy, dx = np.mgrid[-outer : outer + 1, -outer : outer + 1].reshape(2, -1)
    distance_sq = dx * dx + dy * dy
    circle = distance_sq <= inner**2
    ring = (distance_sq >= middle**2) & (distance_sq <= outer**2) & ~circle
    return tuple(np.ascontiguousarray(np.stack([dx[part], dy[part]], axis=1)) for part in (circle, ring))  # type: ignore[return-value]
