"""Pixels that are bad in every frame: whole panels, edges, regions, and masks from HDF5 files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import UserError
from stages.files.geom.bad_regions import paint_data_region
from stages.files.geom.model import BadRegion, MaskSource, PlacedPanel
from stages.wire.hdf5_filters import cannot_be_undone, contradiction, filters_of, load_plugins


def unshifted_bad(
    panels: Sequence[PlacedPanel], regions: Sequence[BadRegion], copies: Mapping[str, Path] | None = None
) -> tuple[NDArray[np.uint8], ...]:
    """Return one uint8 array (height, width) per panel, 1 where bad, of all that does not move with the detector.

    Reads the files of masks; raises UserError naming what is missing. `copies` says where a recording has them, by the names
    that the geometry file gives them.
    """
    bad = tuple(np.zeros((p.panel.height, p.panel.width), np.uint8) for p in panels)
    files = _MaskFiles({name: str(copy) for name, copy in (copies or {}).items() if copy.is_file()})
    try:
        for placed, mask in zip(panels, bad, strict=True):
            if placed.panel.no_index:
                mask[:] = 1
                continue
            mask_edges(mask, placed.mask_edge_pixels)
            for source in placed.masks:
                if source.file:
                    mask[:] |= from_bits(files.read(source, placed), source.goodbits, source.badbits)
    finally:
        files.close()
    for region in regions:
        if not region.in_laboratory:
            paint_data_region(region, panels, bad)
    return bad


def mask_edges(mask: NDArray[np.uint8], n: int) -> None:
    """Mark a border of n pixels.

    >>> m = np.zeros((3, 4), np.uint8); mask_edges(m, 1); m
    array([[1, 1, 1, 1],
           [1, 0, 0, 1],
           [1, 1, 1, 1]], dtype=uint8)
    """
    if n > 0:
        inside = np.zeros(mask.shape, bool)
        inside[n : max(n, mask.shape[0] - n), n : max(n, mask.shape[1] - n)] = True
        mask[~inside] = 1


def from_bits(values: NDArray[Any], goodbits: int, badbits: int) -> NDArray[np.uint8]:
    """Return 1 where not all of `goodbits` or any of `badbits` are set.

    >>> from_bits(np.array([0, 1, 3]), goodbits=1, badbits=2)
    array([1, 0, 1], dtype=uint8)
    """
    bits = values.astype(np.int64, casting="unsafe", copy=False).view(np.uint64)
    good, any_bad = np.uint64(goodbits), np.uint64(badbits)
    bad: NDArray[np.uint8] = (((bits & good) != good) | ((bits & any_bad) != 0)).astype(np.uint8)
    return bad


class _MaskFiles:
    """HDF5 files that are open while masks are read, each opened once."""

    def __init__(self, copies: Mapping[str, str]) -> None:
        self._copies = copies
        self._open: dict[str, Any] = {}
        self._read: dict[tuple[str, str], NDArray[Any]] = {}

    def read(self, source: MaskSource, placed: PlacedPanel) -> NDArray[Any]:
        """Return the mask's values for one panel, (height, width)."""
        where = f"mask{source.number} of panel {placed.panel.name}"
        source = replace(source, file=self._copies.get(source.file, source.file))
        if "%" in source.data:
            raise UserError(
                f"{where}: its place {source.data!r} in {source.file} depends on the frame ('%'), and streamed frames have no "
                "place in a file; give the path of one mask for all frames"
            )
        key = (source.file, source.data)
        if key not in self._read:
            self._read[key] = self._dataset(source, where)
        return _of_panel(self._read[key], source, placed, where)

    def _dataset(self, source: MaskSource, where: str) -> NDArray[Any]:
        if not Path(source.file).is_file():
            raise UserError(
                f"{where}: no file {source.file!r} (names are relative to the working directory, {Path.cwd()}); "
                f"mend mask{source.number}_file in the geometry file or take it out"
            )
        if source.file not in self._open:
            self._open[source.file] = _open_hdf5(source.file, where)
        found = self._open[source.file].get(source.data)
        if found is None or not hasattr(found, "shape"):
            kind = "is a group, not an array" if found is not None else "does not exist"
            raise UserError(
                f"{where}: {source.data!r} {kind} in {source.file!r}; mend mask{source.number}_data in the geometry file"
            )
        values = _values(found, f"{where}: {source.data!r} in {source.file!r}")
        if values.dtype.kind not in "iub":
            if values.dtype.kind != "f":
                raise UserError(
                    f"{where}: {source.data!r} in {source.file!r} holds {values.dtype}, and a mask holds integers"
                )
            values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        return values

    def close(self) -> None:
        for file in self._open.values():
            file.close()


def _values(dataset: Any, what: str) -> NDArray[Any]:
    filters = filters_of(dataset.id.get_create_plist())
    wrong = cannot_be_undone(filters) or contradiction(filters, dataset.id.get_type().get_size())
    if wrong:
        raise UserError(f"{what} {wrong}")
    try:
        return np.asarray(dataset[()])
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise UserError(f"{what} cannot be read ({error})") from None


def _open_hdf5(path: str, where: str) -> Any:
    try:
        import h5py

        load_plugins()
    except ImportError:
        raise UserError(
            f"{where} is in the HDF5 file {path!r}, and h5py, which reads it, is not installed: pip install 'streamajig[masks]'"
        ) from None
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{where}: {path!r} cannot be read as an HDF5 file ({error})") from None


def _of_panel(values: NDArray[Any], source: MaskSource, placed: PlacedPanel, where: str) -> NDArray[Any]:
    """Cut out a panel's rectangle; a frame axis may be absent, as in a mask that serves all frames."""
    panel = placed.panel
    dims = panel.dims if values.ndim == len(panel.dims) else tuple(d for d in panel.dims if d != "%")
    wanted = " x ".join(map(str, panel.dims))
    if values.ndim != len(dims):
        raise UserError(
            f"{where}: {source.data!r} in {source.file!r} has shape {values.shape}, and the panel's dim directives say {wanted}"
        )
    index: list[slice | int] = []
    for axis, dim in enumerate(dims):
        size = values.shape[axis]
        if dim == "%":
            if size != 1:
                raise UserError(
                    f"{where}: {source.data!r} in {source.file!r} holds {size} masks, one a frame; streamed frames have no "
                    "number in it: give an array with one mask"
                )
            index.append(0)
            continue
        low, high = {"ss": (panel.min_ss, panel.max_ss), "fs": (panel.min_fs, panel.max_fs)}.get(str(dim), (dim, dim))
        if int(high) >= size:
            raise UserError(
                f"{where}: {source.data!r} in {source.file!r} has shape {values.shape}; the panel ({wanted}) "
                f"needs at least {int(high) + 1} along dimension {axis}"
            )
        index.append(slice(int(low), int(high) + 1) if dim in ("ss", "fs") else int(low))
    return values[tuple(index)]
