"""``streamajig index``: indexamajig's options, for frames that come over ZeroMQ. Its options are made from the table."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from pipeline.indexamajig_options import Option, Status
from pipeline.indexamajig_table import OPTIONS


def make_index() -> Callable[..., None]:
    """Make the function whose signature has one parameter for each row of the table."""

    def index(**options: Any) -> None:
        index_with(options)

    parameters = [_parameter(row) for row in OPTIONS]
    index.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    index.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    index.__doc__ = _HELP
    return index


_HELP = """Index frames that come over ZeroMQ, and write a CrystFEL stream.

The options are indexamajig's and mean the same; an option that is not supported is refused, never ignored.
docs/reference-options.md lists them all.
"""


def index_with(options: dict[str, Any]) -> None:
    """Run (or print) the graph that these options ask for, by their names in the table."""
    import shlex

    from pipeline.indexamajig import graph_from_options

    graph = graph_from_options(options)
    if options.get("print_graph"):
        graph.check()
        sys.stdout.write(graph.to_yaml())
        return
    from pipeline.commands_execute import execute

    status = execute(
        graph,
        shlex.join(["streamajig", *sys.argv[1:]]),
        profile=bool(options.get("profile")),
        as_json=bool(options.get("json")),
    )
    raise typer.Exit(status)


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
