"""What a promise raises that does not hold, and what several of them look at."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class BrokenError(Exception):
    """A promise is not kept; the text says what was found."""


@contextmanager
def nothing_left_open() -> Iterator[None]:
    """Raise :class:`BrokenError` if files, sockets or threads are left that were not there before."""
    files, threads = open_files(), set(threading.enumerate())
    yield
    left = open_files() - files
    if left:
        raise BrokenError(
            f"{left.total()} files or sockets are open still after close(): {', '.join(sorted(left)[:3])}"
        )
    running = [thread.name for thread in set(threading.enumerate()) - threads if thread.is_alive()]
    if running:
        raise BrokenError(f"threads run still after close(): {', '.join(running)}")


def open_files() -> Counter[str]:
    """The files and sockets that this process has open; none where the system does not say."""
    found: Counter[str] = Counter()
    with contextlib.suppress(OSError):
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the one that lists them is closed by now
                found[os.readlink(f"/proc/self/fd/{number}")] += 1
    elsewhere = ("/proc/", "/dev/", "pipe:", "anon_inode:")
    return Counter({name: number for name, number in found.items() if not name.startswith(elsewhere)})


def close_twice(running: Any) -> None:
    """Close what can be closed, as a run may, and once more."""
    close: Callable[[], None] | None = getattr(running, "close", None)
    if close is not None:
        close()
        close()
