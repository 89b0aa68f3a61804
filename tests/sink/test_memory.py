"""Outcomes kept in memory."""

from __future__ import annotations

import gc
import pickle
import weakref

import numpy as np
import pytest
from sink_frames import context, make_frame

from pipeline import Frame, Message, Rejected
from stages.records import Crystals, Header, Image
from stages.sink.memory import Memory


class Pixels(np.ndarray):
    """An array of which one can tell whether it still lives."""


def frame_with_pixels() -> tuple[Frame, Pixels]:
    buffer = np.frombuffer(bytearray(b"\x01" * 1000), np.uint8).view(Pixels)
    header = Header({"beam_energy": memoryview(buffer)[:4]}, lambda encoded: int(bytes(encoded)[0]))
    message = Message(b"", 0, (memoryview(buffer),))
    return make_frame(1).with_values(message, Image.of(data=np.asarray(buffer).reshape(10, 100)), header), buffer


@pytest.mark.parametrize("rejected", [False, True])
def test_pixels_are_let_go_of_and_the_rest_is_kept(rejected: bool) -> None:
    frame, pixels = frame_with_pixels()
    lives = weakref.ref(pixels)
    outcome = Rejected(1, "e", 0, "node", "why", "because", frame) if rejected else frame
    sink = Memory()
    encoder, writer = sink.open(context()), sink.open_writer(context())
    writer.write(encoder(outcome))
    writer.close()
    (kept,) = writer.outcomes
    inner = kept.frame if rejected else kept
    assert Image not in inner
    assert Message not in inner
    assert inner[Header]["beam_energy"] == 1
    assert len(inner[Crystals]) == 1
    assert (kept.reason if rejected else kept.serial) == ("why" if rejected else 1)
    del outcome, frame, pixels
    gc.collect()
    assert lives() is None


def test_pixels_are_kept_if_asked_for() -> None:
    frame, _ = frame_with_pixels()
    sink = Memory(keep_image=True)
    assert sink.open(context())(frame) is frame


def test_a_frame_without_header_is_kept() -> None:
    assert Memory().open(context())(Frame(3, "e")) == Frame(3, "e")


def test_outcomes_come_in_the_order_of_writing() -> None:
    writer = Memory().open_writer(context())
    for serial in (3, 1, 2):
        writer.write(Frame(serial))
    assert [frame.serial for frame in writer.outcomes] == [3, 1, 2]
    assert pickle.loads(pickle.dumps(Memory(in_order=False))) == Memory(in_order=False)
