"""What a geometry file says, before any frame has come: panels in their places, masks, bad regions, groups."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stages.records.geometry import Panel

MAX_MASKS = 8
"""Masks per panel, mask0 to mask7."""


@dataclass(frozen=True)
class MaskSource:
    """Where one mask of a panel comes from and how its bits are read.

    A pixel is bad unless all bits of `goodbits` are set in the mask, or if any of `badbits` is set.
    """

    number: int
    file: str = ""
    data: str = ""
    goodbits: int = 0
    badbits: int = 0


@dataclass(frozen=True)
class PlacedPanel:
    """A panel with its place in space, in the units of the file.

    Attributes
    ----------
    panel
        What does not depend on place.
    corner_px
        x and y of the corner of the first pixel, in pixels.
    fs_px, ss_px
        One step along fast and slow scan in the laboratory, in pixels.
    coffset_m
        Added to the camera length, metres.
    res_per_m
        Pixels per metre.
    mask_edge_pixels
        Width of the bad border.
    masks
        In the order of their numbers.
    saturation_map, saturation_map_file
        As in the file; not supported (see the reference page).
    line
        Where the panel is first mentioned.
    """

    panel: Panel
    corner_px: tuple[float, float]
    fs_px: tuple[float, float, float]
    ss_px: tuple[float, float, float]
    res_per_m: float
    coffset_m: float = 0.0
    mask_edge_pixels: int = 0
    masks: tuple[MaskSource, ...] = ()
    saturation_map: str = ""
    saturation_map_file: str = ""
    line: int = 0


@dataclass(frozen=True)
class BadRegion:
    """A rectangle of bad pixels: inclusive in data coordinates (fs, ss), or strictly inside in the laboratory (x, y).

    Attributes
    ----------
    name
        As in the file; it begins with ``bad``.
    panels
        Indices of the panels concerned, for a region in fs and ss.
    fs, ss
        Inclusive ranges in the data array; None for a region in x and y.
    x, y
        Exclusive ranges in pixels of each panel's own pixel size; NaN where the file does not say.
    """

    name: str
    panels: tuple[int, ...] = ()
    fs: tuple[int, int] | None = None
    ss: tuple[int, int] | None = None
    x: tuple[float, float] = (math.nan, math.nan)
    y: tuple[float, float] = (math.nan, math.nan)

    @property
    def in_laboratory(self) -> bool:
        """Whether it is given in x and y."""
        return self.fs is None


@dataclass(frozen=True)
class Group:
    """A named group of panels or of other groups; only geometry refinement uses them."""

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Note:
    """Something about a line that does not stop the run but that its author should know."""

    filename: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}: {self.text}" if self.line else f"{self.filename}: {self.text}"
