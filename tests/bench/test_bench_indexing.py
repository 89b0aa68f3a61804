"""Indexing with a known cell, one thread: patterns of one lattice with spurious spots, and giving up on noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import Context
from stages.files.cell import cell_text
from stages.index.pairs import Pairs
from stages.records.peaklist import Hit
from stages.simulation.spot_lists import CELLS, SUITABLE, XRAYS, noise, overlap, simulate

pytestmark = pytest.mark.bench

PATTERNS = 40
NAMES = ["lysozyme", "monoclinic", "triclinic", "rhombohedral_h", "small", "hexagonal", "large"]


def measure(benchmark: Any, tmp_path: Path, name: str, lists: list[Any], **parameters: Any) -> int:
    """Index one list after the other; the figures are those of single patterns. Return how many were indexed."""
    path = tmp_path / "some.cell"
    path.write_text(cell_text(CELLS[name]))
    running = Pairs(cell=path, **parameters).open(Context())
    frames = [(Hit(True, len(q)), *XRAYS.peaks_of(q, intensity)) for q, intensity in lists]
    number = iter(range(10**9))

    def one() -> int:
        return len(running(*frames[next(number) % len(frames)], None))

    benchmark.pedantic(one, rounds=3 * len(frames), warmup_rounds=2)
    return sum(bool(len(running(*frame, None))) for frame in frames)


@pytest.mark.parametrize("spots", ["30_25", "60_50", "250_50"])
@pytest.mark.parametrize("name", NAMES)
def test_known_cell(name: str, spots: str, tmp_path: Path, benchmark: Any) -> None:
    rng = np.random.default_rng(1)
    n, spurious = (int(x) for x in spots.split("_"))
    made = [simulate(CELLS[name], rng, n, spurious / 100, **SUITABLE.get(name, {})) for _ in range(PATTERNS)]
    indexed = measure(benchmark, tmp_path, name, [(one.q, one.intensity) for one in made])
    benchmark.extra_info["indexed"] = indexed / PATTERNS
    assert indexed > 0


@pytest.mark.parametrize("n", [15, 60, 250])
@pytest.mark.parametrize("name", NAMES)
def test_giving_up(name: str, n: int, tmp_path: Path, benchmark: Any) -> None:
    rng = np.random.default_rng(2)
    d_min = SUITABLE.get(name, {}).get("d_min", 2.0)
    lists = [(noise(rng, n, d_min), rng.exponential(size=n)) for _ in range(PATTERNS)]
    assert measure(benchmark, tmp_path, name, lists) <= 1


@pytest.mark.parametrize("how_many", [2, 3])
def test_several_lattices(how_many: int, tmp_path: Path, benchmark: Any) -> None:
    rng = np.random.default_rng(3)
    made = [
        overlap(*(simulate(CELLS["lysozyme"], rng, 40, 0.2, shift_px=0.3) for _ in range(how_many)))
        for _ in range(PATTERNS)
    ]
    measure(benchmark, tmp_path, "lysozyme", [(one.q, one.intensity) for one in made], multi=True)
