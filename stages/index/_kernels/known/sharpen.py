"""Sharpening: a basis is refined with what is known of a spot, sharp across its ray and broad along it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import align, cholesky_solve, invert, turn
from stages.compute.kernel import kernel
from stages.index._kernels.known.polish import PRIOR
from stages.index._kernels.known.residuals import (
    Residuals,
    displacement,
    ray_of,
    residuals,
    room_for_residuals,
    typical,
)
from stages.index._kernels.known.tuples import Pattern, Room
from stages.index._kernels.spots import MIN_SPOTS

Floats = NDArray[np.float64]


SHIFT_PX = 2.0
STRAIN_WEIGHT = 0.25  # residuals of a quarter of the squared scale, on the average, are what the priors weigh against
SCALED, STRAINED, SHIFTED = 4, 9, 11  # what may change: turn and scale, turn and strain, a shift as well
FIRST_STRAIN, FIRST_SHIFT = 3, 9  # places among the unknowns: w (3), E (xx, yy, zz, xy, xz, yz), s (x, y)


class Equations(NamedTuple):
    """The normal equations of one cycle: the matrix (11, 11), of which the lower triangle counts, and the right side (11)."""

    matrix: Floats
    right: Floats


@kernel
def sharpen(
    basis: Floats, target: Floats, shift: Floats, n_free: int, n_cycles: int, pattern: Pattern, room: Room
) -> None:
    """Refine a basis with what is known of residuals: sharp across the ray, broad along it, spurious spots off both.

    A true spot may lie off its lattice point along its own ray, since reflections are seen at some distance from the Ewald
    sphere, but across the ray only by the error of its position. About the target T turned onto the basis, with
    p = T^-1 h, the residual is to first order

        q - p = w x p + E p + s,

    w a rotation vector, E a symmetric strain (prior: 0 +- 0.5 %), s the detector's shift (prior: 0 +- 2 pixels). `n_free` is
    11 for all of them, 9 without the shift, and 4 if of the strain there is only the scale (a wrong distance or wavelength
    looks like that, too): few spots do not bear more. Weighted least squares, the parts across and along the ray by their
    scales, twice the medians of the explained spots (at least a pixel), each spot by Geman and McClure's weights of both
    parts, ``1 / (1 + (r/scale)^2)^2``: spurious spots that happen to lie near a lattice point do not pull. Then
    ``A^-1 = (1 + E) T^-1`` with T turned by w.
    """
    px, scratch = pattern.px, room.scratch
    rigid, inverse = scratch[2], scratch[0]
    off = room_for_residuals(pattern.spots.shape[1])
    equations = Equations(np.empty((11, 11)), np.empty(11))
    right, scales = equations.right, np.empty(2)
    align(target, basis, rigid, scratch)
    for _ in range(n_cycles):
        if invert(basis, inverse) == 0.0:
            return
        residuals(basis, inverse, shift, pattern.spots, pattern.k0, off)
        across, m = typical(off.across, off.misfit)
        if m < MIN_SPOTS:
            return
        scales[0], scales[1] = max(px, 2.0 * across), max(px, 2.0 * typical(off.along, off.misfit)[0])
        if invert(rigid, inverse) == 0.0:
            return
        add_spots(basis, inverse, shift, n_free, pattern, off, scales, equations)
        add_priors(n_free, px, equations)
        if not cholesky_solve(equations.matrix, right, n_free):
            return
        if not (right[0] ** 2 + right[1] ** 2 + right[2] ** 2 < 0.04):
            return
        if n_free == SHIFTED:
            shift[0], shift[1] = right[FIRST_SHIFT], right[FIRST_SHIFT + 1]
        turn(rigid, right[0], right[1], right[2])
        if not strain(rigid, right, n_free, basis, inverse):
            return


@kernel
def add_spots(
    basis: Floats,
    rigid_inverse: Floats,
    shift: Floats,
    n_free: int,
    pattern: Pattern,
    off: Residuals,
    scales: Floats,
    equations: Equations,
) -> None:
    """Begin the normal equations: the sums over the spots with a misfit below 0.25.

    With the scales across and along the ray u, a residual counts by ``W = wa (1 - u u^T) + wl u u^T``, wa and wl the spot's
    weight over the squared scales.
    """
    spots, k0, matrix, right = pattern.spots, pattern.k0, equations.matrix, equations.right
    across_scale, along_scale = scales[0], scales[1]
    row = np.empty((3, 11))
    for a in range(n_free):
        right[a] = 0.0
        for b in range(n_free):
            matrix[a, b] = 0.0
    for k in range(spots.shape[1]):
        if not (off.misfit[k] < 0.25):
            continue
        weight = 1.0 / (1.0 + (off.across[k] / across_scale) ** 2) ** 2 / (1.0 + (off.along[k] / along_scale) ** 2) ** 2
        x, y, z = spots[0, k], spots[1, k], spots[2, k]
        ux, uy, uz = ray_of(x, y, z, k0)
        sx, sy, sz = displacement(ux, uy, uz, shift)
        p0 = p1 = p2 = 0.0
        for i in range(3):
            h = np.rint(basis[i, 0] * (x - sx) + basis[i, 1] * (y - sy) + basis[i, 2] * (z - sz))
            p0 += rigid_inverse[0, i] * h
            p1 += rigid_inverse[1, i] * h
            p2 += rigid_inverse[2, i] * h
        derivatives(p0, p1, p2, ux, uy, uz, n_free, row)
        r0, r1, r2 = x - p0, y - p1, z - p2
        wa, wl = weight / across_scale**2, weight / along_scale**2
        for a in range(n_free):
            c = (wl - wa) * (ux * row[0, a] + uy * row[1, a] + uz * row[2, a])
            w0, w1, w2 = wa * row[0, a] + c * ux, wa * row[1, a] + c * uy, wa * row[2, a] + c * uz
            right[a] += w0 * r0 + w1 * r1 + w2 * r2
            for b in range(a + 1):
                matrix[a, b] += w0 * row[0, b] + w1 * row[1, b] + w2 * row[2, b]


@kernel
def derivatives(p0: float, p1: float, p2: float, ux: float, uy: float, uz: float, n_free: int, row: Floats) -> None:
    """Fill (3, 11) `row` with what each unknown adds to a spot at p with the ray u: ``w x p``, ``E p``, and s."""
    for a in range(11):
        row[0, a] = row[1, a] = row[2, a] = 0.0
    row[0, 1], row[0, 2] = p2, -p1  # w x p
    row[1, 0], row[1, 2] = -p2, p0
    row[2, 0], row[2, 1] = p1, -p0
    row[0, 3], row[1, 4], row[2, 5] = p0, p1, p2  # E p
    if n_free == SCALED:
        row[1, 3], row[2, 3] = p1, p2
    row[0, 6], row[1, 6] = p1, p0
    row[0, 7], row[2, 7] = p2, p0
    row[1, 8], row[2, 8] = p2, p1
    row[0, 9], row[1, 9], row[2, 9] = uz * (1.0 - ux * ux), -uz * ux * uy, -uz * ux * uz
    row[0, 10], row[1, 10], row[2, 10] = -uz * ux * uy, uz * (1.0 - uy * uy), -uz * uy * uz


@kernel
def add_priors(n_free: int, px: float, equations: Equations) -> None:
    """Add the priors of the strain and of the shift to the normal equations, and a little that keeps the turn small."""
    matrix = equations.matrix
    trace = matrix[0, 0] + matrix[1, 1] + matrix[2, 2]
    for a in range(3):
        matrix[a, a] += 1e-6 * trace
    for a in range(FIRST_STRAIN, min(n_free, FIRST_SHIFT)):  # an element off the diagonal stands for two
        matrix[a, a] += (1.0 if a < 6 else 2.0) / (PRIOR * PRIOR) * STRAIN_WEIGHT
    for a in range(FIRST_SHIFT, n_free):
        matrix[a, a] += STRAIN_WEIGHT / (SHIFT_PX * px) ** 2


@kernel
def strain(rigid: Floats, solution: Floats, n_free: int, basis: Floats, inverse: Floats) -> bool:
    """Make the basis ``A = T (1 + E)^-1`` of the turned target T and the strain in the solution; False if there is none."""
    if n_free == SCALED:
        solution[4] = solution[5] = solution[3]
        solution[6] = solution[7] = solution[8] = 0.0
    change = np.empty((3, 3))
    change[0, 0], change[1, 1], change[2, 2] = 1.0 + solution[3], 1.0 + solution[4], 1.0 + solution[5]
    change[0, 1] = change[1, 0] = solution[6]
    change[0, 2] = change[2, 0] = solution[7]
    change[1, 2] = change[2, 1] = solution[8]
    if invert(change, inverse) == 0.0:
        return False
    for i in range(3):
        t0, t1, t2 = rigid[i, 0], rigid[i, 1], rigid[i, 2]
        for j in range(3):
            basis[i, j] = t0 * inverse[0, j] + t1 * inverse[1, j] + t2 * inverse[2, j]
    return True
