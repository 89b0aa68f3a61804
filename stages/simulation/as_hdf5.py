"""A simulated frame as an HDF5 file."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from numpy.typing import NDArray

from pipeline import UserError
from stages.simulation.experiment import SimulatedFrame
from stages.simulation.settings import Style
from stages.simulation.wire import WireFormat


class Hdf5(WireFormat):
    """An HDF5 file; pixels and header values are at the paths that the geometry file says."""

    style: ClassVar[Style] = "hdf5"

    @staticmethod
    def places(energy_ev: float, distance_mm: float) -> str:
        """Paths as NeXus files have them."""
        return (
            "photon_energy = /entry/beam/photon_energy eV\nclen = /entry/detector/distance m\ndata = /entry/data/data\n"
        )

    @staticmethod
    def require_library() -> None:
        """Raise UserError if h5py, which writes HDF5 files, is not installed."""
        try:
            import h5py  # noqa: F401
        except ImportError as error:
            raise UserError(
                f"the format hdf5 is written with h5py, which cannot be imported ({error}); pip install 'streamajig[hdf5]'"
            ) from None

    def message(self, frames: Sequence[SimulatedFrame]) -> tuple[bytes]:
        """One part."""
        (frame,) = frames
        values = self.header_of(frame)
        # HDF5 has no booleans
        numbers = {key: int(value) if isinstance(value, bool) else value for key, value in values.items()}
        return (hdf5_file(frame.arrays, numbers),)


def hdf5_file(arrays: Mapping[str, NDArray[Any]], values: Mapping[str, object]) -> bytes:
    """Write arrays and header values at their paths into an HDF5 file, not compressed.

    >>> import numpy as np
    >>> hdf5_file({"/data": np.zeros((2, 3))}, {"/energy": 9500.0})[1:4]
    b'HDF'
    """
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for path, content in {**arrays, **values}.items():
            file[path] = content
    return buffer.getvalue()
