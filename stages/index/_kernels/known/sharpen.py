"""Sharpening: a basis is refined with what is known of a spot, sharp across its ray and broad along it."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import align, cholesky_solve, invert, median, turn
from stages.compute.kernel import kernel
from stages.index._kernels.known.polish import PRIOR
from stages.index._kernels.known.tuples import Pattern, Room
from stages.index._kernels.spots import MIN_SPOTS

Floats = NDArray[np.float64]


SHIFT_PX = 2.0
STRAIN_WEIGHT = 0.25  # residuals of a quarter of the squared scale, on the average, are what the priors weigh against
SCALED, STRAINED, SHIFTED = 4, 9, 11  # what may change: turn and scale, turn and strain, a shift as well


@kernel
def residuals(
    basis: Floats,
    inverse: Floats,
    shift: Floats,
    spots: Floats,
    k0: float,
    across: Floats,
    along: Floats,
    worst: Floats,
) -> None:
    """Take the residual q - s - A^-1 h of each spot apart, into its parts across and along the ray; and its misfit.

    The ray is the direction of q + k0 z; s is what a shift of the detector makes of the spot: the part of ``cos(2 theta)
    (shift_x, shift_y, 0)`` across the ray.
    """
    for k in range(spots.shape[1]):
        x, y, z = spots[0, k], spots[1, k], spots[2, k]
        norm = np.sqrt(x * x + y * y + (z + k0) * (z + k0))
        ux, uy, uz = x / norm, y / norm, (z + k0) / norm
        on_ray = ux * shift[0] + uy * shift[1]
        x -= uz * (shift[0] - on_ray * ux)
        y -= uz * (shift[1] - on_ray * uy)
        z += uz * on_ray * uz
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
        along[k] = abs(on_ray)
        across[k] = np.sqrt(max(0.0, r0 * r0 + r1 * r1 + r2 * r2 - on_ray * on_ray))
        worst[k] = 1.0 if zero else largest


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
    spots, k0, px, scratch = pattern.spots, pattern.k0, pattern.px, room.scratch
    n = spots.shape[1]
    rigid, inverse, change = scratch[2], scratch[0], np.empty((3, 3))
    across, along, worst, middle = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    normal, right, row = np.empty((11, 11)), np.empty(11), np.empty((3, 11))
    align(target, basis, rigid, scratch)
    for _ in range(n_cycles):
        if invert(basis, inverse) == 0.0:
            return
        residuals(basis, inverse, shift, spots, k0, across, along, worst)
        m = 0
        for k in range(n):
            if worst[k] < 0.25:
                middle[m] = across[k]
                m += 1
        if m < MIN_SPOTS:
            return
        across_scale = max(px, 2.0 * median(middle[:m]))
        m = 0
        for k in range(n):
            if worst[k] < 0.25:
                middle[m] = along[k]
                m += 1
        along_scale = max(px, 2.0 * median(middle[:m]))
        for a in range(n_free):
            right[a] = 0.0
            for b in range(n_free):
                normal[a, b] = 0.0
        if invert(rigid, change) == 0.0:
            return
        for k in range(n):
            if not (worst[k] < 0.25):
                continue
            weight = 1.0 / (1.0 + (across[k] / across_scale) ** 2) ** 2 / (1.0 + (along[k] / along_scale) ** 2) ** 2
            x, y, z = spots[0, k], spots[1, k], spots[2, k]
            norm = np.sqrt(x * x + y * y + (z + k0) * (z + k0))
            ux, uy, uz = x / norm, y / norm, (z + k0) / norm
            on_ray = ux * shift[0] + uy * shift[1]
            sx, sy, sz = uz * (shift[0] - on_ray * ux), uz * (shift[1] - on_ray * uy), -uz * on_ray * uz
            p0 = p1 = p2 = 0.0
            for i in range(3):
                h = np.rint(basis[i, 0] * (x - sx) + basis[i, 1] * (y - sy) + basis[i, 2] * (z - sz))
                p0 += change[0, i] * h
                p1 += change[1, i] * h
                p2 += change[2, i] * h
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
            r0, r1, r2 = x - p0, y - p1, z - p2
            wa, wl = weight / across_scale**2, weight / along_scale**2
            for a in range(n_free):  # W = wa (1 - u u^T) + wl u u^T
                c = (wl - wa) * (ux * row[0, a] + uy * row[1, a] + uz * row[2, a])
                w0, w1, w2 = wa * row[0, a] + c * ux, wa * row[1, a] + c * uy, wa * row[2, a] + c * uz
                right[a] += w0 * r0 + w1 * r1 + w2 * r2
                for b in range(a + 1):
                    normal[a, b] += w0 * row[0, b] + w1 * row[1, b] + w2 * row[2, b]
        trace = normal[0, 0] + normal[1, 1] + normal[2, 2]
        for a in range(3):
            normal[a, a] += 1e-6 * trace
        for a in range(3, min(n_free, 9)):  # an element off the diagonal stands for two
            normal[a, a] += (1.0 if a < 6 else 2.0) / (PRIOR * PRIOR) * STRAIN_WEIGHT
        for a in range(9, n_free):
            normal[a, a] += STRAIN_WEIGHT / (SHIFT_PX * px) ** 2
        if not cholesky_solve(normal, right, n_free):
            return
        if not (right[0] ** 2 + right[1] ** 2 + right[2] ** 2 < 0.04):
            return
        if n_free == SHIFTED:
            shift[0], shift[1] = right[9], right[10]
        turn(rigid, right[0], right[1], right[2])
        # A = T (1 + E)^-1
        if n_free == SCALED:
            right[4] = right[5] = right[3]
            right[6] = right[7] = right[8] = 0.0
        change[0, 0], change[1, 1], change[2, 2] = 1.0 + right[3], 1.0 + right[4], 1.0 + right[5]
        change[0, 1] = change[1, 0] = right[6]
        change[0, 2] = change[2, 0] = right[7]
        change[1, 2] = change[2, 1] = right[8]
        if invert(change, inverse) == 0.0:
            return
        for i in range(3):
            t0, t1, t2 = rigid[i, 0], rigid[i, 1], rigid[i, 2]
            for j in range(3):
                basis[i, j] = t0 * inverse[0, j] + t1 * inverse[1, j] + t2 * inverse[2, j]
