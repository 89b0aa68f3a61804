"""From indexamajig's options to the default graph.

The graph is a chain of roles; the options choose which stage fills each role, and the table
(:mod:`stages.commands.index.table`) says which parameters they set there:

========================  =================================================================
role (name of the node)   stage
========================  =================================================================
source                    source/zmq_sub, source/zmq_req, source/zmq_pull, source/asapo, source/replay, source/files
decode                    decode/msgpack_map, decode/headers_only, or that of another ``--data-format``; decode/cbf,
                          decode/hdf5_file or decode/hdf5_file_headers for image files
geometry_map              geometry_map/map_panels
follow                    geometry_map/follow_detector, with ``--follow-detector``
resolution                geometry_map/limit_resolution, with ``--highres``
median_filter,
noise_filter, bin         peaks/median_filter, peaks/noise_filter, peaks/bin, with the options of their names
peaks                     peaks/from_message, peaks/zaef, peaks/peakfinder8, peaks/peakfinder9,
                          peaks/likelihood
validate                  peaks/validate, for peaks from the message if there are pixels
restore                   peaks/restore, if there are filters
rings                     peaks/rings, with ``--exclude-rings``
hit                       peaks/hit
index, index_lattice ...  index/pairs, index/lattice, index/file, index/auto, index/none; of a list of methods the first is
                          called index, and each passes on what those before it have found
refine                    refine/prediction
integrate                 integrate/rings, integrate/prof2d, integrate/predict_only
sink                      sink/stream_file, sink/headers_only
cells                     live/cells, if there is indexing; comes after refine, or the last index
merge                     live/merge, with ``--live-merge``; comes after integrate
detector_shift            live/detector_shift, with ``--refine-detector-shift``; comes after refine
int_diag                  live/int_diag, with ``--int-diag``; comes after integrate
groups                    live/groups, with ``--group-by``; comes after the last of integrate, refine, index and hit
diagnosis                 live/diagnosis, unless ``--no-diagnosis``; comes after the last of integrate, refine, index and hit
monitor                   live/monitor, with ``--monitor`` or ``--report``; comes there, too
========================  =================================================================

Source and decoder are chosen in ``inputs.py``, the methods in ``methods.py``; ``parameters.py`` says where values go, and
``words.py`` what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from toolz import valfilter

from pipeline import registry
from pipeline.composing.graph import Graph
from pipeline.composing.settings import with_settings
from pipeline.errors import UserError
from stages.commands.index.comparing import COMPARING, compared
from stages.commands.index.given import Given, is_given, value_of
from stages.commands.index.inputs import check_input, decoder_of, from_recording, image_format_of, source_of
from stages.commands.index.methods import index_methods, integration_method, peak_method
from stages.commands.index.parameters import nodes_of, parameters_of
from stages.commands.index.table import option
from stages.commands.index.words import keep_files_apart, make, refuse, run_options, say_what_has_no_effect

_AFTER = {
    "merge": ("integrate",),
    "int_diag": ("integrate",),
    "cells": ("refine", "index"),
    "detector_shift": ("refine",),
    "groups": ("integrate", "refine", "index", "hit"),
    "diagnosis": ("integrate", "refine", "index", "hit"),
    "monitor": ("integrate", "refine", "index", "hit"),
}
"""Roles that come after another than the one before them: the last node of the first of these roles that there is."""


def graph_from_options(options: Mapping[str, Any]) -> Graph:
    """Make the graph that a command line asks for.

    Parameters
    ----------
    options
        Python name of an option -> what was typed after it, converted to the option's type (True for a flag, a sequence
        for an option that can be repeated). None, False and empty sequences count as not given.

    Raises
    ------
    UserError
        Options that are refused, contradict each other, are missing, or have a value that the stage refuses; the text
        speaks of the options as they are typed.
    """
    values = valfilter(is_given, options)
    if values.get("peaks") == "peakfinder8-fast":
        values.update(peaks="peakfinder8", peakfinder8_fast=True)
    values = {**from_recording(values), **values}
    given = Given(values)
    rows = [option(name) for name in given.values]
    refuse(rows)
    modules = tuple(given.take("module") or ())
    for module in modules:
        registry.load_module(module)
    check_input(given)
    list_file = values.get("input")
    if list_file is not None:  # it is read once: it may be standard input
        values["input"] = value_of(option("input"), list_file)
    given.images = image_format_of(given)
    stages = dict(_stages(given))
    parameters, origins = parameters_of(given, rows, stages)
    graph = Graph((), run_options(parameters["run"], origins), modules)
    for role, stage_name in stages.items():
        graph = graph.add(make(stage_name, role, parameters[role], origins), name=role, after=_after(role, stages))
    if any(name in given for name in COMPARING):
        graph = compared(graph, values, graph_from_options)
    graph = with_settings(graph, given.take("set") or ())
    say_what_has_no_effect(given, rows, stages)
    keep_files_apart(graph, list_file)
    return graph


def _stages(given: Given) -> Iterator[tuple[str, str]]:
    """The roles in order, each with the stage that fills it."""
    no_image = bool(given.take("no_image_data"))
    peaks = peak_method(given, no_image)
    methods = tuple(index_methods(given))
    integrate = integration_method(given, no_image)
    yield "source", source_of(given)
    yield "decode", decoder_of(given, no_image)
    yield "geometry_map", "geometry_map/map_panels"
    no_diagnosis = bool(given.take("no_diagnosis"))
    if given.take("follow_detector"):
        if no_diagnosis:
            raise UserError(
                "--follow-detector goes where the diagnosis finds the detector, and --no-diagnosis leaves that out: give one "
                "of them"
            )
        yield "follow", "geometry_map/follow_detector"
    if "highres" in given:
        yield "resolution", "geometry_map/limit_resolution"
    filters = () if no_image else tuple(_filters(given, peaks))
    yield from filters
    yield "peaks", peaks
    if peaks == "peaks/from_message":
        no_validation = bool(given.take("no_revalidate"))
        if not (no_image or no_validation):
            yield "validate", "peaks/validate"
    if filters:
        yield "restore", "peaks/restore"
    if "exclude_rings" in given:
        yield "rings", "peaks/rings"
    yield "hit", "peaks/hit"
    for n, (method, stage_name) in enumerate(methods):
        yield f"index_{method}" if n else "index", stage_name
    is_indexed = methods[0][1] != "index/none"
    if is_indexed:
        if not given.take("no_refine"):
            yield "refine", "refine/prediction"
        yield "integrate", integrate
    yield "sink", "sink/headers_only" if no_image else "sink/stream_file"
    if is_indexed:
        yield "cells", "live/cells"
    if is_indexed and "no_refine" not in given and given.take("refine_detector_shift"):
        yield "detector_shift", "live/detector_shift"
    if is_indexed and integrate != "integrate/predict_only" and given.take("int_diag") not in (None, "none"):
        yield "int_diag", "live/int_diag"
    if given.take("group_by"):
        yield "groups", "live/groups"
    if not no_diagnosis:
        yield "diagnosis", "live/diagnosis"
    if given.take("live_merge"):
        if not is_indexed or integrate == "integrate/predict_only":
            raise UserError(
                "--live-merge merges integrated intensities, and without pixels, indexing or integration there are none: leave "
                "out --live-merge, or --no-image-data, --indexing=none and --integration=none"
            )
        yield "merge", "live/merge"
    if "monitor" in given or "report" in given:
        yield "monitor", "live/monitor"


def _filters(given: Given, peaks: str) -> Iterator[tuple[str, str]]:
    """What the image goes through before peaks are searched in it; all of it is undone afterwards (peaks/restore)."""
    if "median_filter" in given:
        yield "median_filter", "peaks/median_filter"
    if given.take("filter_noise"):
        yield "noise_filter", "peaks/noise_filter"
    if "bin" in given:
        if peaks == "peaks/from_message":
            raise UserError(
                "--bin: the message's own peaks are counted in the pixels that came; give --peaks=zaef, peakfinder8 or "
                "likelihood to search the binned image, or leave --bin out"
            )
        yield "bin", "peaks/bin"


def _after(role: str, stages: Mapping[str, str]) -> str | None:
    """The node after which a role comes; None for the one that stands before it."""
    for before in _AFTER.get(role, ()):
        there = nodes_of(before, stages)
        if there:
            return there[-1]
    return None
