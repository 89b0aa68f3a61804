"""What messages say of themselves, changed: objects in JSON, CBOR and MessagePack, and the text ahead of pixels."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import random
import re
import struct
from collections.abc import Mapping
from typing import Any

import cbor2
import mutators as maps
import numpy as np
import slow_reader as slow
from byte_mutators import HUGE, truncated, with_numbers
from format_messages import HEIGHT, WIDTH, Good
from writers import Parts

# --- what is in JSON and CBOR ---------------------------------------------------------------------------------------

STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, -0.0, float("nan"), float("inf"), 1e308, 10**30, 1 << 31, 1 << 63, -(1 << 63), "", "x" * 300,
    "\x00", "é\u0663\ud7ff", "nan", "9500", "uint16", "<f2", "O", "bs16-lz4<", "bs32-lz4<", "lz4<", "<", ">", "bslz4", "bszstd",
    [], [[]], {}, {"a": {}}, [0, 0], [HEIGHT, WIDTH], [-1, 5], [1 << 40, 1 << 40], [1, 2, 3, 4, 5, 6, 7, 8, 9], [1.5, "2"],
)  # fmt: skip


class Tag(list[Any]):
    """A tag of CBOR, its number and what it is of, where it can be changed."""


def changed_tree(tree: Any, rng: random.Random, more: tuple[Any, ...] = ()) -> Any:
    """Change something in lists and maps in each other."""
    root = [tree]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = _places(root)
        box, key = rng.choice(found)
        value = box[key]
        match rng.randrange(8):
            case 0 if isinstance(box, dict):
                del box[key]
            case 1 if isinstance(box, dict):
                box[rng.choice(STRANGE[14:30])] = box.pop(key)
            case 2:
                other, k = rng.choice(found)
                box[key], value = _copied(other[k]), None
            case 3 if isinstance(value, int | float):
                box[key] = rng.choice((value + 1, -value, value * 2, str(value), [value], rng.choice(HUGE)))
            case 4 if isinstance(value, str | bytes) and value:
                cut = rng.randrange(len(value) + 1)
                box[key] = rng.choice((value[:cut], value[cut:], value + value, value[:cut] + value))
            case 5:
                for _ in range(rng.choice((1, 2, 30, 200))):
                    box[key] = [box[key]] if rng.random() < 0.8 else {"data": box[key]}
            case 6 if isinstance(value, list) and value:
                value.append(_copied(rng.choice(value))) if rng.random() < 0.5 else value.pop(rng.randrange(len(value)))
            case _:
                box[key] = _copied(rng.choice((*STRANGE, *more)))
    return root[0]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Container and key of everything in a value."""
    found: list[tuple[Any, Any]] = []
    for key, each in list(value.items() if isinstance(value, dict) else enumerate(value)):
        found.append((value, key))
        if isinstance(each, dict | list):
            found += _places(each)
    return found


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return type(value)(_copied(each) for each in value) if isinstance(value, list) else value


def restructured_json(good: Good, rng: random.Random) -> list[Parts]:
    """Change an object in JSON."""
    messages = [list(parts) for parts in good.messages]
    places = [(parts, n) for parts in messages for n, part in enumerate(parts) if part.startswith(b"{")]
    parts, n = rng.choice(places)
    tree = changed_tree(json.loads(parts[n]), rng)
    with np.errstate(all="ignore"):
        parts[n] = json.dumps(tree, skipkeys=True).encode("utf-8", "surrogatepass")
    return messages


def restructured_cbor(good: Good, rng: random.Random) -> list[Parts]:
    """Change a message in CBOR."""
    messages = [list(parts) for parts in good.messages]
    parts = messages[-1] if rng.random() < 0.7 else rng.choice(messages)
    tree = _open_tags(cbor2.loads(parts[0]))
    more = (Tag([40, [[2, 2], b"abcd"]]), Tag([69, b""]), Tag([56500, ["bslz4", 2, b""]]), b"", b"\x00" * 40)
    parts[0] = cbor2.dumps(cbor2.CBORTag(55799, _close_tags(changed_tree(tree, rng, more))))
    return messages


def _open_tags(value: Any) -> Any:
    if isinstance(value, cbor2.CBORTag):
        return Tag([value.tag, _open_tags(value.value)])
    if isinstance(value, Mapping):
        return {key: _open_tags(each) for key, each in value.items()}
    return [_open_tags(each) for each in value] if isinstance(value, list | tuple) else value


def _close_tags(value: Any) -> Any:
    if isinstance(value, Tag) and len(value) == 2 and type(value[0]) is int and 0 <= value[0] < 1 << 64:
        return cbor2.CBORTag(value[0], _close_tags(value[1]))
    if isinstance(value, dict):
        return {key: _close_tags(each) for key, each in value.items()}
    return [_close_tags(each) for each in value] if isinstance(value, list) else value


# --- what is in MessagePack -----------------------------------------------------------------------------------------


def restructured_trains(good: Good, rng: random.Random) -> list[Parts]:
    """Change a map in MessagePack."""
    messages = [list(parts) for parts in good.messages]
    parts = messages[-1]
    found = []
    for n, part in enumerate(parts):
        try:
            tree = slow.read(part)
        except slow.Malformed:
            continue
        if isinstance(tree, slow.Pairs) and tree:
            found.append((n, tree))
    n, tree = rng.choice(found)
    changed = maps.copied(tree)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if maps.places(changed):
            rng.choice(maps.STRUCTURAL)(changed, rng)
    parts[n] = maps.packed(changed, rng)
    return messages


# --- text ahead of the pixels ---------------------------------------------------------------------------------------

_WORDS = (
    "", "0", "-1", "1", "7.5", "nan", "1e400", "99999999999", "999999999999999999999", "0x10", "1_0", "\u0663", "x" * 400,
    '"signed 8-bit integer"', '"unsigned 8-bit integer"', '"signed 16-bit integer"', '"unsigned 32-bit integer"',
    '"signed 32-bit integer"', '"signed 64-bit real IEEE"', "BIG_ENDIAN", "x-CBF_CANONICAL", "x-CBF_BYTE_OFFSET", "None",
)  # fmt: skip


def restructured_cbf(good: Good, rng: random.Random) -> list[Parts]:
    """Change the header of a CBF image, or its pixels together with their checksum."""
    return [[_restructured_cbf(good.messages[0][0], rng)]]


def _restructured_cbf(body: bytes, rng: random.Random) -> bytes:
    head, magic, rest = body.partition(b"\x0c\x1a\x04\xd5")
    size = int(head.split(b"X-Binary-Size:")[1].split()[0])
    pixels, tail = rest[:size], rest[size:]
    lines = head.split(b"\r\n")
    if rng.random() < 0.4:
        change = rng.choice((maps.change_bytes, with_numbers, truncated))
        pixels = change(pixels, rng)
        digest = base64.b64encode(hashlib.md5(pixels, usedforsecurity=False).digest())
        said = {b"Content-MD5": digest, b"X-Binary-Size": str(len(pixels)).encode()}
        lines = [
            b": ".join((name, said[name])) if (name := line.partition(b":")[0]) in said else line for line in lines
        ]
    else:
        for _ in range(rng.choice((1, 1, 2, 3))):
            n = rng.choice([n for n, line in enumerate(lines) if b":" in line or line.startswith(b"#")] or [0])
            name, _, value = lines[n].partition(b":" if b":" in lines[n] else b" ")
            match rng.randrange(5):
                case 0:
                    del lines[n]
                case 1:
                    lines.insert(n, lines[rng.randrange(len(lines))])
                case 2:
                    other = rng.choice(lines).partition(b":")[2]
                    lines[n] = name + b": " + other.strip()
                case 3:
                    lines[n] = name + rng.choice((b":\t", b" : ", b":\r\n ", b"= ")) + value.strip()
                case _:
                    lines[n] = name + b": " + rng.choice(_WORDS).encode("utf-8")
            lines = lines or [b""]
    return b"\r\n".join(lines) + magic + pixels + tail


def restructured_cbf_gz(good: Good, rng: random.Random) -> list[Parts]:
    """Change what is then compressed."""
    return [
        [gzip.compress(_restructured_cbf(gzip.decompress(good.messages[0][0]), rng), rng.choice((0, 1, 9)), mtime=0)]
    ]


def restructured_npy(good: Good, rng: random.Random) -> list[Parts]:
    """Change the header of an array."""
    body = good.messages[0][0]
    length = struct.unpack("<H", body[8:10])[0]
    text, pixels = body[10 : 10 + length].decode("latin-1"), body[10 + length :]
    shape = rng.choice(
        ("()", "(5,)", f"({HEIGHT * WIDTH},)", f"({HEIGHT}, {WIDTH})", f"({WIDTH}, {HEIGHT})", f"({HEIGHT}, {WIDTH}, 1)",
         f"(1, {HEIGHT}, {WIDTH})", "(-1, 5)", "(0, 5)", f"({1 << 40}, {1 << 40})", f"({1 << 62}, 4)", "(True, 3)", "('a', 3)",
         f"({HEIGHT}L, {WIDTH})", "(1e3, 2)", str((1,) * 40), "[18, 26]", f"({HEIGHT}, {WIDTH}"),
    )  # fmt: skip
    descr = rng.choice((*(f"'{each}'" for each in maps.TYPES), "[('a', '<i4')]", "('<i4', (2,))", "None", "'<i4"))
    match rng.randrange(5):
        case 0:
            text = re.sub(r"\([^)]*\)", lambda _: shape, text)
        case 1:
            text = re.sub(r"'descr': '[^']*'", lambda _: f"'descr': {descr}", text)
        case 2:
            text = text.replace("False", rng.choice(("True", "0", "None", "'False'")))
        case 3:
            text = text.replace(rng.choice(("descr", "shape", "fortran_order", "{", "}", ",", ":", "'")), "", 1)
        case _:
            text = rng.choice((text * 2, "{}", "", text.strip(), text.replace(" ", "\n"), "x" * 70_000, "{" * 500))
    header = text.encode("latin-1")
    version = rng.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x04\x00", b"\x00\x00", b"\xff\xff"))
    told = max(0, len(header) + rng.choice((0, 0, 0, -1, 1, 70_000)))
    size = struct.pack("<H", told & 0xFFFF) if version[0] == 1 else struct.pack("<I", told)
    return [[body[:6] + version + size + header + pixels]]
