"""What other people's reader makes of our streams."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from reciprocalspaceship.io.crystfel import StreamLoader, read_crystfel

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "sink"))

from sink_frames import make_frame, write_stream

from pipeline import Rejected
from stages.records import Crystals, DetGeom
from stages.sink.headers_only import HeadersOnly
from stages.sink.stream_file import StreamFile

FRAMES = [make_frame(n, event=f"run.h5 // {n}", reflections=(60, 40, 0, 30)[: n % 5]) for n in range(1, 10)]
BLANK = make_frame(10, peaks=0, reflections=())
REJECTED = Rejected(
    11, "photon_energy_eV = x ----- End chunk -----", 0, "rings", "stage_failed", "--- Begin crystal\n", make_frame(11)
)


def reflections_of(frames: list) -> list[tuple[object, object, object]]:
    """Frame, crystal and reflections of all crystals that have any, in order."""
    return [
        (frame, crystal, crystal.reflections)
        for frame in frames
        for crystal in frame[Crystals]
        if crystal.reflections is not None and len(crystal.reflections)
    ]


@pytest.mark.parametrize("sink", [StreamFile, HeadersOnly])
def test_reflections_are_read_with_the_values_that_were_meant(stream_path: Path, sink: type) -> None:
    write_stream(stream_path, [FRAMES[0], REJECTED, *FRAMES[1:], BLANK], sink)
    data = read_crystfel(str(stream_path), spacegroup=96, num_cpus=1)
    meant = reflections_of(FRAMES)
    assert data["BATCH"].nunique() == len(meant)
    assert len(data) == sum(len(reflections) for _, _, reflections in meant)
    data = data.reset_index()
    for batch, (frame, crystal, reflections) in enumerate(meant):
        read = data[data["BATCH"] == batch]
        np.testing.assert_array_equal(read[["H", "K", "L"]].to_numpy(), reflections.hkl)
        shown = sink is StreamFile
        np.testing.assert_allclose(read["I"].to_numpy(), reflections.intensity * shown, atol=0.0051, rtol=1e-6)
        np.testing.assert_allclose(read["SigI"].to_numpy(), reflections.sigma * shown, atol=0.0051, rtol=1e-6)
        corner = np.array([0, 500])[reflections.panel]
        np.testing.assert_allclose(read["XDET"].to_numpy(), reflections.fs + corner, atol=0.051)
        np.testing.assert_allclose(read["YDET"].to_numpy(), reflections.ss, atol=0.051)
        s1 = reflections.hkl @ crystal.reciprocal_per_angstrom + [0, 0, 1 / frame[DetGeom].wavelength_angstrom]
        np.testing.assert_allclose(read[["s1x", "s1y", "s1z"]].to_numpy(), s1, atol=2e-6)


def test_wavelengths_and_lattices_are_read_with_the_values_that_were_meant(stream_path: Path) -> None:
    write_stream(stream_path, FRAMES)
    chunks = StreamLoader(str(stream_path)).read_crystfel(num_cpus=1)
    assert len(chunks) == len(FRAMES)
    for frame, chunk in zip(FRAMES, chunks, strict=True):
        assert chunk["wavelength"] == pytest.approx(frame[DetGeom].wavelength_angstrom, rel=1e-6)
        assert len(chunk["A_matrices"]) == len(frame[Crystals])
        for crystal, columns in zip(frame[Crystals], chunk["A_matrices"], strict=True):
            np.testing.assert_allclose(columns, crystal.reciprocal_per_angstrom.T, atol=1e-7)


def test_the_target_cell_and_the_average_cell_are_read(stream_path: Path) -> None:
    write_stream(stream_path, FRAMES)
    loader = StreamLoader(str(stream_path))
    assert loader.extract_target_unit_cell() == [79.1, 79.1, 38.4, 90.0, 90.0, 90.0]
    assert loader.calculate_average_unit_cell() == pytest.approx([79.1, 79.1, 38.4, 90, 90, 90], abs=1e-3)


@pytest.fixture
def stream_path(tmp_path: Path) -> Path:
    """The reader wants the suffix."""
    return tmp_path / "out.stream"
