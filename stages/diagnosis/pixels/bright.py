"""Hot pixels: single pixels, or lines of them, far above what surrounds them in nearly every frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.diagnosis.finding import Finding
from stages.files.geom.edits import Edit
from stages.records.geometry import DetGeom
from stages.records.image import Image

SAMPLE = 20_000
"""Of so many pixels the level and the spread of a frame are taken."""
MANY_SPREADS = 5.0
"""A hot pixel exceeds the median by so many times what the brightest hundredth does."""
SHARP = 0.1
"""Pixels on both sides of a hot one, along fs or along ss, have less than this of its excess; a Bragg spot's have more."""
MOST = 2000
"""At most so many of a frame, the brightest."""
FEWEST_LOOKS, SHARE = 8, 0.85
"""A pixel is hot that was so in this share of so many frames or more."""
MOST_REGIONS = 20
"""So many are named one by one; for more a mask file is better."""


@dataclass(frozen=True, eq=False)
class Bright:
    """Sharp bright pixels of one frame.

    Attributes
    ----------
    place
        int64 (n, 5): panel, fs and ss on it, fs and ss in its array.
    value
        float64 (n,), ADU.
    names
        Of the panels.
    """

    place: NDArray[np.int64]
    value: NDArray[np.float64]
    names: tuple[str, ...]

    @staticmethod
    def of(image: Image, geom: DetGeom) -> Bright:
        """Find them."""
        views = geom.views(image)
        step = max(1, int(np.sqrt(sum(view.size for view in views) / SAMPLE)))
        sample = np.concatenate(
            [v[::step, ::step][b[::step, ::step] == 0] for v, b in zip(views, geom.bad, strict=True)]
        ).astype(np.float64)
        sample = sample[np.isfinite(sample)]
        places, values = [], []
        if len(sample):
            median, high = np.percentile(sample, (50, 99))
            photon = min(geom.adu_per_photon(number) for number in range(len(views)))
            threshold = median + max(MANY_SPREADS * (high - median), MANY_SPREADS * photon)
            for number, (view, bad) in enumerate(zip(views, geom.bad, strict=True)):
                ss, fs, value = _sharp(view, bad, float(median), float(threshold))
                panel = geom.panels[number]
                places.append(
                    np.stack([np.full_like(fs, number), fs, ss, fs + panel.min_fs, ss + panel.min_ss], axis=1)
                )
                values.append(value)
        names = tuple(panel.name for panel in geom.panels)
        if not places:
            return Bright(np.zeros((0, 5), np.int64), np.zeros(0), names)
        place, value = np.concatenate(places), np.concatenate(values)
        brightest = np.argsort(-value, kind="stable")[:MOST]
        return Bright(place[brightest], value[brightest], names)


def _sharp(
    view: NDArray[Any], bad: NDArray[np.uint8], level: float, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """ss, fs and value of good pixels above the threshold that stand alone along fs or along ss."""
    limit = np.ceil(threshold) if view.dtype.kind in "iu" else threshold
    if view.dtype.kind in "iu" and limit > np.iinfo(view.dtype.name).max:
        limit = np.iinfo(view.dtype.name).max
    # a threshold of the pixels' own type, so that they are compared as they are
    # flat indices of a contiguous array are found several times faster than pairs of them
    above = np.flatnonzero(np.ascontiguousarray(np.greater(view, view.dtype.type(limit))))
    ss, fs = np.divmod(above, view.shape[1])
    good = bad[ss, fs] == 0
    ss, fs = ss[good].astype(np.int64), fs[good].astype(np.int64)
    value = view[ss, fs].astype(np.float64)
    finite = np.isfinite(value)
    ss, fs, value = ss[finite], fs[finite], value[finite]
    excess = SHARP * (value - level) + level
    height, width = view.shape
    alone = np.zeros(len(fs), bool)
    for d_ss, d_fs in ((0, 1), (1, 0)):
        there = np.ones(len(fs), bool)
        for sign in (-1, 1):
            y, x = ss + sign * d_ss, fs + sign * d_fs
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            beside = view[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)].astype(np.float64)
            there &= ~inside | (beside < excess)
        alone |= there
    return ss[alone], fs[alone], value[alone]


class Hot:
    """Counts in how many frames each pixel was bright."""

    def __init__(self, regions: frozenset[str]) -> None:
        self._regions = regions
        self._looks = 0
        self._seen: dict[tuple[int, ...], tuple[int, float]] = {}
        self._names: tuple[str, ...] = ()

    def take(self, bright: Bright) -> None:
        """Count a frame's; those that were bright in few frames are forgotten."""
        self._looks += 1
        self._names = bright.names
        for place, value in zip(map(tuple, bright.place.tolist()), bright.value.tolist(), strict=True):
            times, total = self._seen.get(place, (0, 0.0))
            self._seen[place] = (times + 1, total + value)
        if self._looks % FEWEST_LOOKS == 0:
            self._seen = {place: seen for place, seen in self._seen.items() if seen[0] > 0.3 * self._looks}

    def _hot(self) -> dict[tuple[int, ...], float]:
        if self._looks < FEWEST_LOOKS:
            return {}
        return {place: total / times for place, (times, total) in self._seen.items() if times >= SHARE * self._looks}

    def places(self) -> set[tuple[int, int, int]]:
        """Panel, fs and ss of the hot pixels."""
        return {(place[0], place[1], place[2]) for place in self._hot()}

    def findings(self) -> list[Finding]:
        """Return what is known of hot pixels."""
        hot = self._hot()
        if not hot:
            return []
        ordered = sorted(hot, key=lambda place: (-hot[place], place))
        named = [
            f"{self._names[panel]} fs {fs} ss {ss} ({hot[panel, fs, ss, x, y]:.4g} ADU)"
            for panel, fs, ss, x, y in ordered[:3]
        ]
        regions = _rectangles(hot)
        edits: list[Edit] = []
        if len(regions) <= MOST_REGIONS:
            names = (name for n in range(10_000) if (name := f"badhot{n}") not in self._regions)
            for name, (panel, x0, x1, y0, y1) in zip(names, regions, strict=False):
                values = (self._names[panel], x0, x1, y0, y1)
                directives = ("panel", "min_fs", "max_fs", "min_ss", "max_ss")
                edits += [Edit(f"{name}/{d}", str(v), "hot") for d, v in zip(directives, values, strict=True)]
            advice = "mask them as bad regions"
        else:
            advice = "mask them with a mask file (mask0_file)"
        text = (
            f"{len(hot)} hot pixel{'s' * (len(hot) > 1)}, far above all around in nearly all of {self._looks} frames that were "
            f"looked at: {', '.join(named)}{' ...' if len(hot) > 3 else ''}; {advice}"
        )
        return [
            Finding("hot_pixels", text, f"{len(hot)} hot pixels", self._looks, True, {"pixels": len(hot)}, tuple(edits))
        ]


def _rectangles(places: dict[tuple[int, ...], float]) -> list[tuple[int, int, int, int, int]]:
    """Panel and inclusive ranges in the array (fs, then ss) of runs along fs, and of equal runs one above the other."""
    runs: list[list[int]] = []
    for panel, _, _, x, y in sorted(places, key=lambda p: (p[0], p[4], p[3])):
        if runs and runs[-1][0] == panel and runs[-1][3] == y and runs[-1][2] == x - 1:
            runs[-1][2] = x
        else:
            runs.append([panel, x, x, y, y])
    merged: dict[tuple[int, int, int, int], list[int]] = {}
    for panel, x0, x1, y0, _ in runs:
        below = merged.pop((panel, x0, x1, y0 - 1), None)
        merged[panel, x0, x1, y0] = [below[0] if below else y0, y0]
    return [(panel, x0, x1, y0, y1) for (panel, x0, x1, _), (y0, y1) in merged.items()]
