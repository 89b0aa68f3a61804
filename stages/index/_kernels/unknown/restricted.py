"""A lattice is refined under the restrictions of a lattice type."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import apply, cholesky_solve, invert, reciprocal
from stages.compute.kernel import kernel
from stages.compute.metrics import impose
from stages.index._kernels.unknown.fit import SHIFT, fit_lattice
from stages.index._kernels.unknown.likelihood import score
from stages.index._kernels.unknown.residuals import moved_back
from stages.index._kernels.unknown.search import with_rays
from stages.index._kernels.unknown.tuples import SCORE, Candidate, workspace

Floats = NDArray[np.float64]

N_UNKNOWNS = 12
N_RESTRICTED = 3
FIRST_ACROSS_PX, FIRST_ALONG, FIRST_FRACTION = 2.0, 0.001, 0.7
"""The model at the beginning: standard errors across rays in pixels and along them in 1/Angstrom, and spots that belong."""

TURNS = np.array(
    [[[0.0, 0, 0], [0, 0, 1], [0, -1, 0]], [[0, 0, -1], [0, 0, 0], [1, 0, 0]], [[0, 1, 0], [-1, 0, 0], [0, 0, 0]]]
)
"""``star (1 + w TURNS[i])`` is turned about an axis of the laboratory by a small angle w."""


@kernel
def tangents_of(real: Floats, star: Floats, metrics: Floats, out: Floats) -> None:
    """Fill (12, k) with how a*, b*, c* and the detector shift may change: the metrics of the type (m, 3, 3), turns, x and y.

    A strain e of the crystal, ``real (1 + e)``, changes the metric by ``2 real e real^T``; the reciprocal basis becomes
    ``star (1 - e)``. Each change of it has the length 1.
    """
    inverse, product, strain, change = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    invert(real, inverse)
    n = metrics.shape[0]
    for column in range(n + 3):
        if column < n:
            apply(inverse, metrics[column], product)
            for i in range(3):
                for j in range(3):
                    value = 0.0
                    for x in range(3):
                        value += product[i, x] * inverse[j, x]
                    strain[i, j] = -0.5 * value
            apply(star, strain, change)
        else:
            apply(star, TURNS[column - n], change)
        square = 0.0
        for i in range(3):
            for j in range(3):
                square += change[i, j] * change[i, j]
        for i in range(3):
            for j in range(3):
                out[3 * i + j, column] = change[i, j] / np.sqrt(square)
        out[SHIFT, column] = out[SHIFT + 1, column] = out[SHIFT + 2, column] = 0.0
    for row in range(N_UNKNOWNS):
        out[row, n + 3] = 1.0 if row == SHIFT else 0.0
        out[row, n + 4] = 1.0 if row == SHIFT + 1 else 0.0


@kernel
def restricted_step(lower: Floats, step: Floats, tangents: Floats, out: Floats) -> bool:
    """Fill `out` with the step along the tangents that is nearest to a free one; False if there is none.

    With the Cholesky factor L of the normal equations, the free step minimizes |L^T (x - step)|; the restricted one is the
    nearest to it in that norm, over x = T y.
    """
    n, k = step.size, tangents.shape[1]
    seen, wanted = np.zeros((n, k)), np.zeros(n)
    for i in range(n):
        for j in range(i, n):
            wanted[i] += lower[j, i] * step[j]
            for c in range(k):
                seen[i, c] += lower[j, i] * tangents[j, c]
    normal, right = np.zeros((k, k)), np.zeros(k)
    for i in range(n):
        for c in range(k):
            right[c] += seen[i, c] * wanted[i]
            for d in range(c + 1):
                normal[c, d] += seen[i, c] * seen[i, d]
    if not cholesky_solve(normal, right, k):
        return False
    for i in range(n):
        out[i] = 0.0
        for c in range(k):
            out[i] += tangents[i, c] * right[c]
    return True


@kernel
def refine_restricted(
    basis: Floats,
    to_conventional: Floats,
    rotations: Floats,
    metrics: Floats,
    q: Floats,
    shift: Floats,
    k0: float,
    px: float,
    real: Floats,
    end: Floats,
) -> float:
    """Refine a lattice under a lattice type's restrictions; return S, -inf if that fails.

    Steps of the free refinement, of which only what keeps the type is taken.

    Parameters
    ----------
    basis, to_conventional
        The primitive basis, rows in Angstrom, and what makes the conventional one of it.
    rotations, metrics
        Those of the lattice type: (n, 3, 3) and (m, 3, 3).
    q, shift, k0, px
        The spots (3, n), sorted by |q|; the shift of the detector that is known already; 1 / wavelength; what a pixel is in q.
    real, end
        The conventional basis and the shift in the end; filled.
    """
    to_primitive, star, moved = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    apply(to_conventional, basis, real)
    end[0], end[1] = shift[0], shift[1]
    if invert(to_conventional, to_primitive) == 0.0 or not impose(real, rotations):
        return -np.inf
    spots = with_rays(moved_back(q, shift, k0), k0, px)
    model = np.array([FIRST_ACROSS_PX * px, FIRST_ALONG, FIRST_FRACTION])
    lattice = Candidate(np.empty((3, 3)), np.zeros(2), model, np.array([-np.inf, 0.0, 0.0]))
    apply(to_primitive, real, lattice.basis)
    room = workspace(q.shape[1])
    tangents, step = np.empty((N_UNKNOWNS, metrics.shape[0] + 5)), np.empty(N_UNKNOWNS)
    for _ in range(N_RESTRICTED):
        x, y = lattice.shift[0], lattice.shift[1]
        if reciprocal(lattice.basis, star) == 0.0:
            break
        tangents_of(real, star, metrics, tangents)
        if not fit_lattice(lattice, spots, q.shape[1], room):
            break
        if not restricted_step(room.normal, room.right, tangents, step):
            return -np.inf
        for i in range(3):
            for j in range(3):
                star[i, j] += step[3 * i + j]
        reciprocal(star, moved)
        apply(to_conventional, moved, real)
        if not impose(real, rotations):
            return -np.inf
        apply(to_primitive, real, lattice.basis)
        lattice.shift[0], lattice.shift[1] = x + step[SHIFT], y + step[SHIFT + 1]
        score(lattice, spots, room)
    end[0], end[1] = shift[0] + lattice.shift[0], shift[1] + lattice.shift[1]
    return float(lattice.result[SCORE])
