"""Times of refinement, prediction, integration and of writing a chunk, for a lysozyme still of 4.5 Mpx, one thread."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline import Context
from pipeline.frame import Frame
from stages.integrate.predict_only import PredictOnly
from stages.integrate.prof2d import Prof2d
from stages.integrate.rings import Rings
from stages.lattices.cell import Lattice
from stages.prediction.panel_finder import PanelFinder
from stages.prediction.predict import predict
from stages.records.crystal import Crystal, Crystals
from stages.records.header import Header
from stages.records.image import Image
from stages.records.peaklist import Hit
from stages.refine.prediction import Prediction
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings
from stages.sink.stream_file import StreamFile

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def still():
    """A strong still with some 100 peaks, its crystal refined, and the same with a radius that gives some 900 reflections."""
    simulation = Apparatus.make(Settings(seed=5, hits=1.0, photons=2000.0, cell_jitter=0.0)).simulation
    frame = next(f for f in simulation.frames(pixels=False) if 90 <= len(f.peaks) <= 110)
    frame = simulation.frame(frame.number)
    known = Crystal(frame.truth.real_space_angstrom, Lattice("tetragonal", "P", "c"))
    refined = Prediction().open(Context())(Crystals((known,)), frame.peaks, frame.geom)
    finder = PanelFinder.of(frame.geom)
    radius = 900 / len(predict(refined.found[0], finder, 5e-4, reach=1.0)) * 5e-4
    wide = Crystals((replace(refined.found[0], profile_radius_per_angstrom=radius),))
    return SimpleNamespace(
        frame=frame, known=Crystals((known,)), wide=wide, finder=finder, image=Image(frame.arrays, {}), radius=radius
    )


def read_floor_ms(array):
    """The fastest pass over the frame."""
    times = []
    for _ in range(20):
        before = time.perf_counter()
        array.max()
        times.append(time.perf_counter() - before)
    return 1e3 * min(times)


def test_bench_refine(benchmark, still):
    running = Prediction().open(Context())
    benchmark.extra_info["peaks"] = len(still.frame.peaks)
    assert len(benchmark(running, still.known, still.frame.peaks, still.frame.geom)) == 1


def test_bench_predict(benchmark, still):
    found = benchmark(predict, still.wide.found[0], still.finder, still.radius, reach=1.0)
    benchmark.extra_info["reflections"] = len(found)
    assert 800 < len(found) < 1000


@pytest.mark.parametrize("stage", [Rings(), Rings(grad=True), Prof2d(cen=False)], ids=["rings", "rings-grad", "prof2d"])
def test_bench_integrate(benchmark, still, stage):
    """The stage as it is called, less prediction: extra_info has microseconds for each predicted reflection."""
    running = stage.open(Context())
    predicted = [predict(still.wide.found[0], still.finder, still.radius, reach=1.0)]
    found = benchmark(running._integrate, predicted, still.frame.geom, still.image)[0]
    benchmark.extra_info["us_per_reflection"] = 1e6 * benchmark.stats.stats.min / len(predicted[0])
    benchmark.extra_info["read_floor_ms"] = read_floor_ms(still.frame.arrays["detector_data"])
    assert len(found) > 0.8 * len(predicted[0])


def test_bench_whole_stage(benchmark, still):
    running = Rings().open(Context())
    found = benchmark(running, still.wide, still.frame.geom, still.image, still.frame.peaks)
    assert len(found.found[0].reflections) > 700


def test_bench_predict_only(benchmark, still):
    running = PredictOnly().open(Context())
    assert len(benchmark(running, still.wide, still.frame.geom, still.frame.peaks).found[0].reflections) > 700


def test_bench_chunk(benchmark, still):
    """A chunk of some 100 peaks and 900 reflections as text."""
    geom, peaks = still.frame.geom, still.frame.peaks
    crystals = Rings().open(Context())(still.wide, geom, still.image, peaks)
    frame = Frame(1, "sim // 0001").with_values(
        Header({"beam_energy": 9500.0}), geom, peaks, Hit(True, len(peaks)), crystals
    )
    chunk = benchmark(StreamFile(path=Path("none.stream")).open(Context()), frame)
    benchmark.extra_info["peaks"] = len(peaks)
    benchmark.extra_info["reflections"] = len(crystals.found[0].reflections)
    assert chunk.endswith(b"----- End chunk -----\n")
