"""What a sender says once reaches every frame that it is meant for, in every backend, and its dead letters."""

from __future__ import annotations

import contextlib
import json
import pickle
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from toy_stages import Keep

from pipeline import Context, EndOfStream, Event, Graph, Message, Preamble, RejectFrame, run, stage
from pipeline.running.kept_letters import read_folder
from stages.commands.dead_letters.again import Bodies, messages_of
from stages.source.replay import Replay

FRAMES_EACH = 5


def said(number: int) -> tuple[bytes, bytes]:
    return f"series {number}".encode(), bytes([number]) * 100_000


class RunningSeries:
    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._left = [
            Message(b"", time.time_ns(), (f"{series} // {n}".encode(),), None, preamble)
            for series in range(4)
            for preamble in [Preamble.of(said(series))]
            for n in range(FRAMES_EACH)
        ]
        # two senders whose messages come in turn
        self._left[:10] = [self._left[n // 2 + 5 * (n % 2)] for n in range(10)]
        self._left.append(Message(b"", time.time_ns(), (b"none // 0",)))

    def receive(self, timeout_s: float, credit: int) -> Sequence[Message]:
        if not self._left:
            raise EndOfStream
        number = min(credit, self._batch)
        taken, self._left = self._left[:number], self._left[number:]
        return taken

    def stop_asking(self) -> int:
        return 0

    def status(self) -> str:
        return ""

    def close(self) -> None:
        pass


@stage("source/series")
class Series:
    """Sends messages of series, each with what was said before."""

    batch: int = 3

    def open(self, context: Context) -> RunningSeries:
        return RunningSeries(self.batch)


class Said(str):
    """What a message and its preamble say together."""


@stage("decode/series")
class ReadSeries:
    """Reads both; the third frame of each series is rejected."""

    def __call__(self, message: Message) -> tuple[Event, Said]:
        (body,) = message.parts
        text = bytes(body).decode()
        if text.endswith("// 2"):
            raise RejectFrame("third", text)
        if message.preamble is None:
            return Event(text), Said("nothing")
        name, data = (bytes(part) for part in message.preamble.parts)
        series = int(text.partition(" ")[0])
        assert (name, data) == said(series)
        return Event(text), Said(name.decode())


@pytest.mark.parametrize("backend", ["serial", "serial:debug", "threads:2", "processes:2"])
@pytest.mark.parametrize("in_flight", [1, 6])
def test_every_frame_has_what_its_sender_said_before(backend: str, in_flight: int, tmp_path: Path) -> None:
    graph = Graph.chain(Series(), ReadSeries(), Keep()).with_options(
        backend=backend, in_flight=in_flight, dead_letters=tmp_path / "dead", keep_messages=True
    )
    report = run(graph)
    assert {reason: found.count for (_, reason), found in report.rejections.items()} == {"third": 4}
    assert report.law_lines() == ["received 21 = delivered 17 + rejected 4 + dropped 0"]
    (lines,) = (tmp_path / "dead").glob("*.jsonl")
    for line in lines.read_text().splitlines():
        letter = json.loads(line)
        body, *preamble = (tmp_path / "dead" / name for name in letter["message"])
        assert body.read_bytes().decode() == letter["detail"]
        assert tuple(file.read_bytes() for file in preamble) == said(int(letter["detail"][0]))


def test_dead_letters_are_replayed_with_it(tmp_path: Path) -> None:
    graph = Graph.chain(Series(), ReadSeries(), Keep())
    run(graph.with_options(backend="serial", dead_letters=tmp_path, keep_messages=True))
    source = Replay(files=(tmp_path,), whole=True).open(Context())
    found = []
    with contextlib.suppress(EndOfStream):
        while True:
            found += source.receive(0.0, 1)
    assert len(found) == 4
    for message in found:
        assert message.preamble is not None
        assert tuple(map(bytes, message.preamble.parts)) == said(int(bytes(message.parts[0])[:1]))


def test_dead_letters_are_sent_with_it_before_them(tmp_path: Path) -> None:
    run(Graph.chain(Series(), ReadSeries(), Keep()).with_options(dead_letters=tmp_path, keep_messages=True))
    (kept,) = read_folder(tmp_path)
    messages, without = messages_of([*kept.letters, kept.letters[-1]])
    assert without == []
    sent = [tuple(map(bytes, body)) for body in Bodies(messages)]
    assert sent == [
        each for letter in kept.letters for each in (said(int(letter.detail[0])), (letter.detail.encode(),))
    ]


def test_letters_with_the_same_preamble_have_it_once_on_disk(tmp_path: Path) -> None:
    preamble = Preamble.of(said(1))
    from pipeline.frame import Frame, Rejected
    from pipeline.running.dead_letters import DeadLetters
    from pipeline.running.leaves import Arrived

    letters = DeadLetters(tmp_path, most_bytes=150_000)
    for serial in (1, 2, 3):
        refused = Rejected(serial, "", 0, "decode", "bad", "", Frame(serial))
        letters.add(Arrived("sink", serial, "", 0, None, refused, {}, (b"body",), preamble=preamble))
    letters.close()
    assert letters.not_kept == 0
    files = sorted(tmp_path.glob("*.preamble.1.msgpack"))
    assert len(files) == 3
    assert len({file.stat().st_ino for file in files}) == 1


def test_it_crosses_to_other_processes_with_its_number() -> None:
    preamble = Preamble.of((memoryview(b"one"), b"two"), object())
    message = pickle.loads(pickle.dumps(Message(b"", 1, (b"body",), None, preamble)))
    assert message.preamble == Preamble(preamble.number, (b"one", b"two"))
