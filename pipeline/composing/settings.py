"""Settings: parameters of a graph's nodes changed by their names, ``words.least=10``.

``graph.set("words", least=10)`` and ``streamajig run --set words.least=10`` do the same. ``run`` stands for the
options of the run. A parameter that is a map has parameters of its own: ``merge.until.cc_half=0.9``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.composing.expansion import VERDICT, with_verdict
from pipeline.composing.varied import Varied, Way, given_names, named
from pipeline.errors import UserError
from pipeline.hints import did_you_mean
from pipeline.parameters import changed, names_of, nested

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph

RUN = "run"
"""Stands for the options of the run where otherwise a node is named, as it does in YAML."""


class Setting(NamedTuple):
    """What ``--set`` says: where, as names one within the other, and the value."""

    where: tuple[str, ...]
    value: Any


def read_setting(text: str) -> Setting:
    """Read ``node.parameter=value``; the value is written as in YAML.

    >>> read_setting("words.least=10"), read_setting("source.subscribe=[a, b]").value
    (Setting(where=('words', 'least'), value=10), ['a', 'b'])
    """
    from pipeline.composing.yaml.text import value_of

    place, equals, value = text.partition("=")
    where = tuple(part.strip() for part in place.split("."))
    if not equals or len(where) < 2 or not all(where):
        raise UserError("write NODE.PARAMETER=VALUE, such as run.max_frames=100")
    return Setting(where, value_of(value))


def with_settings(graph: Graph, texts: Sequence[str], option: str = "--set") -> Graph:
    """Return the graph with what a command line sets; what is wrong is said of all settings, and with the option."""
    problems = []
    for text in texts:
        try:
            where, value = read_setting(text)
            graph = with_parameters(graph, ".".join(where[:-1]), {where[-1]: value})
        except UserError as error:
            problems += [f"{option} {text}: {line}" for line in str(error).splitlines()]
    if problems:
        raise UserError("\n".join(problems))
    return graph


def with_parameters(graph: Graph, where: str, changes: Mapping[str, Any]) -> Graph:
    """Return the graph with some parameters changed; see :meth:`Graph.set`."""
    from pipeline.composing.yaml.spec import Unloaded

    name, *keys = where.split(".")
    if name == VERDICT and graph.varied:
        graph = with_verdict(graph)
    if name == RUN and RUN not in graph.names:
        what, old = RUN, graph.options
    elif name in graph.names:
        old = graph.node(name).stage
        what = f"node {name!r} ({old.stage_name})"
        if isinstance(old, Unloaded):
            raise UserError(f"{what}: its parameters are not known, since its module is not loaded: --trust loads it")
    else:
        raise UserError(f"the graph has no node {name!r}{did_you_mean(name, [*graph.names, RUN])}")
    if keys:
        changes = {keys[0]: _within(old, what, keys, changes)}
    new = changed(old, what, changes)
    if old is graph.options:
        return dataclasses.replace(graph, options=new)
    return dataclasses.replace(graph.replace(name, new), varied=tuple(_varied(graph, name, changes)))


def _varied(graph: Graph, name: str, changes: Mapping[str, Any]) -> Iterator[Varied]:
    """What is varied, the ways of this node changed as it is, where their stages have the parameters."""
    for varied in graph.varied:
        if varied.node != name:
            yield varied
            continue
        ways = []
        for way, given_name in zip(varied.ways, given_names(varied.ways), strict=True):
            known = {parameter: value for parameter, value in changes.items() if parameter in names_of(way.stage)}
            ways.append(Way(given_name, changed(way.stage, f"{way.name}, a way of node {name!r}", known)))
        yield dataclasses.replace(varied, ways=named(ways))


def _within(old: Any, what: str, keys: Sequence[str], changes: Mapping[str, Any]) -> Any:
    """The value of the parameter ``keys[0]`` with changes in it, or deeper."""
    parameter, *inner = keys
    if parameter not in names_of(old):
        raise UserError(f"{what} has no parameter {parameter!r}{did_you_mean(parameter, names_of(old))}")
    value = getattr(old, parameter)
    for name, new in changes.items():
        try:
            value = nested(value, [*inner, name], new)
        except UserError as error:
            raise UserError(f"{what}: {parameter}: {error}") from None
    return value
