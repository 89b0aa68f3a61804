"""peaks/likelihood beside exact peakfinder8, the filters, and one pass over the frame; one thread."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline import Context
from stages.image import Image
from stages.peaks.bin import Bin
from stages.peaks.likelihood import Likelihood
from stages.peaks.median_filter import MedianFilter
from stages.peaks.noise_filter import NoiseFilter
from stages.peaks.peakfinder8 import PeakFinder8

pytestmark = pytest.mark.bench

SEARCHES = {"likelihood": Likelihood(), "peakfinder8": PeakFinder8(threshold=15.0, max_pix_count=20)}
FILTERS = {"median_filter": MedianFilter(radius=3), "noise_filter": NoiseFilter(), "bin": Bin(bin=2)}


@pytest.mark.parametrize("dtype", ["i4", "u2", "f4"])
@pytest.mark.parametrize("name", SEARCHES)
def test_own_search(name: str, dtype: str, frames: Any, beside_the_floor: Any, benchmark: Any) -> None:
    mine = frames.astype(dtype)
    images = [Image.of(data=pixels) for pixels in mine.pixels]
    running = SEARCHES[name].open(Context())
    found = beside_the_floor(lambda i: running(images[i], mine.geom), mine)
    benchmark.extra_info["peaks"] = len(found)
    assert len(found) > 10


@pytest.mark.parametrize("name", FILTERS)
def test_filter(name: str, frames: Any, benchmark: Any) -> None:
    image = Image.of(data=frames.pixels[0])
    running = FILTERS[name].open(Context())
    result = benchmark.pedantic(lambda: running(image, frames.geom), rounds=2, iterations=1)
    changed = result[0] if isinstance(result, tuple) else result
    assert changed.before.image is image
