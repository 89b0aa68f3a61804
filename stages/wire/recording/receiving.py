"""Receives for a recording alone: whatever comes is handed to the recorder, and to nobody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pipeline import EndOfStream, Message
from pipeline.amounts import size
from pipeline.metrics import Durations
from pipeline.protocols import Reporting, RunningSource
from stages.wire.message import StandIn
from stages.wire.recording.recorder import LEFT_OVER, Counts, Recorder

TICK_S = 0.05
"""How long a stop may go unnoticed."""

PROGRESS_S = 0.2
NO_DATA_DRAIN_S = 0.1
"""Answers are waited for so long where nobody has answered for longer than was wanted."""

NOT_PASSED_ON = frozenset({"too_large", "too_many_parts", "refused"})
"""Why a source does not pass on a message that came."""

BATCH = 64
"""Messages that are taken at once of those that come unasked."""


class RecordedSource(RunningSource, Reporting, Protocol):
    """A running source that hands what comes to a recorder."""

    recorder: Recorder | None


@dataclass(frozen=True)
class Until:
    """When it is over.

    Attributes
    ----------
    max_messages
        After so many messages.
    no_data_timeout_s
        When nothing has come for so long.
    drain_s
        Answers to requests that have been sent are waited for so long.
    """

    max_messages: int | None = None
    no_data_timeout_s: float | None = None
    drain_s: float = 5.0


@dataclass(frozen=True)
class RecordReport:
    """What was received and recorded.

    Attributes
    ----------
    counts
        What the recorder has counted.
    elapsed_s, sender
        How long it has gone on, and how it is with the sender now.
    findings
        What the source has to say.
    why_ended
        "" as long as it goes on.
    """

    counts: Counts
    elapsed_s: float
    sender: str
    findings: str
    why_ended: str

    @property
    def received(self) -> int:
        """Messages that came."""
        return self.counts.received

    @property
    def passed_on(self) -> int:
        """Messages that are on disk."""
        return self.counts.written

    @property
    def dropped(self) -> int:
        """Messages that were not recorded."""
        return self.counts.dropped

    @property
    def took(self) -> Durations:
        """How long messages took to the disk."""
        return self.counts.to_disk

    @property
    def is_abandoned(self) -> bool:
        """Whether messages were given up that had come."""
        return LEFT_OVER in self.counts.drop_reasons

    @property
    def has_failed(self) -> bool:
        """Whether no more could be written although no limit had been reached."""
        return self.counts.why_ended != "" and not self.counts.ended_as_wanted

    def law(self) -> str:
        """The conservation law."""
        return self.counts.law()

    def text(self) -> str:
        """The report for people; the law is its last line."""
        per_s = 1 / self.elapsed_s if self.elapsed_s > 0 else 0.0
        rate = f"{self.counts.written * per_s:.1f} messages/s, {size(self.counts.num_bytes * per_s)}/s"
        median, most = (f"{self.took.quantile_ns(share) / 1e6:.1f} ms" for share in (0.5, 0.99))
        to_disk = f"; receipt to disk {median} median, {most} in 99 of 100" if self.counts.written else ""
        return f"{self.elapsed_s:.1f} s, {rate}{to_disk}; ended: {self.why_ended}\n{self.findings}\n{self.law()}"


class Receiving:
    """A source at work for its recorder.

    Parameters
    ----------
    asks
        Whether nothing comes that is not asked for. Then no more is asked for than there is room; else what there is no room
        for is dropped and counted.
    """

    def __init__(self, source: RecordedSource, *, asks: bool, until: Until) -> None:
        assert source.recorder is not None
        self._source, self._recorder, self._asks, self._until = source, source.recorder, asks, until
        self._why_ended = ""
        self._received = 0
        self._started_s = self._last_data_s = self._told_s = time.monotonic()

    def run(
        self,
        stopping: threading.Event,
        abandon: threading.Event,
        on_progress: Callable[[RecordReport], None] = lambda _: None,
    ) -> RecordReport:
        """Receive until it is over, write what waits unless `abandon` is set, and close the source."""
        while not self._is_over(stopping):
            self._step(TICK_S)
            self._tell(on_progress)
        ended_s = time.monotonic()
        drain_s = self._until.drain_s if stopping.is_set() else min(self._until.drain_s, NO_DATA_DRAIN_S)
        while (
            not self._is_enough()
            and not abandon.is_set()
            and time.monotonic() < ended_s + drain_s
            and self._source.stop_asking()
        ):
            self._step(TICK_S)
            self._tell(on_progress)
        while self._recorder.counts().waiting and not abandon.is_set():
            time.sleep(TICK_S / 10)
            self._tell(on_progress)
        if abandon.is_set():
            self._recorder.close(0.0)
        self._source.close()
        return self.report()

    def report(self) -> RecordReport:
        """Return what has been counted by now; may be called from another thread."""
        sender = "" if self._why_ended else self._source.status()
        return RecordReport(
            counts=self._recorder.counts(),
            elapsed_s=time.monotonic() - self._started_s,
            sender=sender,
            findings=self._source.findings().text,
            why_ended=self._why_ended,
        )

    def _step(self, timeout_s: float) -> None:
        credit = self._recorder.room() if self._asks else BATCH
        if self._until.max_messages is not None:
            credit = min(credit, self._until.max_messages - self._received)
        if not credit:
            self._recorder.wait_for_room(timeout_s)
            self._last_data_s = time.monotonic()  # nothing is asked for, so the silence is not the sender's
            return
        try:
            for message in self._source.receive(timeout_s, credit):
                self._count_if_not_recorded(message)
        except EndOfStream:
            self._why_ended = self._why_ended or "the source has no more"
        received = self._recorder.counts().received
        if received > self._received:
            self._received, self._last_data_s = received, time.monotonic()

    def _count_if_not_recorded(self, message: Message) -> None:
        """Count what stands for a message that the source has not passed on; those that are none but came are recorded."""
        body = message.parts[0] if message.parts else None
        if isinstance(body, StandIn) and body.rejection.reason in NOT_PASSED_ON:
            self._recorder.miss(body.rejection.reason)

    def _is_enough(self) -> bool:
        limit = self._until.max_messages
        return limit is not None and self._received >= limit

    def _is_over(self, stopping: threading.Event) -> bool:
        patience_s = self._until.no_data_timeout_s
        if self._is_enough():
            self._why_ended = f"{self._until.max_messages} messages, as asked for"
        elif why := self._recorder.counts().why_ended:
            self._why_ended = why
        elif stopping.is_set():
            self._why_ended = "stopped"
        elif patience_s is not None and time.monotonic() - self._last_data_s > patience_s:
            self._why_ended = f"no data for {patience_s:g} s"
        return self._why_ended != ""

    def _tell(self, on_progress: Callable[[RecordReport], None]) -> None:
        if time.monotonic() - self._told_s >= PROGRESS_S:
            self._told_s = time.monotonic()
            on_progress(self.report())
