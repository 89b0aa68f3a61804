"""Which of the measured reflections are kept, and what the strong ones tell of the spots' width."""

from typing import Any

from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.integrate._kernels.tuples import (
    IMPLAUSIBLE,
    INTENSITY,
    MEASURED,
    MOMENT,
    N_RESULTS,
    SATURATED,
    SIGMA,
    TOTAL,
    WHOLE,
)

Array = NDArray[Any]

NUM_SATURATED, NUM_IMPLAUSIBLE, NUM_STRONG, SUM_TOTAL, SUM_MOMENT, N_SUMS = range(6)
"""Reflections with a pixel that is too high, and those left out as implausible; of strong ones their number and sums."""


@kernel
def keep(results: Array, status: Array, sat: bool, strong: float, kept: Array, columns: Array, sums: Array) -> int:
    """Fill `kept` with the numbers of the reflections that are kept, and `columns` with their results; return how many.

    Parameters
    ----------
    results, status
        Of :class:`stages.integrate._kernels.tuples.Measured`, (n, N_RESULTS) and (n,).
    sat
        Whether reflections with pixels that are too high are kept; if not they count as saturated alone, never as implausible.
    strong
        Strong are those of more sigma than this whose circle is whole and that are not saturated.
    kept, columns
        Room for n: int64 (n,) and float64 (N_RESULTS, n).
    sums
        Filled: N_SUMS numbers.
    """
    for i in range(N_SUMS):
        sums[i] = 0.0
    n = 0
    for i in range(status.size):
        saturated, implausible = status[i] & SATURATED > 0, status[i] & IMPLAUSIBLE > 0
        sums[NUM_SATURATED] += saturated
        sums[NUM_IMPLAUSIBLE] += implausible and (sat or not saturated)
        if not (status[i] == MEASURED or (sat and saturated and not implausible)):
            continue
        kept[n] = i
        for column in range(N_RESULTS):
            columns[column, n] = results[i, column]
        n += 1
        if results[i, INTENSITY] > strong * results[i, SIGMA] and results[i, WHOLE] > 0.0 and not saturated:
            sums[NUM_STRONG] += 1.0
            sums[SUM_TOTAL] += results[i, TOTAL]
            sums[SUM_MOMENT] += results[i, MOMENT]
    return n
