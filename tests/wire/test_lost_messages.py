"""Messages that do not come, over real sockets: how many they were is known to the last one, where they have numbers."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import msgpack
import pytest
import zmq

from pipeline import Context, Graph, Message, run, stage
from pipeline.watching import Progress
from stages.decode.msgpack_map import MsgpackMap
from stages.records.header import Header
from stages.sink.memory import Memory
from stages.source.zmq_pull import ZmqPull
from stages.source.zmq_req import ZmqReq
from stages.source.zmq_sub import ZmqSub
from stages.wire.serving import FrameServer, serve_in_thread

LONG_S = 20.0


@stage("own/unhurried")
class Unhurried:
    """Takes two milliseconds for a frame."""

    def __call__(self, header: Header) -> None:
        time.sleep(0.002)


def body(number: int, size: int = 0, **more: Any) -> bytes:
    return msgpack.packb({"sequence_number": number, "padding": bytes(size), **more})


def subscribed(address: str, when_full: str = "block", **options: Any) -> Graph:
    source = ZmqSub(address=address, subscribe=("",), rcvhwm=4, when_full=when_full)
    graph = Graph.chain(source, MsgpackMap(), Unhurried(), Memory())
    return graph.with_options(backend="threads:1", in_flight=2, **options)


def test_a_slow_subscriber_says_exactly_how_many_messages_were_dropped_for_it() -> None:
    came = threading.Event()
    progress: list[Progress] = []

    def watch(now: Progress) -> None:
        progress.append(now)
        if now.received:
            came.set()

    def publish(publisher: zmq.Socket) -> None:
        numbers = itertools.count(1)
        while not came.wait(0.01):
            publisher.send_multipart([b"tag", body(next(numbers))])
        for _ in range(250):  # several times as many as all buffers on the way hold
            publisher.send_multipart([b"tag", body(next(numbers), 200_000)])
        for _ in range(20):  # the last gap ends with the first that comes after it
            time.sleep(0.02)
            publisher.send_multipart([b"tag", body(next(numbers))])

    with zmq.Context() as context, context.socket(zmq.PUB) as publisher:
        publisher.setsockopt(zmq.SNDHWM, 4)
        publisher.setsockopt(zmq.LINGER, 0)
        publisher.bind("tcp://127.0.0.1:*")
        address = publisher.getsockopt_string(zmq.LAST_ENDPOINT)
        sending = threading.Thread(target=publish, args=(publisher,))
        sending.start()
        report = run(subscribed(address, no_data_timeout_s=0.6), on_progress=watch)
        sending.join(LONG_S)

    numbers = [outcome[Header]["sequence_number"] for outcome in report.outputs["sink"]]
    sent = numbers[-1] - numbers[0] + 1
    dropped = sent - len(numbers)
    assert dropped > 50, "it is slow"
    before = report.as_json()["before_receipt"]
    assert before["lost"] == before["not_received"] == dropped
    assert before["in_order"] == report.received == len(numbers)
    assert f"lost before receipt: {dropped} of {sent} messages" in report.text()
    assert progress[-1].lost == dropped


def test_what_is_dropped_here_is_not_said_to_be_lost_on_the_way() -> None:
    with FrameServer(socket="pub", topic=b"tag") as server:
        serving = serve_in_thread(server, [body(n) for n in range(1, 301) if n % 50])
        report = run(subscribed(server.address, "drop_oldest", no_data_timeout_s=0.3))
        serving.join(LONG_S)

    assert report.received == 294
    assert report.drop_reasons["no room (drop_oldest)"] > 0
    assert report.as_json()["before_receipt"]["lost"] == 5, "300 is behind the last that came"


def test_shares_of_others_who_ask_are_not_said_to_be_lost() -> None:
    with FrameServer(socket="rep") as server, zmq.Context() as context, context.socket(zmq.REQ) as other:
        serving = serve_in_thread(server, [body(n) for n in range(100)])
        other.connect(server.address)
        taken = []

        def take_one(now: Progress) -> None:
            if 0 < now.received < 90 and len(taken) < 3:
                other.send(b"next")
                taken.append(other.recv())

        source = ZmqReq(address=server.address, outstanding=1)
        graph = Graph.chain(source, MsgpackMap(), Unhurried(), Memory())
        report = run(graph.with_options(max_frames=95, in_flight=1), on_progress=take_one)
        serving.stop()

    before = report.as_json()["before_receipt"]
    assert before["lost"] is None
    assert before["not_received"] == len(taken) > 0
    assert f"not received: {len(taken)} of {95 + len(taken)} messages" in report.text()
    assert "lost, unless others take from the same sender" in report.text()


@pytest.mark.parametrize("backend", ["serial:debug", "threads:4"])
def test_the_account_is_the_same_wherever_frames_are_worked_on(backend: str) -> None:
    sent = [*range(40), *range(45, 80), 43, 79, *range(82, 90)]
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, [body(n) for n in sent])
        graph = Graph.chain(ZmqReq(address=server.address), MsgpackMap(), Memory())
        report = run(graph.with_options(backend=backend, max_frames=len(sent)))
        serving.stop()

    tally = report.sender
    assert (tally.in_order, tally.late, tally.repeats, tally.missing) == (83, 1, 1, 6)
    assert (tally.lost, tally.restarts, tally.strays, tally.unnumbered) == (6, 0, 0, 0)


OF_THEIR_OWN = [*range(1, 41)], [*range(1, 21), *range(24, 41)]
THAT_GOES_ON = [*range(0, 80, 2)], [*range(1, 80, 2)]


@pytest.mark.parametrize(
    ("backend", "sent", "missing"),
    [("threads:2", OF_THEIR_OWN, 3), ("processes:1", OF_THEIR_OWN, 3), ("threads:2", THAT_GOES_ON, 0)],
)
def test_senders_may_have_a_count_each_or_share_one(
    backend: str, sent: tuple[list[int], list[int]], missing: int
) -> None:
    first, second = sent
    with FrameServer(socket="push") as one, FrameServer(socket="push") as other:
        servings = [serve_in_thread(one, map(body, first)), serve_in_thread(other, map(body, second))]
        graph = Graph.chain(ZmqPull(address=(one.address, other.address)), MsgpackMap(), Memory())
        report = run(graph.with_options(backend=backend, max_frames=len(first) + len(second)))
        for serving in servings:
            serving.join(LONG_S)
    assert (report.sender.missing, report.sender.repeats, report.sender.restarts) == (missing, 0, 0)


def test_without_a_number_a_subscriber_says_that_nobody_knows() -> None:
    with FrameServer(socket="pub", topic=b"tag") as server:
        serving = serve_in_thread(server, [msgpack.packb({"event": f"shot {n}"}) for n in range(20)])
        report = run(subscribed(server.address, no_data_timeout_s=0.3))
        serving.join(LONG_S)

    assert report.received == 20
    assert report.as_json()["before_receipt"]["not_received"] is None
    assert "lost before receipt: unknown: a publisher does not say what it drops" in report.text()


def test_numbers_are_found_under_the_key_that_is_named_and_in_oms_event_ids() -> None:
    def numbers(decode: MsgpackMap, *maps: dict[str, Any]) -> list[tuple[Any, ...] | None]:
        running = decode.open(Context())
        headers = [running(Message(b"", 0, (msgpack.packb(each),)))[1] for each in maps]
        return [None if header.sender_number is None else tuple(header.sender_number)[:4] for header in headers]

    om = {"event_id": "/data/run01/eiger.h5 // 0012", "timestamp": 1.5}
    assert numbers(MsgpackMap(), om) == [(12, "event_id", False, "/data/run01/eiger.h5 // ")]
    assert numbers(MsgpackMap(), {**om, "sequence_number": 7}) == [(7, "sequence_number", True, "")]
    named = MsgpackMap(sequence_keys=("frame", "shot"))
    assert numbers(named, {**om, "shot": "0090"}, {"frame": 3, "shot": 4}, {"frame": 2.5}, {"frame": True}, {}) == [
        (90, "shot", True, ""), (3, "frame", True, ""), None, None, None
    ]  # fmt: skip
    assert numbers(MsgpackMap(sequence_keys=("event_id",)), om) == [(12, "event_id", True, "/data/run01/eiger.h5 // ")]
    assert numbers(MsgpackMap(), {"event_id": "shot 12"}, {"event_id": "a // b"}, {"event_id": 5}) == [None] * 3
