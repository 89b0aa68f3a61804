"""HDF5 files that are whole, and in which something else is than should be."""

from __future__ import annotations

import contextlib
import io
import random
import struct
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - filters for strange files
import numpy as np
from byte_mutators import HUGE
from format_messages import HEIGHT, WIDTH, Good
from writers import Parts


def restructured_hdf5(good: Good, rng: random.Random) -> list[Parts]:
    """A file that is whole, in which something else is than should be."""
    buffer = io.BytesIO()
    pixels = good.pixels[0]
    with h5py.File(buffer, "w", libver=rng.choice(("earliest", "earliest", "latest"))) as file:
        file["LCLS/photon_energy"] = 12000.0
        file["LCLS/clen"] = np.array([0.12])
        for _ in range(rng.choice((1, 1, 2))):
            path = rng.choice(("entry/data/data", "entry/data/data", "LCLS/photon_energy", "LCLS/clen", "more"))
            if path in file:
                del file[path]
            with contextlib.suppress(ValueError, TypeError, OSError, RuntimeError):  # what HDF5 itself does not write
                rng.choice(_STRANGE_DATA)(file, path, pixels, rng)
        if "entry/data/data" not in file and rng.random() < 0.7:
            file["entry/data/data"] = pixels
    return [[buffer.getvalue()]]


def _other_shape(file: Any, path: str, pixels: Any, rng: random.Random) -> None:
    flat = np.resize(pixels, 64)
    file[path] = flat.reshape(rng.choice(((64,), (8, 8), (1, 8, 8), (8, 8, 1), (2, 2, 2, 8), (1,) * 20 + (64,))))


def _no_number(file: Any, path: str, pixels: Any, rng: random.Random) -> None:
    text = np.array(["a", "b"], h5py.string_dtype())
    arrays = (
        *(np.zeros((3, 4), kind) for kind in ([("a", "i4"), ("b", "f4")], "c8", bool, "V7")),
        np.array([b"ab", b"cd"]),
    )
    file[path] = rng.choice((*arrays, text, "9500.5", b"\xff\xfe", h5py.Empty("f4"), np.float64("nan")))


def _kept_elsewhere(file: Any, path: str, pixels: Any, rng: random.Random) -> None:
    match rng.randrange(5):
        case 0:
            file[path] = h5py.ExternalLink("/etc/passwd", "/data")
        case 1:
            file[path] = h5py.SoftLink(rng.choice(("/" + path, "/LCLS", "/entry/../entry", "LCLS/clen", "/a/b")))
        case 2:
            file.create_dataset(path, (4, 4), "u1", external=[("/etc/passwd", 0, 16)])
        case 3:
            layout = h5py.VirtualLayout((4, 4), "i4")
            layout[:] = h5py.VirtualSource("/etc/passwd", "data", (4, 4))
            file.create_virtual_dataset(path, layout)
        case _:
            file.create_group(path)["itself"] = file["/"]


def _of_other_size(file: Any, path: str, pixels: Any, rng: random.Random) -> None:
    shape = rng.choice(((30_000, 40_000), (0, 7), (1 << 40, 2), (5, 1 << 33), (300, 300)))
    how = rng.choice(({}, {"chunks": (1000, 2), "compression": "gzip"}, {"chunks": (100, 100), "compression": 32008}))
    if "chunks" in how and min(shape) < 1:
        how = {}
    if "chunks" in how:
        how = {**how, "maxshape": (None, None)}
    file.create_dataset(path, shape, rng.choice(("u2", "i4", "f8")), **how)


def _of_wrong_chunks(file: Any, path: str, pixels: Any, rng: random.Random) -> None:
    """Chunks that hold something else than their filters write."""
    how: dict[str, Any] = rng.choice(
        (
            {"compression": "gzip", "shuffle": True},
            {"fletcher32": True},
            {"compression": 32008, "compression_opts": (0, rng.choice((2, 3)))},
            {"compression": rng.choice((32004, 32001, 32015))},
        )
    )
    stored = file.create_dataset(path, pixels.shape, pixels.dtype, chunks=pixels.shape, **how)
    size = rng.choice((0, 1, 3, 4, 12, 13, 16, 100, 5000))
    body = rng.choice((rng.randbytes(size), bytes(size), pixels.tobytes()[:size]))
    if rng.random() < 0.4:
        body = struct.pack(">QI", rng.choice((*HUGE, pixels.nbytes)), rng.choice(HUGE) & 0xFFFFFFFF) + body
    stored.id.write_direct_chunk((0, 0), body or b"\0", rng.choice((0, 0, 1, 3, 0xFFFFFFFF)))


def _of_odd_numbers(file: Any, path: str, pixels: Any, rng: random.Random) -> None:
    """Types of numbers that numpy does not have, and fill values."""
    kind = h5py.h5t.NATIVE_INT32.copy()
    kind.set_precision(rng.choice((20, 24, 31)))
    if rng.random() < 0.3:
        kind.set_offset(1)
    space = h5py.h5s.create_simple((HEIGHT, WIDTH))
    name = path.rpartition("/")[2].encode()
    group = file.require_group("/" + path.rpartition("/")[0])
    h5py.h5d.create(group.id, name, kind, space)


_STRANGE_DATA = (
    _other_shape,
    _no_number,
    _kept_elsewhere,
    _of_other_size,
    _of_wrong_chunks,
    _of_wrong_chunks,
    _of_odd_numbers,
)
