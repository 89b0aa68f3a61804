"""Tests and intervals of paired differences that hold however often one looks, and whatever makes the run end.

Somebody who looks at every frame and stops at p < 0.05 is wrong far more often than in 5 % of runs. The statistics here are
made of processes E that are 1 at the start and are not expected to grow if there is no difference (nonnegative martingales):
the winnings of somebody who bets that there is one. By Ville's inequality E ever reaches 1 / alpha with a probability of
alpha at most, so p = 1 / E may be looked at all the time, and all differences R with E(R) < 1 / alpha are an interval that
holds all the time. Ramdas and others (2023), doi:10.1214/23-STS894, is the review.

**Rates**, d = -1, 0 or 1: who doubts that the mean of d is m or less puts the part f of what he has on (1 + d) / (1 + m),
which has a mean of 1 or less if he is wrong:

    E = mean over f of the product over frames of (1 - f) + f (1 + d) / (1 + m)

Waudby-Smith and Ramdas (2024), doi:10.1093/jrsssb/qkad009. The mean over some f costs little and asks nobody to know f. E is
made of three counts, so the order of frames does not count.

**Numbers**: if e = d - R a could as well have the other sign, exp(l sum(e) - l^2 sum(e^2) / 2) is such a process for each l
(de la Peña, 1999, doi:10.1214/aop/1022677386), whatever e is otherwise, so that heavy tails do no harm. Its mean over
normally distributed l is

    E = exp(r S^2 / (2 (1 + r V))) / sqrt(1 + r V),    S = sum(e), V = sum(e^2)

Howard and others (2021), doi:10.1214/20-AOS1991. r is set once a few differences have said how large they are. Before that,
and where differences stay rare, the bets on rates count, with d as a part of the largest d; E is the mean of both.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stages.comparison.fixed import Evidence
from stages.comparison.pair_sums import PairSums

Floats = NDArray[np.float64]

_PARTS = 0.99 * 0.5 ** np.arange(12)
"""What is put on a bet: all but a rest, half of that, ... One of them is within a factor of sqrt(2) of the best one, with
which E grows by 91 % of the best rate (it is 2 c - c^2 for c times the best f). The least is the best one for a mean of
0.0005 where the two differ in every frame."""

WORTH_OF_PARTS = math.log(len(_PARTS))
"""What the choice among them costs at most, in units of log E."""

_BEST_AT = 1000
"""Number of frames for which r is best; with a tenth or ten times as many the interval is wider by a tenth."""

_BEST_RV = 8.0
"""r V for which the interval is narrowest at alpha = 0.05; it is 13 at 0.005, and the minimum is flat."""

_FURTHEST = 0.9
"""No bet is made on numbers with a mean nearer than this to the largest difference seen, since a larger one may come."""

_HALVINGS = 30
_DOUBLINGS = 40


def of_pairs(sums: PairSums, size: float, confidence: float, rare: float) -> Evidence:
    """What the frames say so far, for rates and for numbers."""
    p, p_equal = p_values(sums, size, rare)
    low, high = _interval(sums, math.log(1 / (1 - confidence)), rare)
    return Evidence(low, high, p, p_equal)


def p_values(sums: PairSums, size: float, rare: float) -> tuple[Floats, Floats]:
    """Of no difference, and of one as large as `size` (in the direction that is likelier)."""
    zero = np.zeros(len(sums.frames))
    p = np.exp(-np.maximum(_log_e(sums, zero, rare), 0.0))
    one, other = (np.exp(-np.maximum(_log_e(sums, zero + r, rare), 0.0)) for r in (-size, size))
    r = sums.difference
    between = (r > -size) & (r < size)
    return p, np.where(between, np.maximum(one, other), 1.0)


def _log_e(sums: PairSums, r: Floats, rare: float) -> Floats:
    """float64 (pairs,): log E against the difference R being r."""
    n = sums.frames.astype(np.float64)
    if sums.measure.is_rate:
        return _two_sided_bets(n, sums.plus, sums.minus, r)
    largest = np.where(sums.unequal > 0, sums.largest, sums.largest_value)
    unit = np.where(largest > 0, largest, 1.0)
    mean = np.clip(r * sums.a / np.maximum(n, 1) / unit, -_FURTHEST, _FURTHEST)
    bets = _two_sided_bets(n, (sums.absolute + sums.d) / 2 / unit, (sums.absolute - sums.d) / 2 / unit, mean)
    known = sums.scale > 0
    rho = np.where(known, _BEST_RV / (_BEST_AT * np.where(known, sums.scale, 1.0)), 0.0)
    s, rv = sums.d - r * sums.a, rho * sums.squares(r, rare)
    mixture = rho * s * s / (2 * (1 + rv)) - 0.5 * np.log1p(rv)
    return np.asarray(np.logaddexp(bets, mixture) - math.log(2))


def _two_sided_bets(n: Floats, plus: Floats, minus: Floats, mean: Floats) -> Floats:
    """log of the mean of both E: that the mean of d is more, and that it is less.

    Parts of a frame may be counted: with d = 0.3 as 0.3 of a frame with 1 and 0.7 of one with 0, E is less than it could
    be, since the logarithm is concave.
    """
    more, less = _log_bets(n, plus, minus, mean), _log_bets(n, minus, plus, -mean)
    return np.asarray(np.logaddexp(more, less) - math.log(2))


def _log_bets(n: Floats, plus: Floats, minus: Floats, mean: Floats) -> Floats:
    """float64 (pairs,): log E of the bets that the mean of d is more than `mean`."""
    possible = np.abs(mean) < 1
    worth = 1 / (1 + np.where(possible, mean, 0.0))[:, None]
    logs = (
        plus[:, None] * np.log(1 - _PARTS + 2 * _PARTS * worth)
        + (n - plus - minus)[:, None] * np.log(1 - _PARTS + _PARTS * worth)
        + minus[:, None] * np.log(1 - _PARTS)
    )
    log_e = np.logaddexp.reduce(logs, axis=1) - math.log(len(_PARTS))
    return np.where(possible, log_e, np.where(mean >= 1, -np.inf, np.inf))


def _interval(sums: PairSums, enough: float, rare: float) -> tuple[Floats, Floats]:
    """All R with log E(R) < enough: outwards from the mean in doubled steps, then by bisection."""
    centre = np.nan_to_num(sums.difference)
    n = np.maximum(sums.frames, 1)
    step = np.nan_to_num(sums.error) + np.where(sums.largest_value > 0, sums.largest_value, 1.0) / n
    if sums.measure.relative:
        step = np.nan_to_num(sums.error) + 1.0 / n
    ends = []
    for sign in (-1.0, 1.0):
        inside, outside = centre, centre + sign * step
        for k in range(_DOUBLINGS):
            beyond = _log_e(sums, outside, rare) >= enough
            if beyond.all():
                break
            inside = np.where(beyond, inside, outside)
            outside = np.where(beyond, outside, centre + sign * step * 2.0 ** (k + 1))
        for _ in range(_HALVINGS):
            middle = 0.5 * (inside + outside)
            beyond = _log_e(sums, middle, rare) >= enough
            inside, outside = np.where(beyond, inside, middle), np.where(beyond, middle, outside)
        ends.append(np.where(_log_e(sums, outside, rare) >= enough, outside, sign * np.inf))
    if sums.measure.is_rate:
        return np.maximum(ends[0], -1.0), np.minimum(ends[1], 1.0)
    return ends[0], ends[1]
