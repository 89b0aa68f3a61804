"""One cycle of prediction refinement: which pairs count, whether they are those of before, and a fit to them if not."""

from typing import Any

from numpy.typing import NDArray

from stages.compute.algebra import copy
from stages.compute.kernel import kernel
from stages.compute.metrics import impose
from stages.refine._kernels.deviations import residuals
from stages.refine._kernels.fit import fit_chosen
from stages.refine._kernels.pairs import Observed, same_pairs, select

Array = NDArray[Any]

TOO_FEW, FITTED, SETTLED = range(3)
"""How a cycle ends: fewer than FEWEST_PAIRS count (or the lattice type's restrictions cannot be imposed); fitted; ended."""

EXCITATION, PRIOR_CELL, PRIOR_SHIFT, TOLERANCE, SPREAD, LEAST_ERROR, LEAST_DISTANCE, N_RULES = range(8)
"""Places in the rules: pixels for one unit of excitation error; what draws cell and shift to where they started; the share of R
below which a gain ends a fit; so many medians off, or by less than so much (1/Angstrom, pixels), a pair still counts."""

FEWEST_PAIRS = 3


@kernel
def cycle(  # noqa: PLR0913 - called from Python for every crystal, where each tuple costs a microsecond
    bases: Array,
    shifts: Array,
    rotations: Array,
    metrics: Array,
    refine_shift: bool,
    k: float,
    rules: Array,
    iterations: int,
    hkl: Array,
    paired: Array,
    error: Array,
    dfs: Array,
    dss: Array,
    hkl_before: Array,
    chosen_before: Array,
    chosen: Array,
    panel: Array,
    fs: Array,
    ss: Array,
    panels: Array,
    is_last: bool,
    both: Array,
) -> int:
    """Choose pairs and fit basis and shift to them; at the end compare what has become of them with the start.

    The first cycle, with nothing in `chosen_before`, imposes the restrictions of the lattice type and notes the start. Another
    one in which the same pairs count as before, and the one after the last fit, ends the refinement.

    Parameters
    ----------
    bases, shifts
        (2, 3, 3), rows a, b, c, and the detector's shift (2, 2): first what they were at the beginning, which the first cycle
        fills, with the restrictions imposed; then what they are, which is changed.
    rotations, metrics, refine_shift
        What may change: see :class:`stages.refine._kernels.fit.Freedom`.
    k, rules, iterations
        1 / wavelength; N_RULES numbers; steps of a fit at most.
    hkl, paired, error, dfs, dss
        The peaks' reflections with this basis and shift, and by how much they miss them.
    hkl_before, chosen_before, chosen
        The indices and the choice of the cycle before, and this one's choice, which is filled.
    panel, fs, ss, panels
        The peaks, and the table of :mod:`stages.compute.rays`.
    is_last, both
        Whether no fit is left; (2,): R of the start and of the end, over the pairs of the end, if this is it.
    """
    floor = rules[LEAST_ERROR : LEAST_DISTANCE + 1]
    if select(paired, error, dfs, dss, rules[SPREAD], floor, chosen) < FEWEST_PAIRS:
        return TOO_FEW
    observed, excitation = Observed(hkl, panel, fs, ss), rules[EXCITATION]
    real, shift = bases[1], shifts[1]
    if chosen_before.size == 0:
        if not impose(real, rotations):
            return TOO_FEW
        copy(real, bases[0])
        shifts[0, 0], shifts[0, 1] = shift[0], shift[1]
    elif is_last or same_pairs(chosen, hkl, chosen_before, hkl_before):
        residuals(bases, shifts, k, excitation, chosen, observed, panels, both)
        return SETTLED
    prior, tolerance = rules[PRIOR_CELL : PRIOR_SHIFT + 1], rules[TOLERANCE]
    free = (rotations, metrics, refine_shift)
    fit_chosen(real, shift, *free, k, excitation, prior, iterations, tolerance, chosen, observed, panels)
    return FITTED
