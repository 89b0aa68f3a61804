"""Logs of the command line: on stderr, in colour on a terminal, above the progress line."""

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


def _handler() -> logging.Handler:
    handler: logging.Handler
    if sys.stderr.isatty():
        from rich.logging import RichHandler

        handler = RichHandler(console=console(), show_path=False, omit_repeated_times=False)
    else:
        handler = _Plain()
    handler.name = _NAME
    return handler


class _Plain(logging.Handler):
    """``streamajig.run: warning: text``, for files and other programs; on what is stderr at the time.

    A record that has ``is_timed`` (``extra={"is_timed": True}``) begins with the time of day, as all do on a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line, and what was raised below it."""
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        at = time.strftime("%H:%M:%S ", time.localtime(record.created)) if getattr(record, "is_timed", False) else ""
        text = f"{at}{record.name}: {level}{record.getMessage()}"
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
