"""How far spots are from their lattice points: sharp across the ray of a spot, broad along it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import median
from stages.compute.kernel import kernel

Floats = NDArray[np.float64]


class Residuals(NamedTuple):
    """Of each spot, (n).

    Attributes
    ----------
    across, along
        The parts of q - s - A^-1 h across and along the spot's ray, in 1/Angstrom, both positive.
    misfit
        max |h - round(h)|, and 1 where all three indices round to 0.
    """

    across: Floats
    along: Floats
    misfit: Floats


@kernel
def room_for_residuals(n: int) -> Residuals:
    """Return arrays for so many spots."""
    return Residuals(np.empty(n), np.empty(n), np.empty(n))


@kernel
def ray_of(x: float, y: float, z: float, k0: float) -> tuple[float, float, float]:
    """Return the unit vector along the ray of a spot, the direction of q + k0 z."""
    norm = np.sqrt(x * x + y * y + (z + k0) * (z + k0))
    return x / norm, y / norm, (z + k0) / norm


@kernel
def displacement(ux: float, uy: float, uz: float, shift: Floats) -> tuple[float, float, float]:
    """Return s, what a shift of the detector makes of the spot with the ray u.

    It is the part of ``cos(2 theta) (shift_x, shift_y, 0)`` across the ray.
    """
    on_ray = ux * shift[0] + uy * shift[1]
    return uz * (shift[0] - on_ray * ux), uz * (shift[1] - on_ray * uy), -uz * on_ray * uz


@kernel
def residuals(basis: Floats, inverse: Floats, shift: Floats, spots: Floats, k0: float, out: Residuals) -> None:
    """Take the residual q - s - A^-1 h of each spot apart, into its parts across and along the ray; and its misfit."""
    for k in range(spots.shape[1]):
        x, y, z = spots[0, k], spots[1, k], spots[2, k]
        ux, uy, uz = ray_of(x, y, z, k0)
        sx, sy, sz = displacement(ux, uy, uz, shift)
        x -= sx
        y -= sy
        z -= sz
        largest = 0.0
        r0, r1, r2 = x, y, z
        zero = True
        for i in range(3):
            f = basis[i, 0] * x + basis[i, 1] * y + basis[i, 2] * z
            h = np.rint(f)
            zero = zero and h == 0.0
            largest = max(largest, abs(f - h))
            r0 -= inverse[0, i] * h
            r1 -= inverse[1, i] * h
            r2 -= inverse[2, i] * h
        on_ray = r0 * ux + r1 * uy + r2 * uz
        out.along[k] = abs(on_ray)
        out.across[k] = np.sqrt(max(0.0, r0 * r0 + r1 * r1 + r2 * r2 - on_ray * on_ray))
        out.misfit[k] = 1.0 if zero else largest


@kernel
def typical(values: Floats, misfit: Floats) -> tuple[float, int]:
    """Return the median of the values of the spots with a misfit below 0.25, infinity if there is none, and their number."""
    chosen = np.empty(values.size)
    m = 0
    for k in range(values.size):
        if misfit[k] < 0.25:
            chosen[m] = values[k]
            m += 1
    return (median(chosen[:m]) if m > 0 else np.inf), m
