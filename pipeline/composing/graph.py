"""A graph of stages, as a value: made in Python or YAML, compared, changed, checked before anything runs.

>>> from pipeline.composing.join import Join
>>> Graph.chain(Join(), Join(), Join()).replace("join", Join()).names
('graph', 'join', 'graph_2')
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolz import concat

from pipeline import paths
from pipeline.composing.edits import with_node, without_node
from pipeline.composing.node import Node
from pipeline.composing.options import RunOptions
from pipeline.composing.problems import problems_of
from pipeline.composing.settings import with_parameters
from pipeline.composing.varied import Varied, ways_of, with_values
from pipeline.composing.written import written_at
from pipeline.counts import Count, in_place
from pipeline.errors import UserError
from pipeline.hints import did_you_mean
from pipeline.parameters import changed
from pipeline.variant import Variant

if TYPE_CHECKING:
    from pipeline.running.frames import Frames
    from pipeline.running.handle import Handle


def _at_run_time(module: str) -> Any:
    """A module of those that run graphs, and import this one; found by its name, as backends are."""
    return importlib.import_module(f"pipeline.running.{module}")


class GraphError(UserError):
    """What is wrong with a graph; `problems` has one text for each thing."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Graph:
    """Nodes and how they hang together, and how they are run.

    Attributes
    ----------
    nodes
        In an order in which a node stands after those it comes after, as far as there is one.
    options
        Options of the run.
    modules
        The user's own modules (``.py`` files or importable names) that declare stages used here.
    varied
        Nodes whose work is done in several ways, to compare them (see :meth:`vary`).
    """

    nodes: tuple[Node, ...]
    options: RunOptions = field(default_factory=RunOptions)
    modules: tuple[str, ...] = ()
    varied: tuple[Varied, ...] = ()

    @staticmethod
    def chain(*stages: Any, options: RunOptions | None = None) -> Graph:
        """Make a graph of stages one after the other; each node is named after its stage."""
        graph = Graph((), options or RunOptions())
        for stage in stages:
            graph = graph.add(stage)
        return graph

    def add(self, stage: Any, *, name: str | None = None, after: str | tuple[str, ...] | None = None) -> Graph:
        """Return the graph with one node more, after the last one unless `after` says otherwise."""
        if after is None:
            after = self.nodes[-1].behind if self.nodes else ()
        elif isinstance(after, str):
            after = (after,)
        return dataclasses.replace(self, nodes=(*self.nodes, Node(name or self._free_name(stage), stage, after)))

    def replace(self, name: str, stage: Any) -> Graph:
        """Return the graph with another stage in the place of node `name`."""
        old = self.node(name)
        new = dataclasses.replace(old, stage=stage)
        return dataclasses.replace(self, nodes=tuple(new if node is old else node for node in self.nodes))

    def vary(self, name: str, ways: Any = None, /, **parameters: Any) -> Graph:
        """Return the graph with node `name` done in several ways, which are compared on the same frames.

        What stands before it is shared, what follows is repeated for each; several varied nodes make a grid.

        Parameters
        ----------
        ways
            Stages, names of stages, or parameters to change: see :func:`pipeline.composing.varied.ways_of`.
        parameters
            Several values of a parameter: ``graph.vary("words", n=[10, 20])``. Of a node that is varied already all
            its ways that have the parameter are done with each value.
        """
        own = self.node(name).stage
        before = next((varied.ways for varied in self.varied if varied.node == name), ())
        found = ways_of(own, ways) if ways is not None else before
        if parameters:
            found = with_values(own, found, parameters)
        if not found:
            raise UserError(
                f"node {name!r}: say in which ways it is done: stages, their names, or values of parameters"
            )
        new = Varied(name, found)
        others = [new if varied.node == name else varied for varied in self.varied]
        return dataclasses.replace(self, varied=tuple(others if before else [*others, new]))

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The ways in which the graph is tried, all combinations of those of varied nodes; none if nothing is varied."""
        from pipeline.composing.expansion import variants_of

        return variants_of(self)

    def expanded(self) -> Graph:
        """Return the plain graph that is run, in which a branch does each variant's work."""
        from pipeline.composing.expansion import expand

        return expand(self)

    def insert(
        self, stage: Any, *, before: str | None = None, after: str | None = None, name: str | None = None
    ) -> Graph:
        """Return the graph with one node more, between others: after a node and before all that follows it, before a node, or,
        with both given, between the two."""
        return dataclasses.replace(
            self, nodes=with_node(self.nodes, Node(name or self._free_name(stage), stage), before=before, after=after)
        )

    def remove(self, name: str) -> Graph:
        """Return the graph without a node; what came after it comes after what it came after."""
        return dataclasses.replace(self, nodes=without_node(self.nodes, self.node(name).name))

    def set(self, where: str, /, **changes: Any) -> Graph:
        """Return the graph with some parameters of a node changed: ``graph.set("words", least=10)``.

        Parameters
        ----------
        where
            The node; with names behind dots a parameter of it that is a map, of which a part is changed
            (``graph.set("merge.until", cc_half=0.9)``); ``run`` for the options of the run.
        changes
            Parameters and their new values; UserError says which there is not, or which value is wrong.
        """
        return with_parameters(self, where, changes)

    def with_options(self, **changes: Any) -> Graph:
        """Return the graph with some of its run options changed."""
        return dataclasses.replace(self, options=changed(self.options, "run", changes))

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes' names."""
        return tuple(node.name for node in self.nodes)

    def node(self, name: str) -> Node:
        """Return the node of this name."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise UserError(f"the graph has no node {name!r}" + did_you_mean(name, self.names))

    @property
    def source(self) -> Node:
        """The node where frames come from."""
        return next(node for node in self.nodes if node.role == "source")

    @property
    def leaves(self) -> tuple[Node, ...]:
        """The sinks, where every frame arrives exactly once."""
        return tuple(node for node in self.nodes if node.role == "sink")

    def children(self, name: str) -> tuple[Node, ...]:
        """The nodes that come directly after this one."""
        return tuple(node for node in self.nodes if name in node.after)

    def upstream(self, name: str) -> tuple[Node, ...]:
        """All nodes before this one, in order."""
        wanted: set[str] = set()
        todo = list(self.node(name).after)
        while todo:
            parent = todo.pop()
            if parent not in wanted:
                wanted.add(parent)
                todo.extend(self.node(parent).after)
        return tuple(node for node in self.in_order() if node.name in wanted)

    def in_order(self) -> tuple[Node, ...]:
        """The nodes, each after those it comes after; a cycle is a GraphError."""
        placed: dict[str, Node] = {}
        waiting = list(self.nodes)
        while waiting:
            ready = [node for node in waiting if all(parent in placed for parent in node.after)]
            if not ready:
                raise GraphError([f"these nodes come after each other in a circle: {' -> '.join(self.circle())}"])
            for node in ready:
                placed[node.name] = node
            waiting = [node for node in waiting if node.name not in placed]
        return tuple(placed.values())

    def downstream(self, name: str) -> Iterator[Node]:
        """All nodes after this one."""
        for child in self.children(name):
            yield child
            yield from self.downstream(child.name)

    def route(self, name: str) -> str:
        """How frames get to a node: ``source -> decode -> ...``."""
        return " -> ".join([*(node.name for node in self.upstream(name)), name])

    def arrows(self) -> str:
        """Say in one line where frames go: the way from the source, and behind ``;`` each way that branches off another.

        >>> from pipeline.composing.join import Join
        >>> split = Graph.chain(Join(), Join(), Join()).add(Join(), name="b", after="join")
        >>> split.add(Join(), name="both", after=("graph_2", "b")).arrows()
        'graph -> join -> graph_2 -> both; join -> b -> both'
        """
        from pipeline.composing.diagram import arrows

        return arrows(self)

    def check(self) -> None:
        """Find everything that is wrong before any socket opens; raises GraphError with one text for each thing."""
        problems = list(problems_of(self))
        if problems:
            raise GraphError(problems)

    def start(self, *, after: str | None = None, command_line: str = "") -> Handle:
        """Run the graph in a thread of its own, and return the handle with which the run is looked at and stopped.

        Returns when everything is open. What is wrong with the graph, and what cannot be opened, is raised here, as
        :func:`pipeline.run` does.

        Parameters
        ----------
        after
            The node behind which :meth:`Handle.latest` and :meth:`Handle.stream` see frames; by default that before the first
            sink.
        command_line
            Goes into the headers of output files.
        """
        handle: Handle = _at_run_time("handle").start(self, after=after, command_line=command_line)
        return handle

    def frames(self, *, after: str | None = None, keep_image: bool = False) -> Frames:
        """Run the graph, and iterate over its finished frames in order; the graph needs no sink, and those it has are served.

        No frame is lost to the loop: while it takes its time no more is received. Leaving the loop stops the run.

        Parameters
        ----------
        after
            The node behind which frames are taken; by default that before the first sink, or the last one.
        keep_image
            Keep the pixels and the raw messages too; mind the memory when frames are collected.
        """
        frames: Frames = _at_run_time("frames").Frames(self, after, keep_image)
        return frames

    def files(self) -> tuple[list[paths.Named], list[paths.Named]]:
        """Return what the graph's stages and modules read, and what the stages write."""
        reads = [paths.Named(Path(module), "modules") for module in self.modules if module.endswith(".py")]
        writes: list[paths.Named] = []
        for node in self.nodes:
            for found, kept in zip(paths.of_stage(node.stage), (reads, writes), strict=True):
                for parameter, named in found.items():
                    by = f"node {node.name!r} ({parameter} of {node.stage.stage_name})"
                    kept += [paths.Named(path, by) for path in named]
        return reads, writes

    def to_yaml(self) -> str:
        """Write the graph as YAML; ``Graph.from_yaml`` gives it back.

        Files are named as seen from the current folder: for text that is to lie in another one see :meth:`save` and
        :meth:`portable`.
        """
        from pipeline.composing.yaml.spec import Spec, dump

        return dump(Spec(self.nodes, self.options, self.modules, self.varied))

    def portable(self, folder: Path | None = None) -> Graph:
        """Return the graph with the files that it reads named so that its YAML may lie anywhere, or in this folder alone.

        What it writes is named as before: YAML names that as seen from where it is run.
        """

        def named(has_stage: Any) -> Any:
            """A node, or a way of doing its work, whose stage names files so."""
            stage = has_stage.stage
            there = paths.to_lie_in(stage, folder) if dataclasses.is_dataclass(stage) else stage
            return dataclasses.replace(has_stage, stage=there)

        nodes = map(named, self.nodes)
        varied = (dataclasses.replace(each, ways=tuple(map(named, each.ways))) for each in self.varied)
        modules = (
            str(paths.named_in(folder, Path(module))) if module.endswith(".py") else module for module in self.modules
        )
        return dataclasses.replace(self, nodes=tuple(nodes), modules=tuple(modules), varied=tuple(varied))

    def save(self, path: str | Path) -> None:
        """Write the graph as a YAML file, which ``Graph.load`` reads; files that lie in its folder are named from there."""
        Path(path).write_text(self.portable(Path(path).parent).to_yaml(), encoding="utf-8")

    @staticmethod
    def from_yaml(text: str, filename: str | Path = "<yaml>", *, trust: bool = True) -> Graph:
        """Read a graph from YAML text; every error says file:line:column.

        Files that it reads are named as seen from the folder of `filename`, those that it writes from the current one.
        The modules that it names are loaded, which runs them; without `trust` they are not, and the graph is one to look at.
        """
        return Graph._parsed(text, filename, trust)[0]

    @staticmethod
    def _parsed(text: str, filename: str | Path, trust: bool) -> tuple[Graph, list[paths.Named]]:
        """Read a graph, and say which files it extends."""
        from pipeline.composing.yaml.spec import parse

        opened: list[Path] = []
        graph = Graph(*parse(text, filename, trust=trust, opened=opened))
        return graph, [paths.Named(file, "the graph") for file in opened]

    @staticmethod
    def load(path: str | Path, *, trust: bool = True) -> Graph:
        """Read a graph from a YAML file (``-`` is standard input); `trust` as for :meth:`from_yaml`."""
        if str(path) == str(paths.STDOUT):
            return Graph.from_yaml(sys.stdin.read(), "<stdin>", trust=trust)
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the graph {path}: {error}") from error
        graph, extended = Graph._parsed(text, path, trust)
        paths.keep_apart([paths.Named(Path(path), "the graph"), *extended], graph.files()[1])
        return graph

    def to_mermaid(self) -> str:
        """Draw the graph as a Mermaid flowchart.

        >>> from pipeline.composing.join import Join
        >>> print(Graph.chain(Join()).to_mermaid())
        flowchart LR
            graph_("graph<br/>graph/join")
        """
        from pipeline.composing.diagram import mermaid

        return mermaid(self)

    def __repr__(self) -> str:
        modules = f", modules {', '.join(self.modules)}" if self.modules else ""
        ways = ", ".join(f"{varied.node} in {len(varied.ways)} ways" for varied in self.varied)
        varied = f", {ways}" if ways else ""
        return f"Graph of {len(self.nodes)} nodes, {self.options.backend}{modules}{varied}\n{self.arrows()}"

    def _repr_mimebundle_(self, **_asked: Any) -> dict[str, str]:
        """What a notebook shows: SVG, which needs no network; Mermaid for programs that draw it by themselves."""
        if self.circle() or any(parent not in self.names for node in self.nodes for parent in node.after):
            return {"text/plain": repr(self)}
        from pipeline.composing.diagram import svg

        drawn = svg(self)
        return {"text/plain": repr(self), "image/svg+xml": drawn, "text/vnd.mermaid": self.to_mermaid()}

    def _free_name(self, stage: Any) -> str:
        """``words/find`` is called words; ``words/sort`` behind it sort; a third of the kind words_2."""
        kind, _, which = str(getattr(stage, "stage_name", type(stage).__name__)).partition("/")
        taken, n = set(self.names), 2
        for name in (kind, which):
            if name and name not in taken:
                return name
        while f"{kind}_{n}" in taken:
            n += 1
        return f"{kind}_{n}"

    def circle(self) -> list[str]:
        """The nodes of a circle, in the order in which frames would go, the first again at the end; empty if there is none."""
        left = {node.name: [parent for parent in node.after if parent in self.names] for node in self.nodes}
        while ready := [name for name, parents in left.items() if not any(parent in left for parent in parents)]:
            for name in ready:
                del left[name]
        trail = [next(iter(left))] if left else []
        while left:
            parent = next(parent for parent in left[trail[-1]] if parent in left)
            if parent in trail:
                return [parent, *reversed(trail[trail.index(parent) :])]
            trail.append(parent)
        return []

    def counts_at(self, leaf: str) -> tuple[Count, ...]:
        """How the totals at a leaf are said, by what the types of the values that arrive there have declared.

        Behind a join there are the values that all branches have from the same node.
        """
        return in_place(concat(getattr(kind, "shown", ()) for kind in written_at(self)[leaf]))
