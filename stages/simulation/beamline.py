"""What a user may choose of a simulated beamline, declared once for source/simulate and for ``streamajig simulate``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from stages.simulation.settings import DISTANCE_MM, ENERGY_EV, RES_PER_M, SIZE, Settings, Style

if TYPE_CHECKING:
    from stages.simulation.apparatus import Apparatus


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Beamline:
    """The detector, the sample and the frames of a simulation."""

    seed: int = Field(default=Settings.seed, ge=0, description="Everything random follows from it.")
    hits: float = Field(default=Settings.hits, ge=0, le=1, description="Fraction of frames with a crystal.")
    spurious: float = Field(
        default=Settings.spurious,
        ge=0,
        le=0.9,
        description="Fraction of a hit's listed peaks that are none, 0.9 at most.",
    )
    peaks_per_hit: int = Field(
        default=Settings.peaks_per_hit, ge=0, description="List only so many true spots, the brightest; 0: all."
    )
    blank_peaks: float = Field(
        default=Settings.blank_peaks, ge=0, description="Mean number of peaks listed for a blank."
    )
    jitter_px: float = Field(default=Settings.jitter_px, ge=0, description="Error of listed positions, pixels.")
    photons: float = Field(default=Settings.photons, ge=0, description="Mean photons of a full reflection at q = 0.")
    background: float = Field(default=Settings.background, ge=0, description="Factor on the background.")
    adu_per_photon: float = Field(
        default=Settings.adu_per_photon, gt=0, description="ADU of a photon on the built-in detector."
    )
    charge_sigma_px: float = Field(
        default=Settings.charge_sigma_px,
        ge=0,
        le=5,
        description="How far a photon's charge spreads (a detector that integrates), pixels.",
    )
    read_noise_adu: float = Field(
        default=Settings.read_noise_adu, ge=0, description="Noise of a pixel (a detector that integrates), ADU."
    )
    pedestal_adu: float = Field(
        default=Settings.pedestal_adu,
        description="What pixels without a photon show (a detector that integrates), ADU.",
    )
    dtype: str = Field(default=Settings.dtype, description="Type of the pixels: i4, f4, u2, ...")
    laser_key: str = Field(
        default=Settings.laser_key,
        description="Pump-probe: say under this key (laser_on) whether a laser was on, as in every second frame.",
    )
    laser_change: float = Field(
        default=Settings.laser_change,
        ge=0,
        description="By how much structure factors change with the laser, relative (with laser_key).",
    )
    style: Style = Field(
        default="seed",
        description="seed: OnDA's array of one map; om (with the command also msgpack): one map, image as OM writes it; "
        "hdf5: an HDF5 file; cbf: a CBF image; "
        "seedee: an array with its description in JSON; npy: an array alone; dectris1, dectris2: a series of DECTRIS' streams; "
        "karabo: trains of 16 frames.",
    )
    image: bool = Field(default=True, description="Send pixels, or peaks and headers alone.")
    size: str = Field(default=SIZE, description="Width and height of the built-in detector, pixels.")
    res: float = Field(default=RES_PER_M, gt=0, description="Pixels per metre of the built-in detector.")
    geometry: Path | None = Field(default=None, description="Geometry file instead of the built-in detector.")
    cell: Path | None = Field(default=None, description="Unit cell file (.cell, .pdb); else lysozyme.")
    space_group: str | None = Field(default=None, description="For the file's cell, e.g. 'P 43 21 2'.")
    energy_ev: float = Field(default=ENERGY_EV, gt=0, description="Photon energy, eV.")
    distance_mm: float = Field(default=DISTANCE_MM, gt=0, description="Detector distance, mm.")

    def set_up(self) -> Apparatus:
        """Read the files and make the tables."""
        from stages.simulation.apparatus import Apparatus

        chosen = {field.name: getattr(self, field.name) for field in dataclasses.fields(Beamline)}
        settings = {name: chosen.pop(name) for name in Settings.__dataclass_fields__ if name in chosen}
        return Apparatus.make(Settings(**settings), **chosen)
