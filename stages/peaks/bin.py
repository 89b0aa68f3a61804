"""Search peaks in an image of fewer, larger pixels."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline import Context, stage
from stages.peaks import _warm_up
from stages.peaks._filtering import numbers_of
from stages.peaks._kernels import filters as kernel
from stages.pixels.tables import are_the_same
from stages.records.geometry import DetGeom
from stages.records.image import Before, Image


@stage("peaks/bin")
class Bin:
    """Average blocks of `bin` x `bin` pixels, and make the geometry that goes with them.

    For spots that are many pixels wide, and to save time. A block's value is the mean of its good pixels (so thresholds in ADU
    keep their meaning), and the block is bad if it has none. Of n pixels averaged, one photon makes adu_per_photon / n. Rows
    and columns beyond the last whole block are left out. Saturation is looked for in the averages. ``peaks/restore`` after the
    search gives peaks their places in the full image, multiplies intensities by n, and puts image and geometry back.
    """

    bin: int = Field(default=2, ge=1, le=64, description="Pixels along each side of a block.")

    def open(self, context: Context) -> RunningBin:
        """Compile the kernel."""
        _compile()
        return RunningBin(self.bin)

    @staticmethod
    def warm_up() -> None:
        """Compile the kernel."""
        _compile()


class RunningBin:
    """The averaging at work; remembers the masks that it made last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._bad_of: tuple[NDArray[np.uint8], ...] = ()
        self._bad: tuple[NDArray[np.uint8], ...] = ()
        self._panels_of: Any = None
        self._panels: Any = ()

    def __call__(self, image: Image, geom: DetGeom) -> tuple[Image, DetGeom]:
        """Return the binned image and its geometry."""
        n = self._size
        arrays: dict[str, NDArray[Any]] = {}
        for number, (view, bad) in enumerate(zip(numbers_of(geom, image), geom.bad, strict=True)):
            out = np.empty((view.shape[0] // n, view.shape[1] // n), np.float32)
            kernel.average_blocks(view.astype(np.float32), np.ascontiguousarray(bad), n, out)
            out.flags.writeable = False
            arrays[f"{number} binned"] = out
        return Image(arrays, {}, {}, before=Before(image, geom, n)), self._geometry(geom)

    def _geometry(self, geom: DetGeom) -> DetGeom:
        n = self._size
        if self._panels_of is not geom.panels:
            self._panels_of = geom.panels
            self._panels = tuple(
                replace(
                    panel,
                    data=f"{number} binned",
                    dims=("ss", "fs"),
                    min_fs=0,
                    min_ss=0,
                    max_fs=panel.width // n - 1,
                    max_ss=panel.height // n - 1,
                    adu_per_photon=panel.adu_per_photon / n**2,
                    adu_per_ev=panel.adu_per_ev / n**2,
                )
                for number, panel in enumerate(geom.panels)
            )
        if not are_the_same(self._bad_of, geom.bad):
            self._bad_of = geom.bad
            self._bad = tuple(_whole_blocks(bad, n) for bad in geom.bad)
        return replace(
            geom,
            panels=self._panels,
            fs_m=geom.fs_m * n,
            ss_m=geom.ss_m * n,
            bad=self._bad,
            static_bad=(),
            static_key=None if geom.static_key is None else (geom.static_key, "bin", n),
        )


def _whole_blocks(bad: NDArray[np.uint8], n: int) -> NDArray[np.uint8]:
    """Call a block bad if all its pixels are.

    >>> _whole_blocks(np.array([[1, 1, 0, 1, 1], [1, 1, 1, 1, 1]], np.uint8), 2)
    array([[1, 0]], dtype=uint8)
    """
    height, width = bad.shape[0] // n, bad.shape[1] // n
    blocks = bad[: height * n, : width * n].reshape(height, n, width, n)
    whole: NDArray[np.uint8] = (blocks != 0).all(axis=(1, 3)).astype(np.uint8)
    return whole


@cache
def _compile() -> None:
    for image, geom in _warm_up.frames((np.float32,)):
        RunningBin(2)(image, geom)
