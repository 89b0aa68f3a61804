"""Messages that no frame can be made of, each with the reason that its rejection should give."""

from __future__ import annotations

import json
import pickle
import struct

import msgpack
import numpy as np

GOOD = {
    "event_id": "good // 0",
    "beam_energy": 10000,
    "detector_distance": 120.0,
    "peak_list": {"fs": [1.5, 2.5], "ss": [3.5, 4.5], "intensity": [10.0, 20.0]},
}
GOOD_BODY = msgpack.packb(GOOD)


class Bomb:
    """Does something when it is unpickled."""

    opened = False

    def __reduce__(self) -> tuple:
        return exec, (f"import {__name__}; {__name__}.Bomb.opened = True",)


def nested(depth: int, opener: bytes) -> bytes:
    return b"\x81\xa1a" + opener * depth + b"\xc0"


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty_message"),
    "What?": (b"What?", "error_reply"),
    "Ok": (b"Ok", "error_reply"),
    "one zero byte": (b"\x00", "not_a_map"),
    "nil": (b"\xc0", "not_a_map"),
    "a number": (msgpack.packb(3.5), "not_a_map"),
    "msgpack text": (msgpack.packb("hello there"), "not_a_map"),
    "msgpack binary": (msgpack.packb(bytes(300)), "not_a_map"),
    "an extension type": (msgpack.packb(msgpack.ExtType(5, b"abc")), "not_a_map"),
    "an empty array": (msgpack.packb([]), "empty_array"),
    "an array of numbers": (msgpack.packb([1, 2, 3]), "not_a_map"),
    "an array of one number": (msgpack.packb([1]), "not_a_map"),
    "an array in an array": (msgpack.packb([[GOOD]]), "not_a_map"),
    "pickle 2": (pickle.dumps(Bomb(), protocol=2), "pickle"),
    "pickle 4": (pickle.dumps(Bomb(), protocol=4), "pickle"),
    "pickle 5": (pickle.dumps({"frame_data": np.zeros((20, 20))}, protocol=5), "pickle"),
    "HTTP reply": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "http"),
    "HTTP request": (b"GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n", "http"),
    "JSON": (json.dumps(GOOD).encode(), "json"),
    "JSON list": (b'  [{"a": 1}]', "json"),
    "DECTRIS header": (b'{"htype":"dheader-1.0","series":1}', "json"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(100), "not_msgpack"),
    "npy": (b"\x93NUMPY\x01\x00v\x00" + bytes(100), "not_msgpack"),
    "HTML": (b"<!DOCTYPE html><html></html>", "not_msgpack"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "not_msgpack"),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(100), "not_msgpack"),
    "CBF": (b"###CBF: VERSION 1.5\r\n" + bytes(100), "not_msgpack"),
    "text": (b"2024-05-01 12:00 beam lost\n", "not_msgpack"),
    "never used byte": (b"\xc1", "not_msgpack"),
    "never used byte inside": (b"\x81\xa1a\xc1", "not_msgpack"),
    "an empty stand-in": (b"\xc1streamajig ", "not_msgpack"),
    "a made-up stand-in": (b"\xc1streamajig no\nreason " + b"x" * 100, "not_msgpack"),
    "noise": (np.random.default_rng(7).integers(1, 127, 5000, "u1").tobytes(), "not_msgpack"),
    "zeros": (bytes(5000), "not_msgpack"),
    "truncated by one byte": (GOOD_BODY[:-1], "truncated"),
    "truncated in the middle": (GOOD_BODY[: len(GOOD_BODY) // 2], "truncated"),
    "only the map's first byte": (GOOD_BODY[:1], "truncated"),
    "only a map's length": (b"\xde\x00", "truncated"),
    "trailing byte": (GOOD_BODY + b"\x00", "trailing_bytes"),
    "two maps in a row": (GOOD_BODY + GOOD_BODY, "trailing_bytes"),
    "array with a trailing byte": (msgpack.packb([GOOD]) + b"\xc0", "trailing_bytes"),
    "empty map with noise behind": (b"\x80\x20\x20", "trailing_bytes"),
    "a map of 4 thousand million": (b"\xdf\xff\xff\xff\xff" + bytes(20), "truncated"),
    "an array of 4 thousand million": (b"\xdd\xff\xff\xff\xff" + bytes(20), "truncated"),
    "4 GB of binary declared": (b"\x81\xa1a\xc6\xff\xff\xff\xff" + bytes(20), "truncated"),
    "4 GB of text declared": (b"\x81\xa1a\xdb\xff\xff\xff\xff" + bytes(20), "truncated"),
    "4 GB of extension declared": (b"\x81\xa1a\xc9\xff\xff\xff\xff\x01" + bytes(20), "truncated"),
    "an inner list of 4 thousand million": (b"\x81\xa1a\xdd\xff\xff\xff\xff" + bytes(20), "truncated"),
    "an inner map of 4 thousand million": (b"\x81\xa1a\xdf\xff\xff\xff\xff" + bytes(20), "truncated"),
    "lists 100000 deep": (nested(100_000, b"\x91"), "too_deep"),
    "maps 100000 deep": (nested(100_000, b"\x81\xa1a"), "too_deep"),
    "lists of two, 100000 deep": (b"\x81\xa1a" + b"\x92" * 100_000 + bytes(100_001), "too_deep"),
    "deep key": (b"\x81" + b"\x91" * 1000 + b"\xc0\xc0", "too_deep"),
    "a key that is a list": (b"\x81\x91\xc0\xc0", "bad_key"),
    "a key that is a map": (b"\x81\x81\xa1a\xc0\xc0", "bad_key"),
    "a million keys": (b"\xdf" + struct.pack(">I", 100_000) + b"\xc0\xc0" * 100_000, "too_many_keys"),
}
"""What it is -> the message, and the reason its rejection gives."""

STRANGE: dict[str, bytes] = {
    "an empty map": b"\x80",
    "keys that are numbers": msgpack.packb({1: 2, 3.5: 4, None: 5, False: 6}),
    "a list of half a million": b"\x81\xa9peak_list\xdd" + struct.pack(">I", 600_000) + b"\x00" * 600_000,
    "half a million empty maps": b"\x81\xa9peak_list\xdd" + struct.pack(">I", 600_000) + b"\x80" * 600_000,
    "a timestamp that is none": b"\x81\xa9peak_list\xc7\x0c\xff" + b"\xff" * 12,
    "the same key twice": b"\x82\xa1a\x01\xa1a\x02",
    "text that is not UTF-8": b"\x81\xa1a\xa2\xff\xfe",
    "a key that is not UTF-8": b"\x81\xa2\xff\xfe\x01",
    "peaks with keys that are lists": msgpack.packb({"peak_list": 0})[:-1] + b"\x81\x91\x01\x02",
}
"""Messages that are well formed, but insane: they are taken, and whoever needs more of them rejects."""
