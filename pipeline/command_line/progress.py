"""How a run goes, on stderr: a few lines, rewritten in place, on a terminal; a new line now and then elsewhere.

>>> from pipeline.counts import FRAMES, Count
>>> from pipeline.watching import Progress
>>> now = Progress(received=200, in_flight=4, rejected=2, dropped=0, counts={"words": 120}, shown=(Count("words", FRAMES),),
...                frames_per_s=41.5, latency_ms=23.4, latency_99_ms=51.0, elapsed_s=5.0,
...                status="nobody listens", live="cell 79")
>>> line(now)
'200 frames, words 61.2 %, 2 rejected, 41.5 frames/s, receipt to disk 23 ms (99 %: 51 ms), 4 in flight, cell 79, nobody listens'
>>> print(fitted(now, width=86))
200 frames, words 61.2 %, 2 rejected
41.5 frames/s, receipt to disk 23 ms (99 %: 51 ms), 4 in flight, nobody listens
cell 79
>>> print(fitted(now, width=45))
200 frames, words 61.2 %, 2 rejected
41.5 frames/s
receipt to disk 23 ms (99 %: 51 ms)
4 in flight, nobody listens
cell 79
"""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from pipeline.counts import progress_parts

if TYPE_CHECKING:
    from pipeline.watching import Progress

_SEPARATORS = re.compile(r"(?<=[,;]) ")
"""What a status or an analysis says is broken where it has a comma or a semicolon."""

_SHOW_CURSOR = "\x1b[?25h"


def line(progress: Progress) -> str:
    """Say in one line how a run goes; shares are of the frames that are finished."""
    parts = [*_what(progress), *_how_fast(progress), progress.live, progress.status]
    return ", ".join(part for part in parts if part)


def fitted(progress: Progress, width: int, height: int = 24) -> str:
    """The same in lines of at most this many columns, as a terminal shows it; of a line that would be too long nothing is lost.

    What has come and what became of it is first, what analyses say has lines of its own. At most `height` lines less two
    for the log, should there be so many.
    """
    what = [f"{part}," for part in _what(progress)]
    how = [f"{part}," for part in _how_fast(progress)] + _SEPARATORS.split(progress.status)
    one = " ".join([*what, *how]).rstrip(" ,")
    counts = [one] if len(one) <= width else [*_wrapped(what, width), *_wrapped(how, width)]
    lines = [*counts, *_wrapped(_SEPARATORS.split(progress.live), width)]
    return "\n".join(lines[: max(1, height - 2)])


def _what(progress: Progress) -> list[str]:
    """What has come, and what became of it."""
    finished = progress.received - progress.in_flight - progress.dropped
    lost = ((progress.rejected, "rejected"), (progress.dropped, "dropped"), (progress.lost, "lost before receipt"))
    return [
        f"{progress.received} frames",
        *progress_parts(progress.shown, progress.counts, frames=finished),
        *(f"{count} {what}" for count, what in lost if count),
    ]


def _how_fast(progress: Progress) -> list[str]:
    return [
        f"{progress.frames_per_s:.1f} frames/s",
        f"{progress.latency_to} -"
        if math.isnan(progress.latency_ms)
        else f"{progress.latency_to} {progress.latency_ms:.0f} ms (99 %: {progress.latency_99_ms:.0f} ms)",
        *([f"{progress.in_flight} in flight"] if progress.in_flight else []),
    ]


def _wrapped(parts: Sequence[str], width: int) -> Iterator[str]:
    """Put as many parts into each line as it takes; a part that is longer than a line goes on in the next."""
    room = max(1, width)
    said = ""
    for part in parts:
        if said and len(f"{said} {part}".rstrip(",")) > room:
            yield said.rstrip(" ,")
            said = ""
        said = f"{said} {part}" if said else part
        while len(said.rstrip(",")) > room:
            yield said[:room]
            said = said[room:]
    if said.rstrip(" ,"):
        yield said.rstrip(" ,")


class ProgressLine:
    """Shows the progress while it is entered; call it with each :class:`~pipeline.running.report.Progress`.

    Parameters
    ----------
    stream
        Where to show it; ``sys.stderr`` by default.
    every_s
        Where the stream is not a terminal: seconds between lines. There, no line is written while nothing changes, and
        one is written after a second when the first frames have come or the source says something else.
    """

    def __init__(self, stream: TextIO | None = None, every_s: float = 30.0) -> None:
        self._stream = stream or sys.stderr
        self._every_s = every_s
        self._live: Any = None
        self._last_s = time.monotonic()
        self._last_text = ""
        self._last_news = (False, "")

    @property
    def on_terminal(self) -> bool:
        """Whether the lines are rewritten in place."""
        from pipeline.command_line.logs import console

        return self._stream.isatty() and not console().is_dumb_terminal

    def __enter__(self) -> ProgressLine:
        if self.on_terminal:
            from rich.live import Live

            from pipeline.command_line.logs import console

            self._live = Live(console=console(), auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def leave(self) -> None:
        """Give the terminal its cursor back without a wait for anybody: the process ends while another thread is in here."""
        if self._live is not None:
            self._stream.write(f"{_SHOW_CURSOR}\n")

    def __call__(self, progress: Progress) -> None:
        """Show this progress."""
        if self._live is not None:
            from rich.text import Text

            size = self._live.console.size
            text = fitted(progress, size.width, size.height)
            self._live.update(Text(text, overflow="ellipsis", no_wrap=True), refresh=True)
            return
        from pipeline.command_line.logs import timed

        now = time.monotonic()
        news = (progress.received > 0, re.sub(r"\d+", "", progress.status))  # "2 s ago" after "1 s ago" is no news
        wait_s = self._every_s if news == self._last_news else min(1.0, self._every_s)
        text = line(progress)
        if text != self._last_text and now - self._last_s >= wait_s:
            self._last_s, self._last_text, self._last_news = now, text, news
            print(timed(text), file=self._stream, flush=True)
