"""By how much reflections miss their peaks, and how that changes with basis and shift."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import reciprocal
from stages.compute.kernel import kernel
from stages.compute.rays import DUAL_FS, DUAL_SS, NORMAL, ORIGIN, cross, in_pixels, place
from stages.refine._kernels.pairs import Observed, gather

Array = NDArray[Any]


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
