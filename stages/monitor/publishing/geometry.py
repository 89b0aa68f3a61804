"""Geometries as messages have them, with a number that is another one when panels lie elsewhere."""

from __future__ import annotations

from typing import Any

from stages.monitor.publishing.seen import PanelsSeen
from stages.records.geometry import HC_EV_ANGSTROM


class Geometries:
    """Numbers geometries."""

    def __init__(self) -> None:
        self._last: PanelsSeen | None = None
        self._id = 0

    def blob(self, panels: PanelsSeen) -> dict[str, Any]:
        """Return a geometry as a message has it."""
        if panels is not self._last and not panels.lies_as(self._last):
            self._id += 1
        self._last = panels
        return {
            "id": self._id,
            "name": list(panels.name),
            "width": panels.width,
            "height": panels.height,
            "corner": panels.corner,
            "fs": panels.fs,
            "ss": panels.ss,
            "clen_m": panels.clen_m,
            "wavelength_angstrom": HC_EV_ANGSTROM / panels.photon_energy_ev,
            "photon_energy_ev": panels.photon_energy_ev,
            "no_index": panels.no_index,
            "saturation": panels.saturation,
        }
