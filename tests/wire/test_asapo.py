"""Messages from ASAP::O: with a stand-in that has the client's methods, and with the client itself where there is no broker."""

from __future__ import annotations

import gc
import json
from types import SimpleNamespace
from typing import Any

import msgpack
import numpy as np
import pytest

from pipeline import Context, EndOfStream, Message, RejectFrame, UserError
from stages.commands.index.graph import graph_from_options
from stages.source.asapo import Asapo, RunningAsapo
from stages.wire.message import body_of, check_body

asapo_consumer = pytest.importorskip("asapo_consumer")


class Broker:
    """Gives out what it has, message or exception, and keeps what it is told."""

    def __init__(self, *has: Any, size: int | None = None) -> None:
        self.has = list(has)
        self.size = len(has) if size is None else size
        self.acknowledged: list[int] = []
        self.asked: list[tuple[Any, ...]] = []
        self.resend: tuple[Any, ...] = ()

    def create_consumer(self, *arguments: Any) -> Broker:
        self.asked.append(arguments)
        return self

    def set_resend_nacs(self, *arguments: Any) -> None:
        self.resend = arguments

    def get_current_size(self, stream: str) -> int:
        assert stream == "run7"
        return self.size

    def get_next(self, group_id: str, meta_only: bool, stream: str, ordered: bool) -> tuple[Any, dict[str, Any]]:
        assert (group_id, meta_only, stream, ordered) == ("us", False, "run7", False)
        if not self.has:
            raise asapo_consumer.AsapoEndOfStreamError("error: end of stream")
        found = self.has.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def acknowledge(self, group_id: str, number: int, stream: str) -> None:
        assert (group_id, stream) == ("us", "run7")
        self.acknowledged.append(number)


def message(number: int, body: bytes | None = None, meta: Any = None) -> tuple[Any, dict[str, Any]]:
    content = msgpack.packb({"n": number}) if body is None else body
    return np.frombuffer(content, np.uint8), {"_id": number, "name": f"run7/{number}", "meta": meta}


def running(broker: Broker, **more: Any) -> RunningAsapo:
    errors = {name: getattr(asapo_consumer, name) for name in dir(asapo_consumer) if name.endswith("Error")}
    client = SimpleNamespace(create_consumer=broker.create_consumer, **errors)
    names = {"endpoint": "here:8400", "beamtime": "110", "data_source": "eiger", "stream": "run7", "group": "us"}
    return RunningAsapo(Asapo(**names, **more), client)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.source.asapo.PAUSE_S", 0.0)


def numbers(messages: list[Message]) -> list[int]:
    return [msgpack.unpackb(bytes(one.parts[0]))["n"] for one in messages]


def test_messages_come_as_they_are_asked_for_until_the_stream_is_finished() -> None:
    broker = Broker(*map(message, range(3)), asapo_consumer.AsapoEndOfStreamError("not yet"), message(3))
    broker.has.append(asapo_consumer.AsapoStreamFinishedError("error: stream finished", next_stream=b""))
    source = running(broker, token="secret", consumer_timeout_ms=200)
    assert broker.asked == [("here:8400", "auto", False, "110", "eiger", "secret", 200)]
    assert source.receive(1.0, 0) == []
    assert numbers(source.receive(1.0, 2)) == [0, 1]
    assert numbers(source.receive(1.0, 9)) == [2]
    assert numbers(source.receive(1.0, 9)) == [3]
    with pytest.raises(EndOfStream):
        source.receive(0.0, 1)
    assert source.findings().text == ""
    assert source.findings().figures == {"messages": 4, "interrupted": 0}


def test_what_interrupts_is_counted_and_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    lost = asapo_consumer.AsapoUnavailableServiceError("error: service unavailable, caused by: error: connection error")
    broken = asapo_consumer.AsapoInterruptedTransactionError("error: interrupted transaction")
    source = running(Broker(message(0), broken, lost, lost, message(1)))
    assert numbers(source.receive(1.0, 9)) == [0]
    assert source.status() == "interrupted transaction"
    assert source.receive(0.0, 9) == source.receive(0.0, 9) == []
    assert source.status() == "service unavailable (connection error)"
    assert numbers(source.receive(1.0, 9)) == [1]
    assert source.status() == "connected to ASAP::O at here:8400, stream run7"
    assert source.findings().text == "ASAP::O did not answer 3 times"
    assert len(caplog.records) == 2  # the same trouble is said once


def test_messages_are_acknowledged_when_nobody_holds_them_any_more() -> None:
    broker = Broker(*map(message, (7, 8)))
    source = running(broker, acks=True)
    assert broker.resend == (True, 60_000, 3)
    first, second = source.receive(1.0, 2)
    assert source.receive(0.0, 2) == []
    assert broker.acknowledged == []
    del first
    gc.collect()
    source.receive(0.0, 2)
    assert broker.acknowledged == [7]
    source.close()
    assert broker.acknowledged == [7]
    del second
    source.close()
    assert broker.acknowledged == [7, 8]


def test_a_stream_that_nobody_writes_to_ends_the_run_or_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    source = running(Broker())
    assert source.receive(0.0, 1) == []
    assert "ASAP::O has no stream 'run7' with messages (--asapo-wait-for-stream waits for it)" in caplog.text
    with pytest.raises(EndOfStream):
        source.receive(0.0, 1)
    wrong = asapo_consumer.AsapoWrongInputError("error: wrong input")
    with pytest.raises(UserError, match="ASAP::O at here:8400: wrong input"):
        running(Broker(wrong)).receive(0.0, 1)
    broker = Broker(asapo_consumer.AsapoEndOfStreamError("none"), wrong, size=0)
    waiting = running(broker, wait_for_stream=True)
    assert waiting.receive(0.0, 1) == waiting.receive(0.0, 1) == []
    broker.has.append(message(5))
    assert numbers(waiting.receive(1.0, 1)) == [5]


def test_messages_that_are_too_large_are_rejected() -> None:
    (large,) = running(Broker(message(0, bytes(50))), max_message_bytes=49).receive(1.0, 1)
    with pytest.raises(RejectFrame, match="too_large: the message has 50 bytes"):
        check_body(body_of(large))


def test_without_a_broker_the_run_ends_before_it_begins_and_says_so() -> None:
    """The client itself, and a port at which nobody listens."""
    with pytest.raises(
        UserError, match=r"ASAP::O at 127\.0\.0\.1:9 \(--asapo-endpoint\): service unavailable \(connection"
    ):
        Asapo(
            endpoint="127.0.0.1:9", beamtime="1", data_source="x", stream="s", group="g", consumer_timeout_ms=100
        ).open(Context())


def test_options_name_what_asapo_needs() -> None:
    base = {"asapo_endpoint": "here:8400", "geometry": "a.geom", "output": "a.stream", "indexing": "none"}
    more = {"asapo_beamtime": "110", "asapo_group": "us", "asapo_source": "eiger"}
    with pytest.raises(UserError, match=r"parameter 'stream'.*: give --asapo-stream"):
        graph_from_options({**base, **more})
    graph = graph_from_options({**base, **more, "asapo_stream": "run7", "peaks": "zaef", "data_format": "cbf"})
    assert graph.source.stage == Asapo(
        endpoint="here:8400", beamtime="110", group="us", data_source="eiger", stream="run7", data_format="cbf"
    )
    with pytest.raises(UserError, match="--zmq-input and --asapo-endpoint exclude each other"):
        graph_from_options({**base, **more, "zmq_input": "tcp://127.0.0.1:5002"})


def test_metadata_goes_before_the_data_where_the_format_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    source = running(Broker(message(0, b"pixels", {"_data_format": "what they are"})), data_format="cbf")
    seen: list[list[bytes]] = []

    class Framing:
        def frames_of(self, parts: list[memoryview], received_ns: int, keep_alive: object) -> list[Message]:
            seen.append([bytes(part) for part in parts])
            return []

    monkeypatch.setattr(source, "_framing", Framing())
    monkeypatch.setattr(source, "_parameters", SimpleNamespace(**{**vars(source._parameters), "data_format": "seedee"}))
    source.receive(1.0, 1)
    assert seen == [[json.dumps({"_data_format": "what they are"}).encode(), b"pixels"]]
