"""Simulated frames as ``numpy.save`` writes an array, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from stages.simulation.experiment import SimulatedFrame
from stages.simulation.settings import Style
from stages.simulation.wire import OneArray


class Npy(OneArray):
    """An array alone."""

    style: ClassVar[Style] = "npy"
    names_frames: ClassVar[bool] = False

    @staticmethod
    def places(energy_ev: float, distance_mm: float) -> str:
        """The geometry file has to say all itself.

        >>> print(Npy.places(9500.0, 130.0), end="")
        photon_energy = 9500 eV
        clen = 0.13 m
        """
        return f"photon_energy = {energy_ev:.9g} eV\nclen = {distance_mm / 1000:.9g} m\n"

    @staticmethod
    def can_say(key: str) -> bool:
        """An array has no header."""
        return False

    def message(self, frames: Sequence[SimulatedFrame]) -> tuple[bytes]:
        """One part."""
        (frame,) = frames
        buffer = io.BytesIO()
        np.save(buffer, self.array_of(frame), allow_pickle=False)
        return (buffer.getvalue(),)
