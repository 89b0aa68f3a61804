"""A graph as a line of text and as a picture.

The picture is Mermaid for programs that draw it, and for notebooks SVG that needs neither network nor program; in it each node
stands right of those before it.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph
    from pipeline.composing.node import Node

_NAME, _LINE, _GAP_X, _GAP_Y, _MARGIN = 25, 15, 28, 14, 4
"""Heights of a node's name and of a line below it, and what is left free, px."""

_MOST_WAYS = 8
"""Of a varied node so many ways are named."""

_LETTER, _LEAST_WIDTH = 6.4, 60
"""Width of a letter at 11 px, and of a box at least, px."""

_FILL = {"source": "#dcecf7", "stage": "#ffffff", "join": "#f4efe0", "sink": "#e3f1e1"}


def arrows(graph: Graph) -> str:
    """Say in one line where frames go; see :meth:`Graph.arrows`."""
    drawn: set[str] = set()
    ways, todo = [], [[node.name] for node in graph.nodes if not node.after]
    while todo:
        way = todo.pop(0)
        branches: list[list[str]] = []
        while way[-1] not in drawn and (children := graph.children(way[-1])):
            drawn.add(way[-1])
            first, *others = [child.name for child in children]
            branches = [[way[-1], other] for other in others] + branches
            way.append(first)
        todo = branches + todo
        ways.append(" -> ".join(way))
    return "; ".join(ways)


_MERMAID = {"source": ('(["', '"])'), "sink": ('[("', '")]'), "join": ('("', '")'), "stage": ('["', '"]')}
"""What stands before and behind a node's text, by its role."""

_RESERVED = frozenset({"graph", "end", "subgraph", "style", "class"})
"""Words that Mermaid takes for its own."""


def mermaid(graph: Graph) -> str:
    """Draw a graph as a Mermaid flowchart."""
    ids = {name: f"{name}_" if name in _RESERVED else name for name in graph.names}
    lines = ["flowchart LR"]
    for node in graph.nodes:
        before, behind = _MERMAID[node.role]
        lines.append(f"    {ids[node.name]}{before}{'<br/>'.join([node.name, *_below(graph, node)])}{behind}")
    lines += [f"    {ids[parent]} --> {ids[node.name]}" for node in graph.nodes for parent in node.after]
    return "\n".join(lines)


def svg(graph: Graph) -> str:
    """Draw a graph: a column for each step from the source, a row for each branch.

    >>> from pipeline.composing.graph import Graph
    >>> from pipeline.composing.join import Join
    >>> text = svg(Graph.chain(Join(), Join()))
    >>> text.count("<rect"), text.count("<path d"), text.startswith("<svg ")
    (2, 2, True)
    """
    places = _places(graph)
    columns = 1 + max((column for column, _ in places.values()), default=-1)
    said = {node.name: _shortened(_below(graph, node)) for node in graph.nodes}
    widths = [
        max(_width(node, said[node.name]) for node in graph.nodes if places[node.name][0] == n) for n in range(columns)
    ]
    lefts = [_MARGIN + sum(widths[:n]) + n * _GAP_X for n in range(columns)]
    right = lefts[-1] + widths[-1] if columns else 0
    rows = 1 + max((row for _, row in places.values()), default=0)
    lines = [max((len(said[name]) for name, place in places.items() if place[1] == n), default=1) for n in range(rows)]
    heights = [_NAME + _LINE * number for number in lines]
    tops = [_MARGIN + sum(heights[:n]) + n * _GAP_Y for n in range(rows)]
    middles = [top + height / 2 for top, height in zip(tops, heights, strict=True)]
    bottom = tops[-1] + heights[-1] + _GAP_Y

    drawn = []
    for node in graph.nodes:
        column, row = places[node.name]
        x, y, width, height = lefts[column], tops[row], widths[column], heights[row]
        for parent in node.after:
            if parent in places:
                from_column, from_row = places[parent]
                start = lefts[from_column] + widths[from_column]
                drawn.append(_arrow(start, middles[from_row], x, middles[row]))
        drawn.append(
            f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{height}" rx="6" fill="{_FILL[node.role]}" '
            'stroke="#46525f"/>'
            f'<text x="{x + width / 2:.0f}" y="{y + 17}" font-weight="bold">{escape(node.name)}</text>'
            + "".join(
                f'<text x="{x + width / 2:.0f}" y="{y + 32 + _LINE * n}" fill="#46525f">{escape(text)}</text>'
                for n, text in enumerate(said[node.name])
            )
        )
    size = f'width="{right + _MARGIN:.0f}" height="{bottom}"'
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#46525f"/></marker></defs>'
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11" text-anchor="middle">'
    )
    return f"{head}{tip}{''.join(drawn)}</svg>"


def _places(graph: Graph) -> dict[str, tuple[int, int]]:
    """Column and row of each node: a column behind the last of those before it, the first row from theirs on that is free."""
    places: dict[str, tuple[int, int]] = {}
    taken: set[tuple[int, int]] = set()
    for node in graph.in_order():
        before = [places[parent] for parent in node.after]
        column = 1 + max((column for column, _ in before), default=-1)
        row = min((row for _, row in before), default=0)
        while (column, row) in taken:
            row += 1
        places[node.name] = (column, row)
        taken.add((column, row))
    return places


def _below(graph: Graph, node: Node) -> list[str]:
    """What stands below a node's name: its stage, or the ways in which its work is done."""
    ways = [way.name for varied in graph.varied if varied.node == node.name for way in varied.ways]
    return ways or [node.stage.stage_name]


def _shortened(ways: list[str]) -> list[str]:
    more = len(ways) - _MOST_WAYS
    return [*ways[:_MOST_WAYS], f"and {more} more"] if more > 0 else ways


def _width(node: Node, below: list[str]) -> float:
    return max(_LEAST_WIDTH, 16 + _LETTER * max(map(len, (node.name, *below))))


def _arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    half = to_x - _GAP_X / 2
    curve = (
        f"M{x:.0f} {y:.0f} H{half - 8:.0f} Q{half:.0f} {y:.0f} {half:.0f} {(y + to_y) / 2:.0f} T{to_x:.0f} {to_y:.0f}"
    )
    straight = f"M{x:.0f} {y:.0f} H{to_x:.0f}"
    return f'<path d="{straight if y == to_y else curve}" fill="none" stroke="#46525f" marker-end="url(#tip)"/>'
