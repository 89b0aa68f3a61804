"""What comes out is what the search accepted: the shift that a search finds goes with the crystal, by every method."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import Context, Event
from stages.files.cell import cell_text
from stages.files.solution import solution_lines
from stages.index._attempts import Solution, is_explained
from stages.index._kernels.unknown.residuals import moved_back
from stages.index._shift import NOT_SHIFTED, UsualShift, in_metres, is_shifted
from stages.index.auto import Auto
from stages.index.file import FromFile
from stages.index.lattice import FreeLattice
from stages.index.pairs import Pairs
from stages.lattices.cell import UnitCell, misorientation, rotations
from stages.prediction.panel_finder import PanelFinder
from stages.prediction.predict import predict
from stages.records.crystal import Crystal, Crystals
from stages.records.geometry import DetGeom, q_on_shifted
from stages.records.peaklist import Hit, PeakList
from stages.records.told import AgreedCell
from stages.refine.prediction import Prediction
from stages.simulation.spot_lists import CELLS, XRAYS, SpotList, noise, overlap, simulate

NAMES = ("lysozyme", "monoclinic", "triclinic", "hexagonal", "cubic_i", "rhombohedral_h")
METHODS = ("pairs", "lattice", "auto", "auto with the cell", "file")
OFFSETS_PX = (0.0, 0.7, 2.0, 4.0, 6.0)
FEW_SPOTS = 2
"""A spot on the verge of a tolerance may go either way."""


@cache
def refinement(refine_shift: bool = False) -> Any:
    return Prediction(refine_detector_shift=refine_shift).open(Context())


def peaks_off_by(spots: SpotList, dx: float, dy: float) -> tuple[PeakList, DetGeom]:
    """The peaks where they are if the detector is off by so many pixels: moving it back by as much puts them right."""
    peaks, geom = XRAYS.peaks_of(spots.q, spots.intensity)
    return replace(peaks, fs=peaks.fs + dx, ss=peaks.ss + dy), geom


def off_px(crystal: Crystal, dx: float, dy: float) -> float:
    """How far a crystal's shift is from the one that puts the peaks right, in pixels."""
    x, y = np.array(crystal.det_shift_m) / XRAYS.pixel_m
    return math.hypot(x + dx, y + dy)


def degrees_off(crystal: Crystal, truth: np.ndarray, cell: UnitCell) -> float:
    return math.degrees(misorientation(crystal.real_space_angstrom, truth, rotations(cell, 1e-4)))


@dataclass
class Keeping:
    """A search that keeps the solutions that it hands on."""

    search_in: Any
    found: list[Solution]

    def search(self, q: np.ndarray, wavelength_angstrom: float, px_per_angstrom: float) -> Solution | None:
        solution = self.search_in.search(q, wavelength_angstrom, px_per_angstrom)
        self.found += [] if solution is None else [solution]
        return solution


Method = Callable[[PeakList, DetGeom, Crystal], Crystals]


@pytest.fixture(scope="module")
def cell_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("shift")
    for name in NAMES:
        (folder / f"{name}.cell").write_text(cell_text(CELLS[name]))
    return {name: folder / f"{name}.cell" for name in NAMES}


@pytest.fixture(scope="module")
def methods(cell_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple]:
    """A function: method and name of the cell -> the method, and a list that its accepted solutions are added to."""
    made: dict[tuple[str, str], tuple[Method, list[Solution]]] = {}
    folder = tmp_path_factory.mktemp("solutions")

    def from_file(peaks: PeakList, geom: DetGeom, true: Crystal) -> Crystals:
        path = folder / "one.sol"
        in_file = (10 * true.reciprocal_per_angstrom, true.lattice, tuple(1e3 * x for x in true.det_shift_m))
        path.write_text("".join(f"{line}\n" for line in solution_lines("run", "run // 1", [in_file])))
        return FromFile(file=path).open(Context())(Hit(True, len(peaks)), Event("run // 1"), peaks, geom, None)[0]

    def of(method: str, name: str) -> tuple[Method, list[Solution]]:
        if method == "file":
            return from_file, []
        if (method, name) not in made:
            context = Context()
            if method == "pairs":
                running = searching = Pairs(cell=cell_files[name]).open(context)
            elif method == "lattice":
                running = searching = FreeLattice().open(context)
            else:
                running = Auto().open(context)
                searching = running._free
                if method == "auto with the cell":
                    agreed = AgreedCell(CELLS[name])
                    context.board.post(agreed)
                    running._agreed = agreed
                    running._turn_to(agreed.cell)
                    searching = running._known
            keeping = Keeping(searching._attempts.search, [])
            searching._attempts = replace(searching._attempts, search=keeping)
            made[method, name] = (lambda peaks, geom, _: running(Hit(True, len(peaks)), peaks, geom)), keeping.found
        return made[method, name]

    return of


@settings(max_examples=60, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    name=st.sampled_from(NAMES),
    offset=st.sampled_from(OFFSETS_PX),
    angle=st.floats(0, 2 * math.pi),
    seed=st.integers(0, 1000),
)
def test_what_comes_out_is_what_the_search_accepted(methods, method, name, offset, angle, seed):
    """After refinement a crystal explains as many spots as the search counted when it accepted it."""
    spots = simulate(CELLS[name], np.random.default_rng(seed), 50, 0.25, shift_px=0.0)
    dx, dy = offset * math.cos(angle), offset * math.sin(angle)
    peaks, geom = peaks_off_by(spots, dx, dy)
    true = Crystal(
        spots.real_space_angstrom, CELLS[name].lattice, det_shift_m=(-dx * XRAYS.pixel_m, -dy * XRAYS.pixel_m)
    )
    index, accepted = methods(method, name)
    accepted.clear()
    found = index(peaks, geom, true)
    counted = np.count_nonzero(is_explained(found.found[0], peaks, geom))
    if accepted:
        counted = max(counted, accepted[-1].explained)
    for refine_shift in (False, True):
        (refined,) = refinement(refine_shift)(found, peaks, geom)
        assert np.count_nonzero(is_explained(refined, peaks, geom)) >= counted - FEW_SPOTS
        assert off_px(refined, dx, dy) < 1.0 or not any(found.found[0].det_shift_m)


@pytest.mark.parametrize("method", METHODS)
def test_reflections_are_predicted_where_the_peaks_are_though_the_detector_is_off(methods, method):
    for seed, name in enumerate(NAMES):
        spots = simulate(CELLS[name], np.random.default_rng([seed, 5]), 50, 0.25, shift_px=0.0)
        peaks, geom = peaks_off_by(spots, -3.6, 4.8)
        true = Crystal(
            spots.real_space_angstrom,
            CELLS[name].lattice,
            det_shift_m=(3.6 * XRAYS.pixel_m, -4.8 * XRAYS.pixel_m),
        )
        index, _ = methods(method, name)
        (crystal,) = refinement()(index(peaks, geom, true), peaks, geom)
        predicted = predict(crystal, PanelFinder.of(geom), 0.0025)
        of_crystal = spots.belongs_to >= 0
        apart = np.hypot(
            predicted.fs[:, None] - peaks.fs[of_crystal], predicted.ss[:, None] - peaks.ss[of_crystal]
        ).min(axis=0)
        assert np.mean(apart < 2.0) > 0.95, name


def test_refining_the_shift_begins_at_the_one_that_was_found():
    """A shift of 12 pixels is too far for a refinement that begins at none."""
    name = "hexagonal"
    spots = simulate(CELLS[name], np.random.default_rng(3), 60, 0.2, shift_px=0.0, cell_error=0.0)
    peaks, geom = peaks_off_by(spots, 9.6, 7.2)
    near = (-9.0 * XRAYS.pixel_m, -7.0 * XRAYS.pixel_m)
    crystal = Crystal(spots.real_space_angstrom, CELLS[name].lattice, det_shift_m=near)
    (held,), (refined,) = (refinement(free)(Crystals((crystal,)), peaks, geom) for free in (False, True))
    assert held.det_shift_m == near
    assert off_px(refined, 9.6, 7.2) < 0.2
    without = refinement(True)(Crystals((replace(crystal, det_shift_m=NOT_SHIFTED),)), peaks, geom)
    assert all(off_px(other, 9.6, 7.2) > 2.0 for other in without)


def test_a_crystal_that_refinement_leaves_out_leaves_its_shift_behind():
    peaks, geom = XRAYS.peaks_of(noise(np.random.default_rng(4), 4))
    lost = Crystal(CELLS["small"].real_space_angstrom, CELLS["small"].lattice, det_shift_m=(1e-4, 2e-4))
    left = refinement()(Crystals((lost,)), peaks, geom)
    assert (left.found, left.unused_shift_m) == ((), (1e-4, 2e-4))


# --- hits that stay unexplained -------------------------------------------------------------------------------------


def test_hits_of_few_peaks_are_found_with_the_shift_that_others_have(cell_files):
    """18 peaks with the detector 6 px off: alone every seventh is missed, with the shift of the others hardly any."""
    name, alone, together, right = "lysozyme", 0, 0, 0
    learning, unlearned = (Pairs(cell=cell_files[name], verify=False).open(Context()) for _ in range(2))
    for seed in range(60):
        spots = simulate(CELLS[name], np.random.default_rng([seed, 8]), 18, 0.25, shift_px=0.0)
        peaks, geom = peaks_off_by(spots, 4.8, -3.6)
        hit = Hit(True, len(peaks))
        crystals = learning(hit, peaks, geom)
        together += len(crystals)
        right += sum(degrees_off(crystal, spots.real_space_angstrom, CELLS[name]) < 1.0 for crystal in crystals)
        unlearned._usual_shift = UsualShift()
        alone += len(unlearned(hit, peaks, geom))
    assert alone < 57
    assert together >= 58
    assert right >= together - 2


def test_random_peaks_are_not_indexed_with_the_shift_of_others(cell_files):
    running = Pairs(cell=cell_files["lysozyme"], verify=False).open(Context())
    running._usual_shift.learn(Crystals((Crystal(np.eye(3), det_shift_m=(4e-4, 2e-4)),) * 10))
    rng, num_found = np.random.default_rng(21), 0
    for n in (8, 12, 20, 40):
        for _ in range(30):
            peaks, geom = XRAYS.peaks_of(noise(rng, n))
            crystals = running(Hit(True, n), peaks, geom)
            num_found += len(crystals)
            assert crystals.found or crystals.num_tries >= 2, "searched as it is, and with the shift"
    assert num_found <= 1


def test_the_shift_with_which_the_search_without_a_cell_finds_the_given_cell_is_tried(cell_files):
    """The search with the cell is told to find nothing until the detector is put right."""
    name = "monoclinic"
    running = Pairs(cell=cell_files[name]).open(Context())
    inner, off = running._attempts, []

    def blind(hit, peaks, geom, earlier):
        off.append(geom.origin_m[0, :2] - start[0, :2])
        if not off[-1].any():
            return replace(earlier or Crystals(), num_tries=1)
        return inner(hit, peaks, geom, earlier)

    running._attempts = blind
    spots = simulate(CELLS[name], np.random.default_rng(6), 60, 0.25, shift_px=0.0)
    peaks, geom = peaks_off_by(spots, 5.0, 2.0)
    start = geom.origin_m
    (crystal,) = running(Hit(True, len(peaks)), peaks, geom)
    assert len(off) == 2
    assert off_px(crystal, 5.0, 2.0) < 0.3
    assert degrees_off(crystal, spots.real_space_angstrom, CELLS[name]) < 1.0


def test_the_usual_shift_is_the_median_of_enough_crystals():
    usual = UsualShift()
    assert usual() == NOT_SHIFTED
    for shift in ((1e-4, 0.0), (1.2e-4, 0.0), (9.0, 9.0), (1.1e-4, 1e-6)):
        usual.learn(Crystals((Crystal(np.eye(3), det_shift_m=shift),)))
    assert usual() == NOT_SHIFTED
    usual.learn(Crystals((Crystal(np.eye(3), det_shift_m=(1.3e-4, -1e-6)),)))
    assert usual() == (1.2e-4, 0.0)
    for _ in range(50):
        usual.learn(Crystals((Crystal(np.eye(3)),)))
    assert usual() == NOT_SHIFTED, "it follows the last ones"
    _, geom = XRAYS.peaks_of(np.zeros((1, 3)))
    assert is_shifted((0.8e-4, 0.0), geom)
    assert not is_shifted((0.0, 0.7e-4), geom)


# --- several lattices -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["pairs", "lattice"])
def test_several_lattices_on_a_shifted_detector_are_found_each_once(cell_files, method):
    name, num_right, num_found = "triclinic", 0, 0
    stage = FreeLattice(multi=True) if method == "lattice" else Pairs(cell=cell_files[name], multi=True)
    running = stage.open(Context())
    for seed in range(10):
        rng = np.random.default_rng([seed, 9])
        spots = overlap(*(simulate(CELLS[name], rng, 60, 0.2, shift_px=0.0) for _ in range(2)))
        peaks, geom = peaks_off_by(spots, -4.0, 3.0)
        crystals = refinement()(running(Hit(True, len(peaks)), peaks, geom), peaks, geom)
        num_found += len(crystals)
        explained = [is_explained(crystal, peaks, geom) for crystal in crystals]
        num_right += sum(any(mine[spots.belongs_to == which].mean() > 0.9 for mine in explained) for which in range(2))
    assert num_right >= 19
    assert num_found <= 20


# --- the parts ------------------------------------------------------------------------------------------------------


def test_metres_put_the_peaks_right_that_the_shift_in_q_has_put_wrong():
    spots = simulate(CELLS["lysozyme"], np.random.default_rng(1), 40, shift_px=0.0)
    peaks, geom = peaks_off_by(spots, 3.0, -2.0)
    back = in_metres((3.0 * XRAYS.px_per_angstrom, -2.0 * XRAYS.px_per_angstrom), geom)
    assert np.allclose(q_on_shifted(peaks, geom, back), spots.q, atol=1e-9)
    assert q_on_shifted(peaks, geom, NOT_SHIFTED).tolist() != spots.q.tolist()


def test_spots_are_moved_back_to_where_an_unshifted_detector_has_them():
    """To first order; at the edge, at 2 Angstrom, one vector for all would be wrong by a pixel and more."""
    spots = simulate(CELLS["lysozyme"], np.random.default_rng(2), 60, shift_px=0.0)
    peaks, geom = peaks_off_by(spots, 5.0, -3.0)
    off = geom.q_per_angstrom(peaks.panel, peaks.fs, peaks.ss)
    shift = np.array([5.0, -3.0]) * XRAYS.px_per_angstrom
    back = moved_back(np.ascontiguousarray(off.T), shift, 1 / XRAYS.wavelength_angstrom).T
    px = XRAYS.px_per_angstrom
    assert np.linalg.norm(back - spots.q, axis=1).max() < 0.1 * px
    assert np.linalg.norm(off - [*shift, 0.0] - spots.q, axis=1).max() > 1.0 * px


# --- real data ------------------------------------------------------------------------------------------------------


@pytest.mark.shared_data
@pytest.mark.parametrize("method", ["pairs", "lattice"])
def test_real_stills_are_indexed_though_the_centre_is_six_pixels_off(shared_data: Path, tmp_path: Path, method):
    path = tmp_path / "thermolysin.cell"
    path.write_text(cell_text(CELLS["hexagonal"]))
    stills = json.loads((shared_data / "spots" / "thermolysin_cspad_3_stills.json").read_text())["stills"]
    for still in stills:
        setup = replace(XRAYS, wavelength_angstrom=still["wavelength_A"], distance_m=0.14, pixel_m=110e-6)
        truth = np.array(still["real_space_vectors_A"])
        peaks, geom = setup.peaks_of(np.array(still["q_per_A"]))
        right = np.mean(is_explained(Crystal(truth, CELLS["hexagonal"].lattice), peaks, geom))
        for direction in np.arange(0.3, 2 * np.pi, np.pi / 2):
            dx, dy = 6 * np.cos(direction), 6 * np.sin(direction)
            moved = replace(peaks, fs=peaks.fs + dx, ss=peaks.ss + dy)
            stage = FreeLattice() if method == "lattice" else Pairs(cell=path)
            (crystal,) = refinement()(stage.open(Context())(Hit(True, len(moved)), moved, geom), moved, geom)
            assert np.hypot(*(np.array(crystal.det_shift_m) / setup.pixel_m + (dx, dy))) < 1.0
            assert np.mean(is_explained(crystal, moved, geom)) > right - 0.1


@pytest.mark.shared_data
def test_a_real_image_whose_beam_is_six_pixels_off_is_explained_after_refinement(mar_image: tuple[PeakList, DetGeom]):
    """A MAR345 image without a cell; carried through without its shift the lattice explained 23 % of the peaks."""
    peaks, geom = mar_image
    assert len(peaks) > 1500
    crystals = FreeLattice().open(Context())(Hit(True, len(peaks)), peaks, geom)
    for refine_shift in (False, True):
        (crystal,) = refinement(refine_shift)(crystals, peaks, geom)
        assert np.mean(is_explained(crystal, peaks, geom)) >= 0.7
        assert np.array(crystal.det_shift_m) * 6666.67 == pytest.approx([3.7, 5.1], abs=0.3)
