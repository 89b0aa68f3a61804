"""Decoding a frame of 4.5 Mpx in each format, with one thread and with two, beside what a peer takes for the pixels alone."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import Context, Message, registry
from stages.wire.formats import DECODERS
from stages.wire.framing import framing_of

sys.path.append(str(Path(__file__).parents[1] / "formats"))
from writers import FORMATS, Format, Parts, Pixels

pytestmark = pytest.mark.bench

SHAPE = (2162, 2068)
"""An EIGER 4M."""


def pixels_of(dtype: str) -> Pixels:
    """Background, 150 spots, and gaps of pixels without a value."""
    rng = np.random.default_rng(4)
    pixels = rng.poisson(1.4, SHAPE)
    pixels[rng.integers(0, SHAPE[0], 150), rng.integers(0, SHAPE[1], 150)] = 500
    pixels[514:551] = pixels[:, 1030:1040] = -1 if dtype == "i4" else np.iinfo(dtype).max
    return pixels.astype(dtype)


def fabio_pixels(parts: Parts) -> Any:
    """Read a CBF image."""
    from fabio.cbfimage import CbfImage

    return CbfImage().read(io.BytesIO(parts[-1])).data


def dectris_pixels(body: bytes) -> Any:
    """Decompress what HDF5's filter has written."""
    from dectris.compression import decompress

    return np.frombuffer(decompress(body, "bslz4", elem_size=2), "<u2")


def stream2_pixels(parts: Parts) -> Any:
    """Decode CBOR, and decompress the first channel."""
    import cbor2

    (array, *_) = cbor2.loads(parts[0])["data"].values()
    return dectris_pixels(array.value[1].value.value[2])


def train_pixels(parts: Parts) -> Any:
    """Read a train of one pulse."""
    from karabo_bridge import deserialize

    data, _ = deserialize(parts)
    (array,) = (source["image.data"] for source in data.values() if "image.data" in source)
    return array[0]


PEERS: dict[str, Callable[[Parts], Any]] = {
    "cbf": fabio_pixels,
    "npy": lambda parts: np.load(io.BytesIO(parts[-1])),
    "dectris1": lambda parts: dectris_pixels(parts[2]),
    "dectris2": stream2_pixels,
    "karabo": train_pixels,
}
"""What other people's programs do with a message of ours, as their manuals say; HDF5 and Seedee: test_bench_hdf5_seedee."""

DTYPES = {"cbf": "i4"}


def messages_of(form: Format) -> tuple[Parts, Message]:
    """A frame's message as it goes over a socket, and as a source hands it on."""
    parts = form.write([pixels_of(DTYPES.get(form.name, "u2"))])
    framing = framing_of(form.name)
    frames = [frame for each in parts for frame in framing.frames_of([memoryview(part) for part in each], 0, None)]
    return parts[-1], frames[-1]


def several(work: Callable[[Any], object], what: Sequence[Any], pool: ThreadPoolExecutor) -> None:
    """Do the work in as many threads as there are inputs."""
    list(pool.map(work, what))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_decoding_a_frame(benchmark: Any, form: Format, threads: int) -> None:
    """Ours: header and pixels; of two threads each does one frame."""
    _, message = messages_of(form)
    decoders = [registry.load(DECODERS[form.name])().open(Context()) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        benchmark(several, lambda decode: decode(message)[2].array(form.key).shape, decoders, pool)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("form", [form for form in FORMATS if form.name in PEERS], ids=str)
def test_decoding_a_frame_by_a_peer(benchmark: Any, form: Format, threads: int) -> None:
    """The peer's."""
    parts, _ = messages_of(form)
    with ThreadPoolExecutor(threads) as pool:
        benchmark(several, PEERS[form.name], [parts] * threads, pool)
