"""Where the detector is, from crystals: found to a fraction of a pixel, with honest errors, and not from few of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from stages.diagnosis.place.equations import displacement_of, vector_of
from stages.diagnosis.place.evidence import CrystalEvidence, evidence_of
from stages.diagnosis.place.fit import fit_place
from stages.diagnosis.place.place import Place, find_place
from stages.diagnosis.place.words import findings_of
from stages.diagnosis.steps import at_once
from stages.lattices.cell import UnitCell
from stages.records.crystal import Crystal
from stages.records.displacement import NOT_DISPLACED, Displacement
from stages.records.peaklist import PeakList
from stages.simulation.misplaced import file_geometry
from stages.simulation.spot_lists import CELLS, XRAYS, random_rotation, simulate

CELL = CELLS["lysozyme"]
PIXEL_M = XRAYS.pixel_m
NO_STRAIN = np.zeros((0, 3, 3))


@cache
def crystals(
    move: Displacement,
    num: int = 30,
    seed: int = 5,
    spurious: float = 0.1,
    scale: float = 1.0,
    name: str = "lysozyme",
    scatter: float = 0.001,
) -> tuple[CrystalEvidence, ...]:
    """What crystals say that were found with the right orientation, on a geometry file that is off by `move`."""
    rng = np.random.default_rng(seed)
    said = []
    for _ in range(num):
        spots = simulate(CELLS[name], rng, 60, spurious, shift_px=0.0, cell_error=scatter, profile_radius=5e-4)
        peaks, geom = XRAYS.peaks_of(spots.q, spots.intensity)
        file = file_geometry(geom, move)
        crystal = Crystal(spots.real_space_angstrom * scale, CELLS[name].lattice, det_shift_m=move.shift_m)
        one = evidence_of(crystal, peaks, replace(file, photon_energy_ev=file.photon_energy_ev / scale))
        if one is not None:
            said.append(one)
    return tuple(said)


def found_place(crystals: Sequence[CrystalEvidence], target: UnitCell | None) -> Any:
    """Where the detector is, found without a stop."""
    return at_once(find_place(crystals, target))


def off(place: Place, move: Displacement) -> tuple[float, float, float]:
    """By how much a place is off: pixels, per cent of the distance, mrad."""
    wrong = place.best.values - vector_of(move)
    return (
        float(np.hypot(*wrong[:2])) / PIXEL_M,
        100 * abs(float(wrong[2])) / place.fit.clen_m,
        1e3 * float(np.abs(wrong[3:]).max()),
    )


MOVES = {
    "nothing": NOT_DISPLACED,
    "shift": Displacement((4 * PIXEL_M, -3 * PIXEL_M)),
    "distance": Displacement(along_m=0.02 * XRAYS.distance_m),
    "tilt": Displacement(tilt_rad=(4e-3, -6e-3)),
    "all": Displacement((-5 * PIXEL_M, 2 * PIXEL_M), -0.03 * XRAYS.distance_m, (5e-3, 3e-3)),
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("target", [CELL, None], ids=["with the cell", "without a cell"])
def test_the_place_is_found_with_and_without_a_cell(name: str, target: UnitCell | None) -> None:
    place = found_place(crystals(MOVES[name]), target)
    assert place is not None
    shift_px, percent, mrad = off(place, MOVES[name])
    assert shift_px < 0.3
    assert percent < (0.1 if target is not None else 0.3)
    assert mrad < 0.7
    wrong = place.best.values - vector_of(MOVES[name])
    assert (np.abs(wrong) < 5 * place.best.errors + 1e-6).all()


def test_errors_are_as_large_as_what_they_are_of() -> None:
    pulls = []
    for seed in range(8):
        place = found_place(crystals(MOVES["shift"], 15, seed=100 + seed), CELL)
        assert place is not None
        pulls.append((place.fit.values - vector_of(MOVES["shift"])) / place.fit.errors)
    spread = float(np.sqrt(np.mean(np.square(pulls))))
    assert 0.5 < spread < 2.5


def test_cells_that_scatter_do_not_blur_a_tilt() -> None:
    """Cells that differ by up to 0.4 % move peaks at 2 Angstrom by as much as 5 mrad of tilt do."""
    place = found_place(crystals(MOVES["tilt"], 40, seed=61, scatter=0.004), CELL)
    assert place is not None
    assert place.fit.scatter == pytest.approx(0.004 / np.sqrt(3), rel=0.4)
    assert place.fit.errors[3:].max() < 0.1e-3
    assert off(place, MOVES["tilt"])[2] < 0.3


def test_crystals_in_a_wrong_orientation_are_left_out_though_peaks_pair_with_them_by_chance() -> None:
    right = crystals(MOVES["shift"], 24, seed=62, name="hexagonal")
    turned = [one.real_space_angstrom @ random_rotation(np.random.default_rng(n)).T for n, one in enumerate(right[:8])]
    wrong = [replace(one, real_space_angstrom=basis) for one, basis in zip(right[:8], turned, strict=True)]
    place = found_place([*wrong, *right], CELLS["hexagonal"])
    assert place is not None
    assert place.fit.num_crystals <= len(right)
    assert place.fit.share_explained > 0.85
    assert off(place, MOVES["shift"])[0] < 0.05


def test_the_distance_is_less_certain_where_only_some_hits_index() -> None:
    place = found_place(crystals(MOVES["distance"], 40), CELL)
    assert place is not None
    assert place.along_error_m == place.fit.errors[2]
    errors = [replace(place, share_indexed=share).along_error_m for share in (0.9, 0.5, 0.3)]
    assert place.along_error_m < errors[0] < errors[1] < errors[2] < place.fit.scatter * place.fit.clen_m


def test_spurious_peaks_do_not_turn_the_detector() -> None:
    place = found_place(crystals(NOT_DISPLACED, 30, spurious=0.7), CELL)
    assert place is not None
    assert place.correction.is_none


def test_an_energy_that_is_off_is_told_from_a_distance_that_is_off() -> None:
    of_energy = found_place(crystals(NOT_DISPLACED, 40, scale=1.03), CELL)
    assert of_energy is not None
    assert of_energy.is_energy
    assert of_energy.factor == pytest.approx(1.03, abs=0.003)
    (finding,) = findings_of(of_energy, CELL, float("nan"))
    assert finding.key == "energy"
    assert f"all axes are {100 * (of_energy.factor - 1):.2f} +- " in finding.text
    of_distance = found_place(crystals(MOVES["distance"], 40), CELL)
    assert of_distance is not None
    assert not of_distance.is_energy
    (finding,) = findings_of(of_distance, CELL, float("nan"))
    assert finding.key == "detector"
    assert "further away than the geometry has it" in finding.text
    assert finding.displacement is not None
    assert finding.displacement.shift_m == (0.0, 0.0)


def test_the_sentence_says_what_how_much_how_sure_and_what_to_do() -> None:
    place = found_place(crystals(MOVES["all"]), CELL)
    assert place is not None
    (finding,) = findings_of(place, CELL, 0.12)
    assert finding.text.startswith("THE DETECTOR IS OFF: it is 5.")
    assert "pixels off the beam (move it by x -" in finding.text
    assert "% nearer than the geometry has it" in finding.text
    assert "turned by +" in finding.text
    assert " crystals agree; only 12 % of the hits were indexed for it" in finding.text
    assert "--follow-detector" in finding.text
    assert finding.brief.startswith("DETECTOR OFF 5.")
    assert {"shift_x_m", "shift_x_error_m", "along_m", "tilt_y_error_rad"} <= set(finding.figures)


def test_without_a_cell_the_one_within_the_errors_is_named() -> None:
    place = found_place(crystals(MOVES["all"], 40), None)
    assert place is not None
    detector, cell = findings_of(place, None, float("nan"))
    assert detector.key == "detector"
    assert not cell.is_wrong
    assert cell.text.startswith(
        "with the detector there the cell is tetragonal P within the errors of the geometry: 79."
    )


def test_one_crystal_says_nothing_and_four_say_a_shift_and_no_more() -> None:
    assert found_place(crystals(MOVES["all"])[:1], CELL) is None
    place = found_place(crystals(MOVES["all"])[:4], CELL)
    assert place is not None
    assert place.is_of_few
    assert place.correction.along_m == 0.0
    assert place.correction.tilt_rad == (0.0, 0.0)
    (finding,) = findings_of(place, CELL, float("nan"))
    assert "peaks of 4 crystals tell, too few for distance and tilt" in finding.text
    assert found_place(crystals(NOT_DISPLACED)[:4], CELL).correction.is_none


def test_crystals_of_another_lattice_do_not_count() -> None:
    mixed: Sequence[CrystalEvidence] = [*crystals(MOVES["shift"], 20), *crystals(NOT_DISPLACED, 8, name="monoclinic")]
    place = found_place(mixed, CELL)
    assert place is not None
    assert place.fit.num_crystals <= 20
    assert off(place, MOVES["shift"])[0] < 0.3


def test_nothing_is_fitted_to_noise() -> None:
    rng = np.random.default_rng(9)
    noise = []
    for one in crystals(NOT_DISPLACED, 12):
        lab = one.lab_m.copy()
        lab[:, :2] = rng.uniform(-0.08, 0.08, lab[:, :2].shape)
        noise.append(replace(one, lab_m=lab))
    bases = [one.real_space_angstrom for one in noise]
    fit = at_once(fit_place(noise, bases, np.array(CELL.real_space_angstrom), NO_STRAIN, NOT_DISPLACED))
    assert found_place(noise, CELL) is None or fit is None or fit.share_explained < 0.5


def test_numbers_and_displacements_are_the_same_thing() -> None:
    assert displacement_of(vector_of(MOVES["all"])) == MOVES["all"]


def test_evidence_takes_no_notice_of_an_empty_frame() -> None:
    crystal = Crystal(np.array(CELL.real_space_angstrom), CELL.lattice)
    _, geom = XRAYS.peaks_of(np.zeros((1, 3)))
    assert evidence_of(crystal, PeakList.make([], [], [], []), geom) is None
