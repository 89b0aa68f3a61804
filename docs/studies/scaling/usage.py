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
    """A line of ``/proc/PID/stat``, as far as it is needed; processor time includes that of children that were waited for."""

    pid: int
    name: str
    parent: int
    session: int
    cpu_s: float


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
    return Stat(int(folder.name), name, int(fields[1]), int(fields[3]), sum(map(int, fields[11:15])) / TICKS_PER_S)


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


def busy_s() -> float:
    """Processor time that the whole machine has used until now, seconds: user, nice, system, interrupts, stolen."""
    line = (PROC / "stat").read_text(encoding="ascii").splitlines()[0].split()
    return sum(int(line[k]) for k in (1, 2, 3, 6, 7, 8)) / TICKS_PER_S


class Memory(NamedTuple):
    """Memory of one process in MB (10^6 bytes), from ``/proc/PID/smaps_rollup``.

    Attributes
    ----------
    private
        Pages that this process alone has, clean and dirty: what one more of its kind costs.
    anonymous
        Pages that stand for no file: what it has allocated, those that a fork still shares included.
    share
        Its share of all it has mapped (PSS): a page of n processes counts 1/n.
    """

    pid: int
    command: str
    private: float
    anonymous: float
    share: float


def memory_of(pid: int) -> Memory | None:
    """The memory of one process; None where it has gone."""
    try:
        text = (PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii")
        command = (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return None
    kb = {name: int(value) for name, value in re.findall(r"(?m)^(\w+): +(\d+) kB", text)}
    if not kb:
        return None
    private = kb["Private_Clean"] + kb["Private_Dirty"]
    return Memory(pid, command, *(round(1.024e-3 * n, 1) for n in (private, kb["Anonymous"], kb["Pss"])))


def memory(root: int) -> list[Memory]:
    """The memory of a process and of each that belongs to it, in order of their numbers."""
    found = (memory_of(one.pid) for one in sorted(family(root)))
    return [one for one in found if one is not None]
