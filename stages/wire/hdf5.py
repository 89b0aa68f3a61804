"""An HDF5 file that is the body of a message: what is in it, read when it is asked for, and never believed.

An HDF5 file can send its reader elsewhere: external links and virtual data sets are in other files, external storage is any
file of the reader's machine. So a path is followed link by link, and whatever leads out of the message is refused by name
before it is opened. Sizes are held against what is stored before anything is allocated. The file stays where it is: HDF5 reads
the message's own memory. https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t4.html
"""

from __future__ import annotations

import math
import re
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import RejectFrame
from stages.wire.compressed import Decompressor, in_our_order
from stages.wire.hdf5_chunks import Chunks, most_expansion
from stages.wire.hdf5_filters import Filters, cannot_be_undone, contradiction, filters_of
from stages.wire.hdf5_heaps import check_group, check_root
from stages.wire.hdf5_objects import kept_elsewhere
from stages.wire.hdf5_text import text_at

MAGIC = b"\x89HDF\r\n\x1a\n"

_DO_NOT_COPY, _DO_NOT_RELEASE = 2, 4
"""Flags of H5LTopen_file_image: HDF5 reads the memory that it is given, and does not free it."""

MOST_HEADER_BYTES = 65536
"""A data set that is larger is no header value."""

_MOST_HOPS = 16
"""Soft links on the way to one data set."""

_MOST_NAMES, _MOST_OBJECTS, _MOST_LEVELS = 200, 1000, 8
"""How far a file is searched for what is in it, to be told or kept: data sets, objects looked at, groups in groups."""


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Reject the frame for whatever HDF5 finds wrong; h5py raises errors of a dozen kinds."""
    try:
        yield
    except RejectFrame:
        raise
    except Exception as error:
        raise RejectFrame("bad_hdf5", f"{what} cannot be read: {type(error).__name__}: {error}") from None


def _leads_out(path: str, what: str) -> RejectFrame:
    return RejectFrame(
        "leads_out",
        f"{path!r} is {what}: other files than the message itself are not read; send the data in the message",
    )


@dataclass(frozen=True)
class Stored:
    """A data set, as far as it is known before its values are read.

    Attributes
    ----------
    path
        As it was asked for.
    id
        h5py's DatasetID.
    shape, dtype
        As stored; dtype is None for what numpy has no type for.
    chunk
        The shape of its chunks, None where it has none.
    filters
        Number and parameters of each filter.
    """

    path: str
    id: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any] | None
    chunk: tuple[int, ...] | None
    filters: Filters

    @property
    def is_text(self) -> bool:
        """Whether it holds text, of a fixed length or another."""
        import h5py

        return self.dtype is not None and h5py.check_string_dtype(self.dtype) is not None

    @property
    def is_numeric(self) -> bool:
        """Whether it holds integers or real numbers, and no enumeration of names."""
        dtype = self.dtype
        return dtype is not None and dtype.kind in "iuf" and dtype.itemsize <= 8 and dtype.metadata is None

    @property
    def is_boolean(self) -> bool:
        """Whether it holds true and false, which h5py writes as an enumeration."""
        return self.dtype is not None and self.dtype.kind == "b"

    @property
    def size(self) -> int:
        """Bytes of all its values."""
        return math.prod(self.shape) * (1 if self.dtype is None else self.dtype.itemsize)

    @property
    def is_value(self) -> bool:
        """Whether it is a header value: one number or text, or an array of numbers that is small and has one dimension."""
        if self.size > MOST_HEADER_BYTES:
            return False
        if max(self.shape, default=1) == 1:
            return self.is_text or self.is_numeric or self.is_boolean
        return self.is_numeric and len(self.shape) == 1

    @property
    def is_image(self) -> bool:
        """Whether it may be pixels."""
        return self.is_numeric and len(self.shape) >= 2

    def __str__(self) -> str:
        kind = "text" if self.is_text else "values that are no numbers" if self.dtype is None else str(self.dtype)
        return f"a data set of shape {self.shape} with {kind}"


class HdfFile:
    """A file in memory; it is closed when nobody holds it any longer.

    Parameters
    ----------
    body
        All of the file.
    most_bytes
        Larger arrays are rejected.
    decompressor
        Decompresses bitshuffle and LZ4; without one, HDF5 does with hdf5plugin.
    """

    def __init__(self, body: memoryview, most_bytes: int, decompressor: Decompressor | None) -> None:
        from h5py import h5f

        self.body = body
        self.most_bytes = most_bytes
        self.decompressor = decompressor
        self._found: dict[str, Stored | None] = {}
        check_root(body)
        with _reading(f"the HDF5 file of {len(body)} bytes"):
            self._root = h5f.open_file_image(body, _DO_NOT_COPY | _DO_NOT_RELEASE)
        weakref.finalize(self, _close, self._root, self._found, body)

    def find(self, path: str) -> Stored | None:
        """Return the data set at a path, None if there is none; rejects one that is not in the message."""
        if path not in self._found:
            with _reading(f"{path!r} of the HDF5 file"):
                found = self._walk(path) if path else None
                self._found[path] = None if found is None else _described(path, found)
        return self._found[path]

    def array(self, path: str) -> NDArray[Any]:
        """Return the pixels of a data set, read-only, in our byte order; rejects what has none."""
        stored = self._image(path)
        with _reading(f"{path!r} of the HDF5 file"):
            return in_our_order(self._values(stored))

    def shape(self, path: str) -> tuple[int, ...]:
        """Return the shape of what `array` would."""
        return self._image(path).shape

    def value(self, path: str) -> Any:
        """Return a header value: a number, text, or a small array of numbers; rejects what is none."""
        stored = self.find(path)
        if stored is None or not stored.is_value:
            raise RejectFrame("not_a_header_value", f"it is {stored}; a number or text was wanted")
        with _reading("the data set"):
            if stored.dtype == object:
                return self._text(stored)
            values = self._values(stored)
            return in_our_order(values) if values.size > 1 else _single(values.reshape(-1)[0])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The paths of data sets, the first of a large file."""
        try:
            with _reading("the HDF5 file"):
                return tuple(islice(self._data_sets(), _MOST_NAMES))
        except RejectFrame:
            return ()

    def _image(self, path: str) -> Stored:
        stored = self.find(path)
        if stored is None:
            raise KeyError(path)
        if not stored.is_image:
            raise RejectFrame(
                "not_an_image",
                f"{path!r} is {stored}; an array of integers or real numbers with two dimensions or more was wanted",
            )
        return stored

    def _walk(self, path: str) -> Any | None:
        """Return the object at a path, link by link."""
        from h5py import h5g, h5l, h5o

        at, hops = self._root, 0
        left = deque(_names_in(path.encode("utf-8", "surrogatepass")))
        while left:
            if not isinstance(at, h5g.GroupID):
                return None
            name = left.popleft()
            check_group(self.body, h5o.get_info(at).addr)
            if b"%" in name:
                name = _only_match(at, name, path)
            if not at.links.exists(name):
                return None
            link = at.links.get_info(name)
            if link.type == h5l.TYPE_HARD:
                if elsewhere := kept_elsewhere(self.body, link.u):
                    raise _leads_out(path, elsewhere)
                at = h5o.open(at, name)
            elif link.type == h5l.TYPE_SOFT and hops < _MOST_HOPS:
                hops += 1
                target = at.links.get_val(name)
                at = self._root if target.startswith(b"/") else at
                left.extendleft(reversed(_names_in(target)))
            elif link.type == h5l.TYPE_SOFT:
                raise RejectFrame("bad_hdf5", f"{path!r}: more than {_MOST_HOPS} soft links lead to it")
            else:
                raise _leads_out(path, "an external link")
        return at

    def _data_sets(self) -> Iterator[str]:
        from h5py import h5d, h5g, h5l, h5o

        left, looked_at = deque([("", self._root, 0)]), 0
        while left:
            path, group, level = left.popleft()
            check_group(self.body, h5o.get_info(group).addr)
            for name in group:
                looked_at += 1
                if looked_at > _MOST_OBJECTS:
                    return
                link = group.links.get_info(name)
                if link.type != h5l.TYPE_HARD or kept_elsewhere(self.body, link.u):
                    continue
                found, place = h5o.open(group, name), f"{path}/{name.decode('utf-8', 'backslashreplace')}"
                if isinstance(found, h5g.GroupID) and level < _MOST_LEVELS:
                    left.append((place, found, level + 1))
                elif isinstance(found, h5d.DatasetID):
                    yield place

    def _values(self, stored: Stored) -> NDArray[Any]:
        """Return all values of a data set, of one that is not compressed as a view of the message."""
        from h5py import h5d, h5t

        assert stored.dtype is not None
        layout = stored.id.get_create_plist().get_layout()
        self._check_sizes(stored, layout)
        # what is cut out of the file is right if its type is all there is to it: no bits that do not count, for example
        is_plain = stored.dtype.kind == "S" or stored.id.get_type() == h5t.py_create(stored.dtype)
        if is_plain and layout == h5d.CONTIGUOUS:
            count = math.prod(stored.shape)
            return np.frombuffer(self.body, stored.dtype, count, stored.id.get_offset()).reshape(stored.shape)
        if stored.chunk is not None:
            chunks = Chunks(self.body, self.decompressor)
            if is_plain:
                values = chunks.array(stored.id, stored.shape, stored.chunk, stored.dtype, stored.filters)
                if values is not None:
                    return values
            chunks.check(stored.id, stored.shape, stored.chunk)
        return _read_by_hdf5(stored)

    def _text(self, stored: Stored) -> str:
        from h5py import h5d

        layout = stored.id.get_create_plist().get_layout()
        self._check_sizes(stored, layout)
        sizes = self._root.get_create_plist().get_sizes()
        if layout != h5d.CONTIGUOUS or sizes != (8, 8):
            raise RejectFrame(
                "bad_hdf5",
                "it is text in chunks, or in a file with other addresses than of 8 bytes; text in one piece was wanted",
            )
        return text_at(self.body, stored.id.get_offset())

    def _check_sizes(self, stored: Stored, layout: int) -> None:
        """Reject, before anything is allocated, an array that is too large, or larger than what is stored can be."""
        from h5py import h5d

        size, path = stored.size, stored.path
        assert stored.dtype is not None
        chunk = math.prod(stored.chunk) * stored.dtype.itemsize if stored.chunk is not None else 0
        if not size:
            raise RejectFrame("bad_shape", f"{path!r} has shape {stored.shape}; sizes above 0 were wanted")
        if max(size, chunk) > self.most_bytes:
            raise RejectFrame(
                "too_large",
                f"{path!r} of shape {stored.shape} and type {stored.dtype} says that it has {size} bytes, in chunks of "
                f"{chunk}; {self.most_bytes} are allowed (max_message_bytes)",
            )
        if layout == h5d.CONTIGUOUS:
            begin = stored.id.get_offset()
            held = 0 if begin is None else min(size, len(self.body) - begin)
        elif layout == h5d.CHUNKED:
            held = min(stored.id.get_storage_size(), len(self.body))
        else:  # compact: within the header that was read already
            held = size
        if held <= 0:
            raise RejectFrame("no_pixels", f"{path!r} of shape {stored.shape} has no pixels stored in the message")
        if max(size, chunk) > held * most_expansion(stored.filters):
            raise RejectFrame(
                "truncated",
                f"{path!r} says that it has {max(size, chunk)} bytes, and {held} that are stored are not as many",
            )


def _close(root: Any, found: dict[str, Stored | None], body: memoryview) -> None:  # noqa: ARG001 - it lives until here
    found.clear()
    root.close()


def _names_in(path: bytes) -> list[bytes]:
    return [name for name in path.split(b"/") if name not in (b"", b".")]


def _only_match(group: Any, pattern: bytes, path: str) -> bytes:
    """Return the one name in a group that fits a name with ``%`` in it; in a file of one frame there is one."""
    wanted = re.compile(b".*".join(map(re.escape, pattern.split(b"%"))), re.DOTALL)
    found = [name for name in islice(group, _MOST_OBJECTS) if wanted.fullmatch(name)]
    if len(found) != 1:
        raise RejectFrame(
            "bad_hdf5", f"{path!r}: {len(found)} names fit {pattern.decode()!r}; a file of one frame has one"
        )
    return bytes(found[0])


def _described(path: str, found: Any) -> Stored:
    """Say what an object is, unless it leads to other files."""
    from h5py import h5d

    if not isinstance(found, h5d.DatasetID):
        raise RejectFrame("not_an_image", f"{path!r} is a group; a data set was wanted")
    creation = found.get_create_plist()
    layout = creation.get_layout()
    if layout == h5d.VIRTUAL:
        raise _leads_out(path, "a virtual data set")
    if creation.get_external_count():
        raise _leads_out(path, "in external storage")
    try:
        dtype = found.dtype
    except TypeError:
        dtype = None
    chunk = creation.get_chunk() if layout == h5d.CHUNKED else None
    shape = (0,) if found.shape is None else found.shape  # that of a data set which is there and holds nothing
    return Stored(path, found, shape, dtype, chunk, filters_of(creation))


def _read_by_hdf5(stored: Stored) -> NDArray[Any]:
    from h5py import h5s

    lacking = cannot_be_undone(stored.filters)
    if lacking:
        raise RejectFrame("missing_filter", f"{stored.path!r} {lacking}")
    assert stored.dtype is not None
    wrong = contradiction(stored.filters, stored.id.get_type().get_size())
    if wrong:
        raise RejectFrame("bad_hdf5", f"{stored.path!r} {wrong}")
    pixels = np.empty(stored.shape, stored.dtype.newbyteorder("="))
    stored.id.read(h5s.ALL, h5s.ALL, pixels)
    return pixels


def _single(value: Any) -> Any:
    return value.decode("utf-8", "replace").rstrip("\r\n") if isinstance(value, bytes) else value.item()
