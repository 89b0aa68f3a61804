"""Many small frames through a backend: does anything grow that should not?

    python docs/studies/endurance/frames.py [--backend threads:2] [--socket rep] [--frames 100000]

A sender in a process of its own serves simulated frames of 64 x 64 pixels over a real socket, again and again; the run decodes
them, takes their peaks from the message, and writes a stream. Meanwhile the memory (PSS: shared pages count once), descriptors,
anonymous shared memory and files in /dev/shm of the run's process and all that it has started are looked at. Prints a table in
Markdown, a row for each fifth of the frames, and whether there was more in the last fifth than in the second; the exit status
is 1 if there was.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from pipeline import Graph, RunOptions
from pipeline.running.report import Report
from stages.decode.msgpack_map import MsgpackMap
from stages.geometry_map.map_panels import MapPanels
from stages.peaks.from_message import FromMessage
from stages.peaks.hit import HitFinder
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings
from stages.sink.stream_file import StreamFile
from stages.source.zmq_req import ZmqReq
from stages.source.zmq_sub import ZmqSub
from stages.wire.serving import FrameServer

EVERY_S = 0.25
PIECES = 5
TOPIC = b"frames"

MEMORY_BYTES = 8_000_000
"""What allocators may come to keep; a leak of 140 bytes a frame is as much in three fifths of 100,000."""


@dataclass(frozen=True)
class Sample:
    """What the run has at one moment, all its processes together."""

    frames: int
    processes: int
    memory: int
    descriptors: int
    memfd: int
    shm: int


def apparatus() -> Apparatus:
    """The detector, and what it sees."""
    return Apparatus.make(Settings(seed=11, hits=0.5, photons=3000.0), size="64x64", distance_mm=45.0)


def send(kind: str, count: int) -> None:
    """Serve frames until so many are sent; says first where."""
    made = apparatus()
    bodies = [bytes(body) for body in made.wire.bodies(made.simulation.frames(40))]
    with FrameServer(socket=kind, topic=TOPIC, parked=1000, linger_s=600.0) as server:  # type: ignore[arg-type]
        sys.stdout.write(f"{server.address}\n")
        sys.stdout.flush()
        server.serve(itertools.islice(itertools.cycle(bodies), count))


def descendants(pid: int) -> set[int]:
    """A process and all that it has started, directly or not, and that are there still."""
    found, waiting = set(), [pid]
    while waiting:
        one = waiting.pop()
        found.add(one)
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            waiting += [int(child) for child in _text(children).split()]
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""


def _memory_of(pid: int) -> int:
    lines = _text(Path(f"/proc/{pid}/smaps_rollup")).splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def look(frames: int, without: Iterable[int]) -> Sample:
    """Look at this process and all below, but for those of other business."""
    pids = descendants(os.getpid()) - set(without)
    descriptors = 0
    memfds: dict[int, int] = {}
    named: dict[int, int] = {}
    for pid in pids:
        folder = Path(f"/proc/{pid}/fd")
        try:
            entries = list(folder.iterdir())
        except OSError:
            continue
        descriptors += len(entries)
        for entry in entries:
            try:
                target, status = os.readlink(entry), entry.stat()
            except OSError:
                continue
            if target.startswith("/memfd:"):
                memfds[status.st_ino] = 512 * status.st_blocks
            elif target.startswith("/dev/shm/"):
                named[status.st_ino] = status.st_size
    memory = sum(map(_memory_of, pids))
    return Sample(frames, len(pids), memory, descriptors, sum(memfds.values()), sum(named.values()))


def watched(backend: str, kind: str, count: int, folder: Path) -> tuple[list[Sample], Report]:
    """Run so many frames through the backend; what was seen meanwhile, and the report."""
    words = [sys.executable, __file__, "--send", "--socket", kind, "--frames", str(count)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as sender:
        try:
            assert sender.stdout is not None
            address = sender.stdout.readline().strip()
            return _watched(backend, kind, count, folder, address)
        finally:
            sender.kill()


def _watched(backend: str, kind: str, count: int, folder: Path, address: str) -> tuple[list[Sample], Report]:
    source = ZmqReq(address=address) if kind == "rep" else ZmqSub(address=address, subscribe=(TOPIC.decode(),))
    (folder / "small.geom").write_text(apparatus().geometry_text)
    graph = Graph.chain(
        source,
        MsgpackMap(),
        MapPanels(geometry=folder / "small.geom"),
        FromMessage(),
        HitFinder(min_peaks=4),
        StreamFile(path=folder / "out.stream"),
        options=RunOptions(backend=backend, max_frames=count, no_data_timeout_s=60.0),
    )
    others = descendants(os.getpid()) - {os.getpid()}  # the sender
    samples = []
    with graph.start() as handle:
        while handle.is_running:
            time.sleep(EVERY_S)
            samples.append(look(handle.progress.received, others))
        return samples, handle.wait()


def pieces(samples: Sequence[Sample], count: int) -> list[Sample]:
    """The highest of each figure in each fifth of the frames; where nobody looked, what was before."""
    rows: list[Sample] = []
    for piece in range(PIECES):
        seen = [sample for sample in samples if piece * count <= PIECES * sample.frames <= (piece + 1) * count]
        if seen:
            rows.append(Sample(*(max(getattr(one, each.name) for one in seen) for each in fields(Sample))))
        else:
            rows.append(rows[-1])
    return rows


def growth(rows: Sequence[Sample]) -> list[str]:
    """What is more in the last fifth than in the second."""
    early, late = rows[1], rows[-1]
    more = []
    if late.memory > early.memory + MEMORY_BYTES:
        more.append(f"memory by {(late.memory - early.memory) / 1e6:.1f} MB")
    if late.descriptors > early.descriptors:
        more.append(f"descriptors by {late.descriptors - early.descriptors}")
    if late.memfd > early.memfd + MEMORY_BYTES:
        more.append(f"shared memory by {(late.memfd - early.memfd) / 1e6:.1f} MB")
    if late.shm > early.shm:
        more.append(f"/dev/shm by {late.shm - early.shm} bytes")
    return more


def table(rows: Sequence[Sample]) -> str:
    """The rows as Markdown."""
    lines = [
        "| frames | processes | memory (PSS), MB | descriptors | shared memory, MB | /dev/shm, MB |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.frames} | {row.processes} | {row.memory / 1e6:.1f} | {row.descriptors} | {row.memfd / 1e6:.1f} | "
            f"{row.shm / 1e6:.1f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="threads:2")
    parser.add_argument("--socket", choices=("rep", "pub"), default="rep")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--send", action="store_true", help="serve the frames; for the study itself")
    given = parser.parse_args(arguments)
    if given.send:
        send(given.socket, given.frames)
        return 0
    started = time.time()
    with tempfile.TemporaryDirectory() as folder:
        samples, report = watched(given.backend, given.socket, given.frames, Path(folder))
    rows = pieces(samples, given.frames)
    grown = growth(rows)
    said = [
        f"{given.backend}, {given.socket}, {len(samples)} looks in {time.time() - started:.0f} s",
        table(rows),
        report.law_lines()[0],
        "grown: " + ", ".join(grown) if grown else "nothing has grown",
    ]
    sys.stdout.write("\n\n".join(said) + "\n")
    delivered = report.leaves["sink"].delivered
    return 0 if not grown and delivered == given.frames else 1


if __name__ == "__main__":
    sys.exit(main())
