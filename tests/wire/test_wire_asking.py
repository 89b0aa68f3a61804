"""The source that asks, against real sockets on 127.0.0.1."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgpack
import numpy as np
import pytest
import zmq
from opened_sources import WAIT_S, Router, gather, numbered, numbers, rejection_of, until

from pipeline import EndOfStream, RejectFrame
from stages.source.zmq_req import ZmqReq
from stages.wire.message import read_map
from stages.wire.serving import FrameServer, serve_in_thread


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


def test_a_silent_server_is_asked_again_on_a_new_connection(
    opened: Callable, context: zmq.Context, caplog: pytest.LogCaptureFixture
) -> None:
    router = Router(context)
    source = opened(ZmqReq(address=router.address, outstanding=2, sockets=1, timeout_s=0.3))
    with caplog.at_level("INFO", "streamajig"):
        until(lambda: len(router.take()) == 4, source, 2)
    assert len({request[0] for request in router.waiting}) == 2
    assert source.stop_asking() == 2, "those given up are not counted"
    assert source.findings().figures["given_up"] == 2
    del router.waiting[:2]
    router.answer(*numbered(1))
    assert numbers(gather(source, 1)) == [0]


def test_a_sender_that_has_no_frame_for_long_fills_no_log_and_is_no_fault(
    opened: Callable, context: zmq.Context, caplog: pytest.LogCaptureFixture
) -> None:
    router = Router(context)
    with caplog.at_level("INFO", "streamajig"):
        source = opened(ZmqReq(address=router.address, outstanding=1, sockets=1, timeout_s=0.1))
        until(lambda: source.findings().figures["given_up"] >= 4, source)
        assert [record.levelname for record in caplog.records] == ["INFO"]
        assert f"no frame from {router.address} for 0 s: asking anew on another connection" in caplog.text
        until(lambda: bool(router.take()), source)
        del router.waiting[:-1]
        router.answer(*numbered(1))
        gather(source, 1)
        given_up = source.findings().figures["given_up"]
        until(lambda: source.findings().figures["given_up"] >= given_up + 3, source)
    assert len(caplog.records) == 2, "once more, since there had been a frame"


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
    assert (
        "8 requests still waited at the sender for a frame when the run ended, as requests do" in source.findings().text
    )


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
