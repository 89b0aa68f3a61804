"""The shift of the detector on which crystals agree, each of which knows it up to a lattice vector.

With the detector off by one reciprocal lattice vector that lies in the plane of the Ewald sphere, a frame looks the same,
with other indices: what is found is the shift modulo these vectors. They differ from crystal to crystal, and the true
shift is among those of all. So each crystal votes for all shifts that it may have, and the place with most votes is the
true one, if it has clearly more than chance would give any place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REACH_PX = 24.0
"""Shifts up to this are voted for."""
_RADIUS_PX = 1.0
"""Votes as near as this are for the same shift."""
_THIN = 0.25
"""A lattice vector moves spots alike if its component along the beam is less than this part of the spacing of the longest
axis."""
APART_PX = 2.0
"""Shifts that are nearer to each other are one."""
_FEWEST = 5
"""Crystals that must vote for a shift."""
_SURE = 8.0
"""Nats by which the votes must be more than chance gives in the best of all places."""

_STEP_PX = 0.5
_WITHIN = round(_RADIUS_PX / _STEP_PX)
_MIDDLE = round(REACH_PX / _STEP_PX) + _WITHIN
_GRID_PX = np.stack(np.meshgrid(*2 * [np.arange(-_MIDDLE, _MIDDLE + 1) * _STEP_PX], indexing="ij"), -1)
_DISC = np.array(
    [(x, y) for x in range(-_WITHIN, _WITHIN + 1) for y in range(-_WITHIN, _WITHIN + 1) if math.hypot(x, y) <= _WITHIN]
)


@dataclass(frozen=True)
class Voted:
    """What crystals agree on.

    Attributes
    ----------
    shift_m
        x and y in metres.
    num_votes, num_voters
        Crystals that may have this shift, and all.
    """

    shift_m: tuple[float, float]
    num_votes: int
    num_voters: int


def shifts_of_crystal(
    primitive_angstrom: Floats, shift_m: tuple[float, float], camera_m_angstrom: float, pixel_m: float
) -> Floats:
    """Return all shifts that a crystal may have, (n, 2) in pixels, of which one was found.

    Parameters
    ----------
    primitive_angstrom
        float64 (3, 3), rows of a primitive basis in the laboratory.
    shift_m
        That was found.
    camera_m_angstrom
        Camera length times wavelength.
    """
    star = np.linalg.inv(primitive_angstrom).T
    scale = camera_m_angstrom / pixel_m
    found = np.array(shift_m) / pixel_m
    reach = (REACH_PX + float(np.hypot(*found))) / scale
    lengths = np.linalg.norm(primitive_angstrom, axis=1)
    most = np.floor(reach * lengths * 1.02 + 0.5).astype(int)
    indices = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in most], indexing="ij"), -1).reshape(-1, 3)
    g = indices @ star
    alike = np.abs(g[:, 2]) < _THIN / lengths.max()
    shifts = found + g[alike][:, :2] * scale
    return np.asarray(shifts[np.hypot(*shifts.T) < REACH_PX])


def vote(shifts_px: Sequence[Floats], pixel_m: float, most: int = 1, sure: float = _SURE) -> list[Voted]:
    """Return the shifts on which crystals agree, that with most votes first; none that chance would bring about.

    Chance: each crystal's possible shifts lie anywhere within reach, so that the number of crystals with one in a given small
    circle follows Poisson's law; the probability of as many is bounded by Chernoff's, times the number of places.

    There may be several: on a geometry that is off by more than a lattice vector only those crystals index that look right
    there, and these all vote for no shift; but most of them for the true one, too, and for its opposite.

    Parameters
    ----------
    most
        So many are returned at most.
    sure
        Nats by which the votes must be more than chance gives in the best of all places.
    """
    voters = [shifts for shifts in shifts_px if len(shifts)]
    if len(voters) < _FEWEST:
        return []
    every = np.concatenate(voters)
    owner = np.repeat(np.arange(len(voters)), [len(shifts) for shifts in voters])
    votes = _votes_on_grid(voters)
    expected = len(voters) * chance_of(voters)
    found: list[Voted] = []
    while len(found) < most:
        top = int(votes.max())
        first = _GRID_PX[np.unravel_index(int(np.argmax(votes)), votes.shape)]
        at = best = _GRID_PX[(votes == top) & _near(first)].mean(axis=0)  # nodes all around a shift have its votes
        for _ in range(5):
            close = np.hypot(*(every - best).T) < _RADIUS_PX
            best = np.median(every[close], axis=0) if close.any() else best
        num = len(np.unique(owner[np.hypot(*(every - best).T) < _RADIUS_PX]))
        if top < _FEWEST or surprise_of(top, expected) < sure:
            break
        votes[_near(at)] = 0
        if num >= _FEWEST and all(np.hypot(*(best - np.array(one.shift_m) / pixel_m)) >= APART_PX for one in found):
            found.append(Voted((float(best[0] * pixel_m), float(best[1] * pixel_m)), num, len(voters)))
    return found


def chance_of(voters: Sequence[Floats]) -> float:
    """Return how likely a crystal votes for any place by chance, on the average."""
    return float(np.mean([1.0 - math.exp(-len(shifts) * (_RADIUS_PX / REACH_PX) ** 2) for shifts in voters]))


def surprise_of(num_votes: float, expected: float) -> float:
    """Return by how many nats so many votes are more than chance gives in the best of all places."""
    if num_votes <= expected:
        return -math.inf
    return num_votes * math.log(num_votes / expected) - num_votes + expected - math.log((REACH_PX / _STEP_PX) ** 2)


def _near(shift_px: Floats) -> NDArray[np.bool_]:
    """Which nodes of the grid are one shift with this one."""
    return np.asarray(np.linalg.norm(_GRID_PX - shift_px, axis=2) < APART_PX)


def _votes_on_grid(voters: Sequence[Floats]) -> NDArray[np.int64]:
    """How many crystals may have each shift of a grid."""
    votes = np.zeros(_GRID_PX.shape[:2], np.int64)
    for shifts in voters:
        mine = np.zeros(votes.shape, np.bool_)
        nodes = np.rint(shifts / _STEP_PX).astype(int)[:, None] + _DISC + _MIDDLE
        mine[nodes[..., 0].ravel(), nodes[..., 1].ravel()] = True
        votes += mine
    return votes
