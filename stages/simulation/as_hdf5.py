"""A simulated frame as an HDF5 file, or as Seedee sends arrays."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import UserError


def require_h5py() -> None:
    """Raise UserError if h5py, which writes HDF5 files, is not installed."""
    try:
        import h5py  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"the format hdf5 is written with h5py, which cannot be imported ({error}); pip install 'streamajig[hdf5]'"
        ) from None


def hdf5_file(arrays: Mapping[str, NDArray[Any]], values: Mapping[str, object]) -> bytes:
    """Write arrays and header values at their paths into an HDF5 file, not compressed.

    >>> hdf5_file({"/data": np.zeros((2, 3))}, {"/energy": 9500.0})[1:4]
    b'HDF'
    """
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for path, content in {**arrays, **values}.items():
            file[path] = content
    return buffer.getvalue()


def seedee_parts(pixels: NDArray[Any], values: Mapping[str, object]) -> tuple[bytes, bytes]:
    """Write an array as Seedee does, not compressed, with its description among header values, as ASAP::O has them.

    >>> seedee_parts(np.zeros((2, 3), "u2"), {"energy": 9500.0})[0][:33]
    b'{"energy": 9500.0, "_data_format"'
    """
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    description = {
        "array": {
            "byteorder": ord("<"),
            "datatype": ord(pixels.dtype.kind),
            "itemsize": pixels.dtype.itemsize,
            "ndims": pixels.ndim,
            "shape": list(pixels.shape),
            "size": pixels.nbytes,
            "stride": None,
        },
        "compression": 0,
        "compression_opts": None,
        "data_format": "hdf5_chunk",
        "protocol": "seedee",
        "version_major": 1,
        "version_minor": 0,
    }
    said = {**values, "_data_format": json.dumps(description, separators=(",", ":"))}
    return json.dumps(said).encode(), pixels.tobytes()
