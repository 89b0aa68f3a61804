"""The numbers that describe a simulated experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Style = Literal["seed", "om", "hdf5", "cbf", "seedee", "npy", "dectris1", "dectris2", "karabo"]
"""How simulated frames can be written as messages."""

SIZE = "2068x2162"
"""Width and height of the detector that is simulated without a geometry file, in pixels; an Eiger 4M."""
RES_PER_M = 5814.0
"""Pixels per metre of that detector."""
ENERGY_EV = 9500.0
DISTANCE_MM = 130.0
"""From the sample to the detector."""


@dataclass(frozen=True)
class Settings:
    """A simulated serial experiment; two equal ones give equal frames.

    Attributes
    ----------
    seed
        Everything random follows from it; frame n of a seed is always the same.
    hits
        Fraction of frames with a crystal in the beam.
    spurious
        Fraction of a hit's listed peaks that are none.
    blank_peaks
        Mean number of (spurious) peaks listed for a blank frame.
    peaks_per_hit
        List at most so many true spots, the brightest; 0 lists all that are strong enough.
    listed_snr
        A spot is strong enough to be listed from this expected signal to noise on.
    jitter_px
        Standard deviation of the error of listed positions, along fs and ss each.
    photons
        Mean photons of a fully recorded reflection at q = 0, before the frame's scale.
    b_factor
        Fall-off with resolution, Angstrom^2: intensities are multiplied by exp(-2 B s^2 / 4), s = 1/d.
    scale_sigma
        Width of the log-normal distribution of frame scales.
    excitation_sigma_per_angstrom
        Width of the Gaussian partiality in the excitation error.
    spot_sigma_px
        Width of a spot on the detector.
    polarisation
        Fraction of the beam polarised along x (the rest along y).
    background
        Factor on the background.
    energy_jitter, cell_jitter
        Relative standard deviation of photon energy and cell axes from frame to frame.
    adu_per_photon
        Of the detector that is simulated without a geometry file.
    charge_sigma_px
        How far a photon's charge spreads (standard deviation of a Gaussian); 0 leaves it in its pixel. With this, a pedestal or
        read noise the detector integrates, and pixels are no whole numbers of photons.
    read_noise_adu
        Standard deviation of a pixel's noise.
    pedestal_adu
        What pixels without a photon show on average.
    gain_stages
        (photons, noise in ADU): a pixel with so many photons or more has this read noise; ascending.
    dtype
        Type of the pixels as numpy writes it: i4, f4, u2, ...
    laser_key
        Key under which each frame says whether a laser was on, as in every second one of a pump-probe experiment; "" has none.
    laser_change
        Relative standard deviation of the change of structure factors that the laser makes.
    gap
        Value of pixels that lie in no panel (0 where the type is unsigned).
    """

    seed: int = 0
    hits: float = 0.7
    spurious: float = 0.1
    blank_peaks: float = 5.0
    peaks_per_hit: int = 0
    listed_snr: float = 7.0
    jitter_px: float = 0.3
    photons: float = 900.0
    b_factor: float = 22.0
    scale_sigma: float = 0.6
    excitation_sigma_per_angstrom: float = 2.5e-4
    spot_sigma_px: float = 1.5
    polarisation: float = 1.0
    background: float = 1.0
    energy_jitter: float = 1e-3
    cell_jitter: float = 1e-3
    adu_per_photon: float = 1.0
    charge_sigma_px: float = 0.0
    read_noise_adu: float = 0.0
    pedestal_adu: float = 0.0
    gain_stages: tuple[tuple[float, float], ...] = ()
    dtype: str = "i4"
    laser_key: str = ""
    laser_change: float = 0.1
    gap: int = -1
