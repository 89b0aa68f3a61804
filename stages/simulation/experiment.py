"""Simulated stills: a frame's physics from the orientation of its crystal to the photons in its pixels.

A reflection g of the crystal, turned at random, is recorded with the partiality exp(-e^2 / 2 sigma^2), e = |k0 + g| - k
being its excitation error; it strikes the detector along k0 + g, as the point of the Ewald sphere nearest to g does.
It expects ``photons * scale * W * exp(-B / (2 d^2)) * partiality * polarisation`` photons, W from Wilson's distribution;
their number is drawn from Poisson's, and each falls on the detector by itself, normally distributed around the spot. The
background is drawn for each pixel from a Poisson distribution whose mean lies within 0.5 % of the given curve and is exact
on average over pixels. Mosaicity and bandwidth are nil. A detector counts photons, or integrates their charge
(:mod:`.readout`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pipeline import UserError
from stages.records.geometry import DetGeom
from stages.records.peaklist import PeakList
from stages.simulation._kernels import photons as kernel
from stages.simulation.background import Background, expected_at, expected_background
from stages.simulation.flat_panels import FlatPanels
from stages.simulation.readout import Readout
from stages.simulation.settings import Settings
from stages.simulation.specimen import Specimen
from stages.simulation.truth import Spots, Truth

FEWEST_PHOTONS = 0.1
"""Spots that expect fewer photons are neither drawn nor recorded."""

EXCITATION_CUT = 4.0
"""Reflections further off the Ewald sphere than so many sigma are left out."""


@dataclass(frozen=True, eq=False)
class SimulatedFrame:
    """One frame as the detector and the peak search of the sender give it.

    Attributes
    ----------
    number
        Its number, from 0.
    geom
        The geometry with the frame's photon energy.
    arrays
        Key -> pixels in ADU, with the shape that the geometry expects; empty if no pixels were asked for.
    peaks
        The sender's peak list; order and origin of its peaks stand in the truth's ``listed``.
    truth
        What is true.
    said
        What the frame's message says besides, by key: whether the laser was on, in a pump-probe experiment.
    """

    number: int
    geom: DetGeom
    arrays: dict[str, NDArray[np.generic]]
    peaks: PeakList
    truth: Truth
    said: Mapping[str, object] = field(default_factory=dict)


class Simulation:
    """An experiment that can show any of its frames: ``simulation.frame(12)`` is always the same frame.

    Parameters
    ----------
    settings
        The experiment.
    geom
        The detector at the nominal photon energy.
    specimen
        The crystals.
    """

    def __init__(self, settings: Settings, geom: DetGeom, specimen: Specimen) -> None:
        self.settings = settings
        self.geom = geom
        self.specimen = specimen
        self._excited = replace(specimen, change=settings.laser_change)
        self._detector = FlatPanels(geom)
        self._readout = Readout(settings, geom, self._detector)
        self._dtype = _pixel_type(settings.dtype)
        self._backgrounds: dict[str, Background] = {}

    def frame(self, number: int, pixels: bool = True) -> SimulatedFrame:
        """Make frame `number`; `pixels` = False makes everything but its image (the same peaks, the same truth)."""
        s = self.settings
        chance = np.random.default_rng([s.seed, number])
        image_seed = chance.integers(0, 2**64, dtype=np.uint64)
        energy = self.geom.photon_energy_ev * (1.0 + s.energy_jitter * chance.standard_normal())
        geom = replace(self.geom, photon_energy_ev=energy)
        hit = bool(chance.random() < s.hits)
        scale = math.exp(s.scale_sigma * chance.standard_normal()) if hit else 0.0
        real_space = self._turned_crystal(chance) if hit else None
        is_lit = bool(s.laser_key) and number % 2 == 1
        spots = Spots.none() if real_space is None else self.spots(real_space, energy, scale, is_lit=is_lit)
        counts = chance.poisson(spots.photons)
        peaks, listed = self._listed(spots, counts, geom, hit, chance)
        truth = Truth(f"sim // {number:04d}", hit, energy, scale, real_space, spots, listed)
        arrays = self._expose(spots, counts, geom, image_seed) if pixels else {}
        said = {s.laser_key: is_lit} if s.laser_key else {}
        return SimulatedFrame(number, geom, arrays, peaks, truth, said)

    def frames(self, count: int | None = None, pixels: bool = True) -> Iterator[SimulatedFrame]:
        """Make frames 0, 1, ... (`count` of them, or without end)."""
        number = 0
        while count is None or number < count:
            yield self.frame(number, pixels)
            number += 1

    def spots(
        self, real_space_angstrom: NDArray[np.float64], photon_energy_ev: float, scale: float, *, is_lit: bool = False
    ) -> Spots:
        """Bragg spots of a crystal in this orientation, excited or not, from the mean of their photons on: no noise."""
        s = self.settings
        specimen = self._excited if is_lit else self.specimen
        geom = replace(self.geom, photon_energy_ev=photon_energy_ev)
        k = 1.0 / geom.wavelength_angstrom
        width = EXCITATION_CUT * s.excitation_sigma_per_angstrom
        q_max = self._detector.largest_q(k) + width
        reciprocal = np.ascontiguousarray(np.linalg.inv(real_space_angstrom).T)
        hkl, error = _reflections(reciprocal, k, width, q_max)
        g = hkl @ reciprocal
        direction = g + np.array([0.0, 0.0, k])
        panel, fs, ss = self._detector.meet(direction)
        unit = direction / np.linalg.norm(direction, axis=1)[:, None]
        partiality = np.exp(-0.5 * (error / s.excitation_sigma_per_angstrom) ** 2)
        polarised = s.polarisation * (1.0 - unit[:, 0] ** 2) + (1.0 - s.polarisation) * (1.0 - unit[:, 1] ** 2)
        fall_off = np.exp(-0.5 * s.b_factor * np.sum(g * g, axis=1))
        photons = s.photons * scale * specimen.intensities(hkl) * fall_off * partiality * polarised
        kept = (panel >= 0) & (photons >= FEWEST_PHOTONS)
        return Spots(hkl[kept], panel[kept], fs[kept], ss[kept], photons[kept], partiality[kept], error[kept])

    def background_photons(self, key: str) -> NDArray[np.float32]:
        """Expected background photons per pixel of the array `key`; NaN where no panel is."""
        rates = expected_background(self.geom, self._detector, key, self.settings.background)
        return rates.reshape(self._detector.shapes[key])

    def _variance_photons(
        self, panel: NDArray[np.integer], fs: NDArray[np.float64], ss: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Variance of pixels at points on panels, in photons squared: background and read noise."""
        return expected_at(self.geom, panel, fs, ss, self.settings.background) + self._readout.variance_photons(panel)

    def _turned_crystal(self, chance: np.random.Generator) -> NDArray[np.float64]:
        """The specimen in an orientation drawn uniformly (Shoemake 1992), its axes off by the cell's jitter."""
        quaternion = chance.standard_normal(4)
        x, y, z, w = quaternion / np.linalg.norm(quaternion)
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
        stretch = 1.0 + self.settings.cell_jitter * chance.standard_normal(3)
        own = stretch[list(self.specimen.axes_that_are_equal())]
        turned: NDArray[np.float64] = (self.specimen.cell.real_space_angstrom * own[:, None]) @ rotation.T
        return turned

    def _listed(
        self, spots: Spots, counts: NDArray[np.int64], geom: DetGeom, hit: bool, chance: np.random.Generator
    ) -> tuple[PeakList, NDArray[np.int64]]:
        """The sender's peak list, and where each of its peaks comes from."""
        s = self.settings
        area = math.pi * (2.0 * s.spot_sigma_px) ** 2
        around = self._variance_photons(spots.panel, spots.fs, spots.ss)
        snr = spots.photons / np.sqrt(np.maximum(spots.photons + area * around, 1e-9))
        good = np.array(
            [not geom.bad[p][int(y), int(x)] for p, x, y in zip(spots.panel, spots.fs, spots.ss, strict=True)], bool
        )
        strong = np.flatnonzero((snr >= s.listed_snr) & (counts > 0) & good)
        strong = strong[np.argsort(-snr[strong], kind="stable")]
        if s.peaks_per_hit:
            strong = strong[: s.peaks_per_hit]
        expected = len(strong) * s.spurious / (1.0 - s.spurious) if hit else s.blank_peaks
        num_spurious = int(chance.poisson(expected))
        area_share = self._detector.width * self._detector.height
        wrong = chance.choice(len(area_share), num_spurious, p=area_share / area_share.sum())
        origin = np.concatenate([strong, np.full(num_spurious, -1)])
        panel = np.concatenate([spots.panel[strong], wrong])
        fs = np.concatenate([spots.fs[strong], chance.random(num_spurious) * self._detector.width[wrong]])
        ss = np.concatenate([spots.ss[strong], chance.random(num_spurious) * self._detector.height[wrong]])
        fs += s.jitter_px * chance.standard_normal(len(fs)) * (origin >= 0)
        ss += s.jitter_px * chance.standard_normal(len(ss)) * (origin >= 0)
        # a position that was found lies on its panel
        fs = np.clip(fs, 0.001, self._detector.width[panel] - 0.001)
        ss = np.clip(ss, 0.001, self._detector.height[panel] - 0.001)
        photons = np.concatenate([counts[strong].astype(float), 20.0 + 200.0 * chance.exponential(size=num_spurious)])
        noise = np.sqrt(photons + area * self._variance_photons(panel, fs, ss))
        highest = photons * math.erf(0.5 / (math.sqrt(2.0) * s.spot_sigma_px)) ** 2
        adu = np.array([geom.adu_per_photon(p) for p in range(len(geom.panels))])[panel]
        order = chance.permutation(len(panel))
        peaks = PeakList.make(
            panel, fs, ss, photons * adu, photons / noise, highest * adu, np.full(len(panel), int(area))
        )
        return peaks.select(order), origin[order]

    def _expose(
        self, spots: Spots, counts: NDArray[np.int64], geom: DetGeom, seed: np.uint64
    ) -> dict[str, NDArray[np.generic]]:
        """Draw every pixel of the frame."""
        detector = self._detector
        arrays = {}
        for index, key in enumerate(detector.shapes):
            if key not in self._backgrounds:
                self._backgrounds[key] = Background.of(self.background_photons(key).reshape(-1))
            own_seed = np.uint64(kernel.mix(np.uint64((int(seed) + index) % 2**64)))
            gap = 0 if self._dtype.kind == "u" else self.settings.gap
            photons = self._backgrounds[key].draw(gap, own_seed)
            here = np.isin(spots.panel, detector.panels_of(key))
            p = spots.panel[here]
            kernel.scatter_photons(
                counts[here],
                spots.fs[here],
                spots.ss[here],
                detector.places(p),
                self.settings.spot_sigma_px,
                np.uint64(kernel.mix(own_seed)),
                photons,
            )
            adu = self._readout.adu(
                photons.reshape(detector.shapes[key]), key, geom, np.uint64(kernel.mix(np.uint64(kernel.mix(own_seed))))
            )
            arrays[key] = self._in_type(adu)
        return arrays

    def _in_type(self, adu: NDArray[np.generic]) -> NDArray[np.generic]:
        """Pixels as the detector sends them: in its type, clipped to its range."""
        if adu.dtype == self._dtype:
            return adu
        if self._dtype.kind != "f":
            limits = np.iinfo(self._dtype.name)
            rounded = np.rint(adu) if adu.dtype.kind == "f" else adu
            adu = np.clip(rounded, max(limits.min, -(2**31)), min(limits.max, 2**31 - 1))
        return adu.astype(self._dtype)


def _reflections(
    reciprocal: NDArray[np.float64], k: float, width: float, q_max: float
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Indices and excitation errors of all reflections within `width` of the Ewald sphere."""
    shell = 2.0 * width * math.pi * q_max**2  # the part of the sphere within q_max has the area pi q_max^2
    room = int(1.2 * shell / abs(np.linalg.det(reciprocal))) + 100
    while True:
        hkl, error = np.empty((room, 3), np.int32), np.empty(room)
        found = kernel.near_ewald_sphere(reciprocal, k, width, q_max, hkl, error)
        if found <= room:
            return hkl[:found], error[:found]
        room = found


def _pixel_type(name: str) -> np.dtype[np.generic]:
    try:
        dtype = np.dtype(name)
    except TypeError:
        dtype = np.dtype("V1")
    if dtype.kind not in "iuf":
        raise UserError(f"pixels cannot be of type {name!r}; choose one of u1 i1 u2 i2 u4 i4 u8 i8 f4 f8")
    return dtype
