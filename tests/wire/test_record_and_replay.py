"""`streamajig record`, `--record` and the replay of both: real sockets, real processes, and the same stream as the live run."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import msgpack
import numpy as np
import pytest
import zmq

from pipeline import Context, EndOfStream, Message, UserError
from pipeline.command_line import cli
from pipeline.running.job import run
from stages.commands.index.graph import graph_from_options
from stages.files.stream import read_stream
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings
from stages.source.replay import Replay
from stages.source.zmq_req import ZmqReq
from stages.source.zmq_sub import ZmqSub
from stages.wire.message import body_of
from stages.wire.recording.layout import About, files_of
from stages.wire.recording.reading import Passed, Recorded, about, read_records
from stages.wire.recording.writing import Limits, RecordingWriter, clear
from stages.wire.serving import FrameServer, serve_in_thread

WAIT_S = 30.0


def body(n: int, size: int = 10) -> bytes:
    return msgpack.packb({"n": n, "x": bytes(size)})


def numbers(messages: list[Message]) -> list[int]:
    return [msgpack.unpackb(body_of(message))["n"] for message in messages]


def recorded(folder: Path, passed: Passed | None = None) -> list[Recorded]:
    return [one for one in read_records(files_of(folder), passed or Passed()) if isinstance(one, Recorded)]


def parts(folder: Path) -> list[list[bytes]]:
    return [[bytes(part) for part in one.parts] for one in recorded(folder)]


def everything(source: Replay) -> list[Message]:
    running = source.open(Context())
    found: list[Message] = []
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            found += running.receive(0.05, 1)
        except EndOfStream:
            running.close()
            return found
    raise AssertionError("no end")


def record_with(bodies: list[object], folder: Path, *options: str, socket: str = "pub") -> int:
    """Run the command in this process on what a server sends; its exit status."""
    with FrameServer(socket=socket, topic=b"tag") as server:  # type: ignore[arg-type]
        how = "--zmq-subscribe=tag" if socket == "pub" else "--zmq-request=next"
        serving = serve_in_thread(server, bodies)  # type: ignore[arg-type]
        status = cli.run(["record", f"--zmq-input={server.address}", how, f"-o={folder}", *options])
        serving.stop(WAIT_S)
    return status


# the command


def test_what_is_published_is_recorded_unchanged_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    geometry = tmp_path / "a.geom"
    geometry.write_text("; mine")
    before_ns = time.time_ns()
    sent = [body(0), [b"", body(1)], [b"two", b"", b"parts"], b"no map"]
    assert record_with(sent, tmp_path / "r", f"-g={geometry}", "--data-format=cbf", "--max-frames=4") == 0
    assert parts(tmp_path / "r") == [
        [b"tag", body(0)],
        [b"tag", b"", body(1)],
        [b"tag", b"two", b"", b"parts"],
        [b"tag", b"no map"],
    ]
    times = [one.received_ns for one in recorded(tmp_path / "r")]
    assert before_ns < times[0] <= times[-1] < time.time_ns()
    said = about(tmp_path / "r")
    assert (said.socket, said.data_format, said.geometry, said.asked_for) == ("SUB", "cbf", "a.geom", ("tag",))
    assert (tmp_path / "r" / "a.geom").read_text() == "; mine"
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "received 4 = written 4 + dropped 0"
    assert re.match(r"[\d.]+ s, [\d.]+ messages/s, .*; ended: 4 messages, as asked for", out[0])


def test_what_is_asked_for_is_recorded_and_too_large_messages_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = [body(0), body(1, 5000), body(2)]
    assert record_with(sent, tmp_path / "r", "--max-frames=3", "--max-message-bytes=1000", socket="rep") == 0
    assert parts(tmp_path / "r") == [[b"", body(0)], [b"", body(2)]]
    out = capsys.readouterr().out
    assert "not recorded: 1 x too_large" in out
    assert out.splitlines()[-1] == "received 3 = written 2 + dropped 1"


def test_a_recording_that_is_there_is_replaced_with_force_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record_with([body(0)], tmp_path / "r", "--max-frames=1") == 0
    assert record_with([body(1)], tmp_path / "r", "--max-frames=1") == 2
    assert "000000.rec is there already: --force writes over it" in capsys.readouterr().err
    assert record_with([body(2)], tmp_path / "r", "--max-frames=1", "--force") == 0
    assert parts(tmp_path / "r") == [[b"tag", body(2)]]


def test_a_limit_ends_the_command_in_good_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sent = [body(n, 1000) for n in range(50)]
    assert record_with(sent, tmp_path / "r", "--max-size=5kB", "--file-size=2kB") == 0
    out = capsys.readouterr().out
    assert re.search(r"ended: it has \d\.\d kB, and would exceed the 5\.0 kB", out)
    law = re.fullmatch(r"received (\d+) = written (\d) \+ dropped (\d+)", out.splitlines()[-1])
    assert law is not None
    assert int(law[1]) == int(law[2]) + int(law[3])
    assert int(law[2]) == len(recorded(tmp_path / "r")) == len(files_of(tmp_path / "r"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--zmq-subscribe=a", "--zmq-request=b"], "give one of --zmq-subscribe=TAG"),
        ([], "give one of --zmq-subscribe=TAG"),
        (["--zmq-subscribe=a", "--file-size=much"], "--file-size=much: "),
        (["--zmq-subscribe=a", "--data-format=jpeg"], "--data-format=jpeg: "),
        (["--zmq-subscribe=a", "--keep-free=1000PB"], "are free on the disk, and .* are kept so"),
    ],
)
def test_wrong_options_are_said_in_their_own_words(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["record", "--zmq-input=tcp://127.0.0.1:9", f"-o={tmp_path / 'r'}", *options]) == 2
    assert re.search(said, capsys.readouterr().err)


def test_nothing_received_has_a_status_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--zmq-input=tcp://127.0.0.1:9", "--zmq-request=next", f"-o={tmp_path / 'r'}", "--no-data-timeout=0.05"]
    assert cli.run(["record", *words]) == 4
    assert capsys.readouterr().out.splitlines()[-1] == "received 0 = written 0 + dropped 0"


def test_what_several_senders_push_is_recorded_with_who_has_sent_it(tmp_path: Path) -> None:
    with FrameServer(socket="push", topic=None) as one, FrameServer(socket="push", topic=None) as other:
        serving = [serve_in_thread(server, [[b"from", name]]) for server, name in ((one, b"one"), (other, b"other"))]
        words = [f"--zmq-input={server.address}" for server in (one, other)]
        assert cli.run(["record", *words, "--zmq-pull", f"-o={tmp_path / 'r'}", "--max-frames=2"]) == 0
        for each in serving:
            each.join(WAIT_S)
    assert about(tmp_path / "r").addresses == (one.address, other.address)
    assert {(found.sender, *map(bytes, found.parts)) for found in recorded(tmp_path / "r")} == {
        (0, b"from", b"one"),
        (1, b"from", b"other"),
    }


def test_what_is_encrypted_is_recorded_by_whoever_knows_the_key(tmp_path: Path) -> None:
    public, secret = zmq.curve_keypair()
    (tmp_path / "secret").write_bytes(secret)
    with FrameServer(socket="rep", curve_key=tmp_path / "secret") as server:
        serving = serve_in_thread(server, [body(7)])
        words = [f"--zmq-input={server.address}", "--zmq-request=next", f"--zmq-server-key={public.decode()}"]
        assert cli.run(["record", *words, f"-o={tmp_path / 'r'}", "--max-frames=1"]) == 0
        serving.join(WAIT_S)
    assert parts(tmp_path / "r") == [[b"", body(7)]]


class Process:
    """The command in a process of its own, with a sender that publishes what it is told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.XPUB)
        self.socket.setsockopt(zmq.LINGER, 0)
        port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        words = ["record", f"--zmq-input=tcp://127.0.0.1:{port}", "--zmq-subscribe=tag", f"-o={folder}"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.command_line.cli", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.socket.poll(1000 * WAIT_S), "it subscribes"
        self.socket.recv()

    def send(self, *bodies: bytes) -> None:
        for one in bodies:
            self.socket.send_multipart([b"tag", one])

    def until_written(self, num_bytes: int) -> None:
        deadline = time.monotonic() + WAIT_S
        while sum(file.stat().st_size for file in files_of(self.folder)) < num_bytes:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self._context.destroy(0)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path / "r")
    yield made
    made.close()


def test_control_c_ends_it_with_all_that_had_come(process: Process) -> None:
    process.send(*(body(n, 1000) for n in range(20)))
    process.until_written(10_000)
    process.process.send_signal(signal.SIGINT)
    out, err = process.process.communicate(timeout=WAIT_S)
    assert process.process.returncode == 0, err
    law = re.fullmatch(r"received (\d+) = written (\d+) \+ dropped 0", out.splitlines()[-1])
    assert law is not None
    assert law[1] == law[2] == str(len(recorded(process.folder)))
    assert "ended: stopped" in out


def test_what_is_killed_leaves_a_recording_that_can_be_read(process: Process) -> None:
    process.send(*(body(n, 100_000) for n in range(10)))
    process.until_written(500_000)
    process.process.kill()
    process.process.communicate(timeout=WAIT_S)
    passed = Passed()
    found = recorded(process.folder, passed)
    assert [msgpack.unpackb(one.parts[1])["n"] for one in found] == [*range(len(found))]
    assert len(found) >= 4
    assert passed.damaged == 0


# replayed over a socket


@pytest.fixture
def recording(tmp_path: Path) -> Callable[..., Path]:
    def make(messages: list[tuple[bytes, ...]], socket: str = "SUB", every_s: float = 0.0) -> Path:
        folder = tmp_path / f"recording{len(list(tmp_path.iterdir()))}"
        writer = RecordingWriter(folder, About(socket), limits=Limits(file_size=300))
        for n, one in enumerate(messages):
            writer.write(1_000_000_000 + int(n * every_s * 1e9), [memoryview(part) for part in one])
        writer.close()
        return folder

    return make


class Replayed:
    """`streamajig replay` at work in a thread, at an address that is known before."""

    def __init__(self, *words: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.address = f"ipc://{self.folder.name}/socket"
        self.status = -1
        self._thread = threading.Thread(
            target=self._work, args=(["replay", *words, f"--bind={self.address}"],), daemon=True
        )
        self._thread.start()

    def _work(self, words: list[str]) -> None:
        self.status = cli.run(words)

    def end(self) -> None:
        self._thread.join(WAIT_S)
        assert self.status == 0
        self.folder.cleanup()

    def take(self, count: int) -> list[Message]:
        """Ask for messages."""
        source = ZmqReq(address=self.address).open(Context())
        found: list[Message] = []
        deadline = time.monotonic() + WAIT_S
        while len(found) < count:
            assert time.monotonic() < deadline
            found += source.receive(0.1, count - len(found))
        source.close()
        self.end()
        return found


def test_a_recording_is_published_as_it_came_with_its_tags(
    recording: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    messages = [(b"tag", body(0)), (b"tagged", b"", body(1)), (b"other", body(2)), (b"tag", b"")]
    replayed = Replayed(str(recording(messages)), "--pub")
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.RCVTIMEO, int(1000 * WAIT_S))
        socket.connect(replayed.address)
        socket.subscribe(b"tag")
        found = [tuple(socket.recv_multipart()) for _ in range(3)]
    assert found == [messages[0], messages[1], messages[3]]
    replayed.end()
    assert "sent 4 messages, all of 3 of 3 files" in capsys.readouterr().err


def test_answers_are_given_as_they_were_recorded_from_either_socket(recording: Callable[..., Path]) -> None:
    folders = [recording([(b"", body(0)), (b"", b"tag", body(1))], "REQ"), recording([(b"tag", body(2))])]
    found = Replayed(*map(str, folders)).take(3)
    assert numbers(found) == [0, 1, 2]
    assert [message.topic for message in found] == [b"", b"tag", b"tag"]


def test_damaged_places_are_said_when_a_recording_has_been_sent(
    recording: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = recording([(b"", body(n, 200)) for n in range(3)], "REQ")
    second = files_of(folder)[1]
    content = bytearray(second.read_bytes())
    content[-20] ^= 1
    second.write_bytes(content)
    assert numbers(Replayed(str(folder)).take(2)) == [0, 2]
    assert "1 damaged place of the recording skipped" in capsys.readouterr().err


def test_a_recording_goes_over_a_socket_no_faster_than_it_came(recording: Callable[..., Path]) -> None:
    folder = recording([(b"", body(n)) for n in range(4)], "REQ", every_s=0.1)
    found = Replayed(str(folder), "--speed=recorded").take(4)
    assert found[-1].received_ns - found[0].received_ns > 0.25e9


def test_speeds_that_contradict_or_are_not_known_are_refused(
    recording: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(recording([(b"tag", body(0))]))
    (tmp_path / "a.msgpack").write_bytes(body(0))
    assert cli.run(["replay", folder, "--speed=2", "--rate=3"]) == 2
    assert cli.run(["replay", folder, "--speed=fast"]) == 2
    assert cli.run(["replay", str(tmp_path / "a.msgpack"), "--speed=recorded"]) == 2
    said = capsys.readouterr().err
    assert "--rate and --speed say the same thing" in said
    assert "--speed: 'fast' should be full, recorded, or a number" in said
    assert "a.msgpack does not say when it was received" in said


# into a graph


def test_a_recording_is_read_with_topics_times_and_what_is_wrong_with_it(recording: Callable[..., Path]) -> None:
    folder = recording([(b"tag", msgpack.packb([{"n": 0}, {"n": 1}])), (b"tag", body(2, 150)), (b"tag", b"", body(3))])
    found = everything(Replay(files=(folder,), repeat=2))
    assert numbers(found) == [0, 1, 2, 3] * 2
    assert {message.topic for message in found} == {b"tag"}
    assert {message.received_ns for message in found} == {1_000_000_000}

    second = files_of(folder)[1]
    second.write_bytes(second.read_bytes()[:-5])
    running = Replay(files=(folder,)).open(Context())
    assert numbers([*running.receive(0.0, 1), *running.receive(0.0, 1)]) == [0, 1, 3]
    assert running.findings().text == f"{second} ends amid a message, which is left out"


def test_what_a_sender_says_once_holds_for_its_own_messages_when_they_are_replayed(tmp_path: Path) -> None:
    """Two detectors that stream at once: each series header goes with the images of its own detector."""
    writer = RecordingWriter(tmp_path / "r", About("PULL", data_format="dectris1"))
    for sender, series in ((0, 7), (1, 8)):
        writer.write(sender, [memoryview(header(series))], sender)
    for sender, series in ((1, 8), (0, 7)):
        image = b'{"htype":"dimage-1.0","series":%d,"frame":3}' % series
        writer.write(2, [memoryview(part) for part in (image, b"{}", b"pixels", b"{}")], sender)
    writer.close()
    found = everything(Replay(files=(tmp_path / "r",), data_format="dectris1"))
    assert [bytes(message.preamble.parts[0]) for message in found if message.preamble] == [header(8), header(7)]


def header(series: int) -> bytes:
    return b'{"htype":"dheader-1.0","series":%d,"header_detail":"none"}' % series


def test_a_graph_is_given_messages_as_they_came_in_time(
    recording: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, slept = [50.0], []
    monkeypatch.setattr("time.monotonic", lambda: now_s[0])
    monkeypatch.setattr("time.sleep", lambda s: (slept.append(s), now_s.__setitem__(0, now_s[0] + s)))
    folder = recording([(b"tag", body(n)) for n in range(3)], every_s=0.25)
    for speed, wanted in (("recorded", 0.25), (2.0, 0.5)):
        running = Replay(files=(folder,), speed=speed).open(Context())
        slept.clear()
        found = []
        while len(found) < 3:
            found += running.receive(0.125, 1)
        assert numbers(found) == [0, 1, 2]
        assert slept == pytest.approx([0.125] * int(2 * wanted / 0.125))
    with pytest.raises(UserError, match=r"recordings alone \(\*\.rec\) are replayed at recorded speed"):
        Replay(files=(Path(__file__),), speed="recorded").open(Context())


@pytest.fixture(scope="module")
def beamline() -> Apparatus:
    settings = Settings(seed=41, hits=1.0, spurious=0.0, energy_jitter=0.0)
    return Apparatus.make(settings, style="om", size="400x400", res=2000.0, energy_ev=12000.0, distance_mm=120.0)


@pytest.mark.parametrize(
    ("socket", "backend"),
    [("rep", "threads:2"), ("pub", "serial"), pytest.param("rep", "processes:1", marks=pytest.mark.slow)],
)
def test_a_run_over_its_recording_writes_the_same_stream(
    socket: str, backend: str, beamline: Apparatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, without a geometry file or a format given the second time."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.geom").write_text(beamline.geometry_text)
    (tmp_path / "a.cell").write_text(beamline.cell_text)
    bodies: list[object] = [beamline.wire.body(beamline.simulation.frame(n)) for n in range(3)]
    bodies.insert(2, b"no map")
    common = {"pdb": Path("a.cell"), "peaks": "peakfinder8", "threshold": 10.0, "indexing": "pairs", "in_order": True}
    with FrameServer(socket=socket, topic=b"tag") as server:  # type: ignore[arg-type]
        serving = serve_in_thread(server, bodies)  # type: ignore[arg-type]
        how = {"zmq_request": "next"} if socket == "rep" else {"zmq_subscribe": ["tag"]}
        live = {"zmq_input": server.address, "geometry": Path("a.geom"), "max_frames": 4, "output": Path("live.stream")}
        report = run(graph_from_options({**common, **how, **live, "record": Path("r"), "backend": backend}))
        serving.join(timeout_s=WAIT_S)
    assert report.law_lines() == ["received 4 = delivered 3 + rejected 1 + dropped 0"]
    assert "recorded 4 messages" in report.findings["source"].text
    assert report.findings["source"].figures["recording"]["written"] == 4

    (tmp_path / "a.geom").unlink()
    again = run(graph_from_options({**common, "input": "r", "output": Path("again.stream")}))
    assert again.law_lines() == report.law_lines()
    once = (tmp_path / "live.stream").read_bytes()
    assert once == (tmp_path / "again.stream").read_bytes()
    assert once.count(b"----- Begin chunk -----") == 3
    assert b"Begin crystal" in once


def test_a_recording_that_was_moved_has_its_masks_with_it(
    beamline: Apparatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "masks").mkdir(parents=True)
    there.mkdir()
    monkeypatch.chdir(here)
    (pixels,) = beamline.simulation.frame(0).arrays.values()
    bad = np.zeros(pixels.shape, "u2")
    bad[: len(bad) // 2] = 1
    with h5py.File("masks/half.h5", "w") as file:
        file["bad"] = bad
    masked = "mask0_file = masks/half.h5 ; the upper half\nmask0_data = /bad\nmask0_badbits = 0xff\n"
    (here / "a.geom").write_text(masked + beamline.geometry_text)
    common = {"peaks": "peakfinder8", "threshold": 10.0, "indexing": "none", "in_order": True}
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, [beamline.wire.body(beamline.simulation.frame(n)) for n in range(2)])
        live = {"zmq_input": server.address, "zmq_request": "next", "geometry": Path("a.geom"), "max_frames": 2}
        run(graph_from_options({**common, **live, "output": Path("live.stream"), "record": Path("r")}))
        serving.join(timeout_s=WAIT_S)

    (here / "r").rename(there / "r")
    monkeypatch.chdir(there)
    shutil.rmtree(here / "masks")
    run(graph_from_options({**common, "input": "r", "output": there / "again.stream"}))
    live_chunks, again = (read_stream(file).chunks for file in (here / "live.stream", there / "again.stream"))
    assert [len(chunk.peaks or ()) for chunk in again] == [len(chunk.peaks or ()) for chunk in live_chunks]
    for chunk in again:
        assert chunk.peaks is not None
        assert len(chunk.peaks)
        assert chunk.peaks.ss.min() > len(bad) // 2 - 1
    # recorded anew from there it has them too, and what is deleted is all of it
    RecordingWriter(there / "s", About("REQ"), there / "r" / "a.geom").close()
    (copy,) = (there / "s" / "a.geom.masks").iterdir()
    assert copy.read_bytes() == (there / "r" / "a.geom.masks" / copy.name).read_bytes()
    clear(there / "s")
    assert list((there / "s").iterdir()) == []


def test_a_recording_whose_mask_is_not_there_is_refused_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "a.geom").write_text("mask_file = gone.h5\n")
    with pytest.raises(UserError, match=r"names the mask 'gone\.h5', which is not there"):
        RecordingWriter(tmp_path / "r", About("REQ"), tmp_path / "a.geom")
    assert not (tmp_path / "r").exists()


def test_the_run_goes_on_when_its_recording_cannot(tmp_path: Path) -> None:
    bodies = [body(n, 3000) for n in range(8)]
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, bodies)
        running = ZmqReq(address=server.address, record=tmp_path / "r", record_max_size=10_000).open(Context())
        found: list[Message] = []
        while len(found) < 8:
            found += running.receive(0.2, 8)
        running.close()
        serving.join(timeout_s=WAIT_S)
    assert numbers(found) == [*range(8)]
    said = running.findings().text
    assert "recorded 3 messages" in said
    assert "not recorded: 5 x came after the recording had ended" in said
    assert "the recording ended: it has 9." in said


def test_a_folder_with_a_recording_is_refused_before_anything_is_asked_for(
    recording: Callable[..., Path], tmp_path: Path
) -> None:
    folder = recording([(b"tag", body(0))])
    for source in (
        ZmqReq(address="tcp://127.0.0.1:9", record=folder),
        ZmqSub(address="tcp://127.0.0.1:9", subscribe=("x",), record=folder),
    ):
        with pytest.raises(UserError, match="holds a recording already"):
            source.open(Context())


def test_a_cluster_does_not_record_into_one_folder(tmp_path: Path) -> None:
    options = {"zmq_input": "tcp://127.0.0.1:9", "zmq_request": "next", "geometry": tmp_path / "a.geom"}
    options |= {"pdb": tmp_path / "a.cell", "output": tmp_path / "a.stream", "backend": "dask:2"}
    with pytest.raises(UserError, match="each machine receives frames of its own, and record names one folder for all"):
        graph_from_options({**options, "record": tmp_path / "r"}).check()
