"""The detector as a geometry file describes it: fixed facts, and what each frame's header must add.

>>> detector = Detector.parse('''
... photon_energy = beam_energy eV
... clen = 0.1 m
... res = 10000
... adu_per_photon = 1
... p0/min_fs = 0
... p0/max_fs = 9
... p0/min_ss = 0
... p0/max_ss = 9
... p0/corner_x = -5
... p0/corner_y = -5
... p0/fs = x
... p0/ss = y
... ''')
>>> detector.header_keys
('beam_energy',)
>>> from stages.records.header import Header
>>> detector.geom_for(Header({"beam_energy": 9500})).photon_energy_ev
9500.0
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import RejectFrame, UserError
from stages.files.geom._kernels import flag as kernel
from stages.files.geom.bad_regions import paint_laboratory_region
from stages.files.geom.masks import unshifted_bad
from stages.files.geom.model import BadRegion, Group, Note, PlacedPanel
from stages.files.geom.units import Quantity
from stages.records.geometry import DetGeom, Panel
from stages.records.header import Header
from stages.records.image import Image

MAX_BYTES = 64 << 20
"""No geometry file is larger; whoever gives a data file by mistake need not wait until it is read."""

KEPT_PLACEMENTS = 16
"""Camera lengths and shifts for which vectors and masks are kept."""


@dataclass(frozen=True)
class Detector:
    """A parsed geometry file. Two are equal if their texts are.

    Attributes
    ----------
    text, filename
        Verbatim text of the file, and what it is called in messages.
    panels
        In the order in which the file first mentions them.
    energy
        ``photon_energy``, ``wavelength`` or ``electron_voltage``, read as photon energy in eV; None if none is given,
        which :meth:`require_complete` refuses.
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

    @staticmethod
    def parse(text: str, filename: str = "geometry") -> Detector:
        """Read the text of a geometry file; raises UserError naming file, line and directive of every problem."""
        from stages.files.geom.parser import parse

        return parse(text, filename)

    @staticmethod
    def load(path: Path | str) -> Detector:
        """Read a geometry file; raises UserError if there is none or it is not one."""
        try:
            if Path(path).stat().st_size > MAX_BYTES:
                raise UserError(f"{path}: this is not a geometry file: it has more than {MAX_BYTES >> 20} MiB")
            content = Path(path).read_bytes()
        except FileNotFoundError:
            raise UserError(f"geometry file {str(path)!r} does not exist (working directory: {Path.cwd()})") from None
        except OSError as error:
            raise UserError(f"geometry file {str(path)!r} cannot be read: {error.strerror or error}") from None
        if b"\0" in content:
            raise UserError(
                f"{path}: this is not a geometry file but binary data; a geometry file is text, as a rule named *.geom"
            )
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            text = content.decode("latin-1")
        return Detector.parse(text, str(path))

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if not key.startswith("_")}

    @cached_property
    def static_panels(self) -> tuple[Panel, ...]:
        """What a DetGeom says of panels."""
        return tuple(placed.panel for placed in self.panels)

    @property
    def header_keys(self) -> tuple[str, ...]:
        """Keys that every frame's header must hold as numbers."""
        quantities = (self.energy, self.clen, self.shift_x, self.shift_y)
        return tuple(dict.fromkeys(q.key for q in quantities if q is not None and q.key))

    @property
    def data_keys(self) -> tuple[str, ...]:
        """Keys under which the panels' arrays come, "" for panels without ``data``."""
        return tuple(dict.fromkeys(panel.data for panel in self.static_panels))

    @property
    def has_flags(self) -> bool:
        """Whether pixels can be bad by their values."""
        return any(self._flagged)

    def require_complete(self) -> None:
        """Raise UserError for what may be absent from a file that is only looked at, but not from one that is used."""
        if self.energy is None:
            raise UserError(
                f"{self.filename}: no directive gives the photon energy; expected 'photon_energy = 9500 eV', or the header "
                "key that has it: 'photon_energy = beam_energy eV' (or wavelength = ... A, electron_voltage = ... kV)"
            )
        if self.clen.number is not None and not self._mean_distance(self.clen.number) > 0:
            raise UserError(f"{self.filename}: directive 'clen': the camera length with coffset should be above 0 m")
        for placed in self.panels:
            if placed.saturation_map or placed.saturation_map_file:
                raise UserError(
                    f"{self.filename}: panel {placed.panel.name!r} has a saturation map, which is not supported; take the "
                    "directive saturation_map out (max_adu sets one limit for a whole panel)"
                )

    def geom_for(self, header: Header, image: Image | None = None) -> DetGeom:
        """Return the geometry of one frame; rejects it if its header lacks a number, naming the key.

        `image` is looked at only if pixels can be bad by their values (``flag_...``).
        """
        if self.energy is None:
            self.require_complete()
            raise AssertionError("require_complete() refuses a file without energy")
        energy_ev = self.energy.read(header)
        clen_m = self._clen(header)
        shift_m = (
            self.shift_x.read(header) if self.shift_x else 0.0,
            self.shift_y.read(header) if self.shift_y else 0.0,
        )
        placement = self._placements.get(clen_m, shift_m)
        bad = placement.static_bad
        if image is not None and self.has_flags:
            bad = placement.with_flags(image)
        return DetGeom(
            panels=self.static_panels,
            origin_m=placement.origin_m,
            fs_m=self._steps_m[0],
            ss_m=self._steps_m[1],
            photon_energy_ev=energy_ev,
            clen_m=placement.clen_m,
            bad=bad,
            bandwidth=self.bandwidth,
            shift_m=shift_m,
            peak_list=self.peak_list,
            static_key=placement.key,
            static_bad=placement.static_bad,
        )

    def prepare(self) -> None:
        """Do ahead of the first frame what can be done: read mask files, compile; raises UserError."""
        self.require_complete()
        _ = self._unshifted_bad
        if self.has_flags:
            _kernel_warm_up()

    def _clen(self, header: Header) -> float:
        clen_m = self.clen.read(header)
        if self.clen.key and not self._mean_distance(clen_m) > 0:
            raise RejectFrame(
                "not_positive",
                f"key {self.clen.key!r} holds {header[self.clen.key]!r}, which puts the detector at "
                f"{self._mean_distance(clen_m):g} m (clen with coffset); wanted a camera length above 0",
            )
        return clen_m

    def _mean_distance(self, clen_m: float) -> float:
        return clen_m + sum(placed.coffset_m for placed in self.panels) / len(self.panels)

    @cached_property
    def _flagged(self) -> tuple[bool, ...]:
        return tuple(
            not p.no_index and (np.isfinite(p.flag_lessthan) or np.isfinite(p.flag_morethan) or bool(p.flag_equal))
            for p in self.static_panels
        )

    @cached_property
    def _digest(self) -> str:
        return hashlib.blake2b(self.text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    @cached_property
    def _steps_m(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        res = np.array([placed.res_per_m for placed in self.panels])[:, None]
        return np.array([p.fs_px for p in self.panels]) / res, np.array([p.ss_px for p in self.panels]) / res

    @cached_property
    def _unshifted_bad(self) -> tuple[NDArray[np.uint8], ...]:
        return unshifted_bad(self.panels, self.bad_regions)

    @cached_property
    def _placements(self) -> _Placements:
        return _Placements(self)


class _Placement:
    """The detector at one camera length and shift; shared by all frames, and threads, that have it there."""

    def __init__(self, detector: Detector, clen_m: float, shift_m: tuple[float, float]) -> None:
        panels = detector.panels
        self.key = (detector._digest, clen_m, *shift_m)
        self.clen_m = np.full(len(panels), clen_m)
        self.origin_m = np.array(
            [
                (
                    placed.corner_px[0] / placed.res_per_m + shift_m[0],
                    placed.corner_px[1] / placed.res_per_m + shift_m[1],
                    clen_m + placed.coffset_m,
                )
                for placed in panels
            ]
        )
        self.static_bad = detector._unshifted_bad
        in_laboratory = [region for region in detector.bad_regions if region.in_laboratory]
        if in_laboratory:
            self.static_bad = tuple(mask.copy() for mask in self.static_bad)
            for region in in_laboratory:
                paint_laboratory_region(region, panels, shift_m, self.static_bad)
        self._panels = detector.static_panels
        self._flagged = detector._flagged
        self._latest: dict[int, NDArray[np.uint8]] = {}

    def with_flags(self, image: Image) -> tuple[NDArray[np.uint8], ...]:
        """Return masks with the flags of this image; the same arrays as before where nothing has changed."""
        masks = list(self.static_bad)
        for i, panel in enumerate(self._panels):
            if not self._flagged[i]:
                continue
            pixels = panel.view(image.array(panel.data))
            rule = (panel.flag_lessthan, panel.flag_morethan, np.array(panel.flag_equal, np.float64))
            static, latest = self.static_bad[i], self._latest.get(i, self.static_bad[i])
            if kernel.flag(pixels, static, *rule, latest, False):
                masks[i] = latest
            else:
                masks[i] = np.empty_like(static)
                kernel.flag(pixels, static, *rule, masks[i], True)
                self._latest[i] = masks[i]
        same = all(mask is static for mask, static in zip(masks, self.static_bad, strict=True))
        return self.static_bad if same else tuple(masks)


class _Placements:
    """The placements used last, by camera length and shift."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[float, float, float], _Placement] = OrderedDict()

    def get(self, clen_m: float, shift_m: tuple[float, float]) -> _Placement:
        key = (clen_m, *shift_m)
        with self._lock:
            placement = self._kept.get(key)
            if placement is None:
                placement = self._kept[key] = _Placement(self._detector, clen_m, shift_m)
                if len(self._kept) > KEPT_PLACEMENTS:
                    self._kept.popitem(last=False)
            else:
                self._kept.move_to_end(key)
            return placement


def _kernel_warm_up() -> None:
    """Compile the flag kernels for the pixel types that come over the wire, read-only as they come."""
    mask, equal = np.zeros((2, 2), np.uint8), np.empty(0)
    for dtype in (np.int32, np.float32, np.uint16, np.uint32):
        pixels = np.zeros((2, 3), dtype)
        pixels.flags.writeable = False
        for view in (pixels[:, :2], np.ascontiguousarray(pixels[:, :2])):
            view.flags.writeable = False
            kernel.flag(view, mask, 0.0, 1.0, equal, mask, False)
