"""Refinement finds its way back from a perturbed orientation, cell and detector position, and never makes things worse."""

from __future__ import annotations

import itertools
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import Context, RejectFrame
from pipeline.counts import report_line
from stages.compute.metrics import impose
from stages.lattices.cell import Lattice, UnitCell, agree, impose_bravais, lattice_rotations, misorientation
from stages.prediction.pairing import pair_peaks
from stages.prediction.panel_finder import PanelFinder
from stages.prediction.predict import predict
from stages.records.crystal import Crystal, Crystals
from stages.records.geometry import DetGeom, Panel
from stages.records.limits import CellLimits
from stages.records.peaklist import PeakList
from stages.refine._kernels import cycle
from stages.refine._kernels import fit as kernel
from stages.refine._kernels.deviations import deviations, gradients, strain_of
from stages.refine._kernels.pairs import Observed
from stages.refine.prediction import Prediction, _symmetry

CELLS = {
    Lattice("triclinic", "P"): (45, 52, 61, 82, 97, 105),
    Lattice("monoclinic", "P", "b"): (63, 50, 66, 90, 106, 90),
    Lattice("monoclinic", "C", "c"): (63, 50, 66, 90, 90, 99),
    Lattice("orthorhombic", "I"): (46, 58, 71, 90, 90, 90),
    Lattice("tetragonal", "P", "c"): (79.1, 79.1, 37.9, 90, 90, 90),
    Lattice("tetragonal", "P", "a"): (37.9, 79.1, 79.1, 90, 90, 90),
    Lattice("rhombohedral", "R"): (60, 60, 60, 77, 77, 77),
    Lattice("hexagonal", "P", "c"): (70, 70, 55, 90, 90, 120),
    Lattice("hexagonal", "H", "c"): (70, 70, 95, 90, 90, 120),
    Lattice("cubic", "F"): (96, 96, 96, 90, 90, 90),
}
"""One cell of each kind: lengths in Angstrom, angles in degrees."""

LYSOZYME = Lattice("tetragonal", "P", "c")


def turned(rng):
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q *= np.sign(np.diag(r))
    return q * np.linalg.det(q)


def turn(rng, degrees):
    """A rotation by exactly so many degrees about a random axis."""
    x, y, z = (axis := rng.standard_normal(3)) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.radians(degrees)
    return np.eye(3) + math.sin(angle) * k + (1 - math.cos(angle)) * k @ k


def flat(shift_m=(0.0, 0.0)):
    """2 x 2 panels of 1000 x 1000 pixels, 100 mm from the specimen."""
    corners = [(x, y) for x, y in itertools.product((-0.1, 0.0004), repeat=2)]
    panels = tuple(
        Panel(f"p{n}", min_fs=(n // 2) * 1000, max_fs=999 + (n // 2) * 1000, min_ss=0, max_ss=999) for n in range(4)
    )
    return DetGeom(
        panels,
        np.array([(x + shift_m[0], y + shift_m[1], 0.1) for x, y in corners]),
        np.tile([1e-4, 0, 0], (4, 1)),
        np.tile([0, 1e-4, 0], (4, 1)),
        9500.0,
        np.full(4, 0.1),
        tuple(np.zeros((1000, 1000), np.uint8) for _ in panels),
    )


def still(rng, lattice=LYSOZYME, num_peaks=60, spurious=0.0, jitter=0.3, shift_m=(0.0, 0.0), sigma=2.5e-4):
    """A true crystal and the peaks of its still, of which a fraction is none."""
    a, b, c, *angles = CELLS[lattice]
    real = UnitCell(a, b, c, *np.radians(angles), lattice).real_space_angstrom @ turned(rng).T
    spots = predict(Crystal(real, lattice), PanelFinder.of(flat(shift_m)), 4 * sigma / 1.7)
    bright = rng.random(len(spots)) < np.exp(-0.5 * (spots.excitation_error_per_angstrom / sigma) ** 2)
    q = np.linalg.norm(spots.hkl @ np.linalg.inv(real).T, axis=1)
    chosen = np.flatnonzero(bright & (rng.random(len(spots)) < np.exp(-6 * q * q)))
    chosen = rng.permutation(chosen)[:num_peaks]
    num_wrong = round(len(chosen) * spurious / (1 - spurious))
    panel = np.concatenate([spots.panel[chosen], rng.integers(0, 4, num_wrong)])
    fs = np.concatenate([spots.fs[chosen] + jitter * rng.standard_normal(len(chosen)), rng.random(num_wrong) * 1000])
    ss = np.concatenate([spots.ss[chosen] + jitter * rng.standard_normal(len(chosen)), rng.random(num_wrong) * 1000])
    return real, PeakList.make(panel, fs, ss, np.ones(len(panel)))


def refine(found, peaks, geom=None, **options):
    return Prediction(**options).open(Context())(Crystals((found,)), peaks, geom or flat()).found


def position_error(found, true, geom, truth_geom=None):
    """Median distance in pixels between where reflections are predicted and where they are."""
    want = predict(Crystal(true, found.lattice), PanelFinder.of(truth_geom or geom), 3e-4, max_q=0.45)
    got = predict(found, PanelFinder.of(geom), 1e-3)
    places = {
        tuple(hkl): (p, fs, ss) for hkl, p, fs, ss in zip(got.hkl.tolist(), got.panel, got.fs, got.ss, strict=True)
    }
    apart = [
        math.hypot(fs - places[tuple(hkl)][1], ss - places[tuple(hkl)][2])
        for hkl, p, fs, ss in zip(want.hkl.tolist(), want.panel, want.fs, want.ss, strict=True)
        if tuple(hkl) in places and places[tuple(hkl)][0] == p
    ]
    assert len(apart) > 0.5 * len(want)
    return float(np.median(apart))


def obeys(real, lattice):
    """How far the metric is from what the lattice type asks, relative to its size."""
    metric = real @ real.T
    group = lattice_rotations(lattice)
    return np.abs(group @ metric @ group.transpose(0, 2, 1) - metric).max() / np.abs(metric).max()


@pytest.mark.parametrize("lattice", CELLS, ids=lambda lattice: f"{lattice.lattice_type}{lattice.centering}")
def test_a_perturbed_crystal_of_any_lattice_type_finds_its_way_back(lattice):
    rng = np.random.default_rng(list(CELLS).index(lattice))
    before, after, errors = [], [], []
    for _ in range(5):
        true, peaks = still(rng, lattice, 100)
        start = impose_bravais(true * (1 + 0.003 * rng.standard_normal((3, 1))), lattice) @ turn(rng, 0.2).T
        (found,) = refine(Crystal(start, lattice), peaks)
        before.append(misorientation(start, true, lattice_rotations(lattice)))
        after.append(misorientation(found.real_space_angstrom, true, lattice_rotations(lattice)))
        assert obeys(found.real_space_angstrom, lattice) < 1e-12
        assert found.final_residual < found.initial_residual
        errors.append(position_error(found, true, flat()))
        lengths = np.linalg.norm(found.real_space_angstrom, axis=1) / np.linalg.norm(true, axis=1)
        np.testing.assert_allclose(lengths, 1.0, atol=3e-3)
        assert 1e-4 < found.profile_radius_per_angstrom < 9e-4
    assert np.median(after) < math.radians(0.04) < np.median(before)
    assert np.median(errors) < 0.25


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), degrees=st.floats(0.0, 0.3), spurious=st.sampled_from([0.0, 0.25]))
def test_any_orientation_is_recovered_from_sparse_noisy_peaks(seed, degrees, spurious):
    rng = np.random.default_rng(seed)
    true, peaks = still(rng, LYSOZYME, 40, spurious)
    start = true * (1 + 0.002 * rng.standard_normal((3, 1))) @ turn(rng, degrees).T
    (found,) = refine(Crystal(start, LYSOZYME), peaks)
    assert misorientation(found.real_space_angstrom, true, lattice_rotations(LYSOZYME)) < math.radians(0.15)
    assert position_error(found, true, flat()) < 1.0
    assert obeys(found.real_space_angstrom, LYSOZYME) < 1e-12


@pytest.mark.parametrize("lattice", CELLS, ids=lambda lattice: f"{lattice.lattice_type}{lattice.centering}")
def test_the_result_does_not_depend_on_where_refinement_started(lattice):
    rng = np.random.default_rng(20 + list(CELLS).index(lattice))
    apart = []
    for _ in range(5):
        true, peaks = still(rng, lattice, 60, spurious=0.2)
        start = impose_bravais(true * (1 + 0.002 * rng.standard_normal((3, 1))), lattice) @ turn(rng, 0.15).T
        (here,), (there,) = refine(Crystal(start, lattice), peaks), refine(Crystal(true, lattice), peaks)
        apart.append(misorientation(here.real_space_angstrom, there.real_space_angstrom, lattice_rotations(lattice)))
    assert np.median(apart) < math.radians(0.003)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    lattice=st.sampled_from(list(CELLS)),
    num_peaks=st.integers(0, 60),
    degrees=st.floats(0.0, 2.0),
    spurious=st.sampled_from([0.0, 0.5, 0.9]),
    shifts=st.booleans(),
)
def test_refinement_never_makes_the_residual_worse(seed, lattice, num_peaks, degrees, spurious, shifts):
    rng = np.random.default_rng(seed)
    true, peaks = still(rng, lattice, num_peaks, spurious)
    crystal = Crystal(true @ turn(rng, degrees).T, lattice, indexed_by="me")
    for found in refine(crystal, peaks, refine_detector_shift=shifts):
        assert found.final_residual <= found.initial_residual
        assert found.indexed_by == "me"
        assert np.isfinite(found.real_space_angstrom).all()
        if found.final_residual == found.initial_residual:
            assert found.real_space_angstrom is crystal.real_space_angstrom


@pytest.mark.parametrize("seed", range(5))
def test_tetragonal_cells_keep_equal_axes_and_right_angles_exactly(seed):
    rng = np.random.default_rng(seed)
    true, peaks = still(rng)
    start = true * np.array([[1.004], [0.997], [1.002]]) @ turn(rng, 0.1).T
    (found,) = refine(Crystal(start, LYSOZYME), peaks)
    a, b, c = found.real_space_angstrom
    assert np.linalg.norm(a) == pytest.approx(np.linalg.norm(b), rel=1e-13)
    for one, other in ((a, b), (b, c), (a, c)):
        assert abs(one @ other) < 1e-12 * np.linalg.norm(one) * np.linalg.norm(other)


def test_a_shifted_detector_is_found_and_predictions_follow_it():
    rng = np.random.default_rng(3)
    shift = (1.2e-4, -0.8e-4)
    errors, without = [], []
    shifts = []
    for _ in range(8):
        true, peaks = still(rng, LYSOZYME, 120, shift_m=shift)
        start = Crystal(true @ turn(rng, 0.05).T, LYSOZYME)
        (found,) = refine(start, peaks, refine_detector_shift=True)
        shifts.append(found.det_shift_m)
        errors.append(position_error(found, true, flat(), flat(shift)))
        (fixed,) = refine(start, peaks)
        assert fixed.det_shift_m == (0.0, 0.0)
        without.append(position_error(fixed, true, flat(), flat(shift)))
    np.testing.assert_allclose(np.mean(shifts, axis=0), shift, atol=2.5e-5)
    assert np.median(errors) < 0.25 < np.median(without)


def test_peaks_that_belong_to_nothing_change_little():
    rng = np.random.default_rng(5)
    for _ in range(5):
        true, peaks = still(rng, LYSOZYME, 80)
        _, mixed = still(rng, LYSOZYME, 1, spurious=0.99)
        both = PeakList.make(
            *(np.concatenate([getattr(peaks, n), getattr(mixed, n)]) for n in ("panel", "fs", "ss", "snr"))
        )
        start = Crystal(true @ turn(rng, 0.1).T, LYSOZYME)
        (clean,), (found,) = refine(start, peaks), refine(start, both)
        assert position_error(found, true, flat()) < position_error(clean, true, flat()) + 0.15


def test_a_crystal_that_fewer_than_three_peaks_belong_to_is_left_out():
    rng = np.random.default_rng(1)
    true, peaks = still(rng)
    two = peaks.select(np.arange(2))
    assert refine(Crystal(true, LYSOZYME), two) == ()
    assert refine(Crystal(true, LYSOZYME), PeakList.make([], [], [], [])) == ()
    assert len(refine(Crystal(true, LYSOZYME), peaks)) == 1


def test_of_several_crystals_only_those_without_peaks_are_left_out():
    rng = np.random.default_rng(2)
    (first, some), (second, more) = still(rng, num_peaks=50), still(rng, num_peaks=50)
    peaks = PeakList.make(
        *(np.concatenate([getattr(some, n), getattr(more, n)]) for n in ("panel", "fs", "ss", "intensity"))
    )
    alien = Crystal(np.eye(3), Lattice())
    crystals = Crystals((Crystal(first, LYSOZYME), alien, Crystal(second, LYSOZYME)), 7)
    out = Prediction().open(Context())(crystals, peaks, flat())
    assert (len(out), out.num_tries) == (2, 7)
    for true, found in zip((first, second), out, strict=True):
        assert position_error(found, true, flat()) < 0.4


def test_a_crystal_that_cannot_be_bettered_stays_as_it_was_found():
    rng = np.random.default_rng(4)
    true, peaks = still(rng, jitter=0.0)
    (once,) = refine(Crystal(true, LYSOZYME), peaks, iterations=30, tolerance=1e-14, cycles=20)
    (twice,) = refine(once, peaks)
    assert twice.final_residual == pytest.approx(once.final_residual, rel=1e-6)
    assert misorientation(twice.real_space_angstrom, once.real_space_angstrom, lattice_rotations(LYSOZYME)) < 1e-5


def test_without_crystals_nothing_happens_and_a_broken_one_rejects_the_frame():
    running = Prediction().open(Context())
    peaks = PeakList.make([0], [1.0], [1.0], [1.0])
    none = Crystals((), 2)
    assert running(none, peaks, flat()) is none
    with pytest.raises(RejectFrame, match="span no cell"):
        running(Crystals((Crystal(np.zeros((3, 3))),)), peaks, flat())
    hostile = PeakList.make([0, 1, 2, 3], [np.nan, np.inf, 1e300, -1e300], [0.0, 1.0, np.nan, 5.0], [1.0, 1, 1, 1])
    assert len(running(Crystals((Crystal(np.eye(3) * 50),)), hostile, flat())) == 0


def test_the_derivatives_are_those_of_the_deviations():
    rng = np.random.default_rng(7)
    lattice = Lattice("monoclinic", "P", "b")
    true, peaks = still(rng, lattice, 20)
    finder = PanelFinder.of(flat())
    hkl = np.rint(flat().q_per_angstrom(peaks.panel, peaks.fs, peaks.ss) @ true.T).astype(np.int32)
    symmetry = _symmetry(lattice)
    lengths = np.linalg.norm(true, axis=1)
    basis = symmetry.metrics * np.outer(lengths, lengths)
    reciprocal = np.linalg.inv(true).T.copy()
    shift = np.array([1e-4, 2e-4])
    panels = finder.panels

    def deviations_after(step):
        real = np.empty((3, 3))
        assert kernel.move(true, reciprocal, basis, step[:7], symmetry.rotations, real)
        out = np.empty((len(hkl), 3))
        moved = shift + step[7:]
        observed = Observed(hkl, peaks.panel, peaks.fs, peaks.ss)
        deviations(np.linalg.inv(real).T.copy(), moved, finder.wave_number, 1000.0, observed, panels, out)
        return out

    slopes = np.empty((len(hkl), 3, 9))
    strains = np.empty((4, 3, 3))
    for n in range(4):
        strain_of(basis[n], reciprocal, strains[n])
    for i in range(len(hkl)):
        gradients(reciprocal, strains, shift, finder.wave_number, 1000.0, hkl[i], 2, panels[peaks.panel[i]], slopes[i])
    for n in range(9):
        step = np.zeros(9)
        step[n] = 1e-6
        numeric = (deviations_after(step) - deviations_after(-step)) / 2e-6
        np.testing.assert_allclose(slopes[:, :, n], numeric, rtol=1e-4, atol=1e-3 * np.abs(numeric).max())


def chosen_slowly(pairs, spread, floors):
    """Pairs that are not further off than so many medians, or than a floor, in excitation error and in distance."""
    is_near = pairs.paired.copy()
    for off, floor in zip((pairs.excitation_error_per_angstrom, np.hypot(pairs.dfs, pairs.dss)), floors, strict=True):
        size = np.abs(off)
        is_near &= size <= max(floor, spread * np.sort(size[pairs.paired])[pairs.paired.sum() // 2])
    return is_near


def residual_slowly(real, shift, pairs, chosen, peaks, geom, weight):
    """R of the chosen pairs: the ray along k0 + g is cut with the peak's own panel, which has no tilt here."""
    k = 1.0 / geom.wavelength_angstrom
    ray = pairs.hkl[chosen] @ np.linalg.inv(real).T + [0.0, 0.0, k]
    corner = geom.origin_m[peaks.panel[chosen]] + [*shift, 0.0]
    at = ray * (corner[:, 2] / ray[:, 2])[:, None] - corner
    miss = at[:, :2] / 1e-4 - np.stack([peaks.fs[chosen], peaks.ss[chosen]], axis=1)
    error = weight * (k - np.linalg.norm(ray, axis=1))
    return float(error @ error + np.square(miss).sum())


def test_a_cycle_chooses_and_compares_as_loops_written_from_the_definition_do():
    rng = np.random.default_rng(11)
    true, peaks = still(rng, LYSOZYME, 80, 0.2)
    finder, symmetry = PanelFinder.of(flat()), _symmetry(LYSOZYME)
    rules = np.array([1000.0, 100.0, 1e6, 1e-4, 5.0, 1e-4, 0.5])
    bases, shifts, both = np.empty((2, 3, 3)), np.zeros((2, 2)), np.empty(2)
    bases[1] = true * (1 + 0.002 * rng.standard_normal((3, 1))) @ turn(rng, 0.1).T
    found = bases[1].copy()
    before, chosen_before = np.empty((0, 3), np.int32), np.empty(0, np.bool_)

    def one(pairs, *, is_last):
        chosen = np.empty(len(peaks), np.bool_)
        free, k = (symmetry.rotations, symmetry.metrics, False), finder.wave_number
        misses = (pairs.excitation_error_per_angstrom, pairs.dfs, pairs.dss)
        places = (peaks.panel, peaks.fs, peaks.ss, finder.panels)
        seen = (pairs.hkl, pairs.paired, *misses, before, chosen_before)
        return cycle.cycle(bases, shifts, *free, k, rules, 8, *seen, chosen, *places, is_last, both), chosen

    pairs = pair_peaks(bases[1], LYSOZYME, (0.0, 0.0), peaks, finder)
    ended, chosen = one(pairs, is_last=False)
    assert ended == cycle.FITTED
    np.testing.assert_array_equal(chosen, chosen_slowly(pairs, 5.0, (1e-4, 0.5)))
    np.testing.assert_allclose(bases[0], impose_bravais(found, LYSOZYME), atol=1e-9)
    before, chosen_before = pairs.hkl, ~chosen
    pairs = pair_peaks(bases[1], LYSOZYME, (0.0, 0.0), peaks, finder)
    assert one(pairs, is_last=False)[0] == cycle.FITTED, "other pairs than before, and more fits are allowed"
    ended, chosen = one(pairs, is_last=True)
    assert ended == cycle.SETTLED
    wanted = [residual_slowly(basis, (0.0, 0.0), pairs, chosen, peaks, flat(), 1000.0) for basis in bases]
    np.testing.assert_allclose(both, wanted, rtol=1e-9)
    assert both[1] < both[0]
    before, chosen_before = pairs.hkl, chosen
    assert one(pairs, is_last=False)[0] == cycle.SETTLED, "the same pairs as before"
    nothing = pairs._replace(paired=np.zeros(len(peaks), np.bool_))
    assert one(nothing, is_last=False)[0] == cycle.TOO_FEW


@pytest.mark.parametrize("lattice", CELLS, ids=lambda lattice: f"{lattice.lattice_type}{lattice.centering}")
def test_imposing_restrictions_is_what_the_lattice_says(lattice):
    rng = np.random.default_rng(9)
    a, b, c, *angles = CELLS[lattice]
    real = UnitCell(a, b, c, *np.radians(angles), lattice).real_space_angstrom @ turned(rng).T
    real = real + 0.3 * rng.standard_normal((3, 3))
    ours = real.copy()
    assert impose(ours, lattice_rotations(lattice))
    np.testing.assert_allclose(ours, impose_bravais(real, lattice), atol=1e-9)
    free = {"triclinic": 6, "monoclinic": 4, "orthorhombic": 3, "rhombohedral": 2, "cubic": 1}
    assert len(_symmetry(lattice).metrics) == free.get(lattice.lattice_type, 2)


def test_a_geometry_that_moves_between_frames_is_followed():
    rng = np.random.default_rng(6)
    true, peaks = still(rng)
    running = Prediction().open(Context())
    start = Crystals((Crystal(true @ turn(rng, 0.1).T, LYSOZYME),))
    first = running(start, peaks, flat()).found[0].final_residual
    running(start, peaks, replace(flat(), origin_m=flat().origin_m + np.array([0, 0, 0.02])))
    assert running(start, peaks, flat()).found[0].final_residual == first


def test_the_stage_is_a_value():
    stage = Prediction(refine_detector_shift=True, cycles=5)
    assert pickle.loads(pickle.dumps(stage)) == stage
    assert hash(stage) == hash(Prediction(refine_detector_shift=True, cycles=5))


# --- the cell stays within the tolerance --------------------------------------------------------------------------------


def found_with(target, tolerance, rng, stretch):
    """Refine a crystal that was found with a target, of which the crystal in the frame is longer along c by `stretch`."""
    true, peaks = still(rng, num_peaks=200)
    real = true * np.array([[1.0], [1.0], [1.0 - stretch]])
    crystal = Crystal(real, LYSOZYME, limits=CellLimits(target, tolerance))
    assert crystal.is_within_limits
    return Prediction().open(Context())(Crystals((crystal,)), peaks, flat())


def target_cell(c):
    return UnitCell(79.1, 79.1, c, *3 * [math.pi / 2], LYSOZYME)


def test_a_crystal_whose_cell_refinement_takes_out_of_tolerance_is_left_out_and_counted():
    tight = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    for seed in range(5):
        refined = found_with(target_cell(37.9 * 0.988), tight, np.random.default_rng(seed), 0.012)
        assert not refined.found
        assert refined.counts() == {"indexed": 0, "crystals": 0, "out_of_tolerance": 1}
    line = report_line(Crystals.shown, {"crystals": 93, "out_of_tolerance": 5, "indexed": 93, "hits": 98}, frames=98)
    assert ("crystals 93 (5 left out: refined, their cells are out of tolerance)") in line


def test_whatever_is_written_is_within_the_tolerance():
    tolerance = (0.8, 0.8, 0.8, 0.5, 0.5, 0.5)
    rng = np.random.default_rng(8)
    kept = 0
    for _ in range(12):
        refined = found_with(target_cell(37.9), tolerance, rng, rng.uniform(-0.008, 0.008))
        kept += len(refined.found)
        for crystal in refined:
            assert agree(UnitCell.from_vectors(crystal.real_space_angstrom), target_cell(37.9), tolerance)
        assert len(refined.found) + refined.num_out_of_tolerance == 1
    assert kept >= 8


def test_where_cells_are_not_checked_none_is_left_out():
    refined = found_with(target_cell(37.9 * 0.988), None, np.random.default_rng(1), 0.012)
    assert len(refined.found) == 1
    assert refined.num_out_of_tolerance == 0
