"""Where the values of options go: the parameters of each node, and which option each of them comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline import registry
from pipeline.errors import UserError
from pipeline.parameters import names_of
from pipeline.paths import STDOUT
from stages.commands.index.given import Given, value_of
from stages.commands.index.methods import gives_lattice_alone, integration_flags
from stages.commands.index.options import Option
from stages.commands.index.table import option


def parameters_of(
    given: Given, rows: list[Option], stages: Mapping[str, str]
) -> tuple[dict[str, dict[str, Any]], dict[tuple[str, str], str]]:
    """The parameters of each role, and which option each of them comes from."""
    parameters: dict[str, dict[str, Any]] = {role: {} for role in (*stages, "run")}
    origins: dict[tuple[str, str], str] = {}
    for row, role, parameter, besides in _places(rows, stages):
        if role != "run" and (not _has_parameter(stages[role], parameter) or lacks(row, stages[role], given)):
            continue
        if (role, parameter) in origins:
            if besides:
                continue
            raise UserError(f"{origins[role, parameter]} and {row.flag} say the same thing: give one of them")
        typed = given.values[row.name]
        parameters[role][parameter] = value_of(
            row, tuple(typed) if row.repeatable and not isinstance(typed, str) else typed
        )
        origins[role, parameter] = row.flag
        given.effective.add(row.name)
    if given.images:
        parameters["source"]["data_format"] = given.images
        parameters["source"]["watch"] = "watch" in given
    if given.images == "hdf5":
        parameters["decode"]["peaks"] = stages["peaks"] == "peaks/from_message"
    is_lattice_alone = gives_lattice_alone(given)
    if is_lattice_alone:
        for node in nodes_of("index", stages):
            parameters[node].pop("cell", None)
            if _has_parameter(stages[node], "lattice_file"):
                parameters[node]["lattice_file"] = Path(given.values["pdb"])
                origins[node, "lattice_file"] = option("pdb").flag
                given.effective.add("pdb")
    if "groups" in stages:
        _read_and_copy(given.values["group_by"], parameters, stages)
    if "monitor" in stages:
        parameters["monitor"]["page"] = "monitor" in given
    if "record" in given and _has_parameter(stages["source"], "record_geometry"):
        parameters["source"]["record_geometry"] = Path(given.values["geometry"])
    output = Path(given.values["output"])
    if "cells" in stages and output != STDOUT and ("pdb" not in given or is_lattice_alone):
        parameters["cells"].setdefault("path", output.with_suffix(".cell"))
    if "diagnosis" in stages and _is_or_becomes_a_file(output):
        parameters["diagnosis"].setdefault("path", output.with_suffix(".corrected.geom"))
    if stages.get("integrate") in ("integrate/rings", "integrate/prof2d") and "integration" in given:
        parameters["integrate"].update(integration_flags(given))
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
                for node in ["run"] if role == "run" else nodes_of(role, stages):
                    yield row, node, parameter, besides


def nodes_of(role: str, stages: Mapping[str, str]) -> list[str]:
    """The nodes of a role: several methods of indexing are index, index_lattice and so on."""
    return [name for name in stages if name == role or (role == "index" and name.startswith("index_"))]


def _has_parameter(stage_name: str, parameter: str) -> bool:
    return parameter in names_of(registry.load(stage_name))


def lacks(row: Option, stage_name: str, given: Given) -> bool:
    """Whether an option has no effect on a stage because another one is not given: a tolerance without a cell, say."""
    if not row.needs or row.needs in given:
        return False
    return any(_has_parameter(stage_name, place.partition(".")[2]) for place in option(row.needs).sets)
