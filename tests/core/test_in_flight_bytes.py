"""What waits in a run is bounded in bytes: messages in the inbox and in replicas, chunks that wait for their turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_stages import Decode, Keep, Numbers

from pipeline import Context, Frame, Message, Outcome, RunOptions, stage
from pipeline.composing.graph import Graph
from pipeline.running.collect import Collector
from pipeline.running.ingest import Inbox
from pipeline.running.job import run
from pipeline.running.leaves import Arrived
from pipeline.running.memory import in_flight_bytes, memory_bytes


def frame(serial: int, size: int) -> Frame:
    return Frame(serial, "", 0, {Message: Message(b"", 0, (memoryview(bytes(size)), b""))})


def test_room_is_what_the_largest_message_so_far_fits_in() -> None:
    inbox = Inbox(10, limit_bytes=1000)
    assert inbox.free() == 10, "nothing is known yet"
    inbox.put(frame(1, 100))
    assert inbox.free() == 9
    inbox.put(frame(2, 300))
    assert inbox.free() == 2, "two of 300 bytes fit beside 400"
    inbox.take()
    assert inbox.free() == 2, "one in a replica is there too"
    inbox.done(1)
    assert inbox.free() == 2
    inbox.take()
    inbox.done(2)
    assert inbox.free() == 3


def test_one_frame_is_asked_for_however_large_it_may_be() -> None:
    inbox = Inbox(10, limit_bytes=1000)
    inbox.put(frame(1, 5000))
    assert inbox.free() == 0
    taken = inbox.take()
    assert taken is not None
    inbox.put_back(taken)
    assert inbox.free() == 0
    inbox.take()
    inbox.done(1)
    assert inbox.free() == 1


def test_what_is_dropped_takes_no_room() -> None:
    inbox = Inbox(10, limit_bytes=1000)
    for serial in range(5):
        inbox.put(frame(serial, 200))
    assert inbox.free() == 0
    inbox.pop_oldest()
    assert inbox.free() == 1


def test_chunks_that_wait_for_their_turn_take_room() -> None:
    held_back = 0, 0
    inbox = Inbox(10, lambda: held_back, limit_bytes=1000)
    inbox.put(frame(1, 100))
    held_back = 3, 750
    assert inbox.free() == 1
    held_back = 3, 850
    assert inbox.free() == 0


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60), st.data())
@settings(max_examples=30)
def test_messages_no_larger_than_before_never_exceed_the_bytes(sizes: list[int], data: st.DataObject) -> None:
    limit = 1000
    inbox = Inbox(8, limit_bytes=limit)
    there = {0: 400}
    inbox.put(frame(0, 400))
    taken: list[int] = []
    for serial, size in enumerate(sizes, start=1):
        while not inbox.free() or data.draw(st.booleans(), "work"):
            if (one := inbox.take(0.0)) is not None:
                taken.append(one.serial)
            if not taken:
                break
            serial_done = taken.pop(data.draw(st.integers(0, len(taken) - 1), "done"))
            inbox.done(serial_done)
            del there[serial_done]
        inbox.put(frame(serial, size))
        there[serial] = size
        assert sum(there.values()) <= limit
        assert len(inbox) == len(there) <= 8


def arrived(serial: int, encoded: Any = b"chunk") -> list[Arrived]:
    return [Arrived("sink", serial, "", 0, encoded, None, {})]


class Written:
    def __init__(self) -> None:
        self.chunks: list[Any] = []

    def write(self, encoded: Any) -> None:
        self.chunks.append(encoded)

    def close(self) -> None:
        pass


def test_a_collector_knows_how_much_it_holds_back() -> None:
    collector = Collector({"sink": Written()}, in_order=frozenset({"sink"}))
    for serial in (2, 3, 5):
        collector.collect(arrived(serial, bytes(1000)))
    assert collector.held_back == (3, 3000)
    collector.drop(4, "no room")
    assert collector.held_back == (3, 3000)
    collector.collect(arrived(1, bytes(1000)))
    assert collector.held_back == (0, 0)


def test_receipt_to_disk_ends_when_the_chunk_is_written_in_its_turn() -> None:
    collector = Collector({"sink": Written(), "later": Written()}, in_order=frozenset({"sink"}))
    collector.collect(arrived(2))
    assert collector.latency.count == 0, "it waits for its turn"
    collector.collect(arrived(1))
    assert collector.latency.count == 2
    collector.collect(arrived(3, None))
    assert collector.latency.count == 2, "nothing was written of it"


def test_receipt_to_disk_is_that_of_the_first_leaf() -> None:
    collector = Collector({"sink": Written(), "later": Written()})
    collector.collect([*arrived(1), Arrived("later", 1, "", 0, b"", None, {})])
    assert collector.latency.count == 1


@stage("decode/toy_heavy")
class Heavy:
    """Rejects nothing, and hands on a message that is large."""

    def __call__(self, message: Message) -> None:
        assert len(message.parts[0]) == HEAVY


HEAVY = 1000


class RunningHeavySource:
    def __init__(self, frames: int) -> None:
        self.left = frames
        self.asked: list[int] = []

    def receive(self, timeout_s: float, credit: int) -> list[Message]:
        from pipeline import EndOfStream

        if not self.left:
            raise EndOfStream
        self.asked.append(credit)
        number = min(credit, self.left)
        self.left -= number
        return [Message(b"", 1, (bytes(HEAVY),))] * number

    def stop_asking(self) -> int:
        return 0

    def status(self) -> str:
        return ""

    def close(self) -> None:
        pass


SOURCE = RunningHeavySource(0)


@stage("source/toy_heavy")
class HeavySource:
    """Sends messages of 1000 bytes, as many as are asked for."""

    def open(self, context: Context) -> RunningHeavySource:
        global SOURCE  # noqa: PLW0603 - the test looks at what was asked of it
        SOURCE = RunningHeavySource(60)
        return SOURCE


@stage("sink/toy_bytes")
class Bytes:
    """Writes what is as large as the message."""

    in_order: bool = True

    def open(self, context: Context) -> Callable[[Outcome], bytes]:
        return encode

    def open_writer(self, context: Context) -> Written:
        return Written()


def encode(outcome: Outcome) -> bytes:
    return bytes(HEAVY)


@pytest.mark.parametrize("backend", ["serial", "threads:2"])
def test_a_run_asks_for_no_more_bytes_than_it_may_have(backend: str) -> None:
    graph = Graph.chain(HeavySource(), Heavy(), Bytes()).with_options(backend=backend, in_flight_bytes=3 * HEAVY)
    report = run(graph)
    assert report.is_conserved
    assert report.received == 60
    assert max(SOURCE.asked[1:]) <= 3


def test_a_quarter_of_the_memory_is_the_limit_where_none_is_given() -> None:
    assert 1 << 26 < in_flight_bytes() <= memory_bytes() / 4
    assert RunOptions().in_flight_bytes is None
    assert RunOptions(in_flight_bytes="4GB").in_flight_bytes == 4_000_000_000
    report = run(Graph.chain(Numbers((1, 2, 3)), Decode(), Keep()))
    assert report.received == 3
