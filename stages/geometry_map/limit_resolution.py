"""Take everything beyond a resolution off the detector (``--highres``)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline import Context, stage
from stages.records.geometry import DetGeom

_KEPT = 16
"""Masks kept: a wavelength that jitters by a few parts in a thousand needs about ten."""

Masks = tuple[NDArray[np.uint8], ...]


@stage("geometry_map/limit_resolution")
class LimitResolution:
    """Call every pixel bad that lies beyond a resolution (``--highres``).

    A pixel in direction u (unit vector, from the crystal to the pixel's centre) is at 1/d = |u - z| / wavelength. It is bad
    from there on for all that uses pixels: peak search, validation, integration, prediction. The wavelength is each frame's
    own; the cut is placed to within half a pixel, so that frames whose wavelengths differ by less share their mask.
    """

    highres: float = Field(gt=0, description="Highest resolution that is used, Angstrom.")

    def open(self, context: Context) -> RunningLimitResolution:
        """Return the stage at work."""
        return RunningLimitResolution(self.highres)


class RunningLimitResolution:
    """`LimitResolution` in one replica, with the masks it made last."""

    def __init__(self, highres: float) -> None:
        self._highres = highres
        self._geometry: Any = None
        self._sines: list[NDArray[np.float32]] = []
        self._step = 0.0
        self._cuts: OrderedDict[int, Masks] = OrderedDict()
        self._combined: OrderedDict[tuple[int, ...], tuple[Masks, Masks]] = OrderedDict()

    def __call__(self, geom: DetGeom) -> DetGeom:
        """Return the geometry with the pixels beyond the resolution among the bad ones."""
        place = (geom.origin_m.tobytes(), geom.fs_m.tobytes(), geom.ss_m.tobytes(), geom.panels)
        if place != self._geometry:
            self._geometry = place
            self._sines = [twice_sine(geom, number) for number in range(len(geom.panels))]
            self._step = 0.5 * float(np.min(np.linalg.norm(geom.fs_m, axis=1) / np.linalg.norm(geom.origin_m, axis=1)))
            self._cuts.clear()
            self._combined.clear()
        cut = round(geom.wavelength_angstrom / self._highres / self._step)
        static = self._with_cut(geom.static_bad, cut) if geom.static_bad else ()
        return replace(
            geom,
            bad=static if geom.bad is geom.static_bad else self._with_cut(geom.bad, cut),
            static_bad=static,
            static_key=None if geom.static_key is None else (geom.static_key, "highres", cut, self._step),
        )

    def _with_cut(self, bad: Masks, cut: int) -> Masks:
        """Return these masks with the cut; the very same ones as before if the masks and the cut are."""
        key = (cut, *map(id, bad))
        kept = self._combined.get(key)
        if kept is None:
            beyond = self._beyond(cut)
            # the masks themselves are kept too, so that no other array can get their ids meanwhile
            kept = (bad, tuple(mask | far for mask, far in zip(bad, beyond, strict=True)))
            _keep(self._combined, key, kept)
        return kept[1]

    def _beyond(self, cut: int) -> Masks:
        if cut not in self._cuts:
            limit = np.float32(cut * self._step)
            _keep(self._cuts, cut, tuple((sine > limit).astype(np.uint8) for sine in self._sines))
        return self._cuts[cut]


def _keep(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    kept[key] = value
    while len(kept) > _KEPT:
        kept.popitem(last=False)


def twice_sine(geom: DetGeom, number: int) -> NDArray[np.float32]:
    """Return wavelength / d = 2 sin(theta) at each pixel's centre of a panel, float32 (height, width)."""
    panel = geom.panels[number]
    fs = np.arange(panel.width) + 0.5
    ss = np.arange(panel.height) + 0.5
    lab = [
        geom.origin_m[number, axis] + fs[None, :] * geom.fs_m[number, axis] + ss[:, None] * geom.ss_m[number, axis]
        for axis in range(3)
    ]
    length = np.sqrt(lab[0] ** 2 + lab[1] ** 2 + lab[2] ** 2)
    sine: NDArray[np.float32] = np.sqrt(np.maximum(0.0, 2.0 - 2.0 * lab[2] / length)).astype(np.float32)
    return sine
