"""What YAML says under ``variants:``, and where in the file it is wrong.

.. code-block:: yaml

    variants:
      words:
        - {stage: words/longest, n: [10, 20]}
        - {stage: words/first}
      filter.least: [10, 15]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.composing.node import Node
from pipeline.composing.varied import Varied, ways_of, with_values
from pipeline.errors import UserError
from pipeline.hints import did_you_mean

Wrong = Callable[[Any, str], None]
"""Takes a key of the map and what is wrong there."""


def varied_of(variants: Mapping[str, Any], nodes: Sequence[Node], wrong: Wrong, folder: Path) -> Iterator[Varied]:
    """Return what is varied.

    Parameters
    ----------
    variants
        The nodes' names, or names with a parameter, and the ways as plain values.
    wrong
        Is told what is wrong.
    folder
        From where files that are read are named (decision 29).
    """
    stages = {node.name: node.stage for node in nodes}
    found: dict[str, Varied] = {}
    for key, given in variants.items():
        node, _, parameter = key.partition(".")
        if node not in stages:
            wrong(key, f"variants of {node!r}, and there is no such node" + did_you_mean(node, list(stages)))
            continue
        try:
            before = found[node].ways if node in found else ()
            if parameter:
                values = {parameter: given if isinstance(given, list) else [given]}
                ways = with_values(stages[node], before, values, folder)
            elif before:
                raise UserError(f"say all ways of {node!r} in one place, before their parameters ({node}.…)")
            else:
                ways = ways_of(stages[node], given, folder)
            found[node] = Varied(node, ways)
        except UserError as error:
            wrong(key, f"variants of {key!r}: {error}")
    yield from found.values()
