"""Peaks on a powder's rings are no crystal: the test against random azimuths, and what each search makes of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import Event
from pipeline.stage import Context
from stages.files.cell import cell_text
from stages.files.solution import solution_lines
from stages.index._kernels.azimuths import (
    ACROSS_PX,
    ALONG,
    CUBES,
    GOLDEN,
    LEAST_KNOWN,
    N_CYLINDERS,
    azimuth_score,
    beats_random_azimuths,
    likelihood_ratio,
    radius_steps,
)
from stages.index._kernels.spots import chernoff
from stages.index._target import make_target
from stages.index.file import FromFile
from stages.index.lattice import FreeLattice
from stages.index.pairs import Pairs
from stages.lattices.cell import misorientation, rotations
from stages.records.crystal import Crystals
from stages.records.peaklist import Hit
from stages.simulation.powder import BLANKS, ICE_ANGSTROM, rings
from stages.simulation.spot_lists import CELLS, SUITABLE, XRAYS, noise, random_rotation, simulate

K0, PX = 1 / XRAYS.wavelength_angstrom, XRAYS.px_per_angstrom
NO_SHIFT = np.zeros(2)


def sorted_spots(q):
    return np.ascontiguousarray(q[np.argsort(np.linalg.norm(q, axis=1))].T)


def slow_score(basis, q, n_places: int) -> float:
    """The definition, with numpy and a fine grid of w."""
    q = q[np.argsort(np.linalg.norm(q, axis=1))]
    length = np.linalg.norm(q, axis=1)
    steps = np.sort(np.abs(length[:, None] - length), axis=1)[:, 2] if len(q) > 2 else np.zeros(len(q))
    place = np.arange(n_places)
    spread = 2 * ((GOLDEN * place + 0.5) % 1) - 1
    spread[0] = 0
    f = 1 + np.minimum(0.5, steps / length)[:, None] * spread
    turn = np.exp(2j * math.pi * place / n_places) * (q[:, 0] + 1j * q[:, 1])[:, None] * f
    places = np.stack([turn.real, turn.imag, f * f * q[:, 2, None]], -1)
    h = places @ basis.T
    whole = np.rint(h)
    misfit = np.where(whole.any(axis=-1), np.abs(h - whole).max(axis=-1), 1.0)
    off = places - whole @ np.linalg.inv(basis).T
    ray = places + np.array([0, 0, K0])
    on_ray = (off * ray).sum(axis=-1) / np.linalg.norm(ray, axis=-1)
    across = np.sqrt(np.maximum(0, (off**2).sum(axis=-1) - on_ray**2))
    near = [misfit < t for t in CUBES]
    near += [(across < r * PX) & (np.abs(on_ray) < along) & near[-1] for r in ACROSS_PX for along in ALONG]
    w = np.linspace(0, 0.99, 500)[:, None]
    best = 0.0
    for hit in near:
        ratio = hit[:, 0] / np.maximum(hit.mean(axis=1), 1e-9)
        best = max(best, np.log(1 - w + w * ratio).sum(axis=1).max())
    return best


@pytest.mark.parametrize("name", ["lysozyme", "large", "small"])
def test_the_score_is_what_its_definition_says(name):
    rng = np.random.default_rng(5)
    for n, kind in ((12, "one ring"), (40, "six rings"), (30, "uniform")):
        q = BLANKS[kind](rng, n)
        basis = CELLS[name].real_space_angstrom @ random_rotation(rng)
        assert azimuth_score(basis, sorted_spots(q), NO_SHIFT, K0, PX, 256, np.inf) == pytest.approx(
            slow_score(basis, q, 256), abs=0.3
        )
    spots = simulate(CELLS[name], rng, 30, 0.3, **SUITABLE.get(name, {}))
    fast = azimuth_score(spots.real_space_angstrom, sorted_spots(spots.q), NO_SHIFT, K0, PX, 256, np.inf)
    assert fast == pytest.approx(slow_score(spots.real_space_angstrom, spots.q, 256), rel=0.02)
    assert fast > LEAST_KNOWN


@given(m=st.integers(1, 60), more=st.integers(1, 60), p=st.floats(0.001, 0.3))
def test_where_every_azimuth_is_as_good_as_any_it_is_the_chernoff_bound(m, more, p):
    """With one p for all spots the maximum over w is n KL(m/n || p)."""
    n = m + more
    expected = max(0.0, chernoff(m, n, p))
    assert likelihood_ratio(np.full(m, 1 / p), n) == pytest.approx(expected, abs=0.02 * expected + 0.3)


@given(lengths=st.lists(st.floats(0.01, 1.0), min_size=3, max_size=40))
def test_a_radius_is_known_to_the_second_nearest_of_the_others(lengths):
    length = np.sort(np.array(lengths))
    expected = np.sort(np.abs(length[:, None] - length), axis=1)[:, 2]
    assert radius_steps(length) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["one ring", "six rings", "wide"])
def test_azimuths_at_random_hardly_ever_reach_what_is_asked_of_a_lattice(kind):
    """Markov: of lattices that were not chosen a share of exp(-S) has S; with ten tolerances ten times as many."""
    rng = np.random.default_rng(11)
    scores = []
    for _ in range(300):
        basis = CELLS["large"].real_space_angstrom @ random_rotation(rng)
        scores.append(azimuth_score(basis, sorted_spots(BLANKS[kind](rng, 60)), NO_SHIFT, K0, PX, 128, np.inf))
    shapes = N_CYLINDERS + CUBES.size
    for s in (4.0, 5.0, 6.0):
        assert np.mean(np.array(scores) > s) <= shapes * math.exp(-s)


def test_an_axis_along_the_beam_explains_a_ring_by_its_radius_alone():
    """All peaks of a ring lie on one plane of such a lattice: of independent indices that is far beyond chance."""
    rng = np.random.default_rng(2)
    q = rings(rng, 150, (3.67,), 0.3)
    height = np.median(q[:, 2])
    basis = np.diag([12.0, 12.0, round(12 * abs(height)) / abs(height) if abs(height) > 1 / 24 else 1 / abs(height)])
    on_plane = np.abs(q @ basis[2] - np.rint(q @ basis[2])) < 0.1
    assert on_plane.mean() > 0.9
    assert azimuth_score(basis, sorted_spots(q), NO_SHIFT, K0, PX, 256, np.inf) < 10


@pytest.mark.parametrize("name", ["lysozyme", "cubic_f", "large"])
def test_crystals_beat_random_azimuths(name):
    rng = np.random.default_rng(8)
    for n, spurious in ((10, 0.0), (30, 0.25), (300, 0.3)):
        spots = simulate(CELLS[name], rng, n, spurious, cell_error=0.0, shift_px=0.0, **SUITABLE.get(name, {}))
        assert beats_random_azimuths(spots.real_space_angstrom, spots.q, NO_SHIFT, K0, PX, LEAST_KNOWN)


def test_nothing_and_what_is_not_finite_beat_nothing():
    basis = np.eye(3) * 50
    for q in (np.zeros((0, 3)), np.full((20, 3), np.nan), np.zeros((20, 3))):
        assert not beats_random_azimuths(basis, q, NO_SHIFT, K0, PX, LEAST_KNOWN)
    spots = simulate(CELLS["lysozyme"], np.random.default_rng(1), 30, cell_error=0.0, shift_px=0.0)
    assert not beats_random_azimuths(np.zeros((3, 3)), spots.q, NO_SHIFT, K0, PX, LEAST_KNOWN)
    broken = np.concatenate([spots.q, np.full((3, 3), np.nan), np.full((1, 3), np.inf)])
    assert beats_random_azimuths(spots.real_space_angstrom, broken, NO_SHIFT, K0, PX, LEAST_KNOWN)


def test_the_detectors_shift_is_where_the_rings_have_their_centre():
    spots = simulate(CELLS["lysozyme"], np.random.default_rng(3), 60, cell_error=0.0, shift_px=0.0, jitter_px=0.1)
    shift = np.array([8 * PX, -6 * PX])
    q = spots.q + np.array([*shift, 0.0])
    assert beats_random_azimuths(spots.real_space_angstrom, q, shift, K0, PX, 96.0)
    assert not beats_random_azimuths(spots.real_space_angstrom, q, NO_SHIFT, K0, PX, 96.0)


# --- what the searches make of it


@pytest.fixture(scope="module")
def searches(tmp_path_factory):
    """Every search that frames are shown to: name -> running stage."""
    folder = tmp_path_factory.mktemp("cells")
    made = {"lattice": FreeLattice().open(Context()), "lattice, multi": FreeLattice(multi=True).open(Context())}
    made["lattice, not check_peaks"] = FreeLattice(check_peaks=False).open(Context())
    for name in ("cubic_f", "triclinic", "large"):
        path = folder / f"{name}.cell"
        path.write_text(cell_text(CELLS[name]))
        made[name] = Pairs(cell=path).open(Context())
        made[f"{name}, multi"] = Pairs(cell=path, multi=True, verify=False).open(Context())
        made[f"{name}, not check_peaks"] = Pairs(cell=path, check_peaks=False, verify=False).open(Context())
    return made


def frame(q, rng):
    order = rng.permutation(len(q))
    peaks, geom = XRAYS.peaks_of(q[order], rng.exponential(size=len(q)))
    return Hit(True, len(peaks)), peaks, geom


@pytest.mark.parametrize("kind", BLANKS)
def test_no_search_makes_a_crystal_of_a_frame_without_one(searches, kind):
    """Variants differ only after a first lattice, so that they are shown the smaller of two frames."""
    rng = np.random.default_rng(20)
    frames = [frame(BLANKS[kind](rng, int(rng.integers(20, 200))), rng) for _ in range(2)]
    for name, search in searches.items():
        shown = frames[1:] if "," in name else frames
        indexed = [search(*one) for one in shown]
        assert not any(crystals.found or crystals.elsewhere for crystals in indexed), name


def test_hits_that_only_a_powder_would_explain_are_counted(searches):
    rng = np.random.default_rng(21)
    crystals = [searches["cubic_f"](*frame(rings(rng, 150, (3.67,), 1.0), rng)) for _ in range(10)]
    counts = [one.counts() for one in crystals]
    assert sum(one.get("powder", 0) for one in counts) >= 3
    assert all(one["crystals"] == 0 for one in counts)
    uniform = searches["cubic_f"](*frame(noise(rng, 60), rng))
    assert "powder" not in uniform.counts()


@pytest.mark.parametrize(("num_spots", "num_ice"), [(30, 60), (60, 180), (100, 100)])
def test_a_crystal_under_ice_is_found_as_ever(searches, num_spots, num_ice):
    rng = np.random.default_rng(22)
    for name in ("cubic_f", "triclinic", "large"):
        symmetry = rotations(CELLS[name], 1e-4)
        for _ in range(3):
            spots = simulate(CELLS[name], rng, num_spots, 0.1, **SUITABLE.get(name, {}))
            q = np.concatenate([spots.q, rings(rng, num_ice, ICE_ANGSTROM, 1.0)])
            (crystal,) = searches[name](*frame(q, rng))
            off = misorientation(crystal.real_space_angstrom, spots.real_space_angstrom, symmetry)
            assert math.degrees(off) < 1, name


def test_a_solution_file_does_not_make_a_crystal_of_a_ring(tmp_path):
    """Lattices that a ring's peaks support as long as nobody asks for azimuths, put into a solution file."""
    rng = np.random.default_rng(23)
    unit_cell = CELLS["cubic_f"]
    target = make_target(unit_cell)
    lines, frames = [], []
    while len(frames) < 3:
        q = rings(rng, 150, (3.67,), 1.0)
        significant, basis, _ = target.search(q, XRAYS.wavelength_angstrom, PX, target.make_scores())
        if significant:
            event = Event(f"run // {len(frames)}")
            stars_per_nm = 10 * np.linalg.inv(target.to_conventional @ basis).T
            lines += solution_lines("run", event, [(stars_per_nm, unit_cell.lattice, (0.0, 0.0))])
            frames.append((event, q))
    path = tmp_path / "ring.sol"
    path.write_text("\n".join(lines) + "\n")
    checked, unchecked = (FromFile(file=path, check_peaks=check).open(Context()) for check in (True, False))
    for event, q in frames:
        hit, peaks, geom = frame(q, rng)
        crystals, listed = checked(hit, event, peaks, geom, None)
        assert (crystals, listed.num_refused) == (Crystals(num_tries=1), 1)
        assert len(unchecked(hit, event, peaks, geom, None)[0]) == 1
