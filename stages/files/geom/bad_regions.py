"""Bad regions: rectangles of pixels to leave out, in the data array (fs, ss) or in the laboratory (x, y)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.files.geom.model import BadRegion, PlacedPanel
from stages.files.geom.text import BadValue, leading_number, suggestion, whole

DATA_RANGES = ("min_fs", "max_fs", "min_ss", "max_ss")
LABORATORY_RANGES = ("min_x", "max_x", "min_y", "max_y")
REGION_DIRECTIVES = (*DATA_RANGES, *LABORATORY_RANGES, "panel")


@dataclass
class RegionDraft:
    """A bad region as far as the file has been read."""

    name: str
    line: int
    ranges: dict[str, float] = field(default_factory=dict)
    panel: str = ""

    def read(self, directive: str, text: str) -> None:
        """Take one directive's value; raises BadValue, or KeyError for a directive that a bad region has not."""
        if directive == "panel":
            self.panel = text
            return
        if directive not in REGION_DIRECTIVES:
            raise KeyError(directive)
        other = LABORATORY_RANGES if directive in DATA_RANGES else DATA_RANGES
        mixed = [name for name in other if name in self.ranges]
        if mixed:
            raise BadValue(
                f"cannot be: {self.name} has {mixed[0]} already, and fs and ss cannot be mixed with x and y in one region"
            )
        number, _ = leading_number(text)
        self.ranges[directive] = whole(number) if directive in DATA_RANGES else number

    def finish(self, panels: Sequence[PlacedPanel], note: Callable[[str], None]) -> BadRegion:
        """Return the region as it is used; raises BadValue where it makes no sense."""
        if not self.ranges:
            raise BadValue(f"has no ranges; give {', '.join(DATA_RANGES)} and panel, or {', '.join(LABORATORY_RANGES)}")
        wanted = LABORATORY_RANGES if set(self.ranges) & set(LABORATORY_RANGES) else DATA_RANGES
        lacking = [name for name in wanted if name not in self.ranges]
        if wanted is LABORATORY_RANGES:
            if lacking:
                note(f"bad region {self.name} masks nothing, since it lacks {', '.join(lacking)}")
            if self.panel:
                note(f"bad region {self.name} is given in x and y, which concerns all panels; its 'panel' is not read")
            x, y = (tuple(self.ranges.get(f"{end}_{axis}", math.nan) for end in ("min", "max")) for axis in "xy")
            return BadRegion(self.name, x=(x[0], x[1]), y=(y[0], y[1]))
        if lacking:
            note(f"bad region {self.name} lacks {', '.join(lacking)}, which counts as 0")
        fs, ss = (tuple(int(self.ranges.get(f"{end}_{axis}", 0)) for end in ("min", "max")) for axis in ("fs", "ss"))
        region = BadRegion(self.name, fs=(fs[0], fs[1]), ss=(ss[0], ss[1]))
        if fs[1] < fs[0] or ss[1] < ss[0]:
            note(f"bad region {self.name} masks nothing: its maximum is below its minimum")
        return BadRegion(self.name, self._panels(region, panels, note), region.fs, region.ss)

    def _panels(self, region: BadRegion, panels: Sequence[PlacedPanel], note: Callable[[str], None]) -> tuple[int, ...]:
        names = [p.panel.name for p in panels]
        fs, ss = region.fs, region.ss
        assert fs is not None
        assert ss is not None
        if self.panel:
            if self.panel not in names:
                raise BadValue(f"names panel {self.panel!r}, which is not in the file{suggestion(self.panel, names)}")
            p = panels[names.index(self.panel)].panel
            if fs[0] < p.min_fs or fs[1] > p.max_fs or ss[0] < p.min_ss or ss[1] > p.max_ss:
                raise BadValue(
                    f"goes beyond panel {p.name}: fs {fs[0]}-{fs[1]}, ss {ss[0]}-{ss[1]}, "
                    f"and the panel has fs {p.min_fs}-{p.max_fs}, ss {p.min_ss}-{p.max_ss}"
                )
            return (names.index(self.panel),)
        touched = tuple(
            i
            for i, placed in enumerate(panels)
            if fs[0] <= placed.panel.max_fs
            and fs[1] >= placed.panel.min_fs
            and ss[0] <= placed.panel.max_ss
            and ss[1] >= placed.panel.min_ss
        )
        if not touched:
            raise BadValue(f"is outside all panels: fs {fs[0]}-{fs[1]}, ss {ss[0]}-{ss[1]}")
        if len(panels) > 1:
            note(
                f"bad region {self.name} names no panel, which CrystFEL 0.12 refuses; it is taken for every panel with "
                "such pixels. Programs that read the stream will want panel = ... there"
            )
        return touched


def paint_data_region(region: BadRegion, panels: Sequence[PlacedPanel], bad: Sequence[NDArray[np.uint8]]) -> None:
    """Mark the pixels of a region in fs and ss, both ends inclusive, as far as they lie on its panels."""
    assert region.fs is not None
    assert region.ss is not None
    for i in region.panels:
        p = panels[i].panel
        rows = slice(max(0, region.ss[0] - p.min_ss), max(0, region.ss[1] + 1 - p.min_ss))
        columns = slice(max(0, region.fs[0] - p.min_fs), max(0, region.fs[1] + 1 - p.min_fs))
        bad[i][rows, columns] = 1


def paint_laboratory_region(
    region: BadRegion, panels: Sequence[PlacedPanel], shift_m: tuple[float, float], bad: Sequence[NDArray[np.uint8]]
) -> None:
    """Mark the pixels whose first corner lies strictly inside a region in x and y, on every panel.

    x and y count pixels of each panel's own size from the beam, the detector's shift included.
    """
    for placed, mask in zip(panels, bad, strict=True):
        height, width = mask.shape
        fs, ss = np.arange(width), np.arange(height)[:, None]
        x0, y0 = (placed.corner_px[i] + shift_m[i] * placed.res_per_m for i in (0, 1))
        x = x0 + fs * placed.fs_px[0] + ss * placed.ss_px[0]
        y = y0 + fs * placed.fs_px[1] + ss * placed.ss_px[1]
        mask[(x > region.x[0]) & (x < region.x[1]) & (y > region.y[0]) & (y < region.y[1])] = 1
