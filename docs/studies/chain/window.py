"""What a run uses while it is in full swing: from the moment at which some frames are done until some seconds later.

The run and its sender are processes of their own, and are looked at from outside. Processor time is that of the whole tree of
processes that a run is, the sender's apart.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "scaling"))

import usage

MEMORY_EVERY_S = 1.0


@dataclass(frozen=True)
class Moment:
    """Where everything stands.

    Attributes
    ----------
    finished
        Frames.
    cpu_s, system_s, faults
        Of all processes of the run, since they began.
    sender_s
        For how long each thread of the sender has run or wanted to.
    busy_s
        Processor time of the whole machine.
    """

    finished: int
    at_s: float
    cpu_s: float
    system_s: float
    faults: int
    sender_s: dict[int, float]
    busy_s: float

    @staticmethod
    def now(finished: int, run: int, sender: int) -> Moment:
        """Take it all as near together as can be."""
        tree = usage.family(run)
        return Moment(
            finished,
            time.monotonic(),
            sum(one.cpu_s for one in tree),
            sum(one.system_s for one in tree),
            sum(one.faults for one in tree),
            usage.wanted_s(sender),
            usage.busy_s(),
        )


@dataclass(frozen=True)
class Window:
    """What was used between two moments, by the frame; and before, by all frames together.

    Attributes
    ----------
    cpu_ms, system_ms, faults
        A frame's.
    sender_busy
        Part of the time in which the busiest thread of the sender ran, or wanted to: near 1, it was the limit.
    others_cores
        Cores that whatever else runs on the machine kept busy, the sender included.
    open_s
        Processor time until the run asked for the first frame; None where that is not known.
    first_s
        Processor time that the frames before the window took beyond what they would have taken in it; where `open_s` is not
        known, with that of the start.
    peak_mb
        Most memory that was seen, of all processes together, shared pages counted once.
    """

    frames: int
    seconds: float
    cpu_ms: float
    system_ms: float
    faults: float
    sender_busy: float
    others_cores: float
    open_s: float | None
    first_s: float
    peak_mb: float

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.frames / self.seconds


def window(opened: Moment | None, first: Moment, last: Moment, peak_mb: float) -> Window:
    """The figures between `first` and `last`; `opened` is when the first frame was asked for."""
    frames, seconds = last.finished - first.finished, last.at_s - first.at_s
    cpu_s = last.cpu_s - first.cpu_s
    each = 1.0 / max(frames, 1)
    wanted_s = [wanted - first.sender_s.get(thread, 0.0) for thread, wanted in last.sender_s.items()]
    begun_s = opened.cpu_s if opened is not None else 0.0
    return Window(
        frames,
        round(seconds, 3),
        cpu_ms=round(1e3 * cpu_s * each, 4),
        system_ms=round(1e3 * (last.system_s - first.system_s) * each, 4),
        faults=round((last.faults - first.faults) * each, 1),
        sender_busy=round(max(wanted_s, default=0.0) / seconds, 3),
        others_cores=round(max(0.0, last.busy_s - first.busy_s - cpu_s) / seconds, 2),
        open_s=round(begun_s, 2) if opened is not None else None,
        first_s=round(first.cpu_s - begun_s - first.finished * cpu_s * each, 2),
        peak_mb=round(peak_mb, 1),
    )


def watch(said: Iterator[dict[str, Any]], run: int, sender: int, *, warm: int, seconds: float, least: int) -> Window:
    """Follow a run by what it says (``finished``), from its `warm`-th frame on for so many seconds and frames at least."""
    opened = first = None
    peak_mb, looked_s = 0.0, 0.0
    for line in said:
        finished = line["finished"]
        if finished == 0 and opened is None:
            opened = Moment.now(0, run, sender)
        if finished < warm:
            continue
        last = Moment.now(finished, run, sender)
        first = first or last
        if last.at_s - looked_s >= MEMORY_EVERY_S:
            looked_s = last.at_s
            peak_mb = max(peak_mb, sum(one.share for one in usage.memory(run)))
        if last.at_s - first.at_s >= seconds and last.finished - first.finished >= least:
            return window(opened, first, last, peak_mb)
    raise SystemExit("the run said nothing more")
