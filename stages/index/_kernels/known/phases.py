"""Directions and turns where nothing is known of where the planes of an axis begin: how well spots agree in phase.

See :mod:`.displaced` for what that is good for. DPS (Steller et al., 1997, https://doi.org/10.1107/S0021889897008777) looks at
the modulus of such sums, too, by Fourier transforms of projections.
"""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import cholesky_solve
from stages.compute.kernel import FAST, kernel
from stages.index._kernels.known.directions import (
    BLOCK,
    best_supported,
    inner_spots,
    is_another,
    lowest,
    on_planes,
    scaled,
)
from stages.index._kernels.known.polish import INDEX_SIGMA
from stages.index._kernels.known.tuples import Pattern, Room, Tables
from stages.index._kernels.known.turns import MAX_STEPS, Laid, indices_of

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]

N_PLACES = 32  # directions that are fitted
QUARTER, HALF = np.float32(0.25), np.float32(0.5)


@kernel(fastmath=FAST)
def scan_phases(directions: Singles, spots: Floats, chosen: Integers, length: float, scores: Singles) -> None:
    """Score every direction u: minus the squared modulus of the sum of exp(2 pi i length (u.q)), the lowest is the best.

    Sine and cosine are parabolas, 8 t (1 - 2 |t|) between -1/2 and 1/2; the factor is left out. Of an odd number of spots the
    last one does not count.
    """
    q = scaled(spots, chosen, length)
    real, imaginary = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for start in range(0, directions.shape[1], BLOCK):
        end = start + BLOCK
        dx, dy, dz, out = (
            directions[0, start:end],
            directions[1, start:end],
            directions[2, start:end],
            scores[start:end],
        )
        for i in range(out.size):
            real[i] = imaginary[i] = np.float32(0.0)
        for k in range(0, chosen.size - 1, 2):
            x0, y0, z0 = q[0, k], q[1, k], q[2, k]
            x1, y1, z1 = q[0, k + 1], q[1, k + 1], q[2, k + 1]
            for i in range(out.size):
                t = x0 * dx[i] + y0 * dy[i] + z0 * dz[i]
                u = x1 * dx[i] + y1 * dy[i] + z1 * dz[i]
                t -= np.rint(t)
                u -= np.rint(u)
                v, w = QUARTER - abs(t), QUARTER - abs(u)
                real[i] += v * (HALF - abs(v)) + w * (HALF - abs(w))
                imaginary[i] += t * (HALF - abs(t)) + u * (HALF - abs(u))
        for i in range(out.size):
            out[i] = -(real[i] * real[i] + imaginary[i] * imaginary[i])


@kernel
def phase_of(v: Floats, spots: Floats, chosen: Integers) -> float:
    """Where the planes of a vector begin: the phase of the sum of exp(2 pi i v.q), as a part of a turn."""
    real = imaginary = 0.0
    for k in chosen:
        t = 2.0 * np.pi * (v[0] * spots[0, k] + v[1] * spots[1, k] + v[2] * spots[2, k])
        real += np.cos(t)
        imaginary += np.sin(t)
    return float(np.arctan2(imaginary, real) / (2.0 * np.pi))


@kernel
def fit_displaced(v: Floats, spots: Floats, chosen: Integers, length: float) -> tuple[int, float]:
    """Trimmed least squares of a lattice vector and of where its planes begin; return its inliers within 0.1, and the latter.

    As :func:`stages.index._kernels.known.directions.fit_vector`, with a fourth unknown.
    """
    prior = (INDEX_SIGMA / (0.02 * length)) ** 2
    before = v.copy()
    normal, right = np.empty((4, 4)), np.empty(4)
    phase = phase_of(v, spots, chosen)
    row = np.empty(4)
    row[3] = 1.0
    for tolerance in (0.3, 0.25, 0.2, 0.15, 0.15):
        for a in range(4):
            right[a] = prior * before[a] if a < 3 else 0.0
            for b in range(4):
                normal[a, b] = prior if a == b and a < 3 else 0.0
        normal[3, 3] = 1e-3
        for k in chosen:
            f = v[0] * spots[0, k] + v[1] * spots[1, k] + v[2] * spots[2, k]
            h = np.rint(f - phase)
            if abs(f - phase - h) < tolerance:
                row[0], row[1], row[2] = spots[0, k], spots[1, k], spots[2, k]
                for a in range(4):
                    right[a] += row[a] * h
                    for b in range(a + 1):
                        normal[a, b] += row[a] * row[b]
        if not cholesky_solve(normal, right, 4):
            break
        v[0], v[1], v[2], phase = right[0], right[1], right[2], -right[3]
    return on_planes(v, phase, spots, chosen), phase


@kernel(fastmath=FAST)
def score_phases_of_turns(spots: Floats, laid: Laid, m: int, steps: int, tables: Tables, scores: Singles) -> None:
    """Score turns about an axis: minus the sum of the squared moduli of the two other axes, over the m inliers."""
    stride = MAX_STEPS // steps
    co, si = tables.cosine[::stride], tables.sine[::stride]
    sums = np.zeros((4, steps), np.float32)
    b_real, b_imaginary, c_real, c_imaginary = sums[0], sums[1], sums[2], sums[3]
    for c in range(m):
        bz, bx, by, cz, cx, cy = indices_of(laid.inliers[c], spots, laid)
        for i in range(steps):
            t = bz + co[i] * bx + si[i] * by
            u = cz + co[i] * cx + si[i] * cy
            t -= np.rint(t)
            u -= np.rint(u)
            w = QUARTER - abs(t)
            b_real[i] += w * (HALF - abs(w))
            b_imaginary[i] += t * (HALF - abs(t))
            w = QUARTER - abs(u)
            c_real[i] += w * (HALF - abs(w))
            c_imaginary[i] += u * (HALF - abs(u))
    for i in range(steps):
        b = b_real[i] * b_real[i] + b_imaginary[i] * b_imaginary[i]
        scores[i] = -(b + c_real[i] * c_real[i] + c_imaginary[i] * c_imaginary[i])


@kernel
def displaced_vectors(
    size: float, tables: Tables, pattern: Pattern, vectors: Floats, phases: Floats, room: Room
) -> int:
    """Find vectors of about this length on whose planes the spots lie, wherever these begin; return their number."""
    spots, directions = pattern.spots, tables.directions
    n_directions = directions.shape[1]
    chosen = inner_spots(pattern, size, n_directions, 40)
    scan_phases(directions, spots, chosen, size, room.scores)
    places, values = np.empty(N_PLACES, np.int64), np.empty(N_PLACES, np.float32)
    have = lowest(room.scores, n_directions, places, values)
    fitted, support, begin = np.empty((N_PLACES, 3)), np.empty(N_PLACES, np.int64), np.empty(N_PLACES)
    m = 0
    for c in range(have):
        for i in range(3):
            fitted[m, i] = size * directions[i, places[c]]
        support[m], begin[m] = fit_displaced(fitted[m], spots, chosen, size)
        m += is_another(fitted, m, size)
    best = best_supported(support, m, vectors.shape[0])
    for c in range(best.size):
        phases[c] = begin[best[c]]
        for i in range(3):
            vectors[c, i] = fitted[best[c], i]
    return int(best.size)
