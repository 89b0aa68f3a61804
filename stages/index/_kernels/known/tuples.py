"""What the kernels of a search with a known cell hand each other: the cell, its tables, the pattern, what has been found."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.index._kernels.spots import N_COUNTS

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]


MAX_SOLUTIONS = 320
CAPPED = 0.09  # squared distance from an integer: beyond 0.3 a spot is off, however far
# places in the state of a search
N_FOUND, N_HYPOTHESES, N_POLISHED, IS_SURE, ENOUGH, N_STATE = range(6)


class Cell(NamedTuple):
    """The target.

    Attributes
    ----------
    basis
        (3, 3) primitive reduced basis in any orientation, shortest first.
    n_sym
        Number of its proper rotations.
    volume, longest
        In Angstrom^3; the longest axis in Angstrom.
    variants
        (k, 3, 3), the identity first: changes of basis that leave the metric nearly, but not exactly, as it is.
    twins
        (t, 3, 3): changes of basis to orientations that share many lattice points (:func:`stages.index._twins.twins`).
    """

    basis: Floats
    n_sym: int
    volume: float
    longest: float
    variants: Floats
    twins: Floats


class Tables(NamedTuple):
    """What is prepared for a cell.

    Attributes
    ----------
    table, table_length, canonical, canonical_length
        Reciprocal vectors (3, m) sorted by length, and those of them that are unique under the cell's rotations.
    axes, signs
        Rows of the basis to scan for, and for each 1 if a rotation of the lattice reverses it, else 2.
    directions
        float32 (3, d) unit vectors on a half sphere.
    cosine, sine
        float32 circle of MAX_STEPS steps.
    """

    table: Floats
    table_length: Floats
    canonical: Floats
    canonical_length: Floats
    axes: Integers
    signs: Integers
    directions: Singles
    cosine: Singles
    sine: Singles


class Pattern(NamedTuple):
    """The spots of one pattern.

    Attributes
    ----------
    spots, length, ones
        (3, n) sorted by |q|; (n) their |q|, and weights of 1.
    subset, n_start
        (3, m) of them, evenly spread, for the search; so many of these are of low resolution.
    sample
        (3, s) of low resolution in mixed order, for the sequential test.
    k0, px
        1 / wavelength; what one pixel is in q, at the centre of the detector.
    q_rms, log_trials
        The root mean square of |q|; the logarithm of the number of orientations that can be told apart by misfits.
    reach_px
        How far the spots may have been moved, in pixels, by a shift that was chosen to suit them; 0 if they were not.
    moved_x, moved_y
        That shift of the detector, in 1/Angstrom.
    """

    spots: Floats
    length: Floats
    ones: Floats
    subset: Floats
    n_start: int
    sample: Floats
    k0: float
    px: float
    q_rms: float
    log_trials: float
    reach_px: float
    moved_x: float
    moved_y: float


class Found(NamedTuple):
    """The bases polished so far, (MAX_SOLUTIONS, ...), and the state of the search.

    Attributes
    ----------
    basis, inverse, score, counts
        The bases, their inverses, their S, and how many spots lie within each threshold.
    state
        int64 (N_STATE): see the constants N_FOUND ...
    """

    basis: Floats
    inverse: Floats
    score: Floats
    counts: Integers
    state: Integers


class Verdict(NamedTuple):
    """How significant a basis is, and what it explains (:func:`stages.index._kernels.known.judge.judge`).

    Attributes
    ----------
    margin
        S - lnN in nats; minus infinity if the basis explains no more than chance does.
    score, log_trials
        S and lnN of the shape of tolerance with the largest margin, in nats; 0 if there is none.
    residual
        The median residual across the ray, in pixels, of the spots within 0.25; infinity if there is none.
    within_015, within_020, within_025
        How many spots have a misfit below 0.15, 0.2 and 0.25 (whole numbers).
    shift_x, shift_y
        The shift of the detector that belongs to the basis, in 1/Angstrom: what the spots were moved by, and what was fitted.
    """

    margin: float
    score: float
    log_trials: float
    residual: float
    within_015: float
    within_020: float
    within_025: float
    shift_x: float
    shift_y: float


class Result(NamedTuple):
    """What a contest ends with.

    Attributes
    ----------
    verdict
        That of the best basis.
    gap
        By how much its margin exceeds that of the best other lattice.
    spread
        How well its spots fix the orientation, 0 to 1 (:func:`stages.index._kernels.known.accept.spread`).
    """

    verdict: Verdict
    gap: float
    spread: float


class Report(NamedTuple):
    """What a search ends with.

    Attributes
    ----------
    result
        That of the contest; a score of 0 if no basis was found.
    num_spots
        The spots without doubles and what is the beam's.
    hypotheses, polished
        How many orientations were tried, and how many of those polished.
    """

    result: Result
    num_spots: int
    hypotheses: int
    polished: int


NO_VERDICT = Verdict(-np.inf, 0.0, 0.0, np.inf, 0.0, 0.0, 0.0, 0.0, 0.0)


class Room(NamedTuple):
    """Arrays that are filled anew and again.

    Attributes
    ----------
    sums, scratch
        (22); (3, 3, 3).
    scores
        float32, for as many numbers as there are directions, and MAX_STEPS at least.
    """

    sums: Floats
    scratch: Floats
    scores: Singles


@kernel
def room_for_bases() -> Found:
    """Return an empty list."""
    return Found(
        np.empty((MAX_SOLUTIONS, 3, 3)),
        np.empty((MAX_SOLUTIONS, 3, 3)),
        np.empty(MAX_SOLUTIONS),
        np.empty((MAX_SOLUTIONS, N_COUNTS), np.int64),
        np.zeros(N_STATE, np.int64),
    )


@kernel
def no_result(log_trials: float) -> Result:
    """Return the result of a search that has not found a basis yet."""
    return Result(Verdict(-log_trials, 0.0, log_trials, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0.0, 0.0)
