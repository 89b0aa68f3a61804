"""Fifty signals at random moments in each state of a run: what is counted is right, and so is the exit status."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from command import PATIENCE_S, chunks_in, environment, wait_until, words
from spots_as_messages import FLAT_GEOM, message

from stages.wire.serving import FrameServer, serve_in_thread

SIGNALS = 50
AT_ONCE = 2
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
APART_S = 0.06
"""A little more than what makes two signals one."""

SECONDS = 15.0
"""No run takes longer to end, on a machine that has other things to do as well."""

MANY_PEAKS = [float(n) for n in range(400)]
BODIES = [message(MANY_PEAKS, MANY_PEAKS, MANY_PEAKS, event=f"run // {n:04d}") for n in range(1000)]
"""Of some 20 kB a chunk, so that a pipe holds three."""


@dataclass
class Ended:
    """How one run ended."""

    status: int
    report: dict[str, Any] | None
    chunks: int
    said: str
    took_s: float

    @property
    def leaf(self) -> dict[str, int]:
        assert self.report is not None, f"status {self.status}, no report: {self.said}"
        if not self.report["leaves"]:  # it was ended before its graph was known
            return {"delivered": 0, "rejected": 0, "dropped": 0}
        return dict(self.report["leaves"]["sink"])


def run_once(folder: Path, socket: str, state: str, seed: int) -> Ended:
    """Start a sender and a run, bring it into this state, send one signal or two, and wait until it has ended."""
    chance = random.Random(f"{socket} {state} {seed}")
    output = folder / f"{seed}.stream"
    rate_hz = 30.0 if state == "draining" else 200.0
    topic = b"ondaframedata" if socket == "pub" else None
    with FrameServer(socket=socket, rate_hz=rate_hz, topic=topic) as server, contextlib.ExitStack() as stack:
        serving = serve_in_thread(server, (body for _ in range(100) for body in BODIES))
        stack.callback(serving.stop)
        pipe = -1
        if state == "writing":
            os.mkfifo(output)
            pipe = os.open(output, os.O_RDONLY | os.O_NONBLOCK)
            stack.callback(os.close, pipe)
        how = "--zmq-request=next" if socket == "rep" else "--zmq-subscribe=ondaframedata"
        command = ["index", f"--zmq-input={server.address}", how, "-g", folder / "flat.geom", "-o", output, "--json"]
        command += ["--peaks=msgpack", "--indexing=none", "--no-image-data", "--no-diagnosis", "-j", 1 + seed % 2]
        process = subprocess.Popen(
            words(*command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
        )
        stack.callback(process.kill)
        read = _bring_into(state, process, output, pipe, chance)
        began = time.monotonic()
        process.send_signal(chance.choice(NUMBERS))
        if state in ("draining", "writing"):
            time.sleep(APART_S + chance.uniform(0.0, 0.2))
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(chance.choice(NUMBERS))
        out, err = process.communicate(timeout=PATIENCE_S)
        took_s = time.monotonic() - began
        chunks = _chunks_left_in(pipe, read) if pipe >= 0 else chunks_in(output)
    output.unlink(missing_ok=True)
    return Ended(process.returncode, json.loads(out) if out else None, chunks, err, took_s)


def _bring_into(state: str, process: subprocess.Popen[str], output: Path, pipe: int, chance: random.Random) -> bytes:
    """Wait until the run is in a state; return what was read of its output if that is a pipe."""
    if state == "opening":
        wait_until(lambda: _catches(process, signal.SIGHUP) or process.poll() is not None, "it looks for signals")
        time.sleep(chance.uniform(0.0, 1.5))
    elif state == "writing":
        read = b""
        while len(read) < 30_000:
            assert select.select([pipe], [], [], PATIENCE_S)[0]
            more = os.read(pipe, 30_000)
            assert more, "it ended before it had written anything"
            read += more
        time.sleep(0.2 + chance.uniform(0.0, 0.3))  # meanwhile the pipe is filled
        return read
    else:
        wait_until(
            lambda: (output.exists() and output.stat().st_size > 80_000) or process.poll() is not None,
            "some chunks are written",
        )
        time.sleep(chance.uniform(0.0, 0.3))
    return b""


def _catches(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal; while its interpreter starts it has none, and the signal ends it."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def _chunks_left_in(pipe: int, read: bytes) -> int:
    while more := os.read(pipe, 1 << 20):
        read += more
    return read.count(b"----- End chunk -----\n")


def assert_right(ended: Ended, state: str) -> None:
    assert "Traceback" not in ended.said
    assert "Exception ignored" not in ended.said
    assert ended.took_s < SECONDS
    leaf = ended.leaf
    assert ended.report is not None
    assert ended.report["received"] == leaf["delivered"] + leaf["rejected"] + leaf["dropped"]
    assert ended.chunks == leaf["delivered"]
    allowed = {
        "opening": 130 if not ended.report["received"] else 0,
        "receiving": 0,
        "draining": 130 if ended.report["abandoned"] else 0,
        "writing": 130,
    }
    assert ended.status == allowed[state], ended.said
    if ended.status == 0:
        assert leaf["dropped"] == 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("socket", ["rep", "pub"])
@pytest.mark.parametrize("state", ["opening", "receiving", "draining", "writing"])
def test_of_many_signals_none_is_lost_and_what_is_counted_is_right(tmp_path: Path, socket: str, state: str) -> None:
    (tmp_path / "flat.geom").write_text(FLAT_GEOM)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        all_ended = [*pool.map(lambda seed: run_once(tmp_path, socket, state, seed), range(SIGNALS))]

    for ended in all_ended:
        assert_right(ended, state)
    counts = Counter(ended.status for ended in all_ended)
    abandoned = sum(ended.leaf["dropped"] for ended in all_ended)
    slowest = max(ended.took_s for ended in all_ended)
    print(f"{socket} {state}: statuses {dict(counts)}, {abandoned} frames abandoned, slowest {slowest:.1f} s")
