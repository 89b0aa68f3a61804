"""What a geometry file says, before any frame has come: panels in their places, masks, bad regions, groups, and all of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from stages.files.geom.units import Quantity
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


@dataclass(frozen=True)
class GeometryFile:
    """A parsed geometry file. Two are equal if their texts are.

    Attributes
    ----------
    text, filename
        Verbatim text of the file, and what it is called in messages.
    panels
        In the order in which the file first mentions them.
    energy
        ``photon_energy``, ``wavelength`` or ``electron_voltage``, read as photon energy in eV; None if none is given.
    clen, shift_x, shift_y
        In metres; no shift is None.
    bandwidth
        Relative.
    peak_list, peak_list_type
        Key of the peak list ("" if not given), and its type, which means nothing for streamed data.
    bad_regions, groups
        As in the file; groups mean nothing to processing.
    warnings
        What the file's author should know: unknown directives, and what is ignored.
    """

    text: str
    filename: str = field(compare=False)
    panels: tuple[PlacedPanel, ...] = field(compare=False, repr=False)
    energy: Quantity | None = field(compare=False)
    clen: Quantity = field(compare=False)
    shift_x: Quantity | None = field(default=None, compare=False)
    shift_y: Quantity | None = field(default=None, compare=False)
    bandwidth: float = field(default=1e-8, compare=False)
    peak_list: str = field(default="", compare=False)
    peak_list_type: str = field(default="auto", compare=False)
    bad_regions: tuple[BadRegion, ...] = field(default=(), compare=False, repr=False)
    groups: tuple[Group, ...] = field(default=(), compare=False, repr=False)
    warnings: tuple[Note, ...] = field(default=(), compare=False, repr=False)
