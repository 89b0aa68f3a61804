"""The study of intensities in docs/studies/integration, on a few hits: what it shows is still true."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def figures(load_study):
    return load_study("integration/study.py").main(["--quick"])


def test_visible_spots_are_predicted_where_they_are(figures):
    for source, row in figures["prediction"].items():
        assert row["recall, reach 1.7"] > 0.8, source
        assert row["recall, reach 3.0"] > 0.98, source
        assert row["position error, px"] < 0.2, source


def test_the_profile_radius_is_the_width_of_the_partiality(figures):
    for source, row in figures["prediction"].items():
        assert row["profile radius / sigma"] == pytest.approx(1.0, abs=0.15), source
        assert row["its relative spread"] < 0.25, source


@pytest.mark.parametrize("method", ["rings", "rings-grad", "rings-cen", "rings 5,6,8"])
def test_intensities_of_full_reflections_scatter_about_the_truth_as_sigma_says(figures, method):
    row = figures["pull of full reflections"][method]
    assert row["number"] > 500
    assert abs(row["mean"]) < 0.1
    assert row["deviation"] == pytest.approx(1.0, abs=0.1)
    assert row["sum / true sum"] == pytest.approx(1.0, abs=0.01)


def test_sums_alone_are_too_small(figures):
    assert figures["pull of full reflections"]["rings, sums alone"]["mean"] < -0.2


def test_measured_intensities_merge_as_well_as_true_photons(figures):
    measured = figures["plain mean"]["rings"]["R1"]
    assert measured < figures["what limits it"]["true photons of the same observations"]["R1"] + 0.03
