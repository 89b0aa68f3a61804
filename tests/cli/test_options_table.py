"""The table of options: complete, consistent, and each row lands where it says."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from least_options import LEAST as BASE

from pipeline import UserError, registry
from pipeline.composing.options import RunOptions
from stages.commands.index.graph import graph_from_options
from stages.commands.index.methods import PEAK_METHODS
from stages.commands.index.options import Option, Status
from stages.commands.index.reference import reference
from stages.commands.index.table import BY_NAME, OPTIONS, PANELS, option
from stages.live.merge import Until

STAGES = {
    "source": ("source/zmq_sub", "source/zmq_req", "source/replay", "source/files", "source/asapo"),
    "decode": ("decode/msgpack_map", "decode/headers_only", "decode/hdf5_file", "decode/dectris2"),
    "geometry_map": ("geometry_map/map_panels",),
    "resolution": ("geometry_map/limit_resolution",),
    "median_filter": ("peaks/median_filter",),
    "bin": ("peaks/bin",),
    "peaks": tuple(PEAK_METHODS.values()),
    "validate": ("peaks/validate",),
    "rings": ("peaks/rings",),
    "hit": ("peaks/hit",),
    "index": ("index/pairs", "index/file"),
    "refine": ("refine/prediction",),
    "integrate": ("integrate/rings", "integrate/predict_only"),
    "sink": ("sink/stream_file", "sink/headers_only"),
    "merge": ("live/merge",),
    "cells": ("live/cells",),
    "groups": ("live/groups",),
    "diagnosis": ("live/diagnosis",),
    "monitor": ("live/monitor",),
}

HERE = str(Path(__file__).parent)

NO_ZMQ: dict[str, Any] = {"zmq_input": None, "zmq_request": None}
ASAPO = {
    **NO_ZMQ,
    "asapo_endpoint": "here:8400",
    "asapo_beamtime": "110",
    "asapo_group": "us",
    "asapo_source": "eiger",
    "asapo_stream": "run7",
}
IMAGES = {**NO_ZMQ, "input": "run7.cxi"}

EXAMPLES: dict[str, tuple[dict[str, Any], Any, Any]] = {
    # option: (what else is needed, what is typed, what the parameter becomes)
    "input": ({"zmq_input": None, "zmq_request": None}, HERE, (Path(HERE),)),
    "data_format": ({"peaks": "zaef"}, "npy", "npy"),
    "channel": ({"data_format": "dectris2", "peaks": "zaef"}, "threshold_2", "threshold_2"),
    "watch": (NO_ZMQ, "run7/*.h5", ("run7/*.h5",)),
    "prefix": (IMAGES, "/data/run7/", "/data/run7/"),
    "basename": (IMAGES, True, True),
    "no_check_prefix": (IMAGES, True, False),
    "wait_for_file": (IMAGES, 30.0, 30.0),
    "asapo_endpoint": (ASAPO, "there:8400", "there:8400"),
    "asapo_token": (ASAPO, "secret", "secret"),
    "asapo_beamtime": (ASAPO, "11", "11"),
    "asapo_group": (ASAPO, "we", "we"),
    "asapo_source": (ASAPO, "pilatus", "pilatus"),
    "asapo_stream": (ASAPO, "run8", "run8"),
    "asapo_wait_for_stream": (ASAPO, True, True),
    "asapo_consumer_timeout": (ASAPO, 3000, 3000),
    "asapo_acks": (ASAPO, True, True),
    "zmq_input": ({}, ["tcp://10.0.0.1:77", "tcp://h:78"], ("tcp://10.0.0.1:77", "tcp://h:78")),
    "zmq_subscribe": ({"zmq_request": None}, ["a", "b"], ("a", "b")),
    "zmq_request": ({}, "more", "more"),
    "zmq_server_key": ({}, "beamline.key", Path("beamline.key")),
    "zmq_secret_key": ({}, "own.key_secret", Path("own.key_secret")),
    "geometry": ({}, Path("x.geom"), Path("x.geom")),
    "replay_speed": ({"zmq_input": None, "zmq_request": None, "input": HERE}, "recorded", "recorded"),
    "record": ({}, Path("raw"), Path("raw")),
    "record_file_size": ({"record": Path("raw")}, "500MB", 500_000_000),
    "record_max_size": ({"record": Path("raw")}, "1TB", 10**12),
    "record_keep_free": ({"record": Path("raw")}, "20GB", 20 * 10**9),
    "outstanding": ({}, 7, 7),
    "sockets": ({}, 3, 3),
    "request_timeout": ({}, 12.5, 12.5),
    "sequence_key": ({}, ["shot", "frame"], ("shot", "frame")),
    "when_full": ({"zmq_request": None, "zmq_subscribe": ["x"]}, "drop_oldest", "drop_oldest"),
    "first_map_only": ({}, True, True),
    "max_message_bytes": ({}, 1_000_000, 1_000_000),
    "max_queue_bytes": ({"zmq_request": None, "zmq_subscribe": ["x"]}, 1_000_000, 1_000_000),
    "output": ({}, Path("x.stream"), Path("x.stream")),
    "live_merge": ({}, "4/mmm", "4/mmm"),
    "group_by": ({"live_merge": "4/mmm"}, "laser_on", "laser_on"),
    "monitor": ({}, 8000, 8000),
    "report": ({}, Path("x.html"), Path("x.html")),
    "group_step": ({"live_merge": "4/mmm", "group_by": "delay"}, 0.5, 0.5),
    "live_ambiguity": ({"live_merge": "4/m"}, "k,h,-l", "k,h,-l"),
    "stop_when": ({"live_merge": "4/mmm"}, "completeness=0.9,crystals=50", Until(completeness=0.9, crystals=50)),
    "no_non_hits_in_stream": ({}, True, True),
    "no_peaks_in_stream": ({}, True, True),
    "no_refls_in_stream": ({}, True, True),
    "copy_header": ({}, ["timestamp", "source"], ("timestamp", "source")),
    "in_order": ({}, True, True),
    "serial_start": ({}, 1001, 1001),
    "min_peaks": ({}, 15, 15),
    "exclude_rings": ({}, "ice,3.26", "ice,3.26"),
    "threshold": ({"peaks": "zaef"}, 120.0, 120.0),
    "min_squared_gradient": ({"peaks": "zaef"}, 1e4, 1e4),
    "min_snr": ({"peaks": "zaef"}, 6.5, 6.5),
    "min_pix_count": ({"peaks": "peakfinder8"}, 3, 3),
    "max_pix_count": ({"peaks": "peakfinder8"}, 30, 30),
    "local_bg_radius": ({"peaks": "peakfinder8"}, 5, 5),
    "min_res": ({"peaks": "peakfinder8"}, 50, 50),
    "max_res": ({"peaks": "peakfinder8"}, 800, 800),
    "peakfinder8_fast": ({"peaks": "peakfinder8"}, True, True),
    "min_snr_biggest_pix": ({"peaks": "peakfinder9"}, 9.0, 9.0),
    "min_snr_peak_pix": ({"peaks": "peakfinder9"}, 4.0, 4.0),
    "min_sig": ({"peaks": "peakfinder9"}, 1.5, 1.5),
    "min_peak_over_neighbour": ({"peaks": "peakfinder9"}, 5.0, 5.0),
    "peak_radius": ({"peaks": "zaef"}, "3,4,6", (3.0, 4.0, 6.0)),
    "no_use_saturated": ({"peaks": "zaef"}, True, False),
    "no_half_pixel_shift": ({"peaks": "msgpack"}, True, False),
    "check_hdf5_snr": ({"peaks": "msgpack"}, True, True),
    "median_filter": ({"peaks": "zaef"}, 4, 4),
    "bin": ({"peaks": "zaef"}, 2, 2),
    "pdb": ({}, Path("x.cell"), Path("x.cell")),
    "tolerance": ({}, "4,5,6,1,2,3", (4.0, 5.0, 6.0, 1.0, 2.0, 3.0)),
    "no_check_cell": ({}, True, False),
    "multi": ({}, True, True),
    "no_retry": ({}, True, False),
    "no_check_peaks": ({}, True, False),
    "no_verify_cell": ({}, True, False),
    "found_cell": ({}, Path("x.cell"), Path("x.cell")),
    "corrected_geometry": ({}, Path("x.geom"), Path("x.geom")),
    "force": ({}, True, True),
    "fromfile_input_file": ({"indexing": "file"}, Path("x.sol"), Path("x.sol")),
    "int_radius": ({}, "3,4,6", (3.0, 4.0, 6.0)),
    "push_res": ({}, 1.5, 1.5),
    "highres": ({}, 2.5, 2.5),
    "fix_profile_radius": ({}, 2e7, 2e7),
    "fix_divergence": ({}, 1e-3, 1e-3),
    "overpredict": ({}, True, True),
    "reach": ({}, 2.5, 2.5),
    "no_tail_correction": ({}, True, False),
    "int_diag": ({}, "negative", "negative"),
    "refine_detector_shift": ({}, True, True),
    "cell_parameters_only": ({}, True, True),
    "j": ({}, 4, "threads:4"),
    "backend": ({}, "serial", "serial"),
    "max_frames": ({}, 200, 200),
    "no_data_timeout": ({}, 30.0, 30.0),
    "stage_timeout": ({}, 20.0, 20.0),
    "max_worker_memory": ({"backend": "processes:2"}, "2GB", 2_000_000_000),
    "in_flight": ({}, 12, 12),
    "in_flight_bytes": ({}, "2GB", 2_000_000_000),
    "dead_letters": ({}, Path("dead"), Path("dead")),
    "max_dead_letters": ({}, 30, 30),
    "dead_letter_bytes": ({}, 5000, 5000),
    "keep_messages": ({}, True, True),
}


def fields_of(cls: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


SETTING = [row for row in OPTIONS if row.sets]


def test_every_option_of_indexamajig_is_in_the_table() -> None:
    names = (Path(__file__).parent / "indexamajig_0_12_options.txt").read_text().split()
    known = {flag for row in OPTIONS for flag in row.flags} | {"-h"}  # -h is the help itself

    assert len(names) > 150
    assert sorted(set(names) - known) == []


def test_no_spelling_stands_for_two_options() -> None:
    counted = Counter(flag for row in OPTIONS for flag in row.flags)

    assert [flag for flag, count in counted.items() if count > 1] == []
    assert len(BY_NAME) == len(OPTIONS)


@pytest.mark.parametrize("row", OPTIONS, ids=lambda row: row.name)
def test_every_row_says_what_becomes_of_the_option(row: Option) -> None:
    assert row.panel in PANELS
    assert row.help
    if row.status is Status.SUPPORTED:
        assert bool(row.sets) != row.shapes, "it goes to a parameter, or it decides about the graph"
    else:
        assert row.why, "it says why"
        assert not row.sets


@pytest.mark.parametrize("row", SETTING, ids=lambda row: row.name)
def test_every_place_that_an_option_goes_to_exists(row: Option) -> None:
    for place in (*row.sets, *row.also):
        role, _, parameter = place.partition(".")
        if role == "run":
            assert parameter in fields_of(RunOptions)
        else:
            assert any(parameter in fields_of(registry.load(name)) for name in STAGES[role]), place


def test_there_is_an_example_of_every_option_that_sets_a_parameter() -> None:
    assert sorted(EXAMPLES) == sorted(row.name for row in SETTING)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_option_lands_where_the_table_says(name: str, caplog: pytest.LogCaptureFixture) -> None:
    more, typed, wanted = EXAMPLES[name]
    graph = graph_from_options({**BASE, **more, name: typed})

    landed = []
    for place in option(name).sets:
        role, _, parameter = place.partition(".")
        owner = graph.options if role == "run" else graph.node(role).stage if role in graph.names else None
        if owner is not None and hasattr(owner, parameter):
            landed.append(getattr(owner, parameter))
    assert landed
    assert all(value == wanted for value in landed)
    assert "no effect" not in caplog.text


@pytest.mark.parametrize("row", [r for r in OPTIONS if r.status is Status.REFUSED], ids=lambda row: row.name)
def test_an_option_that_is_not_supported_is_refused_by_name(row: Option) -> None:
    typed = True if row.kind is bool else row.kind(1)

    with pytest.raises(UserError, match=f"^{row.flag} is refused: .{{10}}"):
        graph_from_options({**BASE, row.name: typed})


@pytest.mark.parametrize("row", [r for r in OPTIONS if r.status is Status.NOTED], ids=lambda row: row.name)
def test_an_option_that_changes_nothing_is_accepted_and_logged(row: Option, caplog: pytest.LogCaptureFixture) -> None:
    typed = True if row.kind is bool else row.kind(1)

    with caplog.at_level("INFO", "streamajig"):
        assert graph_from_options({**BASE, row.name: typed}) == graph_from_options(BASE)
    assert f"{row.flag} changes nothing: {row.why}" in caplog.text


def test_the_manual_is_what_the_table_says(project: Path) -> None:
    page = project / "docs" / "reference-options.md"

    assert page.read_text(encoding="utf-8") == reference(), (
        "make it anew: python -m stages.commands.index.reference > docs/reference-options.md"
    )
