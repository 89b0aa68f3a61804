"""How a run goes, in a line or in as many as fit.

>>> from pipeline.counts import FRAMES, Count
>>> from pipeline.watching import Progress
>>> now = Progress(received=200, in_flight=4, rejected=2, dropped=0, counts={"words": 120}, shown=(Count("words", FRAMES),),
...                frames_per_s=41.5, latency_ms=23.4, latency_99_ms=51.0, elapsed_s=5.0,
...                status="nobody listens", live="cell 79")
>>> line(now)
'200 frames, words 61.2 %, 2 rejected, 41.5 frames/s, receipt to disk 23 ms (99 %: 51 ms), 4 in flight, cell 79, nobody listens'
>>> print(fitted(now, width=86))
200 frames, words 61.2 %, 2 rejected
41.5 frames/s, receipt to disk 23 ms (99 %: 51 ms), 4 in flight, nobody listens
cell 79
>>> print(fitted(now, width=45))
200 frames, words 61.2 %, 2 rejected
41.5 frames/s
receipt to disk 23 ms (99 %: 51 ms)
4 in flight, nobody listens
cell 79
"""

from __future__ import annotations

import math

from pipeline.amounts import duration
from pipeline.command_line.wrapped import pieces, wrapped
from pipeline.counts import progress_parts
from pipeline.watching import Progress

QUIET_S = 5.0
"""Without a frame for so long, this is said."""

_NAMED = 3
"""So many reasons for which frames were rejected stand in the line."""


def line(progress: Progress) -> str:
    """Say in one line how a run goes; shares are of the frames that are finished."""
    parts = [*_what(progress), *_how_fast(progress), progress.live, source(progress)]
    return ", ".join(part for part in parts if part)


def fitted(progress: Progress, width: int, height: int = 24) -> str:
    """The same in lines of at most this many columns, as a terminal shows it; of a line that would be too long nothing is lost.

    What has come and what became of it is first, what analyses say has lines of its own. At most `height` lines less two
    for the log, should there be so many.
    """
    what = [f"{part}," for part in _what(progress)]
    how = [f"{part}," for part in _how_fast(progress)] + pieces(source(progress))
    one = " ".join([*what, *how]).rstrip(" ,")
    counts = [one] if len(one) <= width else [*wrapped(what, width), *wrapped(how, width)]
    lines = [*counts, *wrapped(pieces(progress.live), width)]
    return "\n".join(lines[: max(1, height - 2)])


def source(progress: Progress) -> str:
    """What the source says, and for how long it has sent nothing."""
    parts = (progress.status, silence(progress))
    return ", ".join(part for part in parts if part)


def silence(progress: Progress) -> str:
    """Say for how long no frame has come, if that is worth a word; of a sender that is lost that is said already."""
    is_quiet = progress.silent_s >= QUIET_S and progress.received and progress.sender_lost_since_unix_s is None
    return f"no frame for {duration(progress.silent_s)}" if is_quiet else ""


def _what(progress: Progress) -> list[str]:
    """What has come, and what became of it."""
    lost = (
        (progress.rejected, f"rejected{_reasons(progress)}"),
        (progress.dropped, "dropped"),
        (progress.lost, "lost before receipt"),
    )
    return [
        f"{progress.received} frames",
        *progress_parts(progress.shown, progress.counts, frames=progress.finished),
        *(f"{count} {what}" for count, what in lost if count),
    ]


def _reasons(progress: Progress) -> str:
    """The most frequent reasons, in brackets."""
    ranked = sorted(progress.rejections.items(), key=lambda item: -item[1])
    said = [f"{count} {reason}" for (_, reason), count in ranked[:_NAMED]]
    more = ["..."] if len(ranked) > _NAMED else []
    return f" ({', '.join([*said, *more])})" if said else ""


def _how_fast(progress: Progress) -> list[str]:
    return [
        f"{progress.frames_per_s:.1f} frames/s",
        f"{progress.latency_to} -"
        if math.isnan(progress.latency_ms)
        else f"{progress.latency_to} {progress.latency_ms:.0f} ms (99 %: {progress.latency_99_ms:.0f} ms)",
        *([f"{progress.in_flight} in flight"] if progress.in_flight else []),
    ]
