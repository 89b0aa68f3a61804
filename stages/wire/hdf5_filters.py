"""The filters that data sets in HDF5 files are compressed with, and whether they can be undone here.

HDF5 itself has a few; detectors and archives use others, which are plug-ins. https://github.com/HDFGroup/hdf5_plugins
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

Filters = Sequence[tuple[int, tuple[int, ...]]]
"""Number and parameters of each filter of a data set, in the order in which its writer applied them."""

DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
LZ4, BITSHUFFLE = 32004, 32008

_NAMES = {
    DEFLATE: "deflate",
    SHUFFLE: "shuffle",
    FLETCHER32: "fletcher32",
    4: "szip",
    307: "bzip2",
    32000: "LZF",
    32001: "Blosc",
    LZ4: "LZ4",
    BITSHUFFLE: "bitshuffle",
    32013: "ZFP",
    32015: "zstd",
    32026: "Blosc2",
}


_SIZE_AT = 2
"""Which of bitshuffle's parameters is the size of a value."""


def load_plugins() -> None:
    """Let HDF5 have the filters of hdf5plugin, where that is installed."""
    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401 - it registers them when it is imported


def filters_of(creation: Any) -> Filters:
    """Return number and parameters of each filter of a data set, in the order in which its writer applied them.

    `creation` is its list of creation properties, as h5py's low level has it.
    """
    found = (creation.get_filter(n) for n in range(creation.get_nfilters()))
    return tuple((number, parameters) for number, _, parameters, _ in found)


def cannot_be_undone(filters: Filters) -> str:
    """Say which of the filters nothing undoes, and what to install; "" if all can be undone."""
    from h5py import h5z

    for number, _ in filters:
        if not (h5z.filter_avail(number) and h5z.get_filter_info(number) & h5z.FILTER_CONFIG_DECODE_ENABLED):
            name = _NAMES.get(number, "a filter that is not known here")
            return (
                f"is compressed with {name} (HDF5 filter {number}), which nothing that is installed decompresses: "
                "pip install 'streamajig[hdf5]'"
            )
    return ""


def contradiction(filters: Filters, itemsize: int) -> str:
    """Say how the parameters of a filter contradict the size of the values, in bytes; "" where they do not.

    bitshuffle's plug-in divides by the size that it is told: 0 ends the whole process.

    >>> contradiction([(BITSHUFFLE, (0, 4, 2, 0, 2))], 2), contradiction([(BITSHUFFLE, (0, 4, 0, 0, 2))], 2)
    ('', 'has values of 2 bytes, and says to bitshuffle that they have 0')
    """
    for number, parameters in filters:
        if number == BITSHUFFLE and len(parameters) > _SIZE_AT and parameters[_SIZE_AT] != itemsize:
            return f"has values of {itemsize} bytes, and says to bitshuffle that they have {parameters[_SIZE_AT]}"
    return ""
