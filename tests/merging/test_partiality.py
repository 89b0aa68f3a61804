"""Merging of intensities of which only a part was recorded."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from crystals_of_truth import Specimen
from hypothesis import given
from hypothesis import strategies as st

from stages.merging.crystals import Observed, Polarisation, observe
from stages.merging.merger import Merger
from stages.merging.partiality import FARTHEST, width_of
from stages.merging.shells import quality

LYSOZYME = (79.1, 79.1, 37.9, 90.0, 90.0, 90.0)


def partial_crystal(specimen: Specimen, scale: float, width: float, noise: float = 0.0) -> Observed:
    """A crystal whose reflections lie anywhere near the Ewald sphere, and are recorded accordingly."""
    whole = specimen.crystal(250, scale, noise)
    error = specimen.rng.uniform(-2.2 * width, 2.2 * width, len(whole))
    return replace(whole, error=error, intensity=whole.intensity * np.exp(-0.5 * (error / width) ** 2))


def truth_of(specimen: Specimen, merger: Merger) -> tuple[np.ndarray, np.ndarray]:
    merged = merger.merged()
    keys = observe(merged.hkl, merged.intensity, specimen.star, 9500.0, specimen.group, Polarisation(-1.0)).keys
    truth = specimen.key_truth()
    return merged.intensity, np.array([truth[key] for key in keys.tolist()])


@pytest.mark.parametrize("one_by_one", [False, True])
def test_width_scales_and_intensities_are_found_from_intensities_alone(one_by_one: bool) -> None:
    specimen = Specimen("4/mmm", LYSOZYME, "P 4 2 2", 4.0)
    crystals = [partial_crystal(specimen, g, 3.1e-4) for g in specimen.rng.lognormal(0.0, 0.6, 150)]
    merger, plain = Merger(specimen.group, partial=True), Merger(specimen.group)
    plain.add_together(crystals)
    merger.add_together(crystals[:60] if one_by_one else crystals)
    if one_by_one:
        for crystal in crystals[60:]:
            merger.add_scaled(crystal)
    assert merger.width == pytest.approx(3.1e-4, rel=0.1)
    assert plain.width == math.inf

    def r1(one: Merger) -> float:
        found, true = truth_of(specimen, one)
        return float(np.abs(found * true.sum() / found.sum() - true).sum() / true.sum())

    assert r1(merger) < 0.3 * r1(plain)
    assert quality(merger.merged()).overall.cc_half > quality(plain.merged()).overall.cc_half


def test_where_everything_is_recorded_partiality_changes_nothing() -> None:
    specimen = Specimen("4/mmm", LYSOZYME, "P 4 2 2", 4.0)
    crystals = [
        replace(one, error=specimen.rng.uniform(-5e-4, 5e-4, len(one)))
        for one in (specimen.crystal(300, g) for g in specimen.rng.lognormal(0.0, 0.6, 100))
    ]
    merger = Merger(specimen.group, partial=True)
    merger.add_together(crystals)
    found, true = truth_of(specimen, merger)
    assert merger.width > 8e-4
    assert np.corrcoef(found, true)[0, 1] > 0.998


@given(width=st.floats(2e-5, 5e-4), reach=st.floats(1.0, 2.5))
def test_the_width_is_found_whatever_it_is_and_however_far_reflections_are_predicted(
    width: float, reach: float
) -> None:
    """Errors are evenly spread: of random ones the mean square scatters, and at a reach of 1 it hardly depends on the width."""
    error = np.linspace(-reach * width, reach * width, 2001)
    assert width_of(error, np.exp(-0.5 * (error / width) ** 2)) == pytest.approx(width, rel=0.02)


def test_the_width_is_found_from_errors_at_random() -> None:
    found = []
    for seed in range(50):
        error = np.random.default_rng(seed).uniform(-5e-4, 5e-4, 20000)
        found.append(width_of(error, np.exp(-0.5 * (error / 2.5e-4) ** 2)))
    assert np.mean(found) == pytest.approx(2.5e-4, rel=0.01)
    assert np.std(found) < 0.02 * 2.5e-4


def test_nothing_is_said_where_there_is_nothing_to_tell_it_from() -> None:
    error = np.linspace(-1e-4, 1e-4, 101)
    assert math.isnan(width_of(error[:5], np.ones(5)))
    assert math.isnan(width_of(error, -np.ones(101)))
    assert math.isnan(width_of(np.full(101, math.nan), np.ones(101)))
    assert math.isnan(width_of(1.1 * FARTHEST * error / error.max(), np.ones(101)))
    assert width_of(error, np.ones(101)) == math.inf


def test_unknown_wavelengths_leave_reflections_whole() -> None:
    specimen = Specimen("4/mmm", LYSOZYME, "P 4 2 2", 4.0)
    hkl, value = specimen.draw(100)
    crystal = observe(hkl, value, specimen.star, math.nan, specimen.group, Polarisation(-1.0))
    assert np.isnan(crystal.error).all()
    merger = Merger(specimen.group, partial=True)
    merger.add_together([crystal, crystal])
    found, true = truth_of(specimen, merger)
    assert found / found.mean() == pytest.approx(true / true.mean(), rel=1e-6)


def test_the_excitation_error_is_that_of_the_ewald_sphere() -> None:
    specimen = Specimen("4/mmm", LYSOZYME, "P 4 2 2", 4.0)
    hkl, value = specimen.draw(50)
    crystal = observe(hkl, value, specimen.star, 9500.0, specimen.group, Polarisation(-1.0))
    k = 9500.0 / 12398.419843320026
    rays = hkl @ specimen.star + np.array([0.0, 0.0, k])
    np.testing.assert_allclose(crystal.error, k - np.linalg.norm(rays, axis=1), atol=1e-12)
