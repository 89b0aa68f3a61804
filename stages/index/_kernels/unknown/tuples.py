"""What the kernels of a search without a cell hand each other: spots, limits, candidates, and room to work in."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import copy
from stages.compute.kernel import kernel

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Words = NDArray[np.uint64]

# places in a model
ACROSS, ALONG, FRACTION = range(3)
# places in a result, and the first ones of a report
SCORE, LOG_TRIALS, EXPLAINED = range(3)

SIGMA_SHIFT_PX = 3.0
"""Standard error of the position of the detector, in pixels, before anything is known of it."""
N_FOUND, N_SUMMITS = 4096, 32
"""So many points of a transform are kept, and so many summits of them."""


class SpotSet(NamedTuple):
    """The spots of one pattern, or an even part of them.

    Attributes
    ----------
    q
        (3, n) scattering vectors in 1/Angstrom, sorted by |q|, the beam along z.
    rays
        (3, n) unit vectors along the diffracted rays.
    px
        What one pixel is in q, at the centre of the detector.
    q_rms
        The root mean square of |q| of the whole pattern.
    """

    q: Floats
    rays: Floats
    px: float
    q_rms: float


class Limits(NamedTuple):
    """What is asked for: the shortest and the longest axis in Angstrom, and grid points times spots for a transform."""

    shortest: float
    longest: float
    work: float


class Candidate(NamedTuple):
    """A lattice that may be the one; what refines it changes its arrays.

    Attributes
    ----------
    basis
        (3, 3), rows a, b, c in Angstrom.
    shift
        (2) by how much the detector is off along x and y, in 1/Angstrom.
    model
        (3) standard errors of spots across their rays and along them, in 1/Angstrom, and the fraction of spots that belong
        to the lattice: ACROSS, ALONG, FRACTION.
    result
        (3) S, lnN and the number of spots that belong: SCORE, LOG_TRIALS, EXPLAINED.
    """

    basis: Floats
    shift: Floats
    model: Floats
    result: Floats


class Workspace(NamedTuple):
    """Arrays that are filled anew by each refinement.

    Attributes
    ----------
    normal, right
        (12, 12), (12): the normal equations for a*, b*, c* and the shift, and their right side, then their solution.
    star
        (3, 3) the reciprocal basis.
    residuals
        (n, 3) squared distances of the spots from what is fitted to them.
    """

    normal: Floats
    right: Floats
    star: Floats
    residuals: Floats


class PlaneFit(NamedTuple):
    """What the refinement of one vector fills anew.

    Attributes
    ----------
    model
        (2) standard error of a spot's distance from its plane, in indices, and the fraction of spots that lie on planes.
    matrix, right
        (4, 4), (4): the normal equations for the vector and its phase.
    """

    model: Floats
    matrix: Floats
    right: Floats


class Grid(NamedTuple):
    """Room for one transform after the other.

    Attributes
    ----------
    found
        (N_FOUND, 5): value, t and phase of the highest points.
    peaks
        (N_SUMMITS, 4): t and phase, in turns, of the summits.
    """

    found: Floats
    peaks: Floats


class Vectors(NamedTuple):
    """Lattice vectors that were found, best first.

    Attributes
    ----------
    t
        (m, 4): a vector in Angstrom, and its phase in turns.
    masks
        uint64 (m, 2): which of the spots lie on its planes, a bit a spot.
    number
        int64 (1): how many there are.
    """

    t: Floats
    masks: Words
    number: Integers


class Tried(NamedTuple):
    """The lattices that were refined so far, their S - lnN, and, in an array of one, how many they are."""

    bases: Floats
    scores: Floats
    number: Integers


@kernel
def workspace(n: int) -> Workspace:
    """Return room for the refinement of lattices of `n` spots."""
    return Workspace(np.empty((12, 12)), np.empty(12), np.empty((3, 3)), np.empty((n, 3)))


@kernel
def plane_fit() -> PlaneFit:
    """Return room for the refinement of vectors."""
    return PlaneFit(np.empty(2), np.empty((4, 4)), np.empty(4))


@kernel
def no_candidate() -> Candidate:
    """Return a candidate of no lattice: its basis and its model are not set, and its S is -inf."""
    return Candidate(np.empty((3, 3)), np.zeros(2), np.empty(3), np.array([-np.inf, 0.0, 0.0]))


@kernel
def copy_candidate(source: Candidate, to: Candidate) -> None:
    """Make a candidate equal to another."""
    copy(source.basis, to.basis)
    to.shift[0], to.shift[1] = source.shift[0], source.shift[1]
    for i in range(3):
        to.model[i], to.result[i] = source.model[i], source.result[i]


@kernel
def margin(lattice: Candidate) -> float:
    """Return S - lnN of a lattice."""
    return float(lattice.result[SCORE] - lattice.result[LOG_TRIALS])


@kernel
def note(lattice: Candidate, score: float, tried: Tried) -> None:
    """Add a lattice that was refined, and its S - lnN, to those tried."""
    copy(lattice.basis, tried.bases[tried.number[0]])
    tried.scores[tried.number[0]] = score
    tried.number[0] += 1
