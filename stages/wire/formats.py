"""The data formats that are read, by the names that ``--data-format`` gives them."""

from __future__ import annotations

from typing import Literal

DataFormat = Literal["msgpack", "cbf", "npy", "karabo"]

DECODERS: dict[str, str] = {
    "msgpack": "decode/msgpack_map",
    "cbf": "decode/cbf",
    "npy": "decode/npy",
    "karabo": "decode/karabo",
}
"""The stage that reads each."""

SAID_ONCE = frozenset({"dectris1", "dectris2"})
"""Formats whose senders say once, before a series, what holds for all of it: who misses that cannot read the rest."""
