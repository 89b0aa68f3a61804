"""The transform of the spots on a grid, and its summits: vectors on whose planes the spots lie."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import FAST, kernel

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

VALUE, X, Y, Z, PHASE, N_COLUMNS = range(6)  # columns of what a transform finds
STEP, STEP_CUBED = 0.3, 0.027
"""The step of a grid in indices of the spot that is farthest out, and its cube."""
NEAR = 1.6
"""Points nearer than so many steps in x, y and z belong to one summit."""


@kernel
def waves(q: Floats, n: int, step: float, count: int, cosine: Singles, sine: Singles) -> None:
    """Fill cos and sin of 2 pi q step k for k < count, one row a spot, by the rotation's recurrence."""
    for i in range(n):
        angle = 2.0 * np.pi * q[i] * step
        c1, s1 = np.cos(angle), np.sin(angle)
        c, s = 1.0, 0.0
        for k in range(count):
            cosine[i, k], sine[i, k] = c, s
            c, s = c * c1 - s * s1, s * c1 + c * s1


@kernel(fastmath=FAST)
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


@kernel
def keep_higher(found: Floats) -> int:
    """Keep the higher half of the points; return how many that is."""
    n = found.shape[0]
    limit = found[np.argsort(-found[:, VALUE])[n // 2], VALUE]  # np.sort would be one more sort to compile
    kept = 0
    for i in range(n):
        if found[i, VALUE] > limit:
            for x in range(N_COLUMNS):
                found[kept, x] = found[i, x]
            kept += 1
    return kept


@kernel
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
    waves(spots[0], n, steps[0], nx, cx, sx)
    waves(spots[1], n, steps[1], ny, cy, sy)
    waves(spots[2], n, steps[2], nz, cz, sz)
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
                                        lowest = min(lowest, found[i, VALUE]) if i > 0 else found[i, VALUE]
                                    limit = max(limit, np.float32(lowest * lowest))
                                found[have, VALUE] = value
                                found[have, X] = x * steps[0] if side == 0 else -x * steps[0]
                                found[have, Y] = y * steps[1]
                                found[have, Z] = z * steps[2]
                                found[have, PHASE] = phase
                                have += 1
    return have


@kernel
def summits(found: Floats, n: int, steps: Floats, peaks: Floats) -> int:
    """Thin the points out to one a summit, highest first, into `peaks` (m, 4: t and phase in turns); how many."""
    order = np.argsort(-found[:n, VALUE])
    kept = 0
    near_x, near_y, near_z = NEAR * steps[0], NEAR * steps[1], NEAR * steps[2]
    for i in order:
        x, y, z = found[i, X], found[i, Y], found[i, Z]
        new = True
        for o in range(kept):
            dx, dy, dz = peaks[o, 0] - x, peaks[o, 1] - y, peaks[o, 2] - z
            if abs(dx) < near_x and abs(dy) < near_y and abs(dz) < near_z:
                new = False
                break
        if new:
            peaks[kept, 0], peaks[kept, 1], peaks[kept, 2] = x, y, z
            peaks[kept, 3] = found[i, PHASE] / (2.0 * np.pi)
            kept += 1
            if kept == peaks.shape[0]:
                break
    return kept


@kernel
def grid_points(radius: float, q: float, q_z: float) -> float:
    """How many vectors of length up to `radius` (half ball) the spots can tell apart, STEP of an index each."""
    return float(2.0 / 3.0 * np.pi * radius**3 * q * q * max(q_z, STEP / radius) / STEP_CUBED)
