"""Indexing without a cell: right on simulated and real stills, silent on noise and on degenerate input."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.stage import Context, contract_of
from stages.crystal import Crystal, Crystals
from stages.geometry import DetGeom
from stages.index import _kernel_lattice as kernel
from stages.index._attempts import primitive_basis
from stages.index._free import FreeSearch
from stages.index.lattice import FreeLattice
from stages.lattice import UnitCell, primitive, reduce_basis
from stages.peaklist import Hit, PeakList
from stages.simulation.spot_lists import CELLS, SUITABLE, XRAYS, Setup, cell, noise, overlap, simulate

SEARCH = FreeSearch()


def search(q, setup: Setup = XRAYS):
    return SEARCH(np.ascontiguousarray(q, np.float64), setup.wavelength_angstrom, setup.px_per_angstrom)


def is_lattice_of(basis, truth, within=0.12) -> bool:
    """Whether a primitive basis spans the same lattice as another: the change of basis is unimodular."""
    change = basis @ np.linalg.inv(truth)
    whole = np.rint(change)
    return bool(np.abs(change - whole).max() < within and round(abs(np.linalg.det(whole))) == 1)


def primitive_truth(unit_cell: UnitCell, real) -> np.ndarray:
    return np.linalg.solve(primitive(unit_cell).to_conventional.astype(float), real)


def run(q, setup: Setup = XRAYS, earlier: Crystals | None = None, intensity=None, **parameters) -> Crystals:
    peaks, geom = setup.peaks_of(np.asarray(q, np.float64), intensity)
    return FreeLattice(**parameters).open(Context())(Hit(True, len(peaks)), peaks, geom, earlier)


@pytest.mark.parametrize("name", [name for name in CELLS if name != "large"])
def test_every_kind_of_lattice_is_found_among_a_quarter_of_spurious_spots(name):
    rng = np.random.default_rng(31)
    right = wrong = 0
    for _ in range(12):
        spots = simulate(CELLS[name], rng, 60, 0.25, **SUITABLE.get(name, {}))
        found = search(spots.q)
        if found is not None:
            good = is_lattice_of(found.basis, primitive_truth(CELLS[name], spots.real_space_angstrom))
            right, wrong = right + good, wrong + (not good)
    assert right >= 11
    assert wrong == 0


@pytest.mark.parametrize("name", ["lysozyme", "cubic_f", "hexagonal", "long"])
def test_thirty_spots_are_enough_and_sixty_for_an_axis_of_198_angstrom(name):
    unit_cell = CELLS.get(name) or cell(62, 110, 198, 90, 90, 90, "orthorhombic")
    rng = np.random.default_rng(43)
    right = wrong = 0
    for _ in range(12):
        spots = simulate(unit_cell, rng, 60 if name == "long" else 30, 0.25)
        found = search(spots.q)
        if found is not None:
            good = is_lattice_of(found.basis, primitive_truth(unit_cell, spots.real_space_angstrom))
            right, wrong = right + good, wrong + (not good)
    assert right >= 11
    assert wrong == 0


@pytest.mark.parametrize("n_spots", [8, 15, 30, 60, 120, 250])
def test_noise_is_not_indexed(n_spots):
    rng = np.random.default_rng(32)
    assert all(search(noise(rng, n_spots)) is None for _ in range(12))


@pytest.mark.parametrize("name", ["lysozyme", "monoclinic", "triclinic", "cubic_i", "rhombohedral_h", "hexagonal"])
def test_the_crystal_has_its_conventional_cell_and_bravais_type(name):
    spots = simulate(CELLS[name], np.random.default_rng(33), 60, 0.25)
    (crystal,) = run(spots.q)
    assert crystal.lattice == CELLS[name].lattice
    assert crystal.indexed_by == "lattice"
    found = UnitCell.from_vectors(crystal.real_space_angstrom)
    if name != "triclinic":  # its conventional cell is the reduced one
        assert found.parameters == pytest.approx(CELLS[name].parameters, rel=0.02)
    assert is_lattice_of(primitive_basis(crystal), primitive_truth(CELLS[name], spots.real_space_angstrom))


def test_a_detector_that_is_4_px_off_does_not_matter():
    rng = np.random.default_rng(34)
    right = 0
    for _ in range(10):
        spots = simulate(CELLS["lysozyme"], rng, 60, 0.25, shift_px=4.0, distance_error=0.01)
        found = search(spots.q)
        right += found is not None and is_lattice_of(
            found.basis, primitive_truth(CELLS["lysozyme"], spots.real_space_angstrom)
        )
    assert right >= 9


def test_two_overlapping_lattices_are_both_found_with_multi():
    rng = np.random.default_rng(35)
    one, two = (simulate(CELLS["lysozyme"], rng, 70, 0.0) for _ in range(2))
    both = overlap(one, two)
    crystals = run(both.q, multi=True)
    truths = [primitive_truth(CELLS["lysozyme"], real) for real in both.crystals]
    assert len(crystals) == 2
    assert sorted(
        k for c in crystals for k, truth in enumerate(truths) if is_lattice_of(primitive_basis(c), truth)
    ) == [0, 1]


def test_crystals_from_upstream_stay_and_are_all_there_is_without_multi():
    spots = simulate(CELLS["triclinic"], np.random.default_rng(36), 60)
    earlier = Crystals((Crystal(np.diag([40.0, 50.0, 60.0]), indexed_by="pairs"),), 1)
    assert run(spots.q, earlier=earlier) is earlier
    both = run(spots.q, earlier=earlier, multi=True)
    assert [c.indexed_by for c in both] == ["pairs", "lattice"]


def test_the_same_frame_gives_the_same_crystal_to_the_last_bit():
    spots = simulate(CELLS["cubic_i"], np.random.default_rng(37), 40, 0.25)
    first, second = run(spots.q), run(spots.q)
    assert np.array_equal(first.found[0].real_space_angstrom, second.found[0].real_space_angstrom)


@given(
    q=st.lists(
        st.tuples(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4)).map(lambda xy: (*xy, -0.6 * (xy[0] ** 2 + xy[1] ** 2))),
        max_size=40,
    )
)
@settings(max_examples=30, deadline=None)
def test_any_peak_list_gives_a_finite_lattice_or_none(q):
    found = SEARCH.search(np.array(q, np.float64).reshape(-1, 3), 1.24, 5e-4)
    assert found is None or (np.isfinite(found.basis).all() and np.linalg.det(found.basis) > 0)


@pytest.mark.parametrize(
    "q",
    [
        np.zeros((0, 3)),
        np.zeros((50, 3)),
        np.full((40, 3), np.nan),
        np.column_stack([np.linspace(0.01, 0.3, 30), np.zeros(30), np.zeros(30)]),
        np.column_stack([np.linspace(0.02, 0.3, 60), np.linspace(0.02, 0.3, 60), np.zeros(60)]),
        np.repeat(np.array([[0.1, 0.1, -0.01], [0.2, -0.1, -0.03]]), 20, axis=0),
        np.column_stack([*(np.arange(36) // 6 * 0.02 + 0.02, np.arange(36) % 6 * 0.02), np.zeros(36)]),
    ],
    ids=["none", "all in the beam", "not numbers", "one row", "a line", "two spots", "a flat net"],
)
def test_degenerate_spot_lists_are_not_indexed(q):
    assert search(q) is None


def test_a_frame_that_is_no_hit_passes_by():
    peaks, geom = XRAYS.peaks_of(simulate(CELLS["lysozyme"], np.random.default_rng(38), 60).q)
    running = FreeLattice().open(Context())
    assert len(running(Hit(False, 60), peaks, geom, None)) == 0
    assert len(running(Hit(True, 60), peaks, geom, None)) == 1


def test_the_stage_is_a_value_with_the_contract_of_the_pipeline():
    assert contract_of(FreeLattice).reads == (Hit, PeakList, DetGeom, Crystals)
    assert contract_of(FreeLattice).writes == (Crystals,)
    assert pickle.loads(pickle.dumps(FreeLattice())) == FreeLattice()
    context = Context()
    FreeLattice().open(context)
    assert context.published == {"indexing": "lattice"}
    with pytest.raises(pydantic.ValidationError):
        FreeLattice(max_axis=0)


# --- kernels against slow numpy -------------------------------------------------------------------------------------


def test_the_transform_is_that_of_numpy():
    q = simulate(CELLS["lysozyme"], np.random.default_rng(39), 30).q
    steps, ends = np.array([1.0, 1.0, 5.0]), np.array([20.0, 15.0, 40.0])
    found = np.empty((4096, 5))
    n = kernel.transform(np.ascontiguousarray(q), 30, steps, ends, 0.0, 1e9, 5.0, 0.0, found)
    assert n > 10
    for value, *t, phase in found[:n]:
        truth = np.exp(2j * np.pi * q @ np.array(t)).sum()
        assert abs(truth) >= value - 1e-3
        assert np.angle(np.exp(1j * phase) / truth) == pytest.approx(0.0, abs=1e-3)
        assert value == pytest.approx(abs(truth) * np.cos(min(np.pi / 2, abs(phase))), abs=1e-3)


def test_reduction_is_that_of_the_lattice_module():
    rng = np.random.default_rng(40)
    for _ in range(50):
        basis = rng.normal(size=(3, 3)) * 50
        mine = basis.copy()
        kernel.reduce_basis(mine)
        theirs, _ = reduce_basis(basis)
        assert np.sort(np.linalg.norm(mine, axis=1)) == pytest.approx(np.linalg.norm(theirs, axis=1))
        assert kernel.same_lattice(mine, theirs, 0.01)


def test_cholesky_solves_as_numpy_does():
    rng = np.random.default_rng(41)
    half = rng.normal(size=(12, 12))
    matrix, right = half @ half.T + np.eye(12), rng.normal(size=12)
    expected = np.linalg.solve(matrix, right)
    assert kernel.solve(matrix, right)
    assert right == pytest.approx(expected)
    assert not kernel.solve(-np.eye(3), np.ones(3))


def test_the_score_is_the_likelihood_ratio():
    spots = simulate(CELLS["orthorhombic"], np.random.default_rng(42), 50, 0.25)
    q, basis = np.ascontiguousarray(spots.q), primitive_truth(CELLS["orthorhombic"], spots.real_space_angstrom)
    rays = q + np.array([0, 0, 1 / 1.24])
    rays /= np.linalg.norm(rays, axis=1)[:, None]
    room = kernel.Room(np.empty((12, 12)), np.empty(12), np.empty((3, 3)), np.empty((50, 2)))
    model, result = np.array([5e-4, 1e-3, 0.7]), np.zeros(3)
    kernel.score(basis, np.zeros(2), q, rays, 50, XRAYS.px_per_angstrom, 0.25, model, room, result)
    h = np.rint(q @ basis.T)
    residual = q - h @ np.linalg.inv(basis).T
    along = (residual * rays).sum(axis=1)
    across2 = (residual**2).sum(axis=1) - along**2
    across, sigma, fraction = model
    density = np.exp(-across2 / 2 / across**2 - along**2 / 2 / sigma**2) / ((2 * np.pi) ** 1.5 * across**2 * sigma)
    ratio = 1 - fraction + fraction * density * h.any(axis=1) / abs(np.linalg.det(basis))
    assert result[0] == pytest.approx(np.log(ratio).sum(), rel=1e-6)


# --- real spots -----------------------------------------------------------------------------------------------------


@pytest.mark.shared_data
def test_real_stills_have_the_lattice_of_the_reference(shared_data: Path):
    stills = json.loads((shared_data / "spots" / "thermolysin_cspad_3_stills.json").read_text())["stills"]
    for still in stills:
        found = SEARCH(np.array(still["q_per_A"]), still["wavelength_A"], 5e-4)
        truth, _ = reduce_basis(np.array(still["real_space_vectors_A"]))
        assert found is not None
        assert is_lattice_of(found.basis, truth)


@pytest.mark.shared_data
def test_thirty_real_lists_of_one_crystal_are_indexed_alike(shared_data: Path):
    truth = None
    for file in sorted((shared_data / "spots" / "ffbidx_simple").glob("image*.txt")):
        q = np.loadtxt(file, skiprows=1)
        on_sphere = np.median(-2 * q[:, 2] / (q**2).sum(axis=1))
        found = SEARCH(q, float(round(on_sphere, 4)), 5e-4)
        assert found is not None
        assert np.linalg.norm(found.basis, axis=1) == pytest.approx([36.9, 78.95, 78.95], rel=0.015)
        truth = found.basis if truth is None else truth
        assert is_lattice_of(found.basis, truth)


def test_without_check_peaks_a_lattice_of_few_of_the_spots_is_accepted_and_noise_is_not():
    for seed in range(4):
        rng = np.random.default_rng(seed)
        spots = simulate(CELLS["lysozyme"], rng, 160, 0.75)
        assert run(spots.q, retry=False).found == ()
        (found,) = run(spots.q, retry=False, check_peaks=False)
        truth = primitive_truth(CELLS["lysozyme"], spots.real_space_angstrom)
        assert is_lattice_of(primitive_basis(found), truth)
        assert run(noise(rng, 40), check_peaks=False).found == ()
