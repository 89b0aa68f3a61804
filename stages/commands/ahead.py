"""The first run on a machine: what a graph needs is compiled in processes beside, while its first stages are opened.

A process compiles one thing at a time, so the first run would take minutes of one core while the others idle. Here each process
goes through all that the graph's later stages need, and begins with something else: what another one is at work on it waits
for (:mod:`stages.compute.turns`), and then has it from disk. What takes longest begins at once.

Not all must be there when frames begin to come. Of which type pixels are is known with the first frame, so only one type is
waited for; and the search for other cells is for hits that the given cell does not explain. A process that gives way to all
others goes on with these. A frame that needs what is not there yet waits for the compiler.

Where everything is on disk no process is started.
"""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pipeline import registry

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph

log = logging.getLogger("streamajig.kernels")

_FREE = "index/lattice"
"""Whoever indexes with a cell asks this stage's search about other cells, and its kernels are as many again."""

_NOTHING = "index/none"
"""Compiles nothing."""

_ORDER = ("index", "integrate", "refine")
"""The kinds of stages that come after the search for peaks, what takes longest first."""

_FOR_EACH_TYPE = ("peaks", "integrate", "geometry_map")
"""The kinds of stages that are compiled for each type of pixels."""


def compile_beside(graph: Graph) -> None:
    """Once something must be compiled, start processes that compile what this graph needs."""
    from stages.compute.code_on_disk import before_anything_is_compiled

    before_anything_is_compiled(lambda: _start(graph))


def shares(graph: Graph) -> list[list[Any]]:
    """What each process opens, in this order: the program's own stages that come after the search for peaks."""
    after = [stage for kind in _ORDER for stage in _ours(graph, kind)]
    if _asks_about_cells(graph) and not frames_may_wait(graph):
        after.insert(1, registry.load(_FREE)())
    return [after, after[::-1]][: len(after)]


def later(graph: Graph) -> list[Any]:
    """What is compiled when frames can come, by one more process; nothing if frames may not wait for it."""
    if not frames_may_wait(graph):
        return []
    peaks, *others = [[s for s in _ours(graph, kind) if hasattr(s, "warm_up")] for kind in _FOR_EACH_TYPE]
    free = [registry.load(_FREE)()] if _asks_about_cells(graph) else []
    return [*peaks, *free, *itertools.chain(*others)]


def frames_may_wait(graph: Graph) -> bool:
    """Tell whether a frame that takes long is waited for; a worker is given up, and one that is too long in a stage."""
    return graph.options.stage_timeout_s is None and graph.options.backend.startswith(("serial", "threads"))


def _ours(graph: Graph, kind: str) -> list[Any]:
    stages = [node.stage for node in graph.nodes if type(node.stage).__module__.startswith("stages.")]
    names = [str(getattr(stage, "stage_name", "")) for stage in stages]
    return [
        stage for name, stage in zip(names, stages, strict=True) if name.startswith(f"{kind}/") and name != _NOTHING
    ]


def _asks_about_cells(graph: Graph) -> bool:
    return any(stage.stage_name != _FREE for stage in _ours(graph, "index"))


def _start(graph: Graph) -> None:
    """Start all processes but the last, which begins when frames of one type can come."""
    from stages.compute.code_on_disk import leave_the_rest_to

    if len(os.sched_getaffinity(0)) < 2:
        return
    for share, do in zip(shares(graph), (open_each, open_each_aside), strict=False):
        _spawn(share, do)
    rest = later(graph)
    if rest:
        leave_the_rest_to(cache(lambda: _spawn(rest, warm_up_each)))


def _spawn(stages: Sequence[Any], do: Callable[[Sequence[Any]], None]) -> None:
    spawn = multiprocessing.get_context("spawn")  # so that no process inherits the threads of this one
    spawn.Process(target=_compile, args=(stages, do), name="compiler", daemon=True).start()


def _compile(stages: Sequence[Any], do: Callable[[Sequence[Any]], None]) -> None:
    """Do it, in a process of its own, while there is one to do it for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that runs the graph
    pipeline = multiprocessing.parent_process()
    for stage in stages:
        if pipeline is not None and pipeline.is_alive():
            do([stage])


def warm_up_each(stages: Sequence[Any]) -> None:
    """Compile all that stages may need, while nothing else is to be done."""
    from stages.compute.turns import let_nobody_wait

    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    let_nobody_wait()
    for stage in stages:
        if hasattr(stage, "warm_up"):
            stage.warm_up()
        else:
            open_each([stage])


def open_each_aside(stages: Sequence[Any]) -> None:
    """Open stages, and begin each with what the process that comes from the other end does last."""
    for stage in stages:
        if hasattr(stage, "compile_aside"):
            stage.compile_aside()
        open_each([stage])


def open_each(stages: Sequence[Any]) -> None:
    """Open stages, which compile then what they need."""
    from pipeline import Context

    for stage in stages:
        try:
            stage.open(Context())
        except Exception:  # it wants what others publish; the run compiles for it, and says what is wrong
            log.debug("%s compiles nothing ahead", type(stage).__name__, exc_info=True)
