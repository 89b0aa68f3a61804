"""What a run publishes, as it comes out of a socket: every kind of message, on every backend, with and without pixels."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from listening import PATIENCE_S, Listener, files, listening, sender, watched

from pipeline import Graph, UserError, run
from stages.decode import MsgpackMap
from stages.live import Monitor
from stages.monitor.blob import decode
from stages.monitor.kinds import PUBLISHED
from stages.monitor.publishing.publisher import Publisher
from stages.sink import Memory
from stages.source import Simulate

BACKENDS = ("serial", "serial:debug", "threads:2", "processes:2", "dask:2")


def address_in(folder: Path) -> str:
    """An endpoint that is known before anybody serves there."""
    return f"ipc://{folder}/monitor"


def run_until(listener: Listener, graph: Graph, *kinds: str) -> Any:
    """Run a graph until messages of all these kinds have come; returns the report."""
    stopping = threading.Event()

    def stop_when_seen() -> None:
        listener.wait_for(lambda: {blob["kind"] for blob in listener.blobs} >= set(kinds))
        stopping.set()

    watching = threading.Thread(target=stop_when_seen, daemon=True)
    watching.start()
    report = run(graph, command_line="streamajig index --monitor", stopping=stopping)
    watching.join()
    return report


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_kind_is_published_and_the_last_state_is_that_of_the_report(backend: str, tmp_path: Path) -> None:
    address = address_in(tmp_path)
    with listening(address) as listener, sender() as source:
        graph = watched(source, tmp_path, Monitor(page=False, address=address, frames_every_s=0.1), backend=backend)
        report = run_until(listener, graph, *PUBLISHED)
    assert report.is_conserved
    assert report.leaves["monitor"].delivered == report.leaves["sink"].delivered
    assert listener.topics == [blob["kind"] for blob in listener.blobs]
    assert len({blob["run"] for blob in listener.blobs}) == 1
    last = {kind: listener.of(kind)[-1] for kind in PUBLISHED}
    counts, totals = last["run"]["counts"], report.counts
    assert (counts["received"], counts["in_flight"]) == (report.received, 0)
    leaf = report.leaves["sink"]
    assert [counts[name] for name in ("delivered", "rejected", "dropped")] == [
        leaf.delivered,
        leaf.rejected,
        leaf.dropped,
    ]
    for name in ("hits", "indexed", "crystals", "peaks"):
        assert counts[name] == totals[name] > 0, name
    assert last["run"]["ended"] == report.why_ended != ""
    assert not any(blob["ended"] for blob in listener.of("run")[:-1])
    assert last["cells"]["of"] == totals["crystals"] == len(last["cells"]["parameters"])
    assert last["powder"]["hits"] == totals["hits"]
    assert last["history"]["crystals"][-1] == totals["crystals"]
    assert {shown["category"] for shown in listener.of("frame")} <= {"indexed", "hit", "blank"}


def test_numbers_count_the_messages_of_each_kind_and_cumulative_counts_never_fall(tmp_path: Path) -> None:
    address = address_in(tmp_path)
    with listening(address) as listener, sender() as source:
        run_until(listener, watched(source, tmp_path, Monitor(page=False, address=address)), *PUBLISHED)
    for kind in PUBLISHED:
        numbers = [blob["number"] for blob in listener.of(kind)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    received = [blob["counts"]["received"] for blob in listener.of("run")]
    assert received == sorted(received)
    history = listener.of("history")[-1]
    for name in ("received", "delivered", "hits", "indexed", "crystals", "time_unix_s"):
        assert (np.diff(history[name]) >= 0).all(), name


def test_the_run_says_what_it_is_and_how_long_each_node_takes(tmp_path: Path) -> None:
    address = address_in(tmp_path)
    with listening(address, "run") as listener, sender() as source:
        graph = watched(source, tmp_path, Monitor(page=False, address=address))
        report = run_until(listener, graph, "run")
    last = listener.of("run")[-1]
    assert last["command_line"] == "streamajig index --monitor"
    assert last["program"].startswith("streamajig ")
    assert [node["name"] for node in last["nodes"]] == list(graph.names)
    nodes = {node["name"]: node for node in last["nodes"]}
    assert (nodes["source"]["after"], nodes["source"]["mean_ms"]) == (None, None)
    assert nodes["monitor"]["after"] == nodes["sink"]["after"] == "integrate"
    assert nodes["index"]["frames"] == report.nodes["index"].durations.count
    assert nodes["index"]["total_s"] > 0
    assert last["latency_ms"][1] >= last["latency_ms"][0] > 0
    assert last["groups"] is None
    crystals = last["crystals"]
    assert len(crystals["serial"]) == min(200, report.counts["crystals"])
    assert set(crystals["lattice"]) == {"tP"}
    assert np.allclose(np.median(crystals["a"]), 79, atol=1)


def test_a_frame_is_shown_with_its_pixels_where_they_are(tmp_path: Path) -> None:
    address = address_in(tmp_path)
    with listening(address, "frame") as listener, sender() as source:
        graph = watched(source, tmp_path, Monitor(page=False, address=address, frames_every_s=0.1), backend="serial")
        graph = graph.replace("sink", Memory(keep_image=True))
        stopping = threading.Event()
        waiting = threading.Thread(
            target=lambda: (
                listener.wait_for(lambda: any(one["category"] == "indexed" for one in listener.blobs)),
                stopping.set(),
            ),
            daemon=True,
        )
        waiting.start()
        report = run(graph, stopping=stopping)
    from stages.records import Crystals, DetGeom, Image, PeakList

    frames = {frame.serial: frame for frame in report.outputs["sink"]}
    shown = next(blob for blob in listener.blobs if blob["category"] == "indexed")
    frame = frames[shown["serial"]]
    geom, image = frame[DetGeom], frame[Image]
    for pixels, view in zip(shown["panels"], geom.views(image), strict=True):
        assert pixels.dtype == view.dtype
        assert np.array_equal(pixels, view)
    assert shown["event"] == frame.event
    assert shown["time_unix_s"] == frame.received_ns / 1e9
    assert shown["header"]["beam_energy"] == str(frame[_header_type()]["beam_energy"])
    assert np.allclose(shown["peaks"]["fs"], frame[PeakList].fs)
    (crystal, *_), (true, *_) = shown["crystals"], frame[Crystals].found
    assert np.array_equal(crystal["reflections"]["hkl"], true.reflections.hkl)
    assert crystal["a"] == pytest.approx(np.linalg.norm(true.real_space_angstrom[0]))
    _agrees_in_the_plane(shown, geom, frame[PeakList])
    first = listener.blobs[0]
    assert all(np.array_equal(one, other) for one, other in zip(first["bad"], geom.bad, strict=True))


def _header_type() -> Any:
    from stages.records import Header

    return Header


def _agrees_in_the_plane(shown: dict[str, Any], geom: Any, peaks: Any) -> None:
    """The resolution of each peak, worked out from the message alone, is that of the geometry."""
    placed, found = shown["geometry"], shown["peaks"]
    panel, fs, ss = found["panel"], found["fs"][:, None], found["ss"][:, None]
    where = placed["corner"][panel] + fs * placed["fs"][panel] + ss * placed["ss"][panel]
    two_theta = np.arctan(np.hypot(*where.T) / placed["clen_m"])
    per_angstrom = 2 * np.sin(two_theta / 2) / placed["wavelength_angstrom"]
    q = np.linalg.norm(geom.q_per_angstrom(peaks.panel, peaks.fs, peaks.ss), axis=1)
    assert np.allclose(per_angstrom, q, rtol=1e-4)


# --- in any graph -------------------------------------------------------------------------------------------------------


def test_without_pixels_all_the_rest_is_published(tmp_path: Path) -> None:
    address = address_in(tmp_path)
    with listening(address) as listener, sender() as source:
        report = run_until(
            listener, watched(source, tmp_path, Monitor(page=False, address=address), pixels=False), *PUBLISHED
        )
    assert report.is_conserved
    shown = listener.of("frame")[-1]
    assert shown["panels"] == []
    assert shown["header"]
    assert listener.of("cells")[-1]["of"] == report.counts["crystals"] > 0


@pytest.mark.parametrize("last", ["source", "decode", "geometry_map", "peaks", "hit", "index"])
def test_it_goes_behind_any_node_and_shows_what_there_is(last: str, tmp_path: Path) -> None:
    address = address_in(tmp_path)
    with listening(address) as listener, sender() as source:
        graph = watched(source, tmp_path, Monitor(page=False, address=address))
        graph = graph.remove("monitor").add(Monitor(page=False, address=address), name="monitor", after=last)
        report = run_until(listener, graph, "run", "history", "cells", "resolution")
    assert report.leaves["monitor"].rejected == report.leaves["sink"].rejected
    assert listener.of("run")[-1]["counts"]["received"] == report.received
    assert bool(listener.of("cells")[-1]["of"]) == (last == "index")


def test_two_nodes_are_enough_for_it(tmp_path: Path) -> None:
    address = address_in(tmp_path)
    with listening(address, "run") as listener, sender() as source:
        report = run_until(listener, Graph.chain(source, MsgpackMap(), Monitor(page=False, address=address)), "run")
    assert listener.of("run")[-1]["counts"]["delivered"] == report.leaves["live"].delivered > 0


def test_frames_that_are_rejected_count_with_their_group(tmp_path: Path) -> None:
    address = address_in(tmp_path)
    monitor = Monitor(page=False, address=address, group_by="event_id")
    with listening(address, "run") as listener, sender() as source:
        graph = watched(source, tmp_path, monitor)
        geometry, _ = files(tmp_path)
        geometry.write_text(geometry.read_text().replace("detector_distance", "no_such_key"))
        report = run_until(listener, graph, "run")
    last = listener.of("run")[-1]
    assert report.leaves["monitor"].rejected == report.received > 0
    assert last["rejections"][0]["reason"] == "missing_key"
    assert sum(group["frames"] for group in last["groups"]["values"]) == report.received
    assert sum(group["hits"] for group in last["groups"]["values"]) == 0


# --- what comes with it -------------------------------------------------------------------------------------------------


def test_the_page_is_started_where_the_run_publishes_and_ends_after_the_last_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[Any] = []

    class Page:
        def __init__(self, address: str, port: int) -> None:
            happened.append((address, port))
            self.listener = Listener(address, ["run"])

        def finish(self) -> None:
            self.listener.close()
            happened.append(self.listener.of("run")[-1]["ended"])

    monkeypatch.setattr("stages.live.monitor.PageProcess", Page)
    address = address_in(tmp_path)
    with listening(address, "run") as listener, sender() as source:
        report = run_until(listener, watched(source, tmp_path, Monitor(address=address, port=8123)), "run")
    assert happened == [(address, 8123), report.why_ended]


def test_the_report_has_the_last_state_and_a_run_that_cannot_write_it_does_not_begin(tmp_path: Path) -> None:
    source = Simulate(frames=40, size="512x512", distance_mm=45.0, hits=0.7, seed=41)
    monitor = Monitor(page=False, report=tmp_path / "report.html")
    report = run(watched(source, tmp_path, monitor))
    text = (tmp_path / "report.html").read_text()
    assert report.why_ended in text
    assert text.count("<script") > 1
    with pytest.raises(UserError, match=r"report: cannot write .*there is no folder"):
        run(watched(source, tmp_path, Monitor(page=False, report=tmp_path / "no" / "report.html")))


# --- nobody is waited for -----------------------------------------------------------------------------------------------


def test_a_run_without_listeners_and_one_with_a_listener_that_never_reads_end_as_they_should(tmp_path: Path) -> None:
    geometry_run = Simulate(frames=60, size="512x512", distance_mm=45.0, hits=0.7, seed=41)
    assert run(watched(geometry_run, tmp_path, Monitor(page=False))).received == 60
    address = address_in(tmp_path)
    with zmq.Context() as context, context.socket(zmq.SUB) as deaf:
        deaf.setsockopt(zmq.LINGER, 0)
        deaf.setsockopt(zmq.RCVHWM, 1)
        deaf.subscribe("")
        deaf.connect(address)
        assert (
            run(watched(geometry_run, tmp_path, Monitor(page=False, address=address, frames_every_s=0.1))).received
            == 60
        )


def test_a_fault_of_the_monitor_is_logged_once_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    has_failed = threading.Event()

    def fail(*_: object) -> None:
        has_failed.set()
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(Publisher, "new_listeners", fail)
    stopping = threading.Event()
    threading.Thread(target=lambda: (has_failed.wait(60), stopping.set()), daemon=True).start()
    with sender() as source, caplog.at_level(logging.WARNING, "streamajig.monitor"):
        report = run(watched(source, tmp_path, Monitor(page=False)), stopping=stopping)
    assert has_failed.is_set()
    assert report.is_conserved
    assert report.failure is None
    assert [record.message for record in caplog.records if "ZeroDivisionError: on purpose" in record.message] != []
    assert len([record for record in caplog.records if record.name == "streamajig.monitor"]) == 1


MORE_THAN_FITS = 40


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Publisher]:
    """A publisher that lets go of nobody."""
    publisher = Publisher(address_in(tmp_path), math.inf)
    yield publisher
    publisher.close(0.0)


@contextmanager
def one_who_does_not_read(publisher: Publisher) -> Iterator[zmq.Socket[bytes]]:
    """Somebody who listens, for whom more is published than waits anywhere."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.RCVHWM, 1)
        socket.setsockopt(zmq.RCVTIMEO, int(1000 * PATIENCE_S))
        socket.setsockopt(zmq.LINGER, 0)
        socket.subscribe("run")
        socket.connect(publisher.address)
        while "run" not in publisher.listened_to():
            publisher.new_listeners()
        for number in range(MORE_THAN_FITS):
            publisher.send("run", {"number": number, "pixels": LARGE})
        yield socket


LARGE = np.zeros(1 << 20, np.uint8)


def test_who_is_behind_gets_the_last_message_all_the_same(patient: Publisher) -> None:
    with one_who_does_not_read(patient) as slow:
        received: list[int] = []

        def read_until_the_last() -> None:
            while not received or received[-1] < MORE_THAN_FITS:
                received.append(decode(slow.recv_multipart()[1])["number"])

        reading = threading.Thread(target=read_until_the_last, daemon=True)
        reading.start()
        patient.send_last("run", {"number": MORE_THAN_FITS, "pixels": LARGE}, time.monotonic() + PATIENCE_S)
        reading.join(2 * PATIENCE_S)
    assert received[-1] == MORE_THAN_FITS
    assert len(received) <= MORE_THAN_FITS, "nothing was let go, so that there was room all the time"


def test_the_last_message_waits_for_nobody_for_ever(patient: Publisher) -> None:
    with one_who_does_not_read(patient):
        patient.send_last("run", {"number": MORE_THAN_FITS, "pixels": LARGE}, time.monotonic() + 0.05)


def test_who_has_stopped_reading_keeps_nothing_from_the_others(tmp_path: Path) -> None:
    publisher = Publisher(address_in(tmp_path), patience_s=0.0)
    try:
        with one_who_does_not_read(publisher), listening(publisher.address, "run") as listener:
            while publisher._subscriptions[b"run"] < 2:
                publisher.new_listeners()
            for number in range(100, 110):
                publisher.send("run", {"kind": "run", "number": number})
                assert listener.wait_for(lambda number=number: any(b["number"] == number for b in listener.of("run")))
    finally:
        publisher.close(0.0)


@pytest.mark.slow
def test_a_publisher_ends_whenever_who_listens_goes(tmp_path: Path) -> None:
    for number in range(400):
        publisher = Publisher(f"ipc://{tmp_path}/{number}", patience_s=math.inf)
        with one_who_does_not_read(publisher):
            pass
        publisher.close(0.0)


def test_an_address_in_use_is_refused_with_what_to_do(tmp_path: Path) -> None:
    publisher = Publisher("tcp://127.0.0.1:*")
    try:
        with pytest.raises(UserError, match=r"cannot serve at tcp://127\.0\.0\.1:\d+: .*give a free endpoint"):
            run(watched(Simulate(frames=1), tmp_path, Monitor(page=False, address=publisher.address)))
        with pytest.raises(UserError, match="wanted is tcp://"):
            run(watched(Simulate(frames=1), tmp_path, Monitor(page=False, address="nonsense")))
    finally:
        publisher.close()


def test_the_port_that_was_taken_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "streamajig.live"):
        run(Graph.chain(Simulate(frames=1, size="64x64"), MsgpackMap(), Monitor(page=False)))
    assert any("published at tcp://127.0.0.1:" in record.message for record in caplog.records)
