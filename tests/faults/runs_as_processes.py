"""Runs of ``streamajig`` as processes, each with a sender, and the rule that all of them keep, however they end."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgpack
import pytest
from fault_stages import graph_file
from forked_runs import ForkedRun, Nursery

from pipeline import UserError
from pipeline.running.signals import SAME_S
from stages.files.stream import Stream, read_stream
from stages.simulation.apparatus import flat_geometry
from stages.wire.serving import FrameServer, Serving, serve_in_thread

PATIENCE_S = 60.0
"""Far longer than anything here takes on a machine that does nothing else."""

GONE_S = 5.0
"""When the supervisor has ended, whatever it had started is gone within this time."""

_LOST_S = 2.0
"""A frame that has not come after so long is taken for lost, in a backend that may lose some."""

APART_S = 8 * SAME_S
"""Signals so far apart are two also where the process must wait for a core before it takes the first."""

MARK = "STREAMAJIG_TEST_MARK"


@dataclass(frozen=True)
class Backend:
    """A backend, and what it can do.

    Attributes
    ----------
    outlives_hanging, outlives_dying
        Whether a run goes on when a stage never returns, and when it ends its process.
    takes_subscriptions
        Whether a source may be a subscription.
    opening_s
        About how long it takes to open.
    says_of_dead
        What stands in the log about a worker that has died.
    loses_received
        Whether a worker that dies takes along all frames that it had received, which are rejected as well.
    """

    name: str
    replicas: int = 1
    outlives_hanging: bool = False
    outlives_dying: bool = False
    takes_subscriptions: bool = True
    opening_s: float = 1.5
    says_of_dead: str = ""
    loses_received: bool = False


SERIAL, THREADS = Backend("serial"), Backend("threads:2", 2, outlives_hanging=True)
PROCESSES = Backend("processes:2", 2, outlives_hanging=True, outlives_dying=True, opening_s=5.0, says_of_dead="worker-")
DASK = Backend(
    "dask:2",
    2,
    outlives_hanging=True,
    outlives_dying=True,
    takes_subscriptions=False,
    opening_s=8.0,
    says_of_dead="was lost, and with it",
    loses_received=True,
)
BACKENDS = [SERIAL, THREADS, PROCESSES, DASK]


def each_of(backends: Sequence[Backend], quick: Sequence[Backend]) -> pytest.MarkDecorator:
    """Give a test each backend, of which only these are quick."""
    parameters = [pytest.param(one, marks=() if one in quick else pytest.mark.slow) for one in backends]
    return pytest.mark.parametrize("backend", parameters, ids=lambda backend: backend.name)


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Look again and again until the condition holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.01)


def body(number: int, trouble: str = "", peaks: int = 3) -> bytes:
    """A message without pixels, which says what is to go wrong with it."""
    values = [float(n) for n in range(peaks)]
    message = {
        "event_id": f"sent // {number}",
        "beam_energy": 9500.0,
        "detector_distance": 100.0,
        "peak_list": {"num_peaks": peaks, "fs": values, "ss": values, "intensity": values},
    }
    packed: bytes = msgpack.packb(message | ({"trouble": trouble} if trouble else {}))
    return packed


class Sender:
    """Sends frames over one address; may go away and come back. What it has sent is numbered from 0 on."""

    def __init__(self, kind: str = "rep") -> None:
        self.kind = kind
        self.server = FrameServer(socket=kind, topic=None)  # type: ignore[arg-type]
        self.address = self.server.address
        self.count = 0

    def send(self, number: int = 1, trouble: str = "") -> list[str]:
        """Send so many frames; return what they are called."""
        first, self.count = self.count, self.count + number
        self.send_bodies(body(n, trouble) for n in range(first, self.count))
        return [f"sent // {n}" for n in range(first, self.count)]

    def send_bodies(self, bodies: Iterable[bytes]) -> None:
        """Send messages as they are."""
        serve_in_thread(self.server, bodies).join(PATIENCE_S)

    def begin(self, rate_hz: float, peaks: int = 3) -> Serving:
        """Begin to send without end, in a thread of its own."""
        self.server.rate_hz = rate_hz
        return serve_in_thread(self.server, (body(n, peaks=peaks) for n in itertools.count(self.count)))

    def go(self) -> None:
        """Close the socket; requests that are with it are lost."""
        self.server.close(0.0)

    def come_back(self) -> None:
        """Listen at the same address once more."""
        end = time.monotonic() + PATIENCE_S
        while True:  # the system may take a moment to notice that nobody listens any more
            try:
                self.server = FrameServer(bind=self.address, socket=self.kind, topic=None)  # type: ignore[arg-type]
            except UserError:
                assert time.monotonic() < end
                time.sleep(0.02)
            else:
                return


class Run:
    """A run in a process group of its own."""

    def __init__(self, folder: Path, words: Iterable[object], output: Path, nursery: Nursery | None) -> None:
        self.output = output
        self._heard = 0
        self._mark = str(uuid.uuid4())
        self._shared_before = set(os.listdir("/dev/shm"))
        self._scratch = Path(tempfile.mkdtemp(prefix="sj"))  # short, since sockets may lie in it
        self._out, self._err = folder / "stdout.txt", folder / "stderr.txt"
        environment = {**os.environ, MARK: self._mark, "TMPDIR": str(self._scratch), "COLUMNS": "200", "NO_COLOR": "1"}
        words = [*map(str, words)]
        self._process: ForkedRun | subprocess.Popen[bytes]
        if nursery is not None:
            self._process = nursery.start(words, self._out, self._err, self._scratch, environment)
        else:
            with self._out.open("w") as out, self._err.open("w") as err:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "pipeline.command_line.cli", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=environment,
                    cwd=self._scratch,
                    start_new_session=True,
                )
        self.pid = self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    @property
    def said(self) -> str:
        """What it has said on stderr so far."""
        return self._err.read_text()

    def hear(self, text: str) -> None:
        """Wait until it has said this, after what was heard before."""
        wait_until(lambda: text in self.said[self._heard :] or self.status is not None, f"it said {text!r}")
        found = self.said.find(text, self._heard)
        assert found >= 0, self.said
        self._heard = found + len(text)

    def has_written(self, event: str) -> bool:
        """Whether the chunk of this frame is in the stream."""
        return self.output.exists() and f"Event: {event}\n" in self.output.read_text()

    def wait_for(self, events: Iterable[str]) -> None:
        """Wait until the chunks of these frames are in the stream."""
        for event in events:
            wait_until(
                lambda event=event: self.has_written(event) or self.status is not None,  # type: ignore[misc]
                f"the frame {event} is written",
            )
            assert self.has_written(event), f"it ended without the frame {event}: {self.said}"

    def wait_for_chunks(self, number: int) -> None:
        """Wait until so many chunks are in the stream."""

        def are_there() -> bool:
            return self.output.exists() and self.output.read_text().count("----- End chunk -----") >= number

        wait_until(lambda: are_there() or self.status is not None, f"{number} chunks are written")
        assert are_there(), self.said

    def send(self, *numbers: int, apart_s: float = APART_S, group: bool = False) -> None:
        """Send signals, to the whole group if asked for; to a process that has ended they do nothing."""
        for n, number in enumerate(numbers):
            time.sleep(apart_s if n else 0.0)
            with contextlib.suppress(ProcessLookupError):
                if group:
                    os.killpg(self.pid, number)
                else:
                    os.kill(self.pid, number)

    def catches(self, number: int) -> bool:
        """Whether it has a handler for a signal; while its interpreter starts it has none, and the signal ends it."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
        return bool(int(caught.split()[1], 16) >> (number - 1) & 1)

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def let_file_grow_by(self, num_bytes: int) -> None:
        """Let the disk be full when the stream has so many bytes more."""
        limit = self.output.stat().st_size + num_bytes
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (limit, limit))

    def children(self) -> list[int]:
        """What it has started, directly or not, and what is still there of it once it has ended."""
        found = []
        for process in Path("/proc").iterdir():
            if not process.name.isdecimal() or int(process.name) == self.pid:
                continue
            with contextlib.suppress(OSError):
                is_ours = self._mark.encode() in (process / "environ").read_bytes()
                state, _, _, session = _stat(int(process.name))[:4]
                if (is_ours or int(session) == self.pid) and state != "Z":
                    found.append(int(process.name))
        return found

    def workers(self) -> list[int]:
        """Its workers that are there just now: Dask's, or the children of the fork server that talk to no sender."""
        dask = [pid for pid in self.children() if "local_worker" in _name_of(pid)]
        if dask:
            return sorted(dask)
        parents = {pid: int(_stat(pid)[1]) for pid in self.children()}
        grandchildren = [pid for pid, parent in parents.items() if parent in parents]
        return sorted(pid for pid in grandchildren if not _talks_zeromq(pid))

    def end(self) -> Ended:
        """Wait until it has ended, and look what is left of it."""
        status = self._process.wait(PATIENCE_S)
        gone_by = time.monotonic() + GONE_S
        while (left := self.children()) and time.monotonic() < gone_by:
            time.sleep(0.02)
        shared = set(os.listdir("/dev/shm")) - self._shared_before
        while (shared := {name for name in shared if not _is_held(name)}) and time.monotonic() < gone_by:
            time.sleep(0.02)
        out = self._out.read_text()
        is_file = self.output.is_file()
        return Ended(
            status=status,
            report=json.loads(out) if out else None,
            stream=read_stream(self.output) if is_file and self.output.stat().st_size else None,
            said=self.said,
            left=[*(_name_of(pid) for pid in left), *shared, *(path.name for path in self._scratch.iterdir())],
        )

    def kill(self) -> None:
        """End whatever is left."""
        for pid in ([self.pid] if self.status is None else []) + self.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(PATIENCE_S)
        shutil.rmtree(self._scratch, ignore_errors=True)


def _name_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return f"process {pid}: {b' '.join(words).decode()[:200]}"
    return f"process {pid}"


def _stat(pid: int) -> list[str]:
    """What the system says of a process: state, parent, group, session and more."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _talks_zeromq(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return any((task / "comm").read_text().startswith("ZMQ") for task in Path(f"/proc/{pid}/task").iterdir())
    return False


def _is_held(name: str) -> bool:
    """Whether a file of shared memory is gone, or is somebody's who still runs."""
    path = f"/dev/shm/{name}"
    if not os.path.exists(path):
        return True
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):
                if path in (process / "maps").read_text():
                    return True
    return False


@dataclass
class Ended:
    """How a run has ended.

    Attributes
    ----------
    status
        Exit status; minus the signal's number where one has killed it.
    report
        What it printed, None if that was nothing.
    stream
        The stream that it wrote; None where there is none, or the output was no file.
    left
        Processes, shared memory and scratch files that it has left.
    """

    status: int
    report: dict[str, Any] | None
    stream: Stream | None
    said: str
    left: list[str] = field(default_factory=list)

    @property
    def last_line(self) -> str:
        """What it said last, besides its progress."""
        return [line for line in self.said.splitlines() if " frames/s, " not in line][-1]

    @property
    def leaf(self) -> dict[str, int]:
        """Delivered, rejected and dropped at the sink; nothing, if it was ended before its graph was known."""
        assert self.report is not None, f"status {self.status}, no report: {self.said}"
        if not self.report["leaves"]:
            return {"delivered": 0, "rejected": 0, "dropped": 0}
        return dict(self.report["leaves"]["sink"])

    @property
    def rejections(self) -> Counter[tuple[str, str]]:
        """How many frames which node rejected for which reason."""
        assert self.report is not None
        return Counter({(each["node"], each["reason"]): each["count"] for each in self.report["rejections"]})


def assert_whole(ended: Ended) -> None:
    """The rule for every run, also for one that was killed: a stream that is whole, and nothing left."""
    assert not ended.left
    if ended.stream is not None:
        assert ended.stream.num_cut == ended.stream.num_unreadable == 0
        events = [chunk.event for chunk in ended.stream.chunks]
        assert len(events) == len(set(events)), "a frame was written twice"


def assert_rule(ended: Ended, status: int, why: str, last_line: str = "") -> None:
    """The rule for every run that ends by itself: counts add up, and its last words say what happened."""
    assert_whole(ended)
    assert "Traceback" not in ended.said
    assert "Exception ignored" not in ended.said
    leaf = ended.leaf
    assert ended.report is not None
    assert ended.report["received"] == leaf["delivered"] + leaf["rejected"] + leaf["dropped"]
    assert leaf["rejected"] == ended.rejections.total()
    assert ended.status == status, ended.said
    assert re.search(why, ended.report["why_ended"]), ended.said
    assert re.search(last_line or why, ended.last_line), ended.said
    if ended.stream is not None:
        rejected = sum("streamajig/rejected" in chunk.keys for chunk in ended.stream.chunks)
        assert len(ended.stream.chunks) - rejected == leaf["delivered"]
        assert rejected <= leaf["rejected"]


@dataclass
class Life:
    """A run, its sender, and what has been done to them."""

    run: Run
    sender: Sender
    backend: Backend
    rejections: Counter[tuple[str, str]] = field(default_factory=Counter)

    def goes_on(self, frames: int = 3) -> None:
        """Send good frames, and wait until they are written; one that went to a worker that had just died does not come."""
        if not self.backend.loses_received:
            self.run.wait_for(self.sender.send(frames))
            return
        for _ in range(frames):

            def is_written() -> bool:
                (event,) = self.sender.send()
                end = time.monotonic() + _LOST_S
                while not self.run.has_written(event) and time.monotonic() < end:
                    time.sleep(0.01)
                return self.run.has_written(event)

            wait_until(lambda: is_written() or self.run.status is not None, "a frame is written")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.run.kill()
        self.sender.go()


@contextlib.contextmanager
def living(
    folder: Path,
    backend: Backend,
    *more: object,
    nursery: Nursery | None = None,
    kind: str = "rep",
    options: str = "",
    output: str = "out.stream",
) -> Iterator[Life]:
    """Start a sender and a run of the graph of :mod:`fault_stages`."""
    (folder / "flat.geom").write_text(flat_geometry(2000, 2000, 10_000.0))
    sender = Sender(kind)
    file = graph_file(folder, sender.address, folder / output, kind=kind, options=options)
    run = Run(folder, ["run", file, f"--backend={backend.name}", "--json", *more], folder / output, nursery)
    with Life(run, sender, backend) as life:
        yield life
