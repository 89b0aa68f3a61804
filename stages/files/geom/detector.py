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

from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import RejectFrame, UserError
from stages.files.geom import parser, placement
from stages.files.geom.file_text import read_text
from stages.files.geom.model import GeometryFile
from stages.records.geometry import DetGeom, Panel
from stages.records.header import Header
from stages.records.image import Image


@dataclass(frozen=True)
class Detector(GeometryFile):
    """What a geometry file says, and how it becomes the geometry of a frame. Two are equal if their texts are."""

    @staticmethod
    def parse(text: str, filename: str = "geometry") -> Detector:
        """Read the text of a geometry file; raises UserError naming file, line and directive of every problem."""
        file = parser.parse(text, filename)
        return Detector(**{field.name: getattr(file, field.name) for field in fields(file)})

    @staticmethod
    def load(path: Path | str) -> Detector:
        """Read a geometry file; raises UserError if there is none or it is not one."""
        return Detector.parse(read_text(path), str(path))

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
    def mask_files(self) -> tuple[str, ...]:
        """The files of masks that the geometry file names."""
        return tuple(dict.fromkeys(source.file for placed in self.panels for source in placed.masks if source.file))

    @property
    def has_flags(self) -> bool:
        """Whether pixels can be bad by their values."""
        return any(self._placements.flagged)

    @property
    def has_no_saturation(self) -> bool:
        """Whether panels have no ``max_adu``."""
        return any(np.isinf(panel.max_adu) for panel in self.static_panels)

    def with_saturation(self, max_adu: float) -> Detector:
        """Return the detector with this ``max_adu`` for panels that have none."""
        panels = tuple(
            replace(placed, panel=replace(placed.panel, max_adu=max_adu)) if np.isinf(placed.panel.max_adu) else placed
            for placed in self.panels
        )
        text = f"{self.text}\n; max_adu = {max_adu:.9g} where there is none: what the sender says of the series\n"
        return replace(self, panels=panels, text=text)

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

        `image` is looked at only if pixels can be bad by their values (``flag_...``, and what its format says), or its file
        has masks.
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
        here = self._placements.get(clen_m, shift_m, image.mask if image is not None else None)
        bad = here.static_bad
        if image is not None and (self.has_flags or image.sentinels or image.bad):
            bad = here.with_flags(image)
        return self._geom(here, bad, energy_ev, shift_m)

    def geom_ahead(self) -> DetGeom:
        """Return the geometry as far as it is known before any frame, so that tables can be made of it.

        Photon energy and camera length (and so z) are NaN where each frame's header has them, the shift is 0 and flags of
        pixels are not known. Masks are the very arrays that frames without flagged pixels will have.
        """
        assert self.energy is not None
        energy_ev, clen_m = (np.nan if q.number is None else q.number for q in (self.energy, self.clen))
        x_m, y_m = (q.number or 0.0 if q else 0.0 for q in (self.shift_x, self.shift_y))
        if np.isnan(clen_m):  # not to be kept: it would take the place of one that is used
            here = placement.Placement(self._placements, clen_m, (x_m, y_m))
        else:
            here = self._placements.get(clen_m, (x_m, y_m))
        return self._geom(here, here.static_bad, energy_ev, (x_m, y_m))

    def _geom(
        self,
        here: placement.Placement,
        bad: tuple[NDArray[np.uint8], ...],
        energy_ev: float,
        shift_m: tuple[float, float],
    ) -> DetGeom:
        return DetGeom(
            panels=self.static_panels,
            origin_m=here.origin_m,
            fs_m=self._steps_m[0],
            ss_m=self._steps_m[1],
            photon_energy_ev=energy_ev,
            clen_m=here.clen_m,
            bad=bad,
            bandwidth=self.bandwidth,
            shift_m=shift_m,
            peak_list=self.peak_list,
            static_key=here.key,
            static_bad=here.static_bad,
        )

    def prepare(self) -> None:
        """Do ahead of the first frame what can be done: read mask files, compile; raises UserError."""
        self.require_complete()
        _ = self._placements.unshifted_bad
        if self.has_flags:
            self.warm_up_flags()

    @staticmethod
    def warm_up_flags() -> None:
        """Compile what finds pixels that are bad by their values."""
        placement.warm_up()

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
    def _steps_m(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        res = np.array([placed.res_per_m for placed in self.panels])[:, None]
        return np.array([p.fs_px for p in self.panels]) / res, np.array([p.ss_px for p in self.panels]) / res

    @cached_property
    def _placements(self) -> placement.Placements:
        return placement.Placements(self)
