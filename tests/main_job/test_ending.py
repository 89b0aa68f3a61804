"""How a run ends: by signals, by force, by a full disk; the stream stays valid and nothing received is lost."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import PATIENCE_S, assert_nothing_lost, chunks_in, started, streamajig, wait_until
from spots_as_messages import FLAT_GEOM, message

from stages.files.stream import read_stream
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_what_was_received(served: FrameServer, tmp_path: Path, number: signal.Signals) -> None:
    stream = tmp_path / "out.stream"
    with started(*command(served, tmp_path, stream, "-j", "2")) as process:
        wait_until(lambda: chunks_in(stream) > 20, "some chunks are written")
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    report = json.loads(out)
    assert_nothing_lost(report)
    assert report["received"] == report["leaves"]["sink"]["delivered"] == len(read_stream(stream).chunks)
    assert report["why_ended"] == "stopped"


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


def test_a_killed_process_leaves_a_valid_stream(served: FrameServer, tmp_path: Path) -> None:
    import reciprocalspaceship  # noqa: F401 - the reader that users use; imported here because it is slow

    stream = tmp_path / "out.stream"
    with started(*command(served, tmp_path, stream)) as process:
        wait_until(lambda: chunks_in(stream) > 20, "some chunks are written")
        process.kill()
        process.wait(PATIENCE_S)
    text = stream.read_text()
    assert text.endswith("----- End chunk -----\n")
    assert (
        text.count("----- Begin chunk -----") == text.count("----- End chunk -----") == len(read_stream(stream).chunks)
    )


def test_an_output_that_cannot_be_written_is_said_before_anything_is_asked_for(
    served: FrameServer, tmp_path: Path
) -> None:
    finished = streamajig(*command(served, tmp_path, tmp_path / "no" / "such" / "folder" / "out.stream"))
    assert finished.returncode == 2
    assert "no/such/folder" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_full_disk_ends_the_run_with_whole_chunks_and_a_clear_word(served: FrameServer, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root alone")
    try:
        finished = streamajig(*command(served, tmp_path, disk / "out.stream"))
        report = json.loads(finished.stdout)
        assert finished.returncode == 1
        assert "disk full" in finished.stderr or "No space left" in finished.stderr
        assert_nothing_lost(report)
        text = (disk / "out.stream").read_text()
        assert text.endswith("----- End chunk -----\n")
        assert report["leaves"]["sink"]["delivered"] == text.count("----- End chunk -----") > 10
    finally:
        subprocess.run(["umount", disk], check=True)
        shutil.rmtree(disk)


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
