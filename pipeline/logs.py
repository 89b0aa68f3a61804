"""Logs of the command line: on stderr, in colour on a terminal, above the progress line."""

from __future__ import annotations

import functools
import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

LEVELS = ("debug", "info", "warning", "error")


@functools.lru_cache(maxsize=1)
def console() -> Console:
    """The one console on stderr, which logs and the progress line share so that neither writes over the other."""
    from rich.console import Console

    return Console(stderr=True)


def start(level: str = "info") -> None:
    """Let streamajig's loggers write to stderr from this level on; the second call changes the level only."""
    logger = logging.getLogger("streamajig")
    logger.setLevel(level.upper())
    for old in list(logger.handlers):
        logger.removeHandler(old)
    logger.addHandler(_handler())
    logger.propagate = False


def _handler() -> logging.Handler:
    if sys.stderr.isatty():
        from rich.logging import RichHandler

        return RichHandler(console=console(), show_path=False, omit_repeated_times=False)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Plain())
    return handler


class _Plain(logging.Formatter):
    """``streamajig: warning: text``, for files and other programs."""

    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        text = f"{record.name}: {level}{record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text
