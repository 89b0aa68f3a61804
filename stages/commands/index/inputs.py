"""Where frames come from: which source the options ask for, of what format its data are, and the stage that decodes them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pipeline.errors import UserError
from stages.commands.index.given import Given, value_of
from stages.commands.index.options import image_format
from stages.commands.index.table import option
from stages.files.image_list import SUFFIXES, ImageFormat
from stages.wire.formats import DECODERS
from stages.wire.recording.reading import about, geometry_of, is_recording

log = logging.getLogger("streamajig.options")

_SOURCES = {
    "input": "reads files",
    "watch": "reads files that appear while the run goes on",
    "zmq_input": "receives data over ZeroMQ",
    "asapo_endpoint": "receives data over ASAP::O",
}
"""The options that say where frames come from, and what each does."""

_FLAGS_OF_SOURCES = {"input": "--input (-i)"}

_ZMQ_SOURCES = {
    "zmq_request": "source/zmq_req",
    "zmq_subscribe": "source/zmq_sub",
    "zmq_pull": "source/zmq_pull",
}
"""How data may be received from --zmq-input, and the source that does so."""


def from_recording(values: Mapping[str, Any]) -> dict[str, Any]:
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


def check_input(given: Given) -> None:
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


def source_of(given: Given) -> str:
    """Return the stage that takes frames in."""
    if given.images:
        return "source/files"
    if "input" in given:
        return "source/replay"
    if "asapo_endpoint" in given:
        return "source/asapo"
    given.take("zmq_pull")
    return next(stage_name for name, stage_name in _ZMQ_SOURCES.items() if name in given)


def image_format_of(given: Given) -> ImageFormat | None:
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


def data_format_of(given: Given) -> str:
    """Return the format of the data, of files or of messages."""
    if given.images:
        given.take("data_format")
        return given.images
    typed = given.take("data_format")
    name: str = value_of(option("data_format"), typed) if typed else "msgpack"
    return name


def decoder_of(given: Given, no_image: bool) -> str:
    """Return the stage that decodes the data."""
    data_format = data_format_of(given)
    if given.images == "hdf5":
        return "decode/hdf5_file_headers" if no_image else "decode/hdf5_file"
    if no_image and data_format != "msgpack":
        raise UserError(
            f"--no-image-data takes peaks from the messages, and --data-format={data_format} has none: leave one of them out"
        )
    return "decode/headers_only" if no_image else DECODERS[data_format]
