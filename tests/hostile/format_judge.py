"""Takes hostile messages of a data format as far as the geometry, and holds what is accepted against what is right.

What is right: nothing but `RejectFrame` is raised, and it says why; a good message is read; arrays are no larger than a message
can hold; where a checksum covers the pixels, no other pixels than those are accepted. CBF images and NumPy's arrays that are
accepted are read once more, slowly and from the formats' specifications, or by NumPy.
"""

from __future__ import annotations

import base64
import hashlib
import io
import resource
import zlib
from collections import Counter

import numpy as np
from format_messages import HEIGHT, WIDTH, format_of
from format_mutators import Hostile
from judge import Wrong, attempt, check
from writers import one_panel

from pipeline import Context, Message, registry
from stages.files.geom.detector import Detector
from stages.geometry_map.map_panels import RunningMapPanels
from stages.records import Header, Image
from stages.wire.formats import DECODERS
from stages.wire.framing import framing_of

KEY = "/entry/data/data"
"""Of the pixels, where they have a name."""

MOST_EXPANSION = 1100
"""So many times as many bytes as in the message can be in an array; bitshuffle in zstd may have more."""

MOST_BYTES = 64 << 20
"""What a message of some thousand bytes may never take, whatever is in it."""

FIRST = 50
"""After so many messages of a kind nothing is imported or compiled any longer."""


class FormatJudge:
    """A format's decoder, opened once, as in a replica; counts what came of the messages."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._format = format_of(name)
        self._decode = registry.load(DECODERS[self._format])().open(Context())
        self._maps: dict[str, RunningMapPanels] = {}
        self._most_resident = 0
        self.counts: Counter[str] = Counter()

    def __call__(self, hostile: Hostile) -> None:
        """Take all that a sender sends the whole way; raises Wrong."""
        framing = framing_of(self._format)
        frames: list[Message] = []
        for parts in hostile.messages:
            views = [memoryview(part) for part in parts]
            made, why = attempt(framing.frames_of, views, 0, None)
            check(made is not None, "the framing rejects", why)
            frames += made
            for view in views[:1]:
                framing.may_be_frame(view)
        self.counts["frames"] += len(frames)
        arrays = [self._frame(message, hostile) for message in frames]
        size = sum(len(part) for parts in hostile.messages for part in parts)
        for array in arrays:
            most = MOST_EXPANSION * size if self._format != "hdf5" else MOST_BYTES
            check(array is None or array.nbytes <= most, "a larger array than the message can hold", size)
        self._held_against(hostile, arrays)
        self._memory()

    def _frame(self, message: Message, hostile: Hostile) -> np.ndarray | None:
        """The pixels of a frame; None for one that was rejected."""
        decoded, why = attempt(self._decode, message)
        if decoded is None:
            self.counts[f"rejected: {why}"] += 1
            return None
        event, header, image = decoded
        check(isinstance(event, str) and (not event or event.isprintable()), "an event that is no text", event)
        self._read(header)
        if hostile.kind == "structure":
            repr((header, image))
        array, why = attempt(image.array, KEY)
        if array is None:
            self.counts[f"rejected: {why}"] += 1
            return None
        self.counts["decoded"] += 1
        check(array.dtype.isnative and array.dtype.kind in "iuf", "pixels of another type", array.dtype)
        check(not array.flags.writeable and array.ndim >= 2 and min(array.shape) > 0, "an array", array.shape)
        touch(array)
        self._geometry(header, image, hostile)
        return array

    def _read(self, header: Header) -> None:
        for n, key in enumerate(header):
            attempt(header.number if n % 4 == 0 else header.required, key)

    def _geometry(self, header: Header, image: Image, hostile: Hostile) -> None:
        places = hostile.good.places
        if places not in self._maps:
            self._maps[places] = RunningMapPanels(Detector.parse(places + one_panel(WIDTH, HEIGHT)))
        geom, why = attempt(self._maps[places], header, image)
        if geom is None:
            self.counts[f"geometry rejects: {why}"] += 1
            return
        self.counts["with geometry"] += 1
        (view,) = geom.views(image)
        check(view.shape == (HEIGHT, WIDTH) == geom.bad[0].shape, "a panel of another shape", view.shape)
        check(geom.photon_energy_ev > 0 and np.isfinite(geom.origin_m).all(), "energy or distance")

    def _held_against(self, hostile: Hostile, arrays: list[np.ndarray | None]) -> None:
        good = hostile.good
        if hostile.kind == "none":
            check(len(arrays) == len(good.pixels), "another number of frames", len(arrays))
            for array, pixels in zip(arrays, good.pixels, strict=True):
                check(array is not None and same(array, pixels), "a good message was not read right")
            self.counts["good and read right"] += len(arrays)
        elif hostile.kind == "pixels" and good.covered is not None:
            for array in arrays:
                if array is not None:
                    check(same(array, good.pixels[0]), "other pixels than the checksum's were accepted")
                    self.counts["changed, and the same pixels"] += 1
        for array in arrays:
            if array is not None and self._format == "cbf":
                self._as_cbf(hostile, array)
            elif array is not None and self._format == "npy":
                self._as_npy(hostile, array)

    def _as_cbf(self, hostile: Hostile, array: np.ndarray) -> None:
        body = [part for part in hostile.messages[-1] if part][-1]
        if body.startswith(b"\x1f\x8b"):
            body = zlib.decompressobj(31).decompress(body)
        try:
            wanted, checked = slow_cbf(body)
        except (KeyError, ValueError) as error:
            raise Wrong(f"what a slow reader cannot read was accepted: {error!r}") from error
        check(array.size == len(wanted) and array.dtype.itemsize == 4, "another number of pixels", array.shape)
        check((array.astype(np.int64).reshape(-1) & 0xFFFFFFFF).tolist() == wanted, "other pixels than a slow reader's")
        self.counts["read again, with the checksum" if checked else "read again, without a checksum"] += 1

    def _as_npy(self, hostile: Hostile, array: np.ndarray) -> None:
        body = [part for part in hostile.messages[-1] if part][-1]
        try:
            wanted = np.load(io.BytesIO(body), allow_pickle=False)
        except Exception as error:  # its header is Python, and numpy raises what Python's parts raise
            self.counts[f"accepted, and by numpy not ({type(error).__name__})"] += 1
            return
        native = np.float32 if wanted.dtype == np.float16 else wanted.dtype.newbyteorder("=")
        check(array.dtype == native and same(array, wanted), "other pixels than numpy's", array.dtype, wanted.dtype)
        self.counts["read again by numpy"] += 1

    def _memory(self) -> None:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self.counts["messages judged"] += 1
        if self.counts["messages judged"] > FIRST:
            check(most - self._most_resident < MOST_BYTES, "much memory was taken", most - self._most_resident)
        self._most_resident = max(most, self._most_resident)


def touch(array: np.ndarray) -> None:
    """Read every pixel, so that what is out of bounds is noticed."""
    with np.errstate(all="ignore"):
        array.astype(np.float64).sum()


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the pixels are the same, whatever their type."""
    with np.errstate(all="ignore"):
        return np.array_equal(one.astype(np.float64), other.astype(np.float64), equal_nan=True)


def slow_cbf(body: bytes) -> tuple[list[int], bool]:
    """Read a CBF image's pixels modulo 2^32, one by one, and whether there is a checksum; raises Wrong if it is not theirs.

    https://www.iucr.org/resources/cif/spec/ancillary/imgcif
    """
    text, _, rest = body.partition(b"\x0c\x1a\x04\xd5")
    fields: dict[str, str] = {}
    name = ""
    for line in text.rpartition(b"--CIF-BINARY-FORMAT-SECTION--")[2].decode("latin-1").split("\n"):
        before, colon, after = line.partition("\r")[0].partition(":")
        if line[:1] in (" ", "\t") and name and not colon:
            fields[name] += before.strip()
        elif colon:
            name = before.strip().lower()
            fields[name] = after.strip()
    pixels = rest[: int(fields["x-binary-size"])]
    digest = fields.get("content-md5", "")
    if digest and digest != base64.b64encode(hashlib.md5(pixels, usedforsecurity=False).digest()).decode():
        raise Wrong("pixels were accepted that are not those of the MD5")
    values: list[int] = []
    at = value = 0
    while at < len(pixels):
        step, width = int.from_bytes(pixels[at : at + 1], "little", signed=True), 1
        for wider in (2, 4, 8):
            if step != -(1 << (8 * width - 1)):
                break
            at += width
            step, width = int.from_bytes(pixels[at : at + wider], "little", signed=True), wider
        at += width
        value += step
        values.append(value & 0xFFFFFFFF)
    return values, bool(digest)
