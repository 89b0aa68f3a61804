"""How a run goes, in one line on stderr: rewritten in place on a terminal, a new line now and then elsewhere.

>>> from pipeline.counts import FRAMES, Count
>>> from pipeline.report import Progress
>>> line(Progress(received=200, in_flight=4, rejected=2, dropped=0, counts={"words": 120}, shown=(Count("words", FRAMES),),
...               frames_per_s=41.5, latency_ms=23.4, elapsed_s=5.0, status=""))
'200 frames, words 61.2 %, 41.5 frames/s, latency 23 ms, 4 in flight, 2 rejected'
"""

from __future__ import annotations

import math
import re
import sys
import time
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from pipeline.counts import progress_parts

if TYPE_CHECKING:
    from pipeline.report import Progress


def line(progress: Progress) -> str:
    """Say in one line how a run goes; shares are of the frames that are finished."""
    parts = [
        f"{progress.received} frames",
        *progress_parts(
            progress.shown, progress.counts, frames=progress.received - progress.in_flight - progress.dropped
        ),
        f"{progress.frames_per_s:.1f} frames/s",
        "latency -" if math.isnan(progress.latency_ms) else f"latency {progress.latency_ms:.0f} ms",
    ]
    parts += [
        f"{count} {what}"
        for count, what in (
            (progress.in_flight, "in flight"),
            (progress.rejected, "rejected"),
            (progress.dropped, "dropped"),
        )
        if count
    ]
    parts += [said for said in (progress.live, progress.status) if said]
    return ", ".join(parts)


def _lines(progress: Progress) -> str:
    """The same for a terminal: what analyses say has a line of its own, which would be cut off at the end of the first one."""
    return line(replace(progress, live="")) + (f"\n{progress.live}" if progress.live else "")


class ProgressLine:
    """Shows the progress while it is entered; call it with each :class:`~pipeline.report.Progress`.

    Parameters
    ----------
    stream
        Where to show it; ``sys.stderr`` by default.
    every_s
        Where the stream is not a terminal: seconds between lines. There, no line is written while nothing changes, and
        one is written after a second when the first frames have come or the source says something else.
    """

    def __init__(self, stream: TextIO | None = None, every_s: float = 10.0) -> None:
        self._stream = stream or sys.stderr
        self._every_s = every_s
        self._live: Any = None
        self._last_s = time.monotonic()
        self._last_text = ""
        self._last_news = (False, "")

    @property
    def on_terminal(self) -> bool:
        """Whether the line is rewritten in place."""
        return self._stream.isatty()

    def __enter__(self) -> ProgressLine:
        if self.on_terminal:
            from rich.live import Live

            from pipeline.logs import console

            self._live = Live(console=console(), auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, progress: Progress) -> None:
        """Show this progress."""
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text(_lines(progress), overflow="ellipsis", no_wrap=True), refresh=True)
            return
        now = time.monotonic()
        news = (progress.received > 0, re.sub(r"\d+", "", progress.status))  # "2 s ago" after "1 s ago" is no news
        wait_s = self._every_s if news == self._last_news else min(1.0, self._every_s)
        text = line(progress)
        if text != self._last_text and now - self._last_s >= wait_s:
            self._last_s, self._last_text, self._last_news = now, text, news
            print(text, file=self._stream, flush=True)
