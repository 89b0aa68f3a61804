"""Peak searches in the real graph with the ``threads`` backend: frames per second for 1, 2, 4, 8, 16 threads.

Full frames come from memory, so nothing but the search limits them. Beside them stand two loops in plain threads: one that
needs a core and nothing else, which tells how many cores are free, and one that reads frames, which tells what the memory
gives.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numba import njit
from peak_searches import SEARCHES

from pipeline import Context, EndOfStream, Event, Message, stage
from pipeline.composing.graph import Graph
from pipeline.running.job import run
from stages.records.geometry import DetGeom
from stages.records.image import Image
from stages.sink.memory import Memory

pytestmark = pytest.mark.bench

THREADS = tuple(n for n in (1, 2, 4, 8, 16) if n <= (os.cpu_count() or 1))
FRAMES_PER_THREAD = 40
FIRST_FRAMES_PER_THREAD = 10
"""Tables are made, and every thread gets going, before time is taken."""


class Sender:
    """Sends numbers, as many as it is asked for."""

    def __init__(self, number: int) -> None:
        self._left = number

    def receive(self, timeout_s: float, credit: int) -> Sequence[Message]:
        """Return the next messages."""
        if not self._left:
            raise EndOfStream
        n = min(credit, self._left)
        self._left -= n
        return [Message(b"", time.time_ns(), (str(self._left + k).encode(),)) for k in range(n)]

    def stop_asking(self) -> int:
        """Nothing is outstanding."""
        return 0

    def status(self) -> str:
        """A line for people."""
        return "memory"

    def close(self) -> None:
        """Nothing is open."""


@stage("source/bench_numbers")
class Numbers:
    """Sends numbers."""

    number: int = 1
    when_full: str = "block"

    def open(self, context: Context) -> Sender:
        """Return what sends."""
        return Sender(self.number)


class Shelf:
    """The frames that numbers stand for, and when they were taken."""

    frames: Any
    images: tuple[Image, ...] = ()
    taken_s: list[float]


@stage("decode/bench_frames")
class TakeFrame:
    """Takes a frame from the shelf."""

    def __call__(self, message: Message) -> tuple[Event, Image, DetGeom]:
        """Return one of the images, and the geometry."""
        Shelf.taken_s.append(time.perf_counter())
        number = int(bytes(message.parts[0]))
        return Event(str(number)), Shelf.images[number % len(Shelf.images)], Shelf.frames.geom


@njit(nogil=True)
def busy(steps: int) -> float:
    """Work that needs a core and nothing else."""
    total = 0.0
    for i in range(steps):
        total += np.sin(1.0 * i)
    return total


def frames_per_second(search: Any, threads: int) -> float:
    """Run the graph, and count from when it is in full swing until the last frame is taken."""
    Shelf.taken_s = []
    first, number = FIRST_FRAMES_PER_THREAD * threads, FRAMES_PER_THREAD * threads
    graph = Graph.chain(Numbers(number=first + number), TakeFrame(), search, Memory(in_order=False))
    report = run(graph.with_options(backend=f"threads:{threads}"))
    assert report.received == report.leaves["sink"].delivered == first + number
    taken = sorted(Shelf.taken_s)
    return number / (taken[-1] - taken[first - 1])


def turns_per_second(work: Callable[[int], Any], threads: int, each: int = 30) -> float:
    """Do a piece of work in plain threads."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
        begin = time.perf_counter()
        list(pool.map(lambda one: [work(one + k) for k in range(each)], range(threads)))
        return threads * each / (time.perf_counter() - begin)


def row(name: str, rates: list[float]) -> str:
    """One line of the table: rates, and how many times the first they are."""
    return f"{name:18s}" + "".join(f"{rate:9.0f} ({rate / rates[0]:5.2f})" for rate in rates)


def test_frames_per_second_by_number_of_threads(
    frames: Any, read_pass: Any, monkeypatch: pytest.MonkeyPatch, benchmark: Any
) -> None:
    # what is measured is all that has to be compiled
    for search in ("zaef", "peakfinder8", "peakfinder9", "likelihood"):
        monkeypatch.setattr(f"stages.peaks.{search}.COMMON_TYPES", (np.int32,))
    Shelf.frames, Shelf.images = frames, tuple(Image.of(data=pixels) for pixels in frames.pixels)
    flat = [pixels.reshape(-1) for pixels in frames.pixels]
    controls: dict[str, Callable[[int], Any]] = {
        "no memory": lambda _: busy(300_000),
        "read a frame": lambda k: read_pass(flat[k % len(flat)]),
    }
    lines = [f"{'per second (x one)':18s}" + "".join(f"{n:>9d} thread{'s' if n > 1 else ' '}" for n in THREADS)]
    for name, work in controls.items():
        lines.append(row(name, [turns_per_second(work, n) for n in THREADS]))
    for name, search in SEARCHES.items():
        rates = [max(frames_per_second(search, n) for _ in range(2)) for n in THREADS]
        benchmark.extra_info[name] = [round(rate, 1) for rate in rates]
        lines.append(row(name, rates))
    print("\n" + "\n".join(lines))
    benchmark.pedantic(lambda: turns_per_second(controls["read a frame"], THREADS[-1]), rounds=1)
