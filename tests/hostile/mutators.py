"""Messages that are wrong in every way that a writer, a network or somebody's malice could think of, each from its own seed."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from slow_reader import Binary, Extension, Pairs, Raw

WIDTH, HEIGHT = 28, 14
"""Pixels of the detector along fs and ss."""

PIXEL_TYPES = ("<i2", "<u2", "<i4", "<u4", "<f4", "<f8", ">i2", ">u4", ">f4", "|u1", "|i1", "<i8", "<u8", "<f2")


@dataclass(frozen=True)
class Lie:
    """A value of which the header declares another length than it has."""

    value: Any
    by: int


# --- packing, in any of the ways that the format allows -------------------------------------------------------------


def packed(value: Any, rng: random.Random, wide: float = 0.05) -> bytes:
    """Encode a value; some messages have some of their values in a form that is wider than it needs to be."""
    out = bytearray()
    _pack(value, out, rng, 5 * wide if rng.random() < 0.2 else 0.0)
    return bytes(out)


def _pack(value: Any, out: bytearray, rng: random.Random, wide: float) -> None:
    by, kind = 0, type(value)
    if kind is Lie:
        value, by = value.value, value.by
        kind = type(value)
    is_wide = wide and rng.random() < wide
    if kind is float:
        is_single = is_wide and abs(value) < 1e30
        out += b"\xca" + struct.pack(">f", value) if is_single else b"\xcb" + struct.pack(">d", value)
    elif value is None or kind is bool:
        out += b"\xc0" if value is None else b"\xc3" if value else b"\xc2"
    elif kind is int:
        out += _integer(value, bool(is_wide))
    elif kind is Extension:
        out += b"\xc9" + struct.pack(">IB", min(max(0, len(value.data) + by), (1 << 32) - 1), value.code) + value.data
    else:
        wider = rng.randrange(3) if is_wide else 0
        fix, codes = _HEADERS[kind]
        out += _sized(len(value) + by, wider, fix, codes)
        if kind is Pairs:
            for key, each in value:
                _pack(key, out, rng, wide)
                _pack(each, out, rng, wide)
        elif kind is list:
            for each in value:
                _pack(each, out, rng, wide)
        else:
            out += value


_HEADERS: dict[type, tuple[tuple[int, int] | None, tuple[int, int, int]]] = {
    Raw: ((0xA0, 31), (0xD9, 0xDA, 0xDB)),
    Binary: (None, (0xC4, 0xC5, 0xC6)),
    list: ((0x90, 15), (0xDC, 0xDC, 0xDD)),
    Pairs: ((0x80, 15), (0xDE, 0xDE, 0xDF)),
}
"""Of each type the code and the most entries of its shortest form, and the codes of the longer ones."""


def _integer(value: int, wide: bool) -> bytes:
    if not wide and -32 <= value <= 127:
        return struct.pack("b" if value < 0 else "B", value)
    if value < 0:
        return b"\xd3" + struct.pack(">q", max(value, -(1 << 63)))
    return b"\xcf" + struct.pack(">Q", min(value, (1 << 64) - 1))


def _sized(size: int, wider: int, fix: tuple[int, int] | None, codes: tuple[int, int, int]) -> bytes:
    """The header of a value of so many bytes or entries."""
    size = min(max(size, 0), (1 << 32) - 1)
    if fix is not None and not wider and size <= fix[1]:
        return bytes([fix[0] | size])
    least = 0 if size < 1 << 8 else 1 if size < 1 << 16 else 2
    code = codes[max(least, wider)]
    width = ">I" if code == codes[2] else ">H" if code == codes[1] else ">B"
    return bytes([code]) + struct.pack(width, size)


# --- good messages --------------------------------------------------------------------------------------------------


def text(value: str) -> Raw:
    return Raw(value.encode())


def array(values: np.ndarray, dtype: str) -> Pairs:
    """As msgpack-numpy writes it."""
    data = values.astype(dtype)
    entries = [
        ("nd", True),
        ("type", text(dtype)),
        ("kind", Binary(b"")),
        ("shape", list(data.shape)),
        ("data", Binary(data.tobytes())),
    ]
    return Pairs((text(key), value) for key, value in entries)


def good(rng: random.Random) -> Pairs:
    """A frame that every stage takes: an image with some peaks, a header, and a peak list in one of its forms."""
    numpy_rng = np.random.default_rng(rng.randrange(1 << 32))
    pixels = numpy_rng.poisson(8, (HEIGHT, WIDTH)).astype(float)
    for _ in range(rng.randrange(3)):
        ss, fs = rng.randrange(5, HEIGHT - 5), rng.choice((5, 6, 8, 19, 21, 22))
        pixels[ss - 1 : ss + 2, fs - 1 : fs + 2] += numpy_rng.integers(50, 90, (3, 3))
    num = rng.randrange(6)
    columns = {
        "fs": numpy_rng.uniform(-2, WIDTH + 1, num),
        "ss": numpy_rng.uniform(-2, HEIGHT + 1, num),
        "intensity": numpy_rng.uniform(0, 1000, num),
    }
    if rng.random() < 0.3:
        columns["snr"] = numpy_rng.uniform(0, 9, num)
    form = rng.randrange(3)
    if form == 0:
        peaks = Pairs((text(key), [float(n) for n in column]) for key, column in columns.items())
    elif form == 1:
        peaks = Pairs(
            (text(key), array(column, rng.choice(("<f4", "<f8", ">f8", "<i4")))) for key, column in columns.items()
        )
    else:
        peaks = Pairs((text(key), Binary(column.astype("<f4").tobytes())) for key, column in columns.items())
        peaks.insert(0, (text("type"), text("<f4")))
    energy: Any = rng.choice((9500.0, 9500, text("9500.5"), array(np.array([9600.0]), "<f8")))
    entries = [
        (text(rng.choice(("event_id", "event"))), rng.choice((text("run 3 // 12"), 17, Binary(b"event")))),
        (text("beam_energy"), energy),
        (text("detector_distance"), rng.choice((120.0, 120, text("119.5")))),
        (text("detector_data"), array(pixels, rng.choice(PIXEL_TYPES))),
        (text("peak_list"), peaks),
        (text("note"), rng.choice((None, True, text("no é"), [1, 2.5, text("x")], Extension(3, b"abc")))),
    ]
    rng.shuffle(entries)
    return Pairs(entries)


# --- mutations of what a message says -------------------------------------------------------------------------------

STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1 << 63, (1 << 64) - 1, -(1 << 63), 1e308, float("nan"), float("inf"), -0.0, Raw(b""),
    Raw(b"9500"), Raw(b"\xff\xfe"), Raw(b"1_0"), Raw(b"nan"), Raw("\u0663".encode()), Raw(b"\x1e95"), Raw(b"x" * 300),
    Binary(b""), Binary(b"\x80\x04."), [], [[]], Pairs(), Pairs([(1, 2)]), Extension(255, b"\xff" * 12), Extension(1, b""),
)  # fmt: skip
SIZES: tuple[Any, ...] = (
    0,
    1,
    -1,
    2,
    3,
    1 << 16,
    1 << 31,
    1 << 32,
    1 << 62,
    (1 << 64) - 1,
    -(1 << 63),
    1.5,
    True,
    None,
    Raw(b"3"),
    [3],
)
TYPES = (
    "<f2", ">i4", "|u1", "<c8", "|O", "O", "|V8", "<M8[s]", "<U4", "|S4", "float32", "float", "f4", "<i4,<i4", "(2,2)<i4", "",
    "i", "<i3", "=u2", "!u2", "<f16", "bool", "?", "object", "<i4\0", " <i4", "int", "uint64", "longdouble", "<u4" * 20,
)  # fmt: skip


def copied(value: Any) -> Any:
    """A copy that may be changed: maps are lists of pairs here, and pairs lists."""
    if isinstance(value, Pairs):
        return Pairs([copied(key), copied(each)] for key, each in value)  # type: ignore[misc]
    return [copied(each) for each in value] if isinstance(value, list) else value


def places(value: Any, found: list[tuple[Any, Any]] | None = None) -> list[tuple[Any, Any]]:
    """Container and index of everything in a value, maps' keys included."""
    found = [] if found is None else found
    if isinstance(value, Pairs):
        for pair in value:
            for k in (0, 1):
                found.append((pair, k))
                places(pair[k], found)
    elif isinstance(value, list):
        for k, each in enumerate(value):
            found.append((value, k))
            places(each, found)
    return found


def under(tree: Any, *keys: str) -> list[tuple[Any, Any]]:
    """The places of the values that stand under one of these keys."""
    wanted = {key.encode() for key in keys}
    return [(box, 1) for box, k in places(tree) if k == 1 and isinstance(box[0], bytes) and bytes(box[0]) in wanted]


def change_type(tree: Any, rng: random.Random) -> None:
    box, k = rng.choice(places(tree))
    box[k] = copied(rng.choice(STRANGE))


def change_length(tree: Any, rng: random.Random) -> None:
    found = [place for place in places(tree) if isinstance(place[0][place[1]], (bytes, list))]
    if not found:  # all have become numbers
        return
    box, k = rng.choice(found)
    value, by = box[k], rng.randint(1, 9)
    if isinstance(value, list):
        box[k] = type(value)(value[: -min(by, len(value))] if rng.random() < 0.5 else [*value, *copied(value[:by])])
    else:
        box[k] = type(value)(value[:-by] if rng.random() < 0.5 else bytes(value) + rng.randbytes(by))


def change_shape(tree: Any, rng: random.Random) -> None:
    found = under(tree, "shape")
    if not found:
        return
    box, k = rng.choice(found)
    shape = box[k] if type(box[k]) is list else [3]
    match rng.randrange(5):
        case 0:
            shape[:1] = [copied(rng.choice(SIZES))]
        case 1:
            shape.reverse()
        case 2:
            shape.insert(rng.randrange(len(shape) + 1), copied(rng.choice(SIZES)))
        case 3:
            box[k] = [1 << rng.randrange(63) for _ in range(rng.randrange(12))]
        case _:
            box[k] = copied(rng.choice((*STRANGE, array(np.array([HEIGHT, WIDTH]), "<i4"))))


def change_dtype(tree: Any, rng: random.Random) -> None:
    found = under(tree, "type", "kind", "nd")
    if found:
        box, k = rng.choice(found)
        box[k] = copied(rng.choice((*map(text, TYPES), *map(text, PIXEL_TYPES), *STRANGE, Raw(b"O"), False, True)))


def change_nesting(tree: Any, rng: random.Random) -> None:
    box, k = rng.choice(places(tree))
    for _ in range(rng.choice((1, 1, 2, 5, 29, 30, 31, 32, 33, 60, 120))):
        box[k] = [box[k]] if rng.random() < 0.8 else Pairs([[text("data"), box[k]]])  # type: ignore[list-item]


def change_key(tree: Any, rng: random.Random) -> None:
    pairs = rng.choice([tree, *(box[k] for box, k in places(tree) if isinstance(box[k], Pairs) and box[k])])
    if not pairs:
        return
    pair = rng.choice(pairs)
    match rng.randrange(6):
        case 0:
            pairs.append(copied(pair))
        case 1:
            pairs.append([pair[0], copied(rng.choice(STRANGE))])
        case 2:
            pair[0] = Binary(pair[0]) if isinstance(pair[0], Raw) else rng.choice(STRANGE[:9])
        case 3:
            pair[0] = copied(rng.choice(STRANGE))
        case 4:
            pairs.remove(pair)
        case _:
            other = rng.choice(pairs)
            pair[0], other[0] = other[0], pair[0]


def change_declaration(tree: Any, rng: random.Random) -> None:
    box, k = rng.choice(places(tree))
    if not isinstance(box[k], (int, float, type(None), Lie)):
        box[k] = Lie(box[k], rng.choice((-2, -1, 1, 2, 3, 16, 1 << 8, 1 << 16, 1 << 31, (1 << 32) - 1)))


def exchange(tree: Any, rng: random.Random) -> None:
    (one, k), (other, n) = rng.choice(places(tree)), rng.choice(places(tree))
    one[k], other[n] = copied(other[n]), copied(one[k])


STRUCTURAL: tuple[Callable[[Any, random.Random], None], ...] = (
    change_type, change_length, change_shape, change_dtype, change_nesting, change_key, change_declaration, exchange,
)  # fmt: skip


# --- mutations of the bytes -----------------------------------------------------------------------------------------


def change_bytes(body: bytes, rng: random.Random) -> bytes:
    changed = bytearray(body)
    for _ in range(rng.randint(1, 5)):
        at, size = rng.randrange(len(changed) + 1), rng.randint(1, 20)
        match rng.randrange(5):
            case 0:
                changed[at : at + 1] = rng.randbytes(1)
            case 1:
                del changed[at : at + size]
            case 2:
                changed[at:at] = changed[at : at + size]
            case 3 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case _:
                changed[at:at] = rng.randbytes(size)
    return bytes(changed)


def spliced(one: bytes, other: bytes, rng: random.Random) -> bytes:
    """The beginning of one message and the end of another."""
    return one[: rng.randrange(len(one) + 1)] + other[rng.randrange(len(other) + 1) :]


KINDS = {"none": 5, "structure": 50, "array": 10, "bytes": 17, "truncation": 8, "splice": 10}
"""Of a hundred messages so many are changed in this way."""


class Mutator:
    """Makes message after message; each follows from the seed and its number alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        rng = random.Random(seed)
        self._trees = [good(rng) for _ in range(256)]
        self._bodies = [packed(tree, rng) for tree in self._trees]

    def message(self, number: int) -> tuple[str, bytes]:
        """How message `number` was made, and its bytes."""
        rng = random.Random((self._seed << 48) | number)
        (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
        body = rng.choice(self._bodies)
        match kind:
            case "structure" | "array":
                body = self._restructured(kind, rng)
            case "bytes":
                body = change_bytes(body, rng)
            case "truncation":
                body = body[: rng.randrange(len(body) + 1)]
            case "splice":
                body = spliced(body, rng.choice(self._bodies), rng)
        return kind, body

    def _restructured(self, kind: str, rng: random.Random) -> bytes:
        tree: Any = copied(rng.choice(self._trees))
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            rng.choice(STRUCTURAL)(tree, rng)
        if kind == "array":
            others = [copied(rng.choice(self._trees)) for _ in range(rng.randrange(3))]
            tree = rng.choice(
                ([tree], [tree, *others], [*others, tree], [copied(rng.choice(STRANGE)), tree], [[tree]], others)
            )
            if rng.random() < 0.2:
                tree = Lie(tree, rng.choice((-1, 1, 1 << 16, 1 << 31)))
        return packed(tree, rng)
