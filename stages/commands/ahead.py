"""The first run on a machine: what a graph needs is compiled in processes beside, while its first stages are opened.

A process compiles one thing at a time, so the first run would take minutes of one core while the others idle. Here each process
goes through all that the graph's later stages need, and begins with something else: what another one is at work on it waits
for (:mod:`stages.compute.turns`), and then has it from disk. What takes longest begins at once.

Of which type pixels are is known when the first frame comes. So the run opens with one type compiled, and a process that gives
way to all others goes on with the rest. A frame of another type, if it comes before that, waits for the compiler.

Where everything is on disk no process is started.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph

log = logging.getLogger("streamajig.kernels")

_FREE = "index/lattice"
"""Whoever indexes with a cell asks this stage's search about other cells, and its kernels are as many again."""

_NOTHING = "index/none"
"""Compiles nothing."""

_ORDER = ("index", "integrate", "refine")
"""The kinds of stages that come after the search for peaks, what takes longest first."""

_GIVES_WAY = 19
"""As `nice` has it."""


def compile_beside(graph: Graph) -> None:
    """Once something must be compiled, start processes that compile what this graph needs."""
    from stages.compute.code_on_disk import before_anything_is_compiled

    before_anything_is_compiled(lambda: _start(graph))


def shares(graph: Graph) -> list[list[Any]]:
    """What each process opens, in this order: the program's own stages that come after the search for peaks."""
    from pipeline import registry

    ours = _ours(graph)
    after = [stage for kind in _ORDER for name, stage in ours if name.startswith(f"{kind}/") and name != _NOTHING]
    if not after:
        return []
    if _kind(after[0]) != "index":
        return [after]
    rest = [registry.load(_FREE)(), *(stage for stage in after if _kind(stage) != "index")]
    index = [stage for stage in after if _kind(stage) == "index"]
    return [[*index, *reversed(rest)], [*rest, *index]]


def with_other_types(graph: Graph) -> list[Any]:
    """The program's own stages that are compiled for each type of pixels, if frames may wait for one; else none.

    A worker that is waited for too long is given up, with its frame.
    """
    is_patient = graph.options.stage_timeout_s is None and graph.options.backend.startswith(("serial", "threads"))
    named = [stage for name, stage in _ours(graph) if name.startswith("peaks/") and hasattr(stage, "warm_up")]
    return named if is_patient else []


def _ours(graph: Graph) -> list[tuple[str, Any]]:
    of_program = [node.stage for node in graph.nodes if type(node.stage).__module__.startswith("stages.")]
    return [(str(getattr(stage, "stage_name", "")), stage) for stage in of_program]


def _kind(stage: Any) -> str:
    return str(stage.stage_name).partition("/")[0]


def _start(graph: Graph) -> None:
    """Start all processes but the one for other types, which begins when there is one type."""
    from stages.compute.code_on_disk import leave_the_rest_to

    if len(os.sched_getaffinity(0)) < 2:
        return
    for share in shares(graph):
        _spawn(share, open_each)
    others = with_other_types(graph)
    if others:
        leave_the_rest_to(cache(lambda: _spawn(others, warm_up_each)))


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
    """Compile what stages need for any type of pixels, while nothing else is to be done."""
    from stages.compute.turns import let_nobody_wait

    os.nice(_GIVES_WAY)
    let_nobody_wait()
    for stage in stages:
        stage.warm_up()


def open_each(stages: Sequence[Any]) -> None:
    """Open stages, which compile then what they need."""
    from pipeline import Context

    for stage in stages:
        try:
            stage.open(Context())
        except Exception:  # it wants what others publish; the run compiles for it, and says what is wrong
            log.debug("%s compiles nothing ahead", type(stage).__name__, exc_info=True)
