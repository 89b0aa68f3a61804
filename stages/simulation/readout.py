"""What a detector makes of the photons in its pixels: counts, or charge with noise on a pedestal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.records.geometry import DetGeom
from stages.simulation._kernels import charge as kernel
from stages.simulation.flat_panels import FlatPanels
from stages.simulation.settings import Settings


class Readout:
    """Reads arrays of photons out.

    A counter gives ``adu_per_photon`` times the photons. A detector that integrates collects their charge, which spreads with
    ``charge_sigma_px`` from where each photon fell, and gives ``pedestal + adu_per_photon * charge + noise``, the noise being
    normal with ``read_noise_adu``, or with that of the gain stage into which a pixel switches.

    Parameters
    ----------
    settings
        Of the experiment.
    geom
        For adu_per_photon.
    panels
        Where the panels lie.
    """

    def __init__(self, settings: Settings, geom: DetGeom, panels: FlatPanels) -> None:
        self._settings = settings
        self._geom = geom
        self._panels = panels
        sigma = settings.charge_sigma_px
        self._shares = kernel.shares(sigma) if sigma > 0 else None
        self._noisy = settings.read_noise_adu > 0 or bool(settings.gain_stages)
        self.integrates = bool(self._shares is not None or self._noisy or settings.pedestal_adu)

    def adu(self, photons: NDArray[np.int32], key: str, geom: DetGeom, seed: np.uint64) -> NDArray[np.generic]:
        """Return the array `key` in ADU, not yet in the type in which it is sent; gaps keep their value.

        `photons` is how many fell on each pixel.
        """
        gains = {p: geom.adu_per_photon(p) for p in self._panels.panels_of(key)}
        if not self.integrates and all(gain == 1.0 for gain in gains.values()):
            return photons
        adu = photons.astype(np.float64)
        charge = photons if self._shares is None else self._spread(photons, key, seed, self._shares)
        chance = np.random.default_rng([int(seed), 1])
        for p, gain in gains.items():
            own = geom.panels[p].view(charge)
            view = geom.panels[p].view(adu)
            view[...] = gain * own + self._settings.pedestal_adu
            if self._noisy:
                view += self._noise(own) * chance.standard_normal(own.shape, np.float32)
        return adu

    def variance_photons(self, panel: NDArray[np.integer]) -> NDArray[np.float64]:
        """Variance of a pixel's read noise on each of these panels, in photons squared."""
        gain = np.array([self._geom.adu_per_photon(p) for p in range(len(self._geom.panels))])
        variance: NDArray[np.float64] = (self._settings.read_noise_adu / gain[panel]) ** 2
        return variance

    def _spread(
        self, photons: NDArray[np.int32], key: str, seed: np.uint64, shares: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        charge = np.zeros(photons.shape, np.float32)
        for p in self._panels.panels_of(key):
            place = self._panels.places(p)
            kernel.spread(photons.reshape(-1), place, shares, np.uint64(seed), charge.reshape(-1))
        return charge

    def _noise(self, charge: NDArray[np.number]) -> NDArray[np.float64] | float:
        """Standard deviation of each pixel's read noise, ADU."""
        if not self._settings.gain_stages:
            return self._settings.read_noise_adu
        noise = np.full(charge.shape, self._settings.read_noise_adu)
        for photons, of_stage in self._settings.gain_stages:
            noise[charge >= photons] = of_stage
        return noise
