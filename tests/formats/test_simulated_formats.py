"""What ``streamajig simulate --format`` sends is read by that format's decoder, with the geometry file that goes with it."""

from __future__ import annotations

import sys
from functools import cache
from typing import get_args

import numpy as np
import pytest

from pipeline import Context, RejectFrame, UserError, registry
from stages.files.geom.detector import Detector
from stages.simulation.apparatus import Apparatus
from stages.simulation.formats import FORMATS
from stages.simulation.settings import Settings, Style
from stages.wire.formats import DECODERS
from stages.wire.framing import framing_of


@pytest.mark.parametrize("style", ["hdf5", "cbf", "seedee", "npy", "dectris1"])  # trains: see test_karabo
def test_simulated_frames_come_back(style: str) -> None:
    apparatus = Apparatus.make(
        Settings(seed=3, hits=1.0), style=style, size="60x50", energy_ev=9000.0, distance_mm=140.0
    )
    frame = apparatus.simulation.frame(4)
    framing = framing_of(style)
    (message,) = (
        message
        for body in apparatus.wire.bodies([frame])
        for message in framing.frames_of(
            [memoryview(part) for part in ([body] if isinstance(body, bytes | bytearray) else body)], 0, None
        )
    )
    event, header, image = registry.load(DECODERS[style])().open(Context())(message)
    geom = Detector.parse(apparatus.geometry_text).geom_for(header, image)
    (pixels,) = frame.arrays.values()
    np.testing.assert_array_equal(geom.views(image)[0], pixels)
    assert geom.photon_energy_ev == pytest.approx(frame.geom.photon_energy_ev)
    assert geom.mean_clen_m == pytest.approx(0.14)
    if style != "npy":
        assert event == frame.truth.event
        assert header.sender_number is not None
        assert header.sender_number.number == 4


@cache
def messages_of(data_format: str) -> tuple[tuple[memoryview, ...], ...]:
    """All messages of two frames, or of two trains."""
    style = "om" if data_format == "msgpack" else data_format
    apparatus = Apparatus.make(Settings(seed=3, hits=1.0), style=style, size="60x50")
    frames = list(apparatus.simulation.frames(2 * apparatus.wire.frames_a_message))
    bodies = apparatus.wire.bodies(frames)
    return tuple(tuple(map(memoryview, [body] if isinstance(body, bytes | bytearray) else body)) for body in bodies)


@pytest.mark.parametrize("tag", [(), (b"",), (b"tag",)], ids=["no tag", "the envelope of a reply", "a tag"])
@pytest.mark.parametrize("wanted", DECODERS)
@pytest.mark.parametrize("sent", DECODERS)
def test_what_is_sent_in_another_format_is_rejected_with_the_option_that_reads_it(
    sent: str, wanted: str, tag: tuple[bytes, ...]
) -> None:
    """As a run does it: whatever the parts of a message are, each is rejected, and says the same."""
    if sent == wanted:
        return
    decode, framing = registry.load(DECODERS[wanted])().open(Context()), framing_of(wanted)
    for parts in messages_of(sent):
        frames = framing.frames_of([*map(memoryview, tag), *parts], 0, None)
        assert len(frames) == 1
        with pytest.raises(RejectFrame, match=f"--data-format={sent} reads it"):
            decode(frames[0])


def test_every_style_is_a_format() -> None:
    assert set(FORMATS) == set(get_args(Style))


def test_without_h5py_hdf5_files_are_not_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"pip install 'streamajig\[hdf5\]'"):
        Apparatus.make(Settings(), style="hdf5")
