"""The socket sources against real sockets on 127.0.0.1."""

from __future__ import annotations

import contextlib
import gc
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import numpy as np
import pydantic
import pytest
import zmq

from pipeline import Context, EndOfStream, Findings, Message, RejectFrame, UserError
from pipeline.protocols import RunningSource
from stages.source import zmq_pull
from stages.source._unasked import RunningUnasked
from stages.source.zmq_pull import ZmqPull
from stages.source.zmq_req import RunningZmqReq, ZmqReq
from stages.source.zmq_sub import ZmqSub
from stages.wire.message import body_of, read_map
from stages.wire.serving import FrameServer, serve_in_thread

WAIT_S = 20.0
"""Far longer than anything here takes."""


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [msgpack.packb({"n": n}) for n in range(start, start + count)]


def numbers(messages: list[Message]) -> list[int]:
    return [msgpack.unpackb(message.parts[0])["n"] for message in messages]


def gather(source: RunningSource, count: int, credit: Callable[[int], int] = lambda left: left) -> list[Message]:
    """Receive until `count` messages have come."""
    found: list[Message] = []
    deadline = time.monotonic() + WAIT_S
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} messages came; {source.status()}"
        found += source.receive(0.2, credit(count - len(found)))
    return found


def until(condition: Callable[[], bool], source: RunningSource, credit: int = 1) -> list[Message]:
    """Receive until the condition holds."""
    found: list[Message] = []
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, source.status()
        found += source.receive(0.05, credit)
    return found


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    made = zmq.Context()
    sockets = []
    plain = made.socket
    made.socket = lambda kind: sockets.append(plain(kind)) or sockets[-1]  # held until they are closed
    yield made
    made.destroy(0)


@pytest.fixture
def opened() -> Iterator[Callable[[ZmqReq | ZmqSub | ZmqPull], RunningZmqReq | RunningUnasked]]:
    sources: list[RunningZmqReq | RunningUnasked] = []

    def open_one(stage: ZmqReq | ZmqSub | ZmqPull) -> RunningZmqReq | RunningUnasked:
        sources.append(stage.open(Context()))
        return sources[-1]

    yield open_one
    for source in sources:
        source.close()


class Router:
    """A ROUTER socket in the test's own hands."""

    def __init__(self, context: zmq.Context, endpoint: str = "tcp://127.0.0.1:*") -> None:
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        deadline = time.monotonic() + WAIT_S
        while True:  # the port of a server that has just ended may need a moment
            try:
                self.socket.bind(endpoint)
                break
            except zmq.ZMQError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        self.address = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.waiting: list[list[bytes]] = []

    def take(self) -> list[list[bytes]]:
        """Take in the requests that are there."""
        while self.socket.poll(0):
            self.waiting.append(self.socket.recv_multipart())
        return self.waiting

    def answer(self, *body: bytes) -> None:
        self.socket.send_multipart([self.waiting.pop(0)[0], b"", *body])


# --- asking ---------------------------------------------------------------------------------------------------------


def test_every_answer_arrives_once(opened: Callable) -> None:
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, numbered(300))
        source = opened(ZmqReq(address=server.address, outstanding=10, sockets=3))
        messages = gather(source, 300)
        assert sorted(numbers(messages)) == list(range(300))
        assert serving.join(WAIT_S) == 300
        assert (server.requests, server.unknown_requests, server.forgotten_requests) == (300, 0, 0)


def test_requests_are_sent_as_a_req_socket_sends_them(opened: Callable, context: zmq.Context) -> None:
    router = Router(context)
    source = opened(ZmqReq(address=router.address, request="next", outstanding=1, sockets=1))
    until(lambda: len(router.take()) == 1, source)
    assert router.waiting[0][1:] == [b"", b"next"]


@pytest.mark.parametrize(("outstanding", "credit", "wanted"), [(8, 100, 8), (8, 3, 3), (1, 5, 1), (5, 0, 0), (3, 3, 3)])
def test_never_more_requests_than_outstanding_and_credit_allow(
    opened: Callable, context: zmq.Context, outstanding: int, credit: int, wanted: int
) -> None:
    router = Router(context)
    source = opened(ZmqReq(address=router.address, outstanding=outstanding, sockets=4))
    until(lambda: len(router.take()) >= wanted and source._senders[0].askers[0].connection.connected, source, credit)
    for _ in range(5):
        assert source.receive(0.05, credit) == []
    assert len(router.take()) == wanted
    assert source.stop_asking() == wanted


def test_an_answer_makes_room_for_one_more_request_as_credit_allows(opened: Callable, context: zmq.Context) -> None:
    router = Router(context)
    source = opened(ZmqReq(address=router.address, outstanding=4, sockets=2))
    until(lambda: len(router.take()) == 4, source, 10)
    router.answer(*numbered(1))
    assert numbers(gather(source, 1, lambda left: 3)) == [0]
    for _ in range(3):
        source.receive(0.05, 3)
    assert len(router.take()) == 3, "credit is 3 now"
    until(lambda: len(router.take()) == 4, source, 4)


def test_requests_are_spread_over_the_sockets(opened: Callable, context: zmq.Context) -> None:
    router = Router(context)
    source = opened(ZmqReq(address=router.address, outstanding=6, sockets=3))
    until(lambda: all(asker.connection.connected for asker in source._senders[0].askers), source, 0)
    until(lambda: len(router.take()) == 6, source, 6)
    askers = [request[0] for request in router.waiting]
    assert sorted(askers.count(asker) for asker in set(askers)) == [2, 2, 2]


def test_each_connection_is_read_by_a_thread_of_its_own(opened: Callable) -> None:
    body = bytes(4_000_000)
    before = reading_s()
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, [b"\xc6" + len(body).to_bytes(4, "big") + body] * 48)
        gather(opened(ZmqReq(address=server.address, outstanding=6, sockets=3)), 48)
        used_s = {tid: used - before.get(tid, 0.0) for tid, used in reading_s().items()}
        serving.join(WAIT_S)
    # one of the sender's, and one for each connection
    assert len([tid for tid, used in used_s.items() if used > 0.05 * max(used_s.values())]) == 1 + 3


def reading_s() -> dict[str, float]:
    """Processor time of each thread of ZeroMQ's in this process that reads and writes sockets."""
    tasks = Path("/proc/self/task").iterdir()
    threads = [task for task in tasks if (task / "comm").read_text().startswith("ZMQbg/IO")]
    return {task.name: int((task / "schedstat").read_text().split()[0]) / 1e9 for task in threads}


def test_a_plain_rep_server_is_understood(opened: Callable, context: zmq.Context) -> None:
    rep = context.socket(zmq.REP)
    port = rep.bind_to_random_port("tcp://127.0.0.1")

    def serve() -> None:
        for body in numbered(20):
            assert rep.recv() == b"next"
            rep.send(body)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    source = opened(ZmqReq(address=f"tcp://127.0.0.1:{port}", outstanding=4))
    assert numbers(gather(source, 20)) == list(range(20)), "over one connection, in the order sent"
    thread.join(WAIT_S)


def test_a_reply_of_several_maps_becomes_several_messages(opened: Callable) -> None:
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, [msgpack.packb([{"n": 0}, {"n": 1}]), *numbered(1, 2)])
        source = opened(ZmqReq(address=server.address, outstanding=1))
        messages = gather(source, 3)
        assert numbers(messages) == [0, 1, 2]
        assert np.shares_memory(
            np.frombuffer(messages[0].keep_alive[-1].buffer, "u1"), np.frombuffer(messages[1].parts[0], "u1")
        )
        assert serving.join(WAIT_S) == 2


def test_only_the_first_map_of_a_reply_is_taken_when_asked_for(opened: Callable) -> None:
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, [msgpack.packb([{"n": 0}, {"n": 1}]), *numbered(1, 2)])
        source = opened(ZmqReq(address=server.address, first_only=True))
        assert numbers(gather(source, 2)) == [0, 2]
        serving.join(WAIT_S)


def test_a_reply_in_several_parts_is_understood(opened: Callable, context: zmq.Context) -> None:
    router = Router(context)
    source = opened(ZmqReq(address=router.address, outstanding=2))
    until(lambda: len(router.take()) == 2, source, 2)
    router.answer(b"omdata", *numbered(1))
    router.answer(b"", *numbered(1, 1))
    messages = gather(source, 2)
    assert sorted(numbers(messages)) == [0, 1]
    assert {message.topic for message in messages} == {b"omdata", b""}


def test_a_restarted_server_is_asked_again_at_once(opened: Callable, context: zmq.Context) -> None:
    first = Router(context)
    source = opened(ZmqReq(address=first.address, outstanding=5, sockets=2, timeout_s=1000))
    until(lambda: len(first.take()) == 5, source, 5)
    first.socket.close(0)
    until(lambda: "nobody listens" in source.status(), source, 5)
    assert source.stop_asking() == 0, "a request to a server that is gone is not outstanding"


def test_after_a_restart_all_frames_of_the_new_server_arrive(opened: Callable, context: zmq.Context) -> None:
    first = Router(context)
    source = opened(ZmqReq(address=first.address, outstanding=5, sockets=2, timeout_s=1000))
    until(lambda: len(first.take()) == 5, source, 5)
    first.answer(*numbered(1))
    assert numbers(gather(source, 1, lambda left: 5)) == [0]
    first.socket.close(0)
    second = Router(context, first.address)
    until(lambda: len(second.take()) == 5, source, 5)
    for body in numbered(5, 1):
        second.answer(body)
    assert sorted(numbers(gather(source, 5))) == [1, 2, 3, 4, 5]


def test_an_answer_that_came_before_the_server_ended_is_not_lost(opened: Callable, context: zmq.Context) -> None:
    router = Router(context)
    source = opened(ZmqReq(address=router.address, outstanding=3, sockets=1, timeout_s=1000))
    until(lambda: len(router.take()) == 3, source, 3)
    for body in numbered(3):
        router.answer(body)
    asker = source._senders[0].askers[0]
    assert asker.connection.socket.poll(1000 * WAIT_S)
    time.sleep(0.2)  # the rest arrives
    router.socket.close(0)
    assert asker.connection.monitor.poll(1000 * WAIT_S), "the connection's end is known before anything is read"
    assert numbers(gather(source, 3)) == [0, 1, 2]


def test_a_silent_server_is_asked_again_on_a_new_connection(opened: Callable, context: zmq.Context) -> None:
    router = Router(context)
    source = opened(ZmqReq(address=router.address, outstanding=2, sockets=1, timeout_s=0.3))
    until(lambda: len(router.take()) == 4, source, 2)
    assert len({request[0] for request in router.waiting}) == 2
    assert source.stop_asking() == 2, "those given up are not counted"
    assert source.findings().figures["given_up"] == 2
    del router.waiting[:2]
    router.answer(*numbered(1))
    assert numbers(gather(source, 1)) == [0]


def test_a_slow_server_that_answers_is_not_given_up(opened: Callable, context: zmq.Context) -> None:
    router = Router(context)
    source = opened(ZmqReq(address=router.address, outstanding=6, sockets=2, timeout_s=1.0))
    until(lambda: len(router.take()) == 6, source, 6)
    asked = {request[0] for request in router.waiting}
    for k in range(6):  # takes longer than timeout_s for the last of them
        time.sleep(0.3)
        router.answer(*numbered(1, k))
        assert numbers(gather(source, 1, lambda left: 0)) == [k]
    assert {request[0] for request in router.take()} <= asked, "no connection was made anew"


def test_requests_that_wait_for_frames_do_not_sound_like_a_fault(opened: Callable, context: zmq.Context) -> None:
    router = Router(context)
    source = opened(ZmqReq(address=router.address, outstanding=9))
    until(lambda: len(router.take()) == 9, source, 9)
    router.answer(*numbered(1))
    gather(source, 1)
    assert source.status() == f"connected to {router.address}"
    source.stop_asking()
    source.close()
    assert source.findings().figures["unanswered"] == 8
    assert "8 requests not answered when the run ended" in source.findings().text


def test_a_refusal_is_rejected_naming_the_request_and_slows_the_asking_down(opened: Callable) -> None:
    with FrameServer(socket="rep", request=b"next") as server:
        serving = serve_in_thread(server, numbered(1))
        source = opened(ZmqReq(address=server.address, request="nxt", outstanding=3, sockets=1))
        first = gather(source, 3)
        for message in first:
            with pytest.raises(
                RejectFrame, match=r"error_reply: the sender answered b'What\?' to the request 'nxt'.*'next'"
            ):
                read_map(memoryview(message.parts[0]))
        assert "What?" in source.status()
        begin = time.monotonic()
        refusals = 0
        while time.monotonic() - begin < 1.0:
            refusals += len(source.receive(0.1, 10))
        assert refusals <= 4, "pauses of 0.1, 0.2, 0.4... s, one request each"
        assert serving.stop() == 0


def test_a_good_answer_ends_the_pauses(opened: Callable, context: zmq.Context) -> None:
    router = Router(context)
    source = opened(ZmqReq(address=router.address, outstanding=2, sockets=1))
    until(lambda: len(router.take()) == 2, source, 2)
    router.answer(b"Ok")
    router.answer(b"Ok")
    gather(source, 2)
    until(lambda: len(router.take()) == 1, source, 2)
    router.answer(*numbered(1))
    gather(source, 1)
    until(lambda: len(router.take()) == 2, source, 2)


def test_after_the_stop_outstanding_answers_still_come_and_then_the_stream_ends(
    opened: Callable, context: zmq.Context
) -> None:
    router = Router(context)
    source = opened(ZmqReq(address=router.address, outstanding=3))
    until(lambda: len(router.take()) == 3, source, 3)
    assert source.stop_asking() == 3
    router.answer(*numbered(1))
    assert numbers(gather(source, 1, lambda left: 0)) == [0]
    assert source.stop_asking() == 2
    router.answer(*numbered(1, 1))
    router.answer(*numbered(1, 2))
    assert sorted(numbers(gather(source, 2, lambda left: 0))) == [1, 2]
    assert source.stop_asking() == 0
    with pytest.raises(EndOfStream):
        source.receive(1.0, 0)
    assert router.take() == []


def test_a_message_that_is_too_large_is_a_rejection_and_the_next_one_comes(opened: Callable) -> None:
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, [msgpack.packb({"n": 0, "x": bytes(3000)}), *numbered(1, 1)])
        source = opened(ZmqReq(address=server.address, max_message_bytes=1000))
        large, good = gather(source, 2)
        with pytest.raises(
            RejectFrame, match=r"too_large: the message has 30\d\d bytes, and max_message_bytes allows 1000"
        ):
            read_map(memoryview(large.parts[0]))
        assert numbers([good]) == [1]
        serving.join(WAIT_S)


def server_at(address: str, kind: str) -> FrameServer:
    """Serve where somebody else has just hung up, which the system may take a moment to notice."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return FrameServer(bind=address, socket=kind)
        except UserError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def rejection_of(message: Message) -> RejectFrame:
    with pytest.raises(RejectFrame) as caught:
        read_map(body_of(message))
    return caught.value


def test_a_message_that_is_far_too_large_is_never_received_and_counts_as_one_that_is_rejected(opened: Callable) -> None:
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, [msgpack.packb({"x": bytes(100_000)}), *numbered(1, 1)])
        source = opened(ZmqReq(address=server.address, max_message_bytes=1000, outstanding=1))
        large, good = gather(source, 2)
        assert rejection_of(large).reason == "refused"
        assert numbers([good]) == [1]
        serving.join(WAIT_S)
        source.stop_asking()
        assert source.findings().figures["asked_again"] == 0, "a request that was answered is not asked again"


# --- subscribing ----------------------------------------------------------------------------------------------------


def test_what_is_published_arrives_once_and_in_order(opened: Callable) -> None:
    with FrameServer(socket="pub") as server:
        source = opened(ZmqSub(address=server.address, subscribe=("ondaframedata",)))
        serving = serve_in_thread(server, numbered(500))
        messages = gather(source, 500, lambda left: min(left, 7))
        assert numbers(messages) == list(range(500))
        assert {message.topic for message in messages} == {b"ondaframedata"}
        assert serving.join(WAIT_S) == 500
        assert source.stop_asking() == 0


def published(
    context: zmq.Context, tags: tuple[str, ...], messages: list[list[bytes]], opened: Callable
) -> list[Message]:
    """Publish messages and a last one; return what a source subscribed to `tags` receives before the last."""
    publisher = context.socket(zmq.XPUB)
    port = publisher.bind_to_random_port("tcp://127.0.0.1")
    source = opened(ZmqSub(address=f"tcp://127.0.0.1:{port}", subscribe=(*tags, "last")))
    for _ in range(len(set(tags)) + 1):
        assert publisher.poll(1000 * WAIT_S)
        publisher.recv()
    for parts in [*messages, [b"last", *numbered(1, 99)]]:
        publisher.send_multipart(parts)
    found: list[Message] = []
    while not found or found[-1].topic != b"last":
        found += gather(source, 1, lambda left: 1)
    return found[:-1]


def test_any_number_of_subscriptions_is_kept(opened: Callable, context: zmq.Context) -> None:
    messages = [[tag, *numbered(1, n)] for n, tag in enumerate([b"ondadata", b"omdata", b"view:omframedata", b"onda"])]
    found = published(context, ("ondadata", "view:"), messages, opened)
    assert [(m.topic, *numbers([m])) for m in found] == [(b"ondadata", 0), (b"view:omframedata", 2)]


def test_an_empty_subscription_receives_everything(opened: Callable, context: zmq.Context) -> None:
    body = msgpack.packb({"n": 0})
    found = published(context, ("",), [[body], [b"t", body], [b"t", b"", body], [b"t" * 500, body]], opened)
    assert [message.topic for message in found] == [b"", b"t", b"t", (b"t" * 500)[:256]]
    assert numbers(found) == [0, 0, 0, 0]


def test_empty_messages_arrive_as_messages_that_are_rejected(opened: Callable, context: zmq.Context) -> None:
    found = published(context, ("",), [[b""], [b"tag", b""], [b"", b""]], opened)
    assert len(found) == 3
    for message in found:
        with pytest.raises(RejectFrame, match="empty_message"):
            read_map(memoryview(message.parts[0]))


def test_published_arrays_of_maps_are_split(opened: Callable, context: zmq.Context) -> None:
    body = msgpack.packb([{"n": n} for n in range(3)])
    assert numbers(published(context, ("t",), [[b"t", body], [b"t", body]], opened)) == [0, 1, 2, 0, 1, 2]


def test_without_credit_nothing_is_taken_from_the_socket(opened: Callable) -> None:
    with FrameServer(socket="pub") as server:
        source = opened(ZmqSub(address=server.address, subscribe=("",)))
        serving = serve_in_thread(server, numbered(5))
        assert serving.join(WAIT_S) == 5
        assert [source.receive(0.05, 0) for _ in range(3)] == [[], [], []]
        assert numbers(source.receive(WAIT_S, 2)) in ([0], [0, 1])


@pytest.mark.parametrize("kind", ["pub", "push"])
def test_a_sender_that_is_restarted_is_heard_again(opened: Callable, kind: str) -> None:
    with FrameServer(socket=kind) as server:
        source = opened(MAKES[kind](server.address))
        serving = serve_in_thread(server, numbered(3))
        assert numbers(gather(source, 3)) == [0, 1, 2]
        serving.join(WAIT_S)
        address = server.address
    until(lambda: "nobody listens" in source.status(), source)
    with server_at(address, kind) as server:
        serving = serve_in_thread(server, numbered(3, 3))
        assert numbers(gather(source, 3)) == [3, 4, 5]
        serving.join(WAIT_S)


def test_a_subscription_that_matches_nothing_is_named_in_the_status(opened: Callable) -> None:
    with FrameServer(socket="pub", wait_for_subscriber_s=0.0) as server:
        source = opened(ZmqSub(address=server.address, subscribe=("ondaframdata",)))
        serving = serve_in_thread(server, numbered(3))
        until(lambda: "connected" in source.status(), source)
        assert "nothing has come that begins with 'ondaframdata'" in source.status()
        serving.join(WAIT_S)


@pytest.mark.parametrize("kind", ["pub", "push"])
def test_a_message_that_zeromq_refuses_is_counted_and_those_before_and_after_it_come(
    opened: Callable, kind: str
) -> None:
    with FrameServer(socket=kind, rate_hz=20) as server:
        source = opened(MAKES[kind](server.address, max_message_bytes=1000))
        bodies = [*numbered(3), msgpack.packb({"x": bytes(100_000)}), *numbered(300, 3)]
        serving = serve_in_thread(server, bodies)
        messages = gather(source, 8)
        before, refused, after = messages[:3], messages[3], messages[4:]
        assert numbers(before) == [0, 1, 2]
        assert rejection_of(refused).reason == "refused"
        assert "8 x max_message_bytes" in rejection_of(refused).detail
        assert numbers(after) == list(range(numbers(after)[0], numbers(after)[0] + 4))
        assert "connected" in source.status()
        figures = source.findings().figures
        assert figures["losses"] == 1
        assert "refused a message" in figures["lost"][0]["why"]
        assert figures["lost"][0]["ended"] is not None
        serving.stop()


def test_what_waits_in_zeromqs_queue_is_taken_when_the_run_stops(opened: Callable) -> None:
    with FrameServer(socket="pub") as server:
        source = opened(ZmqSub(address=server.address, subscribe=("",)))
        serving = serve_in_thread(server, numbered(80))
        assert numbers(gather(source, 2)) == [0, 1]
        assert serving.join(WAIT_S) == 80
        assert source.stop_asking() == 78
        assert numbers(source.receive(0.0, 3)) == [2, 3, 4]
        assert numbers(source.receive(0.0, 1000)) == list(range(5, 80))
        with pytest.raises(EndOfStream):
            source.receive(0.0, 1)


def test_zeromqs_queue_holds_no_more_bytes_than_it_may(opened: Callable, context: zmq.Context) -> None:
    publisher = context.socket(zmq.XPUB)
    publisher.setsockopt(zmq.XPUB_NODROP, 1)
    publisher.setsockopt(zmq.SNDHWM, 1)
    port = publisher.bind_to_random_port("tcp://127.0.0.1")
    source = opened(ZmqSub(address=f"tcp://127.0.0.1:{port}", subscribe=("",), max_queue_bytes=20_000_000))
    assert publisher.poll(1000 * WAIT_S)
    publisher.recv()
    body = msgpack.packb({"x": bytes(4_000_000)})
    for _ in range(10):  # it learns how large they are
        publisher.send(body)
        gather(source, 1)
    sent = 0
    for _ in range(50):
        with contextlib.suppress(zmq.Again):
            publisher.send(body, zmq.NOBLOCK)
            sent += 1
        time.sleep(0.01)
    # 5 fit into the queue, of which a few may be more; the others are with the sender and in the system's buffers
    assert 5 <= sent <= 12


def test_a_message_of_very_many_parts_is_rejected_and_its_parts_are_not_kept(
    opened: Callable, context: zmq.Context
) -> None:
    publisher = context.socket(zmq.XPUB)
    port = publisher.bind_to_random_port("tcp://127.0.0.1")
    source = opened(ZmqSub(address=f"tcp://127.0.0.1:{port}", subscribe=("",)))
    assert publisher.poll(1000 * WAIT_S)
    publisher.recv()
    for _ in range(50_000):
        publisher.send(b"", zmq.SNDMORE)
    publisher.send(b"")
    publisher.send_multipart([b"tag", *numbered(1)])
    tracemalloc.start()
    try:
        many, good = gather(source, 2)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rejection_of(many).reason == "too_many_parts"
    assert numbers([good]) == [0]
    assert most < 4_000_000, "a thousand parts cost one"


# --- pulling --------------------------------------------------------------------------------------------------------


def test_what_is_pushed_arrives_once_and_in_order(opened: Callable) -> None:
    with FrameServer(socket="push") as server:
        source = opened(ZmqPull(address=server.address))
        serving = serve_in_thread(server, numbered(500))
        assert numbers(gather(source, 500, lambda left: min(left, 7))) == list(range(500))
        assert serving.join(WAIT_S) == 500
        assert source.stop_asking() == 0
        source.close()
        assert source.findings() == Findings("", {"losses": 0, "lost": [], "cut_off": 0})


def test_those_who_pull_share_what_is_pushed(opened: Callable) -> None:
    with FrameServer(socket="push") as server:
        sources = [opened(ZmqPull(address=server.address)) for _ in range(2)]
        for source in sources:
            until(lambda source=source: "connected to" in source.status(), source)
        serving = serve_in_thread(server, numbered(40))
        shares = [numbers(gather(source, 20)) for source in sources]
        assert sorted(shares[0] + shares[1]) == list(range(40))
        assert serving.join(WAIT_S) == 40


def test_parts_are_kept_together_when_they_are_pushed(opened: Callable) -> None:
    with FrameServer(socket="push") as server:
        source = opened(ZmqPull(address=server.address))
        serving = serve_in_thread(server, [[b"tag", b"", *numbered(1)], [b"", *numbered(1, 1)]])
        messages = gather(source, 2)
        assert numbers(messages) == [0, 1]
        assert [message.topic for message in messages] == [b"tag", b""]
        serving.join(WAIT_S)


def test_what_was_pushed_and_waits_here_is_taken_when_the_run_stops(opened: Callable) -> None:
    with FrameServer(socket="push") as server:
        source = opened(ZmqPull(address=server.address))
        serving = serve_in_thread(server, numbered(80))
        assert numbers(gather(source, 2)) == [0, 1]
        assert serving.join(WAIT_S) == 80
        assert source.stop_asking() == 78
        assert numbers(source.receive(0.0, 3)) == [2, 3, 4]
        assert numbers(source.receive(0.0, 1000)) == list(range(5, 80))
        with pytest.raises(EndOfStream):
            source.receive(0.0, 1)


def test_a_sender_that_still_pushes_at_the_end_is_said_to_lose_what_was_on_its_way(
    opened: Callable, context: zmq.Context
) -> None:
    body = msgpack.packb({"x": bytes(100_000)})
    pusher = context.socket(zmq.PUSH)
    pusher.setsockopt(zmq.SNDHWM, 0)
    pusher.setsockopt(zmq.LINGER, 0)
    port = pusher.bind_to_random_port("tcp://127.0.0.1")
    source = opened(ZmqPull(address=f"tcp://127.0.0.1:{port}", max_queue_bytes=1_000_000))
    for _ in range(1000):  # pushed by ZeroMQ's own thread, for which no other has to find time
        pusher.send(body)
    gather(source, 20)
    waiting = source.stop_asking()
    assert 1 <= waiting <= 11, "as much as may wait here, and one message"
    source.close()
    found = source.findings()
    assert found.figures["cut_off"] == 1
    assert found.text == "1 sender still pushed when the run ended: what was on its way then is lost, uncounted"


def test_a_sender_that_pushes_is_held_back_by_what_may_wait_here(opened: Callable, context: zmq.Context) -> None:
    pusher = context.socket(zmq.PUSH)
    pusher.setsockopt(zmq.SNDHWM, 1)
    port = pusher.bind_to_random_port("tcp://127.0.0.1")
    source = opened(ZmqPull(address=f"tcp://127.0.0.1:{port}", max_queue_bytes=20_000_000))
    body = msgpack.packb({"x": bytes(4_000_000)})
    for _ in range(10):  # it learns how large they are
        pusher.send(body)
        gather(source, 1)
    sent = 0
    for _ in range(50):
        with contextlib.suppress(zmq.Again):
            pusher.send(body, zmq.NOBLOCK)
            sent += 1
        time.sleep(0.01)
    assert 5 <= sent <= 12


def test_only_formats_whose_messages_stand_for_themselves_are_pulled_by_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zmq_pull, "SAID_ONCE", frozenset({"cbf"}))
    assert ZmqPull(address="tcp://127.0.0.1:1", data_format="msgpack").alone == ""
    assert "of cbf says once what holds for a series" in ZmqPull(address="tcp://127.0.0.1:1", data_format="cbf").alone


# --- all ------------------------------------------------------------------------------------------------------------

MAKES = {
    "rep": lambda address, **more: ZmqReq(address=address, **more),
    "pub": lambda address, **more: ZmqSub(address=address, subscribe=("",), **more),
    "push": lambda address, **more: ZmqPull(address=address, **more),
}
"""The source that goes with each socket of a sender."""

EVERY = pytest.mark.parametrize("make", MAKES.values(), ids=["req", "sub", "pull"])
EVERY_KIND = pytest.mark.parametrize("kind", MAKES)


def test_what_does_not_speak_zeromq_is_told_from_nobody(opened: Callable) -> None:
    with socket.create_server(("127.0.0.1", 0)) as web:
        web.setblocking(False)
        source = opened(ZmqReq(address=f"tcp://127.0.0.1:{web.getsockname()[1]}"))

        def refused() -> bool:
            with contextlib.suppress(BlockingIOError):
                client, _ = web.accept()
                with client:
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return "does not speak ZeroMQ; trying on" in source.status()

        until(refused, source)


WRONG = [
    ("rep", zmq.PUB, "a PUB socket listens on .*--zmq-subscribe=TAG, in place of --zmq-request.*; trying on$"),
    ("pub", zmq.REP, "a REP socket listens on .*--zmq-request=next, in place of --zmq-subscribe.*; trying on$"),
    ("pub", zmq.PUSH, "a PUSH socket listens on .*--zmq-pull, in place of --zmq-subscribe.*; trying on$"),
    ("push", zmq.PUB, "a PUB socket listens on .*--zmq-subscribe=TAG, in place of --zmq-pull.*; trying on$"),
    ("push", zmq.PAIR, "a PAIR socket listens on .*from which no frames are taken.*; trying on$"),
    ("rep", "curve", "wants CURVE security.*; trying on$"),
    ("pub", "curve", "wants CURVE security.*; trying on$"),
    ("pub", "ssh", "the SSH server on .*does not speak ZeroMQ.*; trying on$"),
    ("rep", "protocol", "trying on"),
]


@contextlib.contextmanager
def listening(kind: object, address: str) -> Iterator[None]:
    """Somebody to whom nobody should connect."""
    if kind in ("ssh", "protocol"):
        words = b"SSH-2.0-OpenSSH_9.6\r\n" if kind == "ssh" else b"\xff" + bytes(8) + b"\x7f\x03garbage" + bytes(60)
        host, port = address.removeprefix("tcp://").split(":")
        with socket.create_server((host, int(port))) as server, contextlib.ExitStack() as clients:
            server.settimeout(0.05)
            stopping = threading.Event()

            def serve() -> None:
                while not stopping.is_set():
                    with contextlib.suppress(OSError):
                        clients.enter_context(server.accept()[0]).sendall(words)

            thread = threading.Thread(target=serve)
            thread.start()
            try:
                yield
            finally:
                stopping.set()
                thread.join(WAIT_S)
        return
    with zmq.Context() as own, own.socket(zmq.PUB if kind == "curve" else kind) as bound:  # whose end frees the port
        bound.setsockopt(zmq.LINGER, 0)
        if kind == "curve":
            bound.curve_server = True
            bound.curve_secretkey = zmq.curve_keypair()[1]
        bound.bind(address)
        yield


@pytest.mark.parametrize(("kind", "wrong", "said"), WRONG)
def test_a_wrong_listener_is_named_and_a_right_one_that_takes_its_place_is_heard(
    opened: Callable, free_port: int, kind: str, wrong: object, said: str
) -> None:
    address = f"tcp://127.0.0.1:{free_port}"
    with listening(wrong, address):
        source = opened(MAKES[kind](address))
        until(lambda: re.search(said, source.status()) is not None, source)
    with server_at(address, kind) as server:
        serving = serve_in_thread(server, numbered(3))
        assert numbers(gather(source, 3)) == [0, 1, 2]
        serving.join(WAIT_S)


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(24))
def test_a_right_sender_after_a_wrong_one_is_heard_every_time(opened: Callable, free_port: int, trial: int) -> None:
    kind, wrong, _ = WRONG[trial % len(WRONG)]
    test_a_wrong_listener_is_named_and_a_right_one_that_takes_its_place_is_heard(
        opened, free_port, kind, wrong, "trying on|connecting"
    )


@EVERY_KIND
def test_a_sender_that_was_away_stands_in_the_log_and_in_the_findings_with_its_times(
    opened: Callable, kind: str, free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "streamajig")
    address = f"tcp://127.0.0.1:{free_port}"
    begin = time.time()
    source = opened(MAKES[kind](address))
    for _ in range(2):
        with server_at(address, kind) as server:
            serving = serve_in_thread(server, numbered(1))
            gather(source, 1, lambda left: 5)
            serving.join(WAIT_S)
        until(lambda: "nobody listens" in source.status(), source)
    source.stop_asking()
    source.close()
    said = [record.getMessage() for record in caplog.records if record.name == "streamajig.source"]
    assert [text.split(address)[0] for text in said] == [
        "the connection to ",
        "connected to ",
        "the connection to ",
    ]
    found = source.findings()
    first, second = found.figures["lost"]
    assert begin < first["began"] < first["ended"] < second["began"] < time.time()
    assert second["ended"] is None
    assert "the connection was lost 2 times" in found.text
    assert "not back (the sender ended it)" in found.text
    if kind == "rep":
        assert found.figures["asked_again"] > 0


@EVERY_KIND
def test_a_sender_that_goes_when_nothing_is_wanted_of_it_any_more_is_not_lost(opened: Callable, kind: str) -> None:
    with FrameServer(socket=kind) as server:
        source = opened(MAKES[kind](server.address))
        serving = serve_in_thread(server, numbered(1))
        gather(source, 1)
        serving.join(WAIT_S)
        source.stop_asking()
    time.sleep(0.1)
    source.status()
    source.close()
    assert source.findings().figures["losses"] == 0


@EVERY
def test_an_address_nobody_listens_on_is_said_and_tried_on(opened: Callable, make: Callable, free_port: int) -> None:
    address = f"tcp://127.0.0.1:{free_port}"
    source = opened(make(address))
    assert source.receive(0.1, 10) == []
    assert source.status() == f"connecting to {address}"
    assert until(lambda: source.status() == f"nobody listens on {address}; trying on", source, credit=10) == []
    assert source.stop_asking() == 0


@EVERY_KIND
def test_several_senders_are_read_by_one_source_and_each_is_lost_and_found_by_itself(
    opened: Callable, free_port: int, kind: str
) -> None:
    addresses = [f"tcp://127.0.0.1:{free_port}"]
    with FrameServer(socket=kind) as stays:
        addresses.append(stays.address)
        source = opened(MAKES[kind](addresses))
        missing = f"1 of 2 connected; nobody listens on {addresses[0]}; trying on"
        until(lambda: source.status() == missing, source)
        serving = serve_in_thread(stays, numbered(5))
        assert numbers(gather(source, 5)) == [0, 1, 2, 3, 4], "one that is missing keeps no other from being heard"
        with server_at(addresses[0], kind) as goes:
            other = serve_in_thread(goes, numbered(5, 5))
            assert numbers(gather(source, 5)) == [5, 6, 7, 8, 9]
            assert source.status().startswith("2 of 2 connected")
            other.join(WAIT_S)
        until(lambda: source.status().startswith("1 of 2 connected; nobody listens on"), source)
        serving.join(WAIT_S)
        source.stop_asking()
        source.close()
    found = source.findings()
    assert [loss["address"] for loss in found.figures["lost"]] == addresses[:1]
    assert found.text.startswith(f"{addresses[0]}: the connection was lost 1 time")


def test_a_silent_sender_takes_no_request_from_another_one(opened: Callable, context: zmq.Context) -> None:
    silent, busy = Router(context), Router(context)
    source = opened(ZmqReq(address=(silent.address, busy.address), outstanding=1))
    until(lambda: len(silent.take()) == 1 and len(busy.take()) == 1, source)
    for n in range(3):
        busy.answer(*numbered(1, n))
        assert numbers(gather(source, 1)) == [n]
        until(lambda: len(busy.take()) == 1, source)
    assert len(silent.take()) == 1
    assert source.stop_asking() == 2


def test_senders_that_push_take_turns(opened: Callable) -> None:
    with FrameServer(socket="push") as one, FrameServer(socket="push") as other:
        source = opened(ZmqPull(address=(one.address, other.address)))
        servings = [serve_in_thread(one, numbered(20)), serve_in_thread(other, numbered(20, 100))]
        for serving in servings:
            serving.join(WAIT_S)
        until(lambda: source.status().startswith("2 of 2 connected"), source, 0)
        time.sleep(0.1)
        found = numbers(gather(source, 40, lambda left: 40))
        assert sorted(found) == [*range(20), *range(100, 120)]
        assert [n for n in found if n < 100] == list(range(20)), "each sender's own are in order"
        assert max(found.index(100), found.index(0)) <= 2


@pytest.mark.parametrize("kind", ["push", "rep"])
def test_what_each_of_several_senders_says_once_goes_with_its_own_frames(opened: Callable, kind: str) -> None:
    def series(name: str) -> list[list[bytes]]:
        header = [b'{"htype": "dheader-1.0"}', name.encode()]
        return [header, *([b'{"htype": "dimage-1.0"}', f"{name} {n}".encode()] for n in range(10))]

    with FrameServer(socket=kind) as one, FrameServer(socket=kind) as other:
        servings = [serve_in_thread(one, series("one")), serve_in_thread(other, series("other"))]
        found = gather(opened(MAKES[kind]((one.address, other.address), data_format="dectris1")), 20)
        for serving in servings:
            serving.join(WAIT_S)
    said = [(bytes(message.preamble.parts[1]).decode(), bytes(message.parts[1]).decode()) for message in found]
    assert sorted(said) == sorted((name, f"{name} {n}") for name in ("one", "other") for n in range(10))
    assert {(name, message.sender) for (name, _), message in zip(said, found, strict=True)} == {
        ("one", 0),
        ("other", 1),
    }


def test_the_same_address_twice_or_none_is_refused() -> None:
    for addresses, said in [(("tcp://h:1", "tcp://h:1"), "is there twice"), ((), "there is no address")]:
        with pytest.raises(pydantic.ValidationError, match=said):
            ZmqPull(address=addresses)
    assert ZmqPull(address=("tcp://h:1",)).address == "tcp://h:1"


@EVERY_KIND
def test_a_server_may_come_later_than_its_client(opened: Callable, kind: str, free_port: int) -> None:
    address = f"tcp://127.0.0.1:{free_port}"
    source = opened(MAKES[kind](address))
    source.receive(0.2, 10)
    with FrameServer(bind=address, socket=kind) as server:
        serving = serve_in_thread(server, numbered(4))
        assert sorted(numbers(gather(source, 4))) == [0, 1, 2, 3]
        serving.join(WAIT_S)


@EVERY
def test_closing_twice_and_with_answers_under_way_is_harmless(make: Callable) -> None:
    with FrameServer(socket="rep", linger_s=0) as server:
        source = make(server.address).open(Context())
        source.receive(0.2, 5)
        source.close()
        source.close()
        assert source.status() == "closed"


@EVERY
@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1:5002", "tcp://127.0.0.1", "tcp://127.0.0.1:*", "tcp://*:5002", "tcp://host:0", "tcp://host:65536",
     "tcp://host:port", "inproc://here", "http://host:80", "ipc://", "tcp://ho st:1"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_an_example(make: Callable, address: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=r"tcp://127\.0\.0\.1:5002"):
        make(address)


@pytest.mark.parametrize(
    "address", ["tcp://beamline-3.synchrotron.eu:5002", "tcp://[::1]:5002", "tcp://localhost:1", "ipc:///tmp/x"]
)
@EVERY
def test_addresses_that_zeromq_takes_are_taken(make: Callable, address: str) -> None:
    make(address).open(Context()).close()


def test_a_source_works_over_ipc(opened: Callable, tmp_path: object) -> None:
    with FrameServer(bind=f"ipc://{tmp_path}/socket", socket="rep") as server:
        serving = serve_in_thread(server, numbered(10))
        assert len(gather(opened(ZmqReq(address=server.address)), 10)) == 10
        serving.join(WAIT_S)


def test_a_subscription_is_needed() -> None:
    with pytest.raises(pydantic.ValidationError, match="subscribe"):
        ZmqSub(address="tcp://127.0.0.1:5002", subscribe=())


@EVERY_KIND
def test_pixels_lie_where_zeromq_received_them_and_live_as_long_as_the_message(opened: Callable, kind: str) -> None:
    pixels = np.arange(300_000, dtype="<f4")
    body = msgpack.packb([{"n": 0}, {"n": 1, "data": pixels.tobytes()}])
    with FrameServer(socket=kind) as server:
        source = opened(MAKES[kind](server.address))
        serving = serve_in_thread(server, [body])
        _, message = gather(source, 2)
        serving.join(WAIT_S)
        source.close()
    gc.collect()
    (part,) = message.parts
    assert isinstance(part, memoryview)
    assert part.readonly
    encoded = read_map(part)["data"]
    assert np.array_equal(np.frombuffer(encoded[5:], "<f4"), pixels)
    received = np.frombuffer(message.keep_alive[-1].buffer, "u1")
    assert np.shares_memory(received, np.frombuffer(encoded, "u1"))
