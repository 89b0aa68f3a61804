"""What results are worth: which of two is kept, when a search may stop, and what is accepted."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import copy, invert, same_lattice, smallest_eigenvalue
from stages.compute.kernel import kernel
from stages.index._kernels.known.judge import CERTAIN
from stages.index._kernels.known.polish import QQ, gather
from stages.index._kernels.known.tuples import N_FOUND, Found, Pattern, Result, Room, Verdict

Floats = NDArray[np.float64]


APART = 0.15  # elements of a change of basis: from here on a lattice is another one, and tells against the best
BLURRED = 0.5  # pixels: residuals across the ray from here on tell of a twin, or of a detector that is off
NEAR = 0.8  # of the spots within 0.25 lie within 0.15, or it is a lattice beside the true one
HOPE, CLEAR = 3.0, 25.0  # margins: below it is noise; a search may stop
WORTH_A_CONTEST = 8.0  # a margin of a polished basis
# the rule of acceptance: margins, the lead over another lattice, how well the orientation is fixed
ACCEPTED, ACCEPTED_WITH_FEW, ACCEPTED_IN_ANY_CASE, LEAD, FIXED = 12.0, 30.0, 50.0, 6.0, 0.02
MOST_WITHIN_025, FEW_WITHIN_020 = 0.45, 0.25  # of the spots


@kernel
def spread(basis: Floats, pattern: Pattern, room: Room) -> float:
    """How well the explained spots fix the orientation: 0 if they lie in one row through the origin, up to 1.

    The smallest eigenvalue of sum(|q|^2 1 - q q^T) over the spots within 0.2, as a fraction of the mean one.
    """
    sums = room.sums
    gather(basis, pattern.spots, pattern.ones, pattern.spots.shape[1], 0.2, sums)
    trace = sums[QQ] + sums[QQ + 3] + sums[QQ + 5]
    if not (trace > 0.0):
        return 0.0
    m = np.empty((3, 3))
    m[0, 0], m[1, 1], m[2, 2] = trace - sums[QQ], trace - sums[QQ + 3], trace - sums[QQ + 5]
    m[0, 1] = m[1, 0] = -sums[QQ + 1]
    m[0, 2] = m[2, 0] = -sums[QQ + 2]
    m[1, 2] = m[2, 1] = -sums[QQ + 4]
    mean = (m[0, 0] + m[1, 1] + m[2, 2]) / 3.0
    return float(max(0.0, smallest_eigenvalue(m) / mean))


@kernel
def keep_better(new: Result, new_basis: Floats, old: Result, basis: Floats) -> Result:
    """Put a result in the place of another if it is more significant; another lattice tells against the one that stays.

    Returns the result that stays, whose basis stands in `basis` then. A basis of zeros is none.
    """
    lead = new.verdict.margin - old.verdict.margin
    inverse = np.empty((3, 3))
    known = invert(basis, inverse) != 0.0
    alike = known and same_lattice(new_basis, inverse, APART)
    if lead > 0.0 or not known:
        copy(new_basis, basis)
        return Result(new.verdict, min(new.gap, lead) if known and not alike else new.gap, new.spread)
    return Result(old.verdict, old.gap if alike else min(old.gap, -lead), old.spread)


@kernel
def worth_a_contest(found: Found, log_trials: float) -> bool:
    """Whether any basis polished so far is better than noise often is."""
    return bool(np.any(found.score[: found.state[N_FOUND]] > log_trials + WORTH_A_CONTEST))


@kernel
def is_beside(verdict: Verdict) -> bool:
    """Whether many of the explained spots lie between 0.15 and 0.25, as they do of a lattice beside the true one."""
    return verdict.within_015 < NEAR * verdict.within_025


@kernel
def is_clear(result: Result, n: int) -> bool:
    """Whether a search may stop after a contest: far above noise and above other lattices, with half of the n spots.

    Most of them must be near: where many lie between 0.15 and 0.25, it is a lattice beside the true one, or the detector is
    off, as it is where residuals across the ray are large.
    """
    verdict = result.verdict
    near = verdict.within_025 >= 0.5 * n and not is_beside(verdict)
    sharp = verdict.residual < 2.0 * BLURRED or verdict.margin >= CERTAIN
    return bool(near and sharp and verdict.margin >= CLEAR and result.gap >= 10.0)


@kernel
def accept(result: Result, n: int, check_peaks: bool) -> bool:
    """The acceptance rule, of n spots; see the manual of index/pairs.

    The margin of noise does not depend on the cell or the number of spots.
    """
    margin = result.verdict.margin
    if margin < ACCEPTED or result.spread < FIXED:
        return False
    if not check_peaks:
        return True
    if result.gap < LEAD and margin < ACCEPTED_IN_ANY_CASE:
        return False
    most = result.verdict.within_025 >= MOST_WITHIN_025 * n
    return bool(most or (margin >= ACCEPTED_WITH_FEW and result.verdict.within_020 >= FEW_WITHIN_020 * n))
