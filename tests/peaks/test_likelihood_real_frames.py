"""peaks/likelihood on measured frames, without being told a threshold."""

from __future__ import annotations

import gzip
from pathlib import Path

import msgpack
import numpy as np
import pytest
from peak_frames import flat_detgeom, search

from stages.peaks.likelihood import Likelihood

pytestmark = pytest.mark.shared_data


def test_the_bragg_peaks_of_a_cspad_frame_are_found(shared_data: Path):
    pixels = np.load(shared_data / "images" / "cxitut13_r10_32_cspadAsic.npy")
    found = search(Likelihood(), pixels, flat_detgeom(*pixels.shape, adu_per_photon=25.0))
    assert 5 <= len(found) <= 40
    for fs, ss, highest in zip(found.fs, found.ss, found.max_pixel, strict=True):
        around = pixels[max(int(ss) - 8, 0) : int(ss) + 9, max(int(fs) - 8, 0) : int(fs) + 9]
        deviation = np.median(np.abs(around - np.median(around)))
        assert highest > np.median(around) + 4 * 1.48 * deviation


def test_the_peaks_of_a_captured_frame_are_found_again(shared_data: Path):
    raw = gzip.decompress((shared_data / "wire" / "om" / "cheetah_streaming_req_000.msgpack.gz").read_bytes())
    message = msgpack.unpackb(raw)
    data, peaks = message["detector_data"], message["peak_list"]
    pixels = np.frombuffer(data[b"data"] if b"data" in data else data["data"], "<f4").reshape(1081, 1023)
    found = search(Likelihood(), pixels, flat_detgeom(*pixels.shape))
    fs, ss = np.array(peaks["fs"]) + 0.5, np.array(peaks["ss"]) + 0.5
    distance = np.hypot(fs[:, None] - found.fs, ss[:, None] - found.ss)
    assert (distance.min(axis=1) < 1.0).mean() > 0.95
    assert len(found) < 2.5 * len(fs)
