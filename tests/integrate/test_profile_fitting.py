"""Profile fitting against a slow numpy reference, and against spots whose photons are known."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pydantic
import pytest
from detectors_and_crystals import crystal, detector
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import Context
from stages.integrate.prof2d import Prof2d
from stages.integrate.rings import Rings
from stages.prediction.panel_finder import PanelFinder
from stages.prediction.predict import predict
from stages.records.crystal import Crystals, Reflections
from stages.records.image import Image
from stages.records.peaklist import PeakList


def made_up(places):
    """Reflections at (panel, fs, ss)."""
    n = len(places)
    panel, fs, ss = np.array(places, float).reshape(n, 3).T
    hkl = np.stack([np.arange(n), np.zeros(n), np.ones(n)], axis=1).astype(np.int32)
    return Reflections(hkl, panel.astype(np.int32), fs.copy(), ss.copy(), *[np.zeros(n)] * 6)


def fitted(stage, places, array, geom):
    return stage.open(Context())._integrate([made_up(places)], geom, Image.of(d=array))[0]


def fitted_slowly(places, array, bad, radii, gain, max_adu):
    """Rossmann's profile and its fit to each reflection, by masks: {number: (I, sigma)}, saturated, implausible."""
    inner, middle, outer = (int(r) for r in radii)
    grid_y, grid_x = np.mgrid[: array.shape[0], : array.shape[1]]
    claims = np.zeros(array.shape, int)
    for _, fs, ss in places:
        claims += (grid_x - int(fs)) ** 2 + (grid_y - int(ss)) ** 2 <= inner**2
    boxes, num_saturated = {}, 0
    for n, (_, fs, ss) in enumerate(places):
        x, y = int(fs), int(ss)
        if min(x, y) < outer or x + outer >= array.shape[1] or y + outer >= array.shape[0]:
            continue
        box = np.s_[y - outer : y + outer + 1, x - outer : x + outer + 1]
        dx, dy = grid_x[box] - x, grid_y[box] - y
        r2 = dx**2 + dy**2
        v, b, c = array[box].astype(float), bad[box] != 0, claims[box]
        if (b & (r2 <= inner**2)).any():
            continue
        ring = (r2 >= middle**2) & (r2 <= outer**2) & ~b & (c == 0)
        disc = (r2 <= inner**2) & (c == 1)
        if ring.sum() < 4 or disc.sum() < 4:
            continue
        design = np.column_stack([np.ones(ring.sum()), dx[ring], dy[ring]])
        if np.linalg.matrix_rank(design) < 3:
            continue
        plane = np.linalg.lstsq(design, v[ring], rcond=None)[0]
        s2 = ((v[ring] - design @ plane) ** 2).sum() / max(ring.sum() - 3, 1)
        net = v - plane[0] - plane[1] * dx - plane[2] * dy
        saturated = v[ring | disc].max() > max_adu
        num_saturated += saturated
        if max(abs(plane[1:])) > 0.1 * abs(v[disc].max() - plane[0]):
            num_saturated -= saturated
            continue
        total, num = net[disc].sum(), disc.sum()
        sigma = math.sqrt(gain * max(abs(total), gain) + num * (1 + num / ring.sum()) * s2)
        suitable = total > 5 * sigma and not saturated
        boxes[n] = (r2 <= inner**2, disc, net, s2, ring.sum(), suitable, saturated)
    up = np.zeros((2 * outer + 1,) * 2)
    down = np.zeros_like(up)
    for _, disc, net, _, _, suitable, _ in boxes.values():
        if suitable:
            total = net[disc].sum()
            up[disc] += net[disc]
            down[disc] += total
    profile = np.divide(up, down, out=np.zeros_like(up), where=down > 0)
    if not profile.sum() > 0:
        return {}, 0, 0
    profile /= profile.sum()
    found, num_implausible = {}, 0
    for n, (_, disc, net, s2, m, _, saturated) in boxes.items():
        p = profile[disc]
        j = (p @ net[disc]) / (p @ p)
        poisson = gain * max(abs(j), gain) * max((p**3).sum(), 0)
        sigma = math.sqrt(poisson + s2 * (p @ p + p.sum() ** 2 / m)) / (p @ p)
        if saturated:
            continue
        if j < -5 * sigma:
            num_implausible += 1
            continue
        found[n] = (j, sigma)
    return found, num_saturated, num_implausible


def spots(rng, places, photons, width, shape, background):
    array = rng.poisson(background, shape).astype(np.int32)
    for (_, fs, ss), strength in zip(places, photons, strict=True):
        x, y = int(fs) - 10, int(ss) - 10
        gy, gx = np.mgrid[:21, :21] + 0.5
        one = np.exp(-((gx - fs + x) ** 2 + (gy - ss + y) ** 2) / (2 * width**2))
        array[y : y + 21, x : x + 21] += rng.poisson(strength * one / (2 * np.pi * width**2)).astype(np.int32)
    return array


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), inner=st.integers(2, 5), gap=st.integers(0, 2), crowded=st.booleans())
def test_intensities_and_sigmas_are_those_of_the_slow_reference(seed, inner, gap, crowded):
    rng = np.random.default_rng(seed)
    gain = float(rng.uniform(0.5, 3.0))
    geom = detector((1, 1), (150, 130), adu_per_photon=gain, max_adu=900.0)
    places = [(0, fs, ss) for fs, ss in zip(rng.uniform(11, 139, 40), rng.uniform(11, 119, 40), strict=True)]
    places = places if crowded else places[:8]
    array = spots(rng, places, rng.choice([5.0, 100.0, 3000.0, 30000.0], len(places)), 1.2, (130, 150), 4.0)
    geom.bad[0][rng.random((130, 150)) < 0.001] = 1
    radii = (float(inner), float(inner + gap), float(inner + gap + 3))
    got = fitted(Prof2d(int_radius=radii, cen=False, correct_tails=False), places, array, geom)
    wanted, num_saturated, num_implausible = fitted_slowly(places, array, geom.bad[0], radii, gain, 900.0)
    assert got.hkl[:, 0].tolist() == list(wanted)
    if wanted:
        assert (got.num_saturated, got.num_implausible) == (num_saturated, num_implausible)
    np.testing.assert_allclose(
        np.array([got.intensity, got.sigma]).T, np.array(list(wanted.values())).reshape(-1, 2), rtol=1e-4, atol=1e-6
    )


def grid_of_spots(rng, background=8.0):
    places = [(0, fs, ss) for fs in np.arange(15.5, 1185, 30) for ss in np.arange(15.5, 1185, 30)]
    places = [(p, fs + rng.uniform(-0.5, 0.5), ss + rng.uniform(-0.5, 0.5)) for p, fs, ss in places]
    photons = rng.choice([10.0, 100.0, 300.0, 3000.0], len(places))
    return places, photons, spots(rng, places, photons, 1.5, (1200, 1200), background)


def test_fitted_intensities_are_nearer_to_the_truth_than_sums_where_spots_are_weak():
    rng = np.random.default_rng(3)
    geom = detector((1, 1), (1200, 1200))
    places, photons, array = grid_of_spots(rng)
    summed = fitted(Rings(grad=True), places, array, geom)
    found = fitted(Prof2d(cen=False), places, array, geom)
    assert len(found) == len(summed) == len(places)
    weak = photons <= 100
    errors = [(one.intensity - photons)[weak].std() for one in (found, summed)]
    assert errors[0] < 0.85 * errors[1]
    pull = ((found.intensity - photons) / found.sigma)[photons < 1000]
    assert abs(pull.mean()) < 0.1
    assert pull.std() == pytest.approx(1.0, abs=0.1)
    strong = photons == 3000.0
    assert found.intensity[strong].mean() == pytest.approx(3000.0, rel=0.02)


def test_the_profile_makes_up_for_pixels_that_a_neighbour_claims():
    geom = detector((1, 1), (200, 200))
    places = [(0, 50.5, 50.5), (0, 120.5, 50.5), (0, 150.5, 150.5), (0, 56.5, 50.5)]
    y, x = np.mgrid[:200, :200] + 0.5
    array = np.full((200, 200), 2.0)
    for _, fs, ss in places[:3]:
        array += 5000 / (2 * np.pi) * np.exp(-((x - fs) ** 2 + (y - ss) ** 2) / 2)
    found = fitted(Prof2d(cen=False), places, array, geom)
    np.testing.assert_allclose(found.intensity[:3], 5000.0, rtol=3e-3)
    assert fitted(Rings(), places, array, geom).intensity[0] < 4990.0


def test_a_crystal_without_strong_reflections_has_no_profile_and_no_reflections():
    rng = np.random.default_rng(0)
    geom = detector((1, 1), (200, 200))
    array = rng.poisson(50.0, (200, 200))
    assert len(fitted(Prof2d(), [(0, 50.5, 50.5), (0, 100.5, 80.5)], array, geom)) == 0


def test_each_crystal_has_its_own_profile():
    rng = np.random.default_rng(4)
    geom = detector((1, 1), (400, 400))
    sharp = [(0, 40.5 + 60 * n, 40.5) for n in range(6)]
    broad = [(0, 40.5 + 60 * n, 240.5) for n in range(6)]
    array = spots(rng, sharp, [4000.0] * 6, 0.8, (400, 400), 2.0) + spots(
        rng, broad, [4000.0] * 6, 1.6, (400, 400), 0.0
    )
    running = Prof2d(cen=False).open(Context())
    both = running._integrate([made_up(sharp), made_up(broad)], geom, Image.of(d=array))
    alone = [fitted(Prof2d(cen=False), places, array, geom) for places in (sharp, broad)]
    for one, other in zip(both, alone, strict=True):
        np.testing.assert_allclose(one.intensity, other.intensity, rtol=1e-9)


def test_centring_finds_spots_that_are_not_where_they_are_predicted():
    rng = np.random.default_rng(5)
    geom = detector((1, 1), (400, 400))
    true = [(0, 40.5 + 60 * n, 40.5 + 60 * m) for n in range(6) for m in range(6)]
    array = spots(rng, true, [4000.0] * 36, 1.0, (400, 400), 2.0)
    off = [(p, fs + 2.0, ss - 2.0) for p, fs, ss in true]
    found = fitted(Prof2d(), off, array, geom)
    assert found.intensity.mean() == pytest.approx(4000.0, rel=0.03)
    assert abs(found.fs - np.array(true)[:, 1]).max() <= 1.0


def test_saturated_reflections_are_counted_and_stay_only_if_asked_for():
    rng = np.random.default_rng(6)
    geom = detector((1, 1), (300, 100), max_adu=400.0)
    places = [(0, 40.5 + 50 * n, 50.5) for n in range(5)]
    array = spots(rng, places, [1000.0, 1000.0, 1000.0, 9000.0, 1000.0], 1.0, (100, 300), 1.0)
    without, kept = (fitted(Prof2d(sat=sat), places, array, geom) for sat in (False, True))
    assert (len(without), without.num_saturated) == (4, 1)
    assert (len(kept), kept.num_saturated) == (5, 1)


def test_the_stage_predicts_as_rings_does():
    rng = np.random.default_rng(7)
    geom = detector((2, 2), (250, 250), 2e-4)
    known = crystal(rng, (50.0, 60.0, 40.0), profile_radius_per_angstrom=4e-4)
    array = rng.poisson(0.5, (500, 500)).astype(np.uint16)
    predicted = predict(known, PanelFinder.of(geom), 4e-4)
    for panel, x, y in zip(predicted.panel, predicted.fs.astype(int), predicted.ss.astype(int), strict=True):
        geom.panels[panel].view(array)[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] += 30
    peaks = PeakList.make([0] * 5, [5.0] * 5, [6.0] * 5, [1.0] * 5)
    by_rings, by_profile = (
        stage(cen=False).open(Context())(Crystals((known,)), geom, Image.of(d=array), peaks).found[0].reflections
        for stage in (Rings, Prof2d)
    )
    assert 10 < len(by_profile) <= len(by_rings)
    assert set(map(tuple, by_profile.hkl)) <= set(map(tuple, by_rings.hkl))
    off = Prof2d(cell_parameters_only=True).open(Context())(Crystals((known,)), geom, Image.of(d=array), peaks).found[0]
    assert off.reflections is None


@pytest.mark.parametrize("options", [{"int_radius": (5, 4, 7)}, {"grad": False}, {"fix_profile_radius": 0}])
def test_nonsense_is_refused(options):
    with pytest.raises(pydantic.ValidationError):
        Prof2d(**options)


def test_the_stage_is_a_value():
    stage = Prof2d(int_radius=(3, 4, 5), cen=False)
    assert pickle.loads(pickle.dumps(stage)) == stage
