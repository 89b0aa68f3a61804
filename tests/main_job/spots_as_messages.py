"""Measured spots, given as scattering vectors, turned into the messages that a beamline would have sent.

A spot's direction is all that matters: each q points at one place of a virtual flat panel.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgpack
import numpy as np
from numpy.typing import NDArray

from stages.records import HC_EV_ANGSTROM
from stages.simulation.apparatus import flat_geometry

RES_PER_M = 10000.0
CLEN_M = 0.1

FLAT_GEOM = flat_geometry(20_000, 20_000, RES_PER_M)
"""One virtual flat panel, wide enough for anything forward."""


@dataclass(frozen=True)
class Still:
    """A measured still and what its authors found: rows of `real_space` are a, b, c in Angstrom."""

    name: str
    energy_ev: float
    q_per_angstrom: NDArray[np.float64]
    intensity: NDArray[np.float64]
    real_space: NDArray[np.float64]


def stills_of(path: Path) -> list[Still]:
    """Read one of the JSON files of the real data."""
    document = json.loads(path.read_text())
    return [
        Still(
            name=f"{path.stem} // {n:04d}",
            energy_ev=HC_EV_ANGSTROM / still["wavelength_A"],
            q_per_angstrom=np.array(still["q_per_A"]),
            intensity=np.array(still["intensity"]),
            real_space=np.array(still["real_space_vectors_A"]),
        )
        for n, still in enumerate(document["stills"])
    ]


def message_on_flat_panel(still: Still) -> bytes:
    """The message of a still, as OM sends it, for FLAT_GEOM."""
    wavelength = HC_EV_ANGSTROM / still.energy_ev
    direction = still.q_per_angstrom * wavelength + [0, 0, 1]
    forward = direction[:, 2] > 0.05
    direction, intensity = direction[forward], still.intensity[forward]
    pixels = direction[:, :2] / direction[:, 2:] * CLEN_M * RES_PER_M + 10000
    return message(pixels[:, 0] - 0.5, pixels[:, 1] - 0.5, intensity, energy_ev=still.energy_ev, event=still.name)


def message(
    fs: Sequence[float] | NDArray[np.float64],
    ss: Sequence[float] | NDArray[np.float64],
    intensity: Sequence[float] | NDArray[np.float64],
    *,
    energy_ev: float = 9500.0,
    event: str = "",
    **more: object,
) -> bytes:
    """A message without pixels; fs and ss are pixel indices, as senders give them."""
    peaks = {
        "num_peaks": len(fs),
        "fs": list(map(float, fs)),
        "ss": list(map(float, ss)),
        "intensity": list(map(float, intensity)),
    }
    body = {"peak_list": peaks, "beam_energy": energy_ev, "detector_distance": CLEN_M * 1e3, **more}
    if event:
        body["event_id"] = event
    packed: bytes = msgpack.packb(body)
    return packed
