"""What merging costs: a crystal of 500 reflections as it arrives, a look, and a stream read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import Context
from stages.live.merge import Merge
from stages.merging.crystals import Observed, Polarisation, observe
from stages.merging.merger import Merger
from stages.merging.point_group import point_group
from stages.merging.shells import quality
from stages.merging.stream_crystals import StreamCrystals

pytestmark = pytest.mark.bench

GROUP = point_group("4/mmm")
STAR = np.diag([1 / 79.1, 1 / 79.1, 1 / 37.9])
CRYSTALS, REFLECTIONS = 200, 500


@pytest.fixture(scope="module")
def lists() -> list[tuple[NDArray[np.int32], NDArray[np.float64]]]:
    rng = np.random.default_rng(0)
    hkl = rng.integers((-34, -34, -16), (35, 35, 17), (CRYSTALS, REFLECTIONS, 3)).astype(np.int32)
    return list(zip(hkl, rng.exponential(100.0, (CRYSTALS, REFLECTIONS)), strict=True))


@pytest.fixture(scope="module")
def crystals(lists: list[Any]) -> list[Observed]:
    return [observe(hkl, value, STAR, 9500.0, GROUP, Polarisation()) for hkl, value in lists]


def test_bench_observe(benchmark: Any, lists: list[Any]) -> None:
    """Keys of the symmetry equivalents and polarisation, in the replica."""
    hkl, value = lists[0]
    found = benchmark(observe, hkl, value, STAR, 9500.0, GROUP, Polarisation())
    benchmark.extra_info["reflections"] = len(found)


def test_bench_merge_a_crystal(benchmark: Any, crystals: list[Observed]) -> None:
    """Behind the collector, once a reference is there."""
    merger = Merger(GROUP)
    merger.add_together(crystals)
    benchmark(merger.add_scaled, crystals[0])
    benchmark.extra_info["unique"] = len(merger)


def test_bench_scale_200_crystals_together(benchmark: Any, crystals: list[Observed]) -> None:
    """How merging begins, and what streamajig merge does."""
    merger = Merger(GROUP)
    benchmark(merger.scales, crystals)


def test_bench_look(benchmark: Any, crystals: list[Observed]) -> None:
    """Figures of merit in ten shells."""
    merger = Merger(GROUP)
    merger.add_together(crystals)
    found = benchmark(lambda: quality(merger.merged(), d_min_angstrom=2.3))
    benchmark.extra_info["possible"] = found.overall.possible


def test_bench_write_half(benchmark: Any, crystals: list[Observed]) -> None:
    """A crystal through live/merge's writer, looks included."""
    writer = Merge(symmetry="4/mmm", highres=2.3, keep_duplicates=True).open_writer(Context())
    turn = iter(range(10**9))
    benchmark(lambda: writer.write((crystals[next(turn) % CRYSTALS],)))


def test_bench_read_a_stream(benchmark: Any, lists: list[Any], tmp_path: Path) -> None:
    """Reflection lists of a stream into arrays; the file lies in the cache."""
    rows = []
    for hkl, value in lists:
        rows.append("----- Begin chunk -----\nhit = 1\nphoton_energy_eV = 9500.0\n--- Begin crystal\n")
        rows.append("astar = 0.126 0 0 nm^-1\nbstar = 0 0.126 0 nm^-1\ncstar = 0 0 0.264 nm^-1\ncentering = P\n")
        rows.append("Reflections measured after indexing\n   h    k    l          I   sigma(I)  ...\n")
        rows += [
            f"{h:4d} {k:4d} {i:4d} {x:10.2f} {1.0:10.2f} {9.0:10.2f} {0.0:10.2f} {512.3:6.1f} {45.6:6.1f} p0\n"
            for (h, k, i), x in zip(hkl.tolist(), value.tolist(), strict=True)
        ]
        rows.append("End of reflections\n--- End crystal\n----- End chunk -----\n")
    path = tmp_path / "a.stream"
    path.write_text("CrystFEL stream format 2.3\n" + "".join(rows))
    found = benchmark(lambda: sum(len(crystal.hkl) for crystal in StreamCrystals(path)))
    assert found == CRYSTALS * REFLECTIONS
    benchmark.extra_info["megabytes"] = path.stat().st_size / 1e6
