"""Unknown-cell indexing on plain arrays: a lattice that explains one still's spots, from the spots alone.

One file, and above 400 lines, because numba's cache watches only the file of the outer function: all callees stand here.

Units and names: q in 1/Angstrom (without 2 pi), spots as (n, 3) arrays sorted by |q|, the beam along z. A basis holds a, b, c
in its rows, so that the indices of a spot are ``h = A (q - s)``, s being a small shift of the detector.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]
Words = NDArray[np.uint64]


class Room(NamedTuple):
    """Arrays that are filled anew and again."""

    normal: Floats
    right: Floats
    star: Floats
    residuals: Floats


FAST = {"reassoc", "contract", "nsz", "arcp"}  # no "nnan": what is not a number must not count as agreement
MIN_SPOTS = 6
MASK_SPOTS = 128
N_VECTORS, N_TRIPLES, COMPLETED = 28, 64, 5  # the highest summits hold the short vectors; more bring in chance triples
FIRST_SPOTS, MORE_SPOTS, FAR_SPOTS, FEWEST_SPOTS, MANY_SPOTS = (
    40,
    200,
    60,
    18,
    100,
)  # how many of the lowest are transformed
FIRST_AXIS, FARTHEST = 130.0, 220.0
POLISHED_FROM = 12
N_NETS, N_AGAIN, N_PAIRS = 3, 4, 24
PROMISING = -12.0  # S - lnN of the best lattice in random spots is about -20; with two axes of three right it is more
NET_PROMISING, NET_PER_SPOT = (
    -5.0,
    -0.12,
)  # that of the best net is -16 in 20 random spots, -24 in 250; of a true one 10 to 300
CLEAR, CLEAR_PER_SPOT, CLEAR_LEAD, CLEAR_FRACTION = 20.0, 0.7, 6.0, 0.88  # no need to look further
N_TRIED = 3 * (N_TRIPLES + (N_AGAIN + 1) * N_NETS * COMPLETED)
N_STEPS = 6
SIGMA_SHIFT_PX = 3.0
ACROSS, ALONG, FRACTION = range(3)  # places in a model
SCORE, LOG_TRIALS, GAP, NET_LEAD, SPOTS, EXPLAINED, SPREAD = range(7)  # places in a report
SHIFT_X, SHIFT_Y, POLISHED, SIGMA_A, SIGMA_L, N_REPORT = range(7, 13)


# --- 3x3 algebra ----------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def reciprocal(basis: Floats, to: Floats) -> float:
    """Fill `to` with the rows a*, b*, c* (``basis @ to.T`` is 1); return the volume with its sign, 0 if there is none."""
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        to[i, 0] = basis[j, 1] * basis[k, 2] - basis[j, 2] * basis[k, 1]
        to[i, 1] = basis[j, 2] * basis[k, 0] - basis[j, 0] * basis[k, 2]
        to[i, 2] = basis[j, 0] * basis[k, 1] - basis[j, 1] * basis[k, 0]
    volume = basis[0, 0] * to[0, 0] + basis[0, 1] * to[0, 1] + basis[0, 2] * to[0, 2]
    if volume == 0.0 or not np.isfinite(volume):
        return 0.0
    for i in range(3):
        for j in range(3):
            to[i, j] /= volume
    return float(volume)


@njit(cache=True, nogil=True, error_model="numpy")
def copy(source: Floats, to: Floats) -> None:
    """Copy a 3x3 matrix (an assignment of slices takes numba seconds to compile)."""
    for i in range(3):
        for j in range(3):
            to[i, j] = source[i, j]


@njit(cache=True, nogil=True, error_model="numpy")
def dot(a: Floats, b: Floats) -> float:
    """Scalar product of two 3-vectors."""
    return float(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


@njit(cache=True, nogil=True, error_model="numpy")
def reduce_basis(basis: Floats) -> None:
    """Make a basis one of the shortest vectors, in place: :func:`stages.lattice.reduce_basis` without the matrix."""
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


@njit(cache=True, nogil=True, error_model="numpy")
def solve(matrix: Floats, right: Floats) -> bool:
    """Solve a symmetric positive definite system in place by Cholesky's factors (lower triangle); False if it is not."""
    n = right.shape[0]
    for j in range(n):
        for i in range(j, n):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            if i == j:
                if not (total > 0.0):
                    return False
                matrix[j, j] = np.sqrt(total)
            else:
                matrix[i, j] = total / matrix[j, j]
    for i in range(n):
        total = right[i]
        for k in range(i):
            total -= matrix[i, k] * right[k]
        right[i] = total / matrix[i, i]
    for i in range(n - 1, -1, -1):
        total = right[i]
        for k in range(i + 1, n):
            total -= matrix[k, i] * right[k]
        right[i] = total / matrix[i, i]
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def same_lattice(a: Floats, b: Floats, within: float) -> bool:
    """Whether two bases span one lattice: a b^-1 is within `within` of an integer matrix of determinant 1 or -1."""
    inverse, m = np.empty((3, 3)), np.empty((3, 3))
    if reciprocal(b, inverse) == 0.0:
        return False
    for i in range(3):
        for j in range(3):
            v = dot(a[i], inverse[j])
            m[i, j] = np.rint(v)
            if not (abs(v - m[i, j]) < within):
                return False
    return bool(abs(reciprocal(m, inverse)) == 1.0)


# --- the transform of the spots on a grid ---------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def waves(q: Floats, n: int, step: float, count: int, cosine: Singles, sine: Singles) -> None:
    """Fill cos and sin of 2 pi q step k for k < count, one row a spot, by the rotation's recurrence."""
    for i in range(n):
        angle = 2.0 * np.pi * q[i] * step
        c1, s1 = np.cos(angle), np.sin(angle)
        c, s = 1.0, 0.0
        for k in range(count):
            cosine[i, k], sine[i, k] = c, s
            c, s = c * c1 - s * s1, s * c1 + c * s1


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def row(cx: Singles, sx: Singles, c: Singles, s: Singles, n: int, count: int, sums: Singles) -> None:
    """Sum over spots cx c, sx s, cx s, sx c for the first `count` places, in `sums` (4, ...)."""
    aa, bb, cc, dd = sums[0, :count], sums[1, :count], sums[2, :count], sums[3, :count]
    for i in range(count):
        aa[i] = np.float32(0.0)
        bb[i] = np.float32(0.0)
        cc[i] = np.float32(0.0)
        dd[i] = np.float32(0.0)
    for k in range(0, n, 4):  # rows up to a multiple of four are there, and zero
        c0, c1, c2, c3 = c[k], c[k + 1], c[k + 2], c[k + 3]
        s0, s1, s2, s3 = s[k], s[k + 1], s[k + 2], s[k + 3]
        x0, x1, x2, x3 = cx[k, :count], cx[k + 1, :count], cx[k + 2, :count], cx[k + 3, :count]
        y0, y1, y2, y3 = sx[k, :count], sx[k + 1, :count], sx[k + 2, :count], sx[k + 3, :count]
        for i in range(count):
            aa[i] += c0 * x0[i] + c1 * x1[i] + c2 * x2[i] + c3 * x3[i]
            bb[i] += s0 * y0[i] + s1 * y1[i] + s2 * y2[i] + s3 * y3[i]
            cc[i] += s0 * x0[i] + s1 * x1[i] + s2 * x2[i] + s3 * x3[i]
            dd[i] += c0 * y0[i] + c1 * y1[i] + c2 * y2[i] + c3 * y3[i]


@njit(cache=True, nogil=True, error_model="numpy")
def keep_higher(found: Floats) -> int:
    """Keep the higher half of the candidates (value in column 0); return how many that is."""
    n = found.shape[0]
    limit = found[np.argsort(-found[:, 0])[n // 2], 0]  # np.sort would be one more sort to compile
    kept = 0
    for i in range(n):
        if found[i, 0] > limit:
            for x in range(5):
                found[kept, x] = found[i, x]
            kept += 1
    return kept


@njit(cache=True, nogil=True, error_model="numpy")
def transform(
    spots: Floats,
    n: int,
    steps: Floats,
    ends: Floats,
    first_z: float,
    radius: float,
    shortest: float,
    shift: float,
    found: Floats,
) -> int:
    """Find the highest values of |F(t)|, F(t) = sum exp(2 pi i t.q), on a grid of vectors t.

    The grid is the part with z >= `first_z` of a box -`ends` ... `ends`, cut by spheres of `radius` and `shortest`; F(-t) is
    the conjugate of F(t). Fill `found` (m, 5) with value, t and the phase of F; return how many. The phase that a detector
    shift of up to `shift` makes costs nothing, the rest counts by its cosine. Four sums over products of cosines and sines in
    x and in (y, z) give F at x and -x.
    """
    n4 = (n + 3) // 4 * 4
    nx, ny, nz = int(ends[0] / steps[0]) + 1, int(ends[1] / steps[1]) + 1, int(ends[2] / steps[2]) + 1
    cx, sx = np.zeros((n4, nx), np.float32), np.zeros((n4, nx), np.float32)
    cy, sy = np.zeros((n4, ny), np.float32), np.zeros((n4, ny), np.float32)
    cz, sz = np.zeros((n4, nz), np.float32), np.zeros((n4, nz), np.float32)
    waves(spots[:, 0], n, steps[0], nx, cx, sx)
    waves(spots[:, 1], n, steps[1], ny, cy, sy)
    waves(spots[:, 2], n, steps[2], nz, cz, sz)
    c, s = np.zeros(n4, np.float32), np.zeros(n4, np.float32)
    sums = np.zeros((4, nx), np.float32)
    capacity = found.shape[0]
    # about as many random values are higher as there is room for (they are exponentially distributed in |F|^2)
    limit = np.float32(n * max(2.5, np.log(4.0 * nx * ny * nz / capacity)))
    have, lowest = 0, 0.0
    for z in range(int(np.ceil(first_z / steps[2])), nz):
        for y in range(-ny + 1 if z > 0 else 0, ny):
            rest = radius * radius - (z * steps[2]) ** 2 - (y * steps[1]) ** 2
            if rest < 0.0:
                continue
            count = min(nx, int(np.sqrt(rest) / steps[0]) + 1)
            sign = np.float32(-1.0 if y < 0 else 1.0)
            ay = abs(y)
            for k in range(n):
                sine = sign * sy[k, ay]
                c[k] = cy[k, ay] * cz[k, z] - sine * sz[k, z]
                s[k] = sine * cz[k, z] + cy[k, ay] * sz[k, z]
            row(cx, sx, c, s, n, count, sums)
            for x in range(count):
                aa, bb, cc, dd = sums[0, x], sums[1, x], sums[2, x], sums[3, x]
                plus = (aa - bb) * (aa - bb) + (cc + dd) * (cc + dd)
                minus = (aa + bb) * (aa + bb) + (cc - dd) * (cc - dd)
                if plus > limit or minus > limit:
                    r2 = (x * steps[0]) ** 2 + (y * steps[1]) ** 2
                    if r2 + (z * steps[2]) ** 2 < shortest * shortest:
                        continue
                    free = 2.0 * np.pi * shift * np.sqrt(r2)
                    for side in range(2):
                        power = plus if side == 0 else minus
                        if power > limit:
                            phase = np.arctan2(cc + dd, aa - bb) if side == 0 else np.arctan2(cc - dd, aa + bb)
                            value = np.sqrt(power)
                            if abs(phase) > free:
                                value *= np.cos(min(np.pi / 2.0, abs(phase) - free))
                            if value * value > limit:
                                if have == capacity:
                                    have = keep_higher(found)
                                    for i in range(have):
                                        lowest = min(lowest, found[i, 0]) if i > 0 else found[i, 0]
                                    limit = max(limit, np.float32(lowest * lowest))
                                found[have, 0] = value
                                found[have, 1] = x * steps[0] if side == 0 else -x * steps[0]
                                found[have, 2] = y * steps[1]
                                found[have, 3] = z * steps[2]
                                found[have, 4] = phase
                                have += 1
    return have


@njit(cache=True, nogil=True, error_model="numpy")
def summits(found: Floats, n: int, steps: Floats, peaks: Floats) -> int:
    """Thin the candidates out to one a summit, highest first, into `peaks` (m, 4: t and phase in turns); how many."""
    order = np.argsort(-found[:n, 0])
    kept = 0
    near_x, near_y, near_z = 1.6 * steps[0], 1.6 * steps[1], 1.6 * steps[2]
    for i in order:
        x, y, z = found[i, 1], found[i, 2], found[i, 3]
        new = True
        for o in range(kept):
            dx, dy, dz = peaks[o, 0] - x, peaks[o, 1] - y, peaks[o, 2] - z
            if abs(dx) < near_x and abs(dy) < near_y and abs(dz) < near_z:
                new = False
                break
        if new:
            peaks[kept, 0], peaks[kept, 1], peaks[kept, 2] = x, y, z
            peaks[kept, 3] = found[i, 4] / (2.0 * np.pi)
            kept += 1
            if kept == peaks.shape[0]:
                break
    return kept


# --- vectors --------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def standard_error(v: Floats, px: float) -> float:
    """The standard error of t.q: a pixel across the ray, which is nearly along z, and 0.001/A along it."""
    return float(np.sqrt(px * px * (v[0] ** 2 + v[1] ** 2 + v[2] ** 2) + (0.001 * v[2]) ** 2))


@njit(cache=True, nogil=True, error_model="numpy")
def plane_tolerance(v: Floats, px: float) -> float:
    """How far t.q may be from an integer: 2.5 standard errors, within 0.08 and 0.18."""
    return float(min(0.18, max(0.08, 2.5 * standard_error(v, px))))


@njit(cache=True, nogil=True, error_model="numpy")
def support(v: Floats, p: float, spots: Floats, n: int, px: float) -> float:
    """ln of the likelihood ratio of the distances of the spots from the planes t.q - p = integer, a fifth being random."""
    sigma = max(0.05, standard_error(v, px))
    peak = 0.8 * 0.3989422804014327 / sigma
    value = 0.0
    for k in range(n):
        f = v[0] * spots[k, 0] + v[1] * spots[k, 1] + v[2] * spots[k, 2] - p
        e = (f - np.rint(f)) / sigma
        value += np.log(0.2 + peak * np.exp(-0.5 * e * e))
    return value


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def fit_planes(v: Floats, spots: Floats, n: int, shift: float, model: Floats, matrix: Floats, right: Floats) -> float:
    """One step of expectation and maximization of t.q - p = integer, v = (t, p); returns ln of the likelihood ratio before it.

    What :func:`fit_lattice` does, in one dimension: a fraction of the spots is off by an error of sigma, in indices, the
    others are random; `model` holds sigma and the fraction. The phase p is what a shift of the detector makes.
    """
    t0, t1, t2, p = v[0], v[1], v[2], v[3]
    variance = model[0] * model[0]
    peak, rest = model[1] * 0.3989422804014327 / model[0], 1.0 - model[1]
    xx = yy = zz = variance / (0.0025 * (t0 * t0 + t1 * t1 + t2 * t2) + 1e-9)  # prior: 5 % of the length
    xy = xz = yz = x1 = y1 = z1 = 0.0
    bx = by = bz = b1 = 0.0
    total = squares = value = 0.0
    product = 1.0
    for k in range(n):
        x, y, z = spots[k, 0], spots[k, 1], spots[k, 2]
        f = t0 * x + t1 * y + t2 * z - p
        e = f - np.rint(f)
        g = peak * np.exp(-0.5 * e * e / variance)
        w = g / (rest + g)
        product *= rest + g
        if product > 1e200 or product < 1e-200:
            value += np.log(product)
            product = 1.0
        total += w
        squares += w * e * e
        wx, wy, wz = w * x, w * y, w * z
        xx += wx * x
        yy += wy * y
        zz += wz * z
        xy += wx * y
        xz += wx * z
        yz += wy * z
        x1 -= wx
        y1 -= wy
        z1 -= wz
        bx -= e * wx
        by -= e * wy
        bz -= e * wz
        b1 += w * e
    prior = variance / ((t0 * t0 + t1 * t1) * shift * shift + 1e-9)
    matrix[0, 0], matrix[1, 0], matrix[1, 1] = xx, xy, yy
    matrix[2, 0], matrix[2, 1], matrix[2, 2] = xz, yz, zz
    matrix[3, 0], matrix[3, 1], matrix[3, 2], matrix[3, 3] = x1, y1, z1, total + prior
    right[0], right[1], right[2], right[3] = bx, by, bz, b1 - prior * p
    if solve(matrix, right):
        for i in range(4):
            v[i] += right[i]
    model[0] = min(0.25, max(0.03, np.sqrt((squares + 0.01) / (total + 1.0))))
    model[1] = min(0.9, max(0.1, total / n))
    return float(value + np.log(product))


@njit(cache=True, nogil=True, error_model="numpy")
def fit_growing(
    v: Floats, spots: Floats, n_first: int, n: int, shift: float, model: Floats, matrix: Floats, right: Floats
) -> float:
    """Refine a vector from the lowest `n_first` spots outwards; returns ln of the likelihood ratio against random spots."""
    model[0], model[1] = 0.15, 0.8
    m = min(n, n_first)
    fit_planes(v, spots, m, shift, model, matrix, right)
    while m < n:
        m = min(n, m + m // 2 + 1)
        fit_planes(v, spots, m, shift, model, matrix, right)
    value = 0.0
    for _ in range(N_STEPS):
        value = fit_planes(v, spots, n, shift, model, matrix, right)
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def divergence(f: float, p: float) -> float:
    """Kullback and Leibler's divergence of a fraction f from p, f above p (else 0)."""
    if not (f > p):
        return 0.0
    value = f * np.log(f / p)
    if f < 1.0:
        value += (1.0 - f) * np.log((1.0 - f) / (1.0 - p))
    return float(value)


@njit(cache=True, nogil=True, error_model="numpy")
def refine_vectors(
    peaks: Floats,
    n_peaks: int,
    spots: Floats,
    n_first: int,
    n: int,
    shortest: float,
    longest: float,
    px: float,
    shift: float,
    vectors: Floats,
    values: Floats,
    masks: Words,
) -> int:
    """Refine the summits, from the spots of the transform outwards; the best distinct ones go to `vectors`, in order.

    `masks` (m, 2): which of the first MASK_SPOTS spots lie on each vector's planes. Returns how many there are.
    """
    matrix, right, model = np.empty((4, 4)), np.empty(4), np.empty(2)
    score = np.empty(n_peaks)
    for i in range(n_peaks):
        v = peaks[i]
        fit_growing(v, spots, n_first, n, shift, model, matrix, right)
        size = np.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2)
        score[i] = -np.inf
        if size >= shortest and size <= 1.05 * longest:
            tolerance = plane_tolerance(v, px)
            inside = 0
            for k in range(n):
                f = v[0] * spots[k, 0] + v[1] * spots[k, 1] + v[2] * spots[k, 2] - v[3]
                inside += abs(f - np.rint(f)) < tolerance
            score[i] = n * divergence(inside / n, 2.0 * tolerance) - 3.0 * np.log(size)
    order = np.argsort(-score)
    kept = 0
    for i in order:
        if kept == vectors.shape[0] or score[i] == -np.inf:
            break
        v = peaks[i]
        size = v[0] ** 2 + v[1] ** 2 + v[2] ** 2
        new = True
        for o in range(kept):
            plus = minus = 0.0
            for x in range(3):
                plus += (v[x] - vectors[o, x]) ** 2
                minus += (v[x] + vectors[o, x]) ** 2
            if min(plus, minus) < 0.0009 * size:
                new = False
                break
        if new:
            for x in range(4):
                vectors[kept, x] = v[x]
            values[kept] = score[i]
            tolerance = plane_tolerance(v, px)
            masks[kept, 0] = masks[kept, 1] = np.uint64(0)
            for k in range(min(n, MASK_SPOTS)):
                f = v[0] * spots[k, 0] + v[1] * spots[k, 1] + v[2] * spots[k, 2] - v[3]
                if abs(f - np.rint(f)) < tolerance:
                    masks[kept, k >> 6] |= np.uint64(1) << np.uint64(k & 63)
            kept += 1
    return kept


@njit(cache=True, nogil=True, error_model="numpy")
def ones_in(x: np.uint64) -> int:
    """Number of bits set (Hacker's Delight, 5-1); LLVM makes one instruction of it."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True, nogil=True, error_model="numpy")
def best_triples(
    vectors: Floats, n_vectors: int, masks: Words, n: int, window: float, chosen: Integers, values: Floats
) -> int:
    """Choose the triples of vectors that explain most spots with a small cell; best first in `chosen` (m, 3); how many.

    Value: n KL(m/n || window V) - 3 ln V, with m the spots on the planes of all three, `window` the volume in reciprocal space
    in which a spot counts as explained, V the volume.
    """
    size = chosen.shape[0]
    have = 0
    lengths = np.empty(n_vectors)
    for i in range(n_vectors):
        lengths[i] = np.sqrt(dot(vectors[i], vectors[i]))
    for i in range(n_vectors):
        a = vectors[i]
        for j in range(i + 1, n_vectors):
            b = vectors[j]
            m0, m1 = masks[i, 0] & masks[j, 0], masks[i, 1] & masks[j, 1]
            pair = ones_in(m0) + ones_in(m1)
            if pair < MIN_SPOTS:
                continue
            cx, cy, cz = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
            area = np.sqrt(cx * cx + cy * cy + cz * cz)
            if area < 0.25 * lengths[i] * lengths[j]:
                continue
            for k in range(j + 1, n_vectors):
                m = ones_in(m0 & masks[k, 0]) + ones_in(m1 & masks[k, 1])
                if m < MIN_SPOTS:
                    continue
                c = vectors[k]
                volume = abs(cx * c[0] + cy * c[1] + cz * c[2])
                if volume < 0.15 * lengths[i] * lengths[j] * lengths[k]:
                    continue
                value = n * divergence(m / n, min(0.9, window * volume)) - 3.0 * np.log(volume)
                if have == size and not (value > values[size - 1]):
                    continue
                twin = False
                for o in range(have):
                    if abs(values[o] - value) < 0.01 * n:
                        twin = True
                        break
                if twin:
                    continue
                o = have if have < size else size - 1
                while o > 0 and values[o - 1] < value:
                    values[o] = values[o - 1]
                    for x in range(3):
                        chosen[o, x] = chosen[o - 1, x]
                    o -= 1
                values[o] = value
                chosen[o, 0], chosen[o, 1], chosen[o, 2] = i, j, k
                have = min(size, have + 1)
    return have


@njit(cache=True, nogil=True, error_model="numpy")
def best_pairs(vectors: Floats, n_vectors: int, masks: Words, n: int, px: float, chosen: Integers) -> int:
    """Choose the pairs of vectors that explain most spots with a small net; best first in `chosen` (m, 2); how many.

    Value: n KL(m/n || window A) - 2 ln A, with m the spots on the planes of both, `window` the area across the rows in which a
    spot counts as explained, A the area.
    """
    size, have = chosen.shape[0], 0
    values = np.empty(size)
    window = np.pi * (2.5 * px) ** 2
    for i in range(n_vectors):
        a = vectors[i]
        for j in range(i + 1, n_vectors):
            b = vectors[j]
            m = ones_in(masks[i, 0] & masks[j, 0]) + ones_in(masks[i, 1] & masks[j, 1])
            if m < MIN_SPOTS:
                continue
            cx, cy, cz = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
            area = np.sqrt(cx * cx + cy * cy + cz * cz)
            if area < 0.5 * np.sqrt(dot(a, a) * dot(b, b)):
                continue
            value = n * divergence(m / n, min(0.9, window * area)) - 2.0 * np.log(area)
            if have == size and not (value > values[size - 1]):
                continue
            o = have if have < size else size - 1
            while o > 0 and values[o - 1] < value:
                values[o] = values[o - 1]
                chosen[o, 0], chosen[o, 1] = chosen[o - 1, 0], chosen[o - 1, 1]
                o -= 1
            values[o] = value
            chosen[o, 0], chosen[o, 1] = i, j
            have = min(size, have + 1)
    return have


# --- lattices -------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def limit_model(model: Floats, px: float) -> None:
    """Keep the standard errors and the fraction of a model within what a still can have."""
    model[ACROSS] = min(6.0 * px, max(0.3 * px, model[ACROSS]))
    model[ALONG] = min(0.004, max(0.0003, model[ALONG]))
    model[FRACTION] = min(0.98, max(0.02, model[FRACTION]))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def fit_lattice(
    basis: Floats, shift: Floats, spots: Floats, rays: Floats, n: int, px: float, model: Floats, room: Room
) -> bool:
    """One step of expectation and maximization of a lattice, the detector shift and the model; False if it fails.

    The residual of a spot, ``r = q - s - sum h_j a*_j``, has the standard error sigma_a across its ray (two directions) and
    sigma_l along it if the spot belongs to the lattice, with the density g(r); else its density is that of a random spot, V.
    With the fraction w of spots that belong, this one does with the probability ``w g / (w g + (1 - w) V)``: its weight in the
    least squares for a*, b*, c*, s and in the new sigmas and w (Dempster et al., 1977).
    """
    normal, right, star = room.normal, room.right, room.star
    volume = abs(reciprocal(basis, star))
    if volume == 0.0:
        return False
    for i in range(12):
        right[i] = 0.0
        for j in range(12):
            normal[i, j] = 0.0
    wa, wl = 1.0 / model[ACROSS] ** 2, 1.0 / model[ALONG] ** 2
    peak = model[FRACTION] / (15.749609945722419 * model[ACROSS] ** 2 * model[ALONG] * volume)
    rest = 1.0 - model[FRACTION]
    total = sum_across = sum_along = 0.0
    h = np.empty(4)
    h[3] = 1.0
    for k in range(n):
        x, y, z = spots[k, 0] - shift[0], spots[k, 1] - shift[1], spots[k, 2]
        f0 = basis[0, 0] * x + basis[0, 1] * y + basis[0, 2] * z
        f1 = basis[1, 0] * x + basis[1, 1] * y + basis[1, 2] * z
        f2 = basis[2, 0] * x + basis[2, 1] * y + basis[2, 2] * z
        h0, h1, h2 = np.rint(f0), np.rint(f1), np.rint(f2)
        if h0 == 0.0 and h1 == 0.0 and h2 == 0.0:
            continue
        r0 = x - h0 * star[0, 0] - h1 * star[1, 0] - h2 * star[2, 0]
        r1 = y - h0 * star[0, 1] - h1 * star[1, 1] - h2 * star[2, 1]
        r2 = z - h0 * star[0, 2] - h1 * star[1, 2] - h2 * star[2, 2]
        e0, e1, e2 = rays[k, 0], rays[k, 1], rays[k, 2]
        on_ray = r0 * e0 + r1 * e1 + r2 * e2
        along2 = on_ray * on_ray
        across2 = max(0.0, r0 * r0 + r1 * r1 + r2 * r2 - along2)
        exponent = 0.5 * (across2 * wa + along2 * wl)
        if exponent > 12.0:
            continue
        g = peak * np.exp(-exponent)
        w = g / (g + rest)
        total += w
        sum_across += w * across2
        sum_along += w * along2
        h[0], h[1], h[2] = h0, h1, h2
        # the weight matrix wa (1 - e e^T) + wl e e^T
        u, v = w * wa, w * (wl - wa)
        m00, m11, m22 = u + v * e0 * e0, u + v * e1 * e1, u + v * e2 * e2
        m01, m02, m12 = v * e0 * e1, v * e0 * e2, v * e1 * e2
        v0 = m00 * r0 + m01 * r1 + m02 * r2
        v1 = m01 * r0 + m11 * r1 + m12 * r2
        v2 = m02 * r0 + m12 * r1 + m22 * r2
        for i in range(4):
            hi = h[i]
            right[3 * i] += hi * v0
            right[3 * i + 1] += hi * v1
            right[3 * i + 2] += hi * v2
            for j in range(i + 1):
                hh = hi * h[j]
                normal[3 * i, 3 * j] += hh * m00
                normal[3 * i, 3 * j + 1] += hh * m01
                normal[3 * i, 3 * j + 2] += hh * m02
                normal[3 * i + 1, 3 * j] += hh * m01
                normal[3 * i + 1, 3 * j + 1] += hh * m11
                normal[3 * i + 1, 3 * j + 2] += hh * m12
                normal[3 * i + 2, 3 * j] += hh * m02
                normal[3 * i + 2, 3 * j + 1] += hh * m12
                normal[3 * i + 2, 3 * j + 2] += hh * m22
    if not (total >= 3.0):
        return False
    for i in range(3):
        w = 1.0 / (0.0025 * dot(star[i], star[i]))  # a step of 5 % is one standard error
        for x in range(3):
            normal[3 * i + x, 3 * i + x] += w
    w = 1.0 / (SIGMA_SHIFT_PX * px) ** 2
    normal[9, 9] += w
    normal[10, 10] += w
    right[9] -= w * shift[0]
    right[10] -= w * shift[1]
    normal[11, 11] += 1e6 * (w + wa)  # no shift along the beam
    right[11] = 0.0
    if not solve(normal, right):
        return False
    for i in range(3):
        for x in range(3):
            star[i, x] += right[3 * i + x]
    if reciprocal(star, basis) == 0.0:
        return False
    shift[0] += right[9]
    shift[1] += right[10]
    model[ACROSS] = np.sqrt((sum_across + 2.0 * px * px) / (2.0 * total + 2.0))
    model[ALONG] = np.sqrt((sum_along + 1e-6) / (total + 1.0))
    model[FRACTION] = total / n
    limit_model(model, px)
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def log_trials(model: Floats, total: float, q_rms: float) -> float:
    """Return lnN, how many lattices so many spots can tell apart; see :func:`score`."""
    return float(3.0 * np.log(max(1.0, (q_rms * np.sqrt(max(total, 1.0))) ** 3 / (model[ACROSS] ** 2 * model[ALONG]))))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def score(
    basis: Floats,
    shift: Floats,
    spots: Floats,
    rays: Floats,
    n: int,
    px: float,
    q_rms: float,
    model: Floats,
    room: Room,
    result: Floats,
) -> float:
    """Return S - lnN of a lattice, -inf if it is none; `result`: S, lnN, how many spots belong; the model adapts.

    ``S = sum ln(1 - w + w g(r) / V)``, the logarithm of the likelihood ratio against random spots: of random spots a share of
    at most exp(-S) has as high a ratio, as its mean over them is 1 (Markov). The lattice was chosen among many, though: each
    of the 9 elements of the basis is determined to a small part of what it might have been, which makes
    ``lnN = 3 ln(q_rms^3 m^1.5 / (sigma_a^2 sigma_l))`` (Laplace's approximation to the Bayes factor; MacKay, 1992).
    """
    volume = abs(reciprocal(basis, room.star))
    if volume == 0.0:
        return -np.inf
    star, residuals = room.star, room.residuals
    for k in range(n):
        x, y, z = spots[k, 0] - shift[0], spots[k, 1] - shift[1], spots[k, 2]
        h0 = np.rint(basis[0, 0] * x + basis[0, 1] * y + basis[0, 2] * z)
        h1 = np.rint(basis[1, 0] * x + basis[1, 1] * y + basis[1, 2] * z)
        h2 = np.rint(basis[2, 0] * x + basis[2, 1] * y + basis[2, 2] * z)
        r0 = x - h0 * star[0, 0] - h1 * star[1, 0] - h2 * star[2, 0]
        r1 = y - h0 * star[0, 1] - h1 * star[1, 1] - h2 * star[2, 1]
        r2 = z - h0 * star[0, 2] - h1 * star[1, 2] - h2 * star[2, 2]
        on_ray = r0 * rays[k, 0] + r1 * rays[k, 1] + r2 * rays[k, 2]
        along2 = on_ray * on_ray
        origin = h0 == 0.0 and h1 == 0.0 and h2 == 0.0
        residuals[k, 0] = 1.0 if origin else max(0.0, r0 * r0 + r1 * r1 + r2 * r2 - along2)
        residuals[k, 1] = along2
    total = s = 0.0
    for cycle in range(4):
        wa, wl = 0.5 / model[ACROSS] ** 2, 0.5 / model[ALONG] ** 2
        peak = model[FRACTION] / (15.749609945722419 * model[ACROSS] ** 2 * model[ALONG] * volume)
        rest = 1.0 - model[FRACTION]
        total = sum_across = sum_along = 0.0
        product = 1.0
        s = 0.0
        for k in range(n):
            exponent = residuals[k, 0] * wa + residuals[k, 1] * wl
            g = peak * np.exp(-exponent) if exponent < 20.0 else 0.0
            w = g / (g + rest)
            total += w
            sum_across += w * residuals[k, 0]
            sum_along += w * residuals[k, 1]
            product *= g + rest
            if product > 1e200 or product < 1e-200:
                s += np.log(product)
                product = 1.0
        s += np.log(product)
        if cycle < 3:
            model[ACROSS] = np.sqrt((sum_across + 2.0 * px * px) / (2.0 * total + 2.0))
            model[ALONG] = np.sqrt((sum_along + 1e-6) / (total + 1.0))
            model[FRACTION] = total / n
            limit_model(model, px)
    result[0] = s
    result[1] = log_trials(model, total, q_rms)
    result[2] = total
    return float(result[0] - result[1])


@njit(cache=True, nogil=True, error_model="numpy")
def refine(
    basis: Floats,
    shift: Floats,
    spots: Floats,
    rays: Floats,
    n: int,
    px: float,
    q_rms: float,
    model: Floats,
    room: Room,
    result: Floats,
) -> float:
    """Refine a lattice and the model, reduce it, and return S - lnN; -inf if it fails."""
    for _ in range(N_STEPS):
        if not fit_lattice(basis, shift, spots, rays, n, px, model, room):
            return -np.inf
    reduce_basis(basis)
    return score(basis, shift, spots, rays, n, px, q_rms, model, room, result)


@njit(cache=True, nogil=True, error_model="numpy")
def polish(
    basis: Floats,
    shift: Floats,
    spots: Floats,
    rays: Floats,
    n_first: int,
    n: int,
    px: float,
    q_rms: float,
    model: Floats,
    room: Room,
    result: Floats,
) -> float:
    """Refine a lattice from `n_first` spots outwards, reduce it, and return S - lnN; -inf if it fails.

    The standard errors start at 0.15 of an index, and shrink to what the spots have.
    """
    reduce_basis(basis)
    volume = abs(reciprocal(basis, room.star))
    if volume == 0.0:
        return -np.inf
    model[ACROSS] = 0.15 / volume ** (1.0 / 3.0)
    model[ALONG] = max(0.001, model[ACROSS])
    model[FRACTION] = 0.5
    limit_model(model, px)
    m = min(n, n_first)
    while m < n:
        if not fit_lattice(basis, shift, spots, rays, m, px, model, room):
            return -np.inf
        m = min(n, m + m // 2 + 1)
    return refine(basis, shift, spots, rays, n, px, q_rms, model, room, result)


@njit(cache=True, nogil=True, error_model="numpy")
def spread(basis: Floats, shift: Floats, spots: Floats, n: int, m: Floats) -> float:
    """How many different indices the explained spots have in the poorest of the three directions, less one: 0 if all are equal.

    Of the singular directions of the indices the last tells whether they lie in one plane; whatever the basis, a lattice
    that is three-dimensional has spots off every net plane through the origin. Returned is the standard deviation of the
    indices in that direction: the square root of the smallest eigenvalue of the mean of h h^T.
    """
    for i in range(3):
        for j in range(3):
            m[i, j] = 0.0
    used = 0
    h = np.empty(3)
    for k in range(n):
        x, y, z = spots[k, 0] - shift[0], spots[k, 1] - shift[1], spots[k, 2]
        worst = 0.0
        for i in range(3):
            f = basis[i, 0] * x + basis[i, 1] * y + basis[i, 2] * z
            h[i] = np.rint(f)
            worst = max(worst, abs(f - h[i]))
        if worst < 0.2:
            used += 1
            for i in range(3):
                for j in range(3):
                    m[i, j] += h[i] * h[j]
    if used == 0:
        return 0.0
    trace = (m[0, 0] + m[1, 1] + m[2, 2]) / used
    minors = (
        m[0, 0] * m[1, 1] - m[0, 1] ** 2 + m[1, 1] * m[2, 2] - m[1, 2] ** 2 + m[0, 0] * m[2, 2] - m[0, 2] ** 2
    ) / used**2
    det = (
        m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] ** 2)
        - m[0, 1] * (m[0, 1] * m[2, 2] - m[1, 2] * m[0, 2])
        + m[0, 2] * (m[0, 1] * m[1, 2] - m[1, 1] * m[0, 2])
    ) / used**3
    low = 0.0  # Newton's iteration on the characteristic polynomial, from below its smallest root
    for _ in range(50):
        value = ((trace - low) * low - minors) * low + det
        slope = (2.0 * trace - 3.0 * low) * low - minors
        if slope == 0.0 or abs(value) <= 1e-12 * abs(det):
            break
        low -= value / slope
    return float(np.sqrt(max(0.0, low)))


@njit(cache=True, nogil=True, error_model="numpy")
def sharpen(
    basis: Floats,
    shift: Floats,
    spots: Floats,
    rays: Floats,
    n: int,
    px: float,
    q_rms: float,
    value: float,
    model: Floats,
    room: Room,
    result: Floats,
) -> float:
    """Refine a lattice that has the score `value` from where it is; undo it if the score does not grow; return the score."""
    trial, moved, trial_model, trial_result = np.empty((3, 3)), np.empty(2), np.empty(3), np.empty(3)
    copy(basis, trial)
    moved[0], moved[1] = shift[0], shift[1]
    for i in range(3):
        trial_model[i] = model[i]
    for _ in range(N_STEPS // 2):
        if not fit_lattice(trial, moved, spots, rays, n, px, trial_model, room):
            return value
    refined = score(trial, moved, spots, rays, n, px, q_rms, trial_model, room, trial_result)
    if not (refined > value):
        reduce_basis(basis)
        return value
    copy(trial, basis)
    reduce_basis(basis)
    shift[0], shift[1] = moved[0], moved[1]
    for i in range(3):
        model[i], result[i] = trial_model[i], trial_result[i]
    return refined


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def common_class(indices: Integers, m: int, w0: int, w1: int, w2: int, p: int) -> int:
    """Return that w.h mod p which three fifths of the `m` indices have, -1 if there is none."""
    counts = np.zeros(p, np.int64)
    for k in range(m):
        counts[(w0 * indices[k, 0] + w1 * indices[k, 1] + w2 * indices[k, 2]) % p] += 1
    for c in range(p):
        if 5 * counts[c] > 3 * m:
            return c
    return -1


@njit(cache=True, nogil=True, error_model="numpy")
def shift_class(basis: Floats, w0: int, w1: int, w2: int, p: int, c: int, star: Floats, shift: Floats) -> bool:
    """Move a shift of the detector by the shortest multiple of a*, b* or c* with w.h = c mod p; False if there is none."""
    if reciprocal(basis, star) == 0.0:
        return False
    best, axis, times = np.inf, -1, 0
    for i in range(3):
        w = w0 if i == 0 else (w1 if i == 1 else w2)
        for k in range(-3, 4):
            if (w * k - c) % p == 0 and k * k * dot(star[i], star[i]) < best:
                best, axis, times = k * k * dot(star[i], star[i]), i, k
    if axis < 0:
        return False
    shift[0] += times * star[axis, 0]
    shift[1] += times * star[axis, 1]
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def settle(
    basis: Floats,
    shift: Floats,
    spots: Floats,
    rays: Floats,
    n: int,
    px: float,
    q_rms: float,
    shortest: float,
    longest: float,
    model: Floats,
    room: Room,
    result: Floats,
) -> int:
    """Go to lattices of index 2 and 3 above, 2 to 7 below, as long as S - lnN grows by that; return the number of trials.

    A multiple of the true cell explains the same spots with a p that many times larger; a part of it leaves half of the
    spots, or two thirds, unexplained. Both have a lower S, but may be all that the vectors gave. In a multiple all spots may
    have odd indices, say, if the shift of the detector is wrong by a reciprocal vector; then it is moved.
    """
    trial, moved, trial_result, trial_model = np.empty((3, 3)), np.empty(2), np.empty(3), np.empty(3)
    best, best_shift, best_result, best_model = np.empty((3, 3)), np.empty(2), np.empty(3), np.empty(3)
    indices = np.empty((n + 1, 3), np.int64)
    trials = 0
    for _ in range(10):
        now = result[0] - result[1]
        top = now + 1.0
        improved = False
        m = 0
        for k in range(n):
            x, y, z = spots[k, 0] - shift[0], spots[k, 1] - shift[1], spots[k, 2]
            worst = 0.0
            for i in range(3):
                f = basis[i, 0] * x + basis[i, 1] * y + basis[i, 2] * z
                indices[m, i] = int(np.rint(f))
                worst = max(worst, abs(f - np.rint(f)))
            m += worst < 0.25
        for p in (2, 3, 5, 7):
            for code in range(1, p * p * p):
                w0, w1, w2 = code // (p * p), (code // p) % p, code % p
                lead = w0 if w0 != 0 else (w1 if w1 != 0 else w2)
                if lead != 1:
                    continue
                c = common_class(indices, m, w0, w1, w2, p)
                for smaller in (True, False):
                    if (smaller and c < 0) or (not smaller and p > 3):
                        continue
                    if not derive(basis, w0, w1, w2, p, smaller, room.star, trial):
                        continue
                    moved[0], moved[1] = shift[0], shift[1]
                    if smaller and c > 0 and not shift_class(basis, w0, w1, w2, p, c, room.star, moved):
                        continue
                    for i in range(3):
                        trial_model[i] = model[i]
                    value = score(trial, moved, spots, rays, n, px, q_rms, trial_model, room, trial_result)
                    if value < 0.5 * now:
                        continue
                    trials += 1
                    value = sharpen(trial, moved, spots, rays, n, px, q_rms, value, trial_model, room, trial_result)
                    if value > top and allowed(trial, shortest, longest):
                        top = value
                        improved = True
                        copy(trial, best)
                        best_shift[0], best_shift[1] = moved[0], moved[1]
                        for i in range(3):
                            best_result[i], best_model[i] = trial_result[i], trial_model[i]
        if not improved:
            break
        copy(best, basis)
        shift[0], shift[1] = best_shift[0], best_shift[1]
        for i in range(3):
            result[i], model[i] = best_result[i], best_model[i]
    return trials


@njit(cache=True, nogil=True, error_model="numpy")
def best_net(basis: Floats, shift: Floats, spots: Floats, n: int, px: float, rank: int, to: Floats) -> bool:
    """Fill `to` with a basis of the lattice, its first two axes in the `rank`-th best net; False if there are not so many.

    Nets of two of the 13 shortest vectors of a reduced basis (-1, 0, 1), by the support of both. If one axis of the lattice
    is wrong and two are right, these two are found, even if the reduced basis has but one of them.
    """
    vectors, values, w = np.empty((13, 3)), np.empty(13), np.empty((13, 3), np.int64)
    centred = np.empty((n, 3))
    for k in range(n):
        centred[k, 0], centred[k, 1], centred[k, 2] = spots[k, 0] - shift[0], spots[k, 1] - shift[1], spots[k, 2]
    for i in range(13):
        code = i + 14
        w[i, 0], w[i, 1], w[i, 2] = code // 9 - 1, code // 3 % 3 - 1, code % 3 - 1
        for x in range(3):
            vectors[i, x] = w[i, 0] * basis[0, x] + w[i, 1] * basis[1, x] + w[i, 2] * basis[2, x]
        values[i] = support(vectors[i], 0.0, centred, n, px)
    used = np.zeros((rank + 1, 3), np.int64)
    for r in range(rank + 1):
        best, bi, bj = -np.inf, -1, -1
        for i in range(13):
            for j in range(i):
                value = values[i] + values[j]
                if not (value > best):
                    continue
                n0 = w[i, 1] * w[j, 2] - w[i, 2] * w[j, 1]
                n1 = w[i, 2] * w[j, 0] - w[i, 0] * w[j, 2]
                n2 = w[i, 0] * w[j, 1] - w[i, 1] * w[j, 0]
                if n0 % 2 == 0 and n1 % 2 == 0 and n2 % 2 == 0:
                    continue  # every other vector of the net is missed
                new = True
                for o in range(r):
                    u0, u1, u2 = used[o, 0], used[o, 1], used[o, 2]
                    if n0 * u1 == n1 * u0 and n1 * u2 == n2 * u1 and n0 * u2 == n2 * u0:
                        new = False
                if new:
                    best, bi, bj = value, i, j
                    used[r, 0], used[r, 1], used[r, 2] = n0, n1, n2
        if bi < 0:
            return False
    for i in range(13):
        if abs(used[rank, 0] * w[i, 0] + used[rank, 1] * w[i, 1] + used[rank, 2] * w[i, 2]) == 1:
            for x in range(3):
                to[0, x], to[1, x], to[2, x] = vectors[bi, x], vectors[bj, x], vectors[i, x]
            return True
    return False


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def score_net(
    basis: Floats,
    shift: Floats,
    spots: Floats,
    rays: Floats,
    n: int,
    px: float,
    q_rms: float,
    model: Floats,
    residuals: Floats,
) -> float:
    """Return S - lnN of the net of the first two axes alone, any third index: :func:`score` in two dimensions.

    The spots lie on rows across the net's plane. A residual in that plane, ``r = (a.q - h) a' + (b.q - k) b'`` with a', b' dual
    to a, b in the plane, has the covariance ``sigma_a^2 (1 - p p^T) + sigma_l^2 p p^T`` there, p being the ray's part in the
    plane: for |p| < 1 the variance along p is ``sigma_a^2 (1 - |p|^2) + sigma_l^2 |p|^2``, across it sigma_a^2.
    lnN is two thirds of that of a lattice.
    """
    a, b = basis[0], basis[1]
    aa, ab, bb = dot(a, a), dot(a, b), dot(b, b)
    square = aa * bb - ab * ab
    if not (square > 0.0):
        return -np.inf
    for k in range(n):
        x, y, z = spots[k, 0] - shift[0], spots[k, 1] - shift[1], spots[k, 2]
        fa, fb = a[0] * x + a[1] * y + a[2] * z, b[0] * x + b[1] * y + b[2] * z
        ra, rb = fa - np.rint(fa), fb - np.rint(fb)
        ea, eb = dot(a, rays[k]), dot(b, rays[k])
        # products of vectors in the plane by their components along a and b: (u, v) = (u_a, u_b) G^-1 (v_a, v_b)
        rr = (bb * ra * ra - 2.0 * ab * ra * rb + aa * rb * rb) / square
        pp = (bb * ea * ea - 2.0 * ab * ea * eb + aa * eb * eb) / square
        rp = (bb * ra * ea - ab * (ra * eb + rb * ea) + aa * rb * eb) / square
        along2 = rp * rp / pp if pp > 1e-12 else 0.0
        residuals[k, 0] = max(0.0, rr - along2)
        residuals[k, 1] = along2
        residuals[k, 2] = min(1.0, pp)
    total = s = 0.0
    area = np.sqrt(square)
    for cycle in range(4):
        total = sum_across = sum_along = 0.0
        across, along, fraction = model[ACROSS], model[ALONG], model[FRACTION]
        rest = 1.0 - fraction
        product = 1.0
        s = 0.0
        for k in range(n):
            p2 = residuals[k, 2]
            va = across * across
            vl = va * (1.0 - p2) + along * along * p2
            exponent = 0.5 * (residuals[k, 0] / va + residuals[k, 1] / vl)
            g = (
                fraction / (6.283185307179586 * across * np.sqrt(vl) * area) * np.exp(-exponent)
                if exponent < 20.0
                else 0.0
            )
            w = g / (g + rest)
            total += w
            sum_across += w * residuals[k, 0]
            # of the variance along p the part that sigma_l makes
            part = along * along * p2 / vl
            sum_along += w * (along * along * (1.0 - part) + part * part * residuals[k, 1] / max(p2, 1e-9))
            product *= g + rest
            if product > 1e200 or product < 1e-200:
                s += np.log(product)
                product = 1.0
        s += np.log(product)
        if cycle < 3:
            model[ACROSS] = np.sqrt((sum_across + px * px) / (total + 1.0))
            model[ALONG] = np.sqrt((sum_along + 1e-6) / (total + 1.0))
            model[FRACTION] = total / n
            limit_model(model, px)
    return float(s - log_trials(model, total, q_rms) * 2.0 / 3.0)


@njit(cache=True, nogil=True, error_model="numpy")
def net_lead(
    basis: Floats,
    shift: Floats,
    spots: Floats,
    rays: Floats,
    n: int,
    px: float,
    q_rms: float,
    model: Floats,
    room: Room,
    result: Floats,
) -> tuple[float, float]:
    """Return by how much S - lnN of a lattice exceeds that of its best net: what the third axis explains beyond chance.

    And how many spots belong to that of the nets which has most.
    """
    best, most, net, net_model = -np.inf, 0.0, np.empty((3, 3)), np.empty(3)
    for rank in range(N_NETS):
        if not best_net(basis, shift, spots, n, px, rank, net):
            break
        for i in range(3):
            net_model[i] = model[i]
        best = max(best, score_net(net, shift, spots, rays, n, px, q_rms, net_model, room.residuals))
        most = max(most, net_model[FRACTION] * n)
    return float(result[0] - result[1] - best), float(most)


@njit(cache=True, nogil=True, error_model="numpy")
def is_clear(margin: float, lead: float, most: float, explained: float, n: int) -> bool:
    """Whether no better lattice is to be expected: it is significant, its third axis, too, which most spots of nets support."""
    return bool(margin > CLEAR + CLEAR_PER_SPOT * n and lead > CLEAR_LEAD and explained > CLEAR_FRACTION * most)


@njit(cache=True, nogil=True, error_model="numpy")
def complete(
    basis: Floats,
    shift: Floats,
    spots: Floats,
    rays: Floats,
    n: int,
    px: float,
    q_rms: float,
    shortest: float,
    longest: float,
    work: float,
    found: Floats,
    peaks: Floats,
    model: Floats,
    room: Room,
    result: Floats,
    matrix: Floats,
    right4: Floats,
    bases: Floats,
    scores: Floats,
    count: Integers,
) -> bool:
    """Look for a better third axis to the first two, which may be right; take over what raises S - lnN; whether it did.

    What was tried is added to `bases` and `scores`.

    Only spots on the planes of both axes count, and the third axis is looked for modulo the two, ``u a + v b + w n`` with n the
    unit normal, |u|, |v| <= 1/2: a small part of the ball, and hardly a spurious spot.
    """
    coordinates, on_net = np.empty((n, 3)), np.empty((n, 3))
    for k in range(n):
        on_net[k, 0], on_net[k, 1], on_net[k, 2] = spots[k, 0] - shift[0], spots[k, 1] - shift[1], spots[k, 2]
    # the wrong third axis has turned these two a little
    v, vector_model = peaks[0], np.empty(2)
    for i in range(2):
        v[0], v[1], v[2], v[3] = basis[i, 0], basis[i, 1], basis[i, 2], 0.0
        fit_growing(v, on_net, POLISHED_FROM, n, 0.0, vector_model, matrix, right4)
        for x in range(3):
            basis[i, x] = v[x]
    a, b = basis[0], basis[1]
    across = np.empty(3)
    for x in range(3):
        across[x] = a[(x + 1) % 3] * b[(x + 2) % 3] - a[(x + 2) % 3] * b[(x + 1) % 3]
    area = np.sqrt(dot(across, across))
    if not (area > 0.2 * np.sqrt(dot(a, a) * dot(b, b))):
        return False
    for x in range(3):
        across[x] /= area
    tolerance_a, tolerance_b = plane_tolerance(a, px), plane_tolerance(b, px)
    m = 0
    for k in range(n):
        x, y, z = spots[k, 0] - shift[0], spots[k, 1] - shift[1], spots[k, 2]
        fa, fb = a[0] * x + a[1] * y + a[2] * z, b[0] * x + b[1] * y + b[2] * z
        if abs(fa - np.rint(fa)) < tolerance_a and abs(fb - np.rint(fb)) < tolerance_b:
            coordinates[m, 0], coordinates[m, 1] = np.rint(fa), np.rint(fb)
            coordinates[m, 2] = across[0] * x + across[1] * y + across[2] * z
            on_net[m, 0], on_net[m, 1], on_net[m, 2] = x, y, z
            m += 1
    if m < MIN_SPOTS:
        return False
    # as many of the spots as the work allows, the lowest
    steps, ends = np.empty(3), np.empty(3)
    use = min(m, n)  # m itself would be a literal to numba, and make it compile what takes `use` twice
    while True:
        points = 1.0
        for x in range(3):
            most = 1e-9
            for k in range(use):
                most = max(most, abs(coordinates[k, x]))
            ends[x] = 0.5 if x < 2 else longest
            steps[x] = min(0.3 / most, ends[x])
            points *= (2.0 if x == 1 else 1.0) * (ends[x] / steps[x] + 1.0)
        if points * use < work or use <= 10:
            break
        use -= 1 + use // 16
    if points * use > 2.0 * work:
        ends[2] *= 2.0 * work / (points * use)
    n_found = transform(coordinates, use, steps, ends, max(shortest, steps[2]), 1e9, 0.0, 0.0, found)
    n_peaks = summits(found, n_found, steps, peaks)
    trial, moved, trial_result, trial_model = np.empty((3, 3)), np.empty(2), np.empty(3), np.empty(3)
    improved = False
    start, start_shift = np.empty((3, 3)), np.empty(2)
    copy(basis, start)
    start_shift[0], start_shift[1] = shift[0], shift[1]
    values = np.empty(n_peaks)
    for i in range(n_peaks):
        u0, u1, u2 = peaks[i, 0], peaks[i, 1], peaks[i, 2]
        v = peaks[i]
        for x in range(3):
            v[x] = u0 * start[0, x] + u1 * start[1, x] + u2 * across[x]
        v[3] = 0.0
        value = fit_growing(v, on_net, use, m, 0.5 * px, vector_model, matrix, right4)
        height = abs(v[0] * across[0] + v[1] * across[1] + v[2] * across[2])
        values[i] = value - np.log(max(1.0, height))
    order = np.argsort(-values)
    tried, last = 0, np.inf
    for i in order:
        v = peaks[i]
        if tried == COMPLETED:
            break
        if last - values[i] < 0.02:
            continue  # the same one again, modulo the net
        last = values[i]
        tried += 1
        copy(start, trial)
        for x in range(3):
            trial[2, x] = v[x]
        if same_lattice(trial, start, 0.1):
            continue
        moved[0], moved[1] = start_shift[0], start_shift[1]
        longest_axis = np.sqrt(max(dot(trial[0], trial[0]), dot(trial[1], trial[1]), dot(trial[2], trial[2])))
        trial_model[ACROSS] = trial_model[ALONG] = 0.15 / longest_axis
        trial_model[FRACTION] = 0.5
        limit_model(trial_model, px)
        value = refine(trial, moved, spots, rays, n, px, q_rms, trial_model, room, trial_result)
        if value == -np.inf or not allowed(trial, shortest, longest):
            continue
        copy(trial, bases[count[0]])
        scores[count[0]] = value
        count[0] += 1
        if value > result[0] - result[1] + 0.5:
            improved = True
            copy(trial, basis)
            shift[0], shift[1] = moved[0], moved[1]
            for x in range(3):
                result[x], model[x] = trial_result[x], trial_model[x]
    return improved


@njit(cache=True, nogil=True, error_model="numpy")
def allowed(basis: Floats, shortest: float, longest: float) -> bool:
    """Whether a reduced basis has axes of allowed lengths."""
    return bool(dot(basis[0], basis[0]) >= shortest**2 and dot(basis[2], basis[2]) <= (1.05 * longest) ** 2)


@njit(cache=True, nogil=True, error_model="numpy")
def grid_points(radius: float, q: float, q_z: float) -> float:
    """How many vectors of length up to `radius` (half ball) the spots can tell apart, 0.3 of an index each."""
    return float(2.0 / 3.0 * np.pi * radius**3 * q * q * max(q_z, 0.3 / radius) / 0.027)


@njit(cache=True, nogil=True, error_model="numpy")
def search(
    spots: Floats, k0: float, px: float, shortest: float, longest: float, work: float, report: Floats, basis: Floats
) -> None:
    """Find the lattice of the spots, sorted by |q|; fill `basis` and `report`."""
    n_all = spots.shape[0]
    for i in range(N_REPORT):
        report[i] = 0.0
    report[SPOTS] = n_all
    report[SCORE] = -np.inf
    if n_all < MIN_SPOTS:
        return
    # --- spots: rays, and of many spots a part, evenly spaced in |q|
    n = min(n_all, MASK_SPOTS)
    part, rays, all_rays = np.empty((n, 3)), np.empty((n, 3)), np.empty((n_all, 3))
    square = 0.0
    for k in range(n_all):
        size = np.sqrt(spots[k, 0] ** 2 + spots[k, 1] ** 2 + (spots[k, 2] + k0) ** 2)
        square += dot(spots[k], spots[k])
        for x in range(3):
            all_rays[k, x] = (spots[k, x] + (k0 if x == 2 else 0.0)) / size
    for k in range(n):
        for x in range(3):
            part[k, x] = spots[k * n_all // n, x]
            rays[k, x] = all_rays[k * n_all // n, x]
    q_rms = np.sqrt(square / n_all)
    shift_limit = SIGMA_SHIFT_PX * px
    window = 2.0 * np.pi * (1.5 * px) ** 2 * 0.0015
    # --- room
    room = Room(np.empty((12, 12)), np.empty(12), np.empty((3, 3)), np.empty((n_all, 3)))
    model, best_model = np.empty(3), np.empty(3)
    found, peaks = np.empty((4096, 5)), np.empty((32, 4))
    vectors, values, masks = np.empty((N_VECTORS, 4)), np.empty(N_VECTORS), np.empty((N_VECTORS, 2), np.uint64)
    triples, triple_values = np.empty((N_TRIPLES, 3), np.int64), np.empty(N_TRIPLES)
    trial, shift, result = np.empty((3, 3)), np.empty(2), np.empty(3)
    bases, scores = np.empty((N_TRIED, 3, 3)), np.empty(N_TRIED)
    count = np.zeros(1, np.int64)
    best_shift, best_result = np.zeros(2), np.array([-np.inf, 0.0, 0.0])
    matrix, right4, steps, ends = np.empty((4, 4)), np.empty(4), np.empty(3), np.empty(3)
    pairs, pair_values = np.empty((N_PAIRS, 2), np.int64), np.empty(N_PAIRS)
    net_model, no_shift = np.empty(3), np.zeros(2)
    best = -np.inf
    used, reached = 0, 0.0
    for stage in range(3):
        # --- as many of the lowest spots as the work allows: for vectors of a length that most cells have; of many spots more,
        # as there may be several lattices; for longer vectors
        if stage == 1 and n_all < MANY_SPOTS:
            continue
        radius = min(longest, FIRST_AXIS if stage < 2 else FARTHEST)
        use = min(n_all, FIRST_SPOTS if stage == 0 else (MORE_SPOTS if stage == 1 else FAR_SPOTS))
        limit = work if stage == 0 else 3.0 * work
        q_xy = q_z = 0.0
        while use > 0:
            q_xy = q_z = 0.0
            for k in range(use):
                q_xy = max(q_xy, np.sqrt(spots[k, 0] ** 2 + spots[k, 1] ** 2))
                q_z = max(q_z, abs(spots[k, 2]))
            if use * grid_points(radius, q_xy, q_z) <= limit or use <= FEWEST_SPOTS:
                break
            use -= 1
        if use < MIN_SPOTS:
            break
        while radius > 25.0 and use * grid_points(radius, q_xy, q_z) > limit:
            radius *= 0.97
        farthest = min(longest, FARTHEST)
        while radius < farthest and use * grid_points(min(farthest, 1.03 * radius), q_xy, q_z) <= limit:
            radius = min(farthest, 1.03 * radius)
        if use <= used and radius <= 1.05 * reached:
            continue
        used, reached = max(used, use), max(reached, radius)
        steps[0] = steps[1] = 0.3 / q_xy
        steps[2] = 0.3 / max(q_z, 0.3 / radius)
        ends[0] = ends[1] = ends[2] = radius
        n_found = transform(spots, use, steps, ends, 0.0, radius, shortest, shift_limit, found)
        n_peaks = summits(found, n_found, steps, peaks[:N_VECTORS])
        use = max(MIN_SPOTS, use * n // n_all)  # so many of the part lie as low
        n_kept = refine_vectors(
            peaks, n_peaks, part, use, n, shortest, longest, px, shift_limit, vectors, values, masks
        )
        n_chosen = best_triples(vectors, n_kept, masks, n, window, triples, triple_values)
        # --- lattices
        for i in range(n_chosen):
            for r in range(3):
                for x in range(3):
                    trial[r, x] = vectors[triples[i, r], x]
            shift[0] = shift[1] = 0.0
            value = polish(trial, shift, part, rays, min(use, POLISHED_FROM), n, px, q_rms, model, room, result)
            report[POLISHED] += 1
            if value == -np.inf or not allowed(trial, shortest, longest):
                continue
            copy(trial, bases[count[0]])
            scores[count[0]] = value
            count[0] += 1
            if value > best:
                best = value
                copy(trial, basis)
                best_shift[0], best_shift[1] = shift[0], shift[1]
                for r in range(3):
                    best_result[r], best_model[r] = result[r], model[r]
            if best > CLEAR + CLEAR_PER_SPOT * n:
                break
        # --- its third axis anew, by its nets of two
        clear = False
        for again in range(N_AGAIN):
            if count[0] == 0:
                break
            report[POLISHED] += settle(
                basis, best_shift, part, rays, n, px, q_rms, shortest, longest, best_model, room, best_result
            )
            best = best_result[0] - best_result[1]
            lead, most = net_lead(basis, best_shift, part, rays, n, px, q_rms, best_model, room, best_result)
            clear = is_clear(best, lead, most, best_result[2], n)
            if clear or again == N_AGAIN - 1 or best < PROMISING:
                break
            improved = False
            for rank in range(N_NETS):
                if not best_net(basis, best_shift, part, n, px, rank, trial):
                    break
                improved = complete(
                    trial,
                    best_shift,
                    part,
                    rays,
                    n,
                    px,
                    q_rms,
                    shortest,
                    longest,
                    0.3 * work,
                    found,
                    peaks,
                    best_model,
                    room,
                    best_result,
                    matrix,
                    right4,
                    bases,
                    scores,
                    count,
                )
                if improved:
                    copy(trial, basis)
                    break
            if not improved:
                break
        # --- and by the pairs of vectors: none may have been long enough to be the third
        if not clear:
            n_pairs = best_pairs(vectors, n_kept, masks, n, px, pairs)
            for i in range(n_pairs):
                for x in range(3):
                    trial[0, x], trial[1, x], trial[2, x] = vectors[pairs[i, 0], x], vectors[pairs[i, 1], x], 0.0
                net_model[ACROSS], net_model[ALONG], net_model[FRACTION] = px, 0.001, 0.5
                pair_values[i] = score_net(trial, no_shift, part, rays, n, px, q_rms, net_model, room.residuals)
            order = np.argsort(-pair_values[:n_pairs])
            improved, last, tried = False, np.inf, 0
            net = pair_values[order[0]] if n_pairs > 0 else -np.inf
            for o in order:
                if tried == N_NETS or pair_values[o] < NET_PROMISING + NET_PER_SPOT * n:
                    break
                if last - pair_values[o] < 0.1:
                    continue
                last = pair_values[o]
                tried += 1
                for x in range(3):
                    trial[0, x], trial[1, x] = vectors[pairs[o, 0], x], vectors[pairs[o, 1], x]
                    trial[2, x] = 0.0
                improved = complete(
                    trial,
                    best_shift,
                    part,
                    rays,
                    n,
                    px,
                    q_rms,
                    shortest,
                    longest,
                    0.3 * work,
                    found,
                    peaks,
                    best_model,
                    room,
                    best_result,
                    matrix,
                    right4,
                    bases,
                    scores,
                    count,
                )
                if improved:
                    copy(trial, basis)
                    break
            if improved:
                report[POLISHED] += settle(
                    basis, best_shift, part, rays, n, px, q_rms, shortest, longest, best_model, room, best_result
                )
                best = best_result[0] - best_result[1]
                lead, most = net_lead(basis, best_shift, part, rays, n, px, q_rms, best_model, room, best_result)
                clear = is_clear(best, lead, most, best_result[2], n)
            if n_all >= MANY_SPOTS and net > CLEAR + CLEAR_PER_SPOT * n:
                break  # two axes are known: longer vectors, or more spots, will not tell the third
        if clear:
            break
    if count[0] == 0:
        return
    # --- on all spots
    n = n_all
    if n > part.shape[0]:
        best = polish(basis, best_shift, spots, all_rays, n, n, px, q_rms, best_model, room, best_result)
    other = -np.inf
    for i in range(count[0]):
        if scores[i] > other and not same_lattice(bases[i], basis, 0.2):
            other = scores[i]
    report[SCORE], report[LOG_TRIALS], report[EXPLAINED] = best_result[0], best_result[1], best_result[2]
    report[SHIFT_X], report[SHIFT_Y] = best_shift[0], best_shift[1]
    report[GAP] = best - other
    report[SIGMA_A], report[SIGMA_L] = best_model[ACROSS], best_model[ALONG]
    report[NET_LEAD], _ = net_lead(basis, best_shift, spots, all_rays, n, px, q_rms, best_model, room, best_result)
    report[SPREAD] = spread(basis, best_shift, spots, n, room.star)
