"""The simulator's frames against slow, plain calculations and against the laws they should obey."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import UserError
from stages.lattices.cell import Lattice, UnitCell
from stages.records import DetGeom, Panel
from stages.simulation._kernels import photons as kernel
from stages.simulation.background import Background
from stages.simulation.experiment import FEWEST_PHOTONS, Simulation
from stages.simulation.settings import Settings
from stages.simulation.specimen import LYSOZYME as LYSOZYME_CELL
from stages.simulation.specimen import Specimen
from stages.simulation.truth import read_truth, write_truth

LYSOZYME = Specimen.make(LYSOZYME_CELL, "P 43 21 2")


def flat(width: int = 512, height: int = 480, res: float = 2907.0, clen_m: float = 0.12) -> DetGeom:
    """One flat panel, the beam through its middle."""
    return DetGeom(
        (Panel("p", "detector_data", max_fs=width - 1, max_ss=height - 1),),
        np.array([[-width / 2 / res, -height / 2 / res, clen_m]]),
        np.array([[1 / res, 0, 0]]),
        np.array([[0, 1 / res, 0]]),
        9500.0,
        np.array([clen_m]),
        (np.zeros((height, width), np.uint8),),
        peak_list="peak_list",
    )


def two_panels(gap: int = 9) -> DetGeom:
    """Two panels side by side in one array with a gap, the second tilted and its slow scan pointing down."""
    res = 2907.0
    width, height = 250, 480
    tilt = 0.05
    return DetGeom(
        (
            Panel("left", "detector_data", min_fs=0, max_fs=width - 1, max_ss=height - 1),
            Panel("right", "detector_data", min_fs=width + gap, max_fs=2 * width + gap - 1, max_ss=height - 1),
        ),
        np.array([[-width / res, -height / 2 / res, 0.12], [8 / res, height / 2 / res, 0.121]]),
        np.array([[1 / res, 0, 0], [math.cos(tilt) / res, 0, math.sin(tilt) / res]]),
        np.array([[0, 1 / res, 0], [0, -1 / res, 0]]),
        9500.0,
        np.array([0.12, 0.121]),
        (np.zeros((height, width), np.uint8),) * 2,
        peak_list="peak_list",
    )


def always_hit(**changes: object) -> Settings:
    return replace(Settings(seed=3, hits=1.0), **changes)  # type: ignore[arg-type]


def test_a_frame_is_the_same_whenever_it_is_made() -> None:
    one, other = Simulation(Settings(seed=5), flat(), LYSOZYME), Simulation(Settings(seed=5), flat(), LYSOZYME)
    list(one.frames(3))
    a, b = one.frame(7), other.frame(7)
    assert a.truth.as_json() == b.truth.as_json()
    assert np.array_equal(a.arrays["detector_data"], b.arrays["detector_data"])
    assert np.array_equal(a.peaks.fs, b.peaks.fs)


def test_another_seed_or_number_is_another_frame() -> None:
    simulation = Simulation(always_hit(), flat(), LYSOZYME)
    other = Simulation(always_hit(seed=4), flat(), LYSOZYME)
    first = simulation.frame(0).arrays["detector_data"]
    assert not np.array_equal(first, simulation.frame(1).arrays["detector_data"])
    assert not np.array_equal(first, other.frame(0).arrays["detector_data"])


def test_peaks_and_truth_do_not_depend_on_whether_pixels_are_made() -> None:
    simulation = Simulation(Settings(seed=5), flat(), LYSOZYME)
    for number in range(4):
        with_pixels, without = simulation.frame(number), simulation.frame(number, pixels=False)
        assert without.arrays == {}
        assert with_pixels.truth.as_json() == without.truth.as_json()
        assert np.array_equal(with_pixels.peaks.intensity, without.peaks.intensity)


def test_the_reflections_near_the_ewald_sphere_are_those_of_a_loop_over_all_indices() -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        real = LYSOZYME.cell.real_space_angstrom @ np.linalg.qr(rng.standard_normal((3, 3)))[0]
        reciprocal = np.ascontiguousarray(np.linalg.inv(real).T)
        k, width, q_max = 0.77, 1e-3, 0.35
        hkl, error = np.empty((5000, 3), np.int32), np.empty(5000)
        found = kernel.near_ewald_sphere(reciprocal, k, width, q_max, hkl, error)
        grid = np.stack(np.meshgrid(*[np.arange(-30, 31)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        g = grid @ reciprocal
        slow_error = np.linalg.norm(g + np.array([0, 0, k]), axis=1) - k
        size = np.linalg.norm(g, axis=1)
        slow = (np.abs(slow_error) <= width) & (size <= q_max) & (size > 0)
        assert {tuple(row) for row in hkl[:found]} == {tuple(row) for row in grid[slow]}
        expected = {tuple(row): e for row, e in zip(grid[slow], slow_error[slow], strict=True)}
        assert np.allclose(error[:found], [expected[tuple(row)] for row in hkl[:found]], atol=1e-12)


def test_too_little_room_for_reflections_is_told_and_not_overrun() -> None:
    reciprocal = np.ascontiguousarray(np.linalg.inv(LYSOZYME.cell.real_space_angstrom).T)
    hkl, error = np.full((5, 3), 99, np.int32), np.empty(5)
    assert kernel.near_ewald_sphere(reciprocal, 0.77, 1e-3, 0.35, hkl[:3], error[:3]) > 3
    assert (hkl[3:] == 99).all()


@pytest.mark.parametrize("geom", [flat(), two_panels()], ids=["one panel", "two panels"])
def test_expected_photons_are_scale_wilson_falloff_partiality_polarisation(geom: DetGeom) -> None:
    simulation = Simulation(always_hit(polarisation=0.9), geom, LYSOZYME)
    truth = simulation.frame(2, pixels=False).truth
    assert truth.real_space_angstrom is not None
    k = truth.photon_energy_ev / 12398.419843320026
    g = truth.spots.hkl @ np.linalg.inv(truth.real_space_angstrom).T
    out = g + np.array([0, 0, k])
    error = np.linalg.norm(out, axis=1) - k
    partiality = np.exp(-(error**2) / (2 * 2.5e-4**2))
    two_theta = np.arccos(out[:, 2] / np.linalg.norm(out, axis=1))
    phi = np.arctan2(out[:, 1], out[:, 0])
    polarisation = 0.9 * (1 - (np.sin(two_theta) * np.cos(phi)) ** 2) + 0.1 * (
        1 - (np.sin(two_theta) * np.sin(phi)) ** 2
    )
    d = 1 / np.linalg.norm(g, axis=1)
    expected = 900 * truth.scale * LYSOZYME.intensities(truth.spots.hkl) * np.exp(-2 * 22 / d**2 / 4)
    assert len(truth.spots) > 50
    assert np.allclose(truth.spots.partiality, partiality, atol=1e-9)
    assert np.allclose(truth.spots.photons, expected * partiality * polarisation, rtol=1e-9)
    assert truth.spots.photons.min() >= FEWEST_PHOTONS


@pytest.mark.parametrize("geom", [flat(), two_panels()], ids=["one panel", "two panels"])
def test_the_pixel_of_a_spot_has_the_q_of_its_indices(geom: DetGeom) -> None:
    simulation = Simulation(always_hit(), geom, LYSOZYME)
    for frame in simulation.frames(3, pixels=False):
        spots, basis = frame.truth.spots, frame.truth.real_space_angstrom
        assert basis is not None
        q = frame.geom.q_per_angstrom(spots.panel, spots.fs, spots.ss)
        g = spots.hkl @ np.linalg.inv(basis).T
        # the pixel looks at the point of the Ewald sphere nearest to g
        assert np.allclose(np.linalg.norm(q - g, axis=1), np.abs(spots.excitation_error_per_angstrom), atol=1e-9)
        assert np.abs(q @ basis.T - spots.hkl).max() < 0.1
        assert set(spots.panel) == set(range(len(geom.panels)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2**40))
def test_orientations_keep_the_cell_but_for_its_jitter(seed: int, number: int) -> None:
    simulation = Simulation(always_hit(seed=seed), flat(16, 16), LYSOZYME)
    basis = simulation.frame(number, pixels=False).truth.real_space_angstrom
    assert basis is not None
    lengths = np.linalg.norm(basis, axis=1)
    assert lengths == pytest.approx([79.1, 79.1, 37.9], rel=0.006)
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-12)
    assert basis @ basis.T == pytest.approx(np.diag(lengths**2), abs=1e-9)
    assert np.linalg.det(basis) > 0


def test_orientations_are_uniform() -> None:
    simulation = Simulation(always_hit(), flat(16, 16), LYSOZYME)
    c = np.array([f.truth.real_space_angstrom[2] for f in simulation.frames(2000, pixels=False)])  # type: ignore[index]
    c /= np.linalg.norm(c, axis=1)[:, None]
    assert np.abs(c.mean(axis=0)).max() < 4 / math.sqrt(3 * 2000)
    assert np.abs((c**2).mean(axis=0) - 1 / 3).max() < 4 * math.sqrt(4 / 45 / 2000)


def test_the_photons_of_a_spot_fall_into_its_pixels() -> None:
    """Without background, each spot's pixels sum to a Poisson number of its expectation, spread by sigma."""
    simulation = Simulation(always_hit(background=0.0, photons=3000.0), flat(), LYSOZYME)
    pulls, spread, weight = [], 0.0, 0.0
    for frame in simulation.frames(4):
        image, spots = frame.arrays["detector_data"], frame.truth.spots
        assert abs(int(image.sum()) - spots.photons.sum()) < 6 * math.sqrt(spots.photons.sum())
        for i in np.flatnonzero(spots.photons > 50):
            x, y = int(spots.fs[i]), int(spots.ss[i])
            near = np.hypot(spots.fs - spots.fs[i], spots.ss - spots.ss[i]) < 20
            if near.sum() > 1 or not (12 <= x < 500 and 12 <= y < 468):
                continue
            box = image[y - 9 : y + 10, x - 9 : x + 10].astype(float)
            pulls.append((box.sum() - spots.photons[i]) / math.sqrt(spots.photons[i]))
            dx = np.arange(x - 9, x + 10) + 0.5 - spots.fs[i]
            spread += (box * dx**2).sum() - box.sum() / 12  # a pixel's own width
            weight += box.sum()
    assert len(pulls) > 50
    assert abs(np.mean(pulls)) < 4 / math.sqrt(len(pulls))
    assert np.std(pulls) == pytest.approx(1.0, abs=4 / math.sqrt(2 * len(pulls)))
    assert math.sqrt(spread / weight) == pytest.approx(1.5, rel=0.02)


def test_the_background_is_poisson_noise_around_the_given_curve() -> None:
    geom = flat()
    simulation = Simulation(Settings(seed=1, hits=0.0), geom, LYSOZYME)
    y, x = np.mgrid[:480, :512] + 0.5
    lab = geom.lab_m(np.zeros(x.size, int), x.ravel(), y.ravel())
    two_theta = np.arccos(lab[:, 2] / np.linalg.norm(lab, axis=1))
    q = 2 * np.sin(two_theta / 2) / geom.wavelength_angstrom
    curve = 1 + 30 * np.exp(-q / 0.035) + 9 * np.exp(-(((q - 0.30) / 0.055) ** 2) / 2)
    curve += 2.5 * np.exp(-(((q - 0.12) / 0.05) ** 2) / 2)
    expected = (curve * np.cos(two_theta) ** 3).reshape(480, 512)
    assert simulation.background_photons("detector_data") == pytest.approx(expected, rel=1e-5)
    frames = np.array([f.arrays["detector_data"] for f in simulation.frames(8)], float)
    for low, high in ((0.0, 1.0), (1.0, 3.0), (3.0, 8.0), (8.0, 60.0)):
        ring = (expected >= low) & (expected < high)
        total = len(frames) * expected[ring].sum()
        assert abs(frames[:, ring].sum() - total) < 5 * math.sqrt(total)
        chi2 = ((frames[:, ring] - expected[ring]) ** 2 / expected[ring]).mean()
        assert chi2 == pytest.approx(1.0, abs=6 * math.sqrt((2 + 1 / expected[ring].min()) / (8 * ring.sum())))
    # no pixel knows of its neighbour, no frame of the next
    noise = (frames - expected) / np.sqrt(expected)
    assert abs((noise[:, :, 1:] * noise[:, :, :-1]).mean()) < 5 / math.sqrt(noise.size)
    assert abs((noise[1:] * noise[:-1]).mean()) < 5 / math.sqrt(noise.size)


@pytest.mark.parametrize("rate", [1e-3, 0.3, 4.0, 37.0, 900.0])
def test_the_alias_tables_draw_poisson_numbers(rate: float) -> None:
    background = Background.of(np.full(200_000, rate, np.float32))
    drawn = background.draw(-1, np.uint64(12345))
    n = np.arange(drawn.max() + 1)
    log_pmf = n * math.log(rate) - rate - np.array([math.lgamma(i + 1) for i in n])
    expected = 200_000 * np.exp(log_pmf)
    seen = np.bincount(drawn, minlength=len(n))
    common = expected > 10
    chi2 = ((seen[common] - expected[common]) ** 2 / expected[common]).sum()
    freedom = max(1, common.sum() - 1)
    assert chi2 < freedom + 5 * math.sqrt(2 * freedom)


def test_blanks_have_no_bragg_spots_and_only_spurious_peaks() -> None:
    simulation = Simulation(Settings(seed=1, hits=0.0), flat(), LYSOZYME)
    listed = 0
    for frame in simulation.frames(20, pixels=False):
        assert not frame.truth.hit
        assert frame.truth.real_space_angstrom is None
        assert len(frame.truth.spots) == 0
        assert (frame.truth.listed == -1).all()
        listed += len(frame.peaks)
    assert 0 < listed < 20 * 5 * 2
    expected = simulation.background_photons("detector_data")
    image = simulation.frame(0).arrays["detector_data"]
    assert (image < expected + 8 * np.sqrt(expected) + 8).all()


def test_hits_and_blanks_come_as_often_as_asked() -> None:
    simulation = Simulation(Settings(seed=8, hits=0.7), flat(16, 16), LYSOZYME)
    hits = sum(frame.truth.hit for frame in simulation.frames(1000, pixels=False))
    assert abs(hits - 700) < 4 * math.sqrt(210)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25])
def test_the_fraction_of_spurious_peaks_is_as_asked(fraction: float) -> None:
    simulation = Simulation(always_hit(spurious=fraction), flat(), LYSOZYME)
    listed = np.concatenate([f.truth.listed for f in simulation.frames(60, pixels=False)])
    assert len(listed) > 1000
    assert abs((listed == -1).mean() - fraction) < 5 * math.sqrt(max(fraction, 1e-9) / len(listed))


def test_listed_peaks_lie_at_their_spots_but_for_the_jitter() -> None:
    simulation = Simulation(always_hit(jitter_px=0.3), two_panels(), LYSOZYME)
    offsets = []
    for frame in simulation.frames(20, pixels=False):
        true = frame.truth.listed >= 0
        spot = frame.truth.listed[true]
        assert np.array_equal(frame.peaks.panel[true], frame.truth.spots.panel[spot])
        offsets.append(frame.peaks.fs[true] - frame.truth.spots.fs[spot])
        offsets.append(frame.peaks.ss[true] - frame.truth.spots.ss[spot])
    every = np.concatenate(offsets)
    assert every.std() == pytest.approx(0.3, rel=0.1)
    assert abs(every.mean()) < 4 * 0.3 / math.sqrt(len(every))


def test_peaks_per_hit_lists_the_brightest() -> None:
    simulation = Simulation(always_hit(peaks_per_hit=10, spurious=0.0), flat(), LYSOZYME)
    everything = Simulation(always_hit(spurious=0.0), flat(), LYSOZYME)
    few, every = simulation.frame(1, pixels=False), everything.frame(1, pixels=False)
    assert len(few.peaks) == 10 < len(every.peaks)
    left_out = np.setdiff1d(every.truth.listed, few.truth.listed)
    photons = every.truth.spots.photons
    assert np.median(photons[few.truth.listed]) > np.median(photons[left_out])


def test_bad_pixels_are_not_listed() -> None:
    geom = flat()
    bad = np.zeros((480, 512), np.uint8)
    bad[:, 256:] = 1
    simulation = Simulation(always_hit(), replace(geom, bad=(bad,)), LYSOZYME)
    for frame in simulation.frames(5, pixels=False):
        true = frame.truth.listed[frame.truth.listed >= 0]
        assert len(true)
        assert (frame.truth.spots.fs[true] < 256).all()


def test_two_panels_leave_their_gap_empty() -> None:
    simulation = Simulation(always_hit(), two_panels(gap=9), LYSOZYME)
    image = simulation.frame(0).arrays["detector_data"]
    assert image.shape == (480, 509)
    assert (image[:, 250:259] == -1).all()
    assert (image[:, :250] >= 0).all()
    assert (image[:, 259:] >= 0).all()
    unsigned = Simulation(always_hit(dtype="u2"), two_panels(gap=9), LYSOZYME).frame(0).arrays["detector_data"]
    assert (unsigned[:, 250:259] == 0).all()
    assert np.array_equal(unsigned[:, :250], image[:, :250])


def test_a_spot_beside_the_edge_does_not_leak_into_the_next_panel() -> None:
    out = np.zeros(20 * 10, np.int32)
    one = np.ones(1, np.int64)
    kernel.scatter_photons(
        one * 10_000,
        np.array([9.9]),
        np.array([5.0]),
        kernel.Places(width=one * 10, height=one * 10, start=one * 0, fs_stride=one, ss_stride=one * 20),
        1.5,
        np.uint64(7),
        out,
    )
    image = out.reshape(10, 20)
    assert image[:, 10:].sum() == 0
    inside = 0.5 * (1 + math.erf(0.1 / 1.5 / math.sqrt(2))) * math.erf(5 / 1.5 / math.sqrt(2))
    assert image.sum() == pytest.approx(10_000 * inside, rel=0.03)


@pytest.mark.parametrize("dtype", ["i4", "u2", "u1", "i8", "f4", "f8", "uint16"])
def test_every_type_of_pixel_holds_the_same_photons(dtype: str) -> None:
    reference = Simulation(always_hit(gap=0), two_panels(), LYSOZYME).frame(0).arrays["detector_data"]
    array = Simulation(always_hit(gap=0, dtype=dtype), two_panels(), LYSOZYME).frame(0).arrays["detector_data"]
    assert array.dtype == np.dtype(dtype)
    limit = np.iinfo(dtype).max if np.dtype(dtype).kind != "f" else np.inf
    assert np.array_equal(array, np.minimum(reference.astype(float), limit).astype(dtype))


@pytest.mark.parametrize("dtype", ["c8", "U4", "nonsense", "O"])
def test_a_type_that_is_no_number_is_refused(dtype: str) -> None:
    with pytest.raises(UserError, match="pixels cannot be of type"):
        Simulation(Settings(dtype=dtype), flat(), LYSOZYME)


def test_adu_per_photon_scales_pixels_and_intensities_panel_by_panel() -> None:
    geom = two_panels()
    gained = replace(geom, panels=(geom.panels[0], replace(geom.panels[1], adu_per_photon=2.5)))
    one = Simulation(always_hit(gap=0, dtype="f4"), geom, LYSOZYME).frame(0)
    two = Simulation(always_hit(gap=0, dtype="f4"), gained, LYSOZYME).frame(0)
    assert np.array_equal(two.arrays["detector_data"][:, :250], one.arrays["detector_data"][:, :250])
    assert np.array_equal(two.arrays["detector_data"][:, 259:], 2.5 * one.arrays["detector_data"][:, 259:])
    assert np.allclose(two.peaks.intensity, one.peaks.intensity * np.where(one.peaks.panel == 1, 2.5, 1.0))


def test_a_stack_of_panels_and_one_with_its_own_array_get_arrays_of_their_shape() -> None:
    geom = two_panels()
    first, second = geom.panels
    stacked = replace(
        geom,
        panels=(
            replace(first, dims=("%", 2, "ss", "fs"), data="stack"),
            replace(second, dims=("fs", "ss"), data="turned", min_fs=3, max_fs=252),
        ),
    )
    frame = Simulation(always_hit(), stacked, LYSOZYME).frame(0)
    plain = Simulation(always_hit(), geom, LYSOZYME).frame(0)
    assert frame.arrays["stack"].shape == (3, 480, 250)
    assert frame.arrays["turned"].shape == (253, 480)
    assert (frame.arrays["stack"][:2] == -1).all()
    assert (frame.arrays["turned"][:3] == -1).all()
    for p, key in enumerate(("stack", "turned")):
        view = stacked.panels[p].view(frame.arrays[key])
        spots = plain.truth.spots
        here = (spots.panel == p) & (spots.photons > 100)
        assert here.any()
        assert (view[spots.ss[here].astype(int), spots.fs[here].astype(int)] > 3).all()
        assert np.array_equal(frame.truth.spots.fs, spots.fs)


def test_symmetry_equivalent_reflections_are_equally_strong_and_screw_axes_absent() -> None:
    rng = np.random.default_rng(0)
    hkl = rng.integers(-20, 21, (200, 3))
    strengths = LYSOZYME.intensities(hkl)
    for mate in (-hkl, hkl[:, [1, 0, 2]], hkl * [-1, 1, 1], hkl * [1, 1, -1]):
        assert np.array_equal(LYSOZYME.intensities(mate), strengths)
    axial = LYSOZYME.intensities(np.array([[0, 0, n] for n in range(1, 13)]))
    assert np.array_equal(np.flatnonzero(axial) + 1, [4, 8, 12])
    assert np.array_equal(LYSOZYME.intensities(np.array([[n, 0, 0] for n in range(1, 7)])) > 0, [0, 1, 0, 1, 0, 1])


def test_intensities_are_exponentially_distributed_with_mean_one() -> None:
    h, k, ell = np.meshgrid(np.arange(1, 40), np.arange(1, 40), np.arange(1, 20), indexing="ij")
    unique = (h > k).ravel()
    strengths = LYSOZYME.intensities(np.stack([h, k, ell], -1).reshape(-1, 3)[unique])
    n = len(strengths)
    assert strengths.mean() == pytest.approx(1.0, abs=5 / math.sqrt(n))
    assert (strengths**2).mean() == pytest.approx(2.0, abs=5 * math.sqrt(20 / n))
    assert not np.array_equal(replace(LYSOZYME, seed=1).intensities(np.array([[1, 2, 3]])), strengths[:1])


@pytest.mark.parametrize(
    ("lattice", "cell", "absent"),
    [
        (Lattice("monoclinic", "C", "b"), (60, 40, 50, 90, 100, 90), lambda h, k, el: (h + k) % 2 == 1),
        (
            Lattice("orthorhombic", "F"),
            (40, 50, 60, 90, 90, 90),
            lambda h, k, el: ((h + k) % 2 == 1) | ((k + el) % 2 == 1),
        ),
        (Lattice("cubic", "I"), (70, 70, 70, 90, 90, 90), lambda h, k, el: (h + k + el) % 2 == 1),
        (Lattice("hexagonal", "H", "c"), (70, 70, 90, 90, 90, 120), lambda h, k, el: (-h + k + el) % 3 != 0),
        (Lattice("rhombohedral", "R"), (50, 50, 50, 80, 80, 80), lambda h, k, el: h > 99),
        (Lattice("tetragonal", "I", "a"), (90, 50, 50, 90, 90, 90), lambda h, k, el: (h + k + el) % 2 == 1),
        (Lattice("triclinic", "P"), (30, 40, 50, 80, 95, 110), lambda h, k, el: h > 99),
    ],
    ids=lambda value: value.lattice_type if isinstance(value, Lattice) else "",
)
def test_centring_decides_what_is_absent(lattice: Lattice, cell: tuple[float, ...], absent: object) -> None:
    specimen = Specimen.make(UnitCell(*cell[:3], *np.radians(cell[3:]), lattice))  # type: ignore[arg-type]
    hkl = np.random.default_rng(2).integers(-9, 10, (300, 3))
    hkl = hkl[np.any(hkl != 0, axis=1)]
    assert np.array_equal(specimen.intensities(hkl) == 0, absent(*hkl.T))
    # the operators are symmetries of the cell itself
    real = specimen.cell.real_space_angstrom
    metric = real @ real.T
    for rotation in specimen.rotations:
        assert np.allclose(rotation.T @ metric @ rotation, metric, rtol=1e-9, atol=1e-6)


def test_an_unknown_space_group_is_named() -> None:
    with pytest.raises(UserError, match="P 99"):
        Specimen.make(LYSOZYME_CELL, "P 99")


def test_a_space_group_that_does_not_fit_the_cell_is_refused() -> None:
    with pytest.raises(UserError, match="does not have the symmetry"):
        Specimen.make(LYSOZYME_CELL, "P 2 3")


def test_a_truth_file_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    truths = [f.truth for f in Simulation(Settings(seed=2), flat(), LYSOZYME).frames(6, pixels=False)]
    write_truth(path, truths)
    back = read_truth(path)
    assert list(back) == [t.event for t in truths]
    for truth in truths:
        other = back[truth.event]
        assert other.as_json() == truth.as_json()
        assert np.array_equal(other.spots.hkl, truth.spots.hkl)
        assert (other.real_space_angstrom is None) == (truth.real_space_angstrom is None)
    with path.open("ab") as file:
        file.write(b'{"event": "cut sho')
    assert list(read_truth(path)) == [t.event for t in truths]


def test_a_truth_file_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write the truth"):
        write_truth(tmp_path / "nowhere" / "truth.jsonl", [])
