"""Very many mutated messages over a socket: each is taken or rejected, and memory stays as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hostile_catalogue import BAD, GOOD, STRANGE

from pipeline import Context, Outcome
from pipeline.composing.graph import Graph, RunOptions
from pipeline.running.job import run
from pipeline.stage import stage
from stages.decode.msgpack_map import MsgpackMap
from stages.source._asking import SHORT_REPLY_BYTES
from stages.source.zmq_req import ZmqReq
from stages.wire.serving import FrameServer, serve_in_thread

PIXELS = {"nd": True, "type": "<i2", "kind": "", "shape": [30, 40], "data": bytes(2400)}
SEEDS = [
    msgpack.packb({**GOOD, "detector_data": PIXELS}),
    *(body for body, _ in BAD.values() if len(body) < 5000),
    *(body for body in STRANGE.values() if len(body) < 5000),
]
GROWTH_BYTES = 40 << 20
"""What the allocator may keep; a leak of 2000 bytes a message is as much for 20,000."""


def mutated(seed: int, num: int) -> Iterator[bytes]:
    """Messages of the catalogue with bytes changed, cut out, doubled or put in, half of them the good one."""
    rng = np.random.default_rng(seed)
    for _ in range(num):
        body = bytearray(SEEDS[0] if rng.random() < 0.5 else SEEDS[rng.integers(len(SEEDS))])
        for _ in range(rng.integers(1, 6)):
            at, size = int(rng.integers(len(body) + 1)), int(rng.integers(1, 20))
            match int(rng.integers(4)):
                case 0:
                    body[at : at + 1] = rng.bytes(1)
                case 1:
                    del body[at : at + size]
                case 2:
                    body[at:at] = body[at : at + size]
                case _:
                    body[at:at] = rng.bytes(size)
        yield bytes(body)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@stage("sink/fuzz_count")
class Count:
    """Keeps nothing."""

    def open(self, context: Context) -> CountOutcomes:
        return CountOutcomes()

    def open_writer(self, context: Context) -> CountOutcomes:
        return CountOutcomes()


class CountOutcomes:
    """`Count` at work, both halves."""

    def __call__(self, outcome: Outcome) -> bytes:
        return b""

    def write(self, encoded: bytes) -> None:
        """Let go of it."""

    def close(self) -> None:
        """Nothing is open."""


def serve_many(bodies: list[bytes]) -> None:
    num = len(bodies)
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, bodies)
        graph = Graph.chain(ZmqReq(address=server.address), MsgpackMap(), Count(), options=RunOptions(max_frames=num))
        report = run(graph.with_options(backend="threads:2", no_data_timeout_s=60.0))
        serving.join(120.0)
    assert report.is_conserved
    assert report.received >= num
    assert report.leaves["sink"].rejected > 0 < report.leaves["sink"].delivered
    assert len(report.text().splitlines()) < 120


@pytest.mark.slow
def test_memory_stays_as_it_is_over_20000_fuzzed_messages_that_come_over_a_socket() -> None:
    # after short replies that are no map the source asks more and more slowly
    bodies = [body for body in mutated(14, 40_000) if len(body) > SHORT_REPLY_BYTES][:20_000]
    assert len(bodies) == 20_000
    serve_many(bodies[:2000])
    before = resident_bytes()
    serve_many(bodies)
    grown = resident_bytes() - before
    print(f"grown by {grown / 1e6:.1f} MB")
    assert grown < GROWTH_BYTES
