"""Trains as a karabo bridge sends them: sources, and of each its values, arrays and metadata, still encoded.

Protocol 2.2: pairs of parts, a header (source, content, and of an array path, dtype and shape) and what it speaks of. Protocol
1.0: one map of sources, in which msgpack-numpy has written the arrays. https://github.com/European-XFEL/karabo-bridge-py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline import RejectFrame
from stages.records.header import in_short
from stages.wire._kernels import msgpack as kernel
from stages.wire.encoded import (
    EncodedArray,
    declared_length,
    decode_value,
    encoded_array,
    is_map,
    key_text,
    kind_of,
    octets,
)
from stages.wire.message import DEFAULT_MAX_NESTING, MAX_KEYS

MOST_HEADER_BYTES = 65536
"""Of the header of a part, in protocol 2.2; a bridge writes some hundred."""


@dataclass
class TrainSource:
    """What one source has measured in a train, by the names of its properties.

    Attributes
    ----------
    values
        Numbers, text and so on, encoded.
    arrays
        Arrays, still unchecked.
    metadata
        When, and in which train (``timestamp.tid``), encoded.
    """

    values: dict[str, memoryview] = field(default_factory=dict)
    arrays: dict[str, EncodedArray] = field(default_factory=dict)
    metadata: dict[str, memoryview] = field(default_factory=dict)


Train = dict[str, TrainSource]
"""The sources of a train by their names."""


def train_of(parts: Sequence[memoryview]) -> Train | None:
    """Return the train that the parts of a message are; None if they are none at all, RejectFrame for one that is broken."""
    if not parts or not is_map(parts[0]):
        return None
    return _train_of_map(parts[0]) if len(parts) == 1 else _train_of_pairs(parts)


def entries_of(encoded: memoryview, what: str, most: int = MAX_KEYS) -> dict[str, memoryview]:
    """Return the encoded values of a map by their keys; rejects what is none, and more than `most`."""
    if not is_map(encoded):
        raise RejectFrame("bad_train", f"{what} is {kind_of(encoded)}; a map was wanted")
    rows = np.empty((min(declared_length(encoded), most, len(encoded)), kernel.COLUMNS), np.int64)
    count, after, status = kernel.entries(octets(encoded), 0, len(encoded), DEFAULT_MAX_NESTING, True, rows)
    if status == kernel.OK and after == len(encoded):
        return {key_text(encoded[key:value]): encoded[value:end] for key, value, end, _ in rows[:count].tolist()}
    if status == kernel.OK:
        raise RejectFrame("trailing_bytes", f"{what} ends at byte {after} of {len(encoded)}")
    if status == kernel.TRUNCATED:
        raise RejectFrame("truncated", f"{what} has {len(encoded)} bytes, and declares more than that at byte {after}")
    if status == kernel.TOO_DEEP:
        raise RejectFrame("too_deep", f"{what} is nested deeper than {DEFAULT_MAX_NESTING} levels")
    if status == kernel.RESERVED:
        raise RejectFrame("not_msgpack", f"{what} holds the byte 0xc1 at {after}, which MessagePack never uses")
    raise RejectFrame("too_many_keys", f"{what} has {count} keys, and at most {most} are taken")


def _train_of_map(body: memoryview) -> Train | None:
    """Protocol 1.0."""
    outer = entries_of(body, "the message's map")
    if not outer or not all(is_map(encoded) for encoded in outer.values()):
        return None
    train: Train = {}
    for name, encoded in outer.items():
        source = train[name] = TrainSource()
        for key, value in entries_of(encoded, f"source {in_short(name)}").items():
            array = encoded_array(value) if is_map(value) else None
            if array is not None and not array.is_scalar:
                source.arrays[key] = array
            elif key == "metadata" and is_map(value):
                source.metadata = entries_of(value, f"the metadata of source {in_short(name)}")
            else:
                source.values[key] = value
    return train


def _train_of_pairs(parts: Sequence[memoryview]) -> Train | None:
    """Protocol 2.2."""
    train: Train = {}
    for at in range(0, len(parts), 2):
        header = parts[at]
        what = f"part {at}, a header,"
        if len(header) > MOST_HEADER_BYTES:
            raise RejectFrame("bad_train", f"{what} has {len(header)} bytes; at most {MOST_HEADER_BYTES} were wanted")
        fields = entries_of(header, what)
        said = {key: decode_value(fields[key]) for key in ("source", "content", "path", "dtype") if key in fields}
        name, content = said.get("source"), said.get("content")
        if at == 0 and content is None:
            return None
        if not (isinstance(name, str) and isinstance(content, str)):
            raise RejectFrame("bad_train", f"{what} names no source and content: {in_short(said)}")
        if at + 1 == len(parts):
            raise RejectFrame(
                "truncated", f"{what} is the last part; the {in_short(content)} of {name} was wanted next"
            )
        source = train.setdefault(name, TrainSource())
        if content == "msgpack":
            source.values |= entries_of(parts[at + 1], f"part {at + 1}, of source {name},")
            if "metadata" in fields:
                source.metadata |= entries_of(fields["metadata"], f"the metadata in part {at}")
        elif content in ("array", "ImageData"):
            shape = decode_value(fields["shape"]) if "shape" in fields and len(fields["shape"]) < 256 else None
            if not isinstance(shape, list) or not isinstance(said.get("path"), str):
                raise RejectFrame("bad_train", f"{what} of an array says no path and shape: {in_short(said)}")
            source.arrays[said["path"]] = EncodedArray(said.get("dtype"), shape, parts[at + 1], not shape)
        else:
            raise RejectFrame(
                "bad_train", f"{what} announces {in_short(content)}; msgpack, array or ImageData was wanted"
            )
    return train
