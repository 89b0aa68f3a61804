"""The plots of a verdict's page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.comparison.chosen import Against
from stages.comparison.estimates import course
from stages.comparison.sentences import scale_of as scale_of_difference
from stages.comparison.sentences import unit_of as unit_of_difference
from stages.comparison.svg import BAD, GOOD, INK, LINE, QUIET, Box, drawn, series, stroke, width_of
from stages.comparison.table import MEASURES, FrameTable, Measure
from stages.comparison.words import scale_of, short, unit_of
from stages.merging.shells import Quality

Floats = NDArray[np.float64]

_WIDTH, _HEIGHT = 440.0, 270.0
"""A plot is as wide as a telephone; on a wider screen several stand beside each other."""

_ROW, _ROOM_FOR_AXIS = 22.0, 50.0
_MARGIN, _NUMBERS = 12.0, 46.0
_LONGEST_NAME = 18
_BOLD = 1.08
_APART = 0.065
"""Part of the plot's height that names at the ends of lines take."""

_SETTLED = 0.15
"""Before this part of a run the mean moves too much to set the limits of its plot."""

_LEAST_ANGLE_DEG = 0.003
_NAME_AND_PART = 13
_DECADES = 20.0
"""Largest time to smallest from which on times are drawn in decades."""


def means_over_frames(table: FrameTable, aim: str) -> str:
    """How the measure's mean and its interval have come about, for each variant."""
    measure = MEASURES[aim]
    scale = scale_of(measure)

    def draw(axes: Any) -> None:
        ends, reach = [], []
        for i, (name, column) in enumerate(zip(table.variants, table.column(aim).T, strict=True)):
            way = course(column, is_rate=measure.is_rate)
            if not len(way.frames):
                continue
            low, mean, high = (scale * values for values in (way.low, way.mean, way.high))
            axes.fill_between(way.frames, low, high, color=series(i), alpha=0.16, linewidth=0)
            axes.plot(way.frames, mean, color=series(i), linestyle=stroke(i), linewidth=1.7)
            settled = way.frames >= _SETTLED * len(table)
            reach += [np.nanmin(np.append(low[settled], mean[-1])), np.nanmax(np.append(high[settled], mean[-1]))]
            ends.append((name, i, float(mean[-1])))
        _limit(axes, reach)
        axes.set_xlim(0, max(2, len(table)))
        axes.set_xlabel("frames")
        axes.set_ylabel(unit_of(measure))
        _grid(axes, "y")
        _name_ends(axes, ends)

    return drawn(draw, "course", f"{measure.words}, over the frames", _curves(table.variants))


def differences(measure: Measure, rows: Sequence[tuple[str, Against]]) -> str:
    """Differences of one measure as intervals, by variant; the band within which nobody cares is shaded."""
    scale, size = scale_of_difference(measure), rows[0][1].size

    def draw(axes: Any) -> None:
        axes.axvspan(-scale * size, scale * size, color=LINE, alpha=0.45, linewidth=0)
        axes.axvline(0.0, color=QUIET, linewidth=1.0)
        for at, (_, row) in enumerate(rows):
            colour = {1: GOOD, -1: BAD}.get(row.sense, QUIET)
            axes.plot(
                [scale * row.low, scale * row.high], [at, at], color=colour, linewidth=2.4, solid_capstyle="round"
            )
            axes.plot(scale * row.difference, at, {1: "^", -1: "v"}.get(row.sense, "o"), color=colour, markersize=6.5)
        axes.set_yticks(range(len(rows)), [short(name, _LONGEST_NAME) for name, _ in rows], color=INK)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        reach = max((abs(x) for _, row in rows for x in (row.low, row.high) if math.isfinite(x)), default=0.0)
        reach = 1.08 * scale * max(reach, 1.3 * size) or 1.0
        axes.set_xlim(-reach, reach)
        axes.locator_params(axis="x", nbins=7)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(unit_of_difference(measure))
        _grid(axes, "x")

    return drawn(draw, f"differences-{measure.name}", measure.words, _rows([name for name, _ in rows], _ROW))


def times(table: FrameTable, order: Sequence[int]) -> str:
    """Time per frame: the middle half as a bar, its median, 5 and 95 of 100 as a line, the mean as a ring."""
    columns = [column[np.isfinite(column)] for column in table.column("ms").T]
    known = [(table.variants[i], i, columns[i]) for i in order if len(columns[i])]

    def draw(axes: Any) -> None:
        from matplotlib.ticker import LogLocator

        for at, (_, i, column) in enumerate(known):
            least, low, median, high, most = np.percentile(column, (5, 25, 50, 75, 95))
            axes.plot([least, most], [at, at], color=series(i), linewidth=1.4)
            axes.plot([low, high], [at, at], color=series(i), linewidth=9, alpha=0.45, solid_capstyle="butt")
            axes.plot([median, median], [at - 0.3, at + 0.3], color=INK, linewidth=1.6)
            axes.plot(column.mean(), at, "o", markersize=5, markerfacecolor="none", markeredgecolor=INK)
        limits = np.array([np.percentile(column, (5, 95)) for *_, column in known])
        if limits.min() > 0 and limits.max() > _DECADES * limits.min():
            axes.set_xscale("log")
            axes.set_xlim(0.8 * limits.min(), 1.25 * limits.max())
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.minorticks_off()
        else:
            axes.set_xlim(0, 1.06 * limits.max() or 1.0)
        axes.set_yticks(range(len(known)), [short(name, _LONGEST_NAME) for name, *_ in known], color=INK)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(known) - 0.4, -0.6)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("ms per frame")
        _grid(axes, "x")

    return drawn(draw, "times", "time per frame", _rows([name for name, *_ in known], 1.25 * _ROW))


def angles(table: FrameTable, reference: int) -> str:
    """In which part of the frames orientations agree with the reference's within an angle."""

    def draw(axes: Any) -> None:
        ends = []
        apart = np.degrees(table.angles_to(reference))
        for i, name in enumerate(table.variants):
            found = np.sort(apart[np.isfinite(apart[:, i]), i])
            if i == reference or not len(found):
                continue
            part = 100 * np.arange(1, len(found) + 1) / len(found)
            found = np.concatenate([[_LEAST_ANGLE_DEG], np.maximum(found, _LEAST_ANGLE_DEG), [180.0]])
            part = np.concatenate([[0.0], part, [100.0]])
            axes.step(found, part, where="post", color=series(i), linestyle=stroke(i), linewidth=1.7)
            within = float(np.interp(1.0, found, part))
            ends.append((f"{short(name, _NAME_AND_PART)} {within:.0f} %", i, within))
        axes.set_xscale("log")
        axes.set_xlim(_LEAST_ANGLE_DEG, 180)
        axes.set_ylim(0, 102)
        axes.axvline(1.0, color=QUIET, linewidth=0.9, linestyle=":")
        axes.set_xlabel("degrees apart, up to symmetry")
        axes.set_ylabel("% of frames")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        _grid(axes, "y")
        _name_ends(axes, ends)

    return drawn(draw, "angles", f"orientations against {table.variants[reference]}", _curves(table.variants))


def cc_half_by_shell(variants: Sequence[str], merged: Mapping[str, Quality]) -> str:
    """CC1/2 in shells of resolution, for each variant."""

    def draw(axes: Any) -> None:
        ends = []
        for i, name in enumerate(variants):
            shells = [shell for shell in merged[name].shells if math.isfinite(shell.cc_half)] if name in merged else []
            if not shells:
                continue
            x = [(shell.d_min_angstrom**-3 + shell.d_max_angstrom**-3) / 2 for shell in shells]
            cc = [shell.cc_half for shell in shells]
            axes.plot(x, cc, "o-", color=series(i), linestyle=stroke(i), linewidth=1.7, markersize=3.5)
            ends.append((name, i, cc[-1]))
        _, right = axes.get_xlim()
        at = np.linspace(0.0, right, 6)[1:]
        axes.set_xticks(at, [f"{x ** (-1 / 3):.1f}" for x in at])
        axes.set_xlim(0, right)
        low, _ = axes.get_ylim()
        axes.set_ylim(min(0.0, low), 1.02)
        axes.set_xlabel("resolution, Å")
        _grid(axes, "y")
        _name_ends(axes, ends)

    return drawn(draw, "shells", "CC1/2 in shells of resolution", _curves(variants))


def _curves(names: Sequence[str]) -> Box:
    """Room for lines, with names at their ends."""
    longest = max(width_of(short(name, _LONGEST_NAME)) for name in names)
    return Box(_WIDTH, _HEIGHT, _NUMBERS, max(longest, width_of("100 %")) * _BOLD + _MARGIN)


def _rows(names: Sequence[str], height: float) -> Box:
    """Room for a row for each name, which stands on the left."""
    left = max((width_of(short(name, _LONGEST_NAME)) for name in names), default=0.0)
    return Box(_WIDTH, _ROOM_FOR_AXIS + height * len(names), left + _MARGIN, _MARGIN)


def _grid(axes: Any, axis: str) -> None:
    axes.grid(axis=axis)
    axes.tick_params(axis=axis, length=0)


def _limit(axes: Any, reach: Sequence[float]) -> None:
    known = [value for value in reach if math.isfinite(value)]
    if known:
        low, high = min(known), max(known)
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)


def _name_ends(axes: Any, ends: Sequence[tuple[str, int, float]]) -> None:
    """Write the variants' names beside the ends of their lines, apart from each other."""
    low, high = axes.get_ylim()
    heights = _spread([(end[2] - low) / (high - low) for end in ends])
    for (name, i, _), height in zip(ends, heights, strict=True):
        axes.annotate(
            short(name, _LONGEST_NAME),
            (1.0, height),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            color=series(i),
            va="center",
            fontweight="bold",
        )


def _spread(heights: Sequence[float]) -> list[float]:
    """Move heights between 0 and 1 as far apart as names need, keeping their order.

    >>> [round(height, 3) for height in _spread([0.5, 0.51, 0.1])]
    [0.473, 0.537, 0.1]
    """
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    groups: list[tuple[float, int]] = []  # centre, members
    for i in order:
        group = _inside(heights[i], 1)
        while groups and group[0] - groups[-1][0] < _APART * (group[1] + groups[-1][1]) / 2:
            centre, members = groups.pop()
            group = _inside((centre * members + group[0] * group[1]) / (members + group[1]), members + group[1])
        groups.append(group)
    placed = [centre + _APART * (k - (members - 1) / 2) for centre, members in groups for k in range(members)]
    found = [0.0] * len(heights)
    for i, height in zip(order, placed, strict=True):
        found[i] = height
    return found


def _inside(centre: float, members: int) -> tuple[float, int]:
    """A group of names, moved into the plot."""
    half = min(0.5, _APART * (members - 1) / 2)
    return min(1.0 - half, max(half, centre)), members
