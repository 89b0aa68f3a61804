"""What the filters before a peak search have in common: a new image, and the old one kept to be put back."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pipeline import RejectFrame
from stages.compute.pixel_types import PIXEL_TYPES
from stages.records.geometry import DetGeom
from stages.records.image import Before, Image

PanelFilter = Callable[[NDArray[Any], NDArray[np.uint8], NDArray[np.float32]], None]
"""Takes a panel's pixels and its bad pixels, and fills a new array of the same shape."""


def numbers_of(geom: DetGeom, image: Image) -> list[NDArray[Any]]:
    """Return each panel's pixels; rejects the frame if they are no numbers that the kernels know."""
    views = geom.views(image)
    for panel, view in zip(geom.panels, views, strict=True):
        if view.dtype.type not in PIXEL_TYPES:
            raise RejectFrame(
                "wrong_dtype", f"{panel.data!r} has pixels of type {view.dtype}; wanted integers or float32/64"
            )
    return views


def filtered(image: Image, geom: DetGeom, panel_filter: PanelFilter) -> Image:
    """Return the image with every panel filtered, as float32, and with the old image in `before`.

    What lies in no panel is zero. The pixels that came are not touched.
    """
    views = numbers_of(geom, image)
    keys = dict.fromkeys(panel.data for panel in geom.panels)
    arrays = {key: np.zeros(image.array(key).shape, np.float32) for key in keys}
    for panel, view, bad in zip(geom.panels, views, geom.bad, strict=True):
        place = panel.view(arrays[panel.data])
        out = place if place.flags.c_contiguous else np.empty(view.shape, np.float32)
        panel_filter(view, bad, out)
        if out is not place:
            place[...] = out
    for array in arrays.values():
        array.flags.writeable = False
    # those that nobody has asked for are not read for this
    return Image(ChainMap(arrays, cast(Any, image.arrays)), image.broken, image.others, before=Before(image, geom))
