"""Crystals of one specimen with random parts of its intensities, as live/merge takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import Context, Frame
from stages.lattices.cell import Lattice
from stages.live.merge import Merge, MergeWriter
from stages.merging.crystals import Polarisation, observe
from stages.merging.point_group import point_group
from stages.records import Crystal, Crystals, DetGeom, Reflections

CELL = np.diag([79.1, 79.1, 37.9])
STAR = np.linalg.inv(CELL).T


class Specimen:
    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        grid = np.stack(np.meshgrid(*[np.arange(-12, 13)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        self.hkl = grid[grid.any(axis=1)].astype(np.int32)
        group = point_group("4/mmm")
        keys = observe(self.hkl, np.ones(len(self.hkl)), STAR, 9500.0, group, Polarisation(-1.0)).keys
        _, number = np.unique(keys, return_inverse=True)
        self.truth = self.rng.exponential(100.0, number.max() + 1)[number]

    def frame(self, serial: int, n: int = 300, scale: float = 1.0, crystals: int = 1) -> Frame:
        found = []
        for _ in range(crystals):
            which = self.rng.choice(len(self.hkl), n, replace=False)
            found.append(crystal(self.hkl[which], scale * self.truth[which] * self.rng.normal(1, 0.3, n)))
        return frame_of(serial, Crystals(tuple(found)))


def crystal(hkl: NDArray[Any], intensity: NDArray[Any], real: NDArray[np.float64] = CELL) -> Crystal:
    n = len(hkl)
    zeros = np.zeros(n)
    found = Reflections(
        hkl.astype(np.int32), np.zeros(n, np.int32), zeros, zeros, intensity, zeros, zeros, zeros, zeros, zeros
    )
    return Crystal(real, Lattice("tetragonal", "P", "c"), reflections=found)


def frame_of(serial: int, crystals: Crystals) -> Frame:
    none = np.zeros((0, 3))
    geom = DetGeom((), none, none, none, 9500.0, np.zeros(0), ())
    return Frame(serial, "", 0).with_values(crystals, geom)


def merge_frames(stage: Merge, frames: list[Frame]) -> MergeWriter:
    encode, writer = stage.open(Context()), stage.open_writer(Context())
    for frame in frames:
        encoded = encode(frame)
        if encoded is not None:
            writer.write(encoded)
    return writer
