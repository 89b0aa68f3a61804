"""``--variant`` in indexamajig's words: ``--variant peaks=zaef`` means what ``--peaks=zaef`` does."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline import registry
from pipeline.command_line.variant_options import with_variants, with_wishes
from pipeline.composing.graph import Graph
from pipeline.composing.varied import Way
from pipeline.errors import UserError

log = logging.getLogger("streamajig.options")

_OPTION_OF = {"peaks": "peaks", "index": "indexing", "integrate": "integration"}
"""Nodes whose stages an option names in words of its own."""

COMPARING = ("variant", "verdict", "keep_best", "aim", "until_decided")
"""Options of variants."""


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = False


def compared(graph: Graph, options: Mapping[str, Any], graph_of: Callable[[Mapping[str, Any]], Graph]) -> Graph:
    """Return the graph with the variants that the options ask for; `graph_of` makes the graph of other options."""

    def way_of(node: str, word: str) -> Way | None:
        option = _OPTION_OF.get(node)
        if option is None or "/" in word:
            return None
        others = {name: value for name, value in options.items() if name not in (*COMPARING, "set")}
        try:
            with _silent():  # what it would say has been said of the graph as it is
                other = graph_of({**others, option: word})
        except UserError:
            kind = graph.node(node).stage.stage_name.partition("/")[0]
            if registry.exists(f"{kind}/{word}"):
                return None  # a stage that no option names, such as one of the user's own
            raise
        left_out = [name for name in other.names if name not in graph.names]
        if left_out:
            log.warning(
                "--variant %s=%s goes without %s, which --%s=%s has", node, word, ", ".join(left_out), option, word
            )
        return Way(word, other.node(node).stage)

    graph = with_variants(graph, options.get("variant") or (), way_of)
    return with_wishes(
        graph,
        verdict=options.get("verdict") or (),
        keep_best=options.get("keep_best"),
        aim=options.get("aim"),
        until_decided=options.get("until_decided"),
    )
