"""Tables from which the background of every frame is drawn in a few milliseconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline import UserError
from stages.records.geometry import DetGeom
from stages.simulation._kernels import photons as kernel
from stages.simulation.flat_panels import FlatPanels

RATE_STEP = 0.01
"""Spacing of the tabulated rates, as the logarithm of their ratio."""


def expected_background(geom: DetGeom, panels: FlatPanels, key: str, factor: float) -> NDArray[np.float32]:
    """Expected background photons of each element of the array `key`, flat; NaN where no panel is.

    A smooth function of q, the same for all panels, times cos^3(2 theta) for the solid angle of a pixel far out.
    """
    rates = np.full(panels.size(key), np.nan, np.float32)
    for p in panels.panels_of(key):
        kernel.panel_rates(
            geom.origin_m[p],
            geom.fs_m[p],
            geom.ss_m[p],
            kernel.Places(*map(int, panels.places(p))),
            geom.wavelength_angstrom,
            factor,
            rates,
        )
    return rates


def expected_at(
    geom: DetGeom, panel: NDArray[np.integer], fs: NDArray[np.float64], ss: NDArray[np.float64], factor: float
) -> NDArray[np.float64]:
    """Expected background photons per pixel at points on panels."""
    lab = geom.lab_m(panel, fs, ss)
    cos_2theta = lab[:, 2] / np.linalg.norm(lab, axis=1)
    q = np.sqrt(np.maximum(0.0, 2.0 * (1.0 - cos_2theta))) / geom.wavelength_angstrom
    rates = np.array([kernel.background_rate(x) for x in q]) * np.maximum(0.0, cos_2theta) ** 3
    expected: NDArray[np.float64] = factor * rates
    return expected


@dataclass(frozen=True, eq=False)
class Background:
    """Which Poisson distribution each element of a data array has, and the tables to draw from it.

    Attributes
    ----------
    levels
        uint16, for each element 1 + the number of its rate; 0 where no panel is.
    table
        uint64 (rates, 2**bits), one alias table for each rate.
    bits
        Size of the tables.
    """

    levels: NDArray[np.uint16]
    table: NDArray[np.uint64]
    bits: int

    @staticmethod
    def of(rates: NDArray[np.float32]) -> Background:
        """Make the tables for expected photons of each element (NaN: no panel)."""
        lowest = max(float(np.nanmin(rates)), 1e-6)
        highest = max(float(np.nanmax(rates)), lowest)
        if highest > 2e4:
            raise UserError(f"the background reaches {highest:.0f} photons per pixel; choose it below 20000")
        num_levels = math.ceil(math.log(highest / lowest) / RATE_STEP) + 2
        levels = np.empty(rates.size, np.uint16)
        kernel.rate_levels(rates, lowest, RATE_STEP, levels)
        bits = max(5, math.ceil(math.log2(16.0 * math.sqrt(highest) + 20.0)))
        rate_of_level = lowest * np.exp(RATE_STEP * np.arange(num_levels))
        return Background(levels, kernel.poisson_alias_tables(rate_of_level, bits), bits)

    def draw(self, gap: int, seed: np.uint64) -> NDArray[np.int32]:
        """Draw each element's photons; those that lie in no panel become `gap`."""
        photons = np.empty(self.levels.size, np.int32)
        kernel.draw_background(self.levels, self.table, self.bits, gap, seed, photons)
        return photons
