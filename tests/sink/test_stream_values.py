"""What is written is read back with the values that were meant."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_frames import GEOMETRY, context, make_crystal, make_frame, make_geom, told, with_reflections, write_stream

from pipeline import Frame, Rejected, RejectFrame
from pipeline.by_type import ByType
from stages.files.geom.detector import Detector
from stages.files.stream import parse_stream, read_stream
from stages.records import Crystals, DetGeom, Header, Panel, PeakList
from stages.sink._chunk import peak_resolution_per_nm
from stages.sink.headers_only import HeadersOnly
from stages.sink.stream_file import StreamFile

SINKS = [StreamFile, HeadersOnly]


def encode(frame: object, sink: type = StreamFile, **fields: object) -> str:
    """The chunk of one frame, as a stream that has nothing else."""
    chunk = sink(path=Path("unused.stream"), **fields).open(context())(frame)
    assert isinstance(chunk, bytes)
    return "CrystFEL stream format 2.3\n" + chunk.decode()


@pytest.mark.parametrize("sink", SINKS)
def test_a_round_trip_keeps_everything_to_the_printed_digits(stream: Path, sink: type) -> None:
    frames = [make_frame(n, event=f"run.h5 // {n}", reflections=(60, 0, 30)[: n % 4]) for n in range(1, 9)]
    read = read_stream(write_stream(stream, frames, sink))
    assert (read.num_cut, read.num_unreadable) == (0, 0)
    for frame, chunk in zip(frames, read.chunks, strict=True):
        geom, peaks = frame[DetGeom], frame[PeakList]
        assert (chunk.serial, chunk.event, chunk.filename, chunk.hit) == (frame.serial, frame.event, "run.h5", True)
        assert chunk.photon_energy_ev == pytest.approx(geom.photon_energy_ev, abs=1e-6)
        assert chunk.keys["average_camera_length"] == "0.120000 m"
        assert chunk.keys["num_peaks"] == str(len(peaks))
        assert chunk.peaks is not None
        offset = np.array([0, 500])[peaks.panel]
        np.testing.assert_allclose(chunk.peaks.fs, peaks.fs + offset, atol=0.00501)
        np.testing.assert_allclose(chunk.peaks.ss, peaks.ss, atol=0.00501)
        np.testing.assert_allclose(chunk.peaks.intensity, peaks.intensity, atol=0.00501)
        q = np.linalg.norm(geom.q_per_angstrom(peaks.panel, peaks.fs, peaks.ss), axis=1)
        np.testing.assert_allclose(chunk.peaks.inverse_d_per_nm, 10 * q, atol=0.00501)
        assert chunk.peaks.panel == tuple(("left", "right")[p] for p in peaks.panel)
        assert len(chunk.crystals) == len(frame[Crystals])
        for crystal, written in zip(frame[Crystals], chunk.crystals, strict=True):
            np.testing.assert_allclose(written.reciprocal_per_nm, 10 * crystal.reciprocal_per_angstrom, atol=5.1e-8)
            np.testing.assert_allclose(written.real_space_angstrom, crystal.real_space_angstrom, atol=1e-3)
            assert written.cell_nm_deg == pytest.approx((7.91, 7.91, 3.84, 90, 90, 90), abs=1e-5)
            assert written.lattice == crystal.lattice
            assert chunk.indexed_by == crystal.indexed_by
            assert written.profile_radius_per_nm == pytest.approx(0.0025)
            assert written.resolution_limit_per_nm == pytest.approx(3.1)
            assert written.det_shift_mm == (0.012, -0.034)
            assert crystal.reflections is not None
            if not len(crystal.reflections):
                assert written.reflections is None
                continue
            assert written.reflections is not None
            np.testing.assert_array_equal(written.reflections.hkl, crystal.reflections.hkl)
            offset = np.array([0, 500])[crystal.reflections.panel]
            np.testing.assert_allclose(written.reflections.fs, crystal.reflections.fs + offset, atol=0.0501)
            np.testing.assert_allclose(written.reflections.ss, crystal.reflections.ss, atol=0.0501)
            for name in ("intensity", "sigma", "peak", "background"):
                meant = getattr(crystal.reflections, name) * (sink is StreamFile)
                np.testing.assert_allclose(getattr(written.reflections, name), meant, atol=0.00501)


def test_a_triclinic_cell_keeps_its_angles_and_handedness() -> None:
    real = np.array([[43.0, 2.0, -3.0], [5.0, 52.0, 4.0], [-7.0, 6.0, 61.0]])
    frame = make_frame(1)
    crystal = replace(frame[Crystals].found[0], real_space_angstrom=real)
    (chunk,) = parse_stream(encode(frame.with_values(Crystals((crystal,), 1)))).chunks
    a, b, c = real
    angles = [np.degrees(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))) for u, v in ((b, c), (a, c), (a, b))]
    lengths = np.linalg.norm(real, axis=1) / 10
    np.testing.assert_allclose(chunk.crystals[0].cell_nm_deg, [*lengths, *angles], atol=5.1e-6)
    np.testing.assert_allclose(chunk.crystals[0].real_space_angstrom, real, atol=1e-3)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.floats()] * 4), min_size=1, max_size=20))
def test_no_intensity_whatever_breaks_a_line(values: list[tuple[float, ...]]) -> None:
    n = len(values)
    intensity, sigma, peak, background = np.array(values).T
    frame = with_reflections(
        make_frame(1, reflections=(n,)), intensity=intensity, sigma=sigma, peak=peak, background=background
    )
    text = encode(frame)
    assert max(map(len, text.split("\n"))) < 1023
    read = parse_stream(text)
    assert read.num_unreadable == 0
    (crystal,) = read.chunks[0].crystals
    kept = int((np.isfinite(intensity) & np.isfinite(sigma)).sum())
    assert int(crystal.keys["num_reflections"]) == kept == (len(crystal.reflections) if crystal.reflections else 0)
    assert int(crystal.keys["num_implausible_reflections"]) == 1 + n - kept


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.floats()] * 3), max_size=20))
def test_no_peak_whatever_breaks_a_line(values: list[tuple[float, ...]]) -> None:
    fs, ss, intensity = np.array(values).reshape(-1, 3).T
    text = encode(make_frame(1).with_values(PeakList.make([0] * len(values), fs, ss, intensity)))
    assert max(map(len, text.split("\n"))) < 1023
    read = parse_stream(text)
    assert read.num_unreadable == 0
    assert read.chunks[0].peaks is not None
    assert len(read.chunks[0].peaks) == len(values)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=1500), st.text(max_size=1500), st.text(max_size=1500))
def test_no_text_whatever_breaks_the_chunk(event: str, detail: str, value: str) -> None:
    frame = make_frame(5, event=event, note=value)
    for outcome in (frame, Rejected(5, event, 0, "node", "why", detail, frame)):
        text = encode(outcome, copy_headers=("note",))
        assert max(len(line.encode()) for line in text.split("\n")) < 1023
        assert text.splitlines() == text.split("\n")[:-1]
        (chunk,) = parse_stream(text).chunks
        assert chunk.serial == 5
        assert chunk.event
        assert chunk.hit == (outcome is frame)


def test_words_of_the_format_in_a_name_do_not_end_the_chunk() -> None:
    text = encode(make_frame(5, event="x\n----- End chunk -----\n----- Begin chunk -----\nEvent: y"))
    assert len(parse_stream(text).chunks) == 1
    assert text.count("----- End chunk -----") == 1


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (3, "header/int/key = 3"),
        (np.int16(-3), "header/int/key = -3"),
        (True, "header/int/key = 1"),
        (2.5, "header/float/key = 2.500000"),
        (np.float32(0.5), "header/float/key = 0.500000"),
        (np.array([7.25]), "header/float/key = 7.250000"),
        (float("nan"), "header/float/key = nan"),
        ("sample 4", "header/str/key = sample 4"),
        ("two\nlines", r"header/str/key = two\x0alines"),
    ],
)
def test_a_copied_header_keeps_its_kind(value: object, line: str) -> None:
    assert f"\n{line}\n" in encode(make_frame(1, key=value), copy_headers=("key",))


def test_a_header_name_with_spaces_becomes_one_word() -> None:
    assert "\nheader/int/two_words = 1\n" in encode(make_frame(1, **{"two words": 1}), copy_headers=("two words",))


@pytest.mark.parametrize("value", [None, [1, 2], {"a": 1}, np.zeros(3)])
def test_a_header_that_is_no_single_value_is_left_out_and_named_once(
    value: object, caplog: pytest.LogCaptureFixture
) -> None:
    shared = context(upstream=ByType())
    replicas = [StreamFile(path=Path("x"), copy_headers=("key", "other")).open(shared) for _ in range(3)]
    with caplog.at_level(logging.WARNING):
        chunks = [encoder(make_frame(n, key=value)) for n, encoder in enumerate(replicas, 1)]
    assert all(chunk is not None and b"header/" not in chunk for chunk in chunks)
    assert len(caplog.records) == 2
    assert "'key' is not copied from frame 1: its value is neither" in caplog.text
    assert "no key 'other'" in caplog.text


def test_a_header_that_cannot_be_decoded_does_not_cost_the_chunk() -> None:
    def broken(value: object) -> object:
        raise RejectFrame("broken_value", "it is cut short")

    frame = make_frame(1).with_values(Header({"key": b"\xff"}, broken))
    assert "header/" not in encode(frame, copy_headers=("key",))


def knowing_the_detector(**fields: object) -> Callable[[Frame], bytes | None]:
    return StreamFile(path=Path("x"), **fields).open(context(upstream=told()))


def test_headers_that_the_geometry_needs_stand_in_the_chunk() -> None:
    encoder = knowing_the_detector(copy_headers=("beam_energy", "note"))
    header = Header({"detector_distance": "120.5", "beam_energy": 9500, "note": "x"})
    chunk = encoder(make_frame(1).with_values(header))
    assert isinstance(chunk, bytes)
    assert [line for line in chunk.decode().split("\n") if line.startswith("header/")] == [
        "header/int/beam_energy = 9500",
        "header/float/detector_distance = 120.500000",
        "header/str/note = x",
    ]


def test_the_geometry_of_a_stream_holds_for_its_chunks() -> None:
    frame = make_frame(1).with_values(Header({"detector_distance": 133.0, "beam_energy": 9511.0}))
    chunk = knowing_the_detector()(frame.with_values(Detector.parse(GEOMETRY).geom_for(frame[Header])))
    assert isinstance(chunk, bytes)
    (read,) = parse_stream("CrystFEL stream format 2.3\n" + chunk.decode()).chunks
    headers = {key.split("/")[-1]: float(value) for key, value in read.keys.items() if key.startswith("header/float/")}
    geom = Detector.parse(GEOMETRY).geom_for(Header(headers))
    assert read.peaks is not None
    panel = np.array([("left", "right").index(name) for name in read.peaks.panel])
    fs = read.peaks.fs - np.array([0, 500])[panel]
    q = np.linalg.norm(geom.q_per_angstrom(panel, fs, read.peaks.ss), axis=1)
    np.testing.assert_allclose(10 * q, read.peaks.inverse_d_per_nm, atol=0.0052)


def test_a_frame_rejected_before_its_geometry_was_known_has_a_chunk() -> None:
    frame = make_frame(6).without(DetGeom, PeakList, Crystals)
    encoder = StreamFile(path=Path("x")).open(context(upstream=ByType()))
    written = encoder(Rejected(6, "e", 0, "geometry_map", "missing_key", "no clen", frame))
    assert written is not None
    (chunk,) = parse_stream("CrystFEL stream format 2.3\n" + written.decode()).chunks
    assert (chunk.serial, chunk.hit, chunk.photon_energy_ev) == (6, False, 0.0)
    assert chunk.keys["streamajig/rejected"] == "geometry_map: missing_key: no clen"
    assert "num_peaks" not in chunk.keys


@pytest.mark.parametrize(
    ("header", "energy_ev"), [({"beam_energy": 9512.5}, 9512.5), ({"beam_energy": None}, 0.0), ({}, 0.0)]
)
def test_such_a_chunk_has_the_photon_energy_if_the_message_says_it(header: dict[str, object], energy_ev: float) -> None:
    frame = Frame(6, "e").with_values(Header(header))
    chunk = knowing_the_detector()(Rejected(6, "e", 0, "geometry_map", "missing_key", "no clen", frame))
    assert isinstance(chunk, bytes)
    assert f"\nphoton_energy_eV = {energy_ev:.6f}\n" in chunk.decode()


@pytest.mark.parametrize("unknown", [np.nan, np.inf])
def test_a_crystal_of_which_little_is_known_is_written_all_the_same(unknown: float) -> None:
    frame = make_frame(1)
    crystal = replace(
        make_crystal(5, np.random.default_rng(1)),
        profile_radius_per_angstrom=unknown,
        resolution_limit_per_angstrom=unknown,
        initial_residual=unknown,
        final_residual=unknown,
        reflections=None,
    )
    text = encode(frame.with_values(Crystals((crystal,), 1)))
    assert "\nprofile_radius = 0.02000 nm^-1\n" in text
    assert "residual" not in text
    assert "diffraction_resolution_limit" not in text
    assert "\nNo integrated reflections.\n" in text


@pytest.mark.parametrize("real", [np.zeros((3, 3)), np.full((3, 3), np.nan), np.ones((3, 3))])
def test_vectors_that_span_no_cell_reject_the_frame(real: np.ndarray) -> None:
    crystal = replace(make_crystal(5, np.random.default_rng(1)), real_space_angstrom=real)
    with pytest.raises(RejectFrame, match="span no cell"):
        encode(make_frame(1).with_values(Crystals((crystal,), 1)))


def test_panel_positions_become_positions_in_the_data_array() -> None:
    geom = replace(make_geom(), panels=(Panel("a", min_fs=100, max_fs=199, min_ss=2000, max_ss=2099), Panel("b")))
    frame = make_frame(1).with_values(geom, PeakList.make([0], [0.5], [10.0], [1.0]))
    peaks = parse_stream(encode(frame)).chunks[0].peaks
    assert peaks is not None
    assert (peaks.fs[0], peaks.ss[0], peaks.panel) == (100.5, 2010.0, ("a",))


def test_a_frame_with_other_panels_is_written_with_theirs() -> None:
    encoder = StreamFile(path=Path("x")).open(context())
    other = replace(make_geom(), panels=(Panel("first"), Panel("second")))
    for geom, names in (
        (make_geom(), {"left", "right"}),
        (other, {"first", "second"}),
        (make_geom(), {"left", "right"}),
    ):
        chunk = encoder(make_frame(1).with_values(geom))
        assert isinstance(chunk, bytes)
        peaks = parse_stream("CrystFEL stream format 2.3\n" + chunk.decode()).chunks[0].peaks
        assert peaks is not None
        assert set(peaks.panel) == names


@settings(deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=300))
def test_peak_resolution_sets_a_fiftieth_aside_if_that_is_two(values: list[float]) -> None:
    aside = len(values) // 50
    wanted = sorted(values)[-1 - (aside if aside >= 2 else 0)]
    assert peak_resolution_per_nm(np.array(values)) == wanted


@pytest.mark.parametrize("sink", SINKS)
def test_several_threads_may_share_an_encoder(sink: type) -> None:
    encoder = sink(path=Path("x")).open(context())
    geoms = [make_geom(), replace(make_geom(), panels=(Panel("first"), Panel("second")))]
    frames = [make_frame(n, reflections=(200,)).with_values(geoms[n % 2]) for n in range(1, 33)]
    alone = [encoder(frame) for frame in frames]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(encoder, frames * 4)) == alone * 4


@pytest.mark.parametrize("sink", SINKS)
def test_pixels_are_never_asked_for_and_the_frame_stays_as_it_was(sink: type) -> None:
    frame = make_frame(1)
    before = {kind: id(value) for kind, value in frame.values.items()}
    peaks = frame[PeakList].fs.copy()
    encode(frame, sink)
    assert {kind: id(value) for kind, value in frame.values.items()} == before
    np.testing.assert_array_equal(frame[PeakList].fs, peaks)
