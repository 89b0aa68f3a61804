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
_SURE = 8.0
"""Nats by which the votes must be more than chance gives in the best of all places."""


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


def vote(shifts_px: Sequence[Floats], pixel_m: float) -> Voted | None:
    """Return the shift on which crystals agree; None if there is none that chance would not bring about.

    Chance: each crystal's possible shifts lie anywhere within reach, so that the number of crystals with one in a given small
    circle follows Poisson's law; the probability of as many is bounded by Chernoff's, times the number of places.
    """
    voters = [shifts for shifts in shifts_px if len(shifts)]
    if len(voters) < 5:
        return None
    every = np.concatenate(voters)
    owner = np.repeat(np.arange(len(voters)), [len(shifts) for shifts in voters])
    near = np.hypot(*(every[:, None] - every[None]).transpose(2, 0, 1)) < _RADIUS_PX
    order = np.zeros((len(every), len(voters)), np.bool_)
    for n in range(len(voters)):
        order[:, n] = near[:, owner == n].any(axis=1)
    votes = order.sum(axis=1)
    best = every[int(np.argmax(votes))]
    for _ in range(5):
        close = np.hypot(*(every - best).T) < _RADIUS_PX
        best = np.median(every[close], axis=0)
    num = len(np.unique(owner[np.hypot(*(every - best).T) < _RADIUS_PX]))
    expected = sum(1.0 - math.exp(-len(shifts) * (_RADIUS_PX / REACH_PX) ** 2) for shifts in voters)
    if num < 5 or num <= expected:
        return None
    surprise = num * math.log(num / expected) - num + expected - math.log(len(every))
    if surprise < _SURE:
        return None
    return Voted((float(best[0] * pixel_m), float(best[1] * pixel_m)), num, len(voters))
