"""Records beside a run: whoever receives hands messages over and never waits; a thread of its own writes them."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pydantic
from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass

from pipeline import Findings, Message
from pipeline.amounts import several, size
from pipeline.metrics import Durations
from stages.wire.framing import Framing
from stages.wire.recording.layout import MOST_PART_BYTES, MOST_PARTS, About
from stages.wire.recording.writing import FILE_SIZE, KEEP_FREE, Limits, RecordingEndedError, RecordingWriter

log = logging.getLogger("streamajig.record")

QUEUE_BYTES = 1 << 29
QUEUE_MESSAGES = 10_000
"""What may wait to be written: half a minute of a disk's stutter at 16 MB/s, and half a second at 1 GB/s."""

CLOSE_S = 5.0
"""How long the end of a run waits for what is still to be written."""

TOO_SLOW = "no room in the queue: the disk is too slow"
AFTER_END = "came after the recording had ended"
LEFT_OVER = "waited to be written when the run ended"


RECORDED_ALONE = (
    "each machine receives frames of its own, and record names one folder for all: leave it out, or let 'streamajig record' "
    "receive beside the run what is published"
)
"""Why a cluster does not record."""


@dataclass(frozen=True)
class Counts:
    """What a recorder has counted.

    Attributes
    ----------
    received, written, waiting
        Messages that came, that are on disk, and that wait to be written.
    num_bytes, files
        What is on disk.
    drop_reasons
        How many messages were not recorded, by the reason.
    to_disk
        How long messages took from their receipt to the disk.
    why_ended
        Why no more is recorded, "" as long as it goes on.
    ended_as_wanted
        Whether that is a limit that was set.
    """

    received: int
    written: int
    waiting: int
    num_bytes: int
    files: int
    drop_reasons: Mapping[str, int]
    to_disk: Durations
    why_ended: str = ""
    ended_as_wanted: bool = False

    @property
    def dropped(self) -> int:
        """Messages that were not recorded, for whatever reason."""
        return sum(self.drop_reasons.values())

    def law(self) -> str:
        """The conservation law."""
        waiting = f" + waiting {self.waiting}" if self.waiting else ""
        return f"received {self.received} = written {self.written} + dropped {self.dropped}{waiting}"


class _Waiting(NamedTuple):
    received_ns: int
    sender: int
    parts: Sequence[memoryview]
    keep_alive: object
    size: int


class Recorder:
    """Writes messages in a thread of its own.

    Where the disk is slower than they come, what does not fit in the queue is counted and not recorded. Where nothing more can
    be written (a limit is reached, the disk is full), this is said in the log and counted, and whoever hands messages over goes
    on as before.
    """

    def __init__(self, writer: RecordingWriter, queue_bytes: int = QUEUE_BYTES) -> None:
        self._writer = writer
        self._queue_bytes = queue_bytes
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._received = self._written = self._busy = 0
        self._dropped: Counter[str] = Counter()
        self._to_disk = Durations()
        self._largest = 1
        self._why_ended = ""
        self._is_closed = False
        self._ended_as_wanted = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def note(self, received_ns: int, parts: Sequence[memoryview], keep_alive: object = None, sender: int = 0) -> None:
        """Hand a message over, to be written as it is; never waits. `keep_alive` owns the memory of the parts."""
        total = sum(len(part) for part in parts)
        with self._changed:
            self._received += 1
            self._largest = max(self._largest, total)
            if self._why_ended:
                self._dropped[AFTER_END] += 1
            elif len(parts) > MOST_PARTS or any(len(part) > MOST_PART_BYTES for part in parts):
                self._dropped["too_large"] += 1
            elif not self._has_room(total):
                self._dropped[TOO_SLOW] += 1
            else:
                self._waiting.append(_Waiting(received_ns, sender, parts, keep_alive, total))
                self._waiting_bytes += total
                self._changed.notify_all()

    def miss(self, reason: str) -> None:
        """Count a message that came and cannot be recorded."""
        with self._changed:
            self._received += 1
            self._dropped[reason] += 1

    def room(self) -> int:
        """How many messages as large as the largest may be handed over now without one of them being dropped."""
        with self._changed:
            fitting = (self._queue_bytes - self._waiting_bytes) // self._largest
            return max(int(not self._waiting), min(fitting, QUEUE_MESSAGES - len(self._waiting)))

    def wait_for_room(self, timeout_s: float) -> None:
        """Wait until a message may be handed over, or nothing is recorded any more; no longer than this."""
        deadline = time.monotonic() + timeout_s
        while self.room() < 1 and not self._why_ended and (left_s := deadline - time.monotonic()) > 0:
            with self._changed:
                self._changed.wait(left_s)

    def counts(self) -> Counts:
        """Return what has been counted by now."""
        with self._changed:
            return Counts(
                received=self._received,
                written=self._written,
                waiting=len(self._waiting) + self._busy,
                num_bytes=self._writer.num_bytes,
                files=self._writer.files,
                drop_reasons=dict(self._dropped),
                to_disk=self._to_disk,
                why_ended=self._why_ended,
                ended_as_wanted=self._ended_as_wanted,
            )

    def text(self) -> str:
        """Say what is recorded where, and what is not."""
        counts = self.counts()
        where = f"{several(counts.files, 'file')} of {self._writer.folder}"
        lines = [f"recorded {several(counts.written, 'message')}, {size(counts.num_bytes)} in {where}"]
        lines += [f"not recorded: {count} x {reason}" for reason, count in counts.drop_reasons.items()]
        lines += [f"the recording ended: {counts.why_ended}"] if counts.why_ended else []
        return "\n".join(lines)

    def figures(self) -> dict[str, Any]:
        """The same for programs."""
        counts = self.counts()
        return {
            "recording": {
                "folder": str(self._writer.folder),
                "written": counts.written,
                "bytes": counts.num_bytes,
                "files": counts.files,
                "not_recorded": dict(counts.drop_reasons),
                "why_ended": counts.why_ended,
            }
        }

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Write what waits, for so long at most, and close the file; may be called twice."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout_s)
            self._is_closed = True
            self._drop_waiting(LEFT_OVER)
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _has_room(self, total: int) -> bool:
        fits = self._waiting_bytes + total <= self._queue_bytes and len(self._waiting) < QUEUE_MESSAGES
        return not self._waiting or fits

    def _drop_waiting(self, why: str) -> None:
        if self._waiting:
            self._dropped[why] += len(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0

    def _work(self) -> None:
        try:
            while self._write_next():
                pass
        finally:
            self._writer.close()

    def _write_next(self) -> bool:
        """Wait for a message, and write it; False at the end."""
        message = self._next()
        if message is None:
            return False
        why = self._write(message)
        with self._changed:
            self._busy = 0
            self._waiting_bytes = max(0, self._waiting_bytes - message.size)
            if why:
                self._why_ended = why
                self._dropped[AFTER_END] += 1
                self._drop_waiting(AFTER_END)
            else:
                self._written += 1
                self._to_disk.add(max(0, time.time_ns() - message.received_ns))
            self._changed.notify_all()
        if why:
            log.warning("the recording in %s has ended: %s; what comes now is not recorded", self._writer.folder, why)
        return True

    def _next(self) -> _Waiting | None:
        """The next message to be written; its bytes count as waiting until it is. None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            if not self._waiting:
                return None
            self._busy = 1
            return self._waiting.popleft()

    def _write(self, message: _Waiting) -> str:
        """Write a message; return why it could not be, "" if it is on disk."""
        try:
            self._writer.write(message.received_ns, message.parts, message.sender)
        except RecordingEndedError as error:
            self._ended_as_wanted = error.is_wanted
            return str(error)
        return ""


class RecordedFraming:
    """The framing of one sender, which hands all messages to a recorder before they are taken apart."""

    def __init__(self, framing: Framing, recorder: Recorder, sender: int) -> None:
        self._framing, self._recorder, self._sender = framing, recorder, sender

    def frames_of(self, parts: Sequence[memoryview], received_ns: int, keep_alive: object) -> list[Message]:
        """Record a message, and take it apart."""
        self._recorder.note(received_ns, parts, keep_alive, self._sender)
        return self._framing.frames_of(parts, received_ns, keep_alive)

    def may_be_frame(self, short: memoryview) -> bool:
        """As the framing has it."""
        return self._framing.may_be_frame(short)


def recorded(framing: Framing, recorder: Recorder | None, sender: int) -> Framing:
    """Return the framing of a sender, of which all is recorded if there is a recorder."""
    return framing if recorder is None else RecordedFraming(framing, recorder, sender)


@checked_dataclass(frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid"))
class Recordable:
    """The parameters of every source whose messages can be recorded."""

    record: Path | None = Field(
        default=None,
        description="Folder in which all messages are recorded as they came, to be replayed. One that holds a recording is "
        "refused. What the disk is too slow for is counted and not recorded; the run waits for nothing.",
    )
    record_geometry: Path | None = Field(default=None, description="Geometry file that goes with the recording.")
    record_file_size: pydantic.ByteSize = Field(
        default=pydantic.ByteSize(FILE_SIZE), ge=1, description="A file of the recording has so many bytes at most."
    )
    record_max_size: pydantic.ByteSize | None = Field(
        default=None, ge=1, description="The recording ends before it has more bytes than this."
    )
    record_keep_free: pydantic.ByteSize = Field(
        default=pydantic.ByteSize(KEEP_FREE),
        ge=0,
        description="The recording ends before less than this is free on the disk.",
    )

    output_files: ClassVar[tuple[str, ...]] = ("record",)

    def recorder(self, about: About) -> Recorder | None:
        """Begin the recording, if one is wanted."""
        if self.record is None:
            return None
        limits = Limits(self.record_file_size, self.record_max_size, self.record_keep_free)
        return Recorder(RecordingWriter(self.record, about, self.record_geometry, limits))


def with_recording(findings: Findings, recorder: Recorder | None) -> Findings:
    """Add to what a source has to say what was recorded."""
    if recorder is None:
        return findings
    lines = [findings.text, recorder.text()]
    return Findings("\n".join(line for line in lines if line), {**findings.figures, **recorder.figures()})
