"""From a spot to its indices in a lattice, and how far it is from there."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import FAST, kernel
from stages.index._kernels.known.residuals import displacement, ray_of

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@kernel
def centre(q: Floats, shift: Floats, to: Floats) -> None:
    """Fill `to` with the spots less a shift of the detector."""
    for k in range(q.shape[1]):
        to[0, k], to[1, k], to[2, k] = q[0, k] - shift[0], q[1, k] - shift[1], q[2, k]


@kernel
def moved_back(q: Floats, shift: Floats, k0: float) -> Floats:
    """Return the spots, (3, n), without a shift of the detector: less its :func:`displacement`; k0 is 1 / wavelength."""
    back = np.empty(q.shape)
    for k in range(q.shape[1]):
        ux, uy, uz = ray_of(q[0, k], q[1, k], q[2, k], k0)
        x, y, z = displacement(ux, uy, uz, shift)
        back[0, k], back[1, k], back[2, k] = q[0, k] - x, q[1, k] - y, q[2, k] - z
    return back


@kernel(fastmath=FAST)
def residual(
    basis: Floats, star: Floats, shift: Floats, q: Floats, k: int
) -> tuple[float, float, float, float, float, float]:
    """Return the indices of spot k, h = round(A (q - s)), and its residual, r = q - s - sum h_j a*_j."""
    x, y, z = q[0, k] - shift[0], q[1, k] - shift[1], q[2, k]
    h0 = np.rint(basis[0, 0] * x + basis[0, 1] * y + basis[0, 2] * z)
    h1 = np.rint(basis[1, 0] * x + basis[1, 1] * y + basis[1, 2] * z)
    h2 = np.rint(basis[2, 0] * x + basis[2, 1] * y + basis[2, 2] * z)
    r0 = x - h0 * star[0, 0] - h1 * star[1, 0] - h2 * star[2, 0]
    r1 = y - h0 * star[0, 1] - h1 * star[1, 1] - h2 * star[2, 1]
    r2 = z - h0 * star[0, 2] - h1 * star[1, 2] - h2 * star[2, 2]
    return h0, h1, h2, r0, r1, r2


@kernel
def off_plane(v: Floats, phase: float, q: Floats, k: int) -> float:
    """Return how far spot k is from the nearest plane of a vector, t.q - p = integer, in indices, with its sign."""
    f = v[0] * q[0, k] + v[1] * q[1, k] + v[2] * q[2, k] - phase
    return float(f - np.rint(f))


@kernel
def indices_within(basis: Floats, shift: Floats, q: Floats, tolerance: float, indices: Integers) -> int:
    """Fill `indices` (n + 1, 3) with those of the spots that are within a tolerance of whole ones; return how many."""
    m = 0
    for k in range(q.shape[1]):
        x, y, z = q[0, k] - shift[0], q[1, k] - shift[1], q[2, k]
        worst = 0.0
        for i in range(3):
            f = basis[i, 0] * x + basis[i, 1] * y + basis[i, 2] * z
            indices[m, i] = int(np.rint(f))
            worst = max(worst, abs(f - np.rint(f)))
        m += worst < tolerance
    return m
