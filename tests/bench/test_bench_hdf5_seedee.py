"""HDF5 files and Seedee arrays of 4.5 megapixels: one thread, two threads at once, and the libraries of others beside them."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import Context, Message, registry
from stages.wire.formats import DECODERS

sys.path.append(str(Path(__file__).parents[1] / "formats"))

pytestmark = pytest.mark.bench

HDF5 = ("plain", "gzip", "bslz4", "bslz4-chunks", "blosc")
SEEDEE = ("NONE", "LZ4", "BITSHUFFLE", "DEFLATE")
ROWS = [*(("hdf5", how) for how in HDF5), *(("seedee", codec) for codec in SEEDEE)]
FRAMES_AT_ONCE = 8
"""Shared by two threads; the time of a row is that of all of them."""


def message_of(name: str, how: str, pixels: np.ndarray) -> Message:
    from writers import HDF5 as WAYS
    from writers import hdf5_file, seedee

    if name == "seedee":
        ((description, body),) = seedee(how)([pixels])
        return Message(b"", 0, (description, body))
    more = dict(WAYS[how])
    if more.get("chunks") == (16, 16):
        more["chunks"] = (256, 256)
    return Message(b"", 0, (hdf5_file(pixels, **more),))


def by_us(name: str) -> Callable[[Message], Any]:
    decode = registry.load(DECODERS[name])().open(Context())
    return lambda message: decode(message)[2].array("/entry/data/data")


def by_others(name: str) -> Callable[[Message], Any]:
    import h5py
    import seedee

    def read(message: Message) -> Any:
        if name == "seedee":
            description, body = message.parts
            return seedee.deserialize(np.frombuffer(body, np.uint8), bytes(description).decode())
        with h5py.File(io.BytesIO(message.parts[0]), "r") as file:
            return file["entry/data/data"][()]

    return read


@pytest.mark.parametrize("reader", [by_us, by_others], ids=["us", "others"])
@pytest.mark.parametrize(("name", "how"), ROWS, ids=str)
def test_one_thread(name: str, how: str, reader: Any, frames: Any, benchmark: Any) -> None:
    message = message_of(name, how, frames.pixels[0].astype("u2"))
    read = reader(name)
    result = benchmark.pedantic(lambda: read(message), rounds=5, iterations=1, warmup_rounds=1)
    np.testing.assert_array_equal(result, frames.pixels[0])


@pytest.mark.parametrize("reader", [by_us, by_others], ids=["us", "others"])
@pytest.mark.parametrize(("name", "how"), ROWS, ids=str)
def test_two_threads(name: str, how: str, reader: Any, frames: Any, benchmark: Any) -> None:
    message = message_of(name, how, frames.pixels[0].astype("u2"))
    read = reader(name)
    with ThreadPoolExecutor(2) as pool:
        benchmark.pedantic(
            lambda: [done.shape for done in pool.map(read, [message] * FRAMES_AT_ONCE)],
            rounds=3,
            iterations=1,
            warmup_rounds=1,
        )
