"""Is it a lattice, or do peaks of these radii lie near its points at any azimuth?

Peaks of a powder lie on a few rings. Their |q| is the same, or one of a few, and so is their component along the beam: where
one of them lies near a plane of a lattice, all do. What takes the indices of a spot for independent and random is deceived by
that: a lattice with an axis along the beam explains the peaks of a ring by the dozen.

So the spots are compared with spots of the same radii at other azimuths. Each spot is turned about the beam by M angles, evenly
spaced, of which the first is none; for a tolerance, h_k says whether spot k is near a lattice point as it stands, and p_k is
the share of its M places at which it would be. Were the azimuths random, any of the places had been as probable as the one
where it stands. Then h_k / p_k has a mean of 1, and so has the product over the spots of 1 - w + w h_k / p_k for any w. Hence

    S = max over w of sum ln(1 - w + w h_k / p_k)

is the logarithm of a likelihood ratio, which random azimuths raise to S with a probability below exp(-S) (Markov), for one
lattice, one w and one tolerance. If all p_k are the same, it is n KL(m/n || p), as in
:func:`stages.index._kernels.spots.chernoff`.

What is known of a spot's radius is how the other spots' radii lie about it, no more. So the places are spread in radius, too,
as far as to the second nearest radius of another spot: nothing for the peaks of a ring, a good deal for a few spots far apart,
whose radii are evidence as well.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import invert
from stages.compute.kernel import FAST, kernel
from stages.index._kernels.unknown.residuals import moved_back

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CUBES = np.array([0.05, 0.1, 0.15, 0.25])
"""Tolerances of the indices: the largest difference from whole numbers."""
ACROSS_PX = np.array([0.5, 0.9, 1.6])
"""Tolerances across the ray, in pixels, of the cylinders about lattice points."""
ALONG = np.array([1e-3, 3e-3])
"""Tolerances along the ray, in 1/Angstrom."""
N_CYLINDERS = ACROSS_PX.size * ALONG.size
N_SHAPES = N_CYLINDERS + CUBES.size
NEAREST = 2
"""A spot's radius is known to the distance of this nearest of the others."""
LEAST_KNOWN, LEAST_UNKNOWN = 16.0, 24.0
"""S, in nats, that tells a lattice of FEW spots from random azimuths, with a cell, and without one, which is freer to choose.

Of few peaks at random azimuths the lattices that a search chooses have up to 13 and 17, of 150 up to 18; crystals have from 17
and from 70 on, the former a few spots of long axes. The figures are in docs/studies/indexing."""
FEW, MORE = 20, 2.0
"""More spots tell more lattices apart, among which one may be near by chance: n of them must have MORE ln(n / FEW) more."""
PART, GLANCE, LOOK = 48, 1024, 16384
"""At first so many of the spots are turned to so many places in all, then all spots to more of them."""
FEWEST_PLACES, FEWEST_TO_LOOK = 40, 64
"""Each spot is turned to so many places at least."""
FAR_PX = 1.0
"""Rings are as wide: a shift that is smaller does not take them off their centre."""
GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, are evenly spread however many there are."""
N_CYCLES = 3
"""So often w is improved, by expectation and maximization."""
TOO_LARGE, TOO_SMALL = 1e200, 1e-200
"""A product beyond these is put away as its logarithm."""


class Places(NamedTuple):
    """The places to which each spot is turned.

    Attributes
    ----------
    cosine, sine
        (M,) of the angles, the first of which is 0.
    spread
        (M,) between -1 and 1: by how much of its step a spot's radius is changed; the first is 0.
    """

    cosine: Floats
    sine: Floats
    spread: Floats


@kernel
def places(n_places: int) -> Places:
    """Return so many places."""
    angle = 2.0 * np.pi / n_places * np.arange(n_places)
    spread = (2.0 * ((GOLDEN * np.arange(n_places) + 0.5) % 1.0) - 1.0).astype(np.float64)
    spread[0] = 0.0
    return Places(np.cos(angle), np.sin(angle), spread)


@kernel
def radius_steps(length: Floats) -> Floats:
    """Return how far from each length the NEAREST nearest of the others is, 0 if there are too few.

    ``length`` (n) is sorted.
    """
    n = length.size
    steps = np.zeros(n)
    for i in range(n):
        best, second = np.inf, np.inf
        for j in range(max(0, i - NEAREST), min(n, i + NEAREST + 1)):
            if j != i:
                d = abs(length[j] - length[i])
                if d < best:
                    best, second = d, best
                elif d < second:
                    second = d
        steps[i] = second if second < np.inf else 0.0
    return steps


class Turned(NamedTuple):
    """One spot at all its places, (M,).

    Attributes
    ----------
    x, y, z
        Where it is there, less the shift of the detector, in 1/Angstrom.
    misfit
        The largest difference of an index from a whole number there, 1 where all round to 0.
    """

    x: Floats
    y: Floats
    z: Floats
    misfit: Floats


@kernel(fastmath=FAST)
def turn_spot(basis: Floats, spot: Floats, relative: float, shift: Floats, k0: float, to: Places, out: Turned) -> None:
    """Fill `out` with a spot turned about the beam to each of its places, and then moved back by a shift of the detector.

    `relative` is the largest change of its radius. The shift moves a spot with the ray u by u_z (s - (u.s) u); the ray of an
    elastic spot is (q + k0 z) / k0.
    """
    x0, y0, z0, s0, s1 = spot[0], spot[1], spot[2], shift[0], shift[1]
    for j in range(out.misfit.size):
        f = 1.0 + relative * to.spread[j]
        x, y, z = f * (to.cosine[j] * x0 - to.sine[j] * y0), f * (to.sine[j] * x0 + to.cosine[j] * y0), f * f * z0
        ux, uy, uz = x / k0, y / k0, z / k0 + 1.0
        on_ray = ux * s0 + uy * s1
        x, y, z = x - uz * (s0 - on_ray * ux), y - uz * (s1 - on_ray * uy), z + uz * on_ray * uz
        h0 = basis[0, 0] * x + basis[0, 1] * y + basis[0, 2] * z
        h1 = basis[1, 0] * x + basis[1, 1] * y + basis[1, 2] * z
        h2 = basis[2, 0] * x + basis[2, 1] * y + basis[2, 2] * z
        r0, r1, r2 = np.rint(h0), np.rint(h1), np.rint(h2)
        misfit = max(abs(h0 - r0), abs(h1 - r1), abs(h2 - r2))
        out.x[j], out.y[j], out.z[j] = x, y, z
        out.misfit[j] = 1.0 if r0 * r0 + r1 * r1 + r2 * r2 == 0.0 else misfit


@kernel
def count_shapes(
    basis: Floats, star: Floats, x: float, y: float, z: float, misfit: float, k0: float, px: float, counts: Integers
) -> None:
    """Add 1 to the counts of the shapes about its lattice point in which a spot lies, each shape without the smaller ones.

    Counts are cumulative only after :func:`accumulate`.
    """
    t = 0
    while misfit >= CUBES[t]:
        t += 1
    counts[N_CYLINDERS + t] += 1
    h0 = np.rint(basis[0, 0] * x + basis[0, 1] * y + basis[0, 2] * z)
    h1 = np.rint(basis[1, 0] * x + basis[1, 1] * y + basis[1, 2] * z)
    h2 = np.rint(basis[2, 0] * x + basis[2, 1] * y + basis[2, 2] * z)
    rx = x - star[0, 0] * h0 - star[0, 1] * h1 - star[0, 2] * h2
    ry = y - star[1, 0] * h0 - star[1, 1] * h1 - star[1, 2] * h2
    rz = z - star[2, 0] * h0 - star[2, 1] * h1 - star[2, 2] * h2
    ray2 = x * x + y * y + (z + k0) * (z + k0)
    on_ray = rx * x + ry * y + rz * (z + k0)
    along2 = on_ray * on_ray / ray2
    across2 = rx * rx + ry * ry + rz * rz - along2
    i = j = 0
    while i < ACROSS_PX.size and across2 >= (ACROSS_PX[i] * px) ** 2:
        i += 1
    while j < ALONG.size and along2 >= ALONG[j] ** 2:
        j += 1
    if i < ACROSS_PX.size and j < ALONG.size:
        counts[i * ALONG.size + j] += 1


@kernel
def accumulate(counts: Integers) -> None:
    """Let each shape's count include those of the smaller ones within it."""
    for t in range(N_CYLINDERS + 1, N_SHAPES):
        counts[t] += counts[t - 1]
    for i in range(ACROSS_PX.size):
        for j in range(1, ALONG.size):
            counts[i * ALONG.size + j] += counts[i * ALONG.size + j - 1]
    for i in range(1, ACROSS_PX.size):
        for j in range(ALONG.size):
            counts[i * ALONG.size + j] += counts[(i - 1) * ALONG.size + j]


@kernel
def turned_counts(
    basis: Floats, spots: Floats, shift: Floats, k0: float, px: float, to: Places, own: Integers, all_: Integers
) -> bool:
    """Count for each spot and shape whether it is near a lattice point as it stands, and at how many of its places.

    `own` and `all_` are (n, N_SHAPES); see :func:`azimuth_score` for the rest. False if the basis is none.
    """
    n, m = spots.shape[1], to.spread.size
    star, length = np.empty((3, 3)), np.empty(n)
    if invert(basis, star) == 0.0:
        return False
    for k in range(n):
        length[k] = np.sqrt(spots[0, k] ** 2 + spots[1, k] ** 2 + spots[2, k] ** 2)
    steps = radius_steps(length)
    turned, spot = Turned(np.empty(m), np.empty(m), np.empty(m), np.empty(m)), np.empty(3)
    for k in range(n):
        for i in range(3):
            spot[i] = spots[i, k]
        relative = min(0.5, steps[k] / length[k]) if length[k] > 0.0 else 0.0
        turn_spot(basis, spot, relative, shift, k0, to, turned)
        for j in range(m):
            if turned.misfit[j] < CUBES[-1]:
                x, y, z = turned.x[j], turned.y[j], turned.z[j]
                count_shapes(basis, star, x, y, z, turned.misfit[j], k0, px, all_[k])
            if j == 0:
                own[k] = all_[k]
        accumulate(own[k])
        accumulate(all_[k])
    return True


@kernel
def likelihood_ratio(ratios: Floats, n: int) -> float:
    """Return max over w of n spots' sum ln(1 - w + w h/p), `ratios` being 1/p of those that are near: h/p of others is 0."""
    m = ratios.size
    if m == 0:
        return 0.0
    w = 0.9 * m / n
    for _ in range(N_CYCLES):
        total = 0.0
        for k in range(m):
            total += w * ratios[k] / (1.0 - w + w * ratios[k])
        w = min(0.99, total / n)
    s, product = (n - m) * np.log(1.0 - w), 1.0
    for k in range(m):
        product *= 1.0 - w + w * ratios[k]
        if product > TOO_LARGE or product < TOO_SMALL:
            s += np.log(product)
            product = 1.0
    return float(max(0.0, s + np.log(product)))


@kernel
def azimuth_score(
    basis: Floats, spots: Floats, shift: Floats, k0: float, px: float, n_places: int, enough: float
) -> float:
    """Return the largest S of all tolerances against random azimuths, or the first that is `enough`.

    Parameters
    ----------
    basis
        (3, 3), rows a, b, c in Angstrom.
    spots
        (3, n) in 1/Angstrom, sorted by |q|, about whatever they are turned about.
    shift
        (2) of the detector, in 1/Angstrom: by so much they are moved back after they were turned.
    k0, px
        1 / wavelength; what a pixel is in q at the centre of the detector.
    n_places
        M: S is at most ln M for each spot.
    """
    n = spots.shape[1]
    own, everywhere = np.zeros((n, N_SHAPES), np.int64), np.zeros((n, N_SHAPES), np.int64)
    if n == 0 or not turned_counts(basis, spots, shift, k0, px, places(n_places), own, everywhere):
        return 0.0
    ratios = np.empty(n)
    best = 0.0
    for shape in range(N_SHAPES):
        m = 0
        for k in range(n):
            if own[k, shape] > 0:
                ratios[m] = n_places / everywhere[k, shape]
                m += 1
        best = max(best, likelihood_ratio(ratios[:m], n))
        if best >= enough:
            break
    return best


@kernel
def in_order(q: Floats) -> Floats:
    """Return the spots of q (3, n) that are finite, sorted by |q|."""
    length = np.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2)
    order = np.argsort(length)
    n = length.size
    while n > 0 and not length[order[n - 1]] < np.inf:  # what is not finite sorts last
        n -= 1
    spots = np.empty((3, n))
    for k in range(n):
        for i in range(3):
            spots[i, k] = q[i, order[k]]
    return spots


@kernel
def beats_azimuths_about(basis: Floats, spots: Floats, shift: Floats, k0: float, px: float, least: float) -> bool:
    """Whether S of spots, (3, n), about the beam is `least`.

    A glance at an even part of them settles it for most crystals; else all are turned to as many places as there is work for.
    """
    n = spots.shape[1]
    if n == 0:
        return False
    n_part = min(n, PART)
    part = np.empty((3, n_part))
    for k in range(n_part):
        for i in range(3):
            part[i, k] = spots[i, k * n // n_part]
    if azimuth_score(basis, part, shift, k0, px, max(FEWEST_PLACES, GLANCE // n_part), least) >= least:
        return True
    return azimuth_score(basis, spots, shift, k0, px, max(FEWEST_TO_LOOK, LOOK // n), least) >= least


@kernel
def beats_random_azimuths(basis: Floats, q: Floats, shift: Floats, k0: float, px: float, least: float) -> bool:
    """Whether a lattice explains spots better than it does spots of the same radii at random azimuths.

    S must be `least` for a few spots, and more for many.

    `q` is (n, 3) in any order, `shift` (2) that of the detector, all in 1/Angstrom. A shift that a search has fitted to a
    powder moves its rings off their centre, so that they are no rings about the new one. With a shift of a pixel or more,
    therefore, the lattice must beat azimuths about either.
    """
    least += MORE * np.log(max(1.0, q.shape[0] / FEW))
    if not beats_azimuths_about(basis, in_order(q.T), shift, k0, px, least):
        return False
    if shift[0] ** 2 + shift[1] ** 2 < (FAR_PX * px) ** 2:
        return True
    return beats_azimuths_about(basis, in_order(moved_back(q.T, shift, k0)), np.zeros(2), k0, px, least)
