"""What a stage promises before it is opened: types, a manual, parameters that survive YAML and pickling."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pydantic

from pipeline import Graph
from pipeline.command_line.manual import manual
from pipeline.composing.ends import missing_of
from pipeline.composing.node import Node
from pipeline.composing.yaml.spec import schema
from pipeline.contract import contract_of, role_of
from pipeline.registry import keep_built_in
from stages.contract_suite.broken import BrokenError

TYPES = "types"
LEAST_MANUAL = 20
"""Characters of a docstring that says something."""


def promises(stage: Any) -> Iterator[tuple[str, Callable[[], str]]]:
    """The promises, by name; each returns a few words or raises."""
    yield TYPES, lambda: says_its_types(type(stage))
    yield "manual", lambda: has_manual(type(stage))
    yield "YAML and pickling", lambda: survives_yaml_and_pickling(stage)
    yield "other parameters", lambda: _survives_changes(stage)


def says_its_types(cls: Any) -> str:
    """It has all that its kind of stage has, its name is its own, and what it reads and writes has types."""
    keep_built_in(cls.stage_name)
    missing = list(missing_of(cls))
    if missing:
        raise BrokenError("; ".join(missing))
    role = role_of(cls)
    if role != "stage":
        return f"it is a {role}"
    contract = contract_of(cls)
    reads = ", ".join(
        kind.__name__ + (" (if there is one)" if kind in contract.optional else "") for kind in contract.reads
    )
    return f"reads {reads or 'nothing'}; writes {', '.join(kind.__name__ for kind in contract.writes) or 'nothing'}"


def has_manual(cls: Any) -> str:
    """It has a docstring, from which with its fields the manual and the schema for editors are made."""
    first = (cls.__doc__ or "").strip()
    if len(first) < LEAST_MANUAL or first.startswith(f"{cls.__name__}("):  # which dataclasses write where there is none
        raise BrokenError("it has no docstring that says what it does")
    manual(cls.stage_name)
    json.dumps(schema([cls.stage_name]))
    return first.partition("\n")[0]


def survives_yaml_and_pickling(stage: Any) -> str:
    """A graph with it is the same graph after YAML, and after a pickle."""
    graph = Graph((Node("only", stage),))
    if Graph.from_yaml(graph.to_yaml()).nodes != graph.nodes:
        raise BrokenError(f"it comes back from YAML as another: {Graph.from_yaml(graph.to_yaml()).nodes[0].stage}")
    if pickle.loads(pickle.dumps(graph)) != graph:
        raise BrokenError("it comes back from a pickle as another")
    return ""


def _survives_changes(stage: Any) -> str:
    names = []
    for field in dataclasses.fields(stage):
        for value in _away_from(getattr(stage, field.name)):
            try:
                changed = dataclasses.replace(stage, **{field.name: value})
            except pydantic.ValidationError:
                continue  # out of its limits, or against another parameter
            survives_yaml_and_pickling(changed)
            names.append(field.name)
    return ", ".join(dict.fromkeys(names)) or "it has none that can be changed"


def _away_from(value: Any) -> tuple[Any, ...]:
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (value + 1, 2 * value + 3, value - 1)
    if isinstance(value, float):
        return (value * 1.1 + 0.1, value / 3)
    return ()
