"""What images go through before peaks are searched, on frames of 4.5 megapixels, one thread."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline import Context
from stages.peaks.bin import Bin
from stages.peaks.median_filter import MedianFilter
from stages.peaks.noise_filter import NoiseFilter
from stages.records.image import Image

pytestmark = pytest.mark.bench

FILTERS = {"median_filter": MedianFilter(radius=3), "noise_filter": NoiseFilter(), "bin": Bin(bin=2)}


@pytest.mark.parametrize("name", FILTERS)
def test_filter(name: str, frames: Any, benchmark: Any) -> None:
    image = Image.of(data=frames.pixels[0])
    running = FILTERS[name].open(Context())
    result = benchmark.pedantic(lambda: running(image, frames.geom), rounds=2, iterations=1)
    changed = result[0] if isinstance(result, tuple) else result
    assert changed.before.image is image
