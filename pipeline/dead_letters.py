"""Frames that were rejected, kept for whoever looks into it: their reasons, and their messages if that is asked for."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.wiring import Arrived

log = logging.getLogger("streamajig.collect")


class DeadLetters:
    """The reasons of rejected frames, one JSON line each, and their raw messages if they are kept.

    The folder and its file are made when the first frame is rejected. What goes beyond the limits is counted in
    `not_kept`, from the first on that does. What cannot be written is counted too: a full disk there is no reason to end
    a run whose outputs have room.
    """

    def __init__(self, folder: Path | None, most: int = 100_000, most_bytes: int = 10_000_000_000) -> None:
        self._folder = folder
        self._most, self._most_bytes = most, most_bytes
        self._kept = self._bytes = self.not_kept = 0
        self._lost = 0
        self._trouble = ""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        self._name = f"{stamp}-{os.getpid()}"

    def add(self, arrived: Arrived) -> None:
        """Write down one rejected frame."""
        rejected = arrived.rejected
        if self._folder is None or rejected is None:
            return
        suffixes = [f".{n}" if len(arrived.message) > 1 else "" for n in range(len(arrived.message))]
        names = [f"{self._name}-{arrived.serial:07d}{suffix}.msgpack" for suffix in suffixes]
        letter = {
            "serial": rejected.serial,
            "event": rejected.event,
            "node": rejected.node,
            "reason": rejected.reason,
            "detail": rejected.detail,
            "received": datetime.fromtimestamp(rejected.received_ns / 1e9, UTC).isoformat(),
            "message": names,
        }
        line = json.dumps(letter).encode()
        if not self._has_room(len(line) + sum(map(len, arrived.message))):
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name, part in zip(names, arrived.message, strict=True):
                (self._folder / name).write_bytes(part)
            _append_line(self._folder / f"{self._name}.jsonl", line)
        except OSError as error:
            for name in names:  # no half of a message
                with contextlib.suppress(OSError):
                    (self._folder / name).unlink()
            self._lost += 1
            if not self._trouble:
                self._trouble = error.strerror or str(error)
                log.error("cannot write dead letters to %s: %s; the run goes on", self._folder, self._trouble)

    def lost(self) -> str:
        """How many could not be written, and why; empty if all were."""
        return f"{self._lost} not written to {self._folder}: {self._trouble}" if self._lost else ""

    def _has_room(self, size: int) -> bool:
        """Whether this many bytes are kept, too; once some are not, none is, so that what is kept has no gap."""
        if not self.not_kept and self._kept < self._most and self._bytes + size <= self._most_bytes:
            self._kept += 1
            self._bytes += size
            return True
        if not self.not_kept:
            log.warning(
                "%d dead letters of %d bytes are in %s; those that follow are counted and not kept "
                "(max_dead_letters = %d, dead_letter_bytes = %d)",
                self._kept, self._bytes, self._folder, self._most, self._most_bytes,
            )  # fmt: skip
        self.not_kept += 1
        return False


def _append_line(path: Path, line: bytes) -> None:
    """Append a line, or nothing of it."""
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        if file.write(line + b"\n") <= len(line):
            file.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
