"""Kernels of prediction refinement: a damped least-squares fit of orientation, cell and detector shift to paired peaks."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import cholesky_solve, reciprocal, turn
from stages.compute.kernel import kernel
from stages.compute.metrics import impose
from stages.refine._kernels.deviations import deviations, gradients, strain_of
from stages.refine._kernels.pairs import Observed, gather

Array = NDArray[Any]
Floats = NDArray[np.float64]

MAX_DAMPINGS = 8
FIRST_DAMPING, LEAST_DAMPING = 1e-6, 1e-3
"""Shares of the diagonal: of the first step, and at least of one that follows a step that did not help."""


class Freedom(NamedTuple):
    """What may change in a fit, and how.

    Attributes
    ----------
    rotations
        float64 (m, 3, 3), the symmetry that the basis must keep.
    metrics
        float64 (n, 3, 3), spans the metrics with that symmetry, each scaled so that 1 would double the cell in its
        direction.
    shift
        Whether the detector's shift may change, too.
    """

    rotations: Array
    metrics: Array
    shift: bool


class Weights(NamedTuple):
    """What counts how much: an excitation error against a deviation in pixels, and the pull towards the start.

    Attributes
    ----------
    excitation
        Pixels for one unit of excitation error.
    prior
        float64 (2,): the weights that draw the cell's parameters, and the shift, to where they started, in square pixels.
    """

    excitation: float
    prior: Array


class Effort(NamedTuple):
    """When a fit ends: after so many steps, or when one lessens the sum of squares by less than this share."""

    iterations: int
    tolerance: float


class Workspace(NamedTuple):
    """Room for a fit of n parameters to m pairs.

    Attributes
    ----------
    star, strains, residual
        Of the basis so far: reciprocal basis (3, 3), its derivatives by the cell's parameters (n, 3, 3), deviations (m, 3).
    slope, matrix, right, lower, step
        Derivatives of one pair's deviations (3, n), normal equations (n, n) and (n,), their factor, and their solution.
    so_far, trial, pull
        Parameters that have been taken, those that are tried, and the weight that draws each to 0; (n,) each.
    new_real, new_star, new_shift, new_residual
        Where the step that is tried leads.
    """

    star: Array
    strains: Array
    residual: Array
    slope: Array
    matrix: Array
    right: Array
    lower: Array
    step: Array
    so_far: Array
    trial: Array
    pull: Array
    new_real: Array
    new_star: Array
    new_shift: Array
    new_residual: Array


@kernel
def workspace(num_pairs: int, num_cell: int, num_shifts: int, prior: Array) -> Workspace:
    """Make room for a fit, with nothing taken so far."""
    n = num_cell + 3 + num_shifts
    pull = np.zeros(n)
    pull[:num_cell] = prior[0]
    pull[num_cell + 3 :] = prior[1]
    return Workspace(
        star=np.empty((3, 3)),
        strains=np.empty((num_cell, 3, 3)),
        residual=np.empty((num_pairs, 3)),
        slope=np.empty((3, n)),
        matrix=np.empty((n, n)),
        right=np.empty(n),
        lower=np.zeros((n, n)),
        step=np.empty(n),
        so_far=np.zeros(n),
        trial=np.zeros(n),
        pull=pull,
        new_real=np.empty((3, 3)),
        new_star=np.empty((3, 3)),
        new_shift=np.empty(2),
        new_residual=np.empty((num_pairs, 3)),
    )


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
def set_up_equations(
    work: Workspace, shift: Array, freedom: Freedom, k: float, excitation: float, observed: Observed, panels: Array
) -> None:
    """Write J^T J + P and -J^T r - P (parameters so far), the lower triangle alone, to `work.matrix` and `work.right`."""
    n, num_shifts = work.right.size, 2 if freedom.shift else 0
    slope, matrix, right, residual = work.slope, work.matrix, work.right, work.residual
    for i in range(freedom.metrics.shape[0]):
        strain_of(freedom.metrics[i], work.star, work.strains[i])
    matrix[:] = 0.0
    for i in range(n):
        matrix[i, i] = work.pull[i]
        right[i] = -work.pull[i] * work.so_far[i]
    for i in range(observed.fs.size):
        own = panels[observed.panel[i]]
        gradients(work.star, work.strains, shift, k, excitation, observed.hkl[i], num_shifts, own, slope)
        for term in range(3):
            for a in range(n):
                right[a] -= slope[term, a] * residual[i, term]
                for b in range(a + 1):
                    matrix[a, b] += slope[term, a] * slope[term, b]


@kernel
def try_step(
    work: Workspace,
    real: Array,
    shift: Array,
    freedom: Freedom,
    damping: float,
    k: float,
    excitation: float,
    observed: Observed,
    panels: Array,
) -> tuple[float, float]:
    """Solve the damped equations and look where the step leads; return the cost there, and R. Infinite if it leads nowhere."""
    worked = solve(work.matrix, damping, work.right, work.lower, work.step)
    worked = worked and move(real, work.star, freedom.metrics, work.step, freedom.rotations, work.new_real)
    if not worked or reciprocal(work.new_real, work.new_star) == 0.0:
        return math.inf, math.inf
    work.new_shift[:] = shift
    if freedom.shift:
        first = freedom.metrics.shape[0] + 3
        for j in range(2):
            work.new_shift[j] += work.step[first + j]
    total = deviations(work.new_star, work.new_shift, k, excitation, observed, panels, work.new_residual)
    cost = total
    for a in range(work.step.size):
        work.trial[a] = work.so_far[a] + work.step[a]
        cost += work.pull[a] * work.trial[a] * work.trial[a]
    return cost, total


@kernel
def fit(
    real: Array,
    shift: Array,
    freedom: Freedom,
    k: float,
    weights: Weights,
    effort: Effort,
    observed: Observed,
    panels: Array,
) -> float:
    """Fit basis and shift, changed in place, to pairs of reflections and peaks; return the sum of squares left.

    Levenberg's and Marquardt's method: (J^T J + P + damping diag) x = -J^T r - P (parameters so far). A step that does not
    lessen the sum of squares is not made. `real` must have the symmetry of `freedom` already.
    """
    work = workspace(observed.fs.size, freedom.metrics.shape[0], 2 if freedom.shift else 0, weights.prior)
    reciprocal(real, work.star)
    total = deviations(work.star, shift, k, weights.excitation, observed, panels, work.residual)
    cost = total
    damping = FIRST_DAMPING
    for _ in range(effort.iterations):
        set_up_equations(work, shift, freedom, k, weights.excitation, observed, panels)
        better, new_cost, new_total = False, cost, total
        for _ in range(MAX_DAMPINGS):
            new_cost, new_total = try_step(work, real, shift, freedom, damping, k, weights.excitation, observed, panels)
            better = new_cost < cost
            if better:
                break
            damping = max(LEAST_DAMPING, 10.0 * damping)
        if not better:
            break
        gain = cost - new_cost
        real[:], work.star[:], shift[:] = work.new_real, work.new_star, work.new_shift
        work.residual[:], work.so_far[:] = work.new_residual, work.trial
        cost, total = new_cost, new_total
        damping *= 0.1
        if gain <= effort.tolerance * cost:
            break
    return float(total)


@kernel
def fit_chosen(  # noqa: PLR0913 - called from Python for every crystal, where each tuple costs a microsecond
    real: Array,
    shift: Array,
    rotations: Array,
    metrics: Array,
    refine_shift: bool,
    k: float,
    excitation: float,
    prior: Array,
    iterations: int,
    tolerance: float,
    chosen: Array,
    observed: Observed,
    panels: Array,
) -> float:
    """:func:`fit` to the chosen pairs; the metrics are scaled by the cell's lengths here."""
    scaled = np.empty(metrics.shape)
    length = np.empty(3)
    for i in range(3):
        length[i] = math.sqrt(real[i, 0] ** 2 + real[i, 1] ** 2 + real[i, 2] ** 2)
    for n in range(metrics.shape[0]):
        for i in range(3):
            for j in range(3):
                scaled[n, i, j] = metrics[n, i, j] * length[i] * length[j]
    freedom = Freedom(rotations, scaled, refine_shift)
    weights, effort = Weights(excitation, prior), Effort(iterations, tolerance)
    return float(fit(real, shift, freedom, k, weights, effort, gather(chosen, observed), panels))
