"""The data formats that are read, by the names that ``--data-format`` gives them."""

from __future__ import annotations

from typing import Literal

DataFormat = Literal["msgpack", "hdf5", "cbf", "seedee", "npy", "dectris1", "dectris2", "karabo"]

DECODERS: dict[str, str] = {
    "msgpack": "decode/msgpack_map",
    "hdf5": "decode/hdf5",
    "cbf": "decode/cbf",
    "seedee": "decode/seedee",
    "npy": "decode/npy",
    "dectris1": "decode/dectris1",
    "dectris2": "decode/dectris2",
    "karabo": "decode/karabo",
}
"""The stage that reads each."""

WITH_PEAKS = frozenset({"msgpack", "dectris2"})
"""Formats whose messages may hold a list of peaks."""

SAID_ONCE = frozenset({"dectris1", "dectris2"})
"""Formats whose senders say once, before a series, what holds for all of it: who misses that cannot read the rest."""

IN_PARTS = frozenset({"seedee", "dectris1", "karabo"})
"""Formats whose messages have several parts, but for the first version of karabo's bridge."""

NEVER_ALONE = IN_PARTS - {"karabo"}
"""Those of which a single part is never a frame."""
