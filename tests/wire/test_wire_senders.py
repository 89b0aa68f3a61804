"""Senders of every kind, as all sources meet them: absent, wrong, gone, come back, several at once."""

from __future__ import annotations

import contextlib
import gc
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import msgpack
import numpy as np
import pydantic
import pytest
import zmq
from opened_sources import MAKES, WAIT_S, Router, gather, numbered, numbers, server_at, until

from pipeline import Context
from stages.source.zmq_pull import ZmqPull
from stages.source.zmq_req import ZmqReq
from stages.source.zmq_sub import ZmqSub
from stages.wire.message import read_map
from stages.wire.serving import FrameServer, serve_in_thread

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
        assert begin < source.lost_since() < time.time()
    source.stop_asking()
    assert source.lost_since() is None or kind != "rep", "nothing is wanted any more"
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
    assert source.lost_since() is None, "it was never there"
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
            assert source.lost_since() is None
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
