"""Differences between ways of doing the same thing, from frames that all of them have seen.

Each frame is compared with itself, so that what makes frames differ (hits and blanks, strong and weak crystals) drops out.
`fixed` has the statistics for a run whose length was settled before, `always_valid` those for one that is looked at while
it goes on, or ends when it has been decided. Frames count as a sample of the frames that come under the same conditions.

With several variants there are several pairs, and p is adjusted so that the chance of any false claim among them is what was
asked for: the method of Holm (1979), https://www.jstor.org/stable/4615733.

>>> from stages.comparison.table import MEASURES
>>> indexed = np.array([[1.0, 0.0]] * 80 + [[0.0, 1.0]] * 31 + [[1.0, 1.0]] * 700 + [[0.0, 0.0]] * 389)
>>> (found,) = compare(MEASURES["indexed"], ("A", "B"), indexed)
>>> found.outcome, found.sentence()
('better', 'A indexes 4.1 +- 0.9 % more frames than B (1,200 frames, p = 4e-6)')
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.comparison import always_valid as valid
from stages.comparison import fixed
from stages.comparison.pair_sums import PairSums
from stages.comparison.sentences import sentence_of
from stages.comparison.table import Measure

Floats = NDArray[np.float64]
Outcome = Literal["better", "worse", "differs", "no_difference", "undecided", "identical"]

CONFIDENCE = 0.95
POWER = 0.8
"""The chance to see a difference of the size asked for with the number of frames that is said to be needed."""


@dataclass(frozen=True)
class Difference:
    """How two variants differ in one measure.

    Attributes
    ----------
    measure, one, other
        What is compared, and the names of the two variants.
    frames, unequal
        Frames in which both have a number, and those in which the numbers differ.
    mean_one, mean_other
        Over those frames, in the measure's unit (rates: a part of the frames).
    difference, error
        One minus the other and its standard error: in the measure's unit, or as a part of the mean of both where the
        measure is `relative`.
    low, high
        The interval of the difference at `confidence`, for this pair alone.
    p, p_adjusted
        Of what was seen if there is no difference: for this pair alone, and for all pairs that were asked about together.
    p_equal, p_equal_adjusted
        Likewise if the difference is as large as `size` or larger.
    size
        The smallest difference of interest, in the unit of `difference`.
    frames_needed
        So many frames show a difference of `size` (at `confidence` and with a power of 80 %) if frames go on to vary as
        they do.
    outcome
        "better" or "worse" (the one than the other), "differs" (where neither is better), "no_difference" (none larger than
        `size`), "identical" (the same number in every frame) or "undecided".
    confidence
        1 - the chance of a false claim.
    always_valid
        Whether this holds also if the run was ended because of it.
    """

    measure: Measure
    one: str
    other: str
    frames: int
    unequal: int
    mean_one: float
    mean_other: float
    difference: float
    error: float
    low: float
    high: float
    p: float
    p_adjusted: float
    p_equal: float
    p_equal_adjusted: float
    size: float
    frames_needed: int | None
    outcome: Outcome
    confidence: float
    always_valid: bool

    @property
    def ratio(self) -> float:
        """The mean of one as a multiple of the other's; NaN if that is 0."""
        return self.mean_one / self.mean_other if self.mean_other else math.nan

    @property
    def is_settled(self) -> bool:
        """Whether it is known that they differ, or that they differ by less than `size`."""
        return self.outcome in ("better", "worse", "differs") or self.is_equal

    @property
    def is_equal(self) -> bool:
        """Whether it is known that they differ by less than `size`, and not known that they differ."""
        seen = self.outcome in ("no_difference", "identical")
        return seen and self.p_equal_adjusted <= 1 - self.confidence

    def mirrored(self) -> Difference:
        """The same, said of the other one."""
        turned: dict[Outcome, Outcome] = {"better": "worse", "worse": "better"}
        return replace(
            self,
            one=self.other,
            other=self.one,
            mean_one=self.mean_other,
            mean_other=self.mean_one,
            difference=-self.difference,
            low=-self.high,
            high=-self.low,
            outcome=turned.get(self.outcome, self.outcome),
        )

    def sentence(self) -> str:
        """What the frames say, as a sentence without a full stop."""
        return sentence_of(self)


def compare(
    measure: Measure,
    variants: tuple[str, ...],
    column: Floats,
    *,
    size: float | None = None,
    confidence: float = CONFIDENCE,
    sequential: bool = False,
) -> list[Difference]:
    """Compare all pairs of variants in one measure.

    Parameters
    ----------
    column
        float64 (n, v): the number of each frame in each variant, NaN where there is none. A pair is compared over the
        frames in which both have one.
    size
        The smallest difference of interest, as `Measure.least`, which it is if None.
    sequential
        Whether the run may have ended, or may be ended, because of what is found here.
    """
    size = measure.least if size is None else size
    sums = PairSums(measure, len(variants))
    sums.add(column)
    rare = rare_of(confidence, len(sums.frames))
    if sequential:
        evidence = valid.of_pairs(sums, size, confidence, rare)
    elif measure.is_rate:
        evidence = fixed.of_rates(sums, size, confidence)
    else:
        evidence = fixed.of_numbers(sums, column, size, confidence, rare)
    return settled(differences_of(sums, evidence, variants, size, confidence, always_valid=sequential))


def rare_of(confidence: float, pairs: int) -> float:
    """How many differences may have been missed so far, in the sense of `PairSums.squares`."""
    return math.log(2 * max(pairs, 1) / (1 - confidence))


def differences_of(
    sums: PairSums,
    evidence: fixed.Evidence,
    variants: tuple[str, ...],
    size: float,
    confidence: float,
    *,
    always_valid: bool,
) -> list[Difference]:
    """A `Difference` for each pair, its p not adjusted and its outcome open."""
    difference, error = sums.difference, sums.error
    needed = _frames_needed(sums, size, confidence, always_valid=always_valid)
    frames = np.maximum(sums.frames, 1)
    return [
        Difference(
            measure=sums.measure,
            one=variants[sums.first[k]],
            other=variants[sums.second[k]],
            frames=int(sums.frames[k]),
            unequal=int(sums.unequal[k]),
            mean_one=float(sums.one[k] / frames[k]) if sums.frames[k] else math.nan,
            mean_other=float(sums.other[k] / frames[k]) if sums.frames[k] else math.nan,
            difference=float(difference[k]),
            error=float(error[k]),
            low=float(evidence.low[k]),
            high=float(evidence.high[k]),
            p=float(evidence.p[k]),
            p_adjusted=float(evidence.p[k]),
            p_equal=float(evidence.p_equal[k]),
            p_equal_adjusted=float(evidence.p_equal[k]),
            size=size,
            frames_needed=math.ceil(needed[k]) if math.isfinite(needed[k]) else None,
            outcome="undecided",
            confidence=confidence,
            always_valid=always_valid,
        )
        for k in range(len(frames))
    ]


def settled(differences: list[Difference]) -> list[Difference]:
    """The same differences with p adjusted for all of them together, and with what follows from it.

    For each pair at most one of the two claims can be false, that there is a difference and that there is none as large as
    `size`; they are adjusted each on its own.
    """
    p = holm([d.p for d in differences])
    p_equal = holm([d.p_equal for d in differences])
    adjusted = [replace(d, p_adjusted=a, p_equal_adjusted=b) for d, a, b in zip(differences, p, p_equal, strict=True)]
    return [replace(d, outcome=_outcome(d)) for d in adjusted]


def holm(p: list[float]) -> list[float]:
    """Adjust several p so that the chance of any false claim at p <= alpha is alpha.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, least = [0.0] * len(p), 0.0
    for rank, k in enumerate(sorted(range(len(p)), key=lambda k: p[k])):
        least = max(least, min(1.0, (len(p) - rank) * p[k]))
        adjusted[k] = least
    return adjusted


def _outcome(d: Difference) -> Outcome:
    alpha = 1 - d.confidence
    if not d.frames:
        return "undecided"
    if not d.unequal:
        return "identical"
    if d.p_adjusted <= alpha and d.difference:
        sense = d.measure.better * d.difference
        return "differs" if not sense else "better" if sense > 0 else "worse"
    return "no_difference" if d.p_equal_adjusted <= alpha else "undecided"


def _frames_needed(sums: PairSums, size: float, confidence: float, *, always_valid: bool) -> Floats:
    """float64 (pairs,): the frames that a difference of `size` needs, NaN where nothing is known of how frames vary.

    For a rate n = (z1 sqrt(q) + z2 sqrt(q - size^2))^2 / size^2, where q is the part of frames in which the two differ
    (Connor, 1987, doi:10.2307/2531961), which is `size` at least; for numbers q is the mean of (d - R a)^2, and where they
    are equal in most frames it is what the size takes at least, too. A test that is always valid needs log E to be log(pairs
    / alpha), and that grows by size^2 / (2 q) a frame.
    """
    alpha = (1 - confidence) / max(len(sums.frames), 1)
    n, r = np.maximum(sums.frames, 1), np.nan_to_num(sums.difference)
    if sums.measure.is_rate:
        q = np.maximum(sums.dd / n, size)
    else:
        mean = np.where(sums.a != 0, np.abs(sums.a) / n, np.nan)
        equal = 1 - sums.unequal / n
        q = np.maximum(sums.squares(r, 0.0) / n, equal * sums.largest * size * mean) / mean**2
    normal = NormalDist()
    if always_valid:
        needed = 2 * q * (math.log(2 / alpha) + valid.WORTH_OF_PARTS) / size**2
    else:
        rest = np.sqrt(np.maximum(q - size**2, 0.0)) if sums.measure.is_rate else np.sqrt(q)
        needed = (normal.inv_cdf(1 - alpha / 2) * np.sqrt(q) + normal.inv_cdf(POWER) * rest) ** 2 / size**2
    return np.where(sums.frames > 1, needed, np.nan)
