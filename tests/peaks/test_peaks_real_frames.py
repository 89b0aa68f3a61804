"""What must hold on measured frames, whatever the details: the same spots by every method."""

from __future__ import annotations

import gzip
from pathlib import Path

import msgpack
import numpy as np
import pytest
from peak_frames import flat_detgeom, peakfinder8_reference, search, table

from stages.peaks.peakfinder8 import Peakfinder8
from stages.peaks.validate import Validate
from stages.peaks.zaef import Zaef
from stages.records.peaklist import PeakList

pytestmark = pytest.mark.shared_data


@pytest.fixture(scope="module")
def cspad(shared_data: Path) -> np.ndarray:
    pixels: np.ndarray = np.load(shared_data / "images" / "cxitut13_r10_32_cspadAsic.npy")
    return pixels


@pytest.fixture(scope="module")
def captured(shared_data: Path) -> tuple[np.ndarray, PeakList]:
    """A frame as OM sent it, and the peaks that OM found on it."""
    raw = gzip.decompress((shared_data / "wire" / "om" / "cheetah_streaming_req_000.msgpack.gz").read_bytes())
    message = msgpack.unpackb(raw)
    data, peaks = message["detector_data"], message["peak_list"]
    pixels = np.frombuffer(data[b"data"] if b"data" in data else data["data"], "<f4").reshape(1081, 1023)
    n = len(peaks["fs"])
    return pixels, PeakList.make([0] * n, np.array(peaks["fs"]) + 0.5, np.array(peaks["ss"]) + 0.5, peaks["intensity"])


def near(found: PeakList, others: PeakList, pixels: float) -> np.ndarray:
    """For each peak, whether one of the others is near it."""
    distance = np.hypot(found.fs[:, None] - others.fs, found.ss[:, None] - others.ss)
    near_one: np.ndarray = (distance < pixels).any(axis=1)
    return near_one


def test_both_searches_find_the_bragg_peaks_of_a_cspad_frame(cspad):
    geom = flat_detgeom(*cspad.shape)
    zaef = search(Zaef(threshold=200, min_sq_gradient=10000), cspad, geom)
    pf8 = search(Peakfinder8(threshold=200), cspad, geom)
    assert 5 <= len(zaef) <= 20
    assert 5 <= len(pf8) <= 20
    inside = (pf8.fs > 8) & (pf8.fs < 380) & (pf8.ss > 8) & (pf8.ss < 177)
    assert near(pf8.select(inside), zaef, 3.0).mean() > 0.7
    assert near(zaef, pf8, 3.0).mean() > 0.6


def test_peakfinder8_gives_the_peaks_of_the_reference_on_a_cspad_frame(cspad):
    geom = flat_detgeom(*cspad.shape)
    for options in ({"threshold": 300.0}, {"threshold": 100.0, "min_snr": 4.0}):
        found = search(Peakfinder8(**options), cspad, geom)
        expected = peakfinder8_reference([cspad], geom, **options)[:, :4]
        np.testing.assert_allclose(table(found), expected[np.lexsort((expected[:, 1], expected[:, 2]))], rtol=1e-5)


def test_the_peaks_of_a_captured_frame_are_found_again(captured):
    pixels, sent = captured
    geom = flat_detgeom(*pixels.shape)
    pf8 = search(Peakfinder8(threshold=30), pixels, geom)
    assert near(pf8, sent, 1.0).mean() > 0.95
    strong = sent.select(sent.intensity > np.median(sent.intensity))
    assert near(strong, pf8, 1.0).mean() > 0.95
    zaef = search(Zaef(threshold=30, min_sq_gradient=500), pixels, geom)
    assert near(zaef, sent, 2.0).mean() > 0.9


def test_the_peaks_that_came_with_a_captured_frame_pass_validation(captured):
    pixels, sent = captured
    height, width = pixels.shape
    kept = search(Validate(check_snr=True), pixels, flat_detgeom(height, width), sent)
    inside = (sent.fs > 8) & (sent.fs < width - 8) & (sent.ss > 8) & (sent.ss < height - 8)
    assert near(sent.select(inside), kept, 1e-9).mean() > 0.9
    assert np.corrcoef(np.log(kept.intensity), np.log(sent.select(near(sent, kept, 1e-9)).intensity))[0, 1] > 0.9
