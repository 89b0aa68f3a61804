"""What every peak search and filter promises: no memory of a frame's size, tables cached by value."""

from __future__ import annotations

import functools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from peak_frames import add_spot, flat_detgeom, table

from pipeline import Context, RejectFrame
from pipeline.by_type import ByType
from stages.files.geom.detector import Detector
from stages.peaks._polar_cells import PolarCells
from stages.peaks._ring_map import RingMap
from stages.peaks._samples import GroupedSamples
from stages.peaks.likelihood import Likelihood
from stages.peaks.peakfinder8 import Peakfinder8
from stages.peaks.peakfinder9 import Peakfinder9
from stages.peaks.zaef import Zaef
from stages.pixels.tables import RecentTables
from stages.records.header import Header
from stages.records.image import Image

SEARCHES = {
    "peakfinder8": Peakfinder8(threshold=20, min_snr=4),
    "peakfinder8 fast": Peakfinder8(threshold=20, min_snr=4, fast=True),
    "peakfinder9": Peakfinder9(min_sig=1.0, min_snr_biggest_pix=5.0, min_snr_peak_pix=3.0),
    "zaef": Zaef(threshold=20, min_sq_gradient=100),
    "likelihood": Likelihood(),
}
every_search = pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)


@functools.cache
def spotty(seed: int = 0, height: int = 500) -> np.ndarray:
    rate = np.full((height, 600), 4.0)
    rng = np.random.default_rng(seed)
    for _ in range(30):
        fs, ss = rng.uniform(10, 590), rng.uniform(10, 490)
        add_spot(rate, fs, ss, 90.0, 1.2)
    return rng.poisson(rate).astype(np.int32)


@every_search
def test_no_memory_of_a_frames_size_is_taken_for_a_frame(search) -> None:
    images, geom = [Image.of(data=spotty(seed, 2000)) for seed in range(3)], flat_detgeom(2000, 600)
    geom = replace(geom, static_bad=geom.bad, static_key="same")
    running = search.open(Context())
    for image in images:
        assert len(running(image, geom)) > 10
    tracemalloc.start()
    try:
        for image in images:
            running(image, geom)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < images[0].array("data").nbytes / 8


@pytest.mark.parametrize("search", [Peakfinder8(threshold=20), Likelihood()], ids=["peakfinder8", "likelihood"])
def test_tables_are_made_once_for_geometries_that_are_equal(search, monkeypatch) -> None:
    get, made = RecentTables.get, []
    running = search.open(Context())
    monkeypatch.setattr(
        RecentTables, "get", lambda tables, key, make: get(tables, key, lambda: made.append(1) or make())
    )
    for _ in range(3):
        for corner in ((-300, -250), (-290, -240)):
            running(Image.of(data=spotty()), flat_detgeom(500, 600, corner=corner))
    assert len(made) == 2


@every_search
def test_negative_and_saturated_frames_do_no_harm_to_the_frame_after(search) -> None:
    geom, running = flat_detgeom(500, 600), search.open(Context())
    expected = table(running(Image.of(data=spotty()), geom))
    limits = np.iinfo(np.int32)
    rng = np.random.default_rng(1)
    for bad_frame in (
        np.full((500, 600), limits.max, np.int32),
        np.full((500, 600), limits.min, np.int32),
        -spotty(),
        rng.choice(np.array([limits.min, 0, limits.max], np.int32), (500, 600), p=[0.001, 0.998, 0.001]),
    ):
        running(Image.of(data=bad_frame), geom)
        assert np.array_equal(table(running(Image.of(data=spotty()), geom)), expected)


AHEAD = """
photon_energy = beam_energy eV
clen = distance mm
res = 10000
adu_per_photon = 1
data = data
p/min_fs = 0
p/max_fs = 599
p/min_ss = 0
p/max_ss = 499
p/corner_x = -300
p/corner_y = -250
p/fs = x
p/ss = y
bad/min_fs = 10
bad/max_fs = 30
bad/min_ss = 10
bad/max_ss = 90
bad/panel = p
"""


@pytest.mark.parametrize("search", [Peakfinder8(threshold=20), Likelihood()], ids=["peakfinder8", "likelihood"])
def test_what_follows_from_the_geometry_file_is_made_when_the_stage_opens(search, monkeypatch) -> None:
    """Though the frame's header, with energy and camera length, is not known then."""
    detector = Detector.parse(AHEAD)
    running = search.open(Context(upstream=ByType([detector])))
    geom = detector.geom_for(Header({"beam_energy": 9000, "distance": 120}))
    expected = table(search.open(Context())(Image.of(data=spotty()), geom))
    called = []
    for place in ((RecentTables, "get"), (PolarCells, "make"), (RingMap, "make"), (GroupedSamples, "choose")):
        kept = getattr(*place)

        def counting(*arguments, kept=kept, place=place):
            called.append(place[1])
            return kept(*arguments)

        monkeypatch.setattr(*place, counting)
    assert np.array_equal(table(running(Image.of(data=spotty()), geom)), expected)
    assert called == ["get"]
    assert len(expected) > 10


@pytest.mark.parametrize("search", [Peakfinder8(threshold=20), Likelihood()], ids=["peakfinder8", "likelihood"])
def test_a_frame_whose_header_moves_the_detector_is_searched_where_it_is(search) -> None:
    detector = Detector.parse(AHEAD + "detector_shift_x = shift m\n")
    running = search.open(Context(upstream=ByType([detector])))
    for shift in (0.004, 0.0, -0.01):
        geom = detector.geom_for(Header({"beam_energy": 9000, "distance": 120, "shift": shift}))
        plain = search.open(Context())(Image.of(data=spotty()), geom)
        assert np.array_equal(table(running(Image.of(data=spotty()), geom)), table(plain))


def test_a_geometry_that_a_search_refuses_is_no_error_until_a_frame_comes() -> None:
    far = [f"p{n}/corner_y = {n * 1000.5}\n" for n in range(90)]
    panels = "".join(
        f"p{n}/min_fs = 0\np{n}/max_fs = 999\np{n}/min_ss = {n}\np{n}/max_ss = {n}\np{n}/corner_x = {n * 2000}\n"
        f"p{n}/fs = x\np{n}/ss = y\n{far[n]}"
        for n in range(90)
    )
    detector = Detector.parse(
        "photon_energy = 9000 eV\nclen = 0.1 m\nres = 10000\nadu_per_photon = 1\ndata = data\n" + panels
    )
    running = Peakfinder8().open(Context(upstream=ByType([detector])))
    with pytest.raises(RejectFrame) as rejection:
        running(Image.of(data=np.zeros((90, 1000), np.int32)), detector.geom_for(Header({})))
    assert rejection.value.reason == "too_many_rings"
