"""A graph as YAML text, both ways; every error says file:line:column, what was found and what was wanted.

.. code-block:: yaml

    run: {backend: "threads:4", max_frames: 1000}
    modules: [my_stages.py]
    nodes:
      source: {stage: source/zmq_req, address: "tcp://127.0.0.1:5002", request: next}
      decode: {stage: decode/msgpack_map}
      longest: {stage: words/longest, n: 30, after: decode}

A node comes after the one that stands before it in the file unless ``after`` says otherwise (a name, or a list of names for
``graph/join``). Parameters that are not given have the stage's defaults; only those that differ are written. With
``extends`` a graph says what is different from another (:mod:`pipeline.composing.yaml.extends`). Files that are read are
named as seen from the folder of the YAML file (decision 29).
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pydantic
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from toolz import keyfilter

from pipeline import registry
from pipeline.composing.edits import without_node
from pipeline.composing.node import Node
from pipeline.composing.options import RunOptions
from pipeline.composing.varied import Varied, dumped
from pipeline.composing.yaml.extends import Layers, layers_of
from pipeline.composing.yaml.text import Place, SpecError, document_of, plain
from pipeline.composing.yaml.variants import varied_of
from pipeline.errors import UserError
from pipeline.hints import did_you_mean
from pipeline.parameters import default_of, describe_problem, names_of
from pipeline.paths import read_from
from pipeline.texts import LONGEST_NAME, one_line

_TOP = ("extends", "run", "modules", "nodes", "variants")
_RESERVED = ("stage", "after")


_CHANGES = (
    {"title": "parameters of a node that is extended", "type": "object", "not": {"required": ["stage"]}},
    {"title": "a node of the graph that is extended, taken out", "type": "null"},
)
"""JSON schema of what a node may be in a graph that extends another."""


class Spec(NamedTuple):
    """What the YAML of a graph says."""

    nodes: tuple[Node, ...]
    options: RunOptions
    modules: tuple[str, ...]
    varied: tuple[Varied, ...] = ()


@dataclasses.dataclass(frozen=True)
class Unloaded:
    """Stands for a stage that a module may have which has not been loaded, since whoever only looks at a graph runs none."""

    stage_name: str


def parse(text: str, filename: str | Path = "<yaml>", *, trust: bool = True, opened: list[Path] | None = None) -> Spec:
    """Read a graph's YAML; without `trust` load none of its modules, and put :class:`Unloaded` for what may be in them.

    The files that it extends are added to `opened`.

    >>> parse("nodes: {a: {stage: graph/joim}}", "g.yaml")
    Traceback (most recent call last):
    pipeline.composing.yaml.text.SpecError: g.yaml:1:20: node 'a': there is no stage 'graph/joim'; did you mean 'graph/join'?
    """
    file = Path(str(filename))
    layers = layers_of(document_of(text, filename), file)
    reader = _Reader(layers, trust)
    spec = reader.spec(file)
    if reader.places:
        raise SpecError(reader.places)
    assert spec is not None
    if opened is not None:
        opened += layers.files
    return spec


def dump(spec: Spec) -> str:
    """Write a graph's YAML; parameters that have their default value are left out."""
    document: dict[str, Any] = {}
    run = _changed(spec.options)
    if run:
        document["run"] = run
    if spec.modules:
        document["modules"] = list(spec.modules)
    nodes = document["nodes"] = {}
    previous: tuple[str, ...] = ()
    for node in spec.nodes:
        entry: dict[str, Any] = {"stage": node.stage.stage_name}
        if node.after != previous:
            entry["after"] = node.after[0] if len(node.after) == 1 else list(node.after)
        entry.update(_changed(node.stage))
        nodes[node.name] = entry
        previous = node.behind
    if spec.varied:
        own = {node.name: node.stage for node in spec.nodes}
        document["variants"] = {
            varied.node: dumped(varied, own[varied.node], _changed) for varied in spec.varied if varied.node in own
        }
    out = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # ruamel declares it as None alone
    writer.width = 1000  # a long path stays on the line of its name
    writer.dump(document, out)
    return out.getvalue()


def schema(names: Sequence[str]) -> dict[str, Any]:
    """The JSON schema of the YAML, with these stages, for editors that check and complete while one types."""
    variants = []
    for name in names:
        cls = registry.load(name)
        fields = pydantic.TypeAdapter(cls).json_schema()
        after = {
            "description": "the node or nodes that this one comes after",
            "type": ["string", "array"],
            "items": {"type": "string"},
        }
        variants.append(
            {
                **fields,
                "title": name,
                "properties": {"stage": {"const": name}, "after": after, **fields.get("properties", {})},
                "required": ["stage", *fields.get("required", [])],
                "additionalProperties": False,
            }
        )
    definitions: dict[str, Any] = {}
    for variant in variants:
        definitions.update(variant.pop("$defs", {}))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "streamajig graph",
        "type": "object",
        "anyOf": [{"required": ["nodes"]}, {"required": ["extends"]}],
        "additionalProperties": False,
        "properties": {
            "extends": {"type": "string", "description": "a graph in YAML, of which this one says what is different"},
            "run": pydantic.TypeAdapter(RunOptions).json_schema(),
            "modules": {
                "type": "array",
                "items": {"type": "string"},
                "description": "the user's own modules with stages",
            },
            "nodes": {"type": "object", "additionalProperties": {"oneOf": [*variants, *_CHANGES]}},
            "variants": {
                "type": "object",
                "description": "nodes, or node.parameter, and the ways of doing their work that are compared",
            },
        },
        "$defs": definitions,
    }


def _changed(value: Any) -> dict[str, Any]:
    """The parameters that differ from their defaults, as plain YAML values."""
    plain: dict[str, Any] = pydantic.TypeAdapter(type(value)).dump_python(value, mode="json")
    changed = {field.name for field in dataclasses.fields(value) if getattr(value, field.name) != default_of(field)}
    return dict(keyfilter(changed.__contains__, plain))


class _Reader:
    """Turns the YAML document into a graph and gathers everything that is wrong on the way."""

    def __init__(self, layers: Layers, trust: bool) -> None:
        self._layers = layers
        self._trust = trust
        self._modules_left_out = False
        self.places: list[tuple[Place, str]] = layers.problems
        self._lacks_modules = False

    def spec(self, file: Path) -> Spec | None:
        document = self._layers.document
        if not isinstance(document, CommentedMap):
            self.places.append(
                (Place(str(file)), f"a graph is a map with the key 'nodes', and this is {_kind(document)}")
            )
            return None
        for key in document:
            if key not in _TOP:
                self._wrong(document, key, f"unknown key {key!r}" + did_you_mean(str(key), _TOP))
        modules = self._modules(document)
        options = RunOptions()
        if document.get("run") is not None:
            options = self._build(RunOptions, document, "run", "run", ()) or options
        nodes = document.get("nodes")
        if not isinstance(nodes, CommentedMap) or not nodes:
            self._wrong(document, "nodes", f"'nodes' should be a map of node names to stages, and is {_kind(nodes)}")
            return None
        built = tuple(self._nodes(nodes))
        for name in self._layers.removed & {node.name for node in built}:
            built = without_node(built, name)
        varied = tuple(self._varied(document, built)) if not self.places else ()
        return Spec(built, options, modules, varied) if not self.places else None

    def _varied(self, document: CommentedMap, nodes: Sequence[Node]) -> Iterator[Varied]:
        variants = document.get("variants")
        if variants is None:
            return
        if not isinstance(variants, CommentedMap):
            self._wrong(document, "variants", f"'variants' should be a map of node names, and is {_kind(variants)}")
            return
        if any(isinstance(node.stage, Unloaded) for node in nodes):
            return  # the ways may be those of a module that is not loaded
        folder = self._layers.places.file_of(document, "variants").parent

        def wrong(key: Any, text: str) -> None:
            self._wrong(variants, key, text)

        yield from varied_of(plain(variants), nodes, wrong, folder)

    def _modules(self, document: CommentedMap) -> tuple[str, ...]:
        modules = document.get("modules") or []
        if not isinstance(modules, list):
            self._wrong(document, "modules", f"'modules' should be a list of files or modules, and is {_kind(modules)}")
            return ()
        loaded = []
        for module in modules:
            text = str(module)
            loaded.append(text)
            if not self._trust:
                self._modules_left_out = True
                continue
            try:
                registry.load_module(text)
            except UserError as error:
                self._wrong(document, "modules", str(error))
                self._lacks_modules = True
        return tuple(loaded)

    def _nodes(self, nodes: CommentedMap) -> Iterator[Node]:
        behind: dict[str | None, tuple[str, ...]] = {None: ()}
        for name in nodes:
            entry = nodes[name]
            before = self._layers.previous[str(name)]
            previous = behind.get(before, (str(before),))
            behind[str(name)] = (str(name),)
            if one_line(str(name), LONGEST_NAME) != str(name):
                self._wrong(
                    nodes, name, f"a node's name is {one_line(repr(name))}; words of ordinary characters were wanted"
                )
            if not isinstance(entry, CommentedMap) or "stage" not in entry:
                self._wrong(nodes, name, f"node {name!r} should be a map with the key 'stage', and is {_kind(entry)}")
                continue
            after = entry.get("after", previous)
            after = (after,) if isinstance(after, str) else after
            if not isinstance(after, Sequence) or not all(isinstance(parent, str) for parent in after):
                self._wrong(entry, "after", f"node {name!r}: 'after' should be a node's name or a list of names")
                after = ()
            for parent in after:
                if parent not in nodes:
                    known = did_you_mean(parent, [str(key) for key in nodes])
                    self._wrong(entry, "after", f"node {name!r} comes after {parent!r}, which is not there{known}")
            try:
                cls = registry.load(str(entry["stage"]))
            except UserError as error:
                if self._modules_left_out and isinstance(error, registry.UnknownStageError):
                    yield Node(str(name), Unloaded(str(entry["stage"])), tuple(str(parent) for parent in after))
                    continue
                if not (
                    self._lacks_modules and isinstance(error, registry.UnknownStageError)
                ):  # it may be in one of them
                    self._wrong(entry, "stage", f"node {name!r}: {error}", at_value=True)
                continue
            stage = self._build(cls, nodes, name, f"node {name!r} ({cls.stage_name})", _RESERVED, entry)
            if stage is not None:
                stage = read_from(stage, {str(key): self._layers.places.file_of(entry, key).parent for key in entry})
                place = str(self._layers.places.of(nodes, name))
                node = Node(str(name), stage, tuple(str(parent) for parent in after), place=place)
                behind[str(name)] = node.behind
                yield node

    def _build(
        self, cls: Any, parent: CommentedMap, key: Any, what: str, reserved: tuple[str, ...], entry: Any = None
    ) -> Any:
        """Make a dataclass of the parameters in a map; what is wrong is noted at the parameter's place."""
        entry = parent[key] if entry is None else entry
        if not isinstance(entry, CommentedMap):
            self._wrong(parent, key, f"{what} should be a map of parameters, and is {_kind(entry)}")
            return None
        known = names_of(cls)
        parameters = {}
        before = len(self.places)
        for name in entry:
            if name in reserved:
                continue
            if name not in known:
                self._wrong(entry, name, f"{what} has no parameter {name!r}" + did_you_mean(str(name), known))
            else:
                parameters[str(name)] = plain(entry[name])
        if len(self.places) > before:
            return None
        try:
            return cls(**parameters)
        except pydantic.ValidationError as error:
            for detail in error.errors():
                first = detail["loc"][0] if detail["loc"] else ""
                text = f"{what}: {describe_problem(detail)}"
                if first in entry:
                    self._wrong(entry, first, text, at_value=True)
                else:
                    self._wrong(parent, key, text)
            return None

    def _wrong(self, parent: CommentedMap, key: Any, text: str, *, at_value: bool = False) -> None:
        self.places.append((self._layers.places.of(parent, key, at_value=at_value), text))


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, CommentedMap):
        return "a map"
    return "a list" if isinstance(value, CommentedSeq) else f"{value!r}"
