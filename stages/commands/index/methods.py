"""What ``--peaks``, ``--indexing`` and ``--integration`` name: methods, and the stage that does each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline import registry
from pipeline.errors import UserError
from pipeline.functions import must_be_given
from pipeline.hints import did_you_mean
from stages.commands.index.given import Given
from stages.commands.index.inputs import data_format_of
from stages.files.cell import lattice_alone
from stages.files.geom.file_text import read_text
from stages.files.geom.parser import peak_list_of
from stages.wire.formats import WITH_PEAKS

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

_SEARCH_OPTIONS = frozenset({"threshold", "min_squared_gradient", "min_gradient", "min_pix_count", "max_pix_count"})
"""Options that mean a search of the pixels."""

INTEGRATION_METHODS = ("rings", "prof2d")

INTEGRATION_FLAGS = ("cen", "sat", "grad")
"""What may follow the integration method, or with ``no`` before it; parameters of the integrating stage."""


def peak_method(given: Given, no_image: bool) -> str:
    """Return the stage that finds peaks."""
    method = given.take("peaks") or _usual_peak_method(given, no_image)
    if method in _IN_FILES and given.images != "hdf5":
        raise UserError(
            f"--peaks={method} takes peaks that are in HDF5 files (-i FILE.cxi, or a list), and none are read: give "
            "--peaks=zaef, peakfinder8, peakfinder9 or likelihood to search the pixels, or msgpack for those that come with "
            "messages"
        )
    data_format = data_format_of(given)
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
    data_format = data_format_of(given)
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


def index_methods(given: Given) -> Iterator[tuple[str, str]]:
    """The methods in turn, each with the stage that does it."""
    asked = given.take("indexing") or "auto"
    methods = [word.strip() for word in asked.split(",")]
    if len(set(methods)) < len(methods) or ("none" in methods and len(methods) > 1):
        raise UserError(f"--indexing={asked}: name each method once, and none alone")
    found = [_index_method(given, asked, method) for method in methods]  # a name that is wrong is said before all else
    for method, name in found:
        if gives_lattice_alone(given) and _needs(name, "cell"):
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
        if gives_lattice_alone(given):
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


def gives_lattice_alone(given: Given) -> bool:
    """Whether what -p names restricts a search without a cell, and is no cell."""
    return "pdb" in given and lattice_alone(Path(given.values["pdb"])) is not None


def _only_if_close(word: str, known: list[str]) -> str:
    said = did_you_mean(word, known)
    return said if "did you mean" in said else ""


def _needs(stage_name: str, parameter: str) -> bool:
    """Whether a stage cannot do without a parameter."""
    return parameter in must_be_given(registry.load(stage_name))


def integration_method(given: Given, no_image: bool) -> str:
    """Return the stage that integrates."""
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


def integration_flags(given: Given) -> dict[str, bool]:
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
