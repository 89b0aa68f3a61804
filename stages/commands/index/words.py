"""What is wrong with options, said in the words of those who typed them: the option, what was found, what was wanted."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic

from pipeline import registry
from pipeline.composing.graph import Graph
from pipeline.composing.options import RunOptions
from pipeline.errors import UserError, in_words
from pipeline.paths import Named, keep_apart, of_stage
from stages.commands.index.comparing import COMPARING
from stages.commands.index.given import Given
from stages.commands.index.options import Option, Status
from stages.commands.index.parameters import lacks, nodes_of
from stages.commands.index.table import OPTIONS, option

log = logging.getLogger("streamajig.options")

_OF_THE_COMMAND = {"profile", "json", "print_graph", "manual", *COMPARING}
"""Options that the command itself obeys; the graph does not know of them."""


def say_what_has_no_effect(given: Given, rows: list[Option], stages: Mapping[str, str]) -> None:
    """Warn of each option that nothing in the graph has taken."""
    for row in rows:
        if row.status is not Status.SUPPORTED or row.name in given.effective or row.name in _OF_THE_COMMAND:
            continue
        roles = dict.fromkeys(place.partition(".")[0] for place in row.sets)
        there = [stages[node] for role in roles for node in nodes_of(role, stages)]
        why = f"with {', '.join(there)}" if there else f"without {' or '.join(roles)}" if roles else "in this graph"
        if any(lacks(row, stage_name, given) for stage_name in there):
            why += f" without {option(row.needs).flag}"
        log.warning("%s has no effect %s", row.flag, why)


def refuse(rows: list[Option]) -> None:
    """Refuse options that are not supported or contradict each other, and say which change nothing."""
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


def make(stage_name: str, role: str, parameters: dict[str, Any], origins: Mapping[tuple[str, str], str]) -> Any:
    """Make the stage of a role."""
    try:
        return registry.load(stage_name)(**parameters)
    except pydantic.ValidationError as error:
        raise UserError("\n".join(dict.fromkeys(_problems(error, role, stage_name, origins)))) from None


def run_options(parameters: dict[str, Any], origins: Mapping[tuple[str, str], str]) -> RunOptions:
    """Make the options of the run."""
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


def keep_files_apart(graph: Graph, list_file: Any) -> None:
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
