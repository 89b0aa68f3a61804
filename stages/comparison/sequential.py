"""Whether a question is decided, asked again and again while frames arrive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.comparison import always_valid
from stages.comparison.fixed import Evidence
from stages.comparison.leaders import leaders
from stages.comparison.pair_sums import PairSums
from stages.comparison.paired import CONFIDENCE, Difference, differences_of, rare_of, settled
from stages.comparison.sentences import bare, listed
from stages.comparison.table import Measure

Floats = NDArray[np.float64]

_PART_OF_A_LOOK = 100
"""A look takes a millisecond, and one frame in a hundred decides nothing; each look counts, however many there are."""


class Deciding:
    """A running comparison for ``until: {decided: ...}``: it may be asked after each frame, and the run may end at any
    answer.

    The chance that it ever decides wrongly is 1 - `confidence`, for all pairs of variants and all looks together. What is
    reported of such a run has to be as valid: `compare` and `judge` with ``sequential=True``.

    Parameters
    ----------
    measure, variants, size, confidence
        As in `stages.comparison.paired.compare`.

    >>> from stages.comparison.table import MEASURES
    >>> deciding = Deciding(MEASURES["indexed"], ("A", "B"))
    >>> deciding.add(np.array([[1.0, 0.0]] * 8))
    >>> deciding.decided()
    ''
    >>> deciding.add(np.array([[1.0, 0.0]] * 8))
    >>> deciding.decided()
    'A is better than B in frames indexed'
    """

    def __init__(
        self,
        measure: Measure,
        variants: tuple[str, ...],
        *,
        size: float | None = None,
        confidence: float = CONFIDENCE,
    ) -> None:
        self.measure = measure
        self.variants = variants
        self.size = measure.least if size is None else size
        self.confidence = confidence
        self._sums = PairSums(measure, len(variants))
        self._new: list[Floats] = []
        self._num_frames = self._next_look = 0
        self._found = ""

    def add(self, rows: Floats) -> None:
        """Add frames: float64 (k, v), a column for each variant, NaN where it has no number."""
        self._new.append(rows)
        self._num_frames += len(rows)

    def decided(self) -> str:
        """What has been decided, in words; empty if nothing has. It looks anew where there are 1 % more frames."""
        if self._num_frames >= self._next_look:
            self._found = self._look()
            self._next_look = self._num_frames + max(1, self._num_frames // _PART_OF_A_LOOK)
        return self._found

    def _look(self) -> str:
        differences = self.differences()
        if not self.measure.better and all(d.is_settled for d in differences):
            return f"it is known of all pairs whether they differ in {self.measure.words}"
        best = leaders(self.variants, differences)
        if not best:
            return ""
        others = [variant for variant in self.variants if variant not in best]
        words = []
        if others:
            words.append(f"{listed(best)} {'is' if len(best) == 1 else 'are'} better than {listed(others)}")
        if len(best) > 1:
            words.append(f"{listed(best)} do not differ by more than {bare(self.measure, self.size)}")
        return f"{', and '.join(words)} in {self.measure.words}"

    def differences(self) -> list[Difference]:
        """All pairs as they stand, without their intervals (-inf to inf), which take longer."""
        if self._new:
            self._sums.add(np.concatenate(self._new))
            self._new.clear()
        rare = rare_of(self.confidence, len(self._sums.frames))
        p, p_equal = always_valid.p_values(self._sums, self.size, rare)
        open_end = np.full(len(p), np.inf)
        evidence = Evidence(-open_end, open_end, p, p_equal)
        return settled(
            differences_of(self._sums, evidence, self.variants, self.size, self.confidence, always_valid=True)
        )
