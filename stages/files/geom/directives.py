"""The directives of a panel: their names, what their values may be, and what a panel keeps of them.

Every one may stand at the top of the file too, and then holds for the panels that are first mentioned after it.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from stages.files.geom.model import MAX_MASKS, MaskSource, PlacedPanel
from stages.files.geom.text import BadValue, bit_set, direction, leading_number, suggestion, truth, whole
from stages.records.geometry import Panel

MAX_DIMS = 16
"""dim0 to dim15."""
MAX_FLAGS = 16
"""Flag values of one panel, those of the defaults included."""

REQUIRED = ("fs", "ss", "min_fs", "max_fs", "min_ss", "max_ss", "corner_x", "corner_y", "res")
"""What a panel must have; a gain, adu_per_photon or adu_per_eV, besides."""

_RANGES = ("min_fs", "max_fs", "min_ss", "max_ss")
_NUMBERS = ("corner_x", "corner_y", "coffset", "res", "max_adu", "adu_per_photon", "adu_per_eV")
_POSITIVE = ("res", "adu_per_photon", "adu_per_eV")
_TEXTS = ("data", "saturation_map", "saturation_map_file")
_FLAGS = ("flag_lessthan", "flag_morethan", "flag_equal")
_OLD_MASKS = {
    "mask": "mask0_data",
    "mask_file": "mask0_file",
    "mask_good": "mask0_goodbits",
    "mask_bad": "mask0_badbits",
}
_MASK = re.compile(r"mask(\d+)_(file|data|goodbits|badbits)")
_DIM = re.compile(r"dim(\d*)")

PANEL_DIRECTIVES = (
    *REQUIRED,
    *(n for n in _NUMBERS if n not in REQUIRED),
    *_TEXTS,
    *_FLAGS,
    *_OLD_MASKS,
    *(f"mask{i}_{what}" for i in range(MAX_MASKS) for what in ("data", "file", "goodbits", "badbits")),
    *(f"dim{i}" for i in range(MAX_DIMS)),
    "mask_edge_pixels",
    "no_index",
    "badrow_direction",
)
"""Every directive that a panel may have, for suggestions."""


class UnknownDirective(Exception):
    """A name that is no directive of a panel."""


@dataclass
class MaskDraft:
    """What has been said of one mask so far."""

    file: str = ""
    data: str = ""
    goodbits: int = 0
    badbits: int = 0


@dataclass
class PanelDraft:
    """A panel, or the defaults, as far as the file has been read."""

    name: str = ""
    line: int = 0
    ranges: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    gain: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    directions: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    flags: list[tuple[str, float]] = field(default_factory=list)
    masks: dict[int, MaskDraft] = field(default_factory=dict)
    dims: dict[int, str | int] = field(default_factory=lambda: {0: "ss", 1: "fs"})
    mask_edge_pixels: int = 0
    no_index: bool = False

    def for_panel(self, name: str, line: int) -> PanelDraft:
        """Return a new panel that begins with these defaults."""
        new = copy.deepcopy(self)
        new.name, new.line = name, line
        return new

    def read(self, directive: str, text: str, note: Callable[[str], None]) -> None:
        """Take one directive's value; raises BadValue or UnknownDirective, notes what its author should know."""
        if directive in ("fs", "ss"):
            self.directions[directive] = direction(text)
        elif directive in _RANGES:
            self.ranges[directive] = whole(_number(directive, text, note))
            if self.ranges[directive] < 0:
                raise BadValue("should not be below 0")
        elif directive in _NUMBERS:
            self._read_number(directive, text, note)
        elif directive in _TEXTS:
            self.texts[directive] = text
            if directive.startswith("saturation"):
                note(
                    f"{directive} is not supported: streamajig refuses to run with it; give max_adu, or take the line out"
                )
        elif directive in _FLAGS:
            value = _number(directive, text, note)
            if math.isnan(value):
                raise BadValue("should be a number (NaN pixels are always bad)")
            if len(self.flags) >= MAX_FLAGS:
                raise BadValue(f"is one too many: a panel has at most {MAX_FLAGS} flag values")
            self.flags.append((directive, value))
        elif directive == "mask_edge_pixels":
            self.mask_edge_pixels = whole(_number(directive, text, note))
            if self.mask_edge_pixels < 0:
                note("a negative mask_edge_pixels masks nothing")
        elif directive == "no_index":
            self.no_index = truth(text)
        elif directive == "badrow_direction":
            note("badrow_direction is ignored, as in CrystFEL")
        elif directive.startswith("mask"):
            self._read_mask(directive, text)
        elif directive.startswith("dim") and _DIM.fullmatch(directive):
            self._read_dim(directive, text)
        elif directive == "clen":
            raise BadValue(
                "stands at a panel; CrystFEL 0.12 takes one clen for the whole file, and each panel's coffset added to it"
            )
        else:
            raise UnknownDirective(directive)

    def _read_number(self, directive: str, text: str, note: Callable[[str], None]) -> None:
        value = _number(directive, text, note)
        if math.isnan(value) or (math.isinf(value) and directive != "max_adu"):
            raise BadValue("should be a finite number")
        if directive in _POSITIVE and value <= 0:
            raise BadValue("should be above 0")
        self.numbers[directive] = value
        if directive.startswith("adu_per_"):
            self.gain = directive
        elif directive == "max_adu":
            note(
                "max_adu leaves saturated reflections out already here; CrystFEL's advice is --max-adu when merging instead"
            )

    def _read_mask(self, directive: str, text: str) -> None:
        match = _MASK.fullmatch(_OLD_MASKS.get(directive, directive))
        if match is None or int(match.group(1)) >= MAX_MASKS:
            raise BadValue(
                f"belongs to no mask directive; they are mask0_data to mask{MAX_MASKS - 1}_badbits"
                f"{suggestion(directive, PANEL_DIRECTIVES)}"
            )
        mask = self.masks.setdefault(int(match.group(1)), MaskDraft())
        what = match.group(2)
        if what == "file":
            mask.file = text
        elif what == "data":
            if not text.startswith("/"):
                raise BadValue("should be a path inside an HDF5 file, which begins with '/'")
            mask.data = text
        else:
            setattr(mask, what, bit_set(text))

    def _read_dim(self, directive: str, text: str) -> None:
        digits = directive.removeprefix("dim")
        if not digits:
            raise BadValue("needs to know which dimension is meant: write dim0, dim1, ...")
        number = int(digits)
        if number >= MAX_DIMS:
            raise BadValue(f"belongs to dimension {number}; there are at most {MAX_DIMS}")
        if text in ("ss", "fs", "%"):
            self.dims[number] = text
        elif text.isascii() and text.isdigit():
            self.dims[number] = int(text)
        else:
            raise BadValue("should be ss, fs, % (the frame) or a fixed index, e.g. a panel's number")

    def missing(self) -> list[str]:
        """Return the names of what the panel still lacks."""
        have = {*self.ranges, *self.numbers, *self.directions}
        return [name for name in REQUIRED if name not in have] + ([] if self.gain else ["adu_per_photon or adu_per_eV"])

    def problems(self) -> list[str]:
        """Return what is wrong with a panel that lacks nothing."""
        found = []
        for axis in ("fs", "ss"):
            low, high = self.ranges[f"min_{axis}"], self.ranges[f"max_{axis}"]
            if high < low:
                found.append(f"max_{axis} = {high} is below min_{axis} = {low}")
        f, s = self.directions["fs"], self.directions["ss"]
        normal = (f[1] * s[2] - f[2] * s[1], f[2] * s[0] - f[0] * s[2], f[0] * s[1] - f[1] * s[0])
        if math.hypot(*normal) < 1e-6 * math.hypot(*f) * math.hypot(*s):
            found.append("fs and ss have the same direction; they should span the panel")
        dims = [self.dims.get(i) for i in range(max(self.dims) + 1)]
        told = ", ".join(f"dim{i} = {dim}" for i, dim in enumerate(dims))
        if None in dims:
            found.append(f"a dimension is missing among {told}")
        elif dims.count("fs") != 1 or dims.count("ss") != 1:
            found.append(f"exactly one dimension should be fs and one ss, and there is {told}")
        elif dims.index("fs") < dims.index("ss"):
            found.append(f"fs should be a later dimension than ss, and there is {told}")
        for number, mask in sorted(self.masks.items()):
            if mask.file and not mask.data:
                found.append(f"mask{number}_file is given, and no mask{number}_data says where in the file the mask is")
            if (mask.goodbits or mask.badbits) and not (mask.file or mask.data):
                found.append(f"mask{number}_goodbits or _badbits is given, and no mask{number}_data")
        return found

    def finish(self) -> PlacedPanel:
        """Return the panel as it is used."""
        less = [v for kind, v in self.flags if kind == "flag_lessthan"]
        more = [v for kind, v in self.flags if kind == "flag_morethan"]
        panel = Panel(
            name=self.name,
            data=self.texts.get("data", ""),
            dims=tuple(self.dims[i] for i in range(len(self.dims))),
            **self.ranges,
            adu_per_photon=self.numbers["adu_per_photon"] if self.gain == "adu_per_photon" else 1.0,
            adu_per_ev=self.numbers["adu_per_eV"] if self.gain == "adu_per_eV" else math.nan,
            max_adu=self.numbers.get("max_adu", math.inf),
            no_index=self.no_index,
            flag_lessthan=max(less, default=-math.inf),
            flag_morethan=min(more, default=math.inf),
            flag_equal=tuple(dict.fromkeys(v for kind, v in self.flags if kind == "flag_equal")),
        )
        return PlacedPanel(
            panel=panel,
            corner_px=(self.numbers["corner_x"], self.numbers["corner_y"]),
            fs_px=self.directions["fs"],
            ss_px=self.directions["ss"],
            res_per_m=self.numbers["res"],
            coffset_m=self.numbers.get("coffset", 0.0),
            mask_edge_pixels=max(0, self.mask_edge_pixels),
            masks=tuple(
                MaskSource(number, mask.file, mask.data, mask.goodbits, mask.badbits)
                for number, mask in sorted(self.masks.items())
                if mask.data
            ),
            saturation_map=self.texts.get("saturation_map", ""),
            saturation_map_file=self.texts.get("saturation_map_file", ""),
            line=self.line,
        )


def _number(directive: str, text: str, note: Callable[[str], None]) -> float:
    number, rest = leading_number(text)
    if rest:
        note(f"{directive} takes a number alone; {rest!r} after it is not read (nor is it by CrystFEL)")
    return number
