"""Prediction: where a crystal's reflections fall on the detector.

Shared by refinement, integration and whoever wants to draw predictions. Behaviour follows CrystFEL's xsphere model (White et
al. 2016, doi:10.1107/S1600576716004751); the numbers come from :mod:`stages.prediction._kernels.predict`.

>>> from stages.records.geometry import DetGeom, Panel
>>> geom = DetGeom((Panel("p", max_fs=999, max_ss=999),), np.array([[-0.05, -0.05, 0.1]]), np.array([[1e-4, 0, 0]]),
...                np.array([[0, 1e-4, 0]]), 12398.419843320026, np.array([0.1]), (np.zeros((1000, 1000), "u1"),))
>>> crystal = Crystal(np.diag([50.0, 60.0, 70.0]))
>>> reflections = predict(crystal, PanelFinder.of(geom), 0.0005)
>>> bool(np.all(reflections.partiality >= math.exp(-0.5 * REACH**2))), len(reflections) > 50
(True, True)
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline import RejectFrame
from stages.prediction._kernels import predict as kernel
from stages.prediction.centring import centering_code
from stages.prediction.estimates import DEFAULT_PROFILE_RADIUS, profile_radius, resolution_limit
from stages.prediction.panel_finder import PanelFinder
from stages.records.crystal import Crystal, Reflections
from stages.records.geometry import DetGeom, Panel
from stages.records.peaklist import PeakList

REACH = 1.7
"""A reflection is predicted up to so many profile radii off the Ewald sphere if nothing else is asked for: as CrystFEL's."""

_LONGEST_AXIS = 1e5
_FLATTEST_CELL = 1e-3
"""Longest component of an axis in Angstrom, and least ratio of a cell's volume to that of a box with its edges."""


def check_crystal(crystal: Crystal) -> None:
    """Reject the frame if the crystal's vectors are not finite or span no cell.

    >>> check_crystal(Crystal(np.ones((3, 3))))
    Traceback (most recent call last):
    ...
    pipeline.errors.RejectFrame: broken_crystal: a crystal's vectors span no cell: [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], ...
    """
    real = crystal.real_space_angstrom
    rows = real.tolist()
    # no number if one of them is none, and so not more than 0
    box_sq = math.prod([x * x + y * y + z * z for x, y, z in rows])
    good = (
        max(map(abs, (*rows[0], *rows[1], *rows[2]))) < _LONGEST_AXIS
        and volume_of(real) > _FLATTEST_CELL * math.sqrt(box_sq) > 0.0
    )
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
    sought = kernel.Sought(
        finder.wave_number,
        float(finder.geom.bandwidth if bandwidth is None else bandwidth),
        float(divergence),
        float(radius),
        math.exp(-0.5 * reach * reach),
        float(max_q),
        finder.max_q_per_angstrom,
    )
    code = centering_code(crystal.lattice)
    while True:
        hkl, panel, numbers = (
            np.empty((room, 3), np.int32),
            np.empty(room, np.int32),
            np.empty((kernel.N_NUMBERS, room)),
        )
        n = kernel.predict(real, code, shift, sought, finder.panels, finder.bounds, finder.lists, hkl, panel, numbers)
        if n <= room:
            break
        room = n
    fs, ss, error, partiality = numbers[:, :n]
    intensity, sigma, peak, background = np.zeros((4, n))
    return Reflections(hkl[:n], panel[:n], fs, ss, intensity, sigma, peak, background, error, partiality)


def volume_of(real_space_angstrom: NDArray[np.float64]) -> float:
    """Return a cell's volume in cubic Angstrom (numpy's determinant is slow for so small a matrix).

    >>> volume_of(np.diag([2.0, 3.0, -4.0]))
    24.0
    """
    (a, b, c), (d, e, f), (g, h, i) = real_space_angstrom.tolist()
    return float(abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)))


def warm_up() -> None:
    """Compile the kernels, or load them from the cache."""
    panels = tuple(Panel(f"p{n}", max_fs=9, max_ss=9) for n in range(8))
    fs, ss, origin = (np.tile(row, (len(panels), 1)) for row in ((1e-4, 0, 0), (0, 1e-4, 0), (0, 0, 0.1)))
    bad = tuple(np.zeros((10, 10), np.uint8) for _ in panels)
    finder = PanelFinder.of(DetGeom(panels, origin, fs, ss, 1e4, origin[:, 2].copy(), bad))
    crystal = Crystal(np.eye(3) * 50.0)
    predict(crystal, finder)
    peaks = PeakList.make([0], [1.0], [1.0], [1.0])
    profile_radius(crystal, peaks, finder)
    resolution_limit(crystal, peaks, finder)
