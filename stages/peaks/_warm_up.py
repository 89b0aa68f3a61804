"""A small frame of every pixel type, so that kernels can be compiled before the first real one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from stages.compute import code_on_disk
from stages.compute.pixel_types import COMMON_TYPES, PIXEL_TYPES
from stages.records.geometry import DetGeom, Panel
from stages.records.image import Image

log = logging.getLogger("streamajig.kernels")

OTHER_TYPES = tuple(dtype for dtype in PIXEL_TYPES if dtype not in COMMON_TYPES)

THRESHOLD = 40.0


def frames(dtypes: tuple[Any, ...]) -> Iterator[tuple[Image, DetGeom]]:
    """Yield one small frame of each pixel type, with one peak above THRESHOLD in its middle.

    Where another process compiles for the others (:mod:`stages.commands.ahead`) the first type is the only one: of which type
    frames are is not known before they come, and most would be waited for in vain.
    """
    size = 24
    geom = DetGeom(
        (Panel("p", data="d", max_fs=size - 1, max_ss=size - 1),),
        np.array([[-1e-3, -1e-3, 0.1]]),
        np.array([[1e-4, 0.0, 0.0]]),
        np.array([[0.0, 1e-4, 0.0]]),
        1e4,
        np.array([0.1]),
        (np.zeros((size, size), np.uint8),),
    )
    for dtype in dtypes:
        pixels = (np.arange(size * size).reshape(size, size) % 7).astype(dtype)
        pixels[11:13, 11:13] = 100
        yield Image.of(d=pixels), geom
        if code_on_disk.is_left_to_others():
            log.info(
                "kernels for pixels that are no %s are compiled beside; frames of theirs wait till then", dtype.__name__
            )
            return
