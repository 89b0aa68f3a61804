"""What the shell offers when one presses TAB: names of stages, the nodes and parameters of the graph that is named, and what is
in the folder of dead letters.

Nothing is run for it: of a graph's own modules none is loaded, and what cannot be read completes to nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.composing.graph import Graph
    from pipeline.running.kept_letters import KeptRun


def stages_and_kinds(incomplete: str) -> list[str]:
    """Names of stages that begin so, and of kinds."""
    from pipeline.registry import listed

    names = listed()
    return _beginning([*sorted({name.partition("/")[0] for name in names}), *names], incomplete)


def settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """Nodes of the graph on the command line, and behind a dot the parameters of one: what ``--set`` takes."""
    from pipeline.composing.graph import Graph
    from pipeline.errors import UserError

    # with an option that still lacks its value, click leaves the other words as they are
    words = [word for word in (ctx.params.get("file"), *ctx.args) if word is not None and not str(word).startswith("-")]
    try:
        file, *_ = words or [""]
        return _beginning(_settings_of(Graph.load(file, trust=False)), incomplete)
    except UserError:
        return []


def runs_of_dead_letters(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs that have kept dead letters."""
    return _beginning([run.name for run in _kept(ctx)], incomplete)


def nodes_of_dead_letters(ctx: typer.Context, incomplete: str) -> list[str]:
    """Nodes that have rejected these."""
    return _beginning(sorted({node for run in _kept(ctx) for node, _ in run.counts}), incomplete)


def reasons_of_dead_letters(ctx: typer.Context, incomplete: str) -> list[str]:
    """Reasons of these."""
    return _beginning(sorted({reason for run in _kept(ctx) for _, reason in run.counts}), incomplete)


def _kept(ctx: typer.Context) -> list[KeptRun]:
    from pipeline.errors import UserError
    from pipeline.running.kept_letters import FOLDER, read_folder

    try:
        return read_folder(Path(ctx.params.get("folder") or FOLDER))
    except UserError:
        return []


def _settings_of(graph: Graph) -> Iterable[str]:
    from pipeline.composing.settings import RUN
    from pipeline.parameters import names_of

    places: list[tuple[str, Any]] = [(node.name, node.stage) for node in graph.nodes]
    for name, value in [*places, (RUN, graph.options)]:
        yield from (f"{name}.{parameter}=" for parameter in names_of(value))


def _beginning(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
