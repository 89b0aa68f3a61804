"""A geometry's panels as the kernels want them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import UserError
from stages.compute.rays import panels_of
from stages.records.geometry import DetGeom
from stages.simulation._kernels import photons as kernel


class FlatPanels:
    """A geometry's panels as the kernels want them: arrays over panels, and places in flat data arrays."""

    def __init__(self, geom: DetGeom) -> None:
        self.width = np.array([p.width for p in geom.panels], np.int64)
        self.height = np.array([p.height for p in geom.panels], np.int64)
        self.keys = [p.data or "detector_data" for p in geom.panels]
        self.shapes = {key: _shape(geom, key) for key in dict.fromkeys(self.keys)}
        self.start = np.zeros(len(self.keys), np.int64)
        self.fs_stride = np.zeros(len(self.keys), np.int64)
        self.ss_stride = np.zeros(len(self.keys), np.int64)
        for n, (panel, key) in enumerate(zip(geom.panels, self.keys, strict=True)):
            steps = np.cumprod([1, *self.shapes[key][:0:-1]])[::-1]
            for dim, step in zip([d for d in panel.dims if d != "%"], steps, strict=True):
                if dim == "fs":
                    self.fs_stride[n] = step
                    self.start[n] += panel.min_fs * step
                elif dim == "ss":
                    self.ss_stride[n] = step
                    self.start[n] += panel.min_ss * step
                else:
                    self.start[n] += int(dim) * step
        size = np.stack([self.width, self.height], axis=1)
        self._panels = panels_of(geom.origin_m, geom.fs_m, geom.ss_m, size)
        self._geom = geom

    def places(self, panel: Any) -> kernel.Places:
        """Where a panel lies in its array, or the panels of an array of numbers."""
        of_each = (self.width, self.height, self.start, self.fs_stride, self.ss_stride)
        return kernel.Places(*(values[panel] for values in of_each))

    def size(self, key: str) -> int:
        """Number of elements of the array `key`."""
        return math.prod(self.shapes[key])

    def panels_of(self, key: str) -> list[int]:
        """Which panels lie in the array `key`."""
        return [n for n, own in enumerate(self.keys) if own == key]

    def largest_q(self, k: float) -> float:
        """Largest |q| that reaches a panel, at its corners."""
        n = np.repeat(np.arange(len(self.keys)), 4)
        fs = np.stack([self.width * 0, self.width, self.width * 0, self.width], axis=1).reshape(-1)
        ss = np.stack([self.height * 0, self.height * 0, self.height, self.height], axis=1).reshape(-1)
        lab = self._geom.lab_m(n, fs, ss)
        cos_2theta = lab[:, 2] / np.linalg.norm(lab, axis=1)
        return float(k * np.sqrt(2.0 * (1.0 - cos_2theta.min())))

    def meet(
        self, direction: NDArray[np.float64]
    ) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
        """Panel (-1: none), fs and ss where rays from the specimen end."""
        panel = np.full(len(direction), -1, np.int32)
        fs, ss = np.zeros(len(direction)), np.zeros(len(direction))
        kernel.meet_panels(np.ascontiguousarray(direction), self._panels, panel, fs, ss)
        return panel, fs, ss


def _shape(geom: DetGeom, key: str) -> tuple[int, ...]:
    """Shape of the smallest array that holds all panels of this key."""
    sizes: list[list[int]] = []
    for panel in geom.panels:
        if (panel.data or "detector_data") == key:
            size = {"fs": panel.max_fs + 1, "ss": panel.max_ss + 1}
            sizes.append([size[d] if isinstance(d, str) else d + 1 for d in panel.dims if d != "%"])
    if len({len(size) for size in sizes}) != 1:
        raise UserError(f"the geometry's panels do not agree on the number of dimensions of {key!r}")
    return tuple(max(sizes_of_dim) for sizes_of_dim in zip(*sizes, strict=True))
