"""Read messages that hold an array as Seedee writes it, with its description in JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import Context, Event, Message, RejectFrame, stage
from stages.records.header import Header
from stages.records.image import HIGHEST, UNNAMED, Image
from stages.records.told import PixelsDecoded
from stages.wire.compressed import Decompressor, in_our_order
from stages.wire.hdf5_chunks import inflated, most_expansion
from stages.wire.hdf5_filters import DEFLATE
from stages.wire.json_parts import json_object
from stages.wire.looks import magic_of, not_wanted
from stages.wire.naming import Naming
from stages.wire.seedee import SeedeeArray, described, description_in

WANTED = "two parts, Seedee's description in JSON and the array,"


@stage("decode/seedee", publishes=(PixelsDecoded,))
class Seedee(Naming):
    """Read a message of two parts: Seedee's description of an array, in JSON, and the array, compressed or not.

    The description may stand under ``_data_format`` among other keys, as ASAP::O's metadata have it; then those are the header,
    in which the geometry file finds photon energy and camera length. Otherwise the geometry file has to say them. The image
    has no name: every panel's pixels are in it, whatever ``data`` says. The highest value of unsigned integers marks pixels
    that are bad. Seedee's library, which a wrong description crashes, is not used. Needs
    ``pip install 'streamajig[dectris]'``. Format: https://pypi.org/project/seedee/
    """

    def open(self, context: Context) -> RunningSeedee:
        """Import what decompresses, and let the stages downstream know that there are images."""
        decompressor = Decompressor("decode/seedee")
        context.publish(PixelsDecoded(True, named=False, has_sentinels=True))
        return RunningSeedee(self, decompressor)


class RunningSeedee:
    """`Seedee` at work."""

    def __init__(self, parameters: Seedee, decompressor: Decompressor) -> None:
        self._parameters = parameters
        self._decompressor = decompressor

    def __call__(self, message: Message) -> tuple[Event, Header, Image]:
        """Read the description, and decompress the pixels."""
        body = self._parameters.body(message)
        said = json_object(memoryview(message.parts[-2])) if len(message.parts) > 1 else None
        if said is None:
            if magic_of(body)[1] == "seedee":
                raise RejectFrame(
                    "truncated", f"the message is a description alone ({len(body)} bytes); {WANTED} were wanted"
                )
            raise not_wanted(body, "a Seedee message (description in JSON, then the array)")
        description, header = description_in(said)
        array = described(description)
        event, named = self._parameters.named(Header(header))
        return event, named, Image({UNNAMED: self._pixels(body, array)}, {}, sentinels=HIGHEST)

    def _pixels(self, body: memoryview, array: SeedeeArray) -> NDArray[Any]:
        most = self._parameters.max_message_bytes
        if array.codec != "deflate":
            return self._decompressor.array(body, array.codec, array.shape, array.dtype, most)
        size = math.prod(array.shape) * array.dtype.itemsize
        if size > min(most, most_expansion([(DEFLATE, ())]) * len(body)):
            raise RejectFrame(
                "too_large",
                f"the Seedee array of shape {array.shape} has {size} bytes, which the message's {len(body)} cannot hold, or "
                f"max_message_bytes = {most} does not allow",
            )
        return in_our_order(np.frombuffer(inflated(body, size), array.dtype).reshape(array.shape))
