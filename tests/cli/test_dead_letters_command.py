"""The commands ``streamajig dead-letters``, over what a run has left."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import zmq
import zmq.auth

from pipeline.command_line import cli

TOY_STAGES = Path(__file__).parent.parent / "core" / "toy_stages.py"

GRAPH = f"""\
modules: ["{TOY_STAGES}"]
nodes:
  source: {{stage: source/toy, numbers: [1, -3, 5, 10, 14]}}
  decode: {{stage: decode/toy}}
  double: {{stage: double/toy}}
  refuse: {{stage: refuse/toy, n: 5}}
  sink: {{stage: sink/toy}}
run: {{dead_letters: dead_letters, keep_messages: true}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a run has rejected three of five numbers."""
    monkeypatch.chdir(tmp_path)
    Path("graph.yaml").write_text(GRAPH)
    assert cli.run(["run", "graph.yaml"]) == 0
    return tmp_path / "dead_letters"


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    capsys.readouterr()
    assert cli.run(["dead-letters", *words]) == status
    found = capsys.readouterr()
    return found.err if status else found.out


def test_runs_are_listed_with_counts_and_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *counts = said(capsys, "list").splitlines()
    assert ": 3 dead letters, 20" in first
    assert ", messages kept, " in first
    assert counts == ["  2  refuse: multiple", "  1  decode: negative"]
    assert said(capsys, "list", "--node", "decode").splitlines()[1:] == ["  1  decode: negative"]
    (run,) = json.loads(said(capsys, "list", "--reason=multiple", "--json"))
    assert [letter["event"] for letter in run["letters"]] == ["toy // 5", "toy // 10"]
    assert run["counts"] == [{"node": "refuse", "reason": "multiple", "count": 2}]


def test_one_is_shown_by_serial_by_event_or_as_the_newest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "show", "2")
    assert "rejected at decode: negative: -3 is below 0\n" in shown
    assert "|-3|" in shown
    assert said(capsys, "show") == said(capsys, "show", "toy // 10")
    for file in folder.glob("*.msgpack"):
        file.unlink()
    assert "-0000004.msgpack: cannot be read: [Errno 2]" in said(capsys, "show")


def test_those_that_a_mended_graph_lets_pass_are_counted_and_deleted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = said(capsys, "replay", "--graph=graph.yaml", "--set=refuse.n=20")
    assert "received 3 = delivered 1 + rejected 2 + dropped 0" in report
    assert report.splitlines()[-3:] == [
        "mended: 1 of 3 pass now (they stay in dead_letters; --clear deletes them)",
        "not mended: 1 x decode: negative, as before",
        "not mended: 1 x refuse: multiple, as before",
    ]
    report = said(capsys, "replay", "--graph=graph.yaml", "--set=refuse.n=7", "--clear")
    assert "mended: 2 of 3 pass now; deleted 2 dead letters with 2 files of messages: " in report
    assert said(capsys, "list").splitlines()[1:] == ["  1  decode: negative"]
    assert said(capsys, "replay", "--graph=graph.yaml", "--set=run.backend=serial", status=3)


def test_nothing_is_written_over_and_options_that_say_nothing_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out.stream").write_text("a night's work")
    Path("writes.yaml").write_text(GRAPH.replace("stage: sink/toy", "stage: sink/headers_only, path: out.stream"))
    assert "out.stream is there already: --force writes over it" in said(
        capsys, "replay", "--graph=writes.yaml", status=2
    )
    assert "--clear go with --graph" in said(capsys, "replay", "--clear", status=2)
    assert "leave --bind" in said(capsys, "replay", "--graph=graph.yaml", "--pub", status=2)
    for file in folder.glob("*.msgpack"):
        file.unlink()
    assert said(capsys, "replay", "--graph=graph.yaml", status=2).splitlines() == [
        "streamajig: without a message, and left out: of 3 it is gone",
        "streamajig: dead_letters: none of these has its message; runs keep messages with --keep-messages",
    ]


def test_it_asks_before_it_deletes(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for answer in ("n\n", ""):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert "nothing was deleted; --yes" in said(capsys, "clear", status=2)
    assert "deleted 1 dead letter with 1 file of messages" in said(capsys, "clear", "2", "--yes")
    assert "deleted 2 dead letters with 2 files of messages" in said(capsys, "clear", "-y")
    assert list(folder.iterdir()) == []
    for words in (["list"], ["clear", "--yes"]):
        assert said(capsys, *words) == "dead_letters: no dead letters in this folder\n"
    assert "dead_letters: no dead letters in this folder" in said(capsys, "show", status=2)
    assert "no such folder; wanted is" in said(capsys, "list", "--folder=nowhere", status=2)


@pytest.mark.parametrize("options", [(), ("--push",), ("--curve-key=sender.key_secret",)], ids=" ".join)
def test_they_are_sent_over_a_socket_as_they_came(folder: Path, options: tuple[str, ...]) -> None:
    public, _ = zmq.auth.load_certificate(zmq.auth.create_certificates(folder.parent, "sender")[0])
    words = [sys.executable, "-m", "streamajig", "dead-letters", "replay", "--node=refuse", "--bind=tcp://127.0.0.1:*"]
    with (
        subprocess.Popen([*words, *options], stderr=subprocess.PIPE, text=True) as sending,
        zmq.Context() as context,
        context.socket(zmq.PULL if "--push" in options else zmq.REQ) as receiving,
    ):
        assert sending.stderr is not None
        announced = sending.stderr.readline()
        assert announced.startswith("2 messages of rejected frames from tcp://127.0.0.1:")
        receiving.setsockopt(zmq.RCVTIMEO, 60_000)
        if "--curve-key=sender.key_secret" in options:
            receiving.curve_serverkey = public
            receiving.curve_publickey, receiving.curve_secretkey = zmq.curve_keypair()
        receiving.connect(announced.split(" from ")[1].split()[0])
        received = []
        for _ in range(2):
            if receiving.type == zmq.REQ:
                receiving.send(b"next")
            received.append(receiving.recv())
        assert received == [b"5", b"10"]
        assert sending.stderr.read() == "sent 2 of 2 messages\n"


def test_what_contradicts_itself_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--pub and --push exclude each other" in said(capsys, "replay", "--pub", "--push", status=2)
    assert "the key missing cannot be read" in said(capsys, "replay", "--curve-key=missing", status=2)
    assert "--curve-key out" in said(capsys, "replay", "--graph=graph.yaml", "--curve-key=missing", status=2)
