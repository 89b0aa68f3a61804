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
========================  =================================================================

The rules by which options exclude or need each other stand here together, for whoever looks for one; hence the length.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pydantic
from toolz import valfilter

from pipeline import registry
from pipeline.composing.graph import Graph
from pipeline.composing.options import RunOptions
from pipeline.composing.settings import with_settings
from pipeline.errors import UserError, in_words
from pipeline.functions import must_be_given
from pipeline.hints import did_you_mean
from pipeline.parameters import names_of
from pipeline.paths import STDOUT, Named, keep_apart, of_stage
from stages.commands.index.comparing import COMPARING, compared
from stages.commands.index.options import Option, Status, image_format
from stages.commands.index.table import OPTIONS, option
from stages.files.cell import lattice_alone
from stages.files.geom.file_text import read_text
from stages.files.geom.parser import peak_list_of
from stages.files.image_list import SUFFIXES, ImageFormat
from stages.wire.formats import DECODERS, WITH_PEAKS
from stages.wire.recording.reading import about, geometry_of, is_recording

log = logging.getLogger("streamajig.options")

PEAK_METHODS = {
    "msgpack": "peaks/from_message",
    "cxi": "peaks/from_message",
    "hdf5": "peaks/from_message",
    "zaef": "peaks/zaef",
    "peakfinder8": "peaks/peakfinder8",
    "peakfinder9": "peaks/peakfinder9",
    "likelihood": "peaks/likelihood",
}
"""What ``--peaks`` takes, and the stage that does it."""

_OTHER_PEAK_METHODS = {
    "none": "without peaks nothing can be indexed; --indexing=none leaves indexing out",
}


_IN_FILES = ("cxi", "hdf5")
"""Peaks that stand in image files; how, is seen there."""

_SOURCES = {
    "input": "reads files",
    "watch": "reads files that appear while the run goes on",
    "zmq_input": "receives data over ZeroMQ",
    "asapo_endpoint": "receives data over ASAP::O",
}
"""The options that say where frames come from, and what each does."""

_FLAGS_OF_SOURCES = {"input": "--input (-i)"}

_SEARCH_OPTIONS = frozenset({"threshold", "min_squared_gradient", "min_gradient", "min_pix_count", "max_pix_count"})
"""Options that mean a search of the pixels."""

INTEGRATION_FLAGS = ("cen", "sat", "grad")
"""What may follow the integration method, or with ``no`` before it; parameters of the integrating stage."""

_ZMQ_SOURCES = {
    "zmq_request": "source/zmq_req",
    "zmq_subscribe": "source/zmq_sub",
    "zmq_pull": "source/zmq_pull",
}
"""How data may be received from --zmq-input, and the source that does so."""

INTEGRATION_METHODS = ("rings", "prof2d")


_AFTER = {
    "merge": ("integrate",),
    "int_diag": ("integrate",),
    "cells": ("refine", "index"),
    "detector_shift": ("refine",),
    "groups": ("integrate", "refine", "index", "hit"),
    "diagnosis": ("integrate", "refine", "index", "hit"),
}
"""Roles that come after another than the one before them: the last node of the first of these roles that there is."""


@dataclass
class Given:
    """The options that were given: name -> value, what of them has had an effect, and the format of image files if any."""

    values: Mapping[str, Any]
    effective: set[str] = field(default_factory=set)
    images: ImageFormat | None = None

    def take(self, name: str) -> Any:
        """Return the value of an option that decides about the shape of the graph; None (or False) if it is not given."""
        assert name in _KNOWN, name
        if name in self.values:
            self.effective.add(name)
        return self.values.get(name)

    def __contains__(self, name: str) -> bool:
        assert name in _KNOWN, name
        return name in self.values


_KNOWN = {row.name for row in OPTIONS}


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
    values = valfilter(_is_given, options)
    if values.get("peaks") == "peakfinder8-fast":
        values.update(peaks="peakfinder8", peakfinder8_fast=True)
    values = {**_from_recording(values), **values}
    given = Given(values)
    rows = [option(name) for name in given.values]
    _refuse(rows)
    modules = tuple(given.take("module") or ())
    for module in modules:
        registry.load_module(module)
    _check_input(given)
    list_file = values.get("input")
    if list_file is not None:  # it is read once: it may be standard input
        values["input"] = _value(option("input"), list_file)
    given.images = _image_format(given)
    stages = dict(_stages(given))
    parameters, origins = _parameters(given, rows, stages)
    graph = Graph((), _run_options(parameters["run"], origins), modules)
    for role, stage_name in stages.items():
        graph = graph.add(_make(stage_name, role, parameters[role], origins), name=role, after=_after(role, stages))
    if any(name in given for name in COMPARING):
        graph = compared(graph, values, graph_from_options)
    graph = with_settings(graph, given.take("set") or ())
    _say_what_has_no_effect(given, rows, stages)
    _keep_files_apart(graph, list_file)
    return graph


def _keep_files_apart(graph: Graph, list_file: Any) -> None:
    """Refuse outputs that are inputs or each other; ``graph.check()`` would, too, but not in the words of options."""
    reads = [Named(Path(module), "--module") for module in graph.modules]
    reads += [Named(Path(list_file), "--input")] if isinstance(list_file, str) else []
    writes: list[Named] = []
    for node in graph.nodes:
        role = "index" if node.name.startswith("index_") else node.name
        for found, kept in zip(of_stage(node.stage), (reads, writes), strict=True):
            for parameter, of_parameter in found.items():
                kept += [Named(path, _flag_that_sets(f"{role}.{parameter}")) for path in of_parameter]
    keep_apart(reads, writes)


def _flag_that_sets(place: str) -> str:
    """The option of a role's parameter; the place itself if there is none."""
    return next((row.flag for row in OPTIONS if place in row.sets), place)


def _from_recording(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a recording that is the input says of itself and no option does: its geometry file, and the format of its data."""
    path = Path(values.get("input", ""))
    if "input" not in values or not is_recording(path) or not path.exists():
        return {}
    found: dict[str, Any] = {}
    if "geometry" not in values and (geometry := geometry_of(path)):
        log.info("the geometry file is that of the recording: %s", geometry)
        found["geometry"] = geometry
    if "data_format" not in values:
        found["data_format"] = about(path).data_format
    return found


def _is_given(value: Any) -> bool:
    return value is not None and value is not False and value not in ((), [])


def _refuse(rows: list[Option]) -> None:
    problems = [f"{row.flag} is refused: {row.why}" for row in rows if row.status is Status.REFUSED]
    names = {row.name for row in rows}
    for name in sorted(names):
        if f"no_{name}" in names:
            problems.append(
                f"{option(name).flag} and {option('no_' + name).flag} contradict each other: give one of them"
            )
    if problems:
        raise UserError("\n".join(problems))
    for row in rows:
        if row.status is Status.NOTED:
            log.info("%s changes nothing: %s", row.flag, row.why)


def _check_input(given: Given) -> None:
    """Exactly one source of data, and all that cannot be left out."""
    problems = []
    sources = [name for name in _SOURCES if name in given]
    if len(sources) > 1:
        flags = " and ".join(_FLAGS_OF_SOURCES.get(name, option(name).flag) for name in sources)
        what = "; ".join(f"{option(name).flag} {_SOURCES[name]}" for name in reversed(sources))
        problems.append(f"{flags} exclude each other: {what}")
    elif not sources:
        problems.append("there is no input: give --zmq-input=ADDRESS, such as tcp://127.0.0.1:5002")
    ways = [name for name in _ZMQ_SOURCES if name in given]
    if len(ways) > 1:
        flags = " and ".join(option(name).flag for name in ways)
        problems.append(
            f"{flags} exclude each other: a REQ socket asks for each frame, a SUB socket takes what is published, a PULL "
            "socket what is pushed"
        )
    elif "zmq_input" in given and not ways:
        problems.append(
            "--zmq-input needs either --zmq-request=STRING, to ask for frames, or --zmq-subscribe=TAG, to take what is "
            "published, or --zmq-pull, to take what is pushed; none is given"
        )
    if "geometry" not in given:
        problems.append("there is no geometry file: give --geometry=FILE.geom (-g)")
    if "output" not in given:
        problems.append("there is no output file: give --output=FILE.stream (-o)")
    if problems:
        raise UserError("\n".join(problems))


def _stages(given: Given) -> Iterator[tuple[str, str]]:
    """The roles in order, each with the stage that fills it."""
    no_image = bool(given.take("no_image_data"))
    peaks = _peak_method(given, no_image)
    methods = tuple(_index_methods(given))
    integrate = _integration_method(given, no_image)
    yield "source", _source(given)
    yield "decode", _decoder(given, no_image)
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


def _source(given: Given) -> str:
    if given.images:
        return "source/files"
    if "input" in given:
        return "source/replay"
    if "asapo_endpoint" in given:
        return "source/asapo"
    given.take("zmq_pull")
    return next(stage_name for name, stage_name in _ZMQ_SOURCES.items() if name in given)


def _image_format(given: Given) -> ImageFormat | None:
    """The format of the image files that are to be read; None if messages are."""
    typed = given.values.get("data_format", "")
    if "watch" in given:
        pattern = given.values["watch"]
        kind = typed or image_format((pattern,))
        if kind not in SUFFIXES:
            raise UserError(
                f"--watch={pattern}: it is not known what the files will be: give a pattern ({pattern}/*.cbf), or "
                f"--data-format={' or '.join(SUFFIXES)}"
            )
        given.effective |= {"data_format"} if typed else set()
        return cast(ImageFormat, kind)
    kind = image_format(given.values["input"]) if "input" in given else None
    if kind and typed and typed != kind:
        raise UserError(f"--data-format={typed}: the files that --input (-i) names are {kind}: leave --data-format out")
    return kind


def _data_format(given: Given) -> str:
    if given.images:
        given.take("data_format")
        return given.images
    typed = given.take("data_format")
    name: str = _value(option("data_format"), typed) if typed else "msgpack"
    return name


def _decoder(given: Given, no_image: bool) -> str:
    data_format = _data_format(given)
    if given.images == "hdf5":
        return "decode/hdf5_file_headers" if no_image else "decode/hdf5_file"
    if no_image and data_format != "msgpack":
        raise UserError(
            f"--no-image-data takes peaks from the messages, and --data-format={data_format} has none: leave one of them out"
        )
    return "decode/headers_only" if no_image else DECODERS[data_format]


def _peak_method(given: Given, no_image: bool) -> str:
    method = given.take("peaks") or _usual_peak_method(given, no_image)
    if method in _IN_FILES and given.images != "hdf5":
        raise UserError(
            f"--peaks={method} takes peaks that are in HDF5 files (-i FILE.cxi, or a list), and none are read: give "
            "--peaks=zaef, peakfinder8, peakfinder9 or likelihood to search the pixels, or msgpack for those that come with "
            "messages"
        )
    data_format = _data_format(given)
    if method == "msgpack" and (given.images or (not no_image and data_format not in WITH_PEAKS)):
        raise UserError(
            f"--peaks=msgpack takes peaks that come with the messages, and --data-format={data_format} has none: give "
            "--peaks=zaef, peakfinder8, peakfinder9 or likelihood to search the pixels"
        )
    if method in _OTHER_PEAK_METHODS:
        raise UserError(f"--peaks={method} is refused: {_OTHER_PEAK_METHODS[method]}")
    if method not in PEAK_METHODS:
        raise UserError(f"--peaks={method}: there is no such method" + did_you_mean(method, PEAK_METHODS))
    if no_image and PEAK_METHODS[method] != "peaks/from_message":
        raise UserError(
            f"--peaks={method} searches the pixels, and --no-image-data leaves them out: give --peaks=msgpack to take the "
            "peaks that come with the message, or leave --no-image-data out"
        )
    return PEAK_METHODS[method]


def _usual_peak_method(given: Given, no_image: bool) -> str:
    """What happens without ``--peaks``: peaks that come with the messages are taken, else zaef searches, as ever.

    indexamajig always searches with zaef, whose threshold fits few detectors: a command line that names the address, the
    geometry and the cell alone would find nothing. Who sets a threshold wants a search.
    """
    if no_image:
        return "cxi" if given.images else "msgpack"
    data_format = _data_format(given)
    if (
        (given.images == "hdf5" or data_format in WITH_PEAKS)
        and _SEARCH_OPTIONS.isdisjoint(given.values)
        and _names_a_peak_list(given.values.get("geometry"))
    ):
        log.info(
            "peaks come from the %s, as the geometry file has a peak_list (--peaks=zaef searches the pixels)",
            "files" if given.images else "messages",
        )
        return "cxi" if given.images else "msgpack"
    return "zaef"


def _names_a_peak_list(geometry: Any) -> bool:
    """Whether the geometry file says under which key the messages' peaks come; of a file that is broken, as far as it goes."""
    try:
        return bool(peak_list_of(read_text(str(geometry))))
    except UserError:
        return False  # the stage that reads the file says what is wrong with it


def _index_methods(given: Given) -> Iterator[tuple[str, str]]:
    """The methods in turn, each with the stage that does it."""
    asked = given.take("indexing") or "auto"
    methods = [word.strip() for word in asked.split(",")]
    if len(set(methods)) < len(methods) or ("none" in methods and len(methods) > 1):
        raise UserError(f"--indexing={asked}: name each method once, and none alone")
    found = [_index_method(given, asked, method) for method in methods]  # a name that is wrong is said before all else
    for method, name in found:
        if _gives_lattice_alone(given) and _needs(name, "cell"):
            raise UserError(
                f"--indexing={asked}: {method} needs a whole unit cell, and {given.values['pdb']} has a lattice type and no "
                "parameters: add a, b, c, al, be and ga, or search without a cell (--indexing=auto or lattice)"
            )
        if "pdb" not in given and _needs(name, "cell"):
            raise UserError(
                f"--indexing={asked}: {method} needs a unit cell: give -p FILE.cell, or --indexing=auto to find the cell, or "
                "--indexing=none"
            )
        yield method, name


def _index_method(given: Given, asked: str, method: str) -> tuple[str, str]:
    if method == "auto":
        if _gives_lattice_alone(given):
            log.info(
                "%s has a lattice type and no parameters: the cell is looked for, of that type", given.values["pdb"]
            )
            return method, "index/auto"
        if "pdb" in given:
            return "pairs", "index/pairs"
        log.info("no unit cell is given (-p FILE.cell): the cell is looked for in the first crystals")
        return method, "index/auto"
    name = f"index/{method}"
    if "/" in method or not registry.exists(name):
        known = [stage.partition("/")[2] for stage in registry.names() if stage.startswith("index/")]
        what = f"--indexing={asked}: " + (f"{method!r}: " if method != asked else "")
        raise UserError(
            f"{what}not available here; the methods are {', '.join(sorted(known))}, or several with commas between them, "
            f"which are tried in turn{_only_if_close(method, known)}"
        )
    return method, name


def _gives_lattice_alone(given: Given) -> bool:
    """Whether what -p names restricts a search without a cell, and is no cell."""
    return "pdb" in given and lattice_alone(Path(given.values["pdb"])) is not None


def _only_if_close(word: str, known: list[str]) -> str:
    said = did_you_mean(word, known)
    return said if "did you mean" in said else ""


def _after(role: str, stages: Mapping[str, str]) -> str | None:
    """The node after which a role comes; None for the one that stands before it."""
    for before in _AFTER.get(role, ()):
        there = _roles(before, stages)
        if there:
            return there[-1]
    return None


def _roles(role: str, stages: Mapping[str, str]) -> list[str]:
    """The nodes of a role: several methods of indexing are index, index_lattice and so on."""
    return [name for name in stages if name == role or (role == "index" and name.startswith("index_"))]


def _integration_method(given: Given, no_image: bool) -> str:
    text = given.values.get("integration", "rings")
    method = text.partition("-")[0]
    if method not in (*INTEGRATION_METHODS, "none"):
        known = ", ".join((*INTEGRATION_METHODS, "none"))
        raise UserError(f"--integration={text}: {method!r} is not known; there are {known}")
    if no_image and method != "none" and "integration" in given:
        given.effective.add("integration")
        log.warning("--integration=%s: with --no-image-data reflections are predicted and have no intensity", text)
    if method == "none":
        given.effective.add("integration")
    return "integrate/predict_only" if no_image or method == "none" else f"integrate/{method}"


def _integration_flags(given: Given) -> dict[str, bool]:
    """What follows the integration method: ``-cen`` and its opposite ``-nocen``, and so on."""
    flags: dict[str, bool] = {}
    method, *words = given.take("integration").split("-")
    for word in words:
        name = word.removeprefix("no")
        if name not in INTEGRATION_FLAGS:
            known = ", ".join(f"-{flag}, -no{flag}" for flag in INTEGRATION_FLAGS)
            raise UserError(f"--integration={given.take('integration')}: -{word} is not known; there are {known}")
        flags[name] = not word.startswith("no")
    if method == "prof2d" and not flags.pop("grad", True):
        raise UserError(f"--integration={given.take('integration')}: prof2d always fits a plane to the background")
    return flags


def _parameters(
    given: Given, rows: list[Option], stages: Mapping[str, str]
) -> tuple[dict[str, dict[str, Any]], dict[tuple[str, str], str]]:
    """The parameters of each role, and which option each of them comes from."""
    parameters: dict[str, dict[str, Any]] = {role: {} for role in (*stages, "run")}
    origins: dict[tuple[str, str], str] = {}
    for row, role, parameter, besides in _places(rows, stages):
        if role != "run" and (not _has_parameter(stages[role], parameter) or _lacks(row, stages[role], given)):
            continue
        if (role, parameter) in origins:
            if besides:
                continue
            raise UserError(f"{origins[role, parameter]} and {row.flag} say the same thing: give one of them")
        typed = given.values[row.name]
        parameters[role][parameter] = _value(
            row, tuple(typed) if row.repeatable and not isinstance(typed, str) else typed
        )
        origins[role, parameter] = row.flag
        given.effective.add(row.name)
    if given.images:
        parameters["source"]["data_format"] = given.images
        parameters["source"]["watch"] = "watch" in given
    if given.images == "hdf5":
        parameters["decode"]["peaks"] = stages["peaks"] == "peaks/from_message"
    is_lattice_alone = _gives_lattice_alone(given)
    if is_lattice_alone:
        for node in _roles("index", stages):
            parameters[node].pop("cell", None)
            if _has_parameter(stages[node], "lattice_file"):
                parameters[node]["lattice_file"] = Path(given.values["pdb"])
                origins[node, "lattice_file"] = option("pdb").flag
                given.effective.add("pdb")
    if "groups" in stages:
        _read_and_copy(given.values["group_by"], parameters, stages)
    if "record" in given and _has_parameter(stages["source"], "record_geometry"):
        parameters["source"]["record_geometry"] = Path(given.values["geometry"])
    output = Path(given.values["output"])
    if "cells" in stages and output != STDOUT and ("pdb" not in given or is_lattice_alone):
        parameters["cells"].setdefault("path", output.with_suffix(".cell"))
    if "diagnosis" in stages and _is_or_becomes_a_file(output):
        parameters["diagnosis"].setdefault("path", output.with_suffix(".corrected.geom"))
    if stages.get("integrate") in ("integrate/rings", "integrate/prof2d") and "integration" in given:
        parameters["integrate"].update(_integration_flags(given))
    return parameters, origins


def _read_and_copy(key: str, parameters: dict[str, dict[str, Any]], stages: Mapping[str, str]) -> None:
    """Let a header value be read of files, of which nobody reads all, and stand in the stream, so that this can be divided."""
    for role, parameter in (("decode", "headers"), ("sink", "copy_headers")):
        if _has_parameter(stages[role], parameter):
            parameters[role][parameter] = tuple(dict.fromkeys((*parameters[role].get(parameter, ()), key)))


def _is_or_becomes_a_file(path: Path) -> bool:
    """Whether there is a place beside it: there is none beside a device or a pipe."""
    return path != STDOUT and (path.is_file() or not path.exists())


def _places(rows: list[Option], stages: Mapping[str, str]) -> Iterator[tuple[Option, str, str, bool]]:
    """Where each option goes: node and parameter. What an option is there for comes before what it does besides."""
    for besides in (False, True):
        for row in rows:
            for place in row.also if besides else row.sets:
                role, _, parameter = place.partition(".")
                for node in ["run"] if role == "run" else _roles(role, stages):
                    yield row, node, parameter, besides


def _needs(stage_name: str, parameter: str) -> bool:
    """Whether a stage cannot do without a parameter."""
    return parameter in must_be_given(registry.load(stage_name))


def _has_parameter(stage_name: str, parameter: str) -> bool:
    return parameter in names_of(registry.load(stage_name))


def _lacks(row: Option, stage_name: str, given: Given) -> bool:
    """Whether an option has no effect on a stage because another one is not given: a tolerance without a cell, say."""
    if not row.needs or row.needs in given:
        return False
    return any(_has_parameter(stage_name, place.partition(".")[2]) for place in option(row.needs).sets)


def _value(row: Option, typed: Any) -> Any:
    try:
        return row.value(typed)
    except ValueError as error:
        raise UserError(f"{row.flag}: {error}") from None


def _make(stage_name: str, role: str, parameters: dict[str, Any], origins: Mapping[tuple[str, str], str]) -> Any:
    try:
        return registry.load(stage_name)(**parameters)
    except pydantic.ValidationError as error:
        raise UserError("\n".join(dict.fromkeys(_problems(error, role, stage_name, origins)))) from None


def _run_options(parameters: dict[str, Any], origins: Mapping[tuple[str, str], str]) -> RunOptions:
    try:
        return RunOptions(**parameters)
    except pydantic.ValidationError as error:
        raise UserError("\n".join(dict.fromkeys(_problems(error, "run", "run", origins)))) from None


def _problems(
    error: pydantic.ValidationError, role: str, stage_name: str, origins: Mapping[tuple[str, str], str]
) -> Iterator[str]:
    """Say what pydantic found in the user's words: the option, what it was given, what was wanted."""
    for problem in error.errors():
        parameter = str(problem["loc"][0]) if problem["loc"] else ""
        wanted = in_words(problem)
        flag = origins.get((role, parameter))
        if flag is not None:
            yield f"{flag}: {wanted} (found {problem['input']!r}; parameter {parameter} of {stage_name})"
        else:
            can_set = [row.flag for row in OPTIONS if f"{role.partition('_')[0]}.{parameter}" in row.sets]
            how = f": give {' or '.join(can_set)}" if can_set else ""
            yield f"{stage_name}: parameter {parameter!r}: {wanted}{how}"


def _say_what_has_no_effect(given: Given, rows: list[Option], stages: Mapping[str, str]) -> None:
    for row in rows:
        if row.status is not Status.SUPPORTED or row.name in given.effective or row.name in _OF_THE_COMMAND:
            continue
        roles = dict.fromkeys(place.partition(".")[0] for place in row.sets)
        there = [stages[node] for role in roles for node in _roles(role, stages)]
        why = f"with {', '.join(there)}" if there else f"without {' or '.join(roles)}" if roles else "in this graph"
        if any(_lacks(row, stage_name, given) for stage_name in there):
            why += f" without {option(row.needs).flag}"
        log.warning("%s has no effect %s", row.flag, why)


_OF_THE_COMMAND = {"profile", "json", "print_graph", "manual", *COMPARING}
"""Options that the command itself obeys; the graph does not know of them."""
