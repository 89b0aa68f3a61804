"""What replicas in other processes and on other machines log: it is said where the run was started, as its own."""

from __future__ import annotations

import copy
import logging
import threading
from collections import Counter

_MOST_REMEMBERED = 10_000


def portable_record(record: logging.LogRecord) -> logging.LogRecord:
    """A log record with its text made up, and nothing that could not be pickled."""
    plain = copy.copy(record)
    if record.exc_info:
        plain.exc_text = logging.Formatter().formatException(record.exc_info)
    plain.msg, plain.args, plain.exc_info = record.getMessage(), None, None
    return plain


class LogsOfWorkers:
    """In the supervisor: logs what workers have logged. What each of them says once is said once, not once for each."""

    def __init__(self) -> None:
        self._said: Counter[tuple[str, int, str]] = Counter()
        self._by_worker: Counter[tuple[str, str, int, str]] = Counter()
        self._lock = threading.Lock()

    def log(self, worker: str, record: logging.LogRecord) -> None:
        """Log a record, unless another worker has said the same as often."""
        what = (record.name, record.levelno, str(record.msg))
        with self._lock:
            if len(self._by_worker) >= _MOST_REMEMBERED:
                self._said.clear()
                self._by_worker.clear()
            self._by_worker[worker, *what] += 1
            is_news = self._by_worker[worker, *what] > self._said[what]
            self._said[what] += is_news
        if is_news:
            log_here(record)


def log_here(record: logging.LogRecord) -> None:
    """In the supervisor: log what a child has logged."""
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
