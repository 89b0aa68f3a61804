"""The chunks of a stream as frames again, so that what looks at frames can look at a stream that is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline import Frame
from stages.files.cell import parse_cell
from stages.files.geom.detector import Detector
from stages.files.stream import MOVED_KEY, Chunk, StreamCrystal, StreamPeaks, walk_stream
from stages.lattices.cell import UnitCell
from stages.records import Crystal, Crystals, DetGeom, Displacement, Header, Hit, PeakList

REJECTED_KEY = "streamajig/rejected"
_ANY_NUMBER = 1000.0
"""Stands for a header's number that the stream does not have; what it would say is taken from elsewhere in the chunk."""


class StreamFrames:
    """A stream: what its head says, and a frame for each chunk that is no rejection.

    Attributes
    ----------
    detector
        The geometry file in its head.
    target
        The target cell in its head; None if there is none.
    """

    def __init__(self, path: Path) -> None:
        head, self._chunks = walk_stream(path)
        self.detector = Detector.parse(head.geometry, f"the geometry file in {path}")
        self.target = parse_cell(head.cell, f"the cell in {path}") if head.cell else None
        panels = self.detector.static_panels
        self._number = {panel.name: n for n, panel in enumerate(panels)}
        self._min_fs = np.array([panel.min_fs for panel in panels], np.float64)
        self._min_ss = np.array([panel.min_ss for panel in panels], np.float64)

    @property
    def given_cell(self) -> UnitCell | None:
        """The cell that was given."""
        return None if self.target is None else self.target.cell

    def __iter__(self) -> Iterator[Frame]:
        for chunk in self._chunks:
            if REJECTED_KEY not in chunk.keys:
                yield self._frame(chunk)

    def _frame(self, chunk: Chunk) -> Frame:
        geom = self._geom(chunk)
        peaks = self._peaks(chunk.peaks)
        found = tuple(_crystal(crystal, geom, chunk.indexed_by) for crystal in chunk.crystals)
        crystals = Crystals(tuple(crystal for crystal in found if crystal is not None))
        frame = Frame(chunk.serial, chunk.event, 0)
        return frame.with_values(geom, peaks, Hit(chunk.hit, len(peaks)), crystals)

    def _geom(self, chunk: Chunk) -> DetGeom:
        """The frame's geometry; camera length and energy are those printed where the chunk has not the headers for them."""
        header: dict[str, float] = {}
        for key in self.detector.header_keys:
            name = re.sub(r"\s", "_", key)
            printed = (chunk.keys.get(f"header/{kind}/{name}") for kind in ("float", "int"))
            header[key] = float(next((text for text in printed if text is not None), "nan"))
        clen = self.detector.clen.key
        lacks_clen = bool(clen) and not np.isfinite(header[clen])
        shifts = {shift.key for shift in (self.detector.shift_x, self.detector.shift_y) if shift is not None}
        known = {
            key: number if np.isfinite(number) else 0.0 if key in shifts else _ANY_NUMBER
            for key, number in header.items()
        }
        geom = replace(self.detector.geom_for(Header(known)), photon_energy_ev=chunk.photon_energy_ev)
        if lacks_clen:
            distance = float(chunk.keys.get("average_camera_length", "nan").split()[0])
            away = np.array([0.0, 0.0, distance - geom.mean_clen_m])
            geom = replace(geom, origin_m=geom.origin_m + away, static_key=(geom.static_key, distance))
        return geom.displaced(Displacement.parse(chunk.keys.get(MOVED_KEY, "")) or Displacement())

    def _peaks(self, listed: StreamPeaks | None) -> PeakList:
        if listed is None or not len(listed):
            return PeakList.make([], [], [], [])
        panel = np.array([self._number.get(name, -1) for name in listed.panel])
        peaks = PeakList.make(panel, listed.fs - self._min_fs[panel], listed.ss - self._min_ss[panel], listed.intensity)
        return peaks.select(panel >= 0)


def _crystal(printed: StreamCrystal, geom: DetGeom, indexed_by: str) -> Crystal | None:
    """The crystal with its shift as seen from the frame's geometry; None if its vectors span no cell."""
    stars = printed.reciprocal_per_nm
    if not np.isfinite(stars).all() or not abs(np.linalg.det(stars)) > 0.0:
        return None
    shift = 1e-3 * np.nan_to_num(np.array(printed.det_shift_mm))
    x, y = shift - np.array(geom.displacement.shift_m)
    return Crystal(
        printed.real_space_angstrom,
        printed.lattice,
        indexed_by,
        profile_radius_per_angstrom=printed.profile_radius_per_nm / 10,
        det_shift_m=(float(x), float(y)),
        resolution_limit_per_angstrom=printed.resolution_limit_per_nm / 10,
    )
