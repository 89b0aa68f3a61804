"""Frames in each data format, as other people's programs write them (fabio, NumPy, karabo-bridge)."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.records.geometry import HC_EV_ANGSTROM

Pixels = NDArray[Any]
Parts = list[bytes]
"""A message as it goes over a socket, part by part."""


@dataclass(frozen=True)
class Format:
    """How others write a data format.

    Attributes
    ----------
    name
        As ``--data-format`` has it.
    write
        Makes messages of frames, in their order: a list of messages, each a list of parts. Whatever a sender says once is among
        them.
    dtypes
        Types of pixels that the format can have.
    sentinel
        The value of a pixel that has none, for a type; None where the format has no such value.
    places
        Where a geometry file finds photon energy (12000 eV) and camera length (0.12 m).
    has_checksum
        Whether a changed byte of the pixels is noticed.
    """

    name: str
    write: Callable[[list[Pixels]], list[Parts]]
    dtypes: tuple[str, ...]
    sentinel: Callable[[np.dtype[Any]], float | None]
    places: str
    has_checksum: bool = False

    def __str__(self) -> str:
        return self.name


ENERGY_EV, DISTANCE_M = 12000.0, 0.12
WAVELENGTH_A = HC_EV_ANGSTROM / ENERGY_EV


def highest(dtype: np.dtype[Any]) -> float | None:
    """The highest value of unsigned integers."""
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else None


def cbf(frames: list[Pixels]) -> list[Parts]:
    """As fabio writes CBF."""
    from fabio.cbfimage import CbfImage

    header = {"Wavelength": f"{WAVELENGTH_A:.12f} A", "Detector_distance": f"{DISTANCE_M} m"}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "frame.cbf"
        bodies = []
        for pixels in frames:
            CbfImage(data=pixels, header=dict(header)).write(str(file))
            bodies.append([file.read_bytes()])
    return bodies


def npy(frames: list[Pixels]) -> list[Parts]:
    """As NumPy saves arrays."""
    bodies = []
    for pixels in frames:
        buffer = io.BytesIO()
        np.save(buffer, pixels)
        bodies.append([buffer.getvalue()])
    return bodies


SOURCE = "SPB_DET_AGIPD1M-1/CAL/APPEND_CORRECTED"


def train(frames: list[Pixels], train_id: int = 10_000_000_000) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a karabo bridge knows of a train with these frames: values by source and property, and metadata by source."""
    ids = np.arange(len(frames))
    image = {
        "image.data": np.stack(frames),
        "image.pulseId": (4 * ids).astype("u8"),
        "image.cellId": ids.astype("u2"),
        "image.trainId": np.full(len(frames), train_id, "u8"),
        "image.passport": ["a", "b"],
    }
    others = {
        "SA1_XTD2_XGM/XGM/DOOCS": {"energy": np.float32(ENERGY_EV)},
        "SPB_IRU/MOTOR/DET": {"position": DISTANCE_M},
    }
    data = {SOURCE: image, **others}
    meta = {"timestamp": 1.5, "timestamp.sec": "1", "timestamp.frac": "5" + 17 * "0", "timestamp.tid": train_id}
    return data, {source: {"source": source, **meta} for source in data}


def karabo(frames: list[Pixels], version: str = "2.2", train_id: int = 10_000_000_000) -> list[Parts]:
    """As karabo-bridge sends a train, here of all frames."""
    from karabo_bridge import serialize

    data, meta = train(frames, train_id)
    return [[bytes(part) for part in serialize(data, meta, protocol_version=version)]]


def as_hdf5_chunk(array: Pixels, codec: str, block: int = 0) -> bytes:
    """An array as HDF5's filters compress it, of one chunk: "bslz4", "bszstd" or "lz4" (in blocks of so many bytes)."""
    import h5py
    import hdf5plugin

    filters = {
        "bslz4": hdf5plugin.Bitshuffle(cname="lz4"),
        "bszstd": hdf5plugin.Bitshuffle(cname="zstd"),
        "lz4": hdf5plugin.LZ4(nbytes=block),
    }
    with h5py.File(io.BytesIO(), "w") as file:
        written = file.create_dataset("data", data=array, chunks=array.shape, compression=filters[codec])
        _, chunk = written.id.read_direct_chunk((0,) * array.ndim)
    return bytes(chunk)


FIXED = f"photon_energy = {ENERGY_EV} eV\nclen = {DISTANCE_M} m\n"

FROM_TRAIN = "photon_energy = SA1_XTD2_XGM/XGM/DOOCS/energy eV\nclen = SPB_IRU/MOTOR/DET/position m\n"

FORMATS = (
    Format(
        "cbf",
        cbf,
        ("i4", "u4", "i2", "u2", "i1", "u1"),
        lambda dtype: -1.0 if dtype.kind == "i" else None,
        "wavelength = Wavelength A\nclen = Detector_distance m\n",
        has_checksum=True,
    ),
    Format(
        "npy",
        npy,
        ("i4", "u4", "i2", "u2", "i1", "u1", "f4", "f8", ">u2", ">f4"),
        highest,
        FIXED,
    ),
    Format("karabo", partial(karabo, version="1.0"), ("u2", "i4", "f4"), lambda dtype: None, FROM_TRAIN),
    Format("karabo", karabo, ("u2", "i4", "i2", "u1", "f4", "f8", ">u2", ">f4"), lambda dtype: None, FROM_TRAIN),
)
"""All formats but MessagePack."""
