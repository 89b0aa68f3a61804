"""How a frame's values become what the monitor is told of it: panels, peaks, crystals, header, pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import RejectFrame
from pipeline.texts import LONGEST_NAME, one_line
from stages.drawing.pattern import plane
from stages.lattices.cell import parameters_of
from stages.monitor.publishing.seen import FS, INTENSITY, MAX_PIXEL, PANEL, SS, CrystalSeen, PanelsSeen
from stages.records.crystal import Crystal, Crystals
from stages.records.geometry import DetGeom
from stages.records.header import Header
from stages.records.peaklist import PeakList

MOST_PEAKS = 2000
"""So many peaks of a frame are taken, and of each crystal's reflections those that are shown."""

MOST_REFLECTIONS = 5000

_MOST_HEADERS = 50
_LONGEST_VALUE = 200

_LETTERS = {"triclinic": "a", "monoclinic": "m", "orthorhombic": "o", "tetragonal": "t", "cubic": "c"}
"""Of the lattice types that are not written ``h``; International Tables for Crystallography A, table 3.1.2.1."""


def panels_of(geom: DetGeom) -> PanelsSeen:
    """Return where the panels lie in the plane across the beam.

    A panel that is not parallel to the plane is drawn as the parallelogram of its first corner and the two beside that.
    """
    number = np.arange(len(geom.panels))
    width = np.array([panel.width for panel in geom.panels], np.int32)
    height = np.array([panel.height for panel in geom.panels], np.int32)
    nought = np.zeros(len(number))
    corner = plane(geom, number, nought, nought)
    beside = plane(geom, number, width.astype(float), nought)
    above = plane(geom, number, nought, height.astype(float))
    ends = [geom.q_per_angstrom(number, fs, ss) for fs in (nought, width) for ss in (nought, height)]
    return PanelsSeen(
        tuple(one_line(panel.name, LONGEST_NAME) for panel in geom.panels),
        width,
        height,
        corner,
        (beside - corner) / width[:, None],
        (above - corner) / height[:, None],
        geom.mean_clen_m,
        np.array([panel.no_index for panel in geom.panels], np.uint8),
        np.array([panel.max_adu for panel in geom.panels], np.float32),
        float(np.linalg.norm(np.concatenate(ends), axis=1).max(initial=0.0)),
        geom.photon_energy_ev,
    )


def peak_columns(peaks: PeakList) -> NDArray[np.float32]:
    """Return panel, fs, ss, intensity and highest pixel of the peaks, float32 (n, 5)."""
    n = min(len(peaks), MOST_PEAKS)
    found = np.empty((n, 5), np.float32)
    found[:, PANEL] = peaks.panel[:n]
    found[:, FS] = peaks.fs[:n]
    found[:, SS] = peaks.ss[:n]
    found[:, INTENSITY] = peaks.intensity[:n]
    found[:, MAX_PIXEL] = peaks.max_pixel[:n]
    return found


def crystals_seen(crystals: Crystals, geom: DetGeom | None) -> tuple[CrystalSeen, ...]:
    """Return each crystal in numbers."""
    return tuple(_seen(crystal, geom) for crystal in crystals)


def _seen(crystal: Crystal, geom: DetGeom | None) -> CrystalSeen:
    parameters = parameters_of(crystal.real_space_angstrom)
    shift_m = crystal.det_shift_m if geom is None else geom.shift_from_file(crystal.det_shift_m)
    return CrystalSeen(
        (*parameters[:3], *map(math.degrees, parameters[3:])),
        _LETTERS.get(crystal.lattice.lattice_type, "h"),
        crystal.lattice.centering,
        one_line(crystal.indexed_by, LONGEST_NAME),
        crystal.resolution_limit_per_angstrom,
        0 if crystal.reflections is None else len(crystal.reflections),
        (1e3 * shift_m[0], 1e3 * shift_m[1]),
    )


def shown_peaks(peaks: PeakList | None) -> dict[str, NDArray[Any]]:
    """Return the columns that are shown of a frame's peaks."""
    found = peaks if peaks is not None else PeakList.make([], [], [], [])
    return {
        "panel": found.panel[:MOST_PEAKS].copy(),
        **{name: getattr(found, name)[:MOST_PEAKS].astype(np.float32) for name in ("fs", "ss", "intensity", "snr")},
    }


def shown_crystal(crystal: Crystal, seen: CrystalSeen) -> dict[str, Any]:
    """Return what is shown of a crystal over its frame: its cell, and where its reflections are."""
    a, b, c, alpha, beta, gamma = seen.cell
    shown: dict[str, Any] = {"a": a, "b": b, "c": c, "alpha": alpha, "beta": beta, "gamma": gamma}
    shown["lattice"] = seen.lattice + seen.centring
    shown["method"] = seen.method
    shown["resolution_angstrom"] = angstrom(seen.per_angstrom)
    found, n = crystal.reflections, MOST_REFLECTIONS
    shown["reflections"] = (
        _NO_REFLECTIONS
        if found is None
        else {
            "panel": found.panel[:n].astype(np.int32),
            "hkl": found.hkl[:n].astype(np.int16),
            **{name: getattr(found, name)[:n].astype(np.float32) for name in ("fs", "ss", "intensity", "sigma")},
        }
    )
    return shown


def angstrom(per_angstrom: float) -> float:
    """Return d of a 1/d; NaN of what is unknown."""
    return 1.0 / per_angstrom if per_angstrom > 0 else math.nan


def header_texts(header: Header | None) -> Mapping[str, str]:
    """Return those values of a header that are single numbers or texts, up to 50, each cut to what fits a line."""
    found: dict[str, str] = {}
    for key in header or ():
        if len(found) == _MOST_HEADERS:
            break
        assert header is not None
        try:
            value = header[key]
        except RejectFrame:
            continue  # whoever needs it rejects the frame with this
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.reshape(-1)[0]
        if isinstance(value, (str, int, float, np.generic)):
            found[one_line(str(key), LONGEST_NAME)] = one_line(str(value), _LONGEST_VALUE)
    return found


_EMPTY = np.zeros(0, np.float32)
_NO_REFLECTIONS: Mapping[str, NDArray[Any]] = {
    "panel": np.zeros(0, np.int32),
    "hkl": np.zeros((0, 3), np.int16),
    **dict.fromkeys(("fs", "ss", "intensity", "sigma"), _EMPTY),
}
