"""Nodes put into a graph and taken out of it, with the others hanging together as before.

>>> from pipeline.composing.join import Join
>>> nodes = (Node("a", Join()), Node("b", Join(), ("a",)), Node("c", Join(), ("b",)))
>>> [(node.name, node.after) for node in with_node(nodes, Node("new", Join()), after="a")]
[('a', ()), ('new', ('a',)), ('b', ('new',)), ('c', ('b',))]
>>> [(node.name, node.after) for node in without_node(nodes, "b")]
[('a', ()), ('c', ('a',))]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from toolz import unique

from pipeline.composing.node import Node
from pipeline.errors import UserError
from pipeline.hints import did_you_mean


def with_node(
    nodes: Sequence[Node], new: Node, *, before: str | None = None, after: str | None = None
) -> tuple[Node, ...]:
    """Return the nodes with one more: between `after` and all that comes after it, before one node, or between two."""
    names = [node.name for node in nodes]
    for name in (before, after):
        if name is not None and name not in names:
            raise UserError(f"the graph has no node {name!r}{did_you_mean(name, names)}")
    if new.name in names:
        raise UserError(f"there is a node {new.name!r} already; give the new one another name: name=...")
    if before is None and after is None:
        raise UserError(f"say where {new.name!r} comes: before=... or after=... a node")
    followers = {node.name for node in nodes if after in node.after} if before is None else {before}
    parents = (after,) if after is not None else nodes[names.index(str(before))].after
    if before is not None and after is not None and after not in nodes[names.index(before)].after:
        raise UserError(f"{before!r} does not come directly after {after!r}: nothing can be put between them")
    if len(parents) != 1:
        what = f"comes after {' and '.join(parents)}: say between which two" if parents else "is where frames come from"
        raise UserError(f"{new.name!r} cannot come before {before!r}, which {what}")
    (parent,) = parents
    put = dataclasses.replace(new, after=parents)
    found: list[Node] = []
    for node in nodes:
        if node.name in followers:
            behind = tuple(put.name if name == parent else name for name in node.after)
            node = dataclasses.replace(node, after=behind)  # noqa: PLW2901
            if put not in found:
                found.append(put)
        found.append(node)
    return tuple(found if put in found else [*found, put])


def without_node(nodes: Sequence[Node], name: str) -> tuple[Node, ...]:
    """Return the nodes without one; those that came after it come after what it came after."""
    parents = next(node.after for node in nodes if node.name == name)
    return tuple(
        dataclasses.replace(
            node, after=tuple(unique(each for one in node.after for each in (parents if one == name else (one,))))
        )
        if name in node.after
        else node
        for node in nodes
        if node.name != name
    )
