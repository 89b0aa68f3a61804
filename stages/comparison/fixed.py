"""Tests and intervals of paired differences in a run whose length does not depend on them.

Both tests ask the same: if there is no difference, the difference in each frame could as well have had the other sign. For
rates that is McNemar's test, for numbers the sign-flip test, and the one is the other if all differences are -1, 0 or 1. It
needs no variance and no normal distribution, so that few or heavy-tailed differences do no harm (Efron, 1969,
doi:10.1080/01621459.1969.10501051).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.comparison.pair_sums import PairSums

Floats = NDArray[np.float64]

_ALL_SIGNS = 14
"""Up to so many differences all their signs are tried (16,384 sums); above, the saddlepoint is right to a per cent."""

_HALVINGS = 40
"""Of an interval in a search by bisection."""

_NORMAL = NormalDist()


class Evidence(NamedTuple):
    """What the frames say about the difference of each pair.

    Attributes
    ----------
    low, high
        float64 (pairs,), an interval for the difference.
    p
        float64 (pairs,), two-sided, of the frames if there is no difference.
    p_equal
        float64 (pairs,), of the frames if the difference is as large as the size asked for, in whichever direction is
        likelier; doubled, so that it is below 1 - confidence just if the interval is between -size and size.
    """

    low: Floats
    high: Floats
    p: Floats
    p_equal: Floats


def of_rates(sums: PairSums, size: float, confidence: float) -> Evidence:
    """The exact test of McNemar, and Tango's interval, which is right with few frames that differ (and with none).

    McNemar (1947), doi:10.1007/BF02295996; Tango (1998),
    doi:10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B.
    """
    n, plus, minus = sums.frames.astype(np.float64), sums.plus, sums.minus
    z = _NORMAL.inv_cdf(0.5 + confidence / 2)
    above = np.array([_upper(-s) for s in _tango(n, plus, minus, size)])  # far below `size`: minus is large
    below = np.array([_upper(s) for s in _tango(n, plus, minus, -size)])
    return Evidence(
        low=_where_score_is(z, n, plus, minus),
        high=-_where_score_is(z, n, minus, plus),
        p=np.array([mcnemar(round(b), round(c)) for b, c in zip(plus, minus, strict=True)]),
        p_equal=np.minimum(1.0, 2 * np.maximum(above, below)),
    )


def of_numbers(sums: PairSums, column: Floats, size: float, confidence: float, rare: float) -> Evidence:
    """The sign-flip test, and the interval of all R for which the same test of d - R a is not rejected.

    In the interval the sum over the signs is taken to be normal: (sum e)^2 <= z^2 sum e^2 with e = d - R a. For a mean that
    is Student's interval to order 1/n, for a ratio Fieller's (1954), doi:10.1111/j.2517-6161.1954.tb00159.x.
    """
    z = _NORMAL.inv_cdf(0.5 + confidence / 2)
    low, high = _fieller(sums, z, rare)
    x, y = column[:, sums.first], column[:, sums.second]
    p = [sign_flip(d[np.isfinite(d)]) for d in (x - y).T]
    one_sided = []
    for r in (-size, size):
        at = np.full(len(low), r)
        with np.errstate(all="ignore"):
            score = np.sign(r) * (r * sums.a - sums.d) / np.sqrt(sums.squares(at, rare))
        one_sided.append([_upper(s) if math.isfinite(s) else 1.0 for s in score])
    return Evidence(low, high, np.array(p), np.minimum(1.0, 2 * np.max(one_sided, axis=0)))


def mcnemar(plus: int, minus: int) -> float:
    """The two-sided exact p of McNemar's test: of a fair coin with `plus` heads and `minus` tails.

    >>> mcnemar(5, 0), mcnemar(3, 3)
    (0.0625, 1.0)
    """
    n, fewer = plus + minus, min(plus, minus)
    if 2 * fewer >= n:
        return 1.0
    k = np.arange(1, fewer + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log((n - k + 1) / k))])
    total = logs[-1] + math.log(float(np.exp(logs - logs[-1]).sum()))
    return min(1.0, math.exp(total + math.log(2) * (1 - n)))


def sign_flip(d: Floats) -> float:
    """The two-sided p of the sum of d, if each d could as well have had the other sign.

    With K(t) = sum log cosh(t d), the tail of the sum is found from its saddlepoint K'(t) = s by the formula of Lugannani and
    Rice (1980), doi:10.2307/1426607, as Robinson (1982), doi:10.1111/j.2517-6161.1982.tb01191.x, does it for permutation
    tests. Sums are a multiple of the smallest |d| where d are counts; so s is less by that, which is the correction for
    continuity.

    >>> round(sign_flip(np.array([1.0, 2.0, 0.5])), 4), sign_flip(np.zeros(3))
    (0.25, 1.0)
    """
    size = np.sort(np.abs(d[d != 0]))
    s = abs(float(d.sum()))
    if not len(size):
        return 1.0
    if len(size) <= _ALL_SIGNS:
        sums = np.zeros(1)
        for step in size:
            sums = np.concatenate([sums - step, sums + step])
        return float(np.mean(np.abs(sums) >= s * (1 - 1e-12)))
    scale = math.sqrt(float((size**2).sum()))
    size, s = size / scale, (s - size[0]) / scale
    if s < 0.1:  # the formula is 0/0 at 0; so near to it a normal sum is right to a per cent
        return min(1.0, 2 * _upper(s)) if s > 0 else 1.0
    t = _saddlepoint(size, s)
    r = math.sqrt(2 * (t * s - float(_log_cosh(t * size).sum())))
    u = t * math.sqrt(float((size**2 / np.cosh(np.minimum(t * size, 300.0)) ** 2).sum()))
    tail = _upper(r) + math.exp(-r * r / 2) / math.sqrt(2 * math.pi) * (1 / u - 1 / r)
    return min(1.0, max(0.0, 2 * tail))


def _saddlepoint(size: Floats, s: float) -> float:
    """The t at which sum |d| tanh(t |d|) is s."""
    low, high = 0.0, 1.0
    while float((size * np.tanh(high * size)).sum()) < s and high < 1e12:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if float((size * np.tanh(middle * size)).sum()) < s:
            low = middle
        else:
            high = middle
        if high - low < 1e-10 * high:
            break
    return 0.5 * (low + high)


def _log_cosh(x: Floats) -> Floats:
    return np.asarray(x + np.log1p(np.exp(-2 * x)) - math.log(2))


def _fieller(sums: PairSums, z: float, rare: float) -> tuple[Floats, Floats]:
    """All R with (d - R a)^2 <= z^2 (dd - 2 R da + R^2 aa + unseen), letters being sums: what is between the roots."""
    square = sums.a**2 - z * z * sums.aa
    half = sums.d * sums.a - z * z * sums.da
    constant = sums.d**2 - z * z * (sums.dd + sums.unseen(rare))
    bounded = square > 0
    square = np.where(bounded, square, 1.0)
    root = np.sqrt(np.maximum(half * half - square * constant, 0.0))
    return np.where(bounded, (half - root) / square, -np.inf), np.where(bounded, (half + root) / square, np.inf)


def _tango(n: Floats, plus: Floats, minus: Floats, difference: float | Floats) -> Floats:
    """The score (plus - minus - n D) / sqrt(n (2 q + D (1 - D))) if D is the difference.

    q is the likeliest probability that the second alone has it, if D is the difference; where D < 0 the two are exchanged,
    so that the score changes its sign and nothing else.
    """
    d = np.broadcast_to(np.asarray(difference, np.float64), n.shape)
    sign = np.where(d < 0, -1.0, 1.0)
    d, b, c = np.abs(d), np.where(d < 0, minus, plus), np.where(d < 0, plus, minus)
    linear = (2 * n - b + c) * d - b - c
    q = (np.sqrt(np.maximum(linear**2 + 8 * n * c * d * (1 - d), 0.0)) - linear) / np.maximum(4 * n, 1.0)
    variance = n * (2 * q + d * (1 - d))
    with np.errstate(all="ignore"):
        score = (b - c - n * d) / np.sqrt(variance)
    return sign * np.where(variance > 0, score, 0.0)


def _where_score_is(z: float, n: Floats, plus: Floats, minus: Floats) -> Floats:
    """The difference at which the score, which falls with it, is z; the ends are -1 and 1."""
    low, high = np.full(len(n), -1.0), np.ones(len(n))
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        more = _tango(n, plus, minus, middle) > z
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    return low


def _upper(z: float) -> float:
    """The part of a normal distribution above z."""
    return 0.5 * math.erfc(z / math.sqrt(2))
