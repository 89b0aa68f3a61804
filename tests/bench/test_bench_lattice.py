"""index/lattice: CPU time a pattern, one thread; found patterns, and blanks, where the whole search is in vain."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pytest

from stages.index._free import FreeSearch
from stages.simulation.spot_lists import CELLS, SUITABLE, XRAYS, noise, simulate

pytestmark = pytest.mark.bench
PATTERNS = 40
SEARCH = FreeSearch()


def search(q: np.ndarray) -> Any:
    return SEARCH(q, XRAYS.wavelength_angstrom, XRAYS.px_per_angstrom)


@pytest.mark.parametrize("n_spots", [30, 60, 150])
@pytest.mark.parametrize("name", ["lysozyme", "triclinic", "hexagonal", "cubic_f", "small"])
def test_found(name: str, n_spots: int, benchmark: Any) -> None:
    rng = np.random.default_rng(61)
    lists = [simulate(CELLS[name], rng, n_spots, 0.25, **SUITABLE.get(name, {})).q for _ in range(PATTERNS)]
    benchmark.extra_info["found"] = sum(search(q) is not None for q in lists)
    each = cycle(lists)
    benchmark.pedantic(lambda: search(next(each)), rounds=PATTERNS, iterations=1)
    assert benchmark.extra_info["found"] > PATTERNS // 2


@pytest.mark.parametrize("n_spots", [15, 60, 150])
def test_blank(n_spots: int, benchmark: Any) -> None:
    rng = np.random.default_rng(62)
    lists = [noise(rng, n_spots) for _ in range(PATTERNS)]
    each = cycle(lists)
    benchmark.pedantic(lambda: search(next(each)), rounds=PATTERNS, iterations=1)
    assert not any(search(q) is not None for q in lists)
