"""A given cell that is too large explains everything; the indices that never occur tell."""

from __future__ import annotations

import json
import logging
import pickle
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from pipeline import Context, Frame
from pipeline.by_type import ByType
from stages.files.cell import TargetCell, cell_text
from stages.index.pairs import Pairs
from stages.lattices.cell import UnitCell
from stages.live._conditions import Conditions, Obeyed, obeyed_by
from stages.live._superlattice import Indices, Missing
from stages.live.cells import Cells, CellsWriter
from stages.records import Crystal, Crystals, DetGeom, Hit, PeakList
from stages.records.limits import CellLimits
from stages.simulation.spot_lists import CELLS, XRAYS, cell, simulate

ORTHO_C = cell(60, 100, 50, 90, 90, 90, "orthorhombic", "C")
TOO_LARGE = {
    "c doubled": (
        CELLS["lysozyme"],
        cell(79.1, 79.1, 75.8, 90, 90, 90, "tetragonal", "P", "c"),
        "HALF OF THE INDICES NEVER OCCUR: l is always even, in 20 of 20 crystals",
        "too large: try tetragonal P 79.10 79.10 37.90 A 90.0 90.0 90.0 deg",
    ),
    "b doubled": (
        cell(90, 40, 60, 90, 90, 90, "orthorhombic", "P"),
        cell(90, 80, 60, 90, 90, 90, "orthorhombic", "P"),
        "HALF OF THE INDICES NEVER OCCUR: k is always even, in 20 of 20 crystals",
        "too large: try orthorhombic P 90.00 40.00 60.00 A 90.0 90.0 90.0 deg",
    ),
    "c doubled until it is as long as a": (
        cell(80, 80, 40, 90, 90, 90, "tetragonal", "P", "c"),
        cell(80, 80, 80, 90, 90, 90, "tetragonal", "P", "c"),
        "HALF OF THE INDICES NEVER OCCUR: l is always even, in 20 of 20 crystals",
        "too large: try tetragonal P 80.00 80.00 40.00 A 90.0 90.0 90.0 deg",
    ),
    "c three times as long": (
        CELLS["orthorhombic"],
        cell(46, 58, 213, 90, 90, 90, "orthorhombic", "P"),
        "TWO THIRDS OF THE INDICES NEVER OCCUR: l is always a multiple of 3, in 20 of 20 crystals",
        "too large: try orthorhombic P 46.00 58.00 71.00 A 90.0 90.0 90.0 deg",
    ),
    "C given as P": (
        ORTHO_C,
        cell(60, 100, 50, 90, 90, 90, "orthorhombic", "P"),
        "HALF OF THE INDICES NEVER OCCUR: h + k is always even, in 20 of 20 crystals",
        "too large: try orthorhombic C 60.00 100.00 50.00 A 90.0 90.0 90.0 deg",
    ),
    "monoclinic C given as P": (
        CELLS["monoclinic_c"],
        cell(120, 50, 66, 90, 106, 90, "monoclinic", "P", "b"),
        "HALF OF THE INDICES NEVER OCCUR: h + k is always even, in 20 of 20 crystals",
        "too large: try monoclinic C 120.00 50.00 66.00 A 90.0 106.0 90.0 deg",
    ),
    "I given as P": (
        CELLS["cubic_i"],
        cell(78, 78, 78, 90, 90, 90, "cubic", "P"),
        "HALF OF THE INDICES NEVER OCCUR: h + k + l is always even, in 20 of 20 crystals",
        "too large: try cubic I 78.00 78.00 78.00 A 90.0 90.0 90.0 deg",
    ),
    "F given as P": (
        cell(90, 90, 90, 90, 90, 90, "cubic", "F"),
        cell(90, 90, 90, 90, 90, 90, "cubic", "P"),
        "THREE QUARTERS OF THE INDICES NEVER OCCUR: k + l, h + l and h + k are always even, in 20 of 20 crystals",
        "too large: try cubic F 90.00 90.00 90.00 A 90.0 90.0 90.0 deg",
    ),
    "F given as C": (
        cell(60, 100, 80, 90, 90, 90, "orthorhombic", "F"),
        cell(60, 100, 80, 90, 90, 90, "orthorhombic", "C"),
        "HALF OF THE INDICES NEVER OCCUR: k + l is always even, in 20 of 20 crystals",
        "too large: try orthorhombic F 60.00 100.00 80.00 A 90.0 90.0 90.0 deg",
    ),
    "H given as P": (
        CELLS["rhombohedral_h"],
        cell(66.2, 66.2, 150.2, 90, 90, 120, "hexagonal", "P", "c"),
        "TWO THIRDS OF THE INDICES NEVER OCCUR: -h + k + l is always a multiple of 3, in 20 of 20 crystals",
        "too large: try hexagonal H 66.20 66.20 150.20 A 90.0 90.0 120.0 deg",
    ),
}
"""True cell, given cell, and how the sentence begins and ends."""


@lru_cache(maxsize=32)
def frames_of(true: UnitCell, given: UnitCell, num: int = 20, spurious: float = 0.25) -> tuple[Frame, ...]:
    """Frames of simulated spots, indexed with the given cell."""
    index = Pairs(cell=Path(), verify=False).for_cell(given, Context())
    frames = []
    for seed in range(num):
        spots = simulate(true, np.random.default_rng([7, seed]), 60, spurious)
        peaks, geom = XRAYS.peaks_of(spots.q, spots.intensity)
        hit = Hit(True, len(peaks))
        frames.append(Frame(seed + 1).with_values(hit, peaks, geom, index(hit, peaks, geom)))
    return tuple(frames)


def gathered(given: UnitCell, frames: tuple[Frame, ...]) -> CellsWriter:
    context = Context(upstream=ByType([TargetCell(given, cell_text(given))]))
    encode, writer = Cells().open(context), Cells().open_writer(context)
    for frame in frames:
        encoded = encode(frame)
        assert encoded is not None
        writer.write(pickle.loads(pickle.dumps(encoded)))
    return writer


@pytest.mark.parametrize("what", TOO_LARGE)
def test_a_cell_that_is_too_large_is_named_with_the_indices_that_never_occur(what: str) -> None:
    true, given, begin, end = TOO_LARGE[what]
    found = gathered(given, frames_of(true, given)).findings()
    assert "20 of 20 crystals (100.0 %) agree on" in found.text, "every crystal agrees with it"
    (line,) = [line for line in found.text.splitlines() if "OCCUR" in line]
    assert line.startswith(begin)
    assert line.endswith(end)
    missing = json.loads(json.dumps(found.figures))["missing_indices"]
    assert missing["peaks_breaking"] <= 0.02 * missing["peaks"]


@pytest.mark.parametrize("name", ["lysozyme", "monoclinic", "monoclinic_c", "rhombohedral_h", "hexagonal", "cubic_i"])
def test_of_the_right_cell_no_crystal_obeys_any_condition(name: str) -> None:
    for spurious in (0.0, 0.5):
        for frame in frames_of(CELLS[name], CELLS[name], 20, spurious):
            for crystal in frame[Crystals]:
                said = obeyed_by(crystal, frame[PeakList], frame[DetGeom])
                assert said is None or said.conditions == 0


def test_where_most_peaks_are_spurious_a_cell_that_is_too_large_is_still_named() -> None:
    true, given, begin, _ = TOO_LARGE["c doubled"]
    text = gathered(given, frames_of(true, given, 40, 0.6)).findings().text
    assert begin.partition(", in")[0] in text


def test_it_is_said_once_while_the_run_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    true, given, *_ = TOO_LARGE["c doubled"]
    with caplog.at_level(logging.WARNING, "streamajig"):
        gathered(given, frames_of(true, given) * 3)
    assert caplog.text.count("HALF OF THE INDICES NEVER OCCUR") == 1


def test_a_pattern_of_one_zone_says_nothing_of_the_index_that_is_zero_in_it() -> None:
    """Electron diffraction: hk0 alone is no sign that l is always even."""
    given = cell(30, 40, 50, 90, 90, 90, "orthorhombic", "P")
    hkl = np.array([(h, k, 0) for h in range(-5, 6) for k in range(-5, 6) if h or k])
    conditions = Conditions.of(given)
    assert conditions.obeyed(hkl)[0] == 0
    zone = np.array([(h, h, ll) for h in range(-5, 6) for ll in range(-5, 6) if h or ll])
    assert conditions.obeyed(zone)[0] == 0, "h + k is even in this zone for all"


def test_which_equivalent_orientation_a_crystal_was_found_in_does_not_matter() -> None:
    """Obverse and reverse settings of a rhombohedral lattice given as P are the same to the search."""
    given = TOO_LARGE["H given as P"][1]
    rng = np.random.default_rng(3)
    hkl = rng.integers(-9, 10, (400, 3))
    obverse = hkl[(-hkl[:, 0] + hkl[:, 1] + hkl[:, 2]) % 3 == 0]
    turned = obverse * [-1, -1, 1]
    conditions = Conditions.of(given)
    assert conditions.obeyed(obverse)[0] == conditions.obeyed(turned)[0] != 0


def test_a_crystal_found_without_a_cell_is_not_asked() -> None:
    spots = simulate(CELLS["lysozyme"], np.random.default_rng(1), 60)
    peaks, geom = XRAYS.peaks_of(spots.q)
    assert obeyed_by(Crystal(spots.real_space_angstrom), peaks, geom) is None


def said(given: UnitCell, conditions: int, num_breaking: int = 0) -> Obeyed:
    return Obeyed(given, conditions, 100, num_breaking)


def test_a_part_of_the_crystals_is_not_enough_and_two_crystals_are_none() -> None:
    given = cell(30, 40, 50, 90, 90, 90, "orthorhombic", "P")
    for obeying, others, expected in ((2, 0, False), (3, 0, True), (7, 3, True), (6, 4, False)):
        indices = Indices()
        for n in range(obeying + others):
            indices.add(said(given, 1 if n < obeying else 0))
        assert (indices.missing() is not None) is expected


def test_weak_reflections_between_are_called_a_superstructure_perhaps() -> None:
    given = cell(30, 40, 50, 90, 90, 90, "orthorhombic", "P")
    indices = Indices()
    for _ in range(10):
        indices.add(said(given, 1, num_breaking=6))
    missing = indices.missing()
    assert isinstance(missing, Missing)
    assert str(missing) == (
        "HALF OF THE INDICES HARDLY EVER OCCUR: l is always even, in 10 of 10 crystals with 12 peaks or more, 6.0 % of their "
        "peaks excepted; if this is no superstructure, the given cell, orthorhombic P 30.00 40.00 50.00 A 90.0 90.0 90.0 deg, "
        "is too large: try orthorhombic P 30.00 40.00 25.00 A 90.0 90.0 90.0 deg"
    )


def test_memory_is_bounded_whatever_crystals_say() -> None:
    rng = np.random.default_rng(5)
    indices = Indices()
    for n in range(3000):
        given = cell(30 + n % 20, 40, 50, 90, 90, 90, "orthorhombic", "P")
        indices.add(said(given, int(rng.integers(1, 1 << 20))))
    assert len(indices._counts) <= 4
    assert all(len(counts) <= 101 for counts in indices._counts.values())


def test_the_shift_with_which_a_crystal_was_found_counts() -> None:
    given = TOO_LARGE["c doubled"][1]
    spots = simulate(CELLS["lysozyme"], np.random.default_rng(6), 60, shift_px=0.0, cell_error=0.0)
    peaks, geom = XRAYS.peaks_of(spots.q)
    doubled = spots.real_space_angstrom * np.array([[1.0], [1.0], [2.0]])
    off = replace(peaks, fs=peaks.fs + 8.0)
    crystal = Crystal(doubled, given.lattice, limits=CellLimits(given, None))
    moved = replace(crystal, det_shift_m=(-8.0 * XRAYS.pixel_m, 0.0))
    right = obeyed_by(crystal, peaks, geom)
    assert right is not None
    assert right.conditions != 0
    assert obeyed_by(moved, off, geom) == right
    assert obeyed_by(crystal, off, geom) != right
