"""One train, many frames: a train of pulses taken apart into a message for each, and each read again.

What a train says of itself is said once, as the preamble of its frames. A frame has two things of its own: a first part, which
says which frame of the train it is and what was measured at its pulse, and its slice of each array of images. So nobody who
copies a frame copies the train.
"""

from __future__ import annotations

import fnmatch
import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from pipeline import Message, Preamble, RejectFrame
from stages.wire.encoded import EncodedArray, decode_value, dtype_of, is_array
from stages.wire.karabo import Train, TrainSource, entries_of
from stages.wire.received import SMALL_BYTES

IMAGES = ("image.data", "data.adc")
"""Where detectors have their images: AGIPD, LPD and DSSC, and JUNGFRAU."""

MASKS = {"image.data": "image.mask", "data.adc": "data.mask"}
"""Where the correction says of each pixel why it is bad, 0 where it is not."""

PULSES = ("image.pulseId", "data.pulseId")
CELLS = ("image.cellId", "data.memoryCell", "data.cellId")
COUNTED = (*PULSES, *CELLS, "image.trainId", "data.frameNumber")
"""Properties with one entry for each image."""

TRAIN_ID = "timestamp.tid"

MOST_TRAIN_ID = 1 << 50
"""What is more is no number of a train; frames of trains are still counted within 64 bits."""

MOST_FRAMES = 4096
"""Images of a train; DSSC takes 800."""

MOST_TOLD_BYTES = 1 << 24
MOST_TOLD = 65536
"""What a train says besides its images: bytes, and values."""

FRAME = b"\x82\xaeframe_of_train"
"""So the first part of a frame begins: a map of two."""

BROKEN = b"\x81\xacbroken_train"
"""So does that of a train that cannot be taken apart."""

MOST_HEAD_BYTES = 1 << 26
"""Bytes of the first parts of a train's frames, together."""

_BLOCK_BYTES = 32768
"""So much is put into another order at a time; it fits into the cache nearest to a core."""


@dataclass(frozen=True)
class TrainFrame:
    """A frame of a train.

    Attributes
    ----------
    number
        Its number among all frames of all trains; None where the train has no number.
    values
        Encoded values of this frame alone, by their keys.
    images, masks
        By ``SOURCE/key``, unchecked; masks have the keys of their images.
    """

    number: int | None
    values: dict[str, memoryview]
    images: dict[str, EncodedArray] = field(default_factory=dict)
    masks: dict[str, EncodedArray] = field(default_factory=dict)


@dataclass(frozen=True)
class _Stack:
    """An array with the images of all pulses: `slices` has the bytes of each."""

    key: str
    role: str
    dtype: str
    shape: tuple[int, ...]
    slices: list[memoryview]


def frames_of_train(
    train: Train,
    received_ns: int,
    *,
    topic: bytes = b"",
    keep_alive: object = None,
    image_source: str = "",
    pulse_axis: int | None = None,
    first_number: Callable[[int, int], int] = operator.mul,
) -> list[Message]:
    """Take a train apart; rejects one of which it is not known which frames it has.

    Parameters
    ----------
    image_source
        Pattern of the sources, or of ``SOURCE/key``, that have the images; "" for all that have one of `IMAGES`.
    pulse_axis
        The dimension that counts pulses; None where it is to be found by the number of pulse or cell ids.
    first_number
        Of a train's number and how many frames it has, the number of its first frame among all frames.
    """
    chosen = _chosen(train, image_source)
    counts = {key: _count(train[source], key, path, pulse_axis) for key, (source, path) in chosen.items()}
    if len(set(counts.values())) > 1:
        raise RejectFrame(
            "unequal_sources",
            f"the train's images are of different numbers of pulses: {_listed(counts)}; image_source says which are wanted",
        )
    count = next(iter(counts.values()))
    if not 1 <= count <= MOST_FRAMES:
        why = "no image" if count < 1 else f"{count} images, and at most {MOST_FRAMES} are taken"
        raise RejectFrame("no_frames" if count < 1 else "too_many_frames", f"the train has {why}")
    stacks = [stack for source, path in chosen.values() for stack in _stacks(train, source, path, count, pulse_axis)]
    sources = tuple(dict.fromkeys(source for source, _ in chosen.values()))
    arrays = [[stack.key, stack.role, stack.dtype, stack.shape] for stack in stacks]
    train_id = _train_id(train, sources)
    told = Preamble.of((_told(train),), keep_alive)
    values = {f"{source}/{path}": each for source in sources for path, each in _each(train[source], count).items()}
    pulses, cells = (_first(values, sources, names) for names in (PULSES, CELLS))
    number = None if train_id is None else first_number(train_id, count)
    messages = []
    for n in range(count):
        own: dict[str, Any] = {key: each[n] for key, each in values.items()}
        if train_id is not None:
            own |= {"trainId": train_id, "event_id": f"{train_id} // {n if pulses is None else pulses[n]}"}
        own |= {name: ids[n] for name, ids in (("pulseId", pulses), ("cellId", cells)) if ids is not None}
        head = msgpack.packb({"frame_of_train": [None if number is None else number + n, arrays], "values": own})
        if len(head) * count > MOST_HEAD_BYTES:
            raise RejectFrame(
                "too_large",
                f"what the train says of each of its {count} images has {len(head)} bytes; at most {MOST_HEAD_BYTES} are "
                "taken for all",
            )
        parts = (head, *(stack.slices[n] for stack in stacks))
        messages.append(Message(topic, received_ns, parts, keep_alive, told))
    return messages


def read_frame(message: Message) -> TrainFrame:
    """Read what `frames_of_train` has made; every part is checked, since a file of rejected frames may be anything."""
    head = memoryview(message.parts[0]).cast("B")
    fields = entries_of(head, "the frame's head")
    said = decode_value(fields["frame_of_train"])
    if not (isinstance(said, list) and len(said) == 2 and isinstance(said[1], list) and "values" in fields):
        raise RejectFrame("bad_train", "the frame's head is not one of a frame of a train")
    number, arrays = said
    if not isinstance(number, int | None):
        raise RejectFrame("bad_train", "the frame's head does not say in numbers which frame it is")
    if len(arrays) != len(message.parts) - 1:
        raise RejectFrame(
            "bad_train", f"the frame's head speaks of {len(arrays)} arrays, and {len(message.parts) - 1} follow"
        )
    frame = TrainFrame(number, entries_of(fields["values"], "the frame's values"))
    for array, part in zip(arrays, message.parts[1:], strict=True):
        if not (isinstance(array, list) and len(array) == 4 and isinstance(array[0], str)):
            raise RejectFrame("bad_train", "the frame's head does not say what an array is")
        key, role, dtype, shape = array
        where = frame.masks if role == "mask" else frame.images
        where[key] = EncodedArray(dtype, shape, memoryview(part).cast("B"), False)
    return frame


def told_of(preamble: Preamble) -> dict[str, bytes]:
    """Return the encoded values that all frames of a train have, by ``SOURCE/key``."""
    body = memoryview(preamble.parts[0]).cast("B") if preamble.parts else memoryview(b"\x80")
    return {key: bytes(value) for key, value in entries_of(body, "what the train says", MOST_TOLD).items()}


def pulses_first(array: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return a copy with this dimension first, block by block: where it was the last, images lie in each other like combs.

    >>> pulses_first(np.arange(12).reshape(2, 3, 2), 2)[1].tolist()
    [[1, 3, 5], [7, 9, 11]]
    """
    axis %= array.ndim
    before, count, after = array.shape[:axis], array.shape[axis], array.shape[axis + 1 :]
    flat = array.reshape(math.prod(before), count, math.prod(after))
    out = np.empty((count, flat.shape[0], flat.shape[2]), array.dtype)
    rows = max(1, _BLOCK_BYTES // max(1, count * flat.shape[2] * array.itemsize))
    for begin in range(0, len(flat), rows):
        out[:, begin : begin + rows] = flat[begin : begin + rows].swapaxes(0, 1)
    return out.reshape(count, *before, *after)


# --- which arrays are images, and of how many pulses ------------------------------------------------------------------


def _chosen(train: Train, pattern: str) -> dict[str, tuple[str, str]]:
    """Source and key of each array of images, by ``SOURCE/key``; the pattern means sources, or where there are none, keys."""
    arrays = {f"{source}/{path}": (source, path) for source, has in train.items() for path in has.arrays}
    by_source = {
        key: (source, path)
        for key, (source, path) in arrays.items()
        if path in IMAGES and (not pattern or fnmatch.fnmatchcase(source, pattern))
    }
    found = by_source or {key: place for key, place in arrays.items() if pattern and fnmatch.fnmatchcase(key, pattern)}
    if not found:
        wanted = f"that is called {pattern!r} (image_source)" if pattern else f"with {' or '.join(IMAGES)}"
        raise RejectFrame(
            "no_image", f"the train has no source {wanted}; its arrays are: {', '.join(sorted(arrays)) or 'none'}"
        )
    return found


def _count(source: TrainSource, key: str, path: str, pulse_axis: int | None) -> int:
    """How many images an array has."""
    shape = _shape(source.arrays[path])
    if pulse_axis is not None:
        if not -len(shape) <= pulse_axis < len(shape):
            raise RejectFrame("bad_shape", f"{key} has shape {shape}, and no dimension {pulse_axis} (pulse_axis)")
        return shape[pulse_axis]
    lengths = [len(ids) for name in COUNTED if (ids := _ids(source, name)) is not None]
    if lengths:
        return lengths[0]
    if len(shape) == 2:
        return 1
    raise RejectFrame(
        "unknown_pulses",
        f"{key} has shape {shape}, and its source none of {', '.join(COUNTED)}, by which its pulses could be counted; "
        "pulse_axis says which dimension they are",
    )


def _axis(key: str, shape: tuple[int, ...], count: int, pulse_axis: int | None) -> int | None:
    """The dimension of pulses: the first or the last, whichever has as many entries; None for a single image."""
    if pulse_axis is not None:
        return pulse_axis % len(shape)
    axes = [axis for axis in (0, len(shape) - 1) if shape[axis] == count and len(shape) > 2]
    if len(axes) == 1:
        return axes[0]
    if axes:
        raise RejectFrame(
            "unknown_pulses",
            f"{key} has shape {shape}, of which the first dimension could be the {count} pulses and the last as well; "
            "pulse_axis says which one is",
        )
    if count == 1:
        return None
    raise RejectFrame("bad_shape", f"{key} has shape {shape}, and its source has {count} pulses")


def _stacks(train: Train, source: str, path: str, count: int, pulse_axis: int | None) -> Iterator[_Stack]:
    """The images of an array, and their masks if there are any."""
    arrays, key = train[source].arrays, f"{source}/{path}"
    shape = _shape(arrays[path])
    axis = _axis(key, shape, count, pulse_axis)
    yield _stack(key, "image", arrays[path], axis)
    mask = arrays.get(MASKS.get(path, ""))
    if mask is not None:
        if _shape(mask) != shape:
            raise RejectFrame("bad_mask", f"{key} has shape {shape}, and its mask {_shape(mask)}")
        yield _stack(key, "mask", mask, axis)


def _stack(key: str, role: str, array: EncodedArray, axis: int | None) -> _Stack:
    try:
        dtype, shape = array.checked()
    except RejectFrame as broken:
        raise RejectFrame(broken.reason, f"{key}: {broken.detail}") from None
    body = memoryview(array.data).toreadonly().cast("B")
    if axis is None:
        return _Stack(key, role, dtype.str, shape, [body])
    if axis:
        copy = pulses_first(np.frombuffer(body, dtype).reshape(shape), axis)
        body = copy.data.toreadonly().cast("B")
    rest = (*shape[:axis], *shape[axis + 1 :])
    size = math.prod(rest) * dtype.itemsize
    return _Stack(key, role, dtype.str, rest, [body[at : at + size] for at in range(0, len(body), size)])


def _shape(array: EncodedArray) -> tuple[int, ...]:
    shape = array.shape
    if not isinstance(shape, list) or not all(isinstance(size, int) for size in shape) or len(shape) < 2:
        raise RejectFrame(
            "bad_shape", f"an array of images has shape {shape!r:.60}; two dimensions or more were wanted"
        )
    return tuple(shape)


# --- what a train says besides ----------------------------------------------------------------------------------------


def _ids(source: TrainSource, name: str) -> list[int | float] | None:
    """The entries of a property with one for each pulse, an array or a list; None if it is none."""
    if name in source.arrays:
        array = source.arrays[name]
        match array.shape:
            case [int() as size, *_] if size == 0:  # another sender may say an array in its place
                return []
        return _entries(array)
    if name in source.values and is_array(source.values[name]) and len(source.values[name]) <= SMALL_BYTES:
        entries = decode_value(source.values[name])
        return entries if all(isinstance(entry, int | float) for entry in entries) else None
    return None


def _entries(array: EncodedArray) -> list[int | float] | None:
    """The numbers in a small array of one dimension (or of more, with one entry each); None for any other."""
    try:
        dtype, shape = array.checked()
    except RejectFrame:
        return None
    if len(array.data) > SMALL_BYTES or math.prod(shape) != max(shape, default=0):
        return None
    entries: list[int | float] = np.frombuffer(array.data, dtype).tolist()
    return entries


def _each(source: TrainSource, count: int) -> dict[str, list[int | float]]:
    """Of the source of images all small arrays that have an entry for each image, and the lists that are known to."""
    named = [*source.arrays, *(name for name in COUNTED if name in source.values)]
    found = {name: ids for name in named if (ids := _ids(source, name)) is not None}
    return {name: ids for name, ids in found.items() if len(ids) == count}


def _first(
    values: dict[str, list[int | float]], sources: tuple[str, ...], names: tuple[str, ...]
) -> list[int | float] | None:
    return next((values[key] for source in sources for name in names if (key := f"{source}/{name}") in values), None)


def _train_id(train: Train, sources: tuple[str, ...]) -> int | None:
    """The train's number, as its images have it, or whoever has one."""
    for name in (*sources, *train):
        encoded = train[name].metadata.get(TRAIN_ID)
        value = decode_value(encoded) if encoded is not None and len(encoded) < 64 else None
        if isinstance(value, str) and value.isdecimal() and len(value) < 19:
            value = int(value)
        if isinstance(value, int | np.integer) and not isinstance(value, bool) and 0 <= value <= MOST_TRAIN_ID:
            return int(value)
    ids = _ids(train[sources[0]], "image.trainId")
    return int(ids[0]) if ids and isinstance(ids[0], int) and 0 <= ids[0] <= MOST_TRAIN_ID else None


def _told(train: Train) -> bytes:
    """All small values of a train as one map, ``SOURCE/key`` by ``SOURCE/key``."""
    entries = [
        (f"{name}/{key}", bytes(value))
        for name, source in train.items()
        for values in (source.metadata, source.values)
        for key, value in values.items()
        if len(value) <= SMALL_BYTES
    ]
    entries += [
        (f"{name}/{key}", msgpack.packb(_as_map(array), default=_of_numpy))
        for name, source in train.items()
        for key, array in source.arrays.items()
        if isinstance(array.data, bytes | memoryview) and len(array.data) <= SMALL_BYTES and dtype_of(array.dtype)
    ]
    told = [msgpack.packb(key) + value for key, value in entries]
    if len(told) > MOST_TOLD or sum(map(len, told)) > MOST_TOLD_BYTES:
        raise RejectFrame(
            "too_large",
            f"the train says {len(told)} values of {sum(map(len, told))} bytes besides its images; at most {MOST_TOLD} of "
            f"{MOST_TOLD_BYTES} bytes are taken",
        )
    return b"".join([b"\xdf", len(told).to_bytes(4, "big"), *told])


def _of_numpy(value: np.generic | NDArray[Any]) -> Any:
    """Return a number or an array that a sender has said among the sizes of a shape as MessagePack can have it."""
    return value.tolist()


def _as_map(array: EncodedArray) -> dict[str, Any]:
    dtype = array.dtype if isinstance(array.dtype, str) else ""
    shape = array.shape if isinstance(array.shape, list) and len(array.shape) <= 8 else []
    return {"nd": bool(shape), "type": dtype, "shape": shape, "data": bytes(array.data)}


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{key}: {count}" for key, count in list(counts.items())[:4])
