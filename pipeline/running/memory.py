"""How much memory there is, for limits that nobody has set, and how much of it a process has."""

from __future__ import annotations

import os
from pathlib import Path

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where a container, or a job of a batch system, finds what it may have (cgroup v2, v1); v2 says ``max`` for no limit."""

IN_FLIGHT_SHARE = 4
"""One part in so many of the memory is for messages in flight, unless the user says another number of bytes.

ZeroMQ's queue holds as much again at most while it is learnt how large messages are, replicas have tables and buffers of their
own (some ten frames' worth each), and the system caches what is written: a quarter leaves room for all of them, and is still
two hundred frames of 16 Mpixel and 4 bytes on a machine of 64 GB.
"""


def memory_bytes() -> int:
    """The memory of this machine, or as much of it as this process may have."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([there, *filter(None, map(_limit_in, _LIMITS))])


def in_flight_bytes() -> int:
    """What messages in flight may have together where nobody has said it."""
    return memory_bytes() // IN_FLIGHT_SHARE


def private_bytes(pid: int | None) -> int:
    """Memory of a process that is in no file and not shared by name: ``RssAnon``; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _limit_in(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
