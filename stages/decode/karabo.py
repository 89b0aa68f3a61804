"""Read frames of the trains that a karabo bridge sends, as at the European XFEL."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import Context, Event, Message, RejectFrame, SenderNumber, stage
from stages.records.header import Header
from stages.records.image import UNNAMED, Image, Sentinels
from stages.records.told import PixelsDecoded
from stages.wire.encoded import decode_value
from stages.wire.karabo import entries_of
from stages.wire.looks import not_wanted
from stages.wire.message import body_of
from stages.wire.naming import Naming
from stages.wire.trains import BROKEN, FRAME, TrainFrame, read_frame, told_of


@stage("decode/karabo", publishes=(PixelsDecoded,))
class Karabo(Naming):
    """Read a frame of a train that came over a karabo bridge, protocol 2.2 or 1.0 (European XFEL).

    The source takes each train apart, a frame for each pulse. All that the train says is in the frames' header, as
    ``SOURCE/key``, so that a geometry file can say ``photon_energy = SOURCE/key eV``; of arrays of the image's own source that
    have an entry for each pulse it is the frame's entry. Besides these there are ``trainId``, ``pulseId`` and ``cellId``, and
    the event is called ``trainId // pulseId``.

    Arrays of images are called ``SOURCE/image.data``, which the geometry file's ``data`` says for modules that are sources of
    their own; where there is one, it needs no name. Their dimensions are those that came, without that of pulses: ``dim0 = fs``
    and ``dim1 = ss`` for arrays whose last dimension are pulses, ``dim0 = 0`` for the image of raw AGIPD data, beside which its
    gain stands. Pixels for which ``image.mask`` is not 0 are bad, and so are those that are no number. Format:
    https://github.com/European-XFEL/karabo-bridge-py

    Frames are counted by their train: trains between two that came are missing with as many frames as each of these has.
    """

    def open(self, context: Context) -> RunningKarabo:
        """Compile the kernel, and let the stages downstream know that there are images."""
        context.publish(PixelsDecoded(True, named=False, has_sentinels=True))
        entries_of(memoryview(b"\x80"), "")
        return RunningKarabo(self)


class RunningKarabo:
    """`Karabo` at work.

    Values that a train has said are kept for the frames of it that follow.
    """

    def __init__(self, parameters: Karabo) -> None:
        self._parameters = parameters
        self._told: tuple[int, dict[str, bytes]] = (-1, {})

    def __call__(self, message: Message) -> tuple[Event, Header, Image]:
        """Read the frame's own parts, and what its train has said."""
        self._check(message)
        frame = read_frame(message)
        image = image_of(frame)
        values = {**self._train(message), **{key: bytes(value) for key, value in frame.values.items()}}
        event, header = self._parameters.named(Header(values, decode_value, frozenset(frame.images)))
        if frame.number is not None and not any(key in header for key in self._parameters.sequence_keys):
            header = header.numbered(SenderNumber(frame.number, "trainId", counts_messages=False))
        return event, header, image

    def _check(self, message: Message) -> None:
        """Reject what is no frame of a train."""
        self._parameters.body(message)
        first = memoryview(message.parts[0]).cast("B") if message.parts else memoryview(b"")
        if bytes(first[: len(BROKEN)]) == BROKEN:
            why = decode_value(entries_of(first, "the reason of a rejection")["broken_train"])
            raise (
                RejectFrame(str(why[0]), str(why[1]))
                if isinstance(why, list) and len(why) == 2
                else RejectFrame("bad_train", "the train could not be taken apart")
            )
        if bytes(first[: len(FRAME)]) != FRAME:
            raise not_wanted(body_of(message), "a train of a karabo bridge")
        self._parameters.parts(message, "frame")

    def _train(self, message: Message) -> dict[str, bytes]:
        if message.preamble is None:
            return {}
        if message.preamble.number != self._told[0]:
            self._told = (message.preamble.number, told_of(message.preamble))
        return self._told[1]


def image_of(frame: TrainFrame) -> Image:
    """Return the images of a frame; masks become values that mark pixels as bad."""
    arrays: dict[str, NDArray[Any]] = {}
    broken: dict[str, RejectFrame] = {}
    marks: set[float] = set()
    for key, encoded in frame.images.items():
        try:
            array = encoded.view()
            if key in frame.masks:
                array, mark = masked(array, frame.masks[key].view())
                marks |= mark
            arrays[key] = array
        except RejectFrame as trouble:
            broken[key] = RejectFrame(trouble.reason, f"{key}: {trouble.detail}")
    if len(frame.images) == 1:
        (only,) = frame.images
        if broken:
            raise broken[only]
        arrays = {UNNAMED: arrays[only]}
    return Image(arrays, broken, sentinels=Sentinels(equal=tuple(sorted(marks))))


def masked(pixels: NDArray[Any], mask: NDArray[Any]) -> tuple[NDArray[Any], set[float]]:
    """Return pixels with those that a mask has (not 0) marked as bad, and the values that do so besides NaN.

    >>> masked(np.array([[7, 8]], "u2"), np.array([[0, 4]]))
    (array([[    7, 65535]], dtype=uint16), {65535.0})
    """
    if mask.shape != pixels.shape:
        raise RejectFrame("bad_mask", f"the image has shape {pixels.shape}, and its mask {mask.shape}")
    bad = mask != 0
    if not bad.any():
        return pixels, set()
    out = pixels.copy()
    if pixels.dtype.kind == "f":
        out[bad] = np.nan
        marks: set[float] = set()
    else:
        limits = np.iinfo(pixels.dtype)
        mark = limits.max if pixels.dtype.kind == "u" else limits.min
        out[bad] = mark
        marks = {float(mark)}
    out.flags.writeable = False
    return out, marks
