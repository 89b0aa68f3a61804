"""The detector's place over a run: hits that do not index are searched, crystals vote, and little is said of little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from pipeline import Context, Frame
from stages.diagnosis.finding import Finding
from stages.diagnosis.place import subject
from stages.diagnosis.place.evidence import CrystalEvidence, evidence_of
from stages.diagnosis.place.place import Place, find_place
from stages.diagnosis.place.subject import DetectorPlace, PlaceSeen, PlaceWatch
from stages.diagnosis.place.vote import chance_of, shifts_of_crystal, surprise_of, vote
from stages.diagnosis.steps import Steps
from stages.diagnosis.subject import About
from stages.index.lattice import FreeLattice
from stages.lattices.cell import UnitCell
from stages.records.crystal import Crystal, Crystals
from stages.records.displacement import NOT_DISPLACED, Displacement
from stages.records.geometry import DetGeom
from stages.records.peaklist import Hit, PeakList
from stages.records.told import IndexingStages
from stages.simulation.misplaced import file_geometry
from stages.simulation.spot_lists import CELLS, XRAYS, noise, random_rotation, simulate

CELL = CELLS["lysozyme"]
PIXEL_M = XRAYS.pixel_m


@cache
def hits(move: Displacement, num: int, seed: int = 21) -> tuple[tuple[PeakList, DetGeom, np.ndarray], ...]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(num):
        spots = simulate(CELL, rng, 60, 0.1, shift_px=0.0, cell_error=0.001, profile_radius=5e-4)
        peaks, geom = XRAYS.peaks_of(spots.q, spots.intensity)
        found.append((peaks, file_geometry(geom, move), spots.real_space_angstrom))
    return tuple(found)


def about(target: UnitCell | None = CELL) -> About:
    return About(None, target, IndexingStages((FreeLattice(),)), Context())


def frame_of(peaks: PeakList, geom: DetGeom, crystals: Crystals, *, is_hit: bool = True) -> Frame:
    return Frame(1).with_values(peaks, geom, crystals, Hit(is_hit, len(peaks)))


def watch_of(frames: list[Frame], target: UnitCell | None = CELL) -> PlaceWatch:
    place = DetectorPlace()
    look, watch = place.look(about(target)), place.watch(about(target))
    for frame in frames:
        seen = look(frame)
        if seen is not None:
            watch.take(seen)
    return watch


def concluded(frames: list[Frame], target: UnitCell | None = CELL) -> list[Finding]:
    return list(watch_of(frames, target).conclude())


def indexed(move: Displacement, num: int) -> list[Frame]:
    """Frames in which the crystal was found, with the shift, as index/pairs finds it."""
    return [
        frame_of(peaks, geom, Crystals((Crystal(real, CELL.lattice, det_shift_m=move.shift_m),)))
        for peaks, geom, real in hits(move, num)
    ]


SHIFT = Displacement((3 * PIXEL_M, 4 * PIXEL_M))


def test_a_shift_that_all_crystals_have_is_found() -> None:
    (finding,) = concluded(indexed(SHIFT, 20))
    assert finding.key == "detector"
    assert finding.displacement is not None
    assert np.allclose(finding.displacement.shift_m, SHIFT.shift_m, atol=0.1 * PIXEL_M)
    assert finding.num_frames >= 18


def test_where_the_detector_is_right_nothing_is_said() -> None:
    assert concluded(indexed(NOT_DISPLACED, 25)) == []


def test_where_the_detector_is_surely_right_some_crystals_are_asked_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And all of them, once these say that it is elsewhere."""
    asked: list[int] = []

    def counted(crystals: Sequence[CrystalEvidence], *rest: Any) -> Steps[Place | None]:
        asked.append(len(crystals))
        return find_place(crystals, *rest)

    monkeypatch.setattr(subject, "find_place", counted)
    frames = [*indexed(NOT_DISPLACED, 25), *indexed(SHIFT, 75)]
    look, watch = DetectorPlace().look(about()), DetectorPlace().watch(about())
    for number, frame in enumerate(frames, 1):
        watch.take(look(frame))
        if number in (25, 60, 100):  # the second is too soon
            found = watch.findings()
            assert bool(found) == (number == 100)
    assert asked == [25, 34, 100]


def test_few_crystals_say_nothing_while_the_run_goes_on() -> None:
    assert watch_of(indexed(SHIFT, 7)).findings() == ()
    assert concluded(indexed(SHIFT, 1)) == []
    assert concluded([]) == []


@pytest.mark.shared_data
def test_one_image_of_many_spots_tells_where_its_detector_is(mar_image: tuple[PeakList, DetGeom]) -> None:
    peaks, geom = mar_image
    hit = Hit(True, len(peaks))
    crystals = FreeLattice().open(Context())(hit, peaks, geom)
    (finding,) = concluded([Frame(1).with_values(peaks, geom, hit, crystals)], None)
    assert finding.displacement is not None
    shift_px = np.array(finding.displacement.shift_m) / np.linalg.norm(geom.fs_m[0])
    assert np.allclose(shift_px, (3.6, 5.1), atol=1.0)


@pytest.mark.parametrize("target", [CELL, None], ids=["with the cell", "without a cell"])
def test_hits_that_do_not_index_tell_where_the_detector_is(target: UnitCell | None) -> None:
    move = Displacement((9 * PIXEL_M, -7 * PIXEL_M), 0.04 * XRAYS.distance_m, (4e-3, -5e-3))
    found = concluded([frame_of(peaks, geom, Crystals()) for peaks, geom, _ in hits(move, 40)], target)
    finding = found[0]
    assert finding.key == "detector"
    assert finding.displacement is not None
    assert np.allclose(finding.displacement.shift_m, move.shift_m, atol=0.3 * PIXEL_M)
    assert finding.displacement.along_m == pytest.approx(move.along_m, abs=2e-3 * XRAYS.distance_m)
    assert np.allclose(finding.displacement.tilt_rad, move.tilt_rad, atol=1.5e-3)
    assert "only 0 % of the hits were indexed" in finding.text


def test_hits_that_index_because_their_cells_are_small_do_not_pull_the_distance() -> None:
    """One hit in six indexes on a distance that is 4 % short, all of them with cells that make up for 0.4 % of it."""
    move, rng = Displacement(along_m=0.04 * XRAYS.distance_m), np.random.default_rng(64)
    watch = DetectorPlace().watch(about())
    for n in range(36):
        is_indexed = n % 6 == 0
        size = 1.004 if is_indexed else 0.9992
        there = replace(CELL, a=CELL.a * size, b=CELL.b * size, c=CELL.c * size)
        spots = simulate(there, rng, 60, 0.1, shift_px=0.0, cell_error=0.0, profile_radius=5e-4)
        peaks, geom = XRAYS.peaks_of(spots.q, spots.intensity)
        one = evidence_of(Crystal(spots.real_space_angstrom, CELL.lattice), peaks, file_geometry(geom, move), move)
        assert one is not None
        watch.take(PlaceSeen((one,) * 3, (), True) if is_indexed else PlaceSeen((), (one,), False))
    (finding,) = watch.conclude()
    assert finding.displacement is not None
    assert finding.displacement.along_m == pytest.approx(move.along_m, abs=1e-3 * XRAYS.distance_m)


def test_hits_of_noise_do_not_move_the_detector() -> None:
    rng = np.random.default_rng(3)
    frames = []
    for _ in range(40):
        peaks, geom = XRAYS.peaks_of(noise(rng, 60))
        frames.append(frame_of(peaks, geom, Crystals()))
    assert concluded(frames) == []


def test_frames_that_are_no_hits_are_not_searched() -> None:
    frames = [frame_of(p, g, Crystals(), is_hit=False) for p, g, _ in hits(SHIFT, 20)]
    watch = watch_of(frames)
    assert watch.figures()["hits"] == 0
    assert watch.conclude() == ()


def test_a_run_that_follows_the_detector_sees_it_from_the_file() -> None:
    frames = []
    for peaks, geom, real in hits(SHIFT, 20):
        there = geom.displaced(SHIFT)
        frames.append(frame_of(peaks, there, Crystals((Crystal(real, CELL.lattice),))))
    (finding,) = concluded(frames)
    assert finding.displacement is not None
    assert np.allclose(finding.displacement.shift_m, SHIFT.shift_m, atol=0.1 * PIXEL_M)


def test_crystals_agree_on_the_shift_that_each_knows_but_for_a_lattice_vector() -> None:
    rng = np.random.default_rng(6)
    cell = CELLS["large"]
    basis = np.array(cell.real_space_angstrom)
    true = np.array([6.0, -4.0])
    camera = XRAYS.distance_m * XRAYS.wavelength_angstrom
    voters = []
    for _ in range(25):
        turned = basis @ random_rotation(rng).T
        every = shifts_of_crystal(turned, (true[0] * PIXEL_M, true[1] * PIXEL_M), camera, PIXEL_M)
        found = every[rng.integers(len(every))]  # one of them, as it happens
        voters.append(shifts_of_crystal(turned, (found[0] * PIXEL_M, found[1] * PIXEL_M), camera, PIXEL_M))
    (voted,) = vote(voters, PIXEL_M)
    assert np.allclose(np.array(voted.shift_m) / PIXEL_M, true, atol=0.2)
    assert voted.num_votes == voted.num_voters == 25


def test_the_true_shift_is_among_those_voted_for_where_only_what_looks_right_without_it_was_indexed() -> None:
    """With 281 A at 90 mm a lattice vector is 2.4 pixels: crystals that have one near the shift index as if it were 0."""
    rng = np.random.default_rng(8)
    basis = np.array(CELLS["large"].real_space_angstrom)
    true, camera, pixel_m = np.array([7.2, -9.6]), 0.09 * 1.305, 172e-6
    voters: list[np.ndarray] = []
    while len(voters) < 40:
        turned = basis @ random_rotation(rng).T
        every = shifts_of_crystal(turned, (true[0] * pixel_m, true[1] * pixel_m), camera, pixel_m)
        if np.hypot(*every.T).min() < 0.7:
            voters.append(shifts_of_crystal(turned, (0.0, 0.0), camera, pixel_m))
    places = np.array([voted.shift_m for voted in vote(voters, pixel_m, most=4, sure=0.0)]) / pixel_m
    for place in (np.zeros(2), true, -true):  # a lattice is its own mirror image: which of them it is the peaks decide
        assert np.hypot(*(places - place).T).min() < 0.5
    few = 10 * chance_of(voters)
    assert surprise_of(10, few) > 0.0 > surprise_of(5, few)  # half of ten crystals would not stand out


def test_shifts_that_agree_on_nothing_are_voted_down() -> None:
    rng = np.random.default_rng(7)
    assert vote([rng.uniform(-20, 20, (6, 2)) for _ in range(30)], PIXEL_M) == []
    assert vote([np.zeros((1, 2))] * 4, PIXEL_M) == []
    assert vote([], PIXEL_M) == []
