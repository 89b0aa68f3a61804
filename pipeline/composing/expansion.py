"""From a graph with variants to the plain graph that is run: each node once for each way in which frames come to it.

What stands before a varied node is there once for all variants: one source, one decoder. The varied node and what follows is
there once for each way; where several nodes are varied, a node is repeated for the ways of those alone that it depends on.
Besides edges there is the noticeboard: a stage that waits for what a repeated stage posts depends on the same ways, and is
repeated, too, so that no variant sees what another has found (``docs/decisions/0030-variants-are-expanded.md``).

Outputs get the variant's name: ``out.txt`` becomes ``out.longest.txt``. A sink that compares variants
(``compares_variants``), or says ``stands_once``, is there once, behind a join of all of them.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import paths, registry
from pipeline.composing.join import Join
from pipeline.composing.node import Node
from pipeline.contract import tells_of
from pipeline.errors import UserError
from pipeline.own_packages import built_in
from pipeline.variant import Variant

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph

MOST_VARIANTS = 256
"""Each costs the stages of a whole branch in every frame; a grid of more is a mistake."""

VERDICT = "verdict"
"""The node that compares the variants, where the graph has none that does."""

JOIN = "variants"
"""The node that brings the variants together before that."""

Ways = tuple[tuple[str, str], ...]
"""Varied node and way, for each of those that a node depends on, in the order in which they were varied."""


def expand(graph: Graph) -> Graph:
    """Return the plain graph; one without variants is returned as it is."""
    if not graph.varied:
        return graph
    graph = with_verdict(graph)
    depends = dependencies(graph)
    order = [varied.node for varied in graph.varied]
    stages = _stages(graph)
    labels = _Labels(graph)
    nodes: list[Node] = []
    for node in graph.in_order():
        if stands_once(node) and depends[node.after[0]]:
            nodes += _comparing(node, [name for name in order if name in depends[node.after[0]]], labels, graph)
            continue
        for ways in _products([name for name in order if name in depends[node.name]], graph):
            stage = next((stages[pair] for pair in ways if pair[0] == node.name), node.stage)
            after = tuple(labels.node(parent, _of(ways, depends[parent])) for parent in node.after)
            if ways:
                stage = _with_own_files(stage, labels.of(ways))
            nodes.append(Node(labels.node(node.name, ways), stage, after, ways))
    return dataclasses.replace(graph, nodes=tuple(nodes), varied=())


def variants_of(graph: Graph) -> tuple[Variant, ...]:
    """Return the variants in the order of the grid, the last varied node's ways fastest; none of a graph without."""
    if not graph.varied:
        return ()
    labels, stages = _Labels(graph), _stages(graph)
    found = []
    for ways in _products([varied.node for varied in graph.varied], graph):
        alone = dataclasses.replace(graph, varied=())
        for pair in ways:
            alone = alone.replace(pair[0], stages[pair])
        alone = dataclasses.replace(alone, nodes=tuple(node for node in alone.nodes if not stands_once(node)))
        found.append(Variant(labels.of(ways), dict(ways), alone))
    return tuple(found)


def compares(node: Node) -> bool:
    """Whether a node's stage is a sink that compares variants."""
    return bool(getattr(type(node.stage), "compares_variants", False))


def stands_once(node: Node) -> bool:
    """Whether a node is a sink that is there once for all variants, behind a join of them."""
    return compares(node) or bool(getattr(type(node.stage), "stands_once", False))


def with_verdict(graph: Graph, **parameters: Any) -> Graph:
    """Return the graph with a node that compares the variants; if it has none, beside its first sink.

    `parameters` are those of its stage that are to change.
    """
    from pipeline.parameters import changed

    there = next((node for node in graph.nodes if compares(node)), None)
    if there is not None:
        return graph.replace(there.name, changed(there.stage, there.called, parameters)) if parameters else graph
    if not graph.leaves:
        return graph
    stage = registry.load(built_in("VERDICT"))
    return graph.add(changed(stage(), stage.stage_name, parameters), name=VERDICT, after=graph.leaves[0].after)


def problems_of_variants(graph: Graph) -> Iterator[str]:
    """Say what is wrong with what is varied, before anything is expanded."""
    for varied in graph.varied:
        if varied.node not in graph.names:
            yield f"variants of node {varied.node!r}, which is not there"
        elif len(varied.ways) < 2:
            yield f"node {varied.node!r} has one way of doing its work and nothing to compare it with: give two or more"
        elif graph.node(varied.node).role in ("source", "join"):
            role = graph.node(varied.node).role
            yield f"node {varied.node!r} is a {role}, and all variants share it: vary a node behind it"
        for name in {way.name for way in varied.ways if [other.name for other in varied.ways].count(way.name) > 1}:
            yield f"two variants of node {varied.node!r} are called {name!r}"
    number = math.prod(len(varied.ways) for varied in graph.varied)
    if number > MOST_VARIANTS:
        grid = " x ".join(f"{len(varied.ways)} of {varied.node}" for varied in graph.varied)
        yield f"{grid} are {number} variants, and each is run on every frame: {MOST_VARIANTS} at most"
    for node in graph.nodes:
        if graph.varied and stands_once(node) and len(node.after) > 1:
            yield f"{node.called} brings variants together, and comes after {', '.join(node.after)}: name the one that all have"
    if not graph.circle() and set(graph.names).issuperset(parent for node in graph.nodes for parent in node.after):
        yield from _problems_of_places(graph)


def _problems_of_places(graph: Graph) -> Iterator[str]:
    depends = dependencies(graph)
    for node in graph.nodes:
        if not depends[node.name] or stands_once(node):
            continue
        if node.role == "source":
            yield (
                f"{node.called} waits for what the variants of {', '.join(sorted(depends[node.name]))} post, and "
                "there is one source for all"
            )
        for parameter, written in paths.of_stage(node.stage)[1].items():
            if paths.STDOUT in written:
                yield f"{node.called} ({parameter}): the outputs of several variants do not go to standard output"


def dependencies(graph: Graph) -> dict[str, frozenset[str]]:
    """Return for each node which varied nodes it depends on, by what flows to it and by what it waits for."""
    found = {node.name: frozenset[str]() for node in graph.nodes}
    found |= {varied.node: frozenset({varied.node}) for varied in graph.varied if varied.node in found}
    by_kind: dict[type, list[tuple[str, bool]]] = {}
    for node in graph.nodes:
        tells = tells_of(type(node.stage))
        for kind in tells.posts:
            by_kind.setdefault(kind, []).append((node.name, True))
        for kind in tells.awaits:
            by_kind.setdefault(kind, []).append((node.name, False))
    before: Mapping[str, frozenset[str]] = {}
    while before != found:
        before = dict(found)
        for node in graph.in_order():
            found[node.name] = found[node.name].union(*(found[parent] for parent in node.after if parent in found))
        for told in by_kind.values():
            posted = frozenset[str]().union(*(found[name] for name, posts in told if posts))
            for name, _ in told:
                found[name] |= posted
    return found


class _Labels:
    """What a combination of ways is called: the names of the ways, with that of the node where two nodes have the same."""

    def __init__(self, graph: Graph) -> None:
        names = [way.name for varied in graph.varied for way in varied.ways]
        self._twice = {name for name in names if names.count(name) > 1}

    def of(self, ways: Ways) -> str:
        """``longest+sorted``."""
        return "+".join(f"{node}.{way}" if way in self._twice else way for node, way in ways)

    def node(self, name: str, ways: Ways) -> str:
        """``sink@longest``."""
        return f"{name}@{self.of(ways)}" if ways else name


def _stages(graph: Graph) -> dict[tuple[str, str], Any]:
    """The stage of each varied node and way."""
    return {(varied.node, way.name): way.stage for varied in graph.varied for way in varied.ways}


def _products(varied: list[str], graph: Graph) -> Iterator[Ways]:
    """All combinations of the ways of these nodes."""
    choices = [[(v.node, way.name) for way in v.ways] for name in varied for v in graph.varied if v.node == name]
    yield from itertools.product(*choices)


def _of(ways: Ways, depends: frozenset[str]) -> Ways:
    return tuple((node, way) for node, way in ways if node in depends)


def _comparing(node: Node, varied: list[str], labels: _Labels, graph: Graph) -> Iterator[Node]:
    """The join of all variants, and the sink behind it."""
    (parent,) = node.after
    all_ways = list(_products(varied, graph))
    taken = set(graph.names)
    join = JOIN if node.name == VERDICT and JOIN not in taken else f"{node.name}_{JOIN}"
    after = tuple(labels.node(parent, ways) for ways in all_ways)
    yield Node(join, Join(names=tuple(labels.of(ways) for ways in all_ways)), after)
    yield Node(node.name, node.stage, (join,))


def _with_own_files(stage: Any, label: str) -> Any:
    """The stage with the variant's name in those of the files that it writes; devices, pipes and stdout stay what they are."""
    try:
        written = paths.of_stage(stage)[1]
    except UserError:
        return stage  # it has no role, which is said of the node
    changes: dict[str, Any] = {}
    for parameter, files in written.items():
        own = [_with_label(file, label) for file in files]
        value = getattr(stage, parameter)
        changes[parameter] = tuple(own) if isinstance(value, tuple) else own[0]
    return dataclasses.replace(stage, **changes) if changes else stage


def _with_label(path: Path, label: str) -> Path:
    """Put the variant's name before the suffix.

    >>> _with_label(Path("run/out.txt"), "longest"), _with_label(Path("/dev/null"), "longest")
    (PosixPath('run/out.longest.txt'), PosixPath('/dev/null'))
    """
    if path == paths.STDOUT or (path.exists() and not (path.is_file() or path.is_dir())):
        return path
    return path.with_name(f"{path.stem}.{label}{path.suffix}")
