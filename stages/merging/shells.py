"""How good merged data are, in shells of resolution of equal volume and over all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from toolz import sliding_window

from stages.merging._kernels import equivalents as kernel
from stages.merging.merger import Merged
from stages.merging.point_group import PointGroup, centring_code

MIN_MEASUREMENTS = 2
"""As process_hkl: what has been measured less often is not merged."""

_MOST_INDICES = 500_000_000
"""Indices in the box of a resolution shell beyond which possible reflections are not counted, which takes some 3 s for so many.
A ribosome's cell of 400 x 400 x 900 A has 75 million at 2.5 A."""


FEWEST_FOR_SIGMA = 4
"""sigma follows from the spread of the measurements, so that I / sigma is distributed like Student's t, which for n of them
has a mean from n = 3 and a variance from n = 4 on: with fewer, those whose spread happens to be nil would be the whole mean."""


@dataclass(frozen=True)
class Shell:
    """Figures of merit of one shell; NaN where there is nothing to tell them from.

    Attributes
    ----------
    d_max_angstrom, d_min_angstrom
        Its limits.
    possible, measured, observations
        Reflections that there are in the asymmetric unit, those measured often enough, and how often they were in all.
    cc_half, r_split
        Correlation of the two halves' means, and sum |I1 - I2| / sum (I1 + I2) sqrt 2 (White et al. 2012,
        doi:10.1107/S0021889812002312), over reflections that both halves have measured often enough.
    i_over_sigma
        Mean of I / sigma(I), over reflections of at least `FEWEST_FOR_SIGMA` measurements; NaN if there are none.
    """

    d_max_angstrom: float
    d_min_angstrom: float
    possible: int
    measured: int
    observations: int
    cc_half: float
    r_split: float
    i_over_sigma: float

    @property
    def completeness(self) -> float:
        """Measured of those that there are, 0 to 1."""
        return self.measured / self.possible if self.possible else math.nan

    @property
    def multiplicity(self) -> float:
        """How often a measured reflection was measured, on the average."""
        return self.observations / self.measured if self.measured else math.nan

    @property
    def cc_star(self) -> float:
        """Estimated correlation with the truth, sqrt(2 CC / (1 + CC)) (doi:10.1126/science.1218231)."""
        cc = self.cc_half
        return math.sqrt(2 * cc / (1 + cc)) if cc > 0 else math.nan

    def figures(self) -> dict[str, float]:
        """All of it, for JSON."""
        derived = {"completeness": self.completeness, "multiplicity": self.multiplicity, "cc_star": self.cc_star}
        return {**asdict(self), **derived}


@dataclass(frozen=True)
class Quality:
    """The shells, from low to high resolution, and all of them as one."""

    shells: tuple[Shell, ...]
    overall: Shell
    num_crystals: int


def quality(
    merged: Merged,
    *,
    d_min_angstrom: float | None = None,
    d_max_angstrom: float | None = None,
    num_shells: int = 10,
    min_measurements: int = MIN_MEASUREMENTS,
) -> Quality:
    """Tell how good merged data are between two resolutions, by default all that were measured often enough."""
    s = merged.inverse_d_per_angstrom
    enough = merged.count >= min_measurements
    s_max = 1.0 / d_min_angstrom if d_min_angstrom else float(s[enough].max(initial=0.0))
    s_min = 1.0 / d_max_angstrom if d_max_angstrom else 0.0
    s_min, s_max = s_min * (1 - 1e-9), max(s_max, s_min) * (1 + 1e-9)  # what lies on a limit is inside
    edges = np.cbrt(np.linspace(s_min**3, s_max**3, num_shells + 1))
    edges[0], edges[-1] = s_min, s_max
    possible = _possible(merged.group, tuple(merged.metric.ravel().tolist()), merged.centring, tuple(edges.tolist()))
    shell = np.clip(np.searchsorted(edges, s, side="right") - 1, 0, num_shells - 1)
    inside = (s >= s_min) & (s <= s_max) & enough
    shells = [
        _shell(merged, inside & (shell == n), low, high, possible[n], min_measurements)
        for n, (low, high) in enumerate(sliding_window(2, edges.tolist()))
    ]
    overall = _shell(merged, inside, s_min, s_max, sum(possible), min_measurements)
    return Quality(tuple(shells), overall, merged.num_crystals)


def _shell(
    merged: Merged, which: NDArray[np.bool_], s_min: float, s_max: float, possible: int, min_measurements: int
) -> Shell:
    halves = which & (merged.half_count >= min_measurements).all(axis=0)
    first, second = merged.half_intensity[:, halves]
    with np.errstate(all="ignore"):
        total = float((first + second).sum())
        r_split = math.sqrt(2) * float(np.abs(first - second).sum()) / total if total > 0 else math.nan
        sure = which & (merged.count >= FEWEST_FOR_SIGMA)
        ratio = merged.intensity[sure] / merged.sigma[sure]
        ratio = ratio[np.isfinite(ratio)]
    return Shell(
        d_max_angstrom=1.0 / s_min if s_min > 0 else math.inf,
        d_min_angstrom=1.0 / s_max if s_max > 0 else math.inf,
        possible=possible,
        measured=int(which.sum()),
        observations=int(merged.count[which].sum()),
        cc_half=correlation(first, second),
        r_split=r_split,
        i_over_sigma=float(ratio.mean()) if len(ratio) else math.nan,
    )


def cc_half_of(
    merged: Merged, *, d_min_angstrom: float | None = None, min_measurements: int = MIN_MEASUREMENTS
) -> float:
    """Return CC1/2 alone, over all reflections up to a resolution; as `quality` has it, at a part of the time."""
    which = (merged.half_count >= min_measurements).all(axis=0)
    if d_min_angstrom is not None:
        which &= merged.inverse_d_per_angstrom <= (1 + 1e-9) / d_min_angstrom
    first, second = merged.half_intensity[:, which]
    return correlation(first, second)


def correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Pearson's correlation; NaN for fewer than three pairs, or where nothing varies."""
    if len(first) < 3:
        return math.nan
    x, y = first - first.mean(), second - second.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / scale if scale > 0 else math.nan


@lru_cache(maxsize=32)
def _possible(group: PointGroup, metric: tuple[float, ...], centring: str, edges: Sequence[float]) -> tuple[int, ...]:
    """How many reflections that are not equivalent lie in each shell."""
    reciprocal = np.array(metric, np.float64).reshape(3, 3)
    counts = np.zeros(len(edges) - 1, np.int64)
    if not abs(np.linalg.det(reciprocal)) > 0:
        return tuple(counts.tolist())
    lengths = np.sqrt(np.diag(np.linalg.inv(reciprocal)))  # a, b, c: |h| <= a / d
    limits = np.ceil(lengths * edges[-1]).astype(np.int64)
    if float(np.prod(2.0 * limits + 1)) > _MOST_INDICES or limits.max() >= kernel.LARGEST_INDEX:
        return tuple(counts.tolist())
    kernel.count_unique(
        reciprocal, np.square(np.array(edges)), limits, group.operations, centring_code(centring), counts
    )
    return tuple(counts.tolist())
