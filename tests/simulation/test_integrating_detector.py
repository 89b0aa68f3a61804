"""A detector that integrates: charge that spreads, noise and pedestal, against what the settings ask for."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.records import DetGeom, Panel
from stages.simulation._kernels import charge
from stages.simulation._kernels.photons import Places
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings

COUNTER = Settings(seed=3, hits=1.0, energy_jitter=0.0)
INTEGRATES = replace(
    COUNTER, adu_per_photon=25.0, read_noise_adu=6.0, pedestal_adu=40.0, charge_sigma_px=0.2, dtype="f4"
)


def image(chosen: Settings, number: int = 0, size: str = "400x300") -> np.ndarray:
    """One frame's pixels."""
    return Apparatus.make(chosen, size=size, distance_mm=60.0).simulation.frame(number).arrays["detector_data"]


def test_noise_and_pedestal_are_as_asked_and_the_photons_are_those_of_a_counter() -> None:
    photons = image(COUNTER).astype(float)
    noise = image(replace(INTEGRATES, charge_sigma_px=0.0)) - 25.0 * photons - 40.0
    assert noise.mean() == pytest.approx(0.0, abs=4 * 6.0 / math.sqrt(noise.size))
    assert noise.std() == pytest.approx(6.0, rel=0.01)
    beside = np.mean(noise[:, 1:] * noise[:, :-1])
    assert abs(beside) < 4 * 36.0 / math.sqrt(noise.size)


def test_a_frame_is_the_same_whenever_it_is_made_and_noise_another_in_every_frame() -> None:
    assert np.array_equal(image(INTEGRATES), image(INTEGRATES))
    dark = replace(INTEGRATES, hits=0.0, background=1e-6)
    assert np.abs(np.corrcoef(image(dark, 0).reshape(-1), image(dark, 1).reshape(-1))[0, 1]) < 0.02


def test_spread_charge_is_smoother_than_photons_and_no_less() -> None:
    """The variance of pixels falls by what the sums of squared shares say, and neighbours go together."""
    flat = replace(COUNTER, hits=0.0, charge_sigma_px=0.4, dtype="f4")
    photons, spread = (
        image(replace(flat, charge_sigma_px=0.0, dtype="i4"), 0).astype(float),
        image(flat, 0).astype(float),
    )
    inner = (slice(20, -20), slice(20, -20))
    assert spread[inner].sum() == pytest.approx(photons[inner].sum(), rel=0.005)
    table = charge.shares(0.4)
    smaller = float(np.mean(np.sum(table**2, axis=1))) ** 2
    # the background is not flat; the difference of neighbours two apart does not see it
    variance = [np.var(a[:, 3:] - a[:, :-3]) / 2 for a in (photons, spread)]
    beside = float(np.mean(np.sum(table[:, 1:] * table[:, :-1], axis=1))) * float(np.mean(np.sum(table**2, axis=1)))
    assert variance[1] / variance[0] == pytest.approx(smaller, rel=0.05)
    mean = photons.mean()
    assert np.mean((spread[:, 1:] - mean) * (spread[:, :-1] - mean)) > 0.5 * beside * mean


@settings(deadline=None, max_examples=40)
@given(sigma=st.floats(0.02, 2.0), photons=st.integers(1, 400), fs=st.integers(0, 29), ss=st.integers(0, 24))
def test_the_charge_of_a_pixel_stays_on_its_panel_and_around_the_pixel(sigma, photons, fs, ss) -> None:
    width, height, margin = 30, 25, 3
    array, out = np.zeros((height, width + 2 * margin), np.int32), np.zeros((height, width + 2 * margin), np.float32)
    array[ss, margin + fs] = photons
    place = Places(width, height, margin, 1, width + 2 * margin)
    table = charge.shares(sigma)
    charge.spread(array.reshape(-1), place, table, np.uint64(5), out.reshape(-1))
    assert (out[:, :margin] == 0).all()
    assert (out[:, -margin:] == 0).all()
    reach = table.shape[1] // 2
    assert out.sum() <= photons * (1 + 1e-5)
    if reach <= min(fs, width - 1 - fs, ss, height - 1 - ss):
        assert out.sum() == pytest.approx(photons, rel=1e-5)
        at = np.array([(out.sum(axis=0) * np.arange(out.shape[1])).sum(), (out.sum(axis=1) * np.arange(height)).sum()])
        spread_px = math.sqrt(sigma**2 + 1 / 12) / math.sqrt(photons)
        assert np.abs(at / photons - [fs + margin, ss]).max() < 5 * spread_px


def test_pixels_that_switch_their_gain_have_the_noise_of_their_stage() -> None:
    stages = replace(COUNTER, read_noise_adu=0.02, gain_stages=((20.0, 0.5), (60.0, 3.0)), dtype="f8", background=12.0)
    photons = image(replace(stages, read_noise_adu=0.0, gain_stages=(), dtype="i4")).astype(float)
    noise = image(stages) - photons
    for low, high, expected in ((0, 20, 0.02), (20, 60, 0.5), (60, 1e9, 3.0)):
        of_stage = noise[(photons >= low) & (photons < high)]
        assert len(of_stage) > 200
        assert of_stage.std() == pytest.approx(expected, rel=0.15)


def test_whole_numbers_are_rounded_and_clipped_to_their_type() -> None:
    dark = replace(INTEGRATES, hits=0.0, background=1e-6, pedestal_adu=3.0)
    exact, sent = image(replace(dark, dtype="f8")), image(replace(dark, dtype="u2"))
    assert sent.dtype == np.uint16
    assert np.array_equal(sent, np.clip(np.rint(exact), 0, None))


def test_gaps_keep_their_value_and_panels_their_gain() -> None:
    from stages.simulation.experiment import Simulation
    from stages.simulation.specimen import LYSOZYME, LYSOZYME_SPACE_GROUP, Specimen

    panels = tuple(
        Panel(name, "detector_data", min_fs=x, max_fs=x + 99, max_ss=99, adu_per_photon=gain)
        for name, x, gain in (("left", 0, 10.0), ("right", 110, 20.0))
    )
    geom = DetGeom(
        panels,
        np.array([[-0.011, -0.005, 0.1], [0.001, -0.005, 0.1]]),
        np.array([[1e-4, 0, 0]] * 2),
        np.array([[0, 1e-4, 0]] * 2),
        9500.0,
        np.array([0.1, 0.1]),
        (np.zeros((100, 100), np.uint8),) * 2,
    )
    specimen = Specimen.make(LYSOZYME, LYSOZYME_SPACE_GROUP)
    made = replace(INTEGRATES, read_noise_adu=0.0, hits=0.0, background=10.0, pedestal_adu=7.0)
    pixels = Simulation(made, geom, specimen).frame(0).arrays["detector_data"]
    assert (pixels[:, 100:110] == -1).all()
    halves = pixels[:, 5:95].mean() - 7.0, pixels[:, 115:205].mean() - 7.0
    assert halves[1] / halves[0] == pytest.approx(2.0, rel=0.1)


def test_read_noise_counts_when_it_is_decided_which_spots_are_strong_enough_to_be_listed() -> None:
    few, many = (
        len(
            Apparatus.make(replace(COUNTER, read_noise_adu=noise, spurious=0.0), size="800x800", distance_mm=60.0)
            .simulation.frame(1, pixels=False)
            .peaks
        )
        for noise in (20.0, 0.0)
    )
    assert few < 0.5 * many
