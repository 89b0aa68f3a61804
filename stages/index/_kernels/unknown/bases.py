"""Bases of lattices: whether two are of one lattice, and the reduced one."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import copy, invert, reciprocal, same_lattice
from stages.compute.kernel import kernel
from stages.index._kernels.unknown.tuples import Limits

Floats = NDArray[np.float64]


@kernel
def dot(a: Floats, b: Floats) -> float:
    """Scalar product of two 3-vectors."""
    return float(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


@kernel
def same_basis(a: Floats, b: Floats, within: float) -> bool:
    """Whether two bases span one lattice; see :func:`stages.compute.algebra.same_lattice`."""
    inverse = np.empty((3, 3))
    return invert(b, inverse) != 0.0 and same_lattice(a, inverse, within)


@kernel
def reduce_basis(basis: Floats) -> None:
    """Make a basis one of the shortest vectors, in place: :func:`stages.lattices.cell.reduce_basis` without the matrix."""
    for _ in range(100):
        for i in range(2):
            for j in range(2 - i):
                if dot(basis[j + 1], basis[j + 1]) < dot(basis[j], basis[j]):
                    for x in range(3):
                        basis[j, x], basis[j + 1, x] = basis[j + 1, x], basis[j, x]
        a, b, c = basis[0], basis[1], basis[2]
        aa = dot(a, a)
        if not (aa > 0.0):
            return
        k = np.rint(dot(a, b) / aa)
        if k != 0.0:
            before = dot(b, b)
            for x in range(3):
                b[x] -= k * a[x]
            if dot(b, b) < before * (1.0 - 1e-9):
                continue
            for x in range(3):
                b[x] += k * a[x]
        ab, bb, ca, cb = dot(a, b), dot(b, b), dot(c, a), dot(c, b)
        det = aa * bb - ab * ab
        if not (det > 0.0):
            return
        u0, v0 = np.rint((ca * bb - cb * ab) / det), np.rint((cb * aa - ca * ab) / det)
        best, bu, bv = dot(c, c) * (1.0 - 1e-9), 0.0, 0.0
        for du in range(-1, 2):
            for dv in range(-1, 2):
                u, v = u0 + du, v0 + dv
                size = 0.0
                for x in range(3):
                    size += (c[x] - u * a[x] - v * b[x]) ** 2
                if size < best:
                    best, bu, bv = size, u, v
        if bu == 0.0 and bv == 0.0:
            break
        for x in range(3):
            c[x] -= bu * a[x] + bv * b[x]


@kernel
def derive(basis: Floats, w0: int, w1: int, w2: int, p: int, smaller: bool, star: Floats, to: Floats) -> bool:
    """Fill `to` with a derived lattice of index p: (w.A)/p becomes an axis, or, for the larger cell, (w.A*)/p one of A*."""
    if smaller:
        copy(basis, to)
    elif reciprocal(basis, to) == 0.0:
        return False
    axis = 0 if w0 != 0 else (1 if w1 != 0 else 2)
    for x in range(3):
        star[0, x] = (w0 * to[0, x] + w1 * to[1, x] + w2 * to[2, x]) / p
    for x in range(3):
        to[axis, x] = star[0, x]
    if not smaller:
        copy(to, star)
        return reciprocal(star, to) != 0.0
    return True


@kernel
def allowed(basis: Floats, limits: Limits) -> bool:
    """Whether a reduced basis has axes of allowed lengths."""
    return bool(
        dot(basis[0], basis[0]) >= limits.shortest**2 and dot(basis[2], basis[2]) <= (1.05 * limits.longest) ** 2
    )
