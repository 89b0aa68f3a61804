"""``streamajig index``: indexamajig's options, for frames that come over ZeroMQ. Its options are made from the table."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stages.commands.index.options import Option, Status
from stages.commands.index.table import OPTIONS

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph


def _parameter(row: Option) -> inspect.Parameter:
    kind: Any = row.kind
    annotation: Any
    default: Any
    if row.repeatable:
        annotation, default = list[kind] | None, None
    elif kind is bool:
        annotation, default = kind, False
    else:
        annotation, default = kind | None, None
    text = row.help if not row.default else f"{row.help} Default: {row.default}."
    declared = typer.Option(
        *row.flags,
        help=text,
        metavar=row.metavar or ("" if kind is bool else None),
        rich_help_panel=row.panel,
        hidden=row.status is not Status.SUPPORTED,
        show_default=False,
    )
    return inspect.Parameter(
        row.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, declared]
    )


def index(**options: Any) -> None:
    """Index frames that come over ZeroMQ, and write a CrystFEL stream.

    The options are indexamajig's and mean the same; an option that is not supported is refused, never ignored.
    --manual prints the page of them all, also of those that are refused.

    Exit status: 0 the stream ended or was stopped; 1 something failed (a full disk, say); 2 wrong options or files; 3 every
    frame was rejected; 4 nothing was received; 130 frames were abandoned.
    """
    import shlex

    if options.get("manual"):
        from stages.commands.index.reference import reference

        sys.stdout.write(reference())
        return

    from stages.commands.index.graph import graph_from_options

    if options.get("print_graph"):
        graph = graph_from_options(options)
        graph.check()
        sys.stdout.write(graph.portable().to_yaml())
        return
    from pipeline.command_line.execute import execute
    from stages.commands.ahead import compile_beside

    def load() -> Graph:
        graph = graph_from_options(options)
        compile_beside(graph)
        return graph

    status = execute(
        load,
        shlex.join(["streamajig", *sys.argv[1:]]),
        profile=bool(options.get("profile")),
        as_json=bool(options.get("json")),
    )
    raise typer.Exit(status)


_PARAMETERS = [_parameter(row) for row in OPTIONS]
# the command line is made from the signature: one parameter for each row of the table
index.__signature__ = inspect.Signature(_PARAMETERS)  # type: ignore[attr-defined]
index.__annotations__ = {parameter.name: parameter.annotation for parameter in _PARAMETERS}
# scripts abbreviate options as indexamajig lets them, whatever options have come since
index.old_options = frozenset(flag for row in OPTIONS if not row.own for flag in row.flags)  # type: ignore[attr-defined]
index.values_alone = {flag: row.alone for row in OPTIONS if row.alone for flag in row.flags}  # type: ignore[attr-defined]
