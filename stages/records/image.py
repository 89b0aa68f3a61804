"""The pixels of one frame, as they came."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import RejectFrame

UNNAMED = ""
"""The key of an array to which its sender gives no name: it is the one that is meant, whatever key is asked for."""


@dataclass(frozen=True)
class Sentinels:
    """Values that a format writes where a pixel has none: in a gap, dead, or beyond what can be counted.

    Attributes
    ----------
    below
        All values below this.
    equal
        Single values.
    highest
        The highest value of unsigned integers, whichever type an array has.

    >>> bool(Sentinels()), bool(Sentinels(equal=(65535.0,)))
    (False, True)
    >>> Sentinels(highest=True).equal_in(np.dtype("u2")), Sentinels(highest=True).equal_in(np.dtype("i4"))
    ((65535.0,), ())
    """

    below: float = -math.inf
    equal: tuple[float, ...] = ()
    highest: bool = False

    def __bool__(self) -> bool:
        return self.highest or bool(self.equal) or self.below > -math.inf

    def equal_in(self, dtype: np.dtype[Any]) -> tuple[float, ...]:
        """Return the single values of an array of this type."""
        highest = (float(np.iinfo(dtype).max),) if self.highest and dtype.kind == "u" else ()
        return (*self.equal, *(value for value in highest if value not in self.equal))


HIGHEST = Sentinels(highest=True)
"""What most formats have, since DECTRIS' detectors do: the highest value in gaps, and where a pixel is bad."""


class Unread(Mapping[str, NDArray[Any]]):
    """Arrays that are read when somebody asks for them, each once."""

    def shape_of(self, key: str) -> tuple[int, ...]:
        """Return the shape of an array without reading it; raises what asking for the array would."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class PixelMask:
    """Pixels that are bad in all images of a series, as its sender says.

    Attributes
    ----------
    bad
        uint8, of the images' shape: 1 where a pixel is bad.
    digest
        Stands for what is in it.
    """

    bad: NDArray[np.uint8]
    digest: str


@dataclass(frozen=True, eq=False)
class Image:
    """The arrays of a frame by the key under which they came; read-only views, never copies.

    Attributes
    ----------
    arrays
        Key of the message's map -> array of shape (ss, fs), or with more dimensions where the geometry's ``dim``
        directives say what they are. dtype: one of `PIXEL_TYPES`, native byte order. Formats whose one array has no name have
        it under `UNNAMED`.
    broken
        Key -> what is wrong with an array that could not be read; who needs it rejects the frame with this.
    others
        Key -> what stands there, in words, of the values that are no images.
    sentinels
        Values that are no intensities, in all arrays: such pixels are bad.
    bad
        Number of a panel -> uint8 (height, width), 1 where the frame's own file says that a pixel is bad; the same array as for
        other frames as long as nothing changes.
    before
        What this image was before a filter changed it for the peak search; None for one that is as it came.
    mask
        Which pixels the sender says are bad in all images of the series; None where it says nothing of it.
    """

    arrays: Mapping[str, NDArray[Any]]
    broken: Mapping[str, RejectFrame]
    others: Mapping[str, str] = field(default_factory=dict)
    before: Before | None = None
    sentinels: Sentinels = Sentinels()
    mask: PixelMask | None = None
    bad: Mapping[int, NDArray[np.uint8]] = field(default_factory=dict)

    def array(self, key: str) -> NDArray[Any]:
        """Return the array that came under `key`; rejects the frame if there is none or it is broken."""
        if key in self.broken:
            raise self.broken[key]
        try:
            return self.arrays[key if key in self.arrays else UNNAMED]
        except KeyError:
            if key in self.others:
                raise RejectFrame(
                    "not_an_image",
                    f"key {key!r} holds {self.others[key]}; an image was wanted: a map with type, shape (of two dimensions or "
                    "more) and data, as msgpack-numpy writes it",
                ) from None
            have = ", ".join(sorted([*self.arrays, *self.broken])) or "none"
            raise RejectFrame(
                "missing_key", f"the message has no image under key {key!r}; its images are: {have}"
            ) from None

    def shape(self, key: str) -> tuple[int, ...]:
        """Return the shape of the array under `key`, without reading it where that is still to be done."""
        if isinstance(self.arrays, Unread) and key in self.arrays:
            return self.arrays.shape_of(key)
        return self.array(key).shape

    def detached(self) -> None:
        """Nothing is left of an image without the message's memory."""

    def __repr__(self) -> str:
        if isinstance(self.arrays, Unread):
            shapes = [f"{key}: not read" for key in self.arrays]  # to look at a frame is no reason to reject it
        else:
            shapes = [f"{key}: {'x'.join(map(str, a.shape))} {a.dtype}" for key, a in self.arrays.items()]
        return f"Image({', '.join([*shapes, *(f'{key}: broken' for key in self.broken)]) or 'no arrays'})"

    @staticmethod
    def of(**arrays: Any) -> Image:
        """Make an image from arrays by key: ``Image.of(detector_data=pixels)``."""
        return Image({key: np.asarray(value) for key, value in arrays.items()}, {})


@dataclass(frozen=True, eq=False)
class Before:
    """What a filter has replaced, so that it can be put back after the peak search.

    Attributes
    ----------
    image
        The image.
    geom
        The geometry (a DetGeom).
    bin
        How many of its pixels make one pixel of the new image, along each side.
    """

    image: Image
    geom: Any
    bin: int = 1


def as_message_buffer(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return a view with the flags of pixels within a message: read-only, and perhaps not aligned.

    Compiled code is made for each combination of these flags. With this view there is one, wherever pixels come from.
    """
    view = pixels.view()
    view.flags.writeable = False
    view.flags.aligned = False
    return view
