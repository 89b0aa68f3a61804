"""Recordings: what is written is read, whatever has become of the files meanwhile, and no disk is filled."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import UserError
from stages.wire.recording.layout import About, files_of, record_of
from stages.wire.recording.pace import Pace, speed_of
from stages.wire.recording.reading import Damaged, Passed, Recorded, about, geometry_of, read_records
from stages.wire.recording.recorder import AFTER_END, LEFT_OVER, TOO_SLOW, Recorder
from stages.wire.recording.writing import Limits, RecordingEndedError, RecordingWriter, clear

WAIT_S = 20.0
Parts = tuple[bytes, ...]


def written(folder: Path, messages: list[Parts], limits: Limits | None = None) -> list[Path]:
    writer = RecordingWriter(folder, About("SUB"), limits=limits)
    for number, parts in enumerate(messages):
        writer.write(number, [memoryview(part) for part in parts])
    writer.close()
    return files_of(folder)


def read(files: list[Path], passed: Passed | None = None) -> list[Recorded | Damaged]:
    return list(read_records(files, passed or Passed()))


def numbered(count: int, size: int = 40) -> list[Parts]:
    return [(b"tag", b"", n.to_bytes(4) * (size // 4)) for n in range(count)]


def numbers(found: list[Recorded | Damaged]) -> list[int | None]:
    return [one.received_ns if isinstance(one, Recorded) else None for one in found]


@given(
    messages=st.lists(st.lists(st.binary(max_size=60), max_size=5).map(tuple), max_size=8),
    file_size=st.integers(1, 400),
)
def test_what_is_written_is_read_with_all_parts_and_times(
    tmp_path_factory: pytest.TempPathFactory, messages: list[Parts], file_size: int
) -> None:
    files = written(tmp_path_factory.mktemp("recording") / "r", messages, Limits(file_size=file_size))
    passed = Passed()
    found = read(files, passed)
    assert [(one.received_ns, tuple(map(bytes, one.parts))) for one in found] == list(enumerate(messages))
    assert passed.text() == ""


def test_any_program_that_reads_messagepack_reads_a_recording(tmp_path: Path) -> None:
    (file,) = written(tmp_path, numbered(2))
    with file.open("rb") as opened:
        (name, version, said, _), *records = msgpack.Unpacker(opened)
    assert (name, version) == ("streamajig recording", 1)
    mark = msgpack.unpackb(said)["mark"]
    assert [(first, parts) for first, _, _, _, parts, _ in records] == [(mark, list(parts)) for parts in numbered(2)]


def test_files_are_bounded_and_a_message_that_is_larger_has_one_of_its_own(tmp_path: Path) -> None:
    messages = [*numbered(20, 200), (bytes(5000),), *numbered(3, 200)]
    files = written(tmp_path, messages, Limits(file_size=2000))
    sizes = [file.stat().st_size for file in files]
    assert [size for size in sizes if size > 2000] == [max(sizes)]
    assert 5000 < max(sizes) < 5500
    assert [bytes(one.parts[-1]) for one in read(files)] == [parts[-1] for parts in messages]
    assert [file.name for file in files[:2]] == ["000000.rec", "000001.rec"]


def test_a_message_of_many_parts_needs_many_writes_and_is_whole(tmp_path: Path) -> None:
    parts = tuple(bytes([n % 256]) * (n % 7) for n in range(1025))
    (found,) = read(written(tmp_path, [parts]))
    assert tuple(map(bytes, found.parts)) == parts


def test_wherever_a_file_is_cut_off_all_whole_messages_are_read(tmp_path: Path) -> None:
    (file,) = written(tmp_path / "r", numbered(3))
    content = file.read_bytes()
    record = len(b"".join(record_of(bytes(16), 0, 0, [memoryview(part) for part in numbered(1)[0]])))
    first = len(content) - 3 * record
    for length in range(first, len(content)):
        file.write_bytes(content[:length])
        passed = Passed()
        whole, more = divmod(length - first, record)
        assert numbers(read([file], passed)) == [*range(whole)]
        assert passed.cut == ([file] if more else [])
        assert passed.damaged == 0


def test_whichever_byte_rots_one_message_is_missing_and_named_and_no_other(tmp_path: Path) -> None:
    (file,) = written(tmp_path / "r", numbered(3))
    content = bytearray(file.read_bytes())
    record = len(b"".join(record_of(bytes(16), 0, 0, [memoryview(part) for part in numbered(1)[0]])))
    first = len(content) - 3 * record
    for at in range(first + record, first + 2 * record):
        for bit in (1, 128):
            content[at] ^= bit
            file.write_bytes(content)
            content[at] ^= bit
            passed = Passed()
            found = read([file], passed)
            assert numbers(found) == [0, None, 2]
            assert passed == Passed(damaged=1)
            assert f"bytes {first + record} to {first + 2 * record}" in found[1].detail


def test_a_file_whose_header_rots_is_read_by_that_of_another(tmp_path: Path) -> None:
    files = written(tmp_path / "r", numbered(6, 200), Limits(file_size=800))
    assert len(files) > 2
    for damaged in (0, 1):
        content = bytearray(files[damaged].read_bytes())
        content[40] ^= 1
        files[damaged].write_bytes(content)
        assert numbers(read(files)) == [*range(6)]
    content = bytearray(files[0].read_bytes())
    alone = tmp_path / "alone" / "0.rec"
    alone.parent.mkdir()
    alone.write_bytes(content)
    with pytest.raises(UserError, match="headers of the recording are damaged"):
        read([alone])


@pytest.mark.parametrize("content", [b"", b"\x82", b"\x94\xb4streamajig recordinG\x01", bytes(500)])
def test_what_is_no_recording_is_called_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.rec").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.rec: this is no recording of streamajig"):
        read([tmp_path / "x.rec"])


def test_a_recording_of_a_later_version_is_refused_by_its_number(tmp_path: Path) -> None:
    (file,) = written(tmp_path, [])
    content = bytearray(file.read_bytes())
    content[22] = 2
    file.write_bytes(content)
    with pytest.raises(UserError, match="version 2, and version 1 is read here"):
        about(tmp_path)


def test_a_message_larger_than_is_allowed_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    files = written(tmp_path, [(b"a",), (bytes(3_000_000),), (b"b",)])
    found = list(read_records(files, Passed(), max_message_bytes=100_000))
    assert numbers(found) == [0, None, 2]
    assert found[1].reason == "too_large"


def test_a_length_that_rots_to_a_huge_one_costs_no_memory_and_no_other_message(tmp_path: Path) -> None:
    (file,) = written(tmp_path, [(bytes(2_000_000),), *numbered(3)])
    content = file.read_bytes()
    start = content.index(b"\x96\xc4\x10")
    huge = content[: start + 20] + (1_900_000 + 200_000).to_bytes(8) + content[start + 28 :]
    file.write_bytes(huge)
    found = list(read_records([file], Passed(), max_message_bytes=100_000))
    assert numbers(found) == [None, 1, 2, 3]


# limits


def write_until_it_ends(writer: RecordingWriter, size: int) -> tuple[int, RecordingEndedError]:
    """Write messages of a size; return how many were written, and how it ended."""
    for n in range(1000):
        try:
            writer.write(n, [memoryview(bytes(size))])
        except RecordingEndedError as ended:
            writer.close()
            return n, ended
    raise AssertionError("it does not end")


def test_a_recording_ends_before_it_is_larger_than_it_may_be(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path, About("SUB"), limits=Limits(file_size=1000, max_size=3000))
    n, ended = write_until_it_ends(writer, 300)
    assert ended.is_wanted
    assert "would exceed the 3.0 kB that it may have" in str(ended)
    assert sum(file.stat().st_size for file in files_of(tmp_path)) == writer.num_bytes <= 3000
    assert numbers(read(files_of(tmp_path))) == [*range(n)]


def test_a_disk_with_less_room_than_is_to_be_kept_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"are free on the disk, and .* are kept so"):
        RecordingWriter(tmp_path, About("SUB"), limits=Limits(keep_free=1 << 60))
    assert files_of(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=False).returncode:
        pytest.skip("a small disk can be mounted by root alone")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_is_full_ends_the_recording_after_the_last_whole_message(small_disk: Path) -> None:
    writer = RecordingWriter(small_disk, About("SUB"), limits=Limits(keep_free=0))
    n, ended = write_until_it_ends(writer, 10_000)
    assert not ended.is_wanted
    assert "are free on the disk" in str(ended)
    passed = Passed()
    assert numbers(read(files_of(small_disk), passed)) == [*range(n)]
    assert n > 20
    assert passed.text() == ""


def test_a_write_that_the_disk_breaks_off_leaves_whole_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a disk does that is shared: there was room when it was asked, and there is none now."""
    writer = RecordingWriter(tmp_path, About("SUB"))
    writer.write(0, [memoryview(b"whole")])
    really = os.writev
    monkeypatch.setattr("os.writev", lambda file, pieces: really(file, [pieces[0][:30]]))
    writer.write(1, [memoryview(bytes(100))])  # piece by piece, as the system takes it

    def full(file: int, pieces: list[bytes]) -> int:
        if not broken:
            broken.append(really(file, pieces[:1]))
            return broken[0]
        raise OSError(28, "No space left on device")

    broken: list[int] = []
    monkeypatch.setattr("os.writev", full)
    with pytest.raises(RecordingEndedError, match="the disk is full"):
        writer.write(2, [memoryview(bytes(100))])
    writer.close()
    passed = Passed()
    assert numbers(read(files_of(tmp_path), passed)) == [0, 1]
    assert passed.text() == ""


def test_a_recording_is_not_written_over_and_carries_its_geometry(tmp_path: Path) -> None:
    geometry = tmp_path / "Eiger.geom"
    geometry.write_bytes(b"; as it was\r\n\xff")
    folder = tmp_path / "r"
    RecordingWriter(folder, About("REQ", data_format="cbf"), geometry).close()
    assert (folder / "Eiger.geom").read_bytes() == geometry.read_bytes()
    assert geometry_of(folder) == geometry_of(folder / "000000.rec") == folder / "Eiger.geom"
    assert about(folder).data_format == "cbf"
    with pytest.raises(UserError, match="holds a recording already, of 1 file"):
        RecordingWriter(folder, About("SUB"))
    clear(folder)
    assert list(folder.iterdir()) == []
    (folder / "Eiger.geom").write_text("; another")
    with pytest.raises(UserError, match=r"Eiger\.geom is there already, and is not the geometry file"):
        RecordingWriter(folder, About("SUB"), geometry)
    with pytest.raises(UserError, match=r"nothing can be recorded in .*: .*No such file"):
        RecordingWriter(tmp_path / "s", About("SUB"), tmp_path / "missing.geom")
    assert not (tmp_path / "s").exists()


# the recorder


def views(*parts: bytes) -> list[memoryview]:
    return [memoryview(part) for part in parts]


class Slow(RecordingWriter):
    """Writes when it is let."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, About("SUB"))
        self.let = threading.Semaphore(0)
        self.begun = threading.Event()

    def write(self, received_ns: int, parts: Sequence[memoryview], sender: int = 0) -> int:
        self.begun.set()
        assert self.let.acquire(timeout=WAIT_S)
        return super().write(received_ns, parts, sender)


def test_whoever_hands_over_waits_for_no_disk_and_what_has_no_room_is_counted(tmp_path: Path) -> None:
    slow = Slow(tmp_path)
    recorder = Recorder(slow, queue_bytes=100)
    recorder.note(0, views(bytes(40)))
    assert slow.begun.wait(WAIT_S)
    for n in range(1, 6):
        recorder.note(n, views(bytes(40)))
    recorder.miss("refused")
    assert recorder.room() == 0
    counts = recorder.counts()
    assert counts.law() == "received 7 = written 0 + dropped 5 + waiting 2"
    assert counts.drop_reasons == {TOO_SLOW: 4, "refused": 1}
    slow.let.release(10)
    recorder.close(WAIT_S)
    assert recorder.counts().law() == "received 7 = written 2 + dropped 5"
    assert numbers(read(files_of(tmp_path))) == [0, 1]
    assert "recorded 2 messages" in recorder.text()
    assert f"not recorded: 4 x {TOO_SLOW}" in recorder.text()
    assert recorder.figures()["recording"]["not_recorded"] == {TOO_SLOW: 4, "refused": 1}


def test_a_disk_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    slow = Slow(tmp_path)
    recorder = Recorder(slow)
    for n in range(3):
        recorder.note(n, views(b"x"))
    assert slow.begun.wait(WAIT_S)
    recorder.close(0.01)
    assert recorder.counts().drop_reasons == {LEFT_OVER: 2}
    slow.let.release(10)
    recorder.close(WAIT_S)
    assert recorder.counts().law() == "received 3 = written 1 + dropped 2"


def test_where_the_recording_ends_the_run_goes_on_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(RecordingWriter(tmp_path, About("SUB"), limits=Limits(max_size=1000)))
    for n in range(30):
        recorder.note(n, views(b"tag", bytes(100)))
    recorder.close(WAIT_S)
    counts = recorder.counts()
    assert counts.received == 30 == counts.written + counts.drop_reasons[AFTER_END]
    assert 0 < counts.written < 10
    assert recorder.counts().ended_as_wanted
    assert "would exceed" in counts.why_ended
    assert [record.levelname for record in caplog.records if "has ended: it has" in record.getMessage()] == ["WARNING"]
    assert numbers(read(files_of(tmp_path))) == [*range(counts.written)]


# speed


def test_a_speed_is_full_recorded_or_a_rate() -> None:
    assert speed_of("2.5") == 2.5
    for text in ("fast", "0", "-1", "nan", "inf", ""):
        with pytest.raises(ValueError, match="should be full, recorded, or a number"):
            speed_of(text)


def test_messages_are_due_as_they_came_or_at_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 100.0)

    def due(pace: Pace) -> Callable[[int], float]:
        return lambda ms: round(pace.due(ms * 1_000_000), 6)

    came = (5000, 5100, 5100, 7000, 400, 500)  # the last two are of another recording
    assert [*map(due(Pace("recorded")), came)] == [100, 100.1, 100.1, 102, 102, 102.1]
    assert [*map(due(Pace(4.0)), came)] == [100, 100.25, 100.5, 100.75, 101, 101.25]
    assert {*map(due(Pace("full")), came)} == {100}
