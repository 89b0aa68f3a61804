"""Sums over symmetry equivalents and crystals, to which crystals are added one by one.

An intensity is taken as ``I = g p J``, with J that of the reflection, g the crystal's scale and p the part that was recorded
(see :mod:`stages.merging.partiality`; 1 unless asked for). J is the mean of I / (g p) over the crystals, weighted: with sqrt(g)
where p is not known, between weights of g, which fit counting errors, and of 1, which fit unknown partialities, whose
errors grow with the intensity; with (g p)^1.5 where it is, since the smaller p, the less it is known. g is sum I / sum p J over
the reflections that the crystal shares with others. Where intensities obey the model, both come out exactly; with all
g = p = 1, J is the mean that ``process_hkl`` makes. The crystals go alternately into two halves, from which CC1/2 and Rsplit
follow.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.merging._kernels import equivalents as kernel
from stages.merging._kernels.equivalents import Sums
from stages.merging.crystals import Observed, Polarisation, observe, unpack
from stages.merging.partiality import LEAST, partiality, width_of
from stages.merging.point_group import PointGroup, point_group

ODD = 2.0
"""A cell is odd, and no part of the mean cell, if a*^2, b*^2 or c*^2 differs from the median by more than this factor: cells of
one sample differ by some percent, and one broken cell of a tenth of an Angstrom would outweigh thousands in a mean."""

FEWEST_COMMON = 3
"""A scale is not determined by fewer reflections in common."""

_FIRST_ROOM = 1 << 12


@dataclass(frozen=True, eq=False)
class Merged:
    """Merged reflections as parallel arrays; `halves` are (2, n).

    Attributes
    ----------
    hkl
        int32 (n, 3), one of the equivalents.
    count
        How often each was measured.
    intensity, sigma
        J and its standard deviation as it follows from the spread of the measurements; sigma is NaN for a single one.
    half_count, half_intensity
        The same for each half of the crystals; NaN where a half has none.
    metric
        The mean reciprocal metric a* . b*, with the symmetry of the point group, 1/Angstrom^2.
    """

    group: PointGroup
    hkl: NDArray[np.int32]
    count: NDArray[np.int64]
    intensity: NDArray[np.float64]
    sigma: NDArray[np.float64]
    half_count: NDArray[np.int64]
    half_intensity: NDArray[np.float64]
    metric: NDArray[np.float64]
    centring: str
    num_crystals: int

    @property
    def inverse_d_per_angstrom(self) -> NDArray[np.float64]:
        """float64 (n,), 1/d."""
        hkl = self.hkl.astype(np.float64)
        return np.asarray(np.sqrt(np.maximum(0.0, np.einsum("ni,ij,nj->n", hkl, self.metric, hkl))))


def _no_sums(room: int, rows: int = 2) -> Sums:
    return Sums(np.zeros((rows, room), np.int64), *(np.zeros((rows, room)) for _ in range(3)))


def _with_room(sums: Sums, room: int) -> Sums:
    """The same sums in longer arrays."""
    longer = _no_sums(room, len(sums.num))
    for old, new in zip(sums, longer, strict=True):
        new[:, : old.shape[1]] = old
    return longer


class Merger:
    """Merges crystals over a point group.

    Attributes
    ----------
    num_crystals
        Merged so far; `num_unscaled` more had too little in common with the others to find their scale, and are left out.
    width
        Of the reflections' profile in the excitation error, 1/Angstrom: found by the first crystals that are added together,
        if `partial` asks for it; infinity where all reflections count as fully recorded.
    blocks
        In how many blocks of frames sums are kept beside those of all, so that each block can be left out
        (:meth:`merged_in_blocks`); 0 keeps none.
    """

    def __init__(self, group: PointGroup, *, partial: bool = False, blocks: int = 0) -> None:
        self.group = group
        self.blocks = blocks
        self.width = math.inf
        self._partial = partial
        self.num_crystals = 0
        self.num_unscaled = 0
        self.num_left_out = 0
        self._stored = np.zeros(_FIRST_ROOM, np.int64)
        self._slots = np.full(4 * _FIRST_ROOM, -1, np.int64)
        self._used = 0
        self._sums = _no_sums(_FIRST_ROOM)
        self._of_blocks = _no_sums(_FIRST_ROOM if blocks else 0, 2 * blocks)
        self._metrics = np.zeros((16, 3, 3))
        self._centrings: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._used

    @property
    def how(self) -> str:
        """In a few words, how crystals are made comparable."""
        return f"scaled, profile of {10 * self.width:.4f} nm^-1" if self.width < math.inf else "scaled"

    def add(self, crystal: Observed, scale: float = 1.0) -> None:
        """Add a crystal whose scale is known."""
        p = self._partiality(crystal)
        used = p >= LEAST
        if not used.all():
            crystal, p = replace(crystal, keys=crystal.keys[used], intensity=crystal.intensity[used]), p[used]
        numbers = self._numbers(crystal.keys)
        scales = scale * p
        half = self.num_crystals % 2
        kernel.add(numbers, crystal.intensity, scales, self._weights(scales), half, self._sums)
        if self.blocks:
            # halves of frames, not of crystals: two mergers of the same frames then have the same halves
            block, half = crystal.frame % self.blocks, crystal.frame // self.blocks % 2
            kernel.add(numbers, crystal.intensity, scales, self._weights(scales), 2 * block + half, self._of_blocks)
        if self.num_crystals == len(self._metrics):
            self._metrics = np.concatenate([self._metrics, np.zeros_like(self._metrics)])
        self._metrics[self.num_crystals] = crystal.metric
        self.num_crystals += 1
        self.num_left_out += crystal.num_left_out
        self._centrings[crystal.centring] += 1

    def add_together(self, crystals: list[Observed]) -> NDArray[np.float64]:
        """Find the scales of crystals among each other and add them; return the scales, NaN for those left out."""
        if self._partial and self.width == math.inf:
            widths = [width_of(crystal.error, crystal.intensity) for crystal in crystals]
            known = [width for width in widths if not math.isnan(width)]
            self.width = float(np.median(known)) if known else math.inf
        scales = self.scales(crystals)
        for crystal, scale in zip(crystals, scales, strict=True):
            if scale > 0:
                self.add(crystal, float(scale))
            else:
                self.num_unscaled += 1
        return scales

    def add_scaled(self, crystal: Observed, at_least: int = 2) -> float:
        """Scale a crystal against what has been merged, and add it; return its scale, NaN if it was left out."""
        numbers = self._numbers(crystal.keys)
        p = self._partiality(crystal)
        used = p >= LEAST
        measured, expected, common = kernel.scale_against(
            numbers[used], crystal.intensity[used], p[used], self._sums, at_least
        )
        if common < FEWEST_COMMON or not (measured > 0 and expected > 0):
            self.num_unscaled += 1
            return math.nan
        self.add(crystal, measured / expected)
        return float(measured / expected)

    def scales(self, crystals: list[Observed], cycles: int = 50, tolerance: float = 1e-4) -> NDArray[np.float64]:
        """The scales of crystals among each other, their mean being 1; NaN where there is too little in common."""
        if not crystals:
            return np.zeros(0)
        number = np.concatenate([self._numbers(crystal.keys) for crystal in crystals])
        owner = np.repeat(np.arange(len(crystals)), [len(crystal) for crystal in crystals])
        intensity = np.concatenate([crystal.intensity for crystal in crystals])
        p = np.concatenate([self._partiality(crystal) for crystal in crystals])
        seen = p >= LEAST
        number, owner, intensity, p = number[seen], owner[seen], intensity[seen], p[seen]
        scale = np.ones(len(crystals))
        for _ in range(cycles):
            valid = np.isfinite(scale)
            own_scale = np.where(valid, scale, 0.0)[owner] * p
            used = own_scale > 0
            own_scale = np.where(used, own_scale, 1.0)
            own_weight = np.where(used, self._weights(own_scale), 0.0)
            weight = np.bincount(number, own_weight, self._used)
            common = used & (np.bincount(number[used], minlength=self._used)[number] >= 2)
            total = np.bincount(number, own_weight * intensity / own_scale, self._used)
            merged = total / np.where(weight > 0, weight, 1.0)
            measured = np.bincount(owner[common], intensity[common], len(crystals))
            expected = np.bincount(owner[common], (p * merged[number])[common], len(crystals))
            enough = np.bincount(owner[common], minlength=len(crystals)) >= FEWEST_COMMON
            good = valid & enough & (measured > 0) & (expected > 0)
            new = np.where(good, measured / np.where(good, expected, 1.0), math.nan)
            if not good.any():
                return np.asarray(new)
            new /= new[good].mean()
            settled = bool((good == valid).all() and np.abs(new[good] / scale[good] - 1).max() < tolerance)
            scale = new
            if settled:
                break
        return np.asarray(scale)

    def _partiality(self, crystal: Observed) -> NDArray[np.float64]:
        return partiality(crystal.error, self.width)

    def _weights(self, scales: NDArray[np.float64]) -> NDArray[np.float64]:
        root = np.sqrt(scales)
        return np.asarray(scales * root if self.width < math.inf else root)

    def merged(self) -> Merged:
        """All reflections that have been measured at all."""
        return self._merged(self._sums)

    def merged_in_blocks(self, without: int | None = None) -> Merged:
        """The same from the sums of blocks, without one of them; each frame's crystals are in one of the halves."""
        kept = [block for block in range(self.blocks) if block != without]

        def total(sums: NDArray[Any]) -> NDArray[Any]:
            return np.asarray(sums.reshape(self.blocks, 2, -1)[kept].sum(axis=0))

        return self._merged(Sums(*map(total, self._of_blocks)))

    def _merged(self, sums: Sums) -> Merged:
        n = self._used
        count, wj, w = sums.num[:, :n], sums.wj[:, :n], sums.w[:, :n]
        some = count.sum(axis=0) > 0
        count, wj, w = count[:, some], wj[:, some], w[:, some]
        total, sum_wj, sum_w = count.sum(axis=0), wj.sum(axis=0), w.sum(axis=0)
        sum_wjj = sums.wjj[:, :n].sum(axis=0)[some]
        with np.errstate(all="ignore"):
            spread = np.maximum(0.0, sum_wjj - sum_wj * sum_wj / sum_w) / (total - 1)
            sigma = np.where(total > 1, np.sqrt(spread / sum_w), math.nan)
            half_intensity = np.where(count > 0, wj / w, math.nan)
            intensity = sum_wj / sum_w
        return Merged(
            group=self.group,
            hkl=unpack(self._stored[:n][some]),
            count=total,
            intensity=intensity,
            sigma=sigma,
            half_count=count,
            half_intensity=half_intensity,
            metric=self.group.averaged(self._mean_metric()),
            centring=self._centrings.most_common(1)[0][0] if self._centrings else "P",
            num_crystals=self.num_crystals,
        )

    @property
    def num_odd(self) -> int:
        """How many of the crystals have a cell unlike that of the others; they are merged and have no part in the mean cell."""
        return int(np.count_nonzero(~self._is_ordinary()))

    def _is_ordinary(self) -> NDArray[np.bool_]:
        squares = np.diagonal(self._metrics[: self.num_crystals], axis1=1, axis2=2)
        median = np.median(squares, axis=0) if len(squares) else np.ones(3)
        return np.asarray(((squares <= ODD * median) & (squares >= median / ODD)).all(axis=1))

    def _mean_metric(self) -> NDArray[np.float64]:
        if not self.num_crystals:
            return np.zeros((3, 3))
        metrics, ordinary = self._metrics[: self.num_crystals], self._is_ordinary()
        # of crystals that have nothing in common none is ordinary; their median is as good as anything
        return np.asarray(metrics[ordinary].mean(axis=0) if ordinary.any() else np.median(metrics, axis=0))

    def _numbers(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        needed = self._used + len(keys)
        if needed > len(self._stored):
            room = len(self._stored)
            while room < needed:
                room *= 2
            stored = np.zeros(room, np.int64)
            stored[: self._used] = self._stored[: self._used]
            self._stored = stored
            self._slots = np.full(4 * room, -1, np.int64)
            kernel.refill(self._slots, self._stored, self._used)
            self._sums = _with_room(self._sums, room)
            if self.blocks:
                self._of_blocks = _with_room(self._of_blocks, room)
        numbers = np.empty(len(keys), np.int64)
        self._used = int(kernel.number_keys(keys, self._slots, self._stored, self._used, numbers))
        return numbers


def warm_up() -> Merger:
    """Compile the kernels; return a merger that holds something."""
    group = point_group("1")
    merger = Merger(group)
    hkl = np.array([[1, 2, 3], [2, 0, 0], [0, 3, 1]], np.int32)
    crystal = observe(hkl, np.ones(3), np.eye(3) * 0.01, 9500.0, group, Polarisation())
    for _ in range(2):
        merger.add(crystal)
    merger.add_scaled(crystal)
    kernel.refill(np.full(8, -1, np.int64), crystal.keys, len(crystal))
    return merger
