"""How a run goes, on a terminal: rates and their curves, what the source and the analyses say, why frames were rejected.

It is made for 80 x 24, with room left for the log above it; a larger window has longer and higher curves and more reasons. And
it is calm: numbers have their columns, a line that was there stays, a scale that has grown does not shrink.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from rich.text import Text

from pipeline.amounts import several
from pipeline.command_line.curves import bars, round_top
from pipeline.command_line.history import History
from pipeline.command_line.in_words import silence, source
from pipeline.command_line.wrapped import pieces, wrapped
from pipeline.counts import FRAMES
from pipeline.watching import Progress

NARROWEST, LOWEST = 60, 16
"""Columns and lines below which there is no room for it."""

_FOR_LOG = 3
"""Lines that are left to the log."""

_SO_FAR, _NOW, _SCALE = 11, 10, 9
"""Columns of numbers."""

_LONGEST_LABEL = 20
_HIGHEST = 4
"""Lines of a curve."""

_LONG_S = 30.0
"""Without a frame for so long, this is said in another colour."""

_LABEL, _CURVE, _NOTABLE, _WRONG = "bold", "cyan", "yellow", "bold red"


@dataclass(frozen=True)
class _Row:
    """One number over time: its name, what it is so far and now, the curve from 0 to `top`, by columns."""

    label: str
    so_far: str
    now: str
    curve: Callable[[int], list[float]]
    top: float
    scale: str
    is_high: bool = True


class Panel:
    """What is shown of one run.

    Parameters
    ----------
    ascii_only
        Whether the terminal has no letters but these.
    """

    def __init__(self, *, ascii_only: bool = False) -> None:
        self._ascii_only = ascii_only
        self._history = History()
        self._top = 1.0
        self._room: dict[str, int] = {}
        self._width = 0
        self._drawn: dict[str, list[str]] = {}
        self._drawn_of = (-1, 0, 0)
        self._texts: dict[str, tuple[str, str]] = {}

    def take(self, progress: Progress) -> None:
        """Take how it stands into the curves; to be called as often as that is known."""
        self._history.add(progress)

    def lines(self, progress: Progress, width: int, height: int) -> list[Text]:
        """Return the lines, none longer than `width`, at most `height` less a few for the log."""
        if width != self._width:
            self._room, self._width = {}, width
        texts = self._texts = dict.fromkeys(self._texts, ("", "")) | _texts(progress)
        label = min(_LONGEST_LABEL, max(map(len, [*_labels(progress), *texts])))
        columns = max(1, width - label - _SO_FAR - _NOW - _SCALE - 3)
        rows = list(self._rows(progress, columns))
        curve_lines = max(1, min(_HIGHEST, (height - 20) // len(rows)))
        if (self._history.version, columns, height) != self._drawn_of:
            self._drawn, self._drawn_of = {}, (self._history.version, columns, height)
        shown = [self._title(progress, width), self._heading(label, columns)]
        for row in rows:
            shown += self._lines_of(row, label, columns, curve_lines if row.is_high else 1)
        for name, (text, style) in texts.items():
            shown += self._said(name, wrapped(pieces(text), width - label - 1), label, style)
        if _is_of_frames(progress):
            reasons = _reasons(progress, width - label - 1, most=max(2, (height - 20) // 4))
            shown += self._said("rejections", reasons, label, _NOTABLE if progress.rejections else "")
        return shown[: max(1, height - _FOR_LOG)]

    def _title(self, progress: Progress, width: int) -> Text:
        hours, rest = divmod(int(progress.elapsed_s), 3600)
        line = "-" if self._ascii_only else "─"
        left = f"{line * 2} {hours}:{rest // 60:02}:{rest % 60:02} "
        right = f" Ctrl-C ends the run {line * 2}"
        return Text(left + line * max(0, width - len(left) - len(right)) + right, no_wrap=True)

    def _heading(self, label: int, columns: int) -> Text:
        seconds = self._history.column_s(columns)
        each = f"{seconds:g} s" if seconds < 60 else f"{seconds / 60:.3g} min"
        since = f"from the start, {each} each"
        text = f"{'':{label}}{'so far':>{_SO_FAR}}{'now':>{_NOW}}  {since[:columns]}"
        return Text(text, no_wrap=True)

    def _rows(self, progress: Progress, columns: int) -> Iterator[_Row]:
        history = self._history
        self._top = max(self._top, round_top(max(history.frames_per_s(columns), default=0.0)))
        now = "-" if math.isnan(history.frames_per_s_now()) else f"{history.frames_per_s_now():.1f}/s"
        yield _Row("frames", f"{progress.received:,}", now, history.frames_per_s, self._top, f"{self._top:,.0f}/s")
        for count in progress.shown:
            if not count.share_of:
                continue
            whole = "" if count.share_of == FRAMES else count.share_of
            total = progress.counts.get(whole, 0) if whole else progress.finished
            yield _Row(
                _label(count.words, whole),
                _percent(progress.counts.get(count.name, 0) / total if total else math.nan),
                _percent(history.share_now(count.name, whole)),
                partial(history.shares, count.name, whole),
                1.0,
                "100 %",
            )
        if _is_of_frames(progress):
            yield _Row(
                "rejected",
                f"{progress.rejected:,}",
                _percent(history.rejected_now()),
                history.rejected,
                1.0,
                "100 %",
                is_high=False,
            )

    def _lines_of(self, row: _Row, label: int, columns: int, lines: int) -> Iterator[Text]:
        drawn = self._drawn.get(row.label)
        if drawn is None:
            drawn = self._drawn[row.label] = bars(row.curve(columns), row.top, lines, ascii_only=self._ascii_only)
        for n, line in enumerate(drawn):
            is_last = n == lines - 1
            text = Text(no_wrap=True)
            text.append(f"{row.label[:label] if is_last else '':{label}}", _LABEL)
            text.append(f"{row.so_far if is_last else '':>{_SO_FAR}}{row.now if is_last else '':>{_NOW}}  ")
            text.append(f"{line[:columns]:{columns}}", _CURVE)
            text.append(f" {row.scale}" if n == 0 else "")
            yield text

    def _said(self, name: str, lines: Iterator[str] | Sequence[str], label: int, style: str) -> Iterator[Text]:
        """The lines of a text behind its name, as many as it has had before."""
        said = list(lines)
        room = self._room[name] = max(self._room.get(name, 1), len(said))
        for n in range(room):
            text = Text(no_wrap=True)
            text.append(f"{name[:label] if n == 0 else '':{label}} ", _LABEL)
            text.append(said[n] if n < len(said) else "", style)
            yield text


def _is_of_frames(progress: Progress) -> bool:
    """Whether it is of a run that looks into frames; what records or hands on messages rejects none."""
    return bool(progress.shown or progress.rejected)


def _labels(progress: Progress) -> list[str]:
    shares = [count for count in progress.shown if count.share_of]
    return ["rejections", *(_label(c.words, "" if c.share_of == FRAMES else c.share_of) for c in shares)]


def _label(words: str, whole: str) -> str:
    return f"{words} of {whole.replace('_', ' ')}" if whole else words


def _texts(progress: Progress) -> dict[str, tuple[str, str]]:
    """What is said in words, by the name that stands before it, each with its style."""
    half = "-"
    if not math.isnan(progress.latency_ms):
        half = f"{progress.latency_ms:.0f} ms half of all, {progress.latency_99_ms:.0f} ms 99 of 100"
    besides = [f"{progress.in_flight} in flight"]
    besides += [f"{progress.dropped:,} dropped"] if progress.dropped else []
    besides += [f"{progress.lost:,} lost before receipt"] if progress.lost else []
    analyses = progress.statuses or ({"also": progress.live} if progress.live else {})
    return {
        progress.latency_to: (", ".join([half, *besides]), ""),
        "source": _source(progress),
        **{name: (text, "") for name, text in analyses.items()},
    }


def _source(progress: Progress) -> tuple[str, str]:
    if progress.sender_lost_since_unix_s is not None:
        return progress.status, _WRONG
    is_long = silence(progress) and progress.silent_s >= _LONG_S
    return source(progress), _NOTABLE if is_long else ""


def _reasons(progress: Progress, width: int, most: int) -> list[str]:
    """Why frames were rejected, in as many lines: the most frequent reasons, in the order in which they came first."""
    if not progress.rejections:
        return ["none"]
    by_count = sorted(progress.rejections, key=lambda where: -progress.rejections[where])
    for shown in range(len(by_count), 0, -1):
        chosen = set(by_count[:shown])
        said = [
            f"{count:,} {reason} at {node},"
            for (node, reason), count in progress.rejections.items()
            if (node, reason) in chosen
        ]
        left_out = len(by_count) - shown
        lines = list(wrapped([*said, f"and {several(left_out, 'reason')} more"] if left_out else said, width))
        if len(lines) <= most:
            return lines
    return lines[:most]


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"
