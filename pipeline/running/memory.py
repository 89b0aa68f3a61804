"""How much memory there is, for limits that nobody has set, how much of it a process has, and what becomes of what it frees."""

from __future__ import annotations

import ctypes
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


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""What mallopt(3) calls them."""

_NEVER = 1 << 30
_SET_BY_USERS = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_what_is_freed() -> bool:
    """Keep memory that is freed for the messages to come; return whether that is done.

    glibc gives large memory back at once, and has a heap for each thread that it gives back when it is empty. The next message
    then finds its 4400 pages (of 18 MB) one by one, each to be filled with zeros before the network's data are: a third of what
    receiving costs. So there is one heap here, of which nothing goes back: it is as large as it has ever been, which the
    bytes in flight bound.

    It is for programs of ours, at their very beginning: heaps of threads that there are already stay, and others take them.
    Nothing is done with another library than glibc, and where the user has set something of the kind in the environment.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or any(name.startswith(_SET_BY_USERS) for name in os.environ):
        return False
    wanted = {_M_ARENA_MAX: 1, _M_MMAP_THRESHOLD: _NEVER, _M_TRIM_THRESHOLD: _NEVER}
    taken = [mallopt(option, value) for option, value in wanted.items()]
    return taken == [1] * len(taken)


def _limit_in(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
