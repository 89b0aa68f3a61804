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

from pipeline.contract import contract_of
from pipeline.stage import Context
from stages.index._free import FreeSearch
from stages.index._kernels.unknown import bases, fit, likelihood, neighbours, nets, transform, vectors
from stages.index._kernels.unknown.tuples import SCORE, Candidate, Limits, PlaneFit, SpotSet, workspace
from stages.index.lattice import FreeLattice
from stages.lattices.cell import UnitCell, primitive, reduce_basis
from stages.records.crystal import Crystal, Crystals
from stages.records.geometry import DetGeom
from stages.records.peaklist import Hit, PeakList
from stages.records.told import IndexingMethods, IndexingStages
from stages.simulation.spot_lists import CELLS, SUITABLE, XRAYS, Setup, cell, noise, overlap, simulate

SEARCH = FreeSearch()


def search(q, setup: Setup = XRAYS, with_: FreeSearch = SEARCH):
    return with_(np.ascontiguousarray(q, np.float64), setup.wavelength_angstrom, setup.px_per_angstrom)


def is_lattice_of(basis, truth, within=0.12) -> bool:
    """Whether a primitive basis spans the same lattice as another: the change of basis is unimodular."""
    change = basis @ np.linalg.inv(truth)
    whole = np.rint(change)
    return bool(np.abs(change - whole).max() < within and round(abs(np.linalg.det(whole))) == 1)


def primitive_truth(unit_cell: UnitCell, real) -> np.ndarray:
    return np.linalg.solve(primitive(unit_cell).to_conventional.astype(float), real)


def basis_of(crystal: Crystal) -> np.ndarray:
    """The primitive basis of a crystal that was found."""
    real = crystal.real_space_angstrom
    return primitive_truth(UnitCell.from_vectors(real, crystal.lattice), real)


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


def of_long_axis(longest, rng):
    """120 spots of an orthorhombic cell, a quarter of them spurious, and its primitive basis."""
    unit_cell = cell(60, 70, longest, 90, 90, 90, "orthorhombic")
    spots = simulate(unit_cell, rng, 120, 0.25, profile_radius=0.0008)
    return spots.q, primitive_truth(unit_cell, spots.real_space_angstrom)


def test_an_axis_of_300_angstrom_is_found_by_the_two_others():
    rng = np.random.default_rng(44)
    found = [(search(q), truth) for q, truth in (of_long_axis(300, rng) for _ in range(10))]
    assert sum(f is not None and is_lattice_of(f.basis, truth) for f, truth in found) >= 9
    assert all(f is None or is_lattice_of(f.basis, truth) for f, truth in found)


@pytest.mark.parametrize(("longest", "max_axis"), [(300, 200.0), (600, 400.0)])
def test_an_axis_that_is_too_long_makes_no_wrong_lattice(longest, max_axis):
    rng = np.random.default_rng(45)
    short = FreeSearch(max_axis=max_axis)
    assert all(search(of_long_axis(longest, rng)[0], with_=short) is None for _ in range(8))


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
    assert is_lattice_of(basis_of(crystal), primitive_truth(CELLS[name], spots.real_space_angstrom))


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
    assert sorted(k for c in crystals for k, truth in enumerate(truths) if is_lattice_of(basis_of(c), truth)) == [0, 1]


def test_three_large_lattices_are_found_of_which_each_explains_but_a_quarter_of_the_spots():
    rng = np.random.default_rng(46)
    found = false = 0
    for _ in range(3):
        spots = overlap(*(simulate(CELLS["hexagonal"], rng, 100, 0.2) for _ in range(3)))
        truths = [primitive_truth(CELLS["hexagonal"], real) for real in spots.crystals]
        bases = [basis_of(crystal) for crystal in run(spots.q, multi=True)]
        found += sum(any(is_lattice_of(basis, truth) for basis in bases) for truth in truths)
        false += sum(not any(is_lattice_of(basis, truth) for truth in truths) for basis in bases)
    assert found >= 8
    assert false == 0


def test_without_the_check_of_peaks_a_quarter_of_the_spots_is_enough():
    rng = np.random.default_rng(47)
    spots = overlap(*(simulate(CELLS["lysozyme"], rng, 60, 0.2) for _ in range(4)))
    found = SEARCH.search(spots.q, XRAYS.wavelength_angstrom, XRAYS.px_per_angstrom)
    assert found is not None
    assert found.explained < 0.28 * found.num_spots
    assert not found.accepted
    truths = [primitive_truth(CELLS["lysozyme"], real) for real in spots.crystals]
    unchecked = search(spots.q, with_=FreeSearch(check_peaks=False))
    assert unchecked is not None
    assert any(is_lattice_of(unchecked.basis, truth) for truth in truths)


def test_noise_is_not_indexed_without_the_check_of_peaks_either():
    rng = np.random.default_rng(48)
    unchecked = FreeSearch(check_peaks=False)
    assert all(search(noise(rng, n), with_=unchecked) is None for n in (8, 15, 30, 60, 120) for _ in range(4))


def test_the_shift_of_the_detector_is_found_with_the_lattice():
    px = XRAYS.px_per_angstrom
    spots = simulate(CELLS["lysozyme"], np.random.default_rng(49), 80, 0.1, shift_px=0.0, jitter_px=0.1)
    found = search(spots.q + np.array([3 * px, -2 * px, 0.0]))
    assert found is not None
    assert np.array(found.shift) / px == pytest.approx([3.0, -2.0], abs=0.3)


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
    told = IndexingStages((FreeLattice(),))
    assert context.published == {IndexingMethods: IndexingMethods(("lattice",)), IndexingStages: told}
    with pytest.raises(pydantic.ValidationError):
        FreeLattice(max_axis=0)


# --- kernels against slow numpy -------------------------------------------------------------------------------------


def test_the_transform_is_that_of_numpy():
    q = simulate(CELLS["lysozyme"], np.random.default_rng(39), 30).q
    steps, ends = np.array([1.0, 1.0, 5.0]), np.array([20.0, 15.0, 40.0])
    found = np.empty((4096, 5))
    n = transform.transform(np.ascontiguousarray(q.T), 30, steps, ends, 0.0, 1e9, 5.0, 0.0, found)
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
        bases.reduce_basis(mine)
        theirs, _ = reduce_basis(basis)
        assert np.sort(np.linalg.norm(mine, axis=1)) == pytest.approx(np.linalg.norm(theirs, axis=1))
        assert bases.same_basis(mine, theirs, 0.01)


def spot_set_of(q: np.ndarray) -> SpotSet:
    """Spots with their rays, as the kernels take them."""
    rays = q + np.array([0, 0, 1 / XRAYS.wavelength_angstrom])
    rays /= np.linalg.norm(rays, axis=1)[:, None]
    return SpotSet(np.ascontiguousarray(q.T), np.ascontiguousarray(rays.T), XRAYS.px_per_angstrom, 0.25)


def test_the_score_is_the_likelihood_ratio():
    spots = simulate(CELLS["orthorhombic"], np.random.default_rng(42), 50, 0.25)
    q, basis = np.ascontiguousarray(spots.q), primitive_truth(CELLS["orthorhombic"], spots.real_space_angstrom)
    model = np.array([5e-4, 1e-3, 0.7])
    lattice, spot_set = Candidate(basis, np.zeros(2), model, np.zeros(3)), spot_set_of(q)
    likelihood.score(lattice, spot_set, workspace(50))
    rays, result = spot_set.rays.T, lattice.result
    h = np.rint(q @ basis.T)
    residual = q - h @ np.linalg.inv(basis).T
    along = (residual * rays).sum(axis=1)
    across2 = (residual**2).sum(axis=1) - along**2
    across, sigma, fraction = model
    density = np.exp(-across2 / 2 / across**2 - along**2 / 2 / sigma**2) / ((2 * np.pi) ** 1.5 * across**2 * sigma)
    ratio = 1 - fraction + fraction * density * h.any(axis=1) / abs(np.linalg.det(basis))
    assert result[SCORE] == pytest.approx(np.log(ratio).sum(), rel=1e-6)


@pytest.fixture
def lattice_spots():
    """Spots of the orthorhombic cell without errors of the cell, the true basis, and room."""
    spots = simulate(CELLS["orthorhombic"], np.random.default_rng(50), 60, 0.2, cell_error=0.0, shift_px=0.0)
    q = np.ascontiguousarray(spots.q[np.argsort(np.linalg.norm(spots.q, axis=1))])
    return spot_set_of(q), primitive_truth(CELLS["orthorhombic"], spots.real_space_angstrom), workspace(len(q))


def test_the_score_of_a_net_is_the_likelihood_ratio_across_its_rows(lattice_spots):
    spots, basis, room = lattice_spots
    q, rays, q_rms, model = spots.q.T, spots.rays.T, spots.q_rms, np.array([5e-4, 1e-3, 0.7])
    value = nets.score_net(basis, np.zeros(2), spots, model, room.residuals)
    across, along, fraction = model  # those of the last cycle
    net = basis[:2]
    h = q @ net.T
    _, _, plane = np.linalg.svd(net, full_matrices=False)  # rows of `plane`: an orthonormal basis of the net's plane
    dual = np.linalg.pinv(net).T
    log_ratio = 0.0
    for k in range(len(q)):
        r = plane @ ((h[k] - np.rint(h[k])) @ dual)
        p = plane @ rays[k]
        covariance = across**2 * np.eye(2) + (along**2 - across**2) * np.outer(p, p)
        density = np.exp(-r @ np.linalg.solve(covariance, r) / 2) / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))
        area = np.linalg.norm(np.cross(*net))
        log_ratio += np.log(1 - fraction + fraction * density / area)
    total = fraction * len(q)
    trials = 2 * np.log((q_rms * np.sqrt(total)) ** 3 / (across**2 * along))
    assert value == pytest.approx(log_ratio - trials, abs=0.3)


def test_the_third_axis_explains_more_than_chance_if_it_is_right_and_less_if_it_is_wrong(lattice_spots):
    spots, basis, room = lattice_spots
    lead = {}
    for name, height in (("right", 1.0), ("wrong", 1.37)):
        trial = Candidate(basis * np.array([[1.0], [1.0], [height]]), np.zeros(2), np.empty(3), np.empty(3))
        fit.refine_outwards(trial, spots, spots.q.shape[1], room)
        lead[name], _ = nets.net_lead(trial, spots, room)
    assert lead["right"] > 20
    assert lead["wrong"] < -20


def test_a_step_of_fitting_planes_is_weighted_least_squares(lattice_spots):
    spots, basis, _ = lattice_spots
    q = spots.q.T
    v, model = np.array([*(basis[2] * 1.003), 0.02]), np.array([0.08, 0.7])
    sigma, fraction = model
    design = np.column_stack([q, -np.ones(len(q))])
    error = design @ v - np.rint(design @ v)
    density = fraction * np.exp(-(error**2) / 2 / sigma**2) / np.sqrt(2 * np.pi) / sigma
    w = density / (1 - fraction + density)
    shift = 0.001
    prior = sigma**2 / np.array([*[0.0025 * v[:3] @ v[:3]] * 3, (v[0] ** 2 + v[1] ** 2) * shift**2])
    step = np.linalg.solve((design.T * w) @ design + np.diag(prior), -(design.T * w) @ error - prior * [0, 0, 0, v[3]])
    expected = v + step
    value = vectors.fit_planes(v, spots.q, len(q), shift, PlaneFit(model, np.empty((4, 4)), np.empty(4)))
    assert value == pytest.approx(np.log(1 - fraction + density).sum())
    assert v == pytest.approx(expected, rel=1e-6)
    assert model[1] == pytest.approx(w.sum() / len(q))


@pytest.mark.parametrize("times", [2, 3, 5, 7])
@pytest.mark.parametrize("shifted", [False, True])
def test_a_multiple_of_the_cell_settles_to_the_cell_even_if_the_shift_hides_it(lattice_spots, times, shifted):
    spots, truth, room = lattice_spots
    multiple = truth * np.array([[1.0], [1.0], [float(times)]])
    shift = np.linalg.inv(multiple).T[2, :2].copy() * shifted  # which makes all indices 1 less, modulo `times`
    lattice = Candidate(multiple, shift, np.array([5e-4, 1e-3, 0.7]), np.empty(3))
    likelihood.score(lattice, spots, room)
    neighbours.to_best_neighbour(lattice, spots, Limits(8.0, 400.0, 15e6), room)
    assert is_lattice_of(multiple, truth)
    assert np.abs(shift).max() < spots.px


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
        assert is_lattice_of(basis_of(found), truth)
        assert run(noise(rng, 40), check_peaks=False).found == ()
