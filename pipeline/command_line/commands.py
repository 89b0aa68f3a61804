"""Commands about graphs and stages: run, check, show, stages, schema."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.command_line import completion
from pipeline.command_line.monitor_options import MONITOR_HELP, REPORT_HELP
from pipeline.command_line.variant_options import (
    AIM_HELP,
    KEEP_BEST_HELP,
    UNTIL_DECIDED_HELP,
    VARIANT_HELP,
    VERDICT_HELP,
)

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph

GraphFile = Annotated[
    Path, typer.Argument(metavar="GRAPH.yaml", help="The graph, as YAML; - is standard input.", show_default=False)
]
Modules = Annotated[
    list[str] | None,
    typer.Option("--module", metavar="FILE.py", help="Load stages of your own from this .py file or module."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NODE.PARAMETER=VALUE",
        help="Change a parameter; can be given several times.",
        autocompletion=completion.settings,
    ),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Load the modules that the graph names, which runs them, as 'run' does.")
]


def run(  # noqa: PLR0913 - a parameter for each option
    file: GraphFile,
    backend: Annotated[str | None, typer.Option(metavar="NAME:N", help="Instead of the file's backend.")] = None,
    max_frames: Annotated[int | None, typer.Option(metavar="N", help="End after this many frames.")] = None,
    no_data_timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="End when nothing has arrived for this long.")
    ] = None,
    stage_timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Reject a frame in which one stage takes longer than this.")
    ] = None,
    max_worker_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Replace a worker process that has more memory than this (2GB).")
    ] = None,
    variant: Annotated[list[str] | None, typer.Option("--variant", metavar="NODE=WAYS", help=VARIANT_HELP)] = None,
    verdict: Annotated[list[Path] | None, typer.Option("--verdict", metavar="FILE", help=VERDICT_HELP)] = None,
    keep_best: Annotated[Path | None, typer.Option(metavar="FILE.yaml", help=KEEP_BEST_HELP)] = None,
    aim: Annotated[str | None, typer.Option(metavar="MEASURE", help=AIM_HELP)] = None,
    until_decided: Annotated[str | None, typer.Option(metavar="NODE", help=UNTIL_DECIDED_HELP)] = None,
    monitor: Annotated[int | None, typer.Option("--monitor", metavar="[=PORT]", help=MONITOR_HELP)] = None,
    report: Annotated[Path | None, typer.Option("--report", metavar="FILE.html", help=REPORT_HELP)] = None,
    settings: Settings = None,
    module: Modules = None,
    profile: Annotated[bool, typer.Option("--profile", help="Show how long each stage takes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Run a graph until its stream ends, and print the report.

    Exit status: 0 the stream ended or was stopped; 1 something failed (a full disk, say); 2 a wrong graph or file; 3 every
    frame was rejected at some sink; 4 nothing was received; 130 frames were abandoned.
    """
    from pydantic import ValidationError

    from pipeline.command_line import monitor_options
    from pipeline.command_line.execute import execute
    from pipeline.command_line.variant_options import with_wishes
    from pipeline.errors import UserError
    from pipeline.parameters import describe_problem

    changes = {
        "backend": backend,
        "max_frames": max_frames,
        "no_data_timeout_s": no_data_timeout,
        "stage_timeout_s": stage_timeout,
        "max_worker_memory": max_worker_memory,
    }

    def load() -> Graph:
        graph = _load(file, module, settings, variant)
        graph = with_wishes(graph, verdict=verdict or (), keep_best=keep_best, aim=aim, until_decided=until_decided)
        graph = monitor_options.with_wishes(graph, port=monitor, report=report)
        try:
            return graph.with_options(**{name: value for name, value in changes.items() if value is not None})
        except ValidationError as error:
            flags = {name: f"--{name.removesuffix('_s').replace('_', '-')}" for name in changes}
            raise UserError(
                "\n".join(f"{flags[str(d['loc'][0])]}: {describe_problem(d)}" for d in error.errors())
            ) from None

    status = execute(load, shlex.join(["streamajig", *sys.argv[1:]]), profile=profile, as_json=as_json)
    raise typer.Exit(status)


run.values_alone = {"--monitor": "0"}  # type: ignore[attr-defined]


def check(file: GraphFile, settings: Settings = None, module: Modules = None, trust: Trust = False) -> None:
    """Say everything that is wrong with a graph, without opening any of its files or sockets.

    Modules that the graph names are loaded with --trust alone: whoever sent the file wrote them, and loading runs them.
    """
    from pipeline.composing.yaml.spec import Unloaded
    from pipeline.errors import UserError

    graph = _load(file, module, settings, trust=trust)
    if not trust:
        _name_modules(graph)
    unknown = [f"{node.name} ({node.stage.stage_name})" for node in graph.nodes if isinstance(node.stage, Unloaded)]
    if unknown:
        raise UserError(
            f"{file}: the parameters of {len(graph.nodes) - len(unknown)} nodes are right; not checked: {', '.join(unknown)}, "
            "and whether each stage gets what it reads; --trust loads the modules and checks the rest"
        )
    graph.check()
    variants = [variant.name for variant in graph.variants]
    name = "<stdin>" if str(file) == "-" else file
    print(  # noqa: T201
        f"{name}: {len(graph.nodes)} nodes, nothing wrong: {graph.arrows()}"
        + (f"; {len(variants)} variants: {', '.join(variants)}" if variants else "")
    )


def show(file: GraphFile, settings: Settings = None, module: Modules = None, trust: Trust = False) -> None:
    """Draw a graph as a Mermaid flowchart; as check, it loads modules that the graph names with --trust alone."""
    graph = _load(file, module, settings, trust=trust)
    if not trust:
        _name_modules(graph)
    print(graph.to_mermaid())  # noqa: T201


def stages(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="Print this stage's manual, or list this kind.",
            autocompletion=completion.stages_and_kinds,
        ),
    ] = None,
    module: Modules = None,
) -> None:
    """List all stages or those of a kind, or print one's manual: what it does, its parameters, what it reads and writes."""
    from pipeline import registry
    from pipeline.command_line.manual import manual, table_of_stages

    for each in module or ():
        registry.load_module(each)
    print(manual(name) if name is not None and "/" in name else table_of_stages(name or ""))  # noqa: T201


def schema(module: Modules = None) -> None:
    """Print the JSON schema of the YAML, for editors that complete and check while you type."""
    from pipeline import registry
    from pipeline.composing.yaml import spec

    for each in module or ():
        registry.load_module(each)
    print(json.dumps(spec.schema(registry.names()), indent=2))  # noqa: T201


def _name_modules(graph: Graph) -> None:
    from pipeline.texts import one_line

    if graph.modules:
        names = one_line(", ".join(graph.modules))
        print(f"streamajig: not loaded, since that runs them: {names} (--trust loads them)", file=sys.stderr)  # noqa: T201


def _load(
    file: Path,
    modules: list[str] | None,
    settings: list[str] | None,
    variants: list[str] | None = None,
    *,
    trust: bool = True,
) -> Graph:
    from pipeline import registry
    from pipeline.command_line.variant_options import with_variants
    from pipeline.composing.graph import Graph
    from pipeline.composing.settings import with_settings

    for module in modules or ():
        registry.load_module(module)
    return with_settings(with_variants(Graph.load(file, trust=trust), variants or ()), settings or ())
