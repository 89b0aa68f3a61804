"""Kernels of prediction refinement: a damped least-squares fit of orientation, cell and detector shift to paired peaks.

The deviations, their derivatives and the fit that needs both stand together; hence the length.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import align, cholesky, cholesky_solve, copy, reciprocal, turn
from stages.compute.kernel import kernel
from stages.compute.rays import DUAL_FS, DUAL_SS, NORMAL, ORIGIN, cross, in_pixels, place

Array = NDArray[Any]
Floats = NDArray[np.float64]

MAX_DAMPINGS = 8


class Observed(NamedTuple):
    """Pairs of reflections and peaks: int32 (n, 3) indices, and where the peaks are, panel, fs and ss, (n) each."""

    hkl: Array
    panel: Array
    fs: Array
    ss: Array


@kernel
def impose(real: Array, group: Array) -> bool:
    """Change `real` (rows a, b, c) into the nearest basis whose metric has the symmetry `group`; say if that worked.

    The metric G = A A^T is averaged over W G W^T; with G = L L^T (Cholesky) the new basis is L U, where the rotation U is the
    orthogonal factor of L^-1 A.
    """
    metric = np.zeros((3, 3))
    for w in group:
        for i in range(3):
            for j in range(3):
                value = 0.0
                for x in range(3):
                    if w[i, x] == 0.0:
                        continue
                    for y in range(3):
                        if w[j, y] == 0.0:
                            continue
                        dot = real[x, 0] * real[y, 0] + real[x, 1] * real[y, 1] + real[x, 2] * real[y, 2]
                        value += w[i, x] * w[j, y] * dot
                metric[i, j] += value
    for i in range(3):
        for j in range(3):
            metric[i, j] /= group.shape[0]
    if not cholesky(metric, 3):
        return False
    metric[0, 1] = metric[0, 2] = metric[1, 2] = 0.0
    turned = np.empty((3, 3))
    if not align(metric, real, turned, np.empty((2, 3, 3))):
        return False
    copy(turned, real)
    return True


@kernel
def select(paired: Array, error: Array, dfs: Array, dss: Array, spread: float, floor: Array, chosen: Array) -> int:
    """Choose the pairs that agree with most of the others; return how many.

    Kept are those whose |excitation error| and whose distance on the detector are both at most `spread` times the median
    over all pairs, or at most `floor` (1/Angstrom, pixels).
    """
    n = 0
    for i in range(paired.size):
        n += 1 if paired[i] else 0
    chosen[:] = False
    if n == 0:
        return 0
    errors, distances = np.empty(n), np.empty(n)
    at = 0
    for i in range(paired.size):
        if paired[i]:
            errors[at] = abs(error[i])
            distances[at] = math.hypot(dfs[i], dss[i])
            at += 1
    largest_error = max(floor[0], spread * np.sort(errors)[n // 2])
    largest_distance = max(floor[1], spread * np.sort(distances)[n // 2])
    n = 0
    for i in range(paired.size):
        if paired[i] and abs(error[i]) <= largest_error and math.hypot(dfs[i], dss[i]) <= largest_distance:
            chosen[i] = True
            n += 1
    return n


@kernel
def deviations(
    star: Array,
    shift: Array,
    k: float,
    weight: float,
    observed: Observed,
    panels: Array,
    out: Array,
) -> float:
    """Write (weighted excitation error, fs and ss predicted minus observed) of each pair to `out`; return R, their squares."""
    hkl, panel, fs, ss = observed.hkl, observed.panel, observed.fs, observed.ss
    total = 0.0
    for i in range(hkl.shape[0]):
        own = panels[panel[i]]
        dx = hkl[i, 0] * star[0, 0] + hkl[i, 1] * star[1, 0] + hkl[i, 2] * star[2, 0]
        dy = hkl[i, 0] * star[0, 1] + hkl[i, 1] * star[1, 1] + hkl[i, 2] * star[2, 1]
        dz = hkl[i, 0] * star[0, 2] + hkl[i, 1] * star[1, 2] + hkl[i, 2] * star[2, 2] + k
        out[i, 0] = weight * (k - math.sqrt(dx * dx + dy * dy + dz * dz))
        ox, oy, oz = own[ORIGIN] + shift[0], own[ORIGIN + 1] + shift[1], own[ORIGIN + 2]
        t, at_fs, at_ss = place(dx, dy, dz, ox, oy, oz, own)
        if not t > 0.0:
            return np.inf
        out[i, 1], out[i, 2] = at_fs - fs[i], at_ss - ss[i]
        total += out[i, 0] ** 2 + out[i, 1] ** 2 + out[i, 2] ** 2
    return total


@kernel
def strain_of(metric: Array, star: Array, out: Array) -> None:
    """Write -1/2 B^T G B to `out`."""
    for i in range(3):
        for j in range(3):
            value = 0.0
            for a in range(3):
                for b in range(3):
                    value += star[a, i] * metric[a, b] * star[b, j]
            out[i, j] = -0.5 * value


@kernel
def gradients(
    star: Array,
    strains: Array,
    shift: Array,
    k: float,
    weight: float,
    indices: Array,
    num_shifts: int,
    own: Array,
    out: Array,
) -> None:
    """Write the derivatives of one pair's three deviations by all parameters to `out` (3, n).

    A change of the metric by G_i moves g by g S_i, S_i = -1/2 B^T G_i B being one of `strains`, a turn about axis n by n x g.
    The ray d = k0 + g meets the panel at t d, t = n.o / n.d, which moves by t (dg - d (n.dg) / (n.d)); the shift moves o.
    """
    gx = indices[0] * star[0, 0] + indices[1] * star[1, 0] + indices[2] * star[2, 0]
    gy = indices[0] * star[0, 1] + indices[1] * star[1, 1] + indices[2] * star[2, 1]
    gz = indices[0] * star[0, 2] + indices[1] * star[1, 2] + indices[2] * star[2, 2]
    dx, dy, dz = gx, gy, gz + k
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    nx, ny, nz = own[NORMAL], own[NORMAL + 1], own[NORMAL + 2]
    towards, t = cross(dx, dy, dz, own[ORIGIN] + shift[0], own[ORIGIN + 1] + shift[1], own[ORIGIN + 2], own)
    num_cell = strains.shape[0]
    for i in range(num_cell + 3):
        if i < num_cell:
            mx = gx * strains[i, 0, 0] + gy * strains[i, 1, 0] + gz * strains[i, 2, 0]
            my = gx * strains[i, 0, 1] + gy * strains[i, 1, 1] + gz * strains[i, 2, 1]
            mz = gx * strains[i, 0, 2] + gy * strains[i, 1, 2] + gz * strains[i, 2, 2]
        elif i == num_cell:
            mx, my, mz = 0.0, -gz, gy
        elif i == num_cell + 1:
            mx, my, mz = gz, 0.0, -gx
        else:
            mx, my, mz = -gy, gx, 0.0
        out[0, i] = -weight * (dx * mx + dy * my + dz * mz) / length
        ratio = (nx * mx + ny * my + nz * mz) / towards
        x, y, z = t * (mx - ratio * dx), t * (my - ratio * dy), t * (mz - ratio * dz)
        out[1, i], out[2, i] = in_pixels(x, y, z, own)
    for j in range(num_shifts):
        ratio = own[NORMAL + j] / towards
        x, y, z = ratio * dx, ratio * dy, ratio * dz
        at = num_cell + 3 + j
        out[0, at] = 0.0
        along_fs, along_ss = in_pixels(x, y, z, own)
        out[1, at], out[2, at] = along_fs - own[DUAL_FS + j], along_ss - own[DUAL_SS + j]


@kernel
def solve(matrix: Array, damping: float, right: Array, lower: Array, out: Array) -> bool:
    """Solve (M + damping diag M) x = r for a symmetric positive matrix; say if that worked. `lower` is room for M."""
    n = right.size
    for i in range(n):
        out[i] = right[i]
        for j in range(i + 1):
            lower[i, j] = matrix[i, j] * (1.0 + damping) if i == j else matrix[i, j]
    return cholesky_solve(lower, out, n)


@kernel
def move(real: Array, star: Array, basis: Array, step: Floats, group: Array, out: Array) -> bool:
    """Write the basis after a step of the parameters to `out`: A + 1/2 dG B, turned, its metric symmetric again."""
    num_cell = basis.shape[0]
    for i in range(3):
        for j in range(3):
            value = real[i, j]
            for n in range(num_cell):
                for a in range(3):
                    value += 0.5 * step[n] * basis[n, i, a] * star[a, j]
            out[i, j] = value
    turn(out, float(step[num_cell]), float(step[num_cell + 1]), float(step[num_cell + 2]))
    return impose(out, group)


@kernel
def fit(
    real: Array,
    shift: Array,
    group: Array,
    basis: Array,
    k: float,
    weight: float,
    prior: Array,
    refine_shift: bool,
    iterations: int,
    tolerance: float,
    observed: Observed,
    panels: Array,
) -> float:
    """Fit basis and shift, changed in place, to pairs of reflections and peaks; return the sum of squares left.

    Levenberg's and Marquardt's method: (J^T J + P + damping diag) x = -J^T r - P (parameters so far). A step that does not
    lessen the sum of squares is not made. `real` must have the symmetry `group` already. `basis` (n, 3, 3) spans the metrics
    with that symmetry, each scaled so that 1 would double the cell in its direction. `prior` holds the weights that
    draw the cell's parameters, and the shift, to where they started, in square pixels.
    """
    num_pairs, num_cell = observed.hkl.shape[0], basis.shape[0]
    num_shifts = 2 if refine_shift else 0
    n = num_cell + 3 + num_shifts
    star = np.empty((3, 3))
    new_real, new_star, new_shift = np.empty((3, 3)), np.empty((3, 3)), np.empty(2)
    residual, new_residual = np.empty((num_pairs, 3)), np.empty((num_pairs, 3))
    strains = np.empty((num_cell, 3, 3))
    slope, matrix, lower = np.empty((3, n)), np.empty((n, n)), np.zeros((n, n))
    right, step = np.empty(n), np.empty(n)
    so_far, trial = np.zeros(n), np.zeros(n)
    pull = np.zeros(n)
    pull[:num_cell] = prior[0]
    pull[num_cell + 3 :] = prior[1]
    reciprocal(real, star)
    total = deviations(star, shift, k, weight, observed, panels, residual)
    cost = total
    damping = 1e-6
    for _ in range(iterations):
        for i in range(num_cell):
            strain_of(basis[i], star, strains[i])
        matrix[:] = 0.0
        for i in range(n):
            matrix[i, i] = pull[i]
            right[i] = -pull[i] * so_far[i]
        for i in range(num_pairs):
            gradients(
                star,
                strains,
                shift,
                k,
                weight,
                observed.hkl[i],
                num_shifts,
                panels[observed.panel[i]],
                slope,
            )
            for term in range(3):
                for a in range(n):
                    right[a] -= slope[term, a] * residual[i, term]
                    for b in range(a + 1):
                        matrix[a, b] += slope[term, a] * slope[term, b]
        better = False
        for _ in range(MAX_DAMPINGS):
            worked = solve(matrix, damping, right, lower, step) and move(real, star, basis, step, group, new_real)
            if worked and reciprocal(new_real, new_star) != 0.0:
                new_shift[:] = shift
                for j in range(num_shifts):
                    new_shift[j] += step[num_cell + 3 + j]
                new_total = deviations(
                    new_star,
                    new_shift,
                    k,
                    weight,
                    observed,
                    panels,
                    new_residual,
                )
                new_cost = new_total
                for a in range(n):
                    trial[a] = so_far[a] + step[a]
                    new_cost += pull[a] * trial[a] * trial[a]
                if new_cost < cost:
                    better = True
                    break
            damping = max(1e-3, 10.0 * damping)
        if not better:
            break
        gain = cost - new_cost
        real[:], star[:], shift[:], residual[:], so_far[:] = (
            new_real,
            new_star,
            new_shift,
            new_residual,
            trial,
        )
        cost, total = new_cost, new_total
        damping *= 0.1
        if gain <= tolerance * cost:
            break
    return float(total)


@kernel
def gather(chosen: Array, observed: Observed) -> Observed:
    """Return the chosen pairs."""
    hkl, panel, fs, ss = observed.hkl, observed.panel, observed.fs, observed.ss
    n = 0
    for i in range(chosen.size):
        n += 1 if chosen[i] else 0
    hkl_out, panel_out = np.empty((n, 3), hkl.dtype), np.empty(n, panel.dtype)
    fs_out, ss_out = np.empty(n), np.empty(n)
    n = 0
    for i in range(chosen.size):
        if chosen[i]:
            hkl_out[n, 0], hkl_out[n, 1], hkl_out[n, 2] = hkl[i, 0], hkl[i, 1], hkl[i, 2]
            panel_out[n], fs_out[n], ss_out[n] = panel[i], fs[i], ss[i]
            n += 1
    return Observed(hkl_out, panel_out, fs_out, ss_out)


@kernel
def fit_chosen(
    real: Array,
    shift: Array,
    group: Array,
    metrics: Array,
    k: float,
    weight: float,
    prior: Array,
    refine_shift: bool,
    iterations: int,
    tolerance: float,
    chosen: Array,
    observed: Observed,
    panels: Array,
) -> float:
    """:func:`fit` to the chosen pairs; `metrics` (n, 3, 3) is scaled by the cell's lengths here."""
    basis = np.empty(metrics.shape)
    length = np.empty(3)
    for i in range(3):
        length[i] = math.sqrt(real[i, 0] ** 2 + real[i, 1] ** 2 + real[i, 2] ** 2)
    for n in range(metrics.shape[0]):
        for i in range(3):
            for j in range(3):
                basis[n, i, j] = metrics[n, i, j] * length[i] * length[j]
    return float(
        fit(
            real,
            shift,
            group,
            basis,
            k,
            weight,
            prior,
            refine_shift,
            iterations,
            tolerance,
            gather(chosen, observed),
            panels,
        )
    )


@kernel
def same_pairs(chosen: Array, hkl: Array, chosen_before: Array, hkl_before: Array) -> bool:
    """Say whether the same peaks are chosen with the same indices."""
    for i in range(chosen.size):
        if chosen[i] != chosen_before[i]:
            return False
        if chosen[i] and (
            hkl[i, 0] != hkl_before[i, 0] or hkl[i, 1] != hkl_before[i, 1] or hkl[i, 2] != hkl_before[i, 2]
        ):
            return False
    return True


@kernel
def residuals(
    bases: Array,
    shifts: Array,
    k: float,
    weight: float,
    chosen: Array,
    observed: Observed,
    panels: Array,
    out: Array,
) -> None:
    """Write R over the chosen pairs to `out`, for each of several bases (n, 3, 3) and shifts (n, 2)."""
    of_chosen = gather(chosen, observed)
    star, each = np.empty((3, 3)), np.empty((of_chosen.fs.size, 3))
    for n in range(bases.shape[0]):
        reciprocal(bases[n], star)
        out[n] = deviations(star, shifts[n], k, weight, of_chosen, panels, each)
