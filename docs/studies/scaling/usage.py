"""What a process and all that it has started use, as Linux counts it in ``/proc``: processor time and private memory."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Stat(NamedTuple):
    """A line of ``/proc/PID/stat``, as far as it is needed; children that were waited for are included.

    Attributes
    ----------
    cpu_s, system_s
        Processor time, and what the kernel has of it.
    faults
        Pages that had to be found, and were not read from a disk.
    """

    pid: int
    name: str
    parent: int
    session: int
    cpu_s: float
    system_s: float
    faults: int


def stats() -> Iterator[Stat]:
    """All processes that there are."""
    for folder in PROC.iterdir():
        if folder.name.isdecimal() and (stat := stat_of(int(folder.name))) is not None:
            yield stat


def stat_of(pid: int) -> Stat | None:
    """One process; None where it has gone."""
    return _stat_in(PROC / str(pid))


def _stat_in(folder: Path) -> Stat | None:
    try:
        text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # the name stands in parentheses, and may hold some itself
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    user, system, childrens_user, childrens_system = (int(ticks) / TICKS_PER_S for ticks in fields[11:15])
    return Stat(
        int(folder.name),
        name,
        parent=int(fields[1]),
        session=int(fields[3]),
        cpu_s=user + system + childrens_user + childrens_system,
        system_s=system + childrens_system,
        faults=int(fields[7]) + int(fields[8]),
    )


def family(root: int, among: Iterable[Stat] | None = None) -> list[Stat]:
    """A process, whatever it has started, and whatever else is in the session of which it is the leader."""
    every = list(stats() if among is None else among)
    found = {one.pid for one in every if root in (one.pid, one.session)}
    while more := {one.pid for one in every if one.parent in found} - found:
        found |= more
    return [one for one in every if one.pid in found]


def cpu_s(root: int) -> dict[int, float]:
    """Processor time that a process and each that belongs to it have used until now, seconds, by their numbers."""
    return {one.pid: one.cpu_s for one in sorted(family(root))}


def thread_cpu_s(pids: Iterable[int], name: str) -> float:
    """Processor time that threads whose name begins like this have used until now, seconds."""
    threads = (_stat_in(folder) for pid in pids for folder in (PROC / str(pid)).glob("task/*"))
    return sum(one.cpu_s for one in threads if one is not None and one.name.startswith(name))


def ready_s(pids: Iterable[int]) -> float:
    """Time that threads of these processes have been ready to run and had no core until now, seconds (``schedstat``)."""
    waited_ns = 0
    for pid in pids:
        for file in (PROC / str(pid)).glob("task/*/schedstat"):
            with contextlib.suppress(OSError):
                waited_ns += int(file.read_text(encoding="ascii").split()[1])
    return waited_ns / 1e9


def wanted_s(pid: int) -> dict[int, float]:
    """For how long each thread of a process has run or been ready to run until now, seconds, by its number (``schedstat``)."""
    wanted: dict[int, float] = {}
    for file in (PROC / str(pid)).glob("task/*/schedstat"):
        with contextlib.suppress(OSError):
            ran_ns, waited_ns, _ = map(int, file.read_text(encoding="ascii").split())
            wanted[int(file.parent.name)] = (ran_ns + waited_ns) / 1e9
    return wanted


def busy_s() -> float:
    """Processor time that the whole machine has used until now, seconds: user, nice, system, interrupts, stolen."""
    line = (PROC / "stat").read_text(encoding="ascii").splitlines()[0].split()
    return sum(int(line[k]) for k in (1, 2, 3, 6, 7, 8)) / TICKS_PER_S


class Memory(NamedTuple):
    """Memory of one process in MB (10^6 bytes), from ``/proc/PID/smaps``.

    Attributes
    ----------
    private
        Pages that this process alone has, those of `messages` left out: what one more of its kind costs.
    messages
        Pages of shared memory without a name, in which messages lie, as far as this process has looked at them.
    share
        Its share of all it has mapped (PSS): a page of n processes counts 1/n.
    """

    pid: int
    private: float
    messages: float
    share: float


_MAPPING = re.compile(r"(?m)^[0-9a-f]+-[0-9a-f]+ +\S+ +\S+ +\S+ +\S+ *(.*)$")
_SIZE = re.compile(r"(?m)^(\w+): +(\d+) kB$")
MESSAGES = "/memfd:"


def memory_of(pid: int) -> Memory | None:
    """The memory of one process; None where it has gone."""
    try:
        text = (PROC / str(pid) / "smaps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # what a name's mapping has follows it
    _, *parts = _MAPPING.split(text)
    private, messages, share = 0, 0, 0
    for name, sizes in zip(parts[::2], parts[1::2], strict=True):
        kb = {what: int(size) for what, size in _SIZE.findall(sizes)}
        share += kb["Pss"]
        if name.startswith(MESSAGES):
            messages += kb["Rss"]
        else:
            private += kb["Private_Clean"] + kb["Private_Dirty"]
    return Memory(pid, *(round(1.024e-3 * n, 1) for n in (private, messages, share)))


def memory(root: int) -> list[Memory]:
    """The memory of a process and of each that belongs to it, in order of their numbers."""
    found = (memory_of(one.pid) for one in sorted(family(root)))
    return [one for one in found if one is not None]
