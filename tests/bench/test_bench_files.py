"""Frames of 4.5 megapixels from files on disk, with one thread and with two, beside the libraries of others."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from fabio.cbfimage import CbfImage

from pipeline import Context, Message, registry
from stages.source.files import Files

pytestmark = pytest.mark.bench

IN_STACK = 8
FRAMES_AT_ONCE = 8
"""Shared by the threads; the time of a row is that of all of them."""

STACKS: dict[str, dict[str, Any]] = {
    "stack": {},
    "stack bslz4": dict(hdf5plugin.Bitshuffle(cname="lz4")),
    "stack gzip": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
}
"""How HDF5 files are packed; a chunk is a frame, as detectors write them."""

KINDS = (*STACKS, "cbf", "cbf.gz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, frames: Any) -> Path:
    """Files of each kind with the same frames, and the geometry file."""
    made = tmp_path_factory.mktemp("files")
    height, width = frames.pixels[0].shape
    pixels = [frames.pixels[n % len(frames.pixels)] for n in range(IN_STACK)]
    for kind, how in STACKS.items():
        with h5py.File(made / f"{kind}.h5", "w") as file:
            shape = (IN_STACK, height, width)
            chunks = (1, height, width) if how else None
            file.create_dataset("entry/data", shape, "u2", chunks=chunks, **how)[:] = np.stack(pixels)
    for n, one in enumerate(pixels):
        plain = made / f"{n}.cbf"
        CbfImage(data=np.where(one == 65535, -1, one).astype("i4")).write(str(plain))
        (made / f"{n}.cbf.gz").write_bytes(gzip.compress(plain.read_bytes(), 6))
    (made / "detector.geom").write_text(
        "photon_energy = 9000 eV\nclen = 0.1\nadu_per_photon = 1\nres = 10000\ndata = /entry/data\n"
        "dim0 = %\ndim1 = ss\ndim2 = fs\np/min_fs = 0\np/min_ss = 0\np/corner_x = 0\np/corner_y = 0\np/fs = x\np/ss = y\n"
        f"p/max_fs = {width - 1}\np/max_ss = {height - 1}\n"
    )
    return made


Read = Callable[[int], Any]
"""Reads the pixels of a frame."""


def by_us(kind: str, folder: Path) -> Callable[[], Read]:
    """What a replica does, with what the source hands it."""
    is_cbf = kind.startswith("cbf")
    geometry = folder / "detector.geom"
    images = [f"{folder / str(n)}.{kind}" for n in range(IN_STACK)] if is_cbf else [str(folder / f"{kind}.h5")]
    source = Files(images=tuple(images), data_format="cbf" if is_cbf else "hdf5", geometry=geometry).open(Context())
    messages: list[Message] = []
    while len(messages) < IN_STACK:
        messages += source.receive(0.1, IN_STACK)
    stage = registry.load("decode/cbf")() if is_cbf else registry.load("decode/hdf5_file")(geometry=geometry)

    def replica() -> Read:
        decode = stage.open(Context())
        return lambda n: decode(messages[n])[2].array("/entry/data")

    return replica


def by_others(kind: str, folder: Path) -> Callable[[], Read]:
    """What h5py's and fabio's manuals say."""

    def cbf(n: int) -> Any:
        return CbfImage().read(f"{folder / str(n)}.{kind}").data

    def replica() -> Read:
        if kind.startswith("cbf"):
            return cbf
        stored = h5py.File(folder / f"{kind}.h5", "r")["entry/data"]
        return lambda n: stored[n]

    return replica


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("reader", [by_us, by_others], ids=["us", "others"])
@pytest.mark.parametrize("kind", KINDS)
def test_eight_frames(kind: str, reader: Any, threads: int, folder: Path, frames: Any, benchmark: Any) -> None:
    replica = reader(kind, folder)
    reads = [replica() for _ in range(threads)]
    for n, read in enumerate(reads):
        wanted = frames.pixels[n]
        found = np.asarray(read(n)).reshape(wanted.shape)
        np.testing.assert_array_equal(found, np.where(wanted == 65535, -1, wanted) if "cbf" in kind else wanted)

    def share(k: int) -> None:
        for n in range(k, FRAMES_AT_ONCE, threads):
            reads[k](n % IN_STACK)

    with ThreadPoolExecutor(threads) as pool:
        benchmark.pedantic(lambda: list(pool.map(share, range(threads))), rounds=5, iterations=1, warmup_rounds=1)
