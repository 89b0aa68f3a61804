"""Recorded messages: as a source, and over a socket again."""

from __future__ import annotations

import gzip
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest
import typer
import zmq
from typer.testing import CliRunner

from pipeline import Context, EndOfStream, Message, RejectFrame, UserError
from stages.commands.replay import replay
from stages.source.replay import Replay
from stages.source.zmq_pull import ZmqPull
from stages.source.zmq_req import ZmqReq
from stages.wire.message import read_map
from stages.wire.recorded import parts_together


def numbered(n: int) -> bytes:
    return msgpack.packb({"n": n})


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    folder = tmp_path / "recorded"
    folder.mkdir()
    (folder / "b_001.msgpack").write_bytes(numbered(1))
    (folder / "a_000.bin").write_bytes(numbered(0))
    (folder / "c_002_omframedata.bin.gz").write_bytes(gzip.compress(numbered(2)))
    (folder / "d.msgpack.gz").write_bytes(gzip.compress(msgpack.packb([{"n": 3}, {"n": 4}])))
    (folder / "reasons.jsonl").write_text("{}")
    return folder


def everything(source: Replay) -> list[Message]:
    running = source.open(Context())
    found: list[Message] = []
    for _ in range(1000):
        try:
            found += running.receive(0.0, 1)
        except EndOfStream:
            running.close()
            return found
    raise AssertionError("no end")


def numbers(messages: list[Message]) -> list[int]:
    return [msgpack.unpackb(message.parts[0])["n"] for message in messages]


def test_files_come_in_the_order_of_their_names(recorded: Path) -> None:
    messages = everything(Replay(files=(recorded,)))
    assert numbers(messages) == [0, 1, 2, 3, 4]
    assert [message.topic for message in messages] == [b"", b"", b"omframedata", b"", b""]


def test_files_named_one_by_one_come_in_the_order_given(recorded: Path) -> None:
    assert numbers(everything(Replay(files=(recorded / "b_001.msgpack", recorded / "a_000.bin")))) == [1, 0]


def test_they_can_be_repeated_and_arrays_cut_to_their_first(recorded: Path) -> None:
    assert numbers(everything(Replay(files=(recorded,), repeat=2, first_only=True))) == [0, 1, 2, 3] * 2


def test_a_file_may_hold_several_messages_one_behind_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `cat` makes them: also compressed, cut off, with garbage behind, and read in pieces of any size."""
    several = b"".join(numbered(n) for n in range(3)) + msgpack.packb([{"n": 3}, {"n": 4}]) + numbered(5)
    (tmp_path / "a.msgpack").write_bytes(several)
    (tmp_path / "b.msgpack.gz").write_bytes(gzip.compress(several))
    (tmp_path / "cut.bin").write_bytes(several[:-1])
    (tmp_path / "garbage.bin").write_bytes(several + b"\x07\x07")

    for piece in (1, 5, 1 << 24):
        monkeypatch.setattr("stages.wire.recorded._PIECE_BYTES", piece)
        assert numbers(everything(Replay(files=(tmp_path / "a.msgpack", tmp_path / "b.msgpack.gz")))) == [*range(6)] * 2
        assert numbers(everything(Replay(files=(tmp_path / "a.msgpack",), max_message_bytes=9))) == [*range(6)]
        for name, reason in (("cut.bin", "truncated"), ("garbage.bin", "trailing_bytes")):
            *good, last = everything(Replay(files=(tmp_path / name,)))
            assert numbers(good) == [0, 1, 2, 3, 4]
            with pytest.raises(RejectFrame) as rejected:
                read_map(memoryview(last.parts[0]))
            assert rejected.value.reason == reason


def test_without_credit_nothing_is_read(recorded: Path) -> None:
    running = Replay(files=(recorded,)).open(Context())
    assert running.receive(0.0, 0) == []
    assert running.status() == "read 0 of 4 files"
    assert numbers(list(running.receive(0.0, 1))) == [0]
    assert running.status() == "read 1 of 4 files"
    assert running.stop_asking() == 0
    with pytest.raises(EndOfStream):
        running.receive(0.0, 1)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.msgpack: no such file"):
        Replay(files=(tmp_path / "missing.msgpack",)).open(Context())
    with pytest.raises(UserError, match=r"neither images nor recorded messages, which are files named \*\.msgpack"):
        Replay(files=(tmp_path,)).open(Context())


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(bytes(5000))[:-9], b"\x1f\x8b\x08" + bytes(30)],
    ids=["other", "cut", "empty"],
)
def test_a_file_that_cannot_be_read_is_one_rejected_frame(recorded: Path, content: bytes) -> None:
    (recorded / "bb.msgpack.gz").write_bytes(content)
    messages = everything(Replay(files=(recorded,)))
    assert len(messages) == 6
    with pytest.raises(RejectFrame, match=r"unreadable_file: .*bb\.msgpack\.gz"):
        read_map(memoryview(messages.pop(2).parts[0]))
    assert numbers(messages) == [0, 1, 2, 3, 4]


def test_a_small_file_that_unpacks_to_a_huge_one_is_not_unpacked(recorded: Path) -> None:
    (recorded / "bb.msgpack.gz").write_bytes(gzip.compress(bytes(50_000_000)))
    messages = everything(Replay(files=(recorded,), max_message_bytes=10_000))
    with pytest.raises(RejectFrame, match="holds more than 10000 bytes"):
        read_map(memoryview(messages[2].parts[0]))


def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(replay)
    return made


def test_the_command_names_what_is_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(app(), [str(tmp_path / "missing")])
    assert isinstance(result.exception, UserError)


def test_the_command_does_not_tear_dead_letters_apart(tmp_path: Path) -> None:
    for name in ("20260104T120000-71-0000003.0.msgpack", "20260104T120000-71-0000003.1.msgpack"):
        (tmp_path / name).write_bytes(numbered(0))
    result = CliRunner().invoke(app(), [str(tmp_path), "--bind=tcp://127.0.0.1:*"])
    assert isinstance(result.exception, UserError)
    assert re.search(
        r"3\.0\.msgpack is one part of a message, .* 'streamajig dead-letters replay'", str(result.exception)
    )


def test_the_command_says_which_address_is_taken(recorded: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.REP) as taken:
        port = taken.bind_to_random_port("tcp://127.0.0.1")
        result = CliRunner().invoke(app(), [str(recorded), "--bind", f"tcp://127.0.0.1:{port}"])
    assert isinstance(result.exception, UserError)
    assert f"cannot serve at tcp://127.0.0.1:{port}" in str(result.exception)


COMMAND = "import typer; from stages.commands.replay import replay; typer.run(replay)"


def started(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments, "--bind", "tcp://127.0.0.1:*"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    announced = process.stderr.readline()
    assert " files from tcp://127.0.0.1:" in announced
    return process, announced.split(" from ")[1].split()[0]


@pytest.mark.parametrize(("options", "source_of"), [((), ZmqReq), (("--push",), ZmqPull)], ids=["asked", "pulled"])
def test_replayed_messages_arrive_byte_for_byte(recorded: Path, options: tuple[str, ...], source_of: Any) -> None:
    process, address = started(str(recorded), "--repeat", "2", *options)
    source = source_of(address=address).open(Context())
    found: list[Message] = []
    while len(found) < 10:
        found += source.receive(1.0, 10)
    source.close()
    assert numbers(found) == [0, 1, 2, 3, 4] * 2
    _, text = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "sent 8 messages, all of 8 of 8 files" in text


def test_control_c_ends_the_command_cleanly(recorded: Path) -> None:
    process, _ = started(str(recorded), "--pub")
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=120)
    assert process.returncode == 0
    assert text == "sent 0 messages, all of 0 of 4 files\n"


def test_dead_letters_come_as_they_came_with_all_their_parts(tmp_path: Path) -> None:
    several = numbered(1) + numbered(2)
    (tmp_path / "a.msgpack").write_bytes(several)
    for part in (0, 1):
        (tmp_path / f"b.{part}.msgpack").write_bytes(numbered(part))
    (tmp_path / "c.msgpack").write_bytes(bytes(50))
    assert [
        message.parts for message in everything(Replay(files=(tmp_path,), whole=True, max_message_bytes=20))[:2]
    ] == [
        (several,),
        (numbered(0), numbered(1)),
    ]
    assert len(everything(Replay(files=(tmp_path,), whole=True, max_message_bytes=20))) == 3


def test_parts_are_in_the_order_of_their_numbers_and_only_what_follows_its_message_belongs_to_it() -> None:
    names = ["a.0.bin", "a.1.bin", "a.10.bin", "a.2.bin", "a.preamble.0.bin", "b.bin", "b.1.bin", "c.1.bin", "a.3.bin"]
    assert [[file.name for file in parts] for parts in parts_together(map(Path, names))] == [
        ["a.0.bin", "a.1.bin", "a.2.bin", "a.10.bin", "a.preamble.0.bin"],
        ["b.bin"],
        ["b.1.bin"],
        ["c.1.bin"],
        ["a.3.bin"],
    ]
