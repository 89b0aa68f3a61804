"""What is wrong with a graph, a sentence for each thing: how nodes are placed, what stages read, what they tell each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from types import FunctionType
from typing import TYPE_CHECKING

from pipeline import paths, registry
from pipeline.backends import describe_backend
from pipeline.contract import ContractError, contract_of, role_of, tells_of
from pipeline.ends import missing_of
from pipeline.errors import UserError
from pipeline.expansion import problems_of_variants
from pipeline.frame import Joined
from pipeline.functions import must_be_given
from pipeline.hints import did_you_mean
from pipeline.node import Node
from pipeline.unread import unread_problems
from pipeline.written import arriving_at, written_at

if TYPE_CHECKING:
    from pipeline.graph import Graph


def problems_of(graph: Graph) -> Iterator[str]:
    """Say everything that is wrong with a graph; what nodes hand to each other is looked at if they are placed right."""
    misplaced = list(_structure_problems(graph))
    if graph.varied:
        misplaced += problems_of_variants(graph)
        if misplaced:
            yield from misplaced
        else:
            yield from _once(problems_of(graph.expanded()), graph)
        return
    yield from misplaced
    if not misplaced:
        yield from _contract_problems(graph)
        yield from _telling_problems(graph)
        yield from unread_problems(graph)
        yield from paths.clashes(*graph.files())
    yield from _backend_problems(graph)


def _once(problems: Iterator[str], graph: Graph) -> Iterator[str]:
    """Say what is wrong in all variants once, without their names, and what is wrong in some for each of them."""
    labels = "|".join(re.escape(f"@{variant.name}") for variant in graph.variants)
    said: dict[str, list[str]] = {}
    for problem in problems:
        said.setdefault(re.sub(rf"(?:{labels})(?![A-Za-z0-9_.=+-])", "", problem), []).append(problem)
    for without, each in said.items():
        yield from [without] if len(each) >= len(graph.variants) else each


def _backend_problems(graph: Graph) -> Iterator[str]:
    try:
        backend = describe_backend(graph.options.backend)
    except UserError as error:
        yield str(error)
        return
    if graph.options.stage_timeout_s is not None and backend.name == "serial":
        yield (
            f"stage_timeout_s goes with threads:N, processes:N and dask, and the backend is {graph.options.backend}: there all "
            "runs in one thread, and a stage that hangs cannot be left behind"
        )
    if graph.options.max_worker_memory is not None and backend.name in ("serial", "threads"):
        yield (
            f"max_worker_memory goes with processes:N and dask, and the backend is {graph.options.backend}: there all runs in "
            "one process, which cannot be replaced"
        )
    if backend.name == "dask":
        for node in graph.nodes:
            alone = getattr(node.stage, "alone", "")
            if alone:
                what = f"{node.name} ({node.stage.stage_name})"
                yield f"{what} does not go with the backend {graph.options.backend}: {alone}"


def _structure_problems(graph: Graph) -> Iterator[str]:
    if not graph.nodes:
        yield "the graph has no nodes; it needs a source, a decoder and a sink at least"
        return
    strangers = [problem for node in graph.nodes for problem in _stage_problems(node)]
    if strangers:
        yield from strangers
        return
    names = graph.names
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"two nodes are called {name!r}; each needs a name of its own"
    circle = graph.circle()
    if circle:
        yield f"these nodes come after each other in a circle: {' -> '.join(circle)}; put one of them after another node"
    for node in graph.nodes:
        for parent in node.after:
            if parent not in names:
                yield f"{node.called} comes after {parent!r}, which is not there" + did_you_mean(parent, names)
        yield from _placement_problems(graph, node)
        if not (circle or node.role == "sink" or graph.children(node.name)):
            yield f"{node.called} ({node.stage.stage_name}) leads nowhere: what it makes is lost; add a sink after it"
    sources = [node.name for node in graph.nodes if node.role == "source"]
    if len(sources) != 1:
        found = "none" if not sources else ", ".join(sources)
        yield f"a graph has exactly one source, and this one has {found}"
    if not any(node.role == "sink" for node in graph.nodes):
        yield "the graph has no sink: nothing would come out of it (add sink/stream_file, or sink/memory in Python)"


def _placement_problems(graph: Graph, node: Node) -> Iterator[str]:
    where = f"{node.called} ({node.stage.stage_name})"
    if node.role == "source":
        if node.after:
            yield f"{where} is a source and cannot come after {', '.join(node.after)}"
    elif not node.after:
        yield f"{where} comes after nothing: say after which node it comes"
    elif node.role == "join":
        if len(node.after) < 2:
            yield f"{where} joins branches and comes after {node.after[0]} alone: name two nodes or more"
        elif (names := getattr(node.stage, "names", ())) and len(set(names)) != len(node.after):
            yield f"{where} has {len(names)} names for {len(node.after)} branches: give each one of its own, or none"
    elif len(node.after) > 1:
        yield f"{where} comes after {', '.join(node.after)}: only graph/join takes several branches"
    if node.role == "sink" and graph.children(node.name):
        yield f"{where} is a sink, and {graph.children(node.name)[0].name!r} comes after it: nothing leaves a sink"


def _contract_problems(graph: Graph) -> Iterator[str]:
    """Say which stages read what nothing before them writes, and which joins bring together what nobody reads."""
    written = written_at(graph)
    for node in graph.in_order():
        here = arriving_at(node, written)
        if node.role == "join" and not any(map(_reads_joined, graph.downstream(node.name))):
            yield (
                f"{node.called} ({node.stage.stage_name}): nothing behind it reads Joined, so all that its branches "
                "have made is lost: put a stage behind it that does ('def __call__(self, joined: Joined) -> ...'), or give "
                "each branch a sink of its own"
            )
        if node.role == "stage":
            try:
                contract = contract_of(type(node.stage))
            except ContractError as error:
                yield f"{node.called} ({node.stage.stage_name}): {error}"
                continue
            for kind in contract.reads:
                if kind not in here and kind not in contract.optional:
                    yield _missing(graph, node, kind)
        elif node.role == "sink":
            for kind in getattr(node.stage, "reads", ()):
                if kind not in here:
                    yield _missing(graph, node, kind)


def _telling_problems(graph: Graph) -> Iterator[str]:
    """Follow what stages tell each other outside frames: see :class:`pipeline.contract.Tells`."""
    posted = {kind for node in graph.nodes for kind in tells_of(type(node.stage)).posts}
    for node in graph.nodes:
        tells = tells_of(type(node.stage))
        upstream = graph.upstream(node.name)
        published = {kind for other in upstream for kind in tells_of(type(other.stage)).publishes}
        where = f"{node.called} ({node.stage.stage_name})"
        for kind in tells.needs:
            if kind not in published:
                yield (
                    f"{where} needs {kind.__name__}, which nothing upstream publishes (route: "
                    f"{graph.route(node.name)})" + _told_by(kind, "publishes")
                )
        for kind in tells.awaits:
            if kind not in posted:
                yield (
                    f"{where} waits for {kind.__name__} on the noticeboard, where no node posts it"
                    + _told_by(kind, "posts")
                )


def _missing(graph: Graph, node: Node, kind: type) -> str:
    makers = [name for name in registry.names() if _writes(name, kind)]
    text = (
        f"{node.called} ({node.stage.stage_name}) reads {kind.__name__}, which nothing upstream writes "
        f"(route: {graph.route(node.name)})"
    )
    for other in graph.upstream(node.name):
        group = other.stage.stage_name.partition("/")[0]
        same = [maker for maker in makers if maker.partition("/")[0] == group]
        if same:
            return f"{text}; {other.stage.stage_name} does not write it, {' and '.join(same)} would"
    return f"{text}; it is written by {', '.join(makers)}" if makers else f"{text}; no stage that is known writes it"


def _stage_problems(node: Node) -> Iterator[str]:
    """What is wrong with what stands in the place of a stage."""
    given = node.stage
    if isinstance(given, type):
        wanted = ", ".join(f"{name}=..." for name in must_be_given(given)) if is_dataclass(given) else ""
        yield (
            f"{node.called}: {given.__name__} is the class of a stage: write {given.__name__}({wanted}), with its "
            "parameters"
        )
    elif not hasattr(given, "stage_name"):
        what = f"the function {given.__name__}" if isinstance(given, FunctionType) else repr(given)
        yield f'{node.called}: {what} is not a stage (declare it, or a class, with @stage("kind/which"))'
    else:
        try:
            registry.keep_built_in(given.stage_name)
            missing = list(missing_of(type(given)))
        except UserError as error:
            missing = [str(error)]
        yield from (f"{node.called} ({given.stage_name}): {problem}" for problem in missing)


def _reads_joined(node: Node) -> bool:
    """Whether a node does something with what a join brings together."""
    if node.role == "stage":
        try:
            return Joined in contract_of(type(node.stage)).reads
        except ContractError:
            return True  # that is said of the node itself
    return getattr(node.stage, "keeps_frames", False) or Joined in getattr(node.stage, "reads", ())


def _told_by(kind: type, how: str) -> str:
    """Which stages would tell it: ``"; kind/which publishes it"``."""
    tellers = [name for name in registry.names() if kind in getattr(tells_of(registry.load(name)), how)]
    return f"; {' or '.join(tellers)} {how} it" if tellers else f"; no stage that is known {how} it"


def _writes(name: str, kind: type) -> bool:
    cls = registry.load(name)
    try:
        return role_of(cls) == "stage" and kind in contract_of(cls).writes
    except ContractError:
        return False  # it is in no graph yet
