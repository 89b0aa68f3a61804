"""Read messages that hold an HDF5 file with one frame, as CrystFEL's ``--data-format=hdf5`` does."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from pipeline import Context, Event, Message, RejectFrame, UserError, stage
from stages.records.header import Header
from stages.records.image import HIGHEST, Image, Unread
from stages.records.told import PixelsDecoded
from stages.wire.compressed import Decompressor
from stages.wire.hdf5 import MAGIC, HdfFile
from stages.wire.hdf5_filters import load_plugins
from stages.wire.looks import not_wanted
from stages.wire.naming import Naming

log = logging.getLogger("streamajig.decode")


@stage("decode/hdf5", publishes=(PixelsDecoded,))
class Hdf5(Naming):
    """Read a message that holds an HDF5 file with one frame, whatever is in it.

    ``data = /entry/data/data`` in the geometry file is the path of the pixels, ``photon_energy = /LCLS/photon_energy eV`` and
    ``clen = /LCLS/clen m`` are those of single numbers, as with CrystFEL. A ``%`` in a path stands for the one name that fits,
    and a ``%`` among the dimensions for an axis of length 1. The event's name is a data set too (``event_keys``).

    A data set is read when a stage asks for it. Pixels that are not compressed stay in the message; zlib, LZ4 and
    bitshuffle/LZ4 are decompressed past HDF5, whose one lock lets one thread work at a time. What else compresses is read by
    HDF5, with hdf5plugin, and there processes scale where threads do not. The highest value of unsigned integers marks pixels
    that are bad. External links, external storage and virtual data sets, which are in other files, are refused. Needs
    ``pip install 'streamajig[hdf5]'``.
    """

    def open(self, context: Context) -> RunningHdf5:
        """Import what reads HDF5, and let the stages downstream know that there are images."""
        try:
            import h5py  # noqa: F401 - it must be there when messages come
        except ImportError as error:
            raise UserError(
                f"decode/hdf5 reads HDF5 with h5py, which cannot be imported ({error}); pip install 'streamajig[hdf5]'"
            ) from None
        load_plugins()
        context.publish(PixelsDecoded(True, has_sentinels=True))
        return RunningHdf5(self, decompressor_if_any())


def decompressor_if_any() -> Decompressor | None:
    """Return what decompresses bitshuffle and LZ4 past HDF5, where it is installed."""
    try:
        return Decompressor("decode/hdf5", "hdf5")
    except UserError as missing:
        log.warning("%s; without it HDF5 reads bitshuffle and LZ4, more slowly", missing)
        return None


class RunningHdf5:
    """`Hdf5` at work."""

    def __init__(self, parameters: Hdf5, decompressor: Decompressor | None) -> None:
        self._parameters = parameters
        self._decompressor = decompressor

    def __call__(self, message: Message) -> tuple[Event, Header, Image]:
        """Open the file; what is in it is read when somebody asks."""
        body = self._parameters.body(message)
        if bytes(body[: len(MAGIC)]) != MAGIC:
            raise not_wanted(body, "an HDF5 file")
        file = HdfFile(body, self._parameters.max_message_bytes, self._decompressor)
        event, header = self._parameters.named(Header(Values(file), value_of))
        return event, header, Image(Arrays(file), {}, sentinels=HIGHEST)


class Arrays(Unread):
    """The images of a file by their paths."""

    def __init__(self, file: HdfFile) -> None:
        self._file = file
        self._read: dict[str, NDArray[Any]] = {}

    def __getitem__(self, path: str) -> NDArray[Any]:
        if path not in self._read:
            self._read[path] = self._file.array(path)
        return self._read[path]

    def shape_of(self, key: str) -> tuple[int, ...]:
        """Return the shape of an image that may not have been read yet."""
        return self._file.shape(key)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self._file.find(path) is not None

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._file.names if _is(self._file, name, "is_image"))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return bool(self._read) or any(True for _ in self)

    def __reduce__(self) -> Any:
        return _arrays_of, (bytes(self._file.body), self._file.most_bytes)


def _arrays_of(body: bytes, most_bytes: int) -> Arrays:
    """The images of a file that has crossed to another process."""
    load_plugins()
    return Arrays(HdfFile(memoryview(body), most_bytes, decompressor_if_any()))


@dataclass(frozen=True)
class Value:
    """A header value that is still in its file."""

    file: HdfFile
    path: str

    def get(self) -> Any:
        """Read it; rejects the frame if it is none."""
        return self.file.value(self.path)

    def detached(self) -> KnownValue:
        """Return the value itself."""
        try:
            return KnownValue(self.get())
        except RejectFrame as trouble:
            return KnownValue(trouble)


@dataclass(frozen=True)
class KnownValue:
    """A header value, or why there is none."""

    value: Any

    def get(self) -> Any:
        """Return it; rejects the frame if it is none."""
        if isinstance(self.value, RejectFrame):
            raise self.value
        return self.value

    def detached(self) -> KnownValue:
        """It holds nothing of the file."""
        return self


def value_of(kept: Value | KnownValue) -> Any:
    """Return a header value."""
    return kept.get()


class Values(Mapping[str, Value]):
    """The single numbers, texts and small rows of numbers in a file by their paths."""

    def __init__(self, file: HdfFile) -> None:
        self._file = file

    def __getitem__(self, path: str) -> Value:
        if path not in self:
            raise KeyError(path)
        return Value(self._file, path)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self._file.find(path) is not None

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._file.names if _is(self._file, name, "is_value"))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _is(file: HdfFile, name: str, what: str) -> bool:
    try:
        return bool(getattr(file.find(name), what, False))
    except RejectFrame:
        return False
