"""Logs of the command line: on stderr, each with its time; in colour on a terminal, above the progress line."""

from __future__ import annotations

import functools
import logging
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_NAME = "streamajig on stderr"

LEVELS = ("debug", "info", "warning", "error")

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
"""The local time, as on the clocks beside the instrument; with the date, because a beamtime goes on after midnight."""


@functools.lru_cache(maxsize=1)
def console() -> Console:
    """The one console on stderr, which logs and the progress line share so that neither writes over the other."""
    from rich.console import Console

    return Console(stderr=True)


def start(level: str = "info") -> None:
    """Let streamajig's loggers write to stderr from this level on."""
    stop()
    logger = logging.getLogger("streamajig")
    logger.setLevel(level.upper())
    logger.addHandler(_handler())


def stop() -> None:
    """Undo :func:`start`."""
    logger = logging.getLogger("streamajig")
    logger.setLevel(logging.NOTSET)
    for handler in [handler for handler in logger.handlers if handler.name == _NAME]:
        logger.removeHandler(handler)


def timed(text: str, at_s: float | None = None) -> str:
    """Put the time before a line (seconds since 1970; now by default)."""
    return f"{time.strftime(TIME_FORMAT, time.localtime(at_s))} {text}"


def _handler() -> logging.Handler:
    handler: logging.Handler
    if sys.stderr.isatty():
        from rich.logging import RichHandler

        handler = RichHandler(console=console(), show_path=False, omit_repeated_times=False, log_time_format="%H:%M:%S")
    else:
        handler = _Plain()
    handler.name = _NAME
    return handler


class _Plain(logging.Handler):
    """``2026-02-03 04:05:06 streamajig.run: warning: text``, for files and other programs; on what is stderr at the time."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and what was raised below it."""
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        text = timed(f"{record.name}: {level}{record.getMessage()}", record.created)
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        return text

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a log that cannot be written must not end a run."""
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # as in all of logging's own handlers
            self.handleError(record)
