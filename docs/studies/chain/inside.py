"""Where does the processor time of a frame go, with one worker in one thread (``serial``)?

    python docs/studies/chain/inside.py [--cases a,c-sampled] [--size 4.5]

The frames are sent from a process of their own; hits and blanks are measured apart. Inside the run a clock of processor
time stands beside each part: receiving, each node, what the engine does between nodes, and what becomes of the chunk
afterwards. What threads have is told apart too, and what the kernel has, with the pages that it had to find. More frames,
under a profiler, tell for how much of it compiled functions work, and which others have the most; the profiler's own time
is in those.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from pipeline.running.memory import keep_what_is_freed

if __name__ == "__main__":
    keep_what_is_freed()  # as the command line does, before there are threads

HERE = Path(__file__).parent
SCALING = HERE.parent / "scaling"
sys.path[:0] = [str(HERE), str(SCALING)]

import usage  # noqa: E402 - of the study of scaling
from bench import Bench, listed  # noqa: E402 - of this study
from figures import Place, markdown  # noqa: E402
from load import CASES, SIZES, frames  # noqa: E402 - of this study
from programs import end, program  # noqa: E402

from pipeline import Graph  # noqa: E402
from pipeline.running import collect, wiring  # noqa: E402
from pipeline.running.job import Job, run  # noqa: E402

TOP = 12


@dataclass
class Clocks:
    """Processor time of the one thread, by part, seconds; and what the profiler saw."""

    spent_s: Counter[str] = field(default_factory=Counter)
    profile: cProfile.Profile | None = None
    is_inside: bool = False
    finished: int = 0
    job: Job | None = None

    def beside(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call with a clock."""

        def timed(*arguments: Any, **named: Any) -> Any:
            profile, is_outermost = self.profile, not self.is_inside
            begun_s, self.is_inside = time.thread_time(), True
            if profile is not None and is_outermost:
                profile.enable()
            try:
                return call(*arguments, **named)
            finally:
                if profile is not None and is_outermost:
                    profile.disable()
                self.is_inside = not is_outermost
                self.spent_s[part] += time.thread_time() - begun_s

        return timed

    def now(self, *, begins: bool) -> dict[str, float]:
        """Everything so far, seconds and page faults; what the look itself takes stays outside of what begins or ends here."""
        nodes = self._nodes() if begins else {}
        used = resource.getrusage(resource.RUSAGE_SELF)
        threads = {"ZeroMQ's thread": usage.thread_cpu_s([os.getpid()], "ZMQbg/IO"), "this thread": time.thread_time()}
        both = {"total": used.ru_utime + used.ru_stime, "of it system": used.ru_stime, "page faults": used.ru_minflt}
        return {**self.spent_s, **threads, **both, **(nodes or self._nodes())}

    def _nodes(self) -> dict[str, float]:
        assert self.job is not None
        return {f"node {name}": one.durations.total_ns / 1e9 for name, one in self.job.report_so_far().nodes.items()}


def inside(graph_file: str, warm: int, number: int) -> dict[str, Any]:
    """Run a graph; per frame, ms of each part between frame `warm` and `number` frames later, and who has it then."""
    graph = Graph.from_yaml(Path(graph_file).read_text(encoding="utf-8")).with_options(max_frames=warm + 2 * number)
    clocks = Clocks()
    moments: list[dict[str, float]] = []
    timed_finish = clocks.beside("finish_frame", Job.finish_frame)

    def finish(job: Job, arrived: Any) -> None:
        timed_finish(job, arrived)
        clocks.finished += 1
        if clocks.finished in (warm, warm + number):
            moments.append(clocks.now(begins=clocks.finished == warm))
        if clocks.finished == warm + number:
            clocks.profile = cProfile.Profile(time.thread_time)

    writing = collect._writing

    def timed_writing(leaf: str, writer: Any) -> Callable[[Any], None]:
        return clocks.beside(f"writer {leaf}", writing(leaf, writer))

    with (
        mock.patch.object(Job, "feed", clocks.beside("feed", Job.feed)),
        mock.patch.object(Job, "finish_frame", finish),
        mock.patch.object(wiring.Replica, "process", clocks.beside("process", wiring.Replica.process)),
        mock.patch.object(collect, "_writing", timed_writing),
        # the clock of the nodes, which counts processor time here
        mock.patch.object(wiring.time, "perf_counter_ns", time.thread_time_ns),
    ):
        report = run(graph, on_start=lambda job: setattr(clocks, "job", job))
    first, last = moments
    each = {name: 1e3 * (last[name] - first.get(name, 0.0)) / number for name in last}
    each["page faults"] /= 1e3
    assert clocks.profile is not None
    return {"each": each, "counts": dict(report.counts), **profiled(clocks.profile, number)}


def profiled(profile: cProfile.Profile, number: int) -> dict[str, Any]:
    """Time of a frame in compiled functions, ms, and the other functions with the most of their own."""
    stats: dict[tuple[str, int, str], Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    kernels_s = sum(own_s for (file, *_), (_, _, own_s, *_) in stats.items() if "_kernels" in file)
    others = [
        (own_s, calls, f"{Path(file).name}:{name}" if line else name)
        for (file, line, name), (_, calls, own_s, *_) in stats.items()
        if "_kernels" not in file
    ]
    top = [(name, calls / number, 1e3 * own_s / number) for own_s, calls, name in sorted(others, reverse=True)[:TOP]]
    calls = sum(calls for _, calls, _ in others) / number
    return {"kernels_ms": 1e3 * kernels_s / number, "calls": calls, "top": top}


def rows_of(each: dict[str, float]) -> dict[str, float]:
    """The parts that make up the total, ms; and below it what the kernel has of it, and pages."""
    nodes = {name.removeprefix("node "): ms for name, ms in each.items() if name.startswith("node ")}
    writers = {
        f"writing, {name.removeprefix('writer ')}": ms for name, ms in each.items() if name.startswith("writer ")
    }
    parts = {
        "ZeroMQ's thread": each["ZeroMQ's thread"],
        "receiving": each["feed"],
        **nodes,
        "between nodes": each["process"] - sum(nodes.values()),
        **writers,
        "counting": each["finish_frame"] - sum(writers.values()),
        "the rest of the thread": each["this thread"] - each["feed"] - each["process"] - each["finish_frame"],
        "other threads": each["total"] - each["this thread"] - each["ZeroMQ's thread"],
    }
    return {**parts, **{name: each[name] for name in ("total", "of it system", "page faults")}}


def table(found: dict[str, dict[str, Any]]) -> str:
    """Parts by case, as Markdown."""
    columns = {name: rows_of(one["each"]) | {"in kernels": one["kernels_ms"]} for name, one in found.items()}
    names = dict.fromkeys(name for column in columns.values() for name in column if name not in LAST)
    lines = [
        [name, *(_figure(name, column.get(name)) for column in columns.values())]
        for name in (*names, *(name for name in LAST))
    ]
    return markdown(["ms a frame", *columns], lines)


LAST = ("total", "of it system", "in kernels", "page faults")


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if name == "page faults" else f"**{value:.2f}**" if name == "total" else f"{value:.3f}"


def measure(bench: Bench, given: argparse.Namespace, case: str, kind: str) -> dict[str, Any]:
    """Look into one run, in a process of its own."""
    pixels = CASES[case].pixels
    made = frames(given.keep, given.size, pixels, given.frames if pixels else 5 * given.frames)
    place = Place(given.size, pixels, 1.0 if kind == "hits" else 0.0, given.transport)
    file = bench.folder / "inside.yaml"
    with bench.sending(made, place) as (_, address):
        graph = made.graph(CASES[case], address, bench.folder / "out.stream").with_options(backend="serial")
        file.write_text(graph.to_yaml())
        words = ["--run", str(file), "--warm", str(given.warm), "--number", str(given.number)]
        with program(Path(__file__), *words) as looked_into:
            assert looked_into.stdout is not None
            line = looked_into.stdout.readline()
            end(looked_into)
    return json.loads(line)  # type: ignore[no-any-return]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each case with hits and with blanks, and print a table and who has the most."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--cases", type=listed, default=["a", "b", "c-sampled", "c-exact", "d"])
    parser.add_argument("--kinds", type=listed, default=["hits", "blanks"])
    parser.add_argument("--size", default="4.5", help=f"{', '.join(SIZES)}, or WxH@DISTANCE_MM")
    parser.add_argument("--transport", default="tcp")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--warm", type=int, default=300)
    parser.add_argument("--number", type=int, default=300, help="frames that are measured")
    parser.add_argument("--keep", type=Path, help="folder in which the messages are kept for the next time")
    parser.add_argument("--run", help="a graph to look into; for the study itself")
    given = parser.parse_args(arguments)
    if given.run:
        sys.stdout.write(json.dumps(inside(given.run, given.warm, given.number)) + "\n")
        return
    with tempfile.TemporaryDirectory(prefix="chain-") as folder:
        given.keep = given.keep or Path(folder) / "frames"
        given.keep.mkdir(parents=True, exist_ok=True)
        bench = Bench(Path(folder), 0, 0.0, 0, half_load=False)
        names = [(case, kind) for case in given.cases for kind in given.kinds]
        found = {f"{case}, {kind}": measure(bench, given, case, kind) for case, kind in names}
    sys.stdout.write(table(found) + "\n")
    for name, one in found.items():
        lines = [[function, f"{calls:.1f}", f"{ms:.3f}"] for function, calls, ms in one["top"]]
        head = [f"{name}: {one['calls']:.0f} calls", "calls a frame", "own ms a frame"]
        sys.stdout.write(f"\n{markdown(head, lines)}\n")


if __name__ == "__main__":
    main()
