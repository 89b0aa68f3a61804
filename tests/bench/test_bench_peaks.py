"""Peak searches on frames of 4.5 megapixels, one thread, beside one pass over the frame; and two threads against one."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numba import njit
from peak_searches import SEARCHES

from pipeline import Context
from stages.records.image import Image

pytestmark = pytest.mark.bench


@pytest.mark.parametrize("dtype", ["i4", "u2", "f4"])
@pytest.mark.parametrize("name", SEARCHES)
def test_peak_search(name: str, dtype: str, frames: Any, beside_the_floor: Any, benchmark: Any) -> None:
    mine = frames.astype(dtype)
    images = [Image.of(data=pixels) for pixels in mine.pixels]
    running = SEARCHES[name].open(Context())
    found = beside_the_floor(lambda i: running(images[i], mine.geom), mine)
    benchmark.extra_info["peaks"] = len(found)
    assert len(found) > 10


@njit(nogil=True)
def busy(steps: int) -> float:
    """Work that needs a core and nothing else."""
    total = 0.0
    for i in range(steps):
        total += np.sin(1.0 * i)
    return total


@pytest.mark.parametrize("name", SEARCHES)
def test_two_threads_against_one(name: str, frames: Any, read_pass: Any, benchmark: Any) -> None:
    """Each replica has its own frames; the ratio is that of frames per second, best of several turns by turns.

    On a machine with other work the second core may not be free: the ratio of a loop that needs nothing else stands beside, and
    that of passes over the frames, which is all that the memory gives.
    """
    images = [Image.of(data=pixels) for pixels in frames.pixels]
    context = Context()
    searches = [SEARCHES[name].open(context) for _ in range(2)]
    repeats = 8

    def work(which: int) -> int:
        mine = images[which::2]
        return sum(len(searches[which](mine[i % 2], frames.geom)) for i in range(repeats))

    flat = [pixels.reshape(-1) for pixels in frames.pixels]

    def read(which: int) -> int:
        return sum(int(read_pass(flat[which + 2 * (i % 2)])) for i in range(8 * repeats))

    def seconds(run: Any) -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    with ThreadPoolExecutor(2) as pool:
        work(0)
        work(1)
        busy(10)
        read(0)
        pairs = [(seconds(lambda: work(0)), seconds(lambda: list(pool.map(work, (0, 1))))) for _ in range(5)]
        steps = (4_000_000, 4_000_000)
        free = [(seconds(lambda: busy(steps[0])), seconds(lambda: list(pool.map(busy, steps)))) for _ in range(5)]
        reads = [(seconds(lambda: read(0)), seconds(lambda: list(pool.map(read, (0, 1))))) for _ in range(5)]
        benchmark.pedantic(lambda: list(pool.map(work, (0, 1))), rounds=3)
    one, two = np.min(pairs, axis=0)
    ratio = 2 * one / two
    one_free, two_free = np.min(free, axis=0)
    control = 2 * one_free / two_free
    one_read, two_read = np.min(reads, axis=0)
    memory = 2 * one_read / two_read
    figures = {"two_threads_against_one": ratio, "control": control, "memory": memory}
    benchmark.extra_info.update({key: round(value, 2) for key, value in figures.items()})
    benchmark.extra_info.update(ms_per_frame=round(1e3 * two / 2 / repeats, 3))
    print(
        f"\n{benchmark.name}: two threads are {ratio:.2f} times as fast as one (a loop without memory: {control:.2f}, reading "
        f"frames: {memory:.2f})"
    )
    assert ratio > 0
