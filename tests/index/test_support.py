"""Crystals from a file, and the peaks of their frame: what these do not support is left out, and counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import Context, Event
from stages.files.solution import solution_lines
from stages.index._support import supported
from stages.index.file import FromFile, Listed
from stages.records.crystal import Crystal, Crystals
from stages.records.peaklist import Hit, PeakList
from stages.simulation.spot_lists import CELLS, SUITABLE, XRAYS, noise, overlap, random_rotation, simulate

TRICLINIC = CELLS["triclinic"]


def crystal(real: np.ndarray, name: str = "triclinic", **more: object) -> Crystal:
    return Crystal(real, CELLS[name].lattice, "file", **more)


def elsewhere(rng: np.random.Generator, name: str = "triclinic") -> Crystal:
    """A crystal in an orientation that has nothing to do with the peaks."""
    return crystal(CELLS[name].real_space_angstrom @ random_rotation(rng).T, name)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("n", "spurious"), [(15, 0.2), (30, 0.5), (100, 0.5)])
def test_true_crystals_are_supported_and_others_are_not(name: str, n: int, spurious: float) -> None:
    rng = np.random.default_rng(n)
    true = wrong = 0
    for _ in range(10):
        spots = simulate(CELLS[name], rng, n, spurious, **SUITABLE.get(name, {}))
        peaks, geom = XRAYS.peaks_of(spots.q)
        true += len(supported([crystal(spots.real_space_angstrom, name)], peaks, geom))
        wrong += len(supported([elsewhere(rng, name)], peaks, geom))
    assert true >= 9
    assert wrong == 0


def test_peaks_that_are_of_no_lattice_support_none() -> None:
    rng = np.random.default_rng(11)
    for n in (0, 1, 5, 20, 200):
        peaks, geom = XRAYS.peaks_of(noise(rng, n))
        assert supported([elsewhere(rng), elsewhere(rng)], peaks, geom) == ()
        assert supported([elsewhere(rng)], peaks, geom) == ()


def test_of_several_crystals_each_is_judged_by_the_peaks_that_those_before_it_leave() -> None:
    rng = np.random.default_rng(12)
    spots = overlap(*(simulate(TRICLINIC, rng, 40, 0.25) for _ in range(5)))
    peaks, geom = XRAYS.peaks_of(spots.q)
    crystals = tuple(crystal(real) for real in spots.crystals)
    assert supported(crystals, peaks, geom) == crystals
    assert supported(crystals[:1], peaks, geom) == ()  # alone it explains too few of them
    assert supported([crystals[4], elsewhere(rng), crystals[0]], peaks, geom) == (crystals[4], crystals[0])
    assert (
        supported([*crystals[:2], replace(crystals[0])], peaks, geom) == crystals[:2]
    )  # one of them stands there twice


def test_a_centred_lattice_is_judged_by_the_spots_that_it_has() -> None:
    """The primitive lattice of the same axes has twice as many spots, of which the true ones are a half: no support for it."""
    rng = np.random.default_rng(13)
    spots = simulate(CELLS["cubic_i"], rng, 40, 0.0)
    h = np.rint(spots.q @ spots.real_space_angstrom.T)
    odd = spots.q + (1 - h.sum(axis=1) % 2)[:, None] * np.linalg.inv(spots.real_space_angstrom).T[0]  # h + k + l is odd
    peaks, geom = XRAYS.peaks_of(odd)
    lattice = CELLS["cubic_i"].lattice
    centred = Crystal(spots.real_space_angstrom, lattice)
    primitive = Crystal(spots.real_space_angstrom, replace(lattice, centering="P"))
    assert supported([primitive], peaks, geom) == (primitive,)
    assert supported([centred], peaks, geom) == ()


def test_the_crystals_own_shift_of_the_detector_counts() -> None:
    rng = np.random.default_rng(14)
    spots = simulate(CELLS["hexagonal"], rng, 60, 0.1, shift_px=0.0, jitter_px=0.1, cell_error=0.0)
    peaks, geom = XRAYS.peaks_of(spots.q)
    shift_m = (8 * XRAYS.pixel_m, -6 * XRAYS.pixel_m)
    moved = replace(geom, origin_m=geom.origin_m - np.array([*shift_m, 0.0]))
    as_found = crystal(spots.real_space_angstrom, "hexagonal")
    shifted = replace(as_found, det_shift_m=shift_m)
    assert supported([as_found], peaks, geom) == (as_found,)
    assert supported([as_found], peaks, moved) == ()
    assert supported([shifted], peaks, moved) == (shifted,)


def test_peaks_of_the_beam_do_not_count() -> None:
    rng = np.random.default_rng(15)
    spots = simulate(TRICLINIC, rng, 20, 0.0)
    beam = rng.normal(size=(60, 3)) * [1e-3, 1e-3, 0]
    peaks, geom = XRAYS.peaks_of(np.concatenate([beam, spots.q]))
    true = crystal(spots.real_space_angstrom)
    assert supported([true], peaks, geom) == (true,)


def written(folder: Path, *crystals: Crystal) -> Path:
    lines = solution_lines(
        "run", "run // 1", [(10 * c.reciprocal_per_angstrom, c.lattice, c.det_shift_m) for c in crystals]
    )
    path = folder / "a.sol"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def frame() -> tuple[PeakList, object, Crystal]:
    spots = simulate(TRICLINIC, np.random.default_rng(16), 40, 0.25)
    return *XRAYS.peaks_of(spots.q), crystal(spots.real_space_angstrom)


def test_index_file_leaves_out_what_the_peaks_do_not_support_and_counts_it(tmp_path: Path, frame) -> None:
    peaks, geom, true = frame
    path = written(tmp_path, true, elsewhere(np.random.default_rng(17)))
    crystals, listed = FromFile(file=path).open(Context())(Hit(True, 40), Event("run // 1"), peaks, geom, None)
    assert np.allclose(crystals.found[0].real_space_angstrom, true.real_space_angstrom)
    assert (len(crystals), listed) == (1, Listed(False, 1))
    assert listed.counts() == {"hits_not_in_file": 0, "crystals_refused_by_peaks": 1}
    every = FromFile(file=path, check_peaks=False).open(Context())
    crystals, listed = every(Hit(True, 40), Event("run // 1"), peaks, geom, None)
    assert (len(crystals), listed) == (2, Listed(False, 0))


def test_a_frame_whose_crystals_are_refused_is_left_to_the_next_method(tmp_path: Path, frame) -> None:
    peaks, geom, _ = frame
    path = written(tmp_path, elsewhere(np.random.default_rng(18)))
    running = FromFile(file=path).open(Context())
    crystals, listed = running(Hit(True, 40), Event("run // 1"), peaks, geom, Crystals(num_tries=2))
    assert (crystals, listed) == (Crystals(num_tries=3), Listed(False, 1))
