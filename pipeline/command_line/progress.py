"""How a run goes, on stderr: a panel, rewritten in place, on a terminal; a new line now and then elsewhere.

A terminal that is too small for the panel (:mod:`pipeline.command_line.panel`) has a few lines instead.
"""

from __future__ import annotations

import math
import re
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from pipeline.command_line.in_words import fitted, line

if TYPE_CHECKING:
    from pipeline.watching import Progress

_CALM_S = 0.4
"""On a terminal, numbers stay for so long at least."""

_SHOW_CURSOR = "\x1b[?25h"


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
        self._panel: Any = None
        self._shown_s = -math.inf
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
            from pipeline.command_line.panel import Panel

            self._panel = Panel(ascii_only=console().options.ascii_only)
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
            self._rewrite(progress)
            return
        from pipeline.command_line.logs import timed

        now = time.monotonic()
        news = (progress.received > 0, re.sub(r"\d+", "", progress.status))  # "2 s ago" after "1 s ago" is no news
        wait_s = self._every_s if news == self._last_news else min(1.0, self._every_s)
        text = line(progress)
        if text != self._last_text and now - self._last_s >= wait_s:
            self._last_s, self._last_text, self._last_news = now, text, news
            print(timed(text), file=self._stream, flush=True)

    def _rewrite(self, progress: Progress) -> None:
        """Show it in place of what was there, unless that has just come."""
        from rich.text import Text

        from pipeline.command_line.panel import LOWEST, NARROWEST

        self._panel.take(progress)
        if time.monotonic() - self._shown_s < _CALM_S:
            return
        self._shown_s = time.monotonic()
        width, height = self._live.console.size
        if width < NARROWEST or height < LOWEST:
            shown = Text(fitted(progress, width, height), overflow="ellipsis", no_wrap=True)
        else:
            shown = Text("\n", no_wrap=True, overflow="ellipsis").join(self._panel.lines(progress, width, height))
        self._live.update(shown, refresh=True)
