"""The centre that powder rings share: found by a search for the sharpest rings, then fitted, with its error.

A detector that is off by s smears a ring of radius R over R + s cos(azimuth - that of s), by pixels where the ring is one wide.
All rings of all frames are smeared alike, so that the radii of their peaks, counted from the right centre, lie in the fewest
bins. From there each ring's radius and the centre common to all are fitted by maximum likelihood: peaks within a few pixels of
a ring are its own, normally distributed about its radius, or others', evenly spread (a mixture, by expectation and
maximization: Dempster, Laird & Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x). So peaks of crystals pull at nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.diagnosis.steps import Steps

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REACH_PX = 20.0
"""A centre is looked for so far from where the geometry file has it."""
_FIRST_STEP, _LAST_STEP, _BEST = 4.0, 0.5, 2
"""Steps of the search, pixels, each half the one before, and how many places are followed from one to the next."""
_POINTS = 2500
"""So many peaks are searched with, evenly drawn; all are fitted."""
_CENTRES = 40
"""So many are tried with one frame."""
_WIDE_BINS = 12
"""Bins to either side that tell how many peaks there would be in one without a ring."""
_CLEAR = 3.0
"""Standard deviations by which a ring's bin is higher."""

_WINDOW_PX = 8.0
"""Peaks so near to a ring are its own or compared with them, if no other ring is nearer than twice that."""
_ROUNDS, _ENOUGH_PX = 60, 2e-4
_ROUNDS_AT_A_TIME, _CALLS = 8, 0.5
"""So many rounds go with one frame, if there are few peaks."""
_NARROWEST_PX = 0.2
_FEWEST_ON = 30
_SECTORS, _MOST_EMPTY = 12, 4
"""Rings are seen all around if in at most so many of these sectors, one after the other, there is nothing."""
_PARTS = 24
"""Sectors whose peaks err together: those of a grain of ice that stays, or of a panel that is off."""


def sharpest_centre(xy_px: Floats, starts: Sequence[tuple[float, float]]) -> Steps[Floats]:
    """Return the centre from which peaks at these places, (n, 2), lie on the sharpest rings.

    Parameters
    ----------
    starts
        Centres that are tried besides those of a grid about (0, 0).

    >>> from stages.diagnosis.steps import at_once
    >>> rng = np.random.default_rng(1)
    >>> azimuth, radius = rng.uniform(0, 6.28, 300), rng.normal(500, 0.7, 300)
    >>> ring = np.column_stack([radius * np.cos(azimuth) + 9, radius * np.sin(azimuth) - 7])
    >>> found = at_once(sharpest_centre(np.concatenate([ring, rng.uniform(-900, 900, (2000, 2))]), [(0, 0)]))
    >>> bool(np.abs(found - (9, -7)).max() <= 0.5)
    True
    """
    xy = xy_px[:: max(1, -(-len(xy_px) // _POINTS))]
    step = _FIRST_STEP
    ticks = np.arange(-REACH_PX, REACH_PX + step / 2, step)
    grid = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    tried = np.concatenate([grid[np.hypot(*grid.T) <= REACH_PX + step / 2], np.reshape(np.array(starts), (-1, 2))])
    around = np.stack(np.meshgrid([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]), -1).reshape(-1, 2)
    while True:
        scores = np.empty(len(tried))
        for n, centre in enumerate(tried):
            scores[n] = _sharpness(xy, centre, max(1.0, 0.75 * step))
            yield len(xy) / _POINTS / _CENTRES
        best = tried[np.argsort(-scores, kind="stable")[:_BEST]]
        if step <= _LAST_STEP:
            return np.asarray(best[0])
        step /= 2
        tried = np.unique((best[:, None] + step * around).reshape(-1, 2), axis=0)


def _sharpness(xy: Floats, centre: Floats, bin_px: float) -> float:
    """How far the radial histogram stands out of its running mean: squares of the standard deviations above a few, added up."""
    radius = np.sqrt((xy[:, 0] - centre[0]) ** 2 + (xy[:, 1] - centre[1]) ** 2)
    counts = np.bincount((radius / bin_px).astype(np.int64))
    total = np.concatenate([np.zeros(_WIDE_BINS + 2), np.cumsum(counts), np.full(_WIDE_BINS + 1, len(xy))])
    num = len(counts)
    at = _WIDE_BINS + 1 + np.arange(num)
    near = total[at + 2] - total[at - 1]
    wide = total[at + _WIDE_BINS + 1] - total[at - _WIDE_BINS]
    expected = (wide - near) * 3.0 / (2 * _WIDE_BINS - 2)
    excess = (near - expected) / np.sqrt(expected + 1.0) - _CLEAR
    return float((excess[excess > 0] ** 2).sum())


@dataclass(frozen=True, eq=False)
class Centre:
    """The centre of rings, and their radii, in pixels.

    Attributes
    ----------
    values
        float64 (2 + K,): the centre's x and y, and the radius of each of K rings.
    covariance
        Theirs; frames are taken to err independently, and so are sectors, whichever makes it larger.
    width_px
        Standard deviation of the radii of peaks about their ring's.
    num_peaks
        Peaks that are rings' more likely than not.
    is_all_around
        Whether they are seen in enough directions for a centre to be told.
    """

    values: Floats
    covariance: Floats
    width_px: float
    num_peaks: int
    is_all_around: bool

    @property
    def xy_px(self) -> Floats:
        """The centre, as seen from where the geometry has it."""
        return self.values[:2]

    @property
    def radii_px(self) -> Floats:
        """Of the rings."""
        return self.values[2:]

    @property
    def errors(self) -> Floats:
        """Standard errors of `values`."""
        return np.sqrt(np.diag(self.covariance))


def fit_centre(xy_px: Floats, frame: Ints, near_px: Floats, radii_px: Sequence[float]) -> Steps[Centre | None]:
    """Fit one centre and the radii of the rings; None if there are too few peaks, or the fit does not settle.

    Parameters
    ----------
    xy_px
        Peaks, (n, 2), from where the geometry has the centre.
    frame
        Which frame each is of.
    near_px, radii_px
        The centre and the radii to begin with, right within two pixels.
    """
    radii = np.array(sorted(radii_px))
    half = np.full(len(radii), _WINDOW_PX)
    gaps = np.diff(radii) / 2
    half[1:], half[:-1] = np.minimum(half[1:], gaps), np.minimum(half[:-1], gaps)
    values, width, share = np.concatenate([near_px, radii]), 1.0, np.full(len(radii), 0.5)
    for _ in range(_ROUNDS):
        there = _assign(xy_px, values, half)
        if len(there.ring) < _FEWEST_ON:
            return None
        weight = _own(there.off, half[there.ring], width, share[there.ring])
        jacobian = there.jacobian(len(radii))
        normal = (jacobian * weight[:, None]).T @ jacobian
        if np.linalg.cond(normal) > 1e10:
            return None
        step = np.linalg.solve(normal, jacobian.T @ (weight * there.off))
        values = values + step
        width = max(_NARROWEST_PX, float(np.sqrt((weight * there.off**2).sum() / max(weight.sum(), 1e-9))))
        num = np.maximum(np.bincount(there.ring, minlength=len(radii)), 1)
        share = np.clip(np.bincount(there.ring, weight, minlength=len(radii)) / num, 0.01, 0.99)
        if np.abs(step[:2]).max() < _ENOUGH_PX:
            break
        yield (_CALLS + len(there.ring) / _POINTS) / _ROUNDS_AT_A_TIME
    there = _assign(xy_px, values, half)
    if np.hypot(*(values[:2] - near_px)) > _WINDOW_PX or len(there.ring) < _FEWEST_ON:
        return None
    weight = _own(there.off, half[there.ring], width, share[there.ring])
    covariance = _covariance(there, frame[there.index], weight, width, len(radii))
    if covariance is None:
        return None
    on = weight > 0.5
    return Centre(values, covariance, width, int(on.sum()), _all_around(there, on, len(radii)))


@dataclass(frozen=True, eq=False)
class _Assigned:
    """Peaks near rings: which, of which ring, how far outside it, and in which direction from the centre."""

    index: Ints
    ring: Ints
    off: Floats
    azimuth: Floats

    def jacobian(self, num_rings: int) -> Floats:
        """How a peak's ring at its azimuth moves with the centre, and with each radius."""
        jacobian = np.zeros((len(self.ring), 2 + num_rings))
        jacobian[:, 0], jacobian[:, 1] = np.cos(self.azimuth), np.sin(self.azimuth)
        jacobian[np.arange(len(self.ring)), 2 + self.ring] = 1.0
        return jacobian


def _assign(xy_px: Floats, values: Floats, half: Floats) -> _Assigned:
    x, y = xy_px[:, 0] - values[0], xy_px[:, 1] - values[1]
    radius, radii = np.hypot(x, y), values[2:]
    ring = np.searchsorted((radii[1:] + radii[:-1]) / 2, radius)
    off = radius - radii[ring]
    index = np.flatnonzero(np.abs(off) < half[ring])
    return _Assigned(index, ring[index], off[index], np.arctan2(y[index], x[index]))


def _own(off: Floats, half: Floats, width: float, share: Floats) -> Floats:
    """The probability that a peak is its ring's."""
    ring = share * np.exp(-0.5 * (off / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return np.asarray(ring / (ring + (1.0 - share) / (2.0 * half)))


def _covariance(there: _Assigned, frame: Ints, weight: Floats, width: float, num_rings: int) -> Floats | None:
    """The sandwich of an M-estimator (Huber 1967) with clusters: what the peaks of one pull, added up, is one number drawn.

    Peaks pull with psi(off) = weight off, whose derivative, since weights depend on where a peak is, is less than the weight.
    """
    jacobian = there.jacobian(num_rings)
    slope = weight - weight * (1.0 - weight) * (there.off / width) ** 2
    bread = (jacobian * slope[:, None]).T @ jacobian
    if not np.all(np.linalg.eigvalsh(bread) > 1e-6 * np.abs(bread).max()):
        return None
    inverse = np.linalg.inv(bread)
    pull = jacobian * (weight * there.off)[:, None]
    largest: Floats | None = None
    sector = ((there.azimuth / (2 * np.pi) + 0.5) * _PARTS).astype(np.int64)
    for cluster in (frame, sector):
        names, member = np.unique(cluster, return_inverse=True)
        if len(names) <= jacobian.shape[1]:
            continue
        sums = np.zeros((len(names), jacobian.shape[1]))
        np.add.at(sums, member, pull)
        meat = sums.T @ sums * len(names) / (len(names) - jacobian.shape[1])
        covariance = inverse @ meat @ inverse
        if largest is None or np.trace(covariance[:2, :2]) > np.trace(largest[:2, :2]):
            largest = covariance
    return largest


def _all_around(there: _Assigned, on: NDArray[np.bool_], num_rings: int) -> bool:
    """Whether one ring at least is seen in enough directions."""
    for ring in range(num_rings):
        azimuth = there.azimuth[on & (there.ring == ring)]
        has = (
            np.bincount(((azimuth / (2 * np.pi) + 0.5) * _SECTORS).astype(np.int64) % _SECTORS, minlength=_SECTORS) > 0
        )
        empty = longest = 0
        for one in np.concatenate([has, has]):
            empty = 0 if one else empty + 1
            longest = max(longest, empty)
        if longest <= _MOST_EMPTY:
            return True
    return False
