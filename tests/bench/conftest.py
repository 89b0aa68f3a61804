"""Frames for the benchmarks, and the read floor: what one pass over a frame costs, and nothing else."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit

from stages.records.geometry import DetGeom, Panel

SHAPE = (2162, 2068)
MEGAPIXELS = SHAPE[0] * SHAPE[1] / 1e6


@njit(nogil=True)
def read_once(pixels: Any) -> Any:
    """One pass over all pixels, as numba does it best."""
    total = 0
    for i in range(pixels.size):
        total += np.int64(pixels[i])
    return total


@dataclasses.dataclass(frozen=True, eq=False)
class Frames:
    """A few frames of one detector, more of them than the caches hold."""

    pixels: tuple[np.ndarray, ...]
    geom: DetGeom

    def astype(self, dtype: Any) -> Frames:
        """The same frames in another type."""
        return Frames(tuple(p.astype(dtype) for p in self.pixels), self.geom)

    def read_floor_ms(self) -> float:
        """The best of a few passes."""
        flat = [p.reshape(-1) for p in self.pixels]
        read_once(flat[0])
        best = np.inf
        for _ in range(5):
            for one in flat:
                start = time.perf_counter()
                read_once(one)
                best = min(best, time.perf_counter() - start)
        return 1e3 * best


def simulated(seed: int, spots: int = 100) -> np.ndarray:
    """Photon counts: a smooth background with a broad ring, and spots whose heights are exponential."""
    rng = np.random.default_rng(seed)
    height, width = SHAPE
    y, x = np.mgrid[:height, :width].astype(np.float32)
    radius = np.hypot(x - width / 2 - 7.3, y - height / 2 + 4.1)
    rate = 1 + 8 * np.exp(-radius / 400) + 3 * np.exp(-(((radius - 500) / 120) ** 2))
    for _ in range(spots):
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(60, 950)
        fs, ss = width / 2 + distance * np.cos(angle), height / 2 + distance * np.sin(angle)
        box = slice(int(ss) - 8, int(ss) + 9), slice(int(fs) - 8, int(fs) + 9)
        far_sq = (x[box] + 0.5 - fs) ** 2 + (y[box] + 0.5 - ss) ** 2
        rate[box] += rng.exponential(150) * np.exp(-far_sq / (2 * 1.2**2))
    return rng.poisson(rate).astype(np.int32)


def masked() -> np.ndarray:
    """Gaps between modules, and 300 bad pixels."""
    bad = np.zeros(SHAPE, np.uint8)
    for k in range(1, 4):
        bad[k * 514 + (k - 1) * 37 : k * 514 + k * 37] = 1
    bad[:, 1030:1038] = 1
    bad.flat[np.random.default_rng(0).integers(0, bad.size, 300)] = 1
    return bad


@pytest.fixture(scope="session")
def frames() -> Frames:
    """Four frames of 2068 x 2162 int32, gaps filled with the largest uint16."""
    height, width = SHAPE
    bad, pixel = masked(), 75e-6
    pixels = [simulated(seed) for seed in range(4)]
    for one in pixels:
        one[bad == 1] = 65535
    geom = DetGeom(
        (Panel("eiger", data="data", max_fs=width - 1, max_ss=height - 1),),
        np.array([[-(width / 2 + 7.3) * pixel, -(height / 2 - 4.1) * pixel, 0.13]]),
        np.array([[pixel, 0.0, 0.0]]),
        np.array([[0.0, pixel, 0.0]]),
        9500.0,
        np.array([0.13]),
        (bad,),
        static_key="bench",
    )
    return Frames(tuple(pixels), dataclasses.replace(geom, static_bad=geom.bad))


@pytest.fixture(scope="session")
def read_pass() -> Callable[[np.ndarray], Any]:
    """One pass over all pixels of a flat array."""
    return read_once


@pytest.fixture
def beside_the_floor(benchmark: Any) -> Callable[[Callable[[int], Any], Frames], Any]:
    """Benchmark what is done with one frame after the other, and print it beside the read floor."""

    def measure(work: Callable[[int], Any], of: Frames) -> Any:
        number = iter(range(10**9))
        work(0)
        result = benchmark.pedantic(lambda: work(next(number) % len(of.pixels)), rounds=25, warmup_rounds=3)
        floor, best = of.read_floor_ms(), 1e3 * benchmark.stats.stats.min
        figures = {"read_floor_ms": floor, "ms_per_megapixel": best / MEGAPIXELS, "times_the_floor": best / floor}
        benchmark.extra_info.update({key: round(value, 3) for key, value in figures.items()})
        print(
            f"\n{benchmark.name}: {best:.2f} ms per frame, {best / MEGAPIXELS:.3f} ms per megapixel, "
            f"read floor {floor:.2f} ms"
        )
        return result

    return measure
