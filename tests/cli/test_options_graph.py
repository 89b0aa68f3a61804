"""From options to the graph: which stages it is made of, and what is said when the options make no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from least_options import LEAST as BASE

from pipeline import UserError
from pipeline.composing.graph import Graph
from stages.commands.index.graph import graph_from_options
from stages.source.zmq_pull import ZmqPull


def stages_of(graph: Graph) -> list[str]:
    return [node.stage.stage_name for node in graph.nodes]


def test_the_default_graph_is_that_of_indexamajig() -> None:
    graph = graph_from_options(BASE)

    assert stages_of(graph) == [
        "source/zmq_req",
        "decode/msgpack_map",
        "geometry_map/map_panels",
        "peaks/zaef",
        "peaks/hit",
        "index/pairs",
        "refine/prediction",
        "integrate/rings",
        "sink/stream_file",
        "live/cells",
        "live/diagnosis",
    ]
    assert graph.names[:8] == ("source", "decode", "geometry_map", "peaks", "hit", "index", "refine", "integrate")
    assert graph.names[8:] == ("sink", "cells", "diagnosis")
    assert graph.node("cells").after == ("refine",)
    assert graph.node("cells").stage.path is None
    assert graph.node("diagnosis").after == ("integrate",)
    graph.check()


def test_the_seeds_subscribing_command_line_makes_a_whole_graph() -> None:
    graph = graph_from_options({**BASE, "zmq_request": None, "zmq_subscribe": ["ondaframedata"]})

    assert graph.source.stage.stage_name == "source/zmq_sub"
    assert graph.source.stage.subscribe == ("ondaframedata",)
    graph.check()


def test_what_is_pushed_is_pulled_with_the_bounds_of_a_subscription() -> None:
    options = {"zmq_request": None, "zmq_pull": True, "when_full": "drop_oldest", "max_queue_bytes": 1_000_000}
    graph = graph_from_options({**BASE, **options})

    assert graph.source.stage == ZmqPull(address=BASE["zmq_input"], when_full="drop_oldest", max_queue_bytes=1_000_000)
    graph.check()
    with pytest.raises(UserError, match="--zmq-pull"):
        graph_from_options({**BASE, **options, "zmq_subscribe": ["a"]})


def test_peaks_of_the_message_are_validated_unless_told_otherwise() -> None:
    assert "validate" in graph_from_options({**BASE, "peaks": "msgpack"}).names
    assert "validate" not in graph_from_options({**BASE, "peaks": "msgpack", "no_revalidate": True}).names
    assert "validate" not in graph_from_options({**BASE, "peaks": "zaef"}).names


@pytest.mark.parametrize(
    ("text", "peaks"),
    [
        ("peak_list = found/peaks\n", "peaks/from_message"),
        ("p/fs = upwards\npeak_list = found ; of a file with another problem\n", "peaks/from_message"),
        ("; peak_list = none yet\n", "peaks/zaef"),
        ("p/peak_list = of a panel\n", "peaks/zaef"),
        ("\0peak_list = in a data file\n", "peaks/zaef"),
    ],
)
def test_a_geometry_with_a_peak_list_has_the_peaks_taken_from_the_messages(
    tmp_path: Path, text: str, peaks: str
) -> None:
    (tmp_path / "a.geom").write_text(text)

    assert peaks in stages_of(graph_from_options({**BASE, "geometry": tmp_path / "a.geom"}))
    assert "peaks/zaef" in stages_of(graph_from_options({**BASE, "geometry": tmp_path / "a.geom", "threshold": 9.0}))


@pytest.mark.parametrize("peaks", [None, "msgpack"])
def test_without_image_data_nothing_reads_pixels(peaks: str | None) -> None:
    graph = graph_from_options({**BASE, "no_image_data": True, "peaks": peaks})

    assert stages_of(graph) == [
        "source/zmq_req",
        "decode/headers_only",
        "geometry_map/map_panels",
        "peaks/from_message",
        "peaks/hit",
        "index/pairs",
        "refine/prediction",
        "integrate/predict_only",
        "sink/headers_only",
        "live/cells",
        "live/diagnosis",
    ]
    graph.check()


@pytest.mark.parametrize("method", ["zaef", "peakfinder8", "peakfinder9"])
def test_a_peak_search_without_image_data_is_refused(method: str) -> None:
    with pytest.raises(UserError, match=f"--peaks={method} searches the pixels, and --no-image-data leaves them out"):
        graph_from_options({**BASE, "no_image_data": True, "peaks": method})


def test_the_detector_is_followed_right_behind_the_geometry_and_before_all_that_uses_it() -> None:
    graph = graph_from_options({**BASE, "follow_detector": True, "highres": 3.0})

    assert graph.names[2:5] == ("geometry_map", "follow", "resolution")
    assert graph.node("follow").stage.stage_name == "geometry_map/follow_detector"
    graph.check()


def test_the_corrected_geometry_is_beside_the_stream_and_has_its_name() -> None:
    assert graph_from_options({**BASE, "output": Path("runs/a.stream")}).node("diagnosis").stage.path == Path(
        "runs/a.corrected.geom"
    )
    assert graph_from_options({**BASE, "output": Path("/dev/null")}).node("diagnosis").stage.path is None


def test_without_the_diagnosis_nothing_can_be_followed() -> None:
    graph = graph_from_options({**BASE, "no_diagnosis": True})
    assert "diagnosis" not in graph.names
    graph.check()
    with pytest.raises(UserError, match="--no-diagnosis leaves that out"):
        graph_from_options({**BASE, "no_diagnosis": True, "follow_detector": True})


def test_no_indexing_leaves_refinement_and_integration_out(caplog: pytest.LogCaptureFixture) -> None:
    graph = graph_from_options({**BASE, "indexing": "none"})

    assert graph.names == ("source", "decode", "geometry_map", "peaks", "hit", "index", "sink", "diagnosis")
    assert graph.node("diagnosis").after == ("index",)
    assert graph.node("index").stage.stage_name == "index/none"
    assert "--pdb has no effect" in caplog.text
    graph.check()


def test_without_a_cell_the_cell_is_looked_for_and_written_beside_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "streamajig"):
        graph = graph_from_options({**BASE, "pdb": None, "output": Path("runs/a.stream")})

    assert graph.node("index").stage.stage_name == "index/auto"
    assert graph.node("cells").stage.path == Path("runs/a.cell")
    assert "no unit cell is given" in caplog.text
    graph.check()
    elsewhere = graph_from_options({**BASE, "pdb": None, "found_cell": Path("b.cell")})
    assert elsewhere.node("cells").stage.path == Path("b.cell")


def lattice_alone(folder: Path) -> Path:
    path = folder / "tetragonal.cell"
    path.write_text("CrystFEL unit cell file version 1.0\nlattice_type = tetragonal\ncentering = P\nunique_axis = c\n")
    return path


def test_a_cell_file_without_parameters_restricts_the_search_without_a_cell(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = {**BASE, "pdb": lattice_alone(tmp_path), "output": Path("runs/a.stream"), "tolerance": "3,3,3,1"}
    with caplog.at_level("INFO", "streamajig"):
        graph = graph_from_options(given)
    index = graph.node("index").stage
    assert index.stage_name == "index/auto"
    assert index.lattice_file == tmp_path / "tetragonal.cell"
    assert index.tolerance[0] == 3.0
    assert graph.node("cells").stage.path == Path("runs/a.cell")
    assert "tetragonal.cell has a lattice type and no parameters: the cell is looked for, of that type" in caplog.text
    assert "no effect" not in caplog.text
    graph.check()
    lattice = graph_from_options({**BASE, "pdb": lattice_alone(tmp_path), "indexing": "lattice"}).node("index").stage
    assert lattice.lattice_file == tmp_path / "tetragonal.cell"


def test_a_search_with_a_cell_needs_more_than_a_lattice_type(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        graph_from_options({**BASE, "pdb": lattice_alone(tmp_path), "indexing": "pairs"})
    assert str(caught.value) == (
        f"--indexing=pairs: pairs needs a whole unit cell, and {tmp_path}/tetragonal.cell has a lattice type and no "
        "parameters: add a, b, c, al, be and ga, or search without a cell (--indexing=auto or lattice)"
    )


def test_methods_in_turn_are_a_chain_of_nodes() -> None:
    graph = graph_from_options(
        {
            **BASE,
            "indexing": "file,pairs,lattice",
            "fromfile_input_file": Path("a.sol"),
            "multi": True,
            "no_retry": True,
            "no_check_peaks": True,
        }
    )

    assert graph.names[5:8] == ("index", "index_pairs", "index_lattice")
    assert stages_of(graph)[5:8] == ["index/file", "index/pairs", "index/lattice"]
    assert graph.node("index_lattice").after == ("index_pairs",)
    assert graph.node("refine").after == ("index_lattice",)
    assert graph.node("index").stage.file == Path("a.sol")
    for name in ("index_pairs", "index_lattice"):
        assert graph.node(name).stage.multi
        assert not graph.node(name).stage.retry
    for name in ("index", "index_pairs", "index_lattice"):
        assert not graph.node(name).stage.check_peaks
    assert Graph.from_yaml(graph.to_yaml()) == graph
    graph.check()


def test_cells_are_gathered_after_the_last_method_where_nothing_is_refined() -> None:
    graph = graph_from_options({**BASE, "indexing": "pairs,lattice", "no_refine": True})

    assert graph.node("cells").after == ("index_lattice",)
    graph.check()


@pytest.mark.parametrize("method", ["pairs,pairs", "pairs,none", "none,pairs", "lattice,lattice"])
def test_a_list_of_methods_that_makes_no_sense_is_refused(method: str) -> None:
    with pytest.raises(UserError, match=f"--indexing={method}: name each method once, and none alone"):
        graph_from_options({**BASE, "indexing": method})


def test_auto_in_a_list_is_the_method_that_it_stands_for() -> None:
    base = {**BASE, "indexing": "file,auto", "fromfile_input_file": Path("a.sol")}

    assert stages_of(graph_from_options(base))[5:7] == ["index/file", "index/pairs"]
    assert stages_of(graph_from_options({**base, "pdb": None}))[5:7] == ["index/file", "index/auto"]


def test_indexing_from_a_file_needs_the_file() -> None:
    with pytest.raises(UserError, match=r"index/file: parameter 'file': .*: give --fromfile-input-file"):
        graph_from_options({**BASE, "indexing": "file"})
    with pytest.raises(UserError, match=r"index/file: parameter 'file': .*: give --fromfile-input-file"):
        graph_from_options({**BASE, "indexing": "pairs,file"})


def test_a_misspelt_method_gets_a_suggestion() -> None:
    with pytest.raises(UserError, match=r"'pairz': not available here; .*; did you mean 'pairs'"):
        graph_from_options({**BASE, "indexing": "lattice,pairz"})


def test_a_method_that_needs_a_cell_says_so() -> None:
    with pytest.raises(UserError, match="--indexing=pairs: pairs needs a unit cell: give -p"):
        graph_from_options({**BASE, "pdb": None, "indexing": "pairs"})


@pytest.mark.parametrize("method", ["xgandalf", "mosflm,asdf", "pairz", "", "index/pairs"])
def test_an_indexing_method_that_is_not_here_is_refused_with_those_that_are(method: str) -> None:
    if method:
        with pytest.raises(UserError, match=f"--indexing={method}: .*not available here; the methods are .*pairs.*"):
            graph_from_options({**BASE, "indexing": method})
    else:
        assert graph_from_options({**BASE, "indexing": method}) == graph_from_options(BASE)


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        ("hdf5", "takes peaks that are in HDF5 files"),
        ("cxi", "takes peaks that are in HDF5 files"),
        ("none", "is refused: .*--indexing=none"),
    ],
)
def test_other_peak_methods_are_refused_by_name(method: str, wanted: str) -> None:
    with pytest.raises(UserError, match=f"--peaks={method} {wanted}"):
        graph_from_options({**BASE, "peaks": method})


def test_the_fast_peakfinder8_can_be_asked_for_in_two_ways() -> None:
    by_name = graph_from_options({**BASE, "peaks": "peakfinder8-fast", "threshold": 20.0})
    by_option = graph_from_options({**BASE, "peaks": "peakfinder8", "threshold": 20.0, "peakfinder8_fast": True})

    assert by_name == by_option
    assert by_name.node("peaks").stage.fast
    assert not graph_from_options({**BASE, "peaks": "peakfinder8"}).node("peaks").stage.fast


def test_a_misspelt_peak_method_gets_a_suggestion() -> None:
    with pytest.raises(UserError, match="--peaks=peakfinder_8: there is no such method; did you mean 'peakfinder8'"):
        graph_from_options({**BASE, "peaks": "peakfinder_8"})


@pytest.mark.parametrize("method", ["rings", "rings-nocen", "rings-nocen-nosat-nograd"])
def test_rings_integration_may_be_spelt_out(method: str) -> None:
    assert graph_from_options({**BASE, "integration": method}) == graph_from_options(BASE)


@pytest.mark.parametrize("method", ["rings-cen-grad", "rings-sat", "rings-nocen-sat-grad"])
def test_rings_integration_takes_its_flags(method: str) -> None:
    stage = graph_from_options({**BASE, "integration": method}).node("integrate").stage

    flags = method.split("-")[1:]
    assert (stage.cen, stage.sat, stage.grad) == ("cen" in flags, "sat" in flags, "grad" in flags)


@pytest.mark.parametrize(
    ("method", "wanted"),
    [("wrings", "there are rings, prof2d, none"), ("rings-ken", "-ken is not known")],
)
def test_an_integration_that_is_not_here_is_refused(method: str, wanted: str) -> None:
    with pytest.raises(UserError, match=f"--integration={method}: .*{wanted}"):
        graph_from_options({**BASE, "integration": method})


def test_integration_none_predicts_only() -> None:
    graph = graph_from_options({**BASE, "integration": "none"})

    assert graph.node("integrate").stage.stage_name == "integrate/predict_only"
    assert graph.node("sink").stage.stage_name == "sink/stream_file"
    graph.check()


def test_radii_of_integration_hold_for_peaks_too_unless_peaks_have_their_own() -> None:
    both = graph_from_options({**BASE, "int_radius": "2,4,6"})
    own = graph_from_options({**BASE, "int_radius": "2,4,6", "peak_radius": "3,5,7"})

    assert both.node("peaks").stage.peak_radius == both.node("integrate").stage.int_radius == (2.0, 4.0, 6.0)
    assert own.node("peaks").stage.peak_radius == (3.0, 5.0, 7.0)
    assert own.node("integrate").stage.int_radius == (2.0, 4.0, 6.0)


def test_a_resolution_limit_stands_behind_the_geometry_for_all_that_follows() -> None:
    graph = graph_from_options({**BASE, "highres": 2.0})

    assert graph.names[2:5] == ("geometry_map", "resolution", "peaks")
    graph.check()


def test_four_tolerances_mean_the_last_for_all_angles() -> None:
    graph = graph_from_options({**BASE, "tolerance": "1,2,3,4"})

    assert graph.node("index").stage.tolerance == (1.0, 2.0, 3.0, 4.0, 4.0, 4.0)


INPUT_ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "files and ZeroMQ": ({"input": "a.lst"}, r"--input \(-i\) and --zmq-input exclude each other"),
    "a missing list": (
        {"input": "a.lst", "zmq_input": None, "zmq_request": None},
        "--input: cannot read a.lst: No such file",
    ),
    "a missing message": (
        {"input": "a.bin", "zmq_input": None, "zmq_request": None},
        "--input: there is no file a.bin",
    ),
    "no input": ({"zmq_input": None, "zmq_request": None}, "there is no input: give --zmq-input"),
    "both sockets": ({"zmq_subscribe": ["a"]}, "--zmq-request and --zmq-subscribe exclude each other"),
    "pushed and asked for": ({"zmq_pull": True}, "--zmq-request and --zmq-pull exclude each other"),
    "neither socket": (
        {"zmq_request": None},
        "--zmq-input needs either --zmq-request.* or --zmq-subscribe.* or --zmq-pull",
    ),
    "no geometry": ({"geometry": None}, "there is no geometry file"),
    "no output": ({"output": None}, "there is no output file"),
}


@pytest.mark.parametrize("case", INPUT_ERRORS)
def test_options_that_make_no_sense_together_are_explained(case: str) -> None:
    changes, wanted = INPUT_ERRORS[case]

    with pytest.raises(UserError, match=wanted):
        graph_from_options({**BASE, **changes})


def test_everything_that_is_missing_is_said_at_once() -> None:
    with pytest.raises(UserError) as error:
        graph_from_options({})

    assert [line.partition(":")[0] for line in str(error.value).splitlines()] == [
        "there is no input",
        "there is no geometry file",
        "there is no output file",
    ]


def test_recorded_messages_are_read_from_a_list_a_folder_or_one_by_one(tmp_path: Path) -> None:
    files = [tmp_path / "1.msgpack", tmp_path / "2.bin.gz"]
    for file in files:
        file.write_bytes(b"\x80")
    (tmp_path / "all.lst").write_text(f"{files[0]}\n\n{files[1]}\n")
    base = {**BASE, "zmq_input": None, "zmq_request": None}

    for typed, wanted in ((tmp_path / "all.lst", files), (tmp_path, [tmp_path]), (files[0], files[:1])):
        graph = graph_from_options({**base, "input": str(typed)})
        assert graph.source.stage.stage_name == "source/replay"
        assert graph.source.stage.files == tuple(wanted)
        graph.check()


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"image.tif //3\n", "lists 'image.tif //3', which is neither an image file"),
        (b"\x89HDF\xff", "not a list"),
        (b" \n", "no files"),
    ],
)
def test_lists_of_anything_else_are_refused(tmp_path: Path, content: bytes, wanted: str) -> None:
    (tmp_path / "images.lst").write_bytes(content)

    with pytest.raises(UserError, match=f"^--input: .*{wanted}"):
        graph_from_options({**BASE, "zmq_input": None, "zmq_request": None, "input": str(tmp_path / "images.lst")})


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"min_peaks": -1}, "^--min-peaks: .*found -1"),
        ({"int_radius": "5,4"}, "^--int-radius: '5,4' should be 3 numbers"),
        ({"int_radius": "7,5,4"}, "^--int-radius: '7,5,4': the radii should grow"),
        ({"peak_radius": "a,b,c"}, "^--peak-radius: 'a,b,c' should be 3 numbers"),
        ({"tolerance": "1,2,3"}, "^--tolerance: '1,2,3' should be"),
        ({"j": 0}, "^-j: 0 should be 1 or more"),
        ({"max_frames": 0}, "^--max-frames: .*found 0"),
        ({"no_data_timeout": -1.0}, "^--no-data-timeout: .*found -1"),
        ({"when_full": "explode", "zmq_request": None, "zmq_subscribe": ["a"]}, "^--when-full: .*found 'explode'"),
        ({"data_format": "tiff"}, "^--data-format: 'tiff' is not read; there are: cbf"),
        ({"data_format": "cbf", "peaks": "msgpack"}, "^--peaks=msgpack takes peaks .* --data-format=cbf has none"),
        ({"data_format": "npy", "no_image_data": True}, "^--no-image-data takes peaks .* --data-format=npy has none"),
        ({"int_diag": "sometimes"}, "^--int-diag: .*'sometimes' is no condition: give none, all"),
        ({"j": 2, "backend": "serial"}, "^-j and --backend say the same thing"),
        ({"refine": True, "no_refine": True}, "^--refine and --no-refine contradict each other"),
    ],
)
def test_a_value_that_is_refused_is_explained_under_the_name_of_its_option(
    changes: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(UserError, match=wanted):
        graph_from_options({**BASE, **changes})


def test_an_option_without_effect_gives_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    graph_from_options(
        {**BASE, "peaks": "msgpack", "indexing": "none", "threshold": 10.0, "push_res": 1.0, "no_refine": True}
    )

    assert "--threshold has no effect with peaks/from_message" in caplog.text
    assert "--push-res has no effect without integrate" in caplog.text
    assert "--no-refine has no effect in this graph" in caplog.text


def test_a_tolerance_without_a_cell_is_said_where_it_has_no_effect(caplog: pytest.LogCaptureFixture) -> None:
    base = {**BASE, "pdb": None, "tolerance": "1,1,1,1", "no_check_cell": True, "fromfile_input_file": Path("a.sol")}
    from_file = graph_from_options({**base, "indexing": "file"}).node("index").stage

    assert from_file == graph_from_options({**base, "indexing": "file", "tolerance": None}).node("index").stage
    assert "--tolerance has no effect with index/file without --pdb" in caplog.text
    assert "--no-check-cell has no effect with index/file without --pdb" in caplog.text
    graph_from_options({**base, "indexing": "lattice"})
    assert "--tolerance has no effect with index/lattice\n" in caplog.text
    caplog.clear()
    auto = graph_from_options({**base, "indexing": "auto", "fromfile_input_file": None}).node("index").stage
    assert (auto.tolerance[0], auto.check_cell) == (1.0, False)  # the cell that is found counts
    assert "no effect" not in caplog.text


def test_msgpack_may_be_asked_for_as_crystfel_needs_it(caplog: pytest.LogCaptureFixture) -> None:
    assert graph_from_options({**BASE, "data_format": "msgpack"}) == graph_from_options(BASE)
    assert not caplog.text


def test_a_module_of_ones_own_goes_into_the_graph(tmp_path: Path) -> None:
    module = tmp_path / "stages_for_option_module.py"
    module.write_text("LOADED = True\n")

    assert graph_from_options({**BASE, "module": [str(module)]}).modules == (str(module),)
    with pytest.raises(UserError, match=r"there is no file .*nowhere\.py"):
        graph_from_options({**BASE, "module": [str(tmp_path / "nowhere.py")]})


@settings(max_examples=30)  # each makes and checks a whole graph
@given(
    peaks=st.sampled_from(["zaef", "peakfinder8", "msgpack"]),
    min_peaks=st.integers(0, 1000),
    threshold=st.floats(0.001, 1e9),
    radius=st.integers(1, 9),
    frames=st.none() | st.integers(1, 10**9),
    workers=st.integers(1, 64),
    headers=st.lists(st.text("abcß/_: #'\"", min_size=1, max_size=8), max_size=3),
    no_refine=st.booleans(),
)
def test_every_graph_of_options_survives_its_yaml(
    peaks: str,
    min_peaks: int,
    threshold: float,
    radius: int,
    frames: int | None,
    workers: int,
    headers: list[str],
    no_refine: bool,
) -> None:
    graph = graph_from_options(
        {
            **BASE,
            "peaks": peaks,
            "min_peaks": min_peaks,
            "threshold": threshold if peaks != "msgpack" else None,
            "int_radius": f"{radius},{radius + 1},{radius + 3}",
            "max_frames": frames,
            "j": workers,
            "copy_header": headers,
            "no_refine": no_refine,
        }
    )

    assert Graph.from_yaml(graph.to_yaml()) == graph
    graph.check()
