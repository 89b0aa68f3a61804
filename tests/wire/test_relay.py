"""The relay: what is published reaches those who ask, each message one of them, and all are counted."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import msgpack
import pytest
import zmq

from pipeline import Context, UserError
from pipeline.command_line import cli
from pipeline.command_line.progress import line
from pipeline.metrics import Durations
from stages.commands.passing_on import Shown
from stages.commands.relay import completed
from stages.source.zmq_req import ZmqReq
from stages.wire import relaying
from stages.wire.askers import Askers
from stages.wire.binding import is_where
from stages.wire.relay_report import RelayReport
from stages.wire.relaying import Relay

WAIT_S = 20.0
"""Far longer than anything here takes."""


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Sender:
    """Publishes numbered frames, and holds back rather than drops."""

    def __init__(self, context: zmq.Context, endpoint: str = "tcp://127.0.0.1:*", tag: bytes = b"tag") -> None:
        self.socket = context.socket(zmq.XPUB)
        self.socket.setsockopt(zmq.XPUB_NODROP, 1)
        self.socket.setsockopt(zmq.LINGER, 0)
        until(lambda: self._bound(endpoint))
        self.address = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.tag = tag

    def _bound(self, endpoint: str) -> bool:
        try:
            self.socket.bind(endpoint)
        except zmq.ZMQError:  # the port of one that has just ended may need a moment
            return False
        return True

    def wait(self) -> None:
        """Wait until somebody subscribes."""
        said = b""
        while said != b"\x01" + self.tag:  # others say that they subscribe no more
            assert self.socket.poll(1000 * WAIT_S)
            said = self.socket.recv()

    def send(self, *numbers: int, padding: int = 0) -> None:
        for n in numbers:
            self.send_parts(self.tag, msgpack.packb({"n": n, "x": bytes(padding)}))

    def send_parts(self, *parts: bytes) -> None:
        self.socket.send_multipart(parts)


class Relayed:
    """A relay at work in a thread."""

    def __init__(self, relay: Relay) -> None:
        self.running = relay.open()
        self.address = self.running.address
        self.stopping, self.abandon = threading.Event(), threading.Event()
        self.report: RelayReport | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        with self.running:
            self.report = self.running.run(self.stopping, self.abandon)

    def until(self, condition: Callable[[RelayReport], object]) -> None:
        until(lambda: condition(self.running.report()))

    def end(self, *, stop: bool = True) -> RelayReport:
        if stop:
            self.stopping.set()
        self._thread.join(WAIT_S)
        assert self.report is not None
        assert self.report.is_conserved
        assert self.report.waiting == 0
        return self.report


@pytest.fixture
def sender(context: zmq.Context) -> Sender:
    return Sender(context)


@pytest.fixture
def relayed(sender: Sender) -> Iterator[Callable[..., Relayed]]:
    made: list[Relayed] = []

    def make(**parameters: object) -> Relayed:
        given = {"address": sender.address, "subscribe": (sender.tag.decode(),), "bind": "tcp://127.0.0.1:*"}
        made.append(Relayed(Relay(**(given | parameters))))
        sender.wait()
        return made[-1]

    yield make
    for one in made:
        one.abandon.set()
        one.end()


class Asker:
    """A DEALER socket that asks."""

    def __init__(self, context: zmq.Context, address: str, requests: int = 0) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, int(1000 * WAIT_S))
        self.socket.connect(address)
        for _ in range(requests):
            self.ask()

    def ask(self, word: bytes = b"next") -> None:
        self.socket.send_multipart([b"", word])

    def take(self, count: int = 1) -> list[int]:
        return [msgpack.unpackb(self.socket.recv_multipart()[-1])["n"] for _ in range(count)]


def test_two_programs_share_what_is_published_and_no_frame_is_there_twice(sender: Sender, relayed: Callable) -> None:
    """The two are what ``streamajig index --zmq-request`` asks with, with ten requests each that wait."""
    relay = relayed(max_frames=400)
    sources = [ZmqReq(address=relay.address).open(Context()) for _ in range(2)]
    found: list[list[int]] = [[], []]
    sent = 0
    deadline = time.monotonic() + WAIT_S
    while sum(map(len, found)) < 400:
        assert time.monotonic() < deadline
        if sent < 400:
            sender.send(*range(sent, sent + 20))
            sent += 20
        for source, numbers in zip(sources, found, strict=True):
            numbers += [msgpack.unpackb(message.parts[0])["n"] for message in source.receive(0.01, 10)]
    report = relay.end(stop=False)
    for source in sources:
        source.close()
    assert sorted(found[0] + found[1]) == list(range(400))
    assert min(map(len, found)) > 50, "both have had their share"
    assert report.law() == "received 400 = sent 400 + dropped 0"
    assert report.why_ended == "400 frames, as asked for"


def test_a_req_socket_asks_as_om_is_asked(sender: Sender, relayed: Callable, context: zmq.Context) -> None:
    relay = relayed(tags=False)
    req = context.socket(zmq.REQ)
    req.setsockopt(zmq.RCVTIMEO, int(1000 * WAIT_S))
    req.connect(relay.address)
    sender.send(1, 2)
    for n in (1, 2):
        req.send(b"next")
        assert req.recv_multipart() == [msgpack.packb({"n": n, "x": b""})], "the frame alone"


def test_every_part_of_a_message_is_passed_on_as_it_came(
    sender: Sender, relayed: Callable, context: zmq.Context
) -> None:
    relay = relayed()
    messages = [(b"tag", b"", b"one", b"two" * 100_000), (b"tag",), (b"tag-and-more", b"\xff\x00")]
    for parts in messages:
        sender.send_parts(*parts)
    asker = Asker(context, relay.address, requests=3)
    assert [tuple(asker.socket.recv_multipart()) for _ in messages] == [(b"", *parts) for parts in messages]


def test_what_is_passed_on_is_not_copied(sender: Sender, relayed: Callable, context: zmq.Context) -> None:
    relay = relayed()
    asker = Asker(context, relay.address)
    body = bytes(30_000_000)
    tracemalloc.start()
    try:
        sender.socket.send_multipart([b"tag", body], copy=False)
        asker.ask()
        frames = asker.socket.recv_multipart(copy=False)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(frames[-1]) == len(body)
    assert most < 3_000_000


def test_requests_are_answered_oldest_first_also_where_one_asker_has_several(
    sender: Sender, relayed: Callable, context: zmq.Context
) -> None:
    relay = relayed()
    first = Asker(context, relay.address, requests=2)
    relay.until(lambda report: report.unanswered == 2)
    second = Asker(context, relay.address, requests=1)
    relay.until(lambda report: report.unanswered == 3)
    first.ask()
    relay.until(lambda report: report.unanswered == 4)
    sender.send(0, 1, 2, 3)
    assert second.take() == [2]
    assert first.take(3) == [0, 1, 3]


def test_another_word_is_answered_what_and_gets_no_frame(
    sender: Sender, relayed: Callable, context: zmq.Context
) -> None:
    relay = relayed(request="more")
    asker = Asker(context, relay.address)
    asker.ask(b"next")
    assert asker.socket.recv_multipart() == [b"", b"What?"]
    asker.ask(b"more")
    sender.send(7)
    assert asker.take() == [7]
    report = relay.end()
    assert (report.requests, report.unknown_requests) == (1, 1)
    assert "requests with another word, answered 'What?': 1" in report.text()


@pytest.mark.parametrize(
    ("when_full", "kept", "dropped"),
    [("drop_oldest", [7, 8, 9], 7), ("drop_newest", [0, 1, 2], 7), ("block", list(range(10)), 0)],
)
@pytest.mark.parametrize("limit", [{"max_queue_frames": 3}, {"max_queue_bytes": 3500}])
def test_what_waits_is_bounded_in_frames_and_bytes_and_what_is_dropped_is_counted(
    sender: Sender,
    relayed: Callable,
    context: zmq.Context,
    when_full: str,
    kept: list[int],
    dropped: int,
    limit: dict[str, int],
) -> None:
    relay = relayed(when_full=when_full, **limit)
    sender.send(*range(10), padding=1000)
    relay.until(lambda report: report.received == (3 if when_full == "block" else 10))
    assert (relay.running.report().waiting, relay.running.report().dropped) == (3, dropped)
    assert Asker(context, relay.address, requests=len(kept)).take(len(kept)) == kept
    report = relay.end()
    assert report.drop_reasons == ({f"no room ({when_full})": 7} if dropped else {})
    assert report.law() == f"received 10 = sent {len(kept)} + dropped {dropped}"


def test_bytes_may_be_said_with_their_unit() -> None:
    relay = Relay(address="tcp://127.0.0.1:1", subscribe=("tag",), max_queue_bytes="2GB")
    assert relay.max_queue_bytes == 2_000_000_000


def test_one_frame_may_wait_however_large_it_is(sender: Sender, relayed: Callable, context: zmq.Context) -> None:
    relay = relayed(max_queue_bytes=1)
    sender.send(0, 1, padding=1000)
    relay.until(lambda report: report.received == 2)
    assert Asker(context, relay.address, requests=1).take() == [1]
    assert relay.end().law() == "received 2 = sent 1 + dropped 1"


def test_a_frame_for_an_asker_that_has_gone_goes_to_the_next(
    sender: Sender, relayed: Callable, context: zmq.Context
) -> None:
    relay = relayed()
    gone = Asker(context, relay.address, requests=3)
    relay.until(lambda report: report.unanswered == 3)
    gone.socket.close(0)
    there = Asker(context, relay.address, requests=2)
    relay.until(lambda report: report.requests == 5 and report.askers == 1)
    sender.send(0, 1)
    assert there.take(2) == [0, 1]
    assert relay.end().law() == "received 2 = sent 2 + dropped 0"


def test_an_asker_that_takes_nothing_holds_up_nobody(
    sender: Sender, relayed: Callable, context: zmq.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has asked for more than it reads, so that what is on the way to it has reached its limit."""
    monkeypatch.setattr(relaying, "FOR_EACH_ASKER_BYTES", 1 << 20)
    relay = relayed(max_queue_bytes=1 << 29)
    halted = context.socket(zmq.DEALER)
    for option, value in ((zmq.RCVHWM, 1), (zmq.LINGER, 0), (zmq.RCVBUF, 1 << 16)):
        halted.setsockopt(option, value)
    halted.connect(relay.address)
    for _ in range(60):
        halted.send_multipart([b"", b"next"])
    relay.until(lambda report: report.unanswered == 60)
    sender.send(*range(40), padding=1 << 20)
    relay.until(lambda report: report.received == 40)
    there = Asker(context, relay.address, requests=10)
    numbers = there.take(10)
    assert numbers == sorted(numbers)
    assert relay.running.report().sent < 40
    halted.close(0)


def test_a_sender_that_is_restarted_is_followed_and_its_loss_is_said(
    sender: Sender, relayed: Callable, context: zmq.Context
) -> None:
    relay = relayed()
    asker = Asker(context, relay.address, requests=4)
    sender.send(0, 1)
    assert asker.take(2) == [0, 1]
    sender.socket.close(0)
    again = Sender(context, sender.address)
    again.wait()
    again.send(2, 3)
    assert asker.take(2) == [2, 3]
    report = relay.end()
    assert report.law() == "received 4 = sent 4 + dropped 0"
    assert "the connection was lost 1 time" in report.text()


def test_messages_that_are_too_large_are_dropped_and_counted_and_the_next_one_comes(
    sender: Sender, relayed: Callable, context: zmq.Context
) -> None:
    relay = relayed(max_message_bytes=1000)
    asker = Asker(context, relay.address, requests=2)
    sender.send(0, padding=2000)
    sender.send(1)
    assert asker.take() == [1]
    sender.send(2, padding=100_000)  # ZeroMQ refuses it, which costs the connection
    sender.wait()
    sender.send(3)
    assert asker.take() == [3]
    report = relay.end()
    assert report.drop_reasons == {"too_large": 1, "refused": 1}
    assert report.law() == "received 4 = sent 2 + dropped 2"


def test_after_a_first_signal_what_waits_is_handed_out_and_after_a_second_dropped(
    sender: Sender, relayed: Callable, context: zmq.Context
) -> None:
    relay = relayed(drain_s=1000.0)
    sender.send(*range(6))
    relay.until(lambda report: report.received == 6)
    relay.stopping.set()
    assert Asker(context, relay.address, requests=4).take(4) == [0, 1, 2, 3]
    relay.abandon.set()
    report = relay.end()
    assert report.why_ended == "stopped"
    assert (report.drop_reasons, report.is_abandoned) == ({"abandoned": 2}, True)
    assert report.text().splitlines()[-1] == "received 6 = sent 4 + dropped 2"


def test_at_the_end_it_waits_for_those_who_are_there(sender: Sender, relayed: Callable, context: zmq.Context) -> None:
    relay = relayed(max_frames=3, drain_s=0.1)
    there = Asker(context, relay.address)
    relay.until(lambda report: report.askers == 1)
    sender.send(0, 1, 2)
    relay.until(lambda report: report.why_ended)
    time.sleep(0.3)  # it works on the frame before
    for n in (0, 1):
        there.ask()
        assert there.take() == [n]
    there.socket.close(0)
    report = relay.end(stop=False)
    assert report.law() == "received 3 = sent 2 + dropped 1"


@pytest.mark.parametrize(
    ("requests", "again", "unconfirmed"),
    [(1, 0, 1), (1, 1, 0), (3, 0, 1), (3, 1, 0)],
    ids=["REQ", "REQ that asked", "", ""],
)
def test_frames_after_which_an_asker_that_goes_has_not_asked_again_are_counted(
    sender: Sender, relayed: Callable, context: zmq.Context, requests: int, again: int, unconfirmed: int
) -> None:
    relay = relayed()
    asker = Asker(context, relay.address, requests)
    relay.until(lambda report: report.unanswered == requests)
    sender.send(0)
    assert asker.take() == [0]
    for _ in range(again):
        asker.ask()
    relay.until(lambda report: report.unanswered == requests - 1 + again)
    asker.socket.close(0)
    relay.until(lambda report: report.left == 1)
    report = relay.end()
    assert (report.unconfirmed, report.unanswered) == (unconfirmed, 0)
    assert ("of those sent up to 1 may not have been read" in report.text()) is (unconfirmed == 1)


def test_the_oldest_request_is_forgotten_where_there_are_too_many(context: zmq.Context) -> None:
    socket = context.socket(zmq.ROUTER)
    askers = Askers(socket, b"next", remembered=2)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    one = Asker(context, f"tcp://127.0.0.1:{port}", requests=3)
    until(lambda: askers.take() or askers.requests == 3)
    assert (len(askers), askers.forgotten) == (2, 1)
    assert [askers.answer([msgpack.packb({"n": n})]) for n in range(3)] == [True, True, False]
    assert one.take(2) == [0, 1]


class TwoWithOneDescriptor:
    """Stands for a ROUTER socket that hands on what one has asked that is gone after what another has asked in its place."""

    def __init__(self) -> None:
        self.coming = [b"new", b"old"]
        self.sent: list[bytes] = []

    def setsockopt(self, option: int, value: int) -> None: ...

    def recv_multipart(self, flags: int, copy: bool) -> list[object]:
        if not self.coming:
            raise zmq.Again
        return [SimpleNamespace(bytes=part, get=lambda _: 7) for part in (self.coming.pop(0), b"", b"next")]

    def send(self, part: bytes, flags: int, copy: bool = False) -> None:
        if part == b"old":
            raise zmq.ZMQError(zmq.EHOSTUNREACH)
        self.sent.append(part)


def test_no_request_is_forgotten_for_one_that_comes_late_from_a_connection_that_has_ended() -> None:
    socket = TwoWithOneDescriptor()
    askers = Askers(socket, b"next", remembered=10)
    askers.take()
    assert len(askers) == 2
    assert askers.answer([b"frame"])
    assert socket.sent == [b"new", b"", b"frame"]
    assert not askers.answer([b"another"])
    assert len(askers) == 0


@pytest.mark.parametrize(
    ("served", "address", "same"),
    [
        ("tcp://0.0.0.0:5003", "tcp://127.0.0.1:5003", True),
        ("tcp://127.0.0.1:5003", "tcp://localhost:5003", True),
        ("tcp://*:5003", "tcp://127.0.0.1:5002", False),
        ("tcp://0.0.0.0:5003", "tcp://192.0.2.1:5003", False),
        ("tcp://127.0.0.1:5003", "tcp://127.0.0.1:0;127.0.0.1:5003", True),
        ("tcp://[::]:5003", "tcp://[::1]:5003", True),
        ("ipc://a/../b", "ipc://b", True),
        ("ipc://a", "tcp://127.0.0.1:5003", False),
    ],
)
def test_an_input_that_is_its_own_output_is_known(served: str, address: str, same: bool) -> None:
    assert is_where(served, address) is same


def test_each_wrong_address_is_said_in_one_sentence(
    tmp_path: Path, sender: Sender, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.h5"
    data.write_text("not to be deleted")
    free = f"tcp://127.0.0.1:{free_port}"
    wrong = [
        (free, f"tcp://*:{free_port}", "what it receives from"),
        (free, sender.address, "Address already in use; give a free endpoint"),
        (free, f"ipc://{data}", "a file that is no socket stands there"),
        (free, "5003", "wanted is tcp://ADDRESS:PORT"),
        (free, "tcp://*:70000", "a port is a number from 1 to 65535"),
        ("127.0.0.1:5002", "tcp://127.0.0.1:*", "--zmq-input=127.0.0.1:5002: '127.0.0.1:5002' is no address"),
    ]
    for address, bind, said in wrong:
        assert cli.run(["relay", f"--zmq-input={address}", "--zmq-subscribe=tag", f"--bind={bind}"]) == 2
        complaint = capsys.readouterr().err
        assert said in complaint
        assert complaint.count("\n") == 1
    assert data.read_text() == "not to be deleted"


def test_a_server_that_listens_on_an_ipc_path_is_not_cut_off(tmp_path: Path, sender: Sender) -> None:
    parameters = {"address": sender.address, "subscribe": ("tag",), "bind": f"ipc://{tmp_path}/relay"}
    with Relay(**parameters).open(), pytest.raises(UserError, match="somebody serves there"):
        Relay(**parameters).open()
    Relay(**parameters).open().close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--when-full=drop"], "--when-full=drop: input should be 'drop_oldest', 'drop_newest' or 'block'"),
        (["--max-queue-bytes=much"], "--max-queue-bytes=much: could not parse value and unit from byte string"),
        (["--max-queue-bytes=0"], "--max-queue-bytes=0: input should be greater than or equal to 1"),
        (["--no-data-timeout=-1"], "--no-data-timeout=-1.0: input should be greater than 0"),
        (["--drain=-1"], "--drain=-1.0: input should be greater than or equal to 0"),
    ],
)
def test_wrong_options_are_named(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["relay", "--zmq-input=tcp://127.0.0.1:1", "--zmq-subscribe=t", *options]) == 2
    assert capsys.readouterr().err == f"streamajig: {said}\n"


@pytest.mark.parametrize(
    ("published", "requests", "options", "status", "why"),
    [
        (0, 0, ["--no-data-timeout=0.3"], 4, "no data for 0.3 s"),
        (3, 0, ["--max-frames=3", "--drain=0"], 3, "3 frames, as asked for"),
        (3, 3, ["--max-frames=3", f"--drain={WAIT_S}"], 0, "3 frames, as asked for"),
    ],
    ids=["nothing came", "none sent", "all sent"],
)
def test_the_exit_status_says_whether_anything_came_and_was_sent(
    context: zmq.Context,
    sender: Sender,
    capsys: pytest.CaptureFixture[str],
    free_port: int,
    published: int,
    requests: int,
    options: list[str],
    status: int,
    why: str,
) -> None:
    address = f"tcp://127.0.0.1:{free_port}"
    Asker(context, address, requests)

    def publish() -> None:
        if published:
            sender.wait()
            sender.send(*range(published))

    thread = threading.Thread(target=publish)
    thread.start()
    command = ["relay", f"--zmq-input={sender.address}", "--zmq-subscribe=tag", f"--bind={address}"]
    assert cli.run([*command, *options]) == status
    thread.join()
    out = capsys.readouterr().out
    assert f"ended: {why}\n" in out
    assert ("dropped: 3 x waited when the relay ended\n" in out) is (published > requests)
    assert out.splitlines()[-1] == f"received {published} = sent {requests} + dropped {published - requests}"


def test_the_progress_line_says_how_fast_who_asks_and_what_waits() -> None:
    """The rate is that of the last seconds."""
    waited = Durations()
    waited.add(30_000_000)  # counted in bins of 9 %
    given = {"sent_bytes": 18_000_000, "drop_reasons": {"no room (drop_oldest)": 2}, "waited": waited, "requests": 9}
    given |= {
        "unknown_requests": 0,
        "left": 0,
        "unconfirmed": 0,
        "sender": "connected to S",
        "losses": "",
        "why_ended": "",
    }
    lines: list[str] = []
    shown = Shown(lambda progress: lines.append(line(progress)), partial(completed, "tcp://127.0.0.1:5003"))
    reports = [(1.0, 10, 2, 3), (2.0, 60, 0, 0)]
    for elapsed_s, sent, waiting, askers in reports:
        now = {"elapsed_s": elapsed_s, "sent": sent, "waiting": waiting, "waiting_bytes": 18_000_000 * waiting}
        shown.show(RelayReport(received=sent + waiting + 2, askers=askers, unanswered=askers, **now, **given))
    assert lines == [
        "14 frames, 2 dropped, 10.0 frames/s, receipt to answer 29 ms (99 %: 29 ms), 2 waiting (36.0 MB), 3 askers with "
        "3 requests, connected to S",
        "62 frames, 2 dropped, 30.0 frames/s, receipt to answer 29 ms (99 %: 29 ms), 0 waiting (0 B), nobody asks at "
        "tcp://127.0.0.1:5003, connected to S",
    ]


def test_the_command_ends_in_good_order_at_ctrl_c_and_counts_what_an_asker_takes_along_that_is_killed(
    context: zmq.Context, sender: Sender
) -> None:
    """A real process of each. One that is killed is found to have gone at once or, on a busy machine, one frame later."""
    command = [
        sys.executable,
        "-m",
        "pipeline.command_line.cli",
        "relay",
        f"--zmq-input={sender.address}",
        "--zmq-subscribe=tag",
    ]
    relay = subprocess.Popen(
        [*command, "--bind=tcp://127.0.0.1:*"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert relay.stderr is not None
    found = re.search(r"answering 'next' at (\S+);", relay.stderr.readline())
    assert found is not None
    asks = f"import zmq; s = zmq.Context().socket(zmq.REQ); s.connect('{found[1]}'); s.send(b'next'); print(s.recv_multipart())"
    doomed = subprocess.Popen(
        [sys.executable, "-c", asks + "; s.send(b'next'); print(flush=True); s.recv()"], stdout=subprocess.PIPE
    )
    sender.wait()
    sender.send(0)
    assert doomed.stdout is not None
    assert b"tag" in doomed.stdout.readline()
    assert doomed.stdout.readline() == b"\n", "it waits for its second frame"
    doomed.kill()
    doomed.communicate()
    sender.send(1, 2, 3)
    (n,) = Asker(context, found[1], requests=1).take()
    relay.send_signal(signal.SIGINT)
    rest = Asker(context, found[1], requests=3 - n)
    assert rest.take(3 - n) == list(range(n + 1, 4)), "what waits is still handed out"
    out, err = relay.communicate(timeout=WAIT_S)
    assert relay.returncode == 0, err
    assert out.splitlines()[-1] == "received 4 = sent 4 + dropped 0"
    assert n == 1 or "of those sent up to 1 may not have been read: programs that have gone (1)" in out
