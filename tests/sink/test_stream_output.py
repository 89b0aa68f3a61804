"""The file: valid after each chunk, whatever happens, and clear words when it cannot be written."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sink_frames import CELL, GEOMETRY, begun, context, make_frame, told, write_stream

from pipeline import UserError
from pipeline.by_type import ByType
from pipeline.contract import role_of
from pipeline.registry import load
from stages.files.geom.detector import Detector
from stages.files.stream import read_stream
from stages.sink.headers_only import HeadersOnly
from stages.sink.memory import Memory
from stages.sink.stream_file import StreamFile

AUDIT_BYTES, GEOMETRY_BYTES = 4090, 1024 * 1024 - 1
"""What CrystFEL's reader takes before the geometry block, and within it."""

SINKS = [StreamFile, HeadersOnly]
CHUNK = b"----- Begin chunk -----\nEvent: //1\n----- End chunk -----\n"


def opened(path: Path, **texts: Any) -> object:
    return begun(StreamFile(path=path).open_writer(context(upstream=told(methods=None, **{"cell": None, **texts}))))


@pytest.mark.parametrize("sink", [*SINKS, Memory])
def test_a_sink_is_known_by_its_name_and_crosses_processes(sink: type, tmp_path: Path) -> None:
    assert load(sink.stage_name) is sink
    assert role_of(sink) == "sink"
    stage = sink() if sink is Memory else sink(path=tmp_path / "x.stream", copy_headers=("a",))
    assert pickle.loads(pickle.dumps(stage)) == stage
    hash(stage)


@pytest.mark.parametrize("sink", SINKS)
def test_unknown_parameters_are_refused(sink: type) -> None:
    with pytest.raises(ValidationError, match="no_such_thing"):
        sink(path="x.stream", no_such_thing=1)
    with pytest.raises(ValidationError, match="path"):
        sink()


def test_the_file_can_be_read_after_every_chunk(stream: Path) -> None:
    stage = StreamFile(path=stream)
    encoder, writer = stage.open(context()), stage.open_writer(context())
    for serial in range(1, 6):
        writer.write(encoder(make_frame(serial)))
        read = read_stream(stream)
        assert [chunk.serial for chunk in read.chunks] == list(range(1, serial + 1))
        assert read.num_cut == 0
    writer.close()
    writer.close()
    assert len(read_stream(stream).chunks) == 5


def test_an_old_stream_is_overwritten(stream: Path) -> None:
    write_stream(stream, [make_frame(n) for n in range(1, 6)])
    write_stream(stream, [make_frame(9)])
    assert [chunk.serial for chunk in read_stream(stream).chunks] == [9]


def test_a_mask_that_the_geometry_file_names_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "mask.h5").write_bytes(b"a mask")
    masked = GEOMETRY + f"left/mask0_file = {tmp_path / 'mask.h5'}\nleft/mask0_data = /mask\n"
    with pytest.raises(UserError, match=r"would be written over .*mask\.h5, which the geometry file reads"):
        StreamFile(path=tmp_path / "mask.h5").open_writer(context(upstream=ByType([Detector.parse(masked)])))
    assert (tmp_path / "mask.h5").read_bytes() == b"a mask"


def test_opening_the_encoder_touches_no_file(stream: Path) -> None:
    StreamFile(path=stream).open(context())
    assert not stream.exists()


WRITE_FOR_EVER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from sink_frames import context, make_frame
from stages.sink.stream_file import StreamFile
stage = StreamFile(path=Path({path!r}))
encoder, writer = stage.open(context()), stage.open_writer(context())
for serial in range(1, 100000):
    writer.write(encoder(make_frame(serial, reflections=(300,))))
    print(serial, flush=True)
"""


@pytest.mark.parametrize("least", [1, 7])
def test_a_killed_run_leaves_a_valid_stream(stream: Path, least: int) -> None:
    code = WRITE_FOR_EVER.format(tests=str(Path(__file__).parent), path=str(stream))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        for line in child.stdout:
            if int(line) >= least:
                break
    finally:
        child.send_signal(signal.SIGKILL)
    acknowledged = max([least, *(int(line) for line in child.stdout if line.endswith("\n"))])
    child.stdout.close()
    child.wait()
    read = read_stream(stream)
    assert len(read.chunks) >= acknowledged
    assert [chunk.serial for chunk in read.chunks] == list(range(1, len(read.chunks) + 1))
    assert all(len(chunk.crystals[0].reflections or ()) == 300 for chunk in read.chunks)
    assert read.num_unreadable == 0


def test_a_disk_that_gets_full_keeps_the_chunks_before(stream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = opened(stream)
    writer.write(CHUNK)
    writer.write(CHUNK)
    before = stream.read_bytes()
    real_write = os.write
    room = [20]

    def write(fd: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real_write(fd, data[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(UserError, match=r"disk full: .*out\.stream: No space left.*; 2 chunks are on disk"):
        writer.write(CHUNK)
    assert stream.read_bytes() == before
    monkeypatch.undo()
    writer.write(CHUNK)
    writer.close()
    assert stream.read_bytes() == before + CHUNK


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from pipeline import UserError
from sink_frames import context, make_frame
from stages.sink.stream_file import StreamFile
stage = StreamFile(path=Path({path!r}))
encoder, writer = stage.open(context()), stage.open_writer(context())
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
try:
    for serial in range(1, 100):
        writer.write(encoder(make_frame(serial)))
except UserError as error:
    print(error)
"""


def test_a_chunk_that_the_system_cuts_short_is_taken_back(stream: Path) -> None:
    code = LIMITED.format(tests=str(Path(__file__).parent), path=str(stream))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    read = read_stream(stream)
    assert f"File too large; {len(read.chunks)} chunks are on disk" in done.stdout
    assert len(read.chunks) > 1
    assert read.num_cut == 0
    assert stream.read_bytes().endswith(b"----- End chunk -----\n")


def test_short_writes_are_gone_on_with(stream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:7]))
    writer = opened(stream)
    writer.write(CHUNK)
    writer.close()
    assert stream.read_bytes().endswith(b"----- End geometry file -----\n" + CHUNK)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_device_is_named_when_the_run_starts() -> None:
    with pytest.raises(UserError, match="cannot write /dev/full: No space left"):
        opened(Path("/dev/full"))


def test_a_folder_is_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it is a folder; give the name of a file in it"):
        opened(tmp_path)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write .*nowhere/out\.stream: the folder .*nowhere does not exist"):
        opened(tmp_path / "nowhere" / "out.stream")


def test_a_file_that_may_not_be_written_is_named(stream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)  # root, who may run this, is never refused in earnest
    with pytest.raises(UserError, match=r"cannot write .*out\.stream: Permission denied"):
        opened(stream)


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*: Not a directory"):
        opened(tmp_path / "file" / "out.stream")


def test_two_sinks_do_not_write_one_stream(stream: Path) -> None:
    first = opened(stream)
    first.write(CHUNK)
    with pytest.raises(UserError, match=r"another run or another sink .* is writing it"):
        opened(stream)
    assert stream.read_bytes().endswith(CHUNK)
    first.close()
    opened(stream).close()


def test_a_pipe_gets_the_stream_as_it_comes(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        writer = opened(fifo)
        writer.write(CHUNK)
        assert os.read(reader, 100_000).endswith(CHUNK)
        writer.close()
    finally:
        os.close(reader)


def test_a_pipe_that_nobody_reads_is_waited_for_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    readers = []

    def read_it_once_it_is_named(record: logging.LogRecord) -> bool:
        # the log is written before the wait, so a reader that is opened now ends it
        readers.append(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
        return True

    caplog.handler.addFilter(read_it_once_it_is_named)
    with caplog.at_level(logging.INFO, "streamajig"):
        opened(fifo).close()
    caplog.handler.removeFilter(read_it_once_it_is_named)

    assert caplog.messages == [f"{fifo} is a pipe that nobody reads; waiting until somebody does"]
    for reader in readers:
        os.close(reader)


def test_a_closed_writer_refuses_to_write(stream: Path) -> None:
    writer = opened(stream)
    writer.close()
    with pytest.raises(UserError, match="has been closed"):
        writer.write(CHUNK)


def test_without_a_geometry_there_is_no_stream(stream: Path) -> None:
    with pytest.raises(UserError, match="put geometry_map/map_panels before it"):
        StreamFile(path=stream).open_writer(context(upstream=ByType()))
    assert not stream.exists()


def test_a_geometry_larger_than_readers_take_is_refused(stream: Path) -> None:
    opened(stream, geometry="; x\n" * (GEOMETRY_BYTES // 4)).close()
    with pytest.raises(UserError, match=r"has 1048580 bytes, and readers .* at most 1048575"):
        opened(stream, geometry="; x\n" * (1 + GEOMETRY_BYTES // 4) + "; x\n")


def test_a_geometry_that_holds_the_end_marker_is_refused(stream: Path) -> None:
    with pytest.raises(UserError, match="remove that line"):
        opened(stream, geometry=GEOMETRY + "----- End geometry file -----\nres = 1\n")


def test_a_cell_file_with_block_markers_is_refused(stream: Path) -> None:
    with pytest.raises(UserError, match="the cell file contains a line of dashes"):
        opened(stream, cell=CELL + "----- Begin chunk -----\n")


def test_a_run_that_cannot_start_costs_nobody_an_older_stream(stream: Path) -> None:
    write_stream(stream, [make_frame(n) for n in range(1, 6)])
    before = stream.read_bytes()
    StreamFile(path=stream).open_writer(context()).close()
    assert stream.read_bytes() == before
    stream.unlink()
    StreamFile(path=stream).open_writer(context()).close()
    assert not stream.exists()


@pytest.mark.parametrize("geometry", ["res = 1", "res = 1\n", "res = 1\r\n; é\r\n", "", "; " + "x" * 5000 + "\n"])
def test_the_geometry_stands_in_the_stream_as_it_was(stream: Path, geometry: str) -> None:
    opened(stream, geometry=geometry).close()
    wanted = geometry if geometry.endswith("\n") or not geometry else geometry + "\n"
    block = (
        stream.read_bytes().split(b"----- Begin geometry file -----\n")[1].split(b"----- End geometry file -----\n")[0]
    )
    assert block.decode() == wanted


@pytest.mark.parametrize("word", ["--copy-header=abc", "x" * 1500, "é" * 700])
@pytest.mark.parametrize("count", [0, 1, 40, 60, 2000])
def test_a_command_line_of_any_length_fits_before_the_geometry(stream: Path, word: str, count: int) -> None:
    told = context(command_line=" ".join(["streamajig", *[word] * count]))
    begun(StreamFile(path=stream).open_writer(told)).close()
    before = stream.read_bytes().split(b"----- Begin geometry file -----\n")[0]
    assert len(before) <= AUDIT_BYTES
    assert max(map(len, before.split(b"\n"))) < 1023
    if count * len(word) < 3000 and len(word) < 100:
        typed = before.decode().split("\n", 2)[2]
        assert typed.replace(" \\\n", " ") == told.command_line + "\n"
    if count == 2000:
        assert before.endswith(b" ...\n")


def test_a_command_line_that_looks_like_the_format_does_no_harm(stream: Path) -> None:
    told = context(command_line="streamajig -o x\n----- Begin geometry file -----\n----- Begin chunk -----")
    begun(StreamFile(path=stream).open_writer(told)).close()
    read = read_stream(stream)
    assert read.geometry == GEOMETRY
    assert read.chunks == ()
    assert read.num_cut == 0
