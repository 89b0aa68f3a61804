"""``streamajig warm-up``: compile every kernel now, into the cache on disk, so that later runs start at once.

Stages compile when they are opened. So the graphs that ``streamajig index`` makes are opened here, for a small detector and
any unit cell, and closed again; a stage that has more to compile than opening does has ``warm_up()``, which is called too. All
of it is done side by side in processes, one for each core, since a process compiles one thing at a time; those that need the
same kernel wait for each other (:mod:`stages.compute.turns`), so that what takes longest begins first, and apart.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph

_VARIANTS: tuple[dict[str, Any], ...] = (
    {"peaks": "zaef"},
    {"peaks": "peakfinder8"},
    {"peaks": "msgpack"},
    {"no_image_data": True},
)

_SHARED = "integrate/"
"""All of these stages sum with the kernels of ``integrate/rings``; two processes at once would both compile them."""


def warm_up(
    graphs: Annotated[
        list[Path] | None, typer.Argument(metavar="[GRAPH.yaml...]", help="Open these graphs too.", show_default=False)
    ] = None,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=0, help="Processes; 0: one for each core.")] = 0,
    portable: Annotated[
        bool,
        typer.Option(
            "--portable",
            help="Compile for every processor with AVX2 (x86-64-v3), and put the code into the program's own folder, "
            "for a wheel or a container.",
        ),
    ] = False,
) -> None:
    """Compile all kernels now, so that later runs start at once."""
    if portable:
        raise typer.Exit(_for_other_machines([*map(str, graphs or ()), f"--jobs={jobs}"]))
    from pipeline import registry
    from pipeline.composing.graph import Graph

    begin = time.perf_counter()
    names = [name for name in registry.names() if hasattr(registry.load(name), "warm_up")]
    tasks = apart(names)
    # spawned, so that no process inherits the threads of this one
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(jobs or os.cpu_count() or 1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        first, *others = default_graphs(Path(folder))
        longest = pool.submit(_open, first[1])
        stages = [pool.submit(_warm_up_stages, task) for task in tasks]
        stages.append(pool.submit(_warm_up_others))
        rest = [pool.submit(_open, graph) for _, graph in others]
        for task in stages:
            for name, seconds in task.result().items():
                _say(name, seconds)
        for (title, _), opened in zip((first, *others), (longest, *rest), strict=True):
            _say(title, opened.result())
    for file in graphs or ():
        _say(str(file), _open(Graph.load(file)))
    print(f"ready after {time.perf_counter() - begin:.1f} s")  # noqa: T201


def _for_other_machines(words: Sequence[str]) -> int:
    """Do all of it in a process whose numba compiles for a level of processors, and return its exit status."""
    from stages.compute.portable import SETTINGS

    command = [sys.executable, "-m", "streamajig", "warm-up", *words]
    return subprocess.run(command, env={**os.environ, **SETTINGS}, check=False).returncode


def apart(names: Sequence[str]) -> list[list[str]]:
    """Share stages out to processes: those with the same kernels to one, which begins first, since it takes longest.

    >>> apart(["integrate/prof2d", "integrate/rings", "live/merge", "peaks/zaef"])
    [['integrate/prof2d', 'integrate/rings'], ['live/merge'], ['peaks/zaef']]
    """
    together = [name for name in names if name.startswith(_SHARED)]
    return [together, *([name] for name in names if name not in together)]


def _warm_up_stages(names: Sequence[str]) -> dict[str, float]:
    """Compile what these stages need; return the seconds that each took. Runs in a process of its own."""
    from pipeline import registry

    took: dict[str, float] = {}
    for name in names:
        begin = time.perf_counter()
        registry.load(name).warm_up()
        took[name] = time.perf_counter() - begin
    return took


def _warm_up_others() -> dict[str, float]:
    """Compile what is in no stage, or in sources alone, which are not opened; return the seconds that each took."""
    from stages.monitor.pixel_sums import warm_up as warm_up_pixels
    from stages.wire.framing import framing_of

    took: dict[str, float] = {}
    for title, compile_it in (("the monitor's page", warm_up_pixels), ("messages", lambda: framing_of("msgpack"))):
        begin = time.perf_counter()
        compile_it()
        took[title] = time.perf_counter() - begin
    return took


def default_graphs(folder: Path) -> Iterator[tuple[str, Graph]]:
    """The graphs of ``streamajig index`` for a small detector, whose files are written into the folder."""
    from stages.commands.index.graph import graph_from_options
    from stages.files.cell import cell_text
    from stages.simulation.apparatus import flat_geometry
    from stages.simulation.settings import RES_PER_M
    from stages.simulation.specimen import LYSOZYME

    (folder / "small.geom").write_text(flat_geometry(64, 64, RES_PER_M))
    (folder / "any.cell").write_text(cell_text(LYSOZYME))
    for variant in _VARIANTS:
        title = "index " + " ".join(
            f"--{key.replace('_', '-')}" + ("" if value is True else f"={value}") for key, value in variant.items()
        )
        yield (
            title,
            graph_from_options(
                {
                    "zmq_input": "tcp://127.0.0.1:1",
                    "zmq_request": "next",
                    "geometry": folder / "small.geom",
                    "pdb": folder / "any.cell",
                    "output": folder / "none.stream",
                    **variant,
                }
            ),
        )


def _open(graph: Graph) -> float:
    """Open everything that runs in a replica, and close it again; no socket and no output file is opened.

    Returns the seconds that it took.
    """
    from pipeline.running.wiring import Replica, Setup

    begin = time.perf_counter()
    graph.check()
    Replica(Setup(graph)).close()
    return time.perf_counter() - begin


def _say(title: str, seconds: float) -> None:
    print(f"{seconds:6.1f} s  {title}", flush=True)  # noqa: T201
