"""The study of detectors in docs/studies/peaks, on a frame or two of each: what it shows is still true."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(load_study):
    return load_study("peaks/detectors.py")


@pytest.fixture(scope="module")
def figures(study):
    study.SIZE = "900x900"
    return {name.split()[0]: rows for name, rows in study.main(["--hits", "2", "--blanks", "1"]).items()}


def share(part: int, whole: int) -> float:
    return part / max(whole, 1)


def test_likelihood_finds_more_than_the_others_on_every_detector_and_hardly_a_false_peak(figures):
    assert len(figures) == 4
    for detector, rows in figures.items():
        best = rows["likelihood"]
        assert share(best.true, best.peaks) > 0.95, detector
        assert best.on_blanks <= 2, detector
        assert best.found == max(row.found for row in rows.values()), detector
        assert best.right == best.hits, detector


def test_peakfinder9_with_a_min_sig_of_one_and_a_third_photons_finds_spots_and_nothing_else(figures):
    for detector, floor in (("photon", 1.3), ("integrating", 32.5), ("with", 12.35), ("CCD", 5.2)):
        row = figures[detector][f"peakfinder9 min_sig={floor:g}"]
        assert row.true > 10, detector
        assert share(row.true, row.peaks) > 0.9, detector


def test_a_min_sig_that_ignores_the_unit_drowns_the_spots(figures):
    nothing = figures["with"]["peakfinder9 min_sig=0.475"]
    assert share(nothing.true, nothing.peaks) < 0.5
    counter = figures["photon"]
    assert counter["peakfinder9"].found < 0.4 * counter["peakfinder9 min_sig=1.3"].found
