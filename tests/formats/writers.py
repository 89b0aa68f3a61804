"""Frames in each data format, as other people's programs write them (fabio, NumPy, karabo-bridge)."""

from __future__ import annotations

import io
import json
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
        Where a geometry file finds photon energy (12000 eV) and camera length (0.12 m); "" where the sender says them itself.
    has_checksum
        Whether a changed byte of the pixels is noticed.
    variant
        What is peculiar to this writer of the format, for its name among the tests.
    key
        Where the geometry file says that the pixels are.
    told_by
        Which part of a message says which format it is.
    most_expansion
        So many times as many bytes as a message can its pixels have, at most.
    """

    name: str
    write: Callable[[list[Pixels]], list[Parts]]
    dtypes: tuple[str, ...]
    sentinel: Callable[[np.dtype[Any]], float | None]
    places: str
    has_checksum: bool = False
    most_expansion: int = 64
    variant: str = ""
    key: str = "whatever"
    told_by: int = -1

    def __str__(self) -> str:
        return f"{self.name}-{self.variant}" if self.variant else self.name


ENERGY_EV, DISTANCE_M = 12000.0, 0.12
WAVELENGTH_A = HC_EV_ANGSTROM / ENERGY_EV


def highest(dtype: np.dtype[Any]) -> float | None:
    """The highest value of unsigned integers."""
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else None


def one_panel(width: int, height: int) -> str:
    """What a geometry file says of one panel, without where energy, distance and pixels are."""
    return f"""adu_per_photon = 1
res = 10000
p0/min_fs = 0
p0/max_fs = {width - 1}
p0/min_ss = 0
p0/max_ss = {height - 1}
p0/corner_x = 0
p0/corner_y = 0
p0/fs = x
p0/ss = y
"""


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


SERIES = 7


def dectris1(
    frames: list[Pixels], *, detail: str = "basic", mask: Pixels | None = None, series: int = SERIES
) -> list[Parts]:
    """As SIMPLON's stream: JSON parts, shapes with the fast direction first, pixels as bitshuffle and LZ4 in an HDF5 chunk."""

    def part(**said: Any) -> bytes:
        return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()

    header = [part(header_detail=detail, htype="dheader-1.0", series=series)]
    if detail != "none":
        header.append(part(**CONFIG, photon_energy=ENERGY_EV, detector_distance=DISTANCE_M, wavelength=WAVELENGTH_A))
    if detail == "all":
        height, width = frames[0].shape
        bad = np.zeros((height, width), "<u4") if mask is None else mask.astype("<u4")
        for name, table in (("flatfield", np.ones((height, width), "<f4")), ("pixelmask", bad)):
            kind = table.dtype.name
            header += [part(htype=f"d{name}-1.0", shape=[width, height], type=kind), table.tobytes()]
        rates = np.ones((4000, 2), "<f4")
        header += [part(htype="dcountrate_table-1.0", shape=[2, 4000], type="float32"), rates.tobytes()]
    messages = [header]
    for number, pixels in enumerate(frames):
        height, width = pixels.shape
        body = as_hdf5_chunk(pixels, "bslz4")
        encoding = f"bs{8 * pixels.dtype.itemsize}-lz4<"
        described = {"shape": [width, height], "size": len(body), "type": pixels.dtype.name, "encoding": encoding}
        messages.append(
            [
                part(frame=number, hash="0" * 32, htype="dimage-1.0", series=series),
                part(htype="dimage_d-1.0", **described),
                body,
                part(htype="dconfig-1.0", real_time=99251, start_time=10**6 * number, stop_time=10**6 * number + 99625),
            ]
        )
    return messages


CONFIG = {
    "nimages": 10,
    "ntrigger": 1,
    "x_pixel_size": 7.5e-05,
    "trigger_mode": "ints",
    "detector_translation": [0, 0, 0],
}

_TAGS = {"|u1": 64, "<u2": 69, "<u4": 70, "|i1": 72, "<i2": 77, "<i4": 78, "<f4": 85}


def cbor_array(array: Pixels, codec: str = "") -> Any:
    """An array as Stream2 has it, compressed or not."""
    import cbor2

    content: Any = array.tobytes()
    if codec:
        content = cbor2.CBORTag(56500, [codec, array.dtype.itemsize, as_hdf5_chunk(array, codec)])
    return cbor2.CBORTag(40, [list(array.shape), cbor2.CBORTag(_TAGS[array.dtype.str], content)])


def cbor_message(**said: Any) -> Parts:
    """A message of Stream2."""
    import cbor2

    return [cbor2.dumps(cbor2.CBORTag(55799, said))]


def start(**more: Any) -> Parts:
    """What begins a series of Stream2."""
    known = {"series_unique_id": "01ABC", "number_of_images": 10, "detector_translation": [0.0, 0.0, DISTANCE_M]}
    return cbor_message(type="start", series_id=SERIES, **{**known, "incident_energy": ENERGY_EV, **more})


def image(number: int, data: dict[str, Any], **more: Any) -> Parts:
    """A frame of Stream2."""
    times = {"start_time": [10**6 * number, 10**8], "stop_time": [10**6 * number + 99625, 10**8]}
    return cbor_message(type="image", series_id=SERIES, image_id=number, data=data, **times, **more)


def dectris2(frames: list[Pixels]) -> list[Parts]:
    """As Stream2, from cbor2."""
    messages = [start(channels=["threshold_1"], image_dtype=frames[0].dtype.name)]
    return messages + [image(n, {"threshold_1": cbor_array(pixels, "bslz4")}) for n, pixels in enumerate(frames)]


def hdf5(**how: Any) -> Callable[[list[Pixels]], list[Parts]]:
    """As h5py writes HDF5 files, one a frame."""

    def write(frames: list[Pixels]) -> list[Parts]:
        bodies: list[Parts] = []
        for pixels in frames:
            bodies.append([hdf5_file(pixels, **how)])
        return bodies

    return write


def hdf5_file(pixels: Pixels, **how: Any) -> bytes:
    """An HDF5 file with pixels and a header; `how` is for h5py's create_dataset."""
    import h5py
    import hdf5plugin  # noqa: F401 - it brings filters

    if how.get("chunks") == "one":
        how["chunks"] = pixels.shape
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("entry/data/data", data=pixels, **how)
        file["LCLS/photon_energy"] = ENERGY_EV
        file["LCLS/clen"] = np.array([DISTANCE_M])
    return buffer.getvalue()


BSLZ4 = (0, 2)
"""Of bitshuffle: blocks of its own size, and LZ4 within."""

HDF5 = {
    "plain": {},
    "gzip": {"chunks": "one", "compression": "gzip", "shuffle": True},
    "bslz4": {"chunks": "one", "compression": 32008, "compression_opts": BSLZ4},
    "bslz4-chunks": {"chunks": (16, 16), "compression": 32008, "compression_opts": BSLZ4},
    "blosc": {"chunks": "one", "compression": 32001},
}
"""How files are written: what is read past HDF5 in one piece or many, and what HDF5 reads."""

IN_FILES = "photon_energy = /LCLS/photon_energy eV\nclen = /LCLS/clen m\ndata = /entry/data/data\n"


def seedee(compression: str) -> Callable[[list[Pixels]], list[Parts]]:
    """As Seedee writes arrays."""

    def write(frames: list[Pixels]) -> list[Parts]:
        import seedee as library

        messages = []
        for pixels in frames:
            body, description = library.serialize(
                np.ascontiguousarray(pixels), getattr(library, f"COMPRESSION_{compression}")
            )
            messages.append([description.encode(), bytes(body)])
        return messages

    return write


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
    *(
        Format(
            "hdf5",
            hdf5(**how),
            ("i4", "u4", "i2", "u2", "i1", "u1", "f4", "f8", ">u2", ">f4"),
            highest,
            IN_FILES,
            most_expansion=1100,
            variant=variant,
            key="/entry/data/data",
        )
        for variant, how in HDF5.items()
    ),
    *(
        Format(
            "seedee",
            seedee(compression),
            ("i4", "u4", "i2", "u2", "i1", "u1", "f4", "f8", ">u2", ">f4"),
            highest,
            FIXED,
            most_expansion=1100,
            variant=compression.lower(),
            told_by=0,
        )
        for compression in ("NONE", "LZ4", "BITSHUFFLE", "DEFLATE")
    ),
    Format("dectris1", dectris1, ("i4", "u4", "i2", "u2", "i1", "u1", "f4"), highest, "", most_expansion=256),
    Format("dectris2", dectris2, ("i4", "u4", "i2", "u2", "i1", "u1", "f4"), highest, "", most_expansion=256),
    Format(
        "karabo",
        karabo,
        ("u2", "i4", "i2", "u1", "f4", "f8", ">u2", ">f4"),
        lambda dtype: None,
        FROM_TRAIN,
        told_by=0,
    ),
    Format(
        "karabo",
        partial(karabo, version="1.0"),
        ("u2", "i4", "f4"),
        lambda dtype: None,
        FROM_TRAIN,
        variant="1.0",
        told_by=0,
    ),
)
"""All formats but MessagePack."""
