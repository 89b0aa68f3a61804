"""Small linear algebra for kernels: 3x3 matrices, rotations, symmetric systems, searches in sorted arrays.

A basis holds its vectors in its rows. What is returned by filling an array may not be one of the arrays that are read, unless
it is said to be.
"""

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel

Floats = NDArray[np.float64]


@kernel
def invert(m: Floats, out: Floats) -> float:
    """Invert a 3x3 matrix; return its determinant (0: `out` is not touched)."""
    c00 = m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1]
    c01 = m[1, 2] * m[2, 0] - m[1, 0] * m[2, 2]
    c02 = m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0]
    det = m[0, 0] * c00 + m[0, 1] * c01 + m[0, 2] * c02
    if det == 0.0:
        return 0.0
    s = 1.0 / det
    o01 = (m[0, 2] * m[2, 1] - m[0, 1] * m[2, 2]) * s
    o02 = (m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1]) * s
    o11 = (m[0, 0] * m[2, 2] - m[0, 2] * m[2, 0]) * s
    o12 = (m[0, 2] * m[1, 0] - m[0, 0] * m[1, 2]) * s
    o21 = (m[0, 1] * m[2, 0] - m[0, 0] * m[2, 1]) * s
    o22 = (m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]) * s
    out[0, 0], out[1, 0], out[2, 0] = c00 * s, c01 * s, c02 * s
    out[0, 1], out[0, 2] = o01, o02
    out[1, 1], out[1, 2], out[2, 1], out[2, 2] = o11, o12, o21, o22
    return float(det)


@kernel
def reciprocal(basis: Floats, out: Floats) -> float:
    """Fill `out` with the rows a*, b*, c*, the transposed inverse; return the volume with its sign, 0 if there is none."""
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        out[i, 0] = basis[j, 1] * basis[k, 2] - basis[j, 2] * basis[k, 1]
        out[i, 1] = basis[j, 2] * basis[k, 0] - basis[j, 0] * basis[k, 2]
        out[i, 2] = basis[j, 0] * basis[k, 1] - basis[j, 1] * basis[k, 0]
    volume = basis[0, 0] * out[0, 0] + basis[0, 1] * out[0, 1] + basis[0, 2] * out[0, 2]
    if volume == 0.0 or not np.isfinite(volume):
        return 0.0
    for i in range(3):
        for j in range(3):
            out[i, j] /= volume
    return float(volume)


@kernel
def copy(source: Floats, to: Floats) -> None:
    """Copy a 3x3 matrix (an assignment of slices takes numba seconds to compile)."""
    for i in range(3):
        for j in range(3):
            to[i, j] = source[i, j]


@kernel
def apply(matrix: Floats, basis: Floats, to: Floats) -> None:
    """Matrix product of 3x3 matrices: another basis of the same lattice."""
    for i in range(3):
        for j in range(3):
            to[i, j] = matrix[i, 0] * basis[0, j] + matrix[i, 1] * basis[1, j] + matrix[i, 2] * basis[2, j]


@kernel
def determinant(m: Floats) -> float:
    """The determinant of a 3x3 matrix."""
    return float(
        m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1])
        - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
        + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0])
    )


@kernel
def smallest_eigenvalue(m: Floats) -> float:
    """The smallest eigenvalue of a symmetric 3x3 matrix, from the angle of Smith (1961, https://doi.org/10.1145/355578.366316).

    The matrix becomes its deviator, ``m`` less a third of its trace.
    """
    mean = (m[0, 0] + m[1, 1] + m[2, 2]) / 3.0
    p = (m[0, 0] - mean) ** 2 + (m[1, 1] - mean) ** 2 + (m[2, 2] - mean) ** 2
    p = np.sqrt((p + 2.0 * (m[0, 1] ** 2 + m[0, 2] ** 2 + m[1, 2] ** 2)) / 6.0)
    if p == 0.0:
        return float(mean)
    for i in range(3):
        m[i, i] -= mean
    angle = np.arccos(min(1.0, max(-1.0, determinant(m) / (2.0 * p**3)))) / 3.0
    return float(mean + 2.0 * p * np.cos(angle + 2.0 * np.pi / 3.0))


@kernel
def solve_symmetric(
    xx: float, xy: float, xz: float, yy: float, yz: float, zz: float, b0: float, b1: float, b2: float
) -> tuple[float, float, float]:
    """Solve a symmetric positive definite 3x3 system by cofactors."""
    c0 = yy * zz - yz * yz
    c1 = xz * yz - xy * zz
    c2 = xy * yz - xz * yy
    det = xx * c0 + xy * c1 + xz * c2
    if det == 0.0:
        return 0.0, 0.0, 0.0
    s = 1.0 / det
    c3 = xx * zz - xz * xz
    c4 = xy * xz - xx * yz
    c5 = xx * yy - xy * xy
    return (c0 * b0 + c1 * b1 + c2 * b2) * s, (c1 * b0 + c3 * b1 + c4 * b2) * s, (c2 * b0 + c4 * b1 + c5 * b2) * s


@kernel
def cholesky(m: Floats, n: int) -> bool:
    """Replace the lower triangle of a symmetric n x n matrix by its Cholesky factor; False if it is not positive definite."""
    for i in range(n):
        for j in range(i + 1):
            v = m[i, j]
            for k in range(j):
                v -= m[i, k] * m[j, k]
            if i == j:
                if not (v > 0.0):
                    return False
                m[i, i] = np.sqrt(v)
            else:
                m[i, j] = v / m[j, j]
    return True


@kernel
def cholesky_solve(m: Floats, b: Floats, n: int) -> bool:
    """Solve a symmetric positive definite n x n system in place (its lower triangle is read); False if it is not."""
    if not cholesky(m, n):
        return False
    for i in range(n):
        v = b[i]
        for k in range(i):
            v -= m[i, k] * b[k]
        b[i] = v / m[i, i]
    for i in range(n - 1, -1, -1):
        v = b[i]
        for k in range(i + 1, n):
            v -= m[k, i] * b[k]
        b[i] = v / m[i, i]
    return True


@kernel
def turn(basis: Floats, wx: float, wy: float, wz: float) -> None:
    """Turn the rows of a basis by a rotation vector (Rodrigues)."""
    angle = np.sqrt(wx * wx + wy * wy + wz * wz)
    if angle < 1e-12:
        return
    ux, uy, uz = wx / angle, wy / angle, wz / angle
    c, s = np.cos(angle), np.sin(angle)
    for i in range(3):
        x, y, z = basis[i, 0], basis[i, 1], basis[i, 2]
        along = (ux * x + uy * y + uz * z) * (1.0 - c)
        basis[i, 0] = x * c + (uy * z - uz * y) * s + ux * along
        basis[i, 1] = y * c + (uz * x - ux * z) * s + uy * along
        basis[i, 2] = z * c + (ux * y - uy * x) * s + uz * along


@kernel
def align(target: Floats, basis: Floats, rigid: Floats, scratch: Floats) -> bool:
    """Turn the target onto a basis: `rigid` becomes target R^T, R the orthogonal factor of target^-1 basis.

    False if there is none. Newton's iteration X <- (X + X^-T) / 2 for the polar decomposition (Higham, 1986, https://doi.org/10.1137/0907079).
    """
    inverse, x = scratch[0], scratch[1]
    if invert(target, inverse) == 0.0:
        return False
    for i in range(3):
        for j in range(3):
            x[i, j] = inverse[i, 0] * basis[0, j] + inverse[i, 1] * basis[1, j] + inverse[i, 2] * basis[2, j]
    for _ in range(12):
        if invert(x, inverse) == 0.0:
            return False
        change = 0.0
        for i in range(3):
            for j in range(3):
                new = 0.5 * (x[i, j] + inverse[j, i])
                change = max(change, abs(new - x[i, j]))
                x[i, j] = new
        if change < 1e-12:
            break
    for i in range(3):
        for j in range(3):
            rigid[i, j] = target[i, 0] * x[0, j] + target[i, 1] * x[1, j] + target[i, 2] * x[2, j]
    return True


@kernel
def frame_of(u: Floats, v: Floats, frame: Floats) -> None:
    """Orthonormal rows: u + v, u - v, and their cross product, for unit vectors u and v."""
    for i in range(3):
        frame[0, i] = u[i] + v[i]
        frame[1, i] = u[i] - v[i]
    for r in range(2):
        s = 1.0 / np.sqrt(frame[r, 0] ** 2 + frame[r, 1] ** 2 + frame[r, 2] ** 2)
        for i in range(3):
            frame[r, i] *= s
    frame[2, 0] = frame[0, 1] * frame[1, 2] - frame[0, 2] * frame[1, 1]
    frame[2, 1] = frame[0, 2] * frame[1, 0] - frame[0, 0] * frame[1, 2]
    frame[2, 2] = frame[0, 0] * frame[1, 1] - frame[0, 1] * frame[1, 0]


@kernel
def carry(target: Floats, frame: Floats, lab: Floats, basis: Floats) -> None:
    """Turn the target's rows by the rotation that takes `frame` to `lab` (both orthonormal rows)."""
    for i in range(3):
        t0, t1, t2 = target[i, 0], target[i, 1], target[i, 2]
        c0 = frame[0, 0] * t0 + frame[0, 1] * t1 + frame[0, 2] * t2
        c1 = frame[1, 0] * t0 + frame[1, 1] * t1 + frame[1, 2] * t2
        c2 = frame[2, 0] * t0 + frame[2, 1] * t1 + frame[2, 2] * t2
        for j in range(3):
            basis[i, j] = c0 * lab[0, j] + c1 * lab[1, j] + c2 * lab[2, j]


@kernel
def same_lattice(a: Floats, b_inverse: Floats, within: float) -> bool:
    """Whether two bases span one lattice: a b^-1 is within `within` of an integer matrix of determinant 1 or -1."""
    m = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            v = a[i, 0] * b_inverse[0, j] + a[i, 1] * b_inverse[1, j] + a[i, 2] * b_inverse[2, j]
            m[i, j] = np.rint(v)
            if not (abs(v - m[i, j]) < within):
                return False
    return bool(abs(determinant(m)) == 1.0)


@kernel
def median(values: Floats) -> float:
    """The middle one of the values (of an even number, the upper of the two)."""
    return float(values[np.argsort(values)[values.size // 2]])


@kernel
def first_not_below(values: Floats, limit: float) -> int:
    """The first place in an ascending array whose value is at least `limit`."""
    low, high = 0, values.size
    while low < high:
        middle = (low + high) // 2
        if values[middle] < limit:
            low = middle + 1
        else:
            high = middle
    return low
