"""Prediction: where a crystal's reflections fall on the detector, which of them the peaks are, and how far it diffracts.

Shared by refinement, integration and whoever wants to draw predictions. Behaviour follows CrystFEL's xsphere model (White et
al. 2016, doi:10.1107/S1600576716004751); the numbers come from :mod:`stages.prediction._kernels.predict`. Pairing, profile
radius and resolution limit are questions to the same prediction and stand with it; hence the length.

>>> from stages.records.geometry import DetGeom, Panel
>>> geom = DetGeom((Panel("p", max_fs=999, max_ss=999),), np.array([[-0.05, -0.05, 0.1]]), np.array([[1e-4, 0, 0]]),
...                np.array([[0, 1e-4, 0]]), 12398.419843320026, np.array([0.1]), (np.zeros((1000, 1000), "u1"),))
>>> crystal = Crystal(np.diag([50.0, 60.0, 70.0]))
>>> reflections = predict(crystal, PanelFinder.of(geom), 0.0005)
>>> bool(np.all(reflections.partiality >= math.exp(-0.5 * REACH**2))), len(reflections) > 50
(True, True)
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pipeline import RejectFrame
from stages.lattices.cell import Lattice
from stages.prediction._kernels import predict as kernel
from stages.records.crystal import Crystal, Reflections
from stages.records.geometry import DetGeom, Panel
from stages.records.peaklist import PeakList

DEFAULT_PROFILE_RADIUS = 0.002
"""1/Angstrom: with what CrystFEL goes on where the radius cannot be determined (0.02 nm^-1)."""

REACH = 1.7
"""A reflection is predicted up to so many profile radii off the Ewald sphere, if the radius is given: as CrystFEL's."""

REACH_OF_PAIRS = 1.1
"""The same where the radius was estimated from pairs: there it is not a Gaussian's width, but almost the farthest pair's."""

OUTLIER_SPREAD = 5.0
"""Pairs whose excitation error exceeds so many medians are chance pairs, and do not count for the profile radius."""

FEWEST_PAIRS = 3
"""With fewer pairs of peaks and reflections nothing is estimated."""

TOLERANCE_OF_PAIRING = 1.0 / 6.0
"""A peak belongs to a reflection that is predicted nearer than this times the shortest reciprocal lattice vector."""

_LONGEST_AXIS = 1e5
_FLATTEST_CELL = 1e-3
"""Longest component of an axis in Angstrom, and least ratio of a cell's volume to that of a box with its edges."""

_PER_EDGE = 8
_GRID_FROM_PANELS = 5
_SHIFT_LIMIT_M = 2e-3


@dataclass(frozen=True, eq=False)
class PanelFinder:
    """A detector geometry prepared for finding the panel that a ray meets.

    It holds the panels' normals and dual vectors and, if they are many, a grid of squares over directions with the panels
    that each may meet. Make one with :meth:`of`, and hand it back with the next frame: it is made anew only if panels
    have moved.
    """

    geom: DetGeom
    origin_m: NDArray[np.float64] = field(repr=False)
    fs_m: NDArray[np.float64] = field(repr=False)
    ss_m: NDArray[np.float64] = field(repr=False)
    normal: NDArray[np.float64] = field(repr=False)
    dual_fs: NDArray[np.float64] = field(repr=False)
    dual_ss: NDArray[np.float64] = field(repr=False)
    width: NDArray[np.float64] = field(repr=False)
    height: NDArray[np.float64] = field(repr=False)
    usable: NDArray[np.bool_] = field(repr=False)
    widest: float
    shift_limit_m: float
    cells: int = 1
    bounds: NDArray[np.float64] = field(default_factory=lambda: np.zeros(4), repr=False)
    start: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64), repr=False)
    members: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)

    @staticmethod
    def of(geom: DetGeom, latest: PanelFinder | None = None, shift_limit_m: float = _SHIFT_LIMIT_M) -> PanelFinder:
        """Prepare a geometry, or return `latest` with this frame's numbers if its panels stand where they did."""
        if latest is not None and latest.shift_limit_m >= shift_limit_m:
            old = latest.geom
            if old is geom:
                return latest
            if old.panels is geom.panels and all(
                getattr(old, name) is getattr(geom, name) or np.array_equal(getattr(old, name), getattr(geom, name))
                for name in ("origin_m", "fs_m", "ss_m")
            ):
                return replace(latest, geom=geom)
        return _make_finder(geom, shift_limit_m)

    @property
    def wave_number(self) -> float:
        """1 / wavelength in 1/Angstrom."""
        return 1.0 / self.geom.wavelength_angstrom

    @property
    def max_q_per_angstrom(self) -> float:
        """The largest 1/d on the detector."""
        return self.wave_number * self.widest

    def meet(
        self, direction: NDArray[np.float64], shift_m: tuple[float, float] = (0.0, 0.0)
    ) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
        """Panel (-1: none), fs and ss at which rays from the specimen along `direction` (n, 3) meet the shifted detector."""
        out = np.empty((len(direction), 3))
        kernel.meet_each(
            np.ascontiguousarray(direction, np.float64),
            np.array(shift_m, np.float64),
            self.origin_m,
            self.normal,
            self.dual_fs,
            self.dual_ss,
            self.width,
            self.height,
            self.bounds,
            self.cells,
            self.start,
            self.members,
            out,
        )
        return out[:, 0].astype(np.int32), out[:, 1].copy(), out[:, 2].copy()


def _make_finder(geom: DetGeom, shift_limit_m: float) -> PanelFinder:
    origin, fs_step, ss_step = (np.ascontiguousarray(a, np.float64) for a in (geom.origin_m, geom.fs_m, geom.ss_m))
    normal = np.cross(fs_step, ss_step)
    area = np.sum(normal**2, axis=1)[:, None]
    dual_fs = np.cross(ss_step, normal) / area
    dual_ss = np.cross(normal, fs_step) / area
    width = np.array([panel.width for panel in geom.panels], np.float64)
    height = np.array([panel.height for panel in geom.panels], np.float64)
    num_panels = len(geom.panels)
    boxes = np.empty((num_panels, 4))
    widest, looks_back = kernel.outline_panels(origin, fs_step, ss_step, width, height, shift_limit_m, _PER_EDGE, boxes)
    finder = PanelFinder(
        geom,
        origin,
        fs_step,
        ss_step,
        normal,
        dual_fs,
        dual_ss,
        width,
        height,
        np.array([not panel.no_index for panel in geom.panels], np.bool_),
        float(widest),
        shift_limit_m,
        start=np.array([0, num_panels], np.int64),
        members=np.arange(num_panels, dtype=np.int64),
    )
    if looks_back or finder.meet(np.array([[0.0, 0.0, -1.0]]))[0][0] >= 0:
        return replace(finder, widest=2.0)
    if num_panels < _GRID_FROM_PANELS:
        return finder
    cells = min(96, math.ceil(4 * math.sqrt(num_panels)))
    bounds = np.array([boxes[:, 0].min(), boxes[:, 1].max(), boxes[:, 2].min(), boxes[:, 3].max()])
    start = np.zeros(cells * cells + 1, np.int64)
    members = np.empty(kernel.list_panels(boxes, bounds, cells, start, finder.members[:0], False), np.int64)
    kernel.list_panels(boxes, bounds, cells, start, members, True)
    return replace(finder, cells=cells, bounds=bounds, start=start, members=members)


def check_crystal(crystal: Crystal) -> None:
    """Reject the frame if the crystal's vectors are not finite or span no cell.

    >>> check_crystal(Crystal(np.ones((3, 3))))
    Traceback (most recent call last):
    ...
    pipeline.errors.RejectFrame: broken_crystal: a crystal's vectors span no cell: [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], ...
    """
    real = crystal.real_space_angstrom
    good = bool(np.abs(real).max() < _LONGEST_AXIS)
    if good:
        volume = abs(float(np.linalg.det(real)))
        good = volume > _FLATTEST_CELL * float(np.sqrt((real * real).sum(axis=1)).prod()) > 0.0
    if not good:
        raise RejectFrame("broken_crystal", f"a crystal's vectors span no cell: {real.tolist()}")


def predict(
    crystal: Crystal,
    finder: PanelFinder,
    profile_radius: float | None = None,
    *,
    max_q: float = math.inf,
    divergence: float = 0.0,
    bandwidth: float | None = None,
    reach: float = REACH,
) -> Reflections:
    """Return all reflections of a crystal on the detector with a partiality of at least exp(-reach^2 / 2), intensities zero.

    Those are the reflections up to `reach` profile radii off the Ewald sphere if the beam has neither bandwidth nor
    divergence. Only the lattice's centring causes absences; panels with ``no_index`` have no reflections; no index exceeds 511.

    Parameters
    ----------
    crystal
        Its cell, centring and detector shift count.
    finder
        The frame's geometry.
    profile_radius
        1/Angstrom; None takes the crystal's, or DEFAULT_PROFILE_RADIUS if that is unknown.
    max_q
        Largest 1/d, 1/Angstrom; the detector's edge limits it in any case.
    divergence
        Full angle, radians.
    bandwidth
        Standard deviation of the relative photon energy; None takes the geometry's.
    reach
        Profile radii up to which reflections are predicted.
    """
    radius = crystal.profile_radius_per_angstrom if profile_radius is None else profile_radius
    if not 0.0 < radius < math.inf:
        radius = DEFAULT_PROFILE_RADIUS
    shift = np.array(crystal.det_shift_m, np.float64)
    farthest = max(map(abs, crystal.det_shift_m))
    if farthest > finder.shift_limit_m:
        finder = PanelFinder.of(finder.geom, None, 1.1 * float(farthest))
    real = np.ascontiguousarray(crystal.real_space_angstrom, np.float64)
    # as many lattice points as the shell over the cap of the Ewald sphere up to q holds: pi q^2 x 2 reach R x V, and some more
    q = min(max_q, finder.max_q_per_angstrom)
    in_shell = 2.0 * reach * math.pi * q * q * radius * volume_of(real)
    room = 500 + int(min(1.1 * in_shell, 1e6))
    while True:
        hkl = np.empty((room, 3), np.int32)
        panel = np.empty(room, np.int32)
        floats = np.empty((4, room))
        fs, ss, error, partiality = floats
        n = kernel.predict(
            real,
            centering_code(crystal.lattice),
            finder.wave_number,
            float(radius),
            float(finder.geom.bandwidth if bandwidth is None else bandwidth),
            float(divergence),
            math.exp(-0.5 * reach * reach),
            float(max_q),
            finder.max_q_per_angstrom,
            shift,
            finder.usable,
            finder.origin_m,
            finder.normal,
            finder.dual_fs,
            finder.dual_ss,
            finder.width,
            finder.height,
            finder.bounds,
            finder.cells,
            finder.start,
            finder.members,
            hkl,
            panel,
            fs,
            ss,
            error,
            partiality,
        )
        if n <= room:
            break
        room = n
    intensity, sigma, peak, background = np.zeros((4, n))
    return Reflections(
        hkl[:n], panel[:n], fs[:n], ss[:n], intensity, sigma, peak, background, error[:n], partiality[:n]
    )


def volume_of(real_space_angstrom: NDArray[np.float64]) -> float:
    """Return a cell's volume in cubic Angstrom (numpy's determinant takes ten times as long for so small a matrix).

    >>> volume_of(np.diag([2.0, 3.0, -4.0]))
    24.0
    """
    (a, b, c), (d, e, f), (g, h, i) = real_space_angstrom.tolist()
    return float(abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)))


@dataclass(frozen=True, eq=False)
class Pairs:
    """What each of n peaks would be if it belonged to the crystal.

    Attributes
    ----------
    hkl
        int32 (n, 3), nearest indices.
    excitation_error_per_angstrom
        float64, of that reflection; NaN where there is none.
    dfs, dss
        float64, predicted minus observed position in pixels.
    fraction
        float64, largest deviation of the peak's fractional indices from integers.
    paired
        bool, whether reflection and peak lie near enough to belong together.
    """

    hkl: NDArray[np.int32]
    excitation_error_per_angstrom: NDArray[np.float64]
    dfs: NDArray[np.float64]
    dss: NDArray[np.float64]
    fraction: NDArray[np.float64]
    paired: NDArray[np.bool_]


def pair_peaks(
    real_space_angstrom: NDArray[np.float64],
    lattice: Lattice,
    shift_m: tuple[float, float],
    peaks: PeakList,
    finder: PanelFinder,
) -> Pairs:
    """Pair peaks and reflections: nearest indices, predicted nearer than a sixth of the shortest reciprocal vector."""
    n = len(peaks)
    hkl, floats, paired = np.empty((n, 3), np.int32), np.empty((4, n)), np.empty(n, np.bool_)
    error, dfs, dss, fraction = floats
    kernel.pair(
        np.ascontiguousarray(real_space_angstrom, np.float64),
        centering_code(lattice),
        finder.wave_number,
        np.array(shift_m, np.float64),
        TOLERANCE_OF_PAIRING,
        _LOW[lattice.centering],
        finder.origin_m,
        finder.fs_m,
        finder.ss_m,
        finder.normal,
        finder.dual_fs,
        finder.dual_ss,
        peaks.panel,
        peaks.fs,
        peaks.ss,
        hkl,
        error,
        dfs,
        dss,
        fraction,
        paired,
    )
    return Pairs(hkl, error, dfs, dss, fraction, paired)


def profile_radius(crystal: Crystal, peaks: PeakList, finder: PanelFinder) -> float:
    """Estimate the profile radius from the peaks, in 1/Angstrom: DEFAULT_PROFILE_RADIUS if fewer than three are paired.

    The 98th percentile of |excitation error| over the paired peaks, those left out that exceed OUTLIER_SPREAD medians: chance
    pairs, whose errors are far larger, would otherwise set the radius. (CrystFEL leaves out what exceeds 1.5
    medians; for errors distributed normally its percentile is then about one standard deviation.)
    """
    pairs = pair_peaks(crystal.real_space_angstrom, crystal.lattice, crystal.det_shift_m, peaks, finder)
    return radius_of_pairs(pairs)


def radius_of_pairs(pairs: Pairs) -> float:
    """Return the profile radius that pairs of peaks and reflections show; see :func:`profile_radius`."""
    errors = np.abs(pairs.excitation_error_per_angstrom[pairs.paired])
    errors.sort()
    if len(errors) < FEWEST_PAIRS:
        return DEFAULT_PROFILE_RADIUS
    n = int(errors.searchsorted(OUTLIER_SPREAD * errors[len(errors) // 2], side="right"))
    radius = float(errors[n - 1 - n // 50])
    return radius if radius > 0.0 else DEFAULT_PROFILE_RADIUS


def resolution_limit(crystal: Crystal, peaks: PeakList, finder: PanelFinder) -> float:
    """Estimate 1/d (1/Angstrom) to which the crystal diffracts: 0 if fewer than three peaks belong to it.

    Peaks whose fractional indices are all within 0.25 of integers belong to it; their 1/d is sorted and a fiftieth of them,
    but two at least, set aside as outliers; the next is the limit. As CrystFEL's diffraction_resolution_limit.
    """
    pairs = pair_peaks(crystal.real_space_angstrom, crystal.lattice, crystal.det_shift_m, peaks, finder)
    near = pairs.fraction < 0.25
    q = np.sort(np.linalg.norm(pairs.hkl[near] @ crystal.reciprocal_per_angstrom, axis=1))
    n = len(q)
    return float(q[n - 1 - max(2, n // 50)]) if n >= FEWEST_PAIRS else 0.0


def warm_up() -> None:
    """Compile the kernels, or load them from the cache."""
    panels = tuple(Panel(f"p{n}", max_fs=9, max_ss=9) for n in range(_GRID_FROM_PANELS))
    fs, ss, origin = (np.tile(row, (len(panels), 1)) for row in ((1e-4, 0, 0), (0, 1e-4, 0), (0, 0, 0.1)))
    bad = tuple(np.zeros((10, 10), np.uint8) for _ in panels)
    finder = PanelFinder.of(DetGeom(panels, origin, fs, ss, 1e4, origin[:, 2].copy(), bad))
    crystal = Crystal(np.eye(3) * 50.0)
    predict(crystal, finder)
    pair_peaks(
        crystal.real_space_angstrom, crystal.lattice, (0.0, 0.0), PeakList.make([0], [1.0], [1.0], [1.0]), finder
    )


def centering_code(lattice: Lattice) -> int:
    """Return the centring as the kernels know it.

    >>> centering_code(Lattice("cubic", "I"))
    4
    """
    return kernel.CENTERING_CODES.index(lattice.centering)


def shortest_reciprocal_vector(reciprocal_per_angstrom: NDArray[np.float64], lattice: Lattice) -> float:
    """Return the smallest 1/d among the reflections with indices from -1 to 1 (with centring: -2 to 2) that exist.

    >>> shortest_reciprocal_vector(np.eye(3), Lattice("cubic", "F")) == 3**0.5
    True
    """
    return float(np.linalg.norm(_LOW[lattice.centering] @ reciprocal_per_angstrom, axis=1).min())


def _low_indices(centering: str) -> NDArray[np.float64]:
    reach = 1 if centering in "PR" else 2
    steps = range(-reach, reach + 1)
    code = kernel.CENTERING_CODES.index(centering)
    is_absent = inspect.unwrap(kernel.is_absent)  # as Python: importing shall not compile
    box = [(h, k, ll) for h in steps for k in steps for ll in steps if (h, k, ll) > (0, 0, 0)]
    return np.array([hkl for hkl in box if not is_absent(code, *hkl)], np.float64)


_LOW = {centering: _low_indices(centering) for centering in kernel.CENTERING_CODES}
