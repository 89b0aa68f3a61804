"""What a frame costs, in words."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from pipeline import Frame

_TIMES = 3
"""Each frame is tried so often."""


def ms_a_frame(call: Callable[[Frame], Any], frames: Sequence[Frame]) -> str:
    """Say how long a call takes for each of these frames."""
    spent = []
    for frame in [*frames] * _TIMES:
        started = time.perf_counter_ns()
        call(frame)
        spent.append((time.perf_counter_ns() - started) / 1e6)
    return (
        f"{statistics.median(spent):.3g} ms a frame (median), {statistics.quantiles(spent, n=10)[-1]:.3g} ms in 9 of 10"
    )
