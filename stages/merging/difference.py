"""How two sets of merged data differ, light and dark of a pump-probe experiment say, beside what noise alone would make of it.

Each figure stands beside the one that two sets of this quality would have if nothing differed, which follows from the halves of
each set: they are of the same crystal structure. Without that, an R_iso says no more than how good the data are.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from stages.merging.crystals import pack
from stages.merging.merger import Merged
from stages.merging.shells import FEWEST_FOR_SIGMA, MIN_MEASUREMENTS, correlation

Floats = NDArray[np.float64]

_PER_SHELL, _SHELLS, _FEWEST_SHELLS = 50, 10, 3
"""Relative scales are taken in so many shells at most, of so many reflections at least; of fewer shells no B factor is told."""


@dataclass(frozen=True)
class Difference:
    """Figures of two data sets over the reflections that each half of each has measured often enough; NaN where there are none.

    Attributes
    ----------
    reflections
        How many these are.
    scale, b_factor
        The second set times ``scale exp(-b_factor / (2 d^2))`` is on the scale of the first; in Angstrom^2.
    correlation
        Of the intensities. `correlation_by_noise` is the product of both sets' CC*.
    r_iso
        sum |F1 - F2| / sum (F1 + F2) / 2, F being the root of the intensity, 0 for negative ones. `r_iso_by_noise` is half of
        the root of the sum of squares of what both sets have between their halves: half of the data has twice the variance.
    difference_over_sigma
        Mean of |I1 - I2| / sigma(I1 - I2), which is |dF| / sigma(dF) but for the weakest. `difference_over_sigma_by_noise` is
        the same between the halves of each set, about 0.8.
    """

    reflections: int
    scale: float
    b_factor: float
    correlation: float
    correlation_by_noise: float
    r_iso: float
    r_iso_by_noise: float
    difference_over_sigma: float
    difference_over_sigma_by_noise: float

    def figures(self) -> dict[str, float]:
        """All of it, for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class _Part:
    """The reflections of one set that are compared, scaled: whole (n,), halves (2, n), and how often each half was measured."""

    intensity: Floats
    sigma: Floats
    halves: Floats
    half_count: NDArray[np.int64]

    def times(self, factor: Floats) -> _Part:
        return _Part(self.intensity * factor, self.sigma * factor, self.halves * factor, self.half_count)

    @property
    def reliability(self) -> float:
        """The square of CC*: the part of the intensities' variance that is no noise."""
        cc = correlation(*self.halves)
        return 2.0 * cc / (1.0 + cc) if cc > 0 else math.nan

    def half_over_sigma(self) -> Floats:
        """|Ia - Ib| / sigma of the halves, sigma following from that of the whole."""
        first, second = self.half_count
        sigma = self.sigma * np.sqrt((first + second) * (1.0 / first + 1.0 / second))
        return np.asarray(np.abs(self.halves[0] - self.halves[1]) / sigma)


def difference(
    one: Merged,
    other: Merged,
    *,
    d_min_angstrom: float | None = None,
    d_max_angstrom: float | None = None,
    min_measurements: int = MIN_MEASUREMENTS,
) -> Difference:
    """Compare two sets of one point group between two resolutions, by default all that both have."""
    _, here, there = np.intersect1d(pack(one.hkl), pack(other.hkl), assume_unique=True, return_indices=True)
    s = one.inverse_d_per_angstrom[here]
    used = (s >= (1 - 1e-9) / (d_max_angstrom or math.inf)) & (s <= (1 + 1e-9) / (d_min_angstrom or 1e-9))
    for merged, at in ((one, here), (other, there)):
        used &= (merged.half_count[:, at] >= min_measurements).all(axis=0) & (merged.count[at] >= FEWEST_FOR_SIGMA)
    s, here, there = s[used], here[used], there[used]
    first, second = _part(one, here), _part(other, there)
    scale, b_factor = _scale(first.intensity, second.intensity, s)
    second = second.times(scale * np.exp(-0.5 * b_factor * s * s))
    with np.errstate(all="ignore"):
        over_sigma = np.abs(first.intensity - second.intensity) / np.hypot(first.sigma, second.sigma)
        by_noise = np.concatenate([first.half_over_sigma(), second.half_over_sigma()])
    return Difference(
        reflections=len(s),
        scale=scale,
        b_factor=b_factor,
        correlation=correlation(first.intensity, second.intensity),
        correlation_by_noise=math.sqrt(first.reliability * second.reliability),
        r_iso=_r_iso(first.intensity, second.intensity),
        r_iso_by_noise=0.5 * math.hypot(_r_iso(*first.halves), _r_iso(*second.halves)),
        difference_over_sigma=_mean(over_sigma),
        difference_over_sigma_by_noise=_mean(by_noise),
    )


def _part(merged: Merged, at: NDArray[np.intp]) -> _Part:
    return _Part(merged.intensity[at], merged.sigma[at], merged.half_intensity[:, at], merged.half_count[:, at])


def _scale(first: Floats, second: Floats, s: Floats) -> tuple[float, float]:
    """Factor and B that bring the second on the scale of the first: a line through logarithms of the shells' ratios."""
    total, others = float(first.sum()), float(second.sum())
    if not (total > 0 and others > 0):
        return math.nan, 0.0
    num_shells = min(_SHELLS, len(s) // _PER_SHELL)
    if num_shells >= _FEWEST_SHELLS:
        shells = np.array_split(np.argsort(s, kind="stable"), num_shells)
        sums = np.array([[first[shell].sum(), second[shell].sum(), np.mean(s[shell] ** 2)] for shell in shells])
        if (sums[:, :2] > 0).all():
            slope, offset = np.polyfit(sums[:, 2], np.log(sums[:, 0] / sums[:, 1]), 1)
            return float(np.exp(offset)), -2.0 * float(slope)
    return total / others, 0.0


def _r_iso(first: Floats, second: Floats) -> float:
    one, other = np.sqrt(np.maximum(first, 0.0)), np.sqrt(np.maximum(second, 0.0))
    total = float((one + other).sum())
    return 2.0 * float(np.abs(one - other).sum()) / total if total > 0 else math.nan


def _mean(values: Floats) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else math.nan
