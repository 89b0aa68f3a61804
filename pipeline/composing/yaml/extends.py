"""Graphs in YAML that extend another: ``extends: base.yaml``, and then only what is different.

.. code-block:: yaml

    extends: base.yaml
    run: {max_frames: 100}
    nodes:
      words: {least: 10}
      sort: {stage: words/backwards}
      report: null
      extra: {stage: words/twice, after: words}
      sink: {after: extra}

A node of the base that is given parameters has these changed; with ``stage`` it is replaced in its place; ``null`` takes it
out, and what came after it comes after what it came after. Other names are new nodes; each comes after the one that stands
before it in its own file unless ``after`` says otherwise. Options of the run are changed one by one, modules are added, and any
other key takes the place of the base's. The files become one document here, whose keys know the file in which they stand.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from pipeline.composing.yaml.limits import MAX_CHARACTERS
from pipeline.composing.yaml.text import Place, SpecError, document_of
from pipeline.hints import did_you_mean

EXTENDS = "extends"
_MERGED = ("run", "nodes", "modules")


class Places:
    """Where the keys of maps stand: file, line and column. Maps that were made here point to those they are made of."""

    def __init__(self) -> None:
        self._files: dict[int, tuple[Any, Path]] = {}  # holds the maps, too, so that each id stays that of one
        self._origins: dict[tuple[int, Any], tuple[CommentedMap, Any, bool]] = {}

    def read(self, value: Any, file: Path) -> None:
        """Note in which file a value stands, and all that is in it."""
        if id(value) in self._files or not isinstance(value, CommentedMap | CommentedSeq):
            return
        self._files[id(value)] = (value, file)
        for inner in value.values() if isinstance(value, CommentedMap) else value:
            self.read(inner, file)

    def take(self, made: CommentedMap, key: Any, source: CommentedMap, source_key: Any = None) -> None:
        """Note that a key of a map that was made stands where it stands in another; with `source_key` at that one's value."""
        self._files.setdefault(id(made), (made, self.file_of(source)))
        other = source_key is not None
        self._origins[id(made), key] = (source, source_key if other else key, other)

    def file_of(self, parent: Any, key: Any = None) -> Path:
        """Return the file in which a key stands."""
        while (id(parent), key) in self._origins:
            parent, key, _ = self._origins[id(parent), key]
        return self._files[id(parent)][1] if id(parent) in self._files else Path()

    def of(self, parent: Any, key: Any, *, at_value: bool = False) -> Place:
        """Return where a key stands, or its value."""
        file = self.file_of(parent, key)
        while (id(parent), key) in self._origins:
            parent, key, is_value = self._origins[id(parent), key]
            at_value = at_value or is_value
        try:
            line, column = parent.lc.value(key) if at_value else parent.lc.key(key)
        except (KeyError, TypeError, AttributeError):  # ruamel has no place for keys that came through a merge
            line, column = 0, 0
        return Place(str(file), line + 1, column + 1)


@dataclasses.dataclass
class Layers:
    """What a file and those that it extends say together.

    Attributes
    ----------
    document
        As if one file had said it; nodes that are taken out are still there, since others may come after them.
    places
        Where its keys stand.
    previous
        Name of each node -> the node that stands before it in its own file; None for the first.
    removed
        Nodes that are taken out.
    problems
        What is wrong with how one file extends another.
    files
        All that were read besides the first.
    """

    document: Any
    places: Places
    previous: dict[str, str | None]
    removed: set[str]
    problems: list[tuple[Place, str]]
    files: list[Path]


def layers_of(document: Any, file: Path) -> Layers:
    """Read what a document extends, and say what all say together; SpecError if a file cannot be read."""
    places = Places()
    return _layers(document, (file,), places)


def _layers(document: Any, chain: tuple[Path, ...], places: Places) -> Layers:
    file = chain[-1]
    places.read(document, file)
    if not isinstance(document, CommentedMap):
        return Layers(document, places, {}, set(), [], [])
    _modules_from_here(document, file)
    nodes = document.get("nodes")
    names = list(nodes) if isinstance(nodes, CommentedMap) else []
    previous = dict(zip(map(str, names), [None, *map(str, names)], strict=False))
    for name in names:
        nodes[name] = _spelled_out(nodes, name, places)
    if EXTENDS not in document:
        return Layers(document, places, previous, set(), [], [])
    base = _base(document, chain, places)
    return _Merger(base, document, previous).layers()


def _base(document: CommentedMap, chain: tuple[Path, ...], places: Places) -> Layers:
    """Read the file that a document extends."""

    def wrong(text: str) -> SpecError:
        return SpecError([(places.of(document, EXTENDS, at_value=True), text)])

    given = document[EXTENDS]
    if not isinstance(given, str):
        raise wrong(f"'{EXTENDS}' should be the name of a YAML file, and is {given!r}")
    path = chain[-1].parent / given
    real = [os.path.realpath(file) for file in chain]
    if os.path.realpath(path) in real:
        circle = [*chain[real.index(os.path.realpath(path)) :], path]
        raise wrong(f"these files extend each other in a circle: {' -> '.join(map(str, circle))}")
    try:
        if path.exists() and not path.is_file():
            raise wrong(f"{path}, which it extends, is no file")
        with path.open(encoding="utf-8") as opened:
            text = opened.read(MAX_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise wrong(f"cannot read {path}, which it extends: {why}") from error
    base = document_of(text, path)
    if not isinstance(base, CommentedMap):
        raise SpecError([(Place(str(path)), "this is extended and is no graph: a map with the key 'nodes' was wanted")])
    layers = _layers(base, (*chain, path), places)
    layers.files.append(path)
    return layers


class _Merger:
    """Puts what a file says over what the file says that it extends."""

    def __init__(self, base: Layers, own: CommentedMap, previous: Mapping[str, str | None]) -> None:
        self._base = base
        self._own = own
        self._previous = previous
        self._places = base.places

    def layers(self) -> Layers:
        others = [key for key in self._own if key not in (*_MERGED, EXTENDS)]
        whole = self._over(self._base.document, self._own, others)
        whole.pop(EXTENDS, None)
        for key in _MERGED:
            if key not in self._own or self._own[key] is None:
                continue
            old, new = whole.get(key), self._own[key]
            if isinstance(old, CommentedMap) and isinstance(new, CommentedMap):
                whole[key] = self._nodes(old, new) if key == "nodes" else self._over(old, new)
            elif isinstance(old, list) and isinstance(new, list):
                whole[key] = list(dict.fromkeys([*old, *new]))
                self._places.take(whole, key, self._own)
            else:
                whole[key] = new
                self._places.take(whole, key, self._own)
        self._base.document = whole
        return self._base

    def _over(self, old: CommentedMap, new: CommentedMap, only: Collection[Any] | None = None) -> CommentedMap:
        """One map with the keys of both, the new ones' values where both have a key; of the new one `only` these keys."""
        made = CommentedMap()
        for source, keys in ((old, old), (new, new if only is None else only)):
            for key in keys:
                made[key] = source[key]
                self._places.take(made, key, source)
        return made

    def _nodes(self, old: CommentedMap, new: CommentedMap) -> CommentedMap:
        made = self._over(old, new, ())
        for name in new:
            entry = new[name]
            there = name in old and str(name) not in self._base.removed
            is_whole = not isinstance(entry, CommentedMap) or "stage" in entry
            if not there and (entry is None or not is_whole):
                what = "be taken out" if entry is None else "have parameters changed (a new one has the key 'stage')"
                base = self._places.file_of(self._base.document, "nodes")
                known = did_you_mean(str(name), [str(key) for key in old])
                self._wrong(new, name, f"there is no node {name!r} in {base} that could {what}{known}")
                continue
            self._places.take(made, name, new)
            if entry is None:
                self._base.removed.add(str(name))
            elif there:
                made[name] = self._changed(old[name], entry, is_whole)
            else:
                if self._previous[str(name)] is None and isinstance(entry, CommentedMap) and "after" not in entry:
                    self._wrong(new, name, f"node {name!r} is new, and the first here: say 'after' which node it comes")
                made[name] = entry
                self._base.previous[str(name)] = self._previous[str(name)]
                self._base.removed.discard(str(name))
        return made

    def _changed(self, old: Any, new: Any, is_whole: bool) -> Any:
        """What becomes of a node: another stage in its place, or the same with other parameters."""
        if not (isinstance(old, CommentedMap) and isinstance(new, CommentedMap)):
            return new
        if not is_whole:
            return self._over(old, new)
        if "after" in new or "after" not in old:
            return new
        return self._over(new, old, ["after"])

    def _wrong(self, parent: CommentedMap, key: Any, text: str) -> None:
        self._base.problems.append((self._places.of(parent, key), text))


def _spelled_out(nodes: CommentedMap, name: Any, places: Places) -> Any:
    """A node's map, also where the name of the stage stands for it."""
    if not isinstance(nodes[name], str):
        return nodes[name]
    entry = CommentedMap({"stage": nodes[name]})
    places.take(entry, "stage", nodes, name)
    return entry


def _modules_from_here(document: CommentedMap, file: Path) -> None:
    """Say where the modules' files are as seen from where the program runs, and not from the file that names them."""
    given = document.get("modules")
    if isinstance(given, str):
        given = [given]
    if isinstance(given, list):
        document["modules"] = [
            str(file.parent / str(module)) if str(module).endswith(".py") else str(module) for module in given
        ]
