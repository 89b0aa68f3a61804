"""A train of 64 pulses of an AGIPD module (8.4 MB) taken apart and decoded; beside it the peer, which does not do so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from karabo_bridge import deserialize, serialize

from pipeline import Context
from stages.decode.karabo import Karabo
from stages.wire.framing import framing_of

pytestmark = pytest.mark.bench

PULSES = 64
SHAPES = {"pulses first": (PULSES, 512, 128), "pulses last": (128, 512, PULSES)}


def train(shape: tuple[int, ...], version: str) -> list[bytes]:
    """A train's message."""
    pixels = np.random.default_rng(1).poisson(1.4, shape).astype("u2")
    data = {"DET/0CH0:xtdf": {"image.data": pixels, "image.cellId": np.arange(PULSES)}}
    meta = {"DET/0CH0:xtdf": {"timestamp.tid": 1}}
    return [bytes(part) for part in serialize(data, meta, protocol_version=version)]


@pytest.mark.parametrize("version", ["2.2", "1.0"])
@pytest.mark.parametrize("order", SHAPES)
def test_a_train_taken_apart_and_decoded(benchmark: Any, order: str, version: str) -> None:
    """All frames of it."""
    parts = train(SHAPES[order], version)
    framing, decode = framing_of("karabo"), Karabo().open(Context())

    def work() -> int:
        messages = framing.frames_of([memoryview(part) for part in parts], 0, None)
        return len([decode(message) for message in messages])

    assert benchmark(work) == PULSES


@pytest.mark.parametrize("version", ["2.2", "1.0"])
def test_a_train_by_the_peer(benchmark: Any, version: str) -> None:
    """karabo-bridge gives the whole array."""
    parts = train(SHAPES["pulses first"], version)
    assert benchmark(deserialize, parts)
