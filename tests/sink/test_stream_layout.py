"""Every line of a stream, against the description of the format."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from sink_frames import CELL, COMMAND_LINE, GEOMETRY, make_frame, write_stream

from pipeline import Frame, Rejected
from stages.files.stream import read_stream
from stages.records import Crystals, Hit
from stages.sink.headers_only import HeadersOnly
from stages.sink.stream_file import StreamFile

F = r"-?\d+\.\d"  # followed by the number of further digits
HEADER = [
    r"Image filename: .+",
    r"Event: .+",
    r"Image serial number: \d+",
    r"hit = [01]",
    r"indexed_by = (none|file)",
    r"(n_indexing_tries = \d+)?",
    r"(streamajig/indexed_by = \S+)?",
    r"(streamajig/rejected = .+)?",
    rf"photon_energy_eV = {F}{{6}}",
    r"beam_divergence = \d\.\d\de[-+]\d\d rad",
    r"beam_bandwidth = \d\.\d\de[-+]\d\d \(fraction\)",
    rf"(header/float/\S+ = {F}{{6}}|header/int/\S+ = -?\d+|header/str/\S+ = .*)*",
    rf"average_camera_length = {F}{{6}} m",
    r"num_peaks = \d+",
    rf"peak_resolution = {F}{{6}} nm\^-1 or ({F}{{6}}|inf) A",
]
PEAKS = [
    r"Peaks from peak search",
    r"  fs/px   ss/px \(1/d\)/nm\^-1   Intensity  Panel",
    r"([ \d.-]{7,} [ \d.-]{7,} [ \d.-]{10,}  [ \d.-]{10,}   \S+)*",
    r"End of peak list",
]
CRYSTAL = [
    r"--- Begin crystal",
    r"Cell parameters \d+\.\d{5} \d+\.\d{5} \d+\.\d{5} nm, \d+\.\d{5} \d+\.\d{5} \d+\.\d{5} deg",
    r"astar = [-+]\d\.\d{7} [-+]\d\.\d{7} [-+]\d\.\d{7} nm\^-1",
    r"bstar = [-+]\d\.\d{7} [-+]\d\.\d{7} [-+]\d\.\d{7} nm\^-1",
    r"cstar = [-+]\d\.\d{7} [-+]\d\.\d{7} [-+]\d\.\d{7} nm\^-1",
    r"lattice_type = (triclinic|monoclinic|orthorhombic|tetragonal|rhombohedral|hexagonal|cubic)",
    r"centering = [PABCIFRH]",
    r"unique_axis = [*abc]",
    r"profile_radius = \d+\.\d{5} nm\^-1",
    r"(predict_refine/initial_residual = \S+)?",
    r"(predict_refine/final_residual = \S+)?",
    r"predict_refine/det_shift x = -?\d+\.\d{3} y = -?\d+\.\d{3} mm",
    r"(diffraction_resolution_limit = \d+\.\d\d nm\^-1 or \d+\.\d\d A)?",
    r"(num_reflections = \d+)?",
    r"(num_saturated_reflections = \d+)?",
    r"(num_implausible_reflections = \d+)?",
]
REFLECTIONS = [
    r"Reflections measured after indexing",
    r"   h    k    l          I   sigma\(I\)       peak background  fs/px  ss/px panel",
    r"([ \d-]{4,} [ \d-]{4,} [ \d-]{4,}( +-?\d+\.\d\d){4}( +-?\d+\.\d){2} \S+)+",
    r"End of reflections",
]
NO_REFLECTIONS = [r"No integrated reflections\."]


def follows(lines: list[str], patterns: list[str]) -> int:
    """Match lines against patterns, `(...)?` and `(...)*` standing for none or several; return how many were used."""
    at = 0
    for pattern in patterns:
        repeated, optional = pattern.endswith((")*", ")+")), pattern.endswith((")?", ")*"))
        once = re.compile(pattern[:-1] if repeated or optional else pattern)
        least, most = 0 if optional else 1, len(lines) if repeated else 1
        used = 0
        while used < most and at < len(lines) and once.fullmatch(lines[at]):
            used, at = used + 1, at + 1
        assert used >= least, f"line {at}: {lines[at] if at < len(lines) else 'the end'!r} should look like {pattern}"
    return at


def chunks_of(path: Path) -> list[list[str]]:
    text = path.read_text()
    body = text[text.index("----- Begin chunk -----\n") :]
    assert body.endswith("----- End chunk -----\n")
    return [
        chunk.split("\n")[:-1]
        for chunk in re.findall(r"----- Begin chunk -----\n(.*?)----- End chunk -----\n", body, re.S)
    ]


@pytest.mark.parametrize("sink", [StreamFile, HeadersOnly])
def test_every_line_of_a_hit_is_as_the_format_says(stream: Path, sink: type) -> None:
    frames = [make_frame(n, reflections=(20, 5)[: n % 3], event=f"x // {n}") for n in range(1, 7)]
    write_stream(stream, frames, sink, copy_headers=("beam_energy",))
    for frame, lines in zip(frames, chunks_of(stream), strict=True):
        at = follows(lines, HEADER)
        at += follows(lines[at:], PEAKS)
        for _ in frame[Crystals]:
            at += follows(lines[at:], CRYSTAL)
            at += follows(lines[at:], REFLECTIONS)
            at += follows(lines[at:], ["--- End crystal"])
        assert at == len(lines)


def test_without_peaks_and_reflections_the_rest_stands(stream: Path) -> None:
    write_stream(stream, [make_frame(1)], no_peaks=True, no_reflections=True)
    (lines,) = chunks_of(stream)
    assert follows(lines, [*HEADER, *CRYSTAL, *NO_REFLECTIONS, "--- End crystal"]) == len(lines)


def test_a_blank_has_an_empty_peak_list_and_no_crystal(stream: Path) -> None:
    write_stream(stream, [make_frame(3, peaks=0, reflections=())])
    (lines,) = chunks_of(stream)
    assert follows(lines, [*HEADER, *PEAKS]) == len(lines)
    assert "hit = 0" in lines
    assert "indexed_by = none" in lines
    assert "num_peaks = 0" in lines
    assert "peak_resolution = 0.000000 nm^-1 or inf A" in lines
    assert not [line for line in lines if line.startswith("n_indexing_tries")]


def test_a_crystal_without_any_reflection_says_so(stream: Path) -> None:
    write_stream(stream, [make_frame(1, reflections=(0,))])
    (lines,) = chunks_of(stream)
    assert follows(lines, [*HEADER, *PEAKS, *CRYSTAL, *NO_REFLECTIONS, "--- End crystal"]) == len(lines)
    assert "num_reflections = 0" in lines


def test_a_rejected_frame_has_the_reason_and_what_was_known(stream: Path) -> None:
    frame = make_frame(4, event="e // 4")
    write_stream(stream, [Rejected(4, "e // 4", 0, "rings", "stage_failed", "it\nbroke", frame)])
    (lines,) = chunks_of(stream)
    assert follows(lines, [*HEADER, *PEAKS]) == len(lines)
    assert "hit = 0" in lines
    assert "indexed_by = none" in lines
    assert r"streamajig/rejected = rings: stage_failed: it\x0abroke" in lines


def test_the_head_is_version_program_command_geometry_cell_and_method(stream: Path) -> None:
    write_stream(stream, [])
    assert stream.read_text() == (
        "CrystFEL stream format 2.3\n"
        "Generated by streamajig 0.1.0\n"
        f"{COMMAND_LINE}\n"
        f"----- Begin geometry file -----\n{GEOMETRY}----- End geometry file -----\n"
        f"----- Begin unit cell -----\n{CELL}----- End unit cell -----\n"
        "Indexing methods selected: pairs-nolatt-cell\n"
    )


def test_a_frame_whose_hit_nobody_decided_counts_as_one(stream: Path) -> None:
    frame = make_frame(1).without(Hit)
    write_stream(stream, [frame])
    assert "\nhit = 1\n" in stream.read_text()


ACCEPTED = {"none", "dirax", "asdf", "mosflm", "xds", "felix", "taketwo", "xgandalf", "pinkIndexer", "pinkindexer"} | {
    *("simulation", "file", "ffbidx", "smallcell"),
}
"""What get_indm_from_string_2 of CrystFEL 0.12 (libcrystfel/src/index.c) takes without complaint and without an old suffix."""


@pytest.mark.parametrize(
    "method", ["pairs", "lattice", "auto", "file", "xgandalf", "pairs-nolatt-cell", "mine, of today"]
)
def test_the_method_is_one_that_crystfels_reader_accepts_and_ours_is_read_back(stream: Path, method: str) -> None:
    frame = make_frame(1, reflections=(5, 3))
    crystals = tuple(replace(crystal, indexed_by=method) for crystal in frame[Crystals])
    write_stream(stream, [frame.with_values(Crystals(crystals, 2)), make_frame(2, reflections=())])
    text = stream.read_text()
    written = re.findall(r"^indexed_by = (.*)$", text, re.M)
    assert len(written) == 2
    assert set(written) <= ACCEPTED
    assert written[0] != "none", "a crystal was found"
    assert [chunk.indexed_by for chunk in read_stream(stream).chunks] == [method, "none"]


@pytest.mark.parametrize(
    ("event", "filename", "written"),
    [
        ("/data/run_3.cxi // 0012", "/data/run_3.cxi", "/data/run_3.cxi // 0012"),
        ("shot 17", "ZMQdata", "shot 17"),
        ("", "ZMQdata", "//9"),
        ("  \n", "ZMQdata", "//9"),
        ("// 4", "ZMQdata", "// 4"),
    ],
)
def test_file_name_and_event_are_the_senders_names(stream: Path, event: str, filename: str, written: str) -> None:
    write_stream(stream, [make_frame(9, event=event)])
    lines = chunks_of(stream)[0]
    assert lines[:2] == [f"Image filename: {filename}", f"Event: {written}"]


def test_a_file_name_that_was_given_stands_in_every_chunk(stream: Path) -> None:
    write_stream(stream, [make_frame(1, event="a // 1"), make_frame(2)], filename="run 7")
    assert [lines[0] for lines in chunks_of(stream)] == ["Image filename: run 7"] * 2


def test_non_hits_and_rejections_are_left_out_if_asked(stream: Path) -> None:
    hit, blank = make_frame(1), make_frame(2, peaks=0, reflections=())
    rejected = Rejected(3, "", 0, "peaks", "broken", "it is", make_frame(3))
    write_stream(stream, [hit, blank, rejected], no_non_hits=True)
    assert [lines[2] for lines in chunks_of(stream)] == ["Image serial number: 1"]


def test_what_nobody_understood_is_no_chunk(stream: Path) -> None:
    garbage = Rejected(3, "", 0, "decode", "not_msgpack", "it is a pickle", Frame(3))
    write_stream(stream, [garbage])
    assert "Begin chunk" not in stream.read_text()
