"""Commands about graphs and stages: run, check, show, stages, schema."""

from __future__ import annotations

import dataclasses
import inspect
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipeline.graph import Graph

GraphFile = Annotated[Path, typer.Argument(metavar="GRAPH.yaml", help="The graph, as YAML.", show_default=False)]
Modules = Annotated[
    list[str] | None,
    typer.Option("--module", metavar="FILE.py", help="Load stages of your own from this .py file or module."),
]


def run(
    file: GraphFile,
    backend: Annotated[str | None, typer.Option(metavar="NAME:N", help="Instead of the file's backend.")] = None,
    max_frames: Annotated[int | None, typer.Option(metavar="N", help="End after this many frames.")] = None,
    no_data_timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="End when nothing has arrived for this long.")
    ] = None,
    stage_timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Reject a frame in which one stage takes longer than this.")
    ] = None,
    module: Modules = None,
    profile: Annotated[bool, typer.Option("--profile", help="Show how long each stage takes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Run a graph until its stream ends, and print the report.

    Exit status: 0 the stream ended or was stopped; 1 something failed (a full disk, say); 2 a wrong graph or file; 3 every
    frame was rejected at some sink; 4 nothing was received; 130 frames were abandoned.
    """
    from pydantic import ValidationError

    from pipeline.commands_execute import execute
    from pipeline.errors import UserError
    from pipeline.yaml_spec import describe_problem

    graph = _load(file, module)
    changes = {
        "backend": backend,
        "max_frames": max_frames,
        "no_data_timeout_s": no_data_timeout,
        "stage_timeout_s": stage_timeout,
    }
    try:
        graph = graph.with_options(**{name: value for name, value in changes.items() if value is not None})
    except ValidationError as error:
        flags = {name: f"--{name.removesuffix('_s').replace('_', '-')}" for name in changes}
        raise UserError(
            "\n".join(f"{flags[str(d['loc'][0])]}: {describe_problem(d)}" for d in error.errors())
        ) from None
    status = execute(graph, shlex.join(["streamajig", *sys.argv[1:]]), profile=profile, as_json=as_json)
    raise typer.Exit(status)


def check(file: GraphFile, module: Modules = None) -> None:
    """Say everything that is wrong with a graph, without opening any of its files or sockets."""
    graph = _load(file, module)
    graph.check()
    print(f"{file}: {len(graph.nodes)} nodes, nothing wrong: {graph.arrows()}")  # noqa: T201


def show(file: GraphFile, module: Modules = None) -> None:
    """Draw a graph as a Mermaid flowchart."""
    print(_load(file, module).to_mermaid())  # noqa: T201


def stages(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Print this stage's manual.", show_default=False)
    ] = None,
    module: Modules = None,
) -> None:
    """List all stages, or print one stage's manual: what it does, its parameters, what it reads and writes."""
    from pipeline import registry

    for each in module or ():
        registry.load_module(each)
    if name is not None:
        print(manual(name))  # noqa: T201
        return
    names = registry.names()
    width = max(map(len, names))
    for each in names:
        print(f"{each:{width}}  {_first_line(registry.load(each))}")  # noqa: T201


def schema(module: Modules = None) -> None:
    """Print the JSON schema of the YAML, for editors that complete and check while you type."""
    from pipeline import registry, yaml_spec

    for each in module or ():
        registry.load_module(each)
    print(json.dumps(yaml_spec.schema(registry.names()), indent=2))  # noqa: T201


def manual(name: str) -> str:
    """One stage's manual as plain text.

    >>> print(manual("graph/join").splitlines()[0])
    graph/join
    """
    from pipeline import registry
    from pipeline.contract import contract_of, role_of

    cls = registry.load(name)
    lines = [name, "=" * len(name), "", inspect.getdoc(cls) or "", ""]
    role = role_of(cls)
    if role == "stage":
        contract = contract_of(cls)
        reads = [k.__name__ + (" (if there is one)" if k in contract.optional else "") for k in contract.reads]
        lines += [
            f"reads   {', '.join(reads) or '-'}",
            f"writes  {', '.join(k.__name__ for k in contract.writes) or '-'}",
        ]
    else:
        lines.append(f"It is a {role}.")
    fields = sorted(_fields(cls), key=lambda field: bool(field[2]))  # those without default first
    lines += ["", "parameters" if fields else "no parameters"]
    for field, kind, default, description in fields:
        lines.append(f"  {field}: {kind}" + (f" = {default}" if default else "  (must be given)"))
        if description:
            lines.append(f"      {description}")
    return "\n".join(lines)


def _fields(cls: Any) -> Any:
    """Name, type, default ("" where there is none) and description of each parameter."""
    from pydantic import TypeAdapter
    from pydantic.fields import FieldInfo

    described = TypeAdapter(cls).json_schema().get("properties", {})
    for field in dataclasses.fields(cls):
        default: Any = field.default
        if isinstance(default, FieldInfo):
            default = dataclasses.MISSING if default.is_required() else default.get_default(call_default_factory=True)
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        text = "" if default is dataclasses.MISSING else repr(str(default) if isinstance(default, Path) else default)
        yield field.name, _type_name(field.type), text, described.get(field.name, {}).get("description", "")


def _type_name(kind: Any) -> str:
    """A parameter's type as one writes it, without what stands beside it in ``Annotated``."""
    if isinstance(kind, str):
        return kind.removeprefix("Annotated[").partition(", Field(")[0] if kind.startswith("Annotated[") else kind
    if hasattr(kind, "__metadata__"):
        kind = kind.__origin__
    return (
        kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind).replace("typing.", "")
    )


def _first_line(cls: Any) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def _load(file: Path, modules: list[str] | None) -> Graph:
    from pipeline import registry
    from pipeline.graph import Graph

    for module in modules or ():
        registry.load_module(module)
    return Graph.load(file)
