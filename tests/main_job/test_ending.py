"""How a run ends where it is not told to, and where it cannot begin: nothing received is lost. More in ``tests/faults``."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import PATIENCE_S, assert_nothing_lost, chunks_in, started, streamajig, wait_until
from spots_as_messages import FLAT_GEOM, message

from stages.wire.serving import FrameServer, serve_in_thread

BODIES = [
    message([100.0, 200.5, 300.25], [50.0, 60.0, 70.0], [10, 20, 30], event=f"run // {n:04d}") for n in range(100_000)
]


@pytest.fixture
def served() -> Iterator[FrameServer]:
    with FrameServer(socket="rep", rate_hz=300) as server:
        serving = serve_in_thread(server, BODIES)
        yield server
        serving.stop()


def command(server: FrameServer, folder: Path, stream: Path, *more: str) -> list[str]:
    (folder / "flat.geom").write_text(FLAT_GEOM)
    words = ["index", f"--zmq-input={server.address}", "--zmq-request=next", "-g", folder / "flat.geom", "-o", stream]
    return [*map(str, words), "--peaks=msgpack", "--indexing=none", "--no-image-data", "--json", *more]


def test_what_had_come_to_a_subscriber_that_is_stopped_is_counted(tmp_path: Path) -> None:
    stream = tmp_path / "out.stream"
    with FrameServer(socket="pub") as server:
        serving = serve_in_thread(server, BODIES[:900])
        words = [word for word in command(server, tmp_path, stream) if not word.startswith("--zmq-request")]
        with started(*words, "--zmq-subscribe=ondaframedata") as process:
            wait_until(lambda: chunks_in(stream) > 20, "some chunks are written")
            assert serving.join(timeout_s=10) == 900
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    report = json.loads(out)
    assert_nothing_lost(report)
    assert report["received"] == 900
    assert report["dropped"].keys() <= {"waited when the run ended"}
    assert report["before_receipt"]["not_received"] == 0, "the sender waits for those who are slow"


def test_an_output_that_cannot_be_written_is_said_before_anything_is_asked_for(
    served: FrameServer, tmp_path: Path
) -> None:
    finished = streamajig(*command(served, tmp_path, tmp_path / "no" / "such" / "folder" / "out.stream"))
    assert finished.returncode == 2
    assert "no/such/folder" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_where_nobody_listens_this_is_said_and_tried_on(tmp_path: Path, free_port: int) -> None:
    (tmp_path / "flat.geom").write_text(FLAT_GEOM)
    address = f"tcp://127.0.0.1:{free_port}"
    words = [
        "index",
        f"--zmq-input={address}",
        "--zmq-request=next",
        "-g",
        tmp_path / "flat.geom",
        "-o",
        tmp_path / "o.stream",
    ]
    words += ["--peaks=msgpack", "--indexing=none", "--no-image-data", "--json", "--max-frames=3"]
    with started(*words) as process:
        assert process.stderr is not None
        said = ""
        while "nobody listens on" not in said:
            line = process.stderr.readline()
            assert line, f"it ended without saying so: {said}"
            said += line
        assert address in said
        with FrameServer(bind=address, socket="rep") as server:
            serving = serve_in_thread(server, BODIES[:3])
            out, _ = process.communicate(timeout=PATIENCE_S)
            serving.join(timeout_s=10)
    assert json.loads(out)["received"] == 3
