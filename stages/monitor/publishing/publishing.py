"""The thread that publishes: every kind of message in its turn, as far as somebody listens, in a small share of the time."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline.faults import describe
from pipeline.metrics import Durations
from pipeline.watching import RunView
from stages.monitor.kinds import PUBLISHED
from stages.monitor.publishing.gathered import Gathered
from stages.monitor.publishing.history import History
from stages.monitor.publishing.pace import Cost
from stages.monitor.publishing.publisher import PATIENCE_S, Publisher
from stages.monitor.publishing.run_state import Now, row, run_blob
from stages.monitor.publishing.seen import FramesWanted

EVERY_S = {"run": 0.5, "history": 2.0, "cells": 2.0, "resolution": 2.0, "powder": 5.0}
"""How often each kind is published; frames as often as is asked for."""

_ROW_EVERY_S = 2.0
_TICK_S = 0.2

_SHARE = 0.003
"""The part of the elapsed time that this thread may spend on each kind; what costs more comes less often."""

_UNWATCHED_S = 10.0
"""While nobody looks at frames, replicas hand over one in so many seconds: for the report, and for who comes."""

_JOIN_S = 1.0


class Last(NamedTuple):
    """What was known when the run ended.

    Attributes
    ----------
    messages
        The last message of each kind but frames.
    frames
        The latest frame of each category, the oldest first.
    """

    messages: dict[str, dict[str, Any]]
    frames: list[dict[str, Any]]


class Publishing:
    """Publishes what was gathered and what the run says of itself, from :meth:`start` to :meth:`end`.

    Whatever goes wrong here is logged, once, and ends the publishing, never the run.

    Parameters
    ----------
    publisher
        Belongs to this from now on.
    frames_every_s
        How often a frame is published.
    group_key
        The header key by which frames are grouped; "" where they are not.

    Attributes
    ----------
    has_failed
        Nothing is published any more.
    wanted
        How often replicas are to hand over frames; another object when that changes.
    """

    def __init__(
        self,
        publisher: Publisher,
        gathered: Gathered,
        frames_every_s: float,
        group_key: str,
        log: logging.Logger,
    ) -> None:
        self.has_failed = False
        self.wanted = FramesWanted(frames_every_s)
        self._publisher = publisher
        self._gathered = gathered
        self._frames_every_s = frames_every_s
        self._group_key = group_key
        self._log = log
        self._run_id = secrets.token_hex(8)
        self._numbers: Counter[str] = Counter()
        self._history = History()
        self._latency = Durations()
        self._due_s: dict[str, float] = dict.fromkeys((*PUBLISHED, "row"), 0.0)
        self._run: RunView | None = None
        self._stopping = threading.Event()
        self._sending = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, run: RunView) -> None:
        """Begin to publish."""
        self._run = run
        self._thread = threading.Thread(target=self._publish_all, name="monitor", daemon=True)
        self._thread.start()

    def end(self) -> Last | None:
        """Publish the last state, which says why the run has ended, and return it; None if there is none."""
        self._stopping.set()
        run, self._run = self._run, None
        if run is None:
            return None
        if self._thread is not None:
            self._thread.join(_JOIN_S)
        try:
            return self._publish_last(run)
        except Exception as error:
            self._fail(error)
            return None

    def _publish_all(self) -> None:
        try:
            while not self._stopping.wait(min(_TICK_S, self._frames_every_s)):
                run = self._run
                if run is not None:
                    self._step(run)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self.has_failed:
            self.has_failed = True
            self._log.warning(
                "the monitor has failed, and the run goes on without it: %s", describe(error), exc_info=error
            )

    def _step(self, run: RunView) -> None:
        """Publish what is due and listened to."""
        with self._sending:
            if self._stopping.is_set():
                return
            is_new = self._publisher.new_listeners()
            listened_to = self._publisher.listened_to()
        if is_new:
            self._due_s.update(dict.fromkeys(PUBLISHED, 0.0))
            with self._gathered.lock:
                self._gathered.frames.show_again()
        now_s = time.monotonic()
        due = {kind for kind, at in self._due_s.items() if now_s >= at and (kind in listened_to or kind == "row")}
        if not due:
            return
        self._gathered.gather()
        self._say_what_is_wanted("frame" in listened_to)
        cost = Cost()
        now: Now | None = None
        if due & {"run", "row"}:
            with cost.measured():
                now = Now.of(run)
        asking_s = cost.s
        for kind in ("row", *PUBLISHED):
            if kind in due:
                with cost.measured():
                    self._publish(kind, now)
                shared_s = asking_s if kind in ("run", "row") else 0.0
                self._due_s[kind] = now_s + max(self._every_s(kind), (cost.s + shared_s) / _SHARE)

    def _publish(self, kind: str, now: Now | None) -> None:
        if kind == "row":
            assert now is not None
            self._add_row(now)
            return
        if kind == "frame":
            self._publish_frame()
            return
        message = self._message(kind, now)
        if message is not None:
            self._send(kind, message)

    def _publish_frame(self) -> None:
        frames = self._gathered.frames
        with self._gathered.lock:
            shown = frames.next()
            message = None if shown is None else frames.blob(shown)
            if shown is not None:
                frames.sent(shown)
        if message is not None:
            self._send("frame", message)

    def _send(self, kind: str, message: Mapping[str, Any]) -> None:
        with self._sending:
            if not self._stopping.is_set():
                self._publisher.send(kind, self._signed(kind, message))

    def _signed(self, kind: str, message: Mapping[str, Any]) -> dict[str, Any]:
        number = self._numbers[kind]
        self._numbers[kind] += 1
        return {"kind": kind, "run": self._run_id, "number": number, "time_unix_s": time.time(), **message}

    def _message(self, kind: str, now: Now | None, ended_unix_s: float | None = None) -> dict[str, Any] | None:
        """What a message of this kind says now, all kinds but frames; None if there is nothing to say."""
        if kind == "run":
            assert now is not None
            with self._gathered.lock:
                crystals, groups = self._gathered.recent.columns(), self._groups()
            return {**run_blob(now, ended_unix_s), "groups": groups, "crystals": crystals}
        if kind == "history":
            return self._history.blob(self._gathered.group_names())
        return self._gathered.blob(kind)

    def _groups(self) -> dict[str, Any] | None:
        if not self._group_key:
            return None
        groups = self._gathered.groups
        values = [{"value": value, **groups[value]._asdict()} for value in self._gathered.group_names()]
        return {"key": self._group_key, "values": values}

    def _add_row(self, now: Now) -> None:
        with self._gathered.lock:
            groups = dict(self._gathered.groups)
        self._history.add(row(now, self._latency, groups))
        self._latency = now.report.latency

    def _every_s(self, kind: str) -> float:
        return _ROW_EVERY_S if kind == "row" else EVERY_S.get(kind, self._frames_every_s)

    def _say_what_is_wanted(self, is_watched: bool) -> None:
        """Ask replicas for as many frames as are published, all of them together."""
        every_s = self._frames_every_s * max(1, len(self._gathered.frames.replicas))
        wanted = FramesWanted(every_s if is_watched else max(every_s, _UNWATCHED_S))
        if wanted != self.wanted:
            self.wanted = wanted

    def _publish_last(self, run: RunView) -> Last:
        """Publish every kind once more, whether it is due or not."""
        self._gathered.gather()
        now, ended = Now.of(run), time.time()
        self._add_row(now)
        messages: dict[str, dict[str, Any]] = {}
        for kind in PUBLISHED:
            if kind != "frame" and (message := self._message(kind, now, ended)) is not None:
                messages[kind] = self._signed(kind, message)
        frames = self._gathered.frames
        if not self.has_failed:
            with self._sending:
                self._publisher.new_listeners()
                until_s = time.monotonic() + PATIENCE_S
                for kind, message in messages.items():
                    self._publisher.send_last(kind, message, until_s)
                shown = frames.next()
                if shown is not None and "frame" in self._publisher.listened_to():
                    self._publisher.send_last("frame", self._signed("frame", frames.blob(shown)), until_s)
                    frames.sent(shown)
        kept = [frames.blob(shown, with_mask=True) for shown in frames.latest()]
        return Last(messages, [self._signed("frame", message) for message in kept])
