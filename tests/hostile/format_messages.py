"""Good messages of each data format, from which hostile ones are made, as other people's programs write them."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "formats"))
import writers
from writers import Parts, Pixels

HEIGHT, WIDTH = 18, 26
"""Pixels of the detector along ss and fs."""

SIGNED = ("i4", "i2", "i1")
UNSIGNED = ("u4", "u2", "u1")
REAL = ("f4", "f8", ">f4", ">u2")


@dataclass(frozen=True)
class Good:
    """What a sender sends of a few frames.

    Attributes
    ----------
    messages
        All of it, each a list of parts; whatever is said once comes first.
    pixels
        Of each frame.
    covered
        Begin and end of the bytes in the last part of the last message that a checksum covers; None where there is none.
    places
        What the geometry file says of energy, distance and pixels.
    """

    messages: list[Parts]
    pixels: list[Pixels]
    covered: tuple[int, int] | None
    places: str


def pixels_of(dtype: str, rng: np.random.Generator) -> Pixels:
    """Photons and some bright ones."""
    kind = np.dtype(dtype)
    most = min(100_000, int(np.iinfo(kind).max)) if kind.kind in "iu" else 100_000
    pixels = rng.poisson(2.0, (HEIGHT, WIDTH))
    pixels[rng.integers(0, HEIGHT, 12), rng.integers(0, WIDTH, 12)] = rng.integers(0, most, 12)
    pixels[5:7] = -1 if kind.kind == "i" else 3
    return pixels.astype(kind)


def _with_energy(places: str) -> str:
    """Senders of a series say these themselves; a geometry file may name them."""
    return places or writers.FIXED


def cbf(rng: np.random.Generator) -> Good:
    pixels = pixels_of(str(rng.choice((*SIGNED, *UNSIGNED))), rng)
    messages = writers.cbf([pixels])
    body = messages[0][0]
    begin = body.index(b"\x0c\x1a\x04\xd5") + 4
    size = int(body.split(b"X-Binary-Size:")[1].split()[0])
    return Good(messages, [pixels], (begin, begin + size), "wavelength = Wavelength A\nclen = Detector_distance m\n")


def cbf_gz(rng: np.random.Generator) -> Good:
    good = cbf(rng)
    body = gzip.compress(good.messages[0][0], mtime=0)
    return Good([[body]], good.pixels, (10, len(body)), good.places)


def npy(rng: np.random.Generator) -> Good:
    pixels = pixels_of(str(rng.choice((*SIGNED, *UNSIGNED, *REAL))), rng)
    if rng.random() < 0.2:
        pixels = np.asfortranarray(pixels)
    return Good(writers.npy([pixels]), [pixels], None, writers.FIXED)


HDF5 = {
    **writers.HDF5,
    "lz4": {"chunks": "one", "compression": 32004},
    "bszstd": {"chunks": "one", "compression": 32008, "compression_opts": (0, 3)},
    "summed": {"chunks": "one", "fletcher32": True},
    "summed-gzip": {"chunks": "one", "fletcher32": True, "compression": "gzip"},
    "chunks": {"chunks": (9, 13), "compression": "gzip"},
}
"""How files are written; the last ones have checksums besides those of zlib."""

_COVERED = ("gzip", "summed", "summed-gzip")


def hdf5(rng: np.random.Generator) -> Good:
    how = str(rng.choice(list(HDF5)))
    pixels = pixels_of(str(rng.choice((*SIGNED, *UNSIGNED, *REAL))), rng)
    body = writers.hdf5_file(pixels, **dict(HDF5[how]))
    return Good([[body]], [pixels], _chunk_of(body) if how in _COVERED else None, writers.IN_FILES)


def _chunk_of(body: bytes) -> tuple[int, int]:
    """Where the one chunk of the pixels is in a file."""
    import io

    import h5py

    with h5py.File(io.BytesIO(body), "r") as file:
        place = file["entry/data/data"].id.get_chunk_info(0)
    return place.byte_offset, place.byte_offset + place.size


def seedee(rng: np.random.Generator) -> Good:
    compression = str(rng.choice(("NONE", "LZ4", "BITSHUFFLE", "DEFLATE")))
    pixels = pixels_of(str(rng.choice((*SIGNED, *UNSIGNED, "f4"))), rng)
    messages = writers.seedee(compression)([pixels])
    whole = (0, len(messages[-1][-1]))
    return Good(messages, [pixels], whole if compression == "DEFLATE" else None, writers.FIXED)


def dectris1(rng: np.random.Generator) -> Good:
    pixels = pixels_of(str(rng.choice((*SIGNED, *UNSIGNED, "f4"))), rng)
    detail = str(rng.choice(("none", "basic", "all")))
    return Good(writers.dectris1([pixels], detail=detail), [pixels], None, writers.FIXED)


def dectris2(rng: np.random.Generator) -> Good:
    pixels = pixels_of(str(rng.choice((*SIGNED, *UNSIGNED, "f4"))), rng)
    codec = str(rng.choice(("", "bslz4", "bszstd")))
    more: dict[str, Any] = {}
    if rng.random() < 0.5:
        more = {"pixel_mask": {"threshold_1": writers.cbor_array(np.zeros((HEIGHT, WIDTH), "u4"))}, "error_value": -5}
    spots = [{"x": 3.5, "y": 2.0, "I": 30.0}] * 3 if rng.random() < 0.5 else [3.5, 2.0, 30.0]
    messages = [
        writers.start(channels=["threshold_1"], **more),
        writers.image(3, {"threshold_1": writers.cbor_array(pixels, codec)}, spots=spots),
    ]
    return Good(messages, [pixels], None, writers.FIXED)


def karabo(rng: np.random.Generator, version: str) -> Good:
    count = int(rng.integers(1, 4))
    dtype = str(rng.choice(("u2", "i4", "f4")))
    frames = [pixels_of(dtype, rng) for _ in range(count)]
    return Good(writers.karabo(frames, version), frames, None, writers.FROM_TRAIN)


def karabo_22(rng: np.random.Generator) -> Good:
    return karabo(rng, "2.2")


def karabo_10(rng: np.random.Generator) -> Good:
    return karabo(rng, "1.0")


GOOD: dict[str, Callable[[np.random.Generator], Good]] = {
    "hdf5": hdf5, "cbf": cbf, "cbf.gz": cbf_gz, "npy": npy, "seedee": seedee, "dectris1": dectris1, "dectris2": dectris2,
    "karabo-2.2": karabo_22, "karabo-1.0": karabo_10,
}  # fmt: skip
"""Makes good messages, by the name of the format and what is peculiar to them."""


def format_of(name: str) -> str:
    """What ``--data-format`` calls it.

    >>> format_of("karabo-2.2"), format_of("cbf.gz")
    ('karabo', 'cbf')
    """
    return name.partition("-")[0].partition(".")[0]
