"""A run of hours in minutes: what a monitor takes out of real frames, handed to it again and again by clocks that hurry.

    python docs/studies/monitor/watched.py tcp://127.0.0.1:5020 [--hours 8] [--times 24] [--frames-per-s 100]

Simulated frames with pixels go through the whole chain once, and what the monitor takes out of them (`Seen`) is kept. From then
on all clocks of this process go so many times as fast, and the monitor's publisher is handed as many of these, with other
serials, as would come in those hours. Those with pixels it gets in turn, one in `--pixels-every` real seconds. Prints a line of
JSON each real second; ends when the hours are over, or its input.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline import Context, Graph, run, stage
from pipeline.running.collect import LeafTally
from pipeline.running.report import Report
from pipeline.watching import Progress, RunView
from stages.commands.index.graph import graph_from_options
from stages.live.monitor import Monitor
from stages.monitor.publishing import publishing
from stages.monitor.publishing.gathered import Gathered
from stages.monitor.publishing.publisher import Publisher
from stages.monitor.publishing.seen import Seen
from stages.simulation.beamline import Beamline
from stages.wire.serving import FrameServer, serve_in_thread

FRAMES = 24
ROUNDS = 4
STEP_S = 0.02

KEPT: list[Seen] = []
RUNS: list[RunView] = []


class Keeping:
    """Keeps what it is handed, and the run that it came from."""

    def watch(self, run: RunView) -> None:
        """Keep the run."""
        RUNS.append(run)

    def write(self, encoded: Seen) -> None:
        """Keep what was seen of a frame."""
        KEPT.append(encoded)

    def close(self) -> None:
        """Nothing is to be closed."""


@stage("live/watched")
class Watched(Monitor):
    """A monitor that publishes nothing, and keeps what it would."""

    def open_writer(self, context: Context) -> Any:
        """Return what keeps."""
        return Keeping()


def real_run(size: str, seed: int, folder: Path) -> Report:
    """Run the whole chain on simulated frames; `KEPT` and `RUNS` have what its monitor would have shown."""
    apparatus = Beamline(seed=seed, hits=0.7, size=size, dtype="u2").set_up()
    bodies = [bytes(body) for body in apparatus.wire.bodies(apparatus.simulation.frames(FRAMES))]
    (folder / "watched.geom").write_text(apparatus.geometry_text)
    (folder / "watched.cell").write_text(apparatus.cell_text)
    files = {"geometry": "watched.geom", "pdb": "watched.cell", "output": "watched.stream"}
    methods = {
        "peaks": "likelihood",
        "indexing": "pairs",
        "integration": "rings",
        "min_peaks": 15,
        "live_merge": "4/mmm",
    }
    with FrameServer(socket="rep", parked=100, linger_s=0.0) as server:
        serving = serve_in_thread(server, itertools.cycle(bodies))
        try:
            source = {"zmq_input": server.address, "zmq_request": "next", "max_frames": ROUNDS * FRAMES}
            paths = {option: str(folder / name) for option, name in files.items()}
            graph: Graph = graph_from_options({**source, **paths, **methods})
            return run(graph.add(Watched(page=False, frames_every_s=0.1), name="monitor", after="integrate"))
        finally:
            serving.stop()


class Clock:
    """Real seconds, and those that pass so many times as fast."""

    def __init__(self, times: float) -> None:
        self._times = times
        self._real = time.monotonic
        self._began_s = self._real()

    def elapsed_s(self) -> float:
        """Since it was made, by the clock that hurries."""
        return (self._real() - self._began_s) * self._times

    def hurry(self) -> None:
        """Have all of this process go by it."""
        unix_s, monotonic_s = time.time(), time.monotonic()
        time.time = lambda: unix_s + self.elapsed_s()
        time.monotonic = lambda: monotonic_s + self.elapsed_s()


class Hurrying:
    """The real run, had it gone on until now: its counts grow with what was handed over."""

    def __init__(self, real: RunView, report: Report, started_unix_s: float) -> None:
        self._real, self._report = real, report
        self._figures, self._progress = dict(real.figures()), real.progress()
        self.started_unix_s = started_unix_s
        self.handed_over = 0
        self.why = ""

    graph = property(lambda self: self._real.graph)
    command_line = property(lambda self: self._real.command_line)
    program = property(lambda self: self._real.program)

    def report(self) -> Report:
        """The real one, with larger numbers."""
        factor = self.handed_over / self._report.received
        leaves = {
            name: LeafTally(self.handed_over, 0, 0, Counter({what: int(n * factor) for what, n in leaf.counts.items()}))
            for name, leaf in self._report.leaves.items()
        }
        return replace(self._report, received=self.handed_over, leaves=leaves)

    def progress(self) -> Progress:
        """The real one, with larger numbers."""
        return replace(self._progress, received=self.handed_over, elapsed_s=time.time() - self.started_unix_s)

    def figures(self) -> Mapping[str, Mapping[str, Any]]:
        """What the analyses had found."""
        return self._figures

    def statuses(self) -> Mapping[str, str]:
        """What they had said."""
        return {}

    def why_ended(self) -> str:
        """Why it has ended."""
        return self.why


def again_and_again() -> Iterator[Seen]:
    """What was seen of frames, without their pixels, with serials that grow."""
    bare = [replace(one, _frame=None) for one in KEPT]
    for serial in itertools.count(len(KEPT)):
        one = bare[serial % len(bare)]
        yield replace(one, serial=serial, event=f"//{serial}" if one.event else "", received_ns=time.time_ns())


def with_pixels(serial: Iterator[Seen]) -> Iterator[Seen]:
    """Those of the latest that have pixels, in turn: an indexed frame, a hit, a blank, as far as there are."""
    latest = {one.category: one for one in KEPT if one.frame is not None}
    for one in itertools.cycle(latest.values()):
        now = next(serial)
        yield replace(one, serial=now.serial, received_ns=now.received_ns)


def parse() -> argparse.Namespace:
    """What is to be run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("address", help="where to publish")
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--times", type=float, default=24.0, help="how many times as fast the clocks go")
    parser.add_argument("--frames-per-s", type=float, default=100.0)
    parser.add_argument("--size", default="2068x2162")
    parser.add_argument(
        "--pixels-every", type=float, default=0.5, help="real seconds from one frame with pixels to the next"
    )
    parser.add_argument(
        "--share", type=float, help="of the time that the publisher may take for each kind; else its own"
    )
    parser.add_argument("--seed", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    """Run the chain, then hurry."""
    given = parse()
    stopping = threading.Event()
    threading.Thread(target=lambda: (os.read(0, 1), stopping.set()), daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        report = real_run(given.size, given.seed, Path(folder))
    clock = Clock(given.times)
    clock.hurry()
    # a step of the thread that publishes takes as long as ever, by the clock that hurries
    publishing._TICK_S /= given.times
    publishing._SHARE = given.share or publishing._SHARE
    showing = Hurrying(RUNS[0], report, time.time())
    gathered = Gathered(None)
    at_work = publishing.Publishing(
        Publisher(given.address), gathered, given.pixels_every * given.times, "", logging.getLogger("watched")
    )
    at_work.start(showing)
    for one in KEPT:  # as they were: the mask comes with one of them
        gathered.put(one)
        showing.handed_over += 1
    frames = again_and_again()
    pictures = with_pixels(frames)
    picture_s = said_s = 0.0
    while not stopping.is_set() and (elapsed_s := clock.elapsed_s()) < 3600 * given.hours:
        for _ in range(int(elapsed_s * given.frames_per_s) - showing.handed_over):
            gathered.put(next(frames))
            showing.handed_over += 1
        if elapsed_s - picture_s >= given.pixels_every * given.times:
            picture_s = elapsed_s
            gathered.put(next(pictures))
            showing.handed_over += 1
        if elapsed_s - said_s >= given.times:
            said_s = elapsed_s
            say(elapsed_s, showing.handed_over, at_work)
        stopping.wait(STEP_S)
    say(clock.elapsed_s(), showing.handed_over, at_work)
    stopping.wait()
    showing.why = "the hours are over"
    at_work.end()


def say(elapsed_s: float, frames: int, at_work: publishing.Publishing) -> None:
    """Print how far it is."""
    published = dict(at_work._numbers)
    sys.stdout.write(json.dumps({"hours": elapsed_s / 3600, "frames": frames, "published": published}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
