"""The first run on a machine: what a graph's later stages need is compiled in processes beside, while its first are opened.

A process compiles one thing at a time, so the first run would take minutes of one core while the others idle. Here what takes
longest begins at once. Who needs the same kernel waits for it (:mod:`stages.compute.turns`), and then has it from disk.

Where everything is on disk no process is started.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph

log = logging.getLogger("streamajig.kernels")

_FREE = "index/lattice"
"""Whoever indexes with a cell asks this stage's search about other cells, and its kernels are as many again."""

_NOTHING = "index/none"
"""Compiles nothing."""


def compile_beside(graph: Graph) -> None:
    """Once something must be compiled, start processes that compile what this graph needs."""
    from stages.compute.code_on_disk import before_anything_is_compiled

    before_anything_is_compiled(lambda: _start(graph))


def shares(graph: Graph) -> list[list[Any]]:
    """What each process opens, in this order: the program's own stages that come after the search for peaks.

    What takes longest, indexing, is alone.
    """
    from pipeline import registry

    kinds: dict[str, list[Any]] = {"index": [], "refine": [], "integrate": []}
    for node in graph.nodes:
        name = str(getattr(node.stage, "stage_name", ""))
        kind = name.partition("/")[0]
        is_ours = type(node.stage).__module__.startswith("stages.")
        if kind in kinds and is_ours and name != _NOTHING:
            kinds[kind].append(node.stage)
    after = [*kinds["refine"], *kinds["integrate"]]
    if kinds["index"]:
        return [kinds["index"], [registry.load(_FREE)(), *after]]
    return [after] if after else []


def _start(graph: Graph) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        return
    spawn = multiprocessing.get_context("spawn")  # so that no process inherits the threads of this one
    for share in shares(graph):
        spawn.Process(target=_compile, args=(share,), name="compiler", daemon=True).start()


def _compile(stages: Sequence[Any]) -> None:
    """Do it, in a process of its own, while there is one to do it for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that runs the graph
    pipeline = multiprocessing.parent_process()
    for stage in stages:
        if pipeline is not None and pipeline.is_alive():
            open_each([stage])


def open_each(stages: Sequence[Any]) -> None:
    """Open stages, which compile then what they need."""
    from pipeline import Context

    for stage in stages:
        try:
            stage.open(Context())
        except Exception:  # it wants what others publish; the run compiles for it, and says what is wrong
            log.debug("%s compiles nothing ahead", type(stage).__name__, exc_info=True)
