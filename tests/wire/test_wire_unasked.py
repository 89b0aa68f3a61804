"""The sources that subscribe and pull, against real sockets on 127.0.0.1."""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from collections.abc import Callable

import msgpack
import pytest
import zmq
from opened_sources import MAKES, WAIT_S, gather, numbered, numbers, published, rejection_of, server_at, until

from pipeline import EndOfStream, Findings, RejectFrame
from stages.source import zmq_pull
from stages.source.zmq_pull import ZmqPull
from stages.source.zmq_sub import ZmqSub
from stages.wire.message import read_map
from stages.wire.serving import FrameServer, serve_in_thread

ON_ITS_WAY_S = 1.0
"""What was sent is here after so long: nobody says when ZeroMQ's threads have passed it on."""


def test_what_is_published_arrives_once_and_in_order(opened: Callable) -> None:
    with FrameServer(socket="pub") as server:
        source = opened(ZmqSub(address=server.address, subscribe=("ondaframedata",)))
        serving = serve_in_thread(server, numbered(500))
        messages = gather(source, 500, lambda left: min(left, 7))
        assert numbers(messages) == list(range(500))
        assert {message.topic for message in messages} == {b"ondaframedata"}
        assert serving.join(WAIT_S) == 500
        assert source.stop_asking() == 0


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
        time.sleep(ON_ITS_WAY_S)
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
        time.sleep(ON_ITS_WAY_S)
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
