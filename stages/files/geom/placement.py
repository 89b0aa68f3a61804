"""The detector at a camera length and shift: corners of panels, and pixels that are bad there."""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.compute import code_on_disk
from stages.compute.pixel_types import COMMON_TYPES
from stages.files.geom._kernels import flag as kernel
from stages.files.geom.bad_regions import paint_laboratory_region
from stages.files.geom.masks import unshifted_bad
from stages.files.geom.model import GeometryFile
from stages.records.image import Image, PixelMask, as_message_buffer
from stages.wire.recording.masks import copies_of

KEPT_PLACEMENTS = 16
"""Camera lengths and shifts for which vectors and masks are kept."""


class Placement:
    """The detector at one camera length and shift; shared by all frames, and threads, that have it there.

    Attributes
    ----------
    key
        Hashable; equal for the same text, camera length, shift and pixel mask of a series.
    origin_m
        float64 (P, 3), the corner of each panel.
    clen_m
        float64 (P,), the camera length without coffset.
    static_bad
        Of each panel uint8 (height, width), 1 where a pixel is bad in every frame.
    """

    def __init__(
        self, placements: Placements, clen_m: float, shift_m: tuple[float, float], mask: PixelMask | None = None
    ) -> None:
        file = placements.file
        self.key = (placements.digest, clen_m, *shift_m, *((mask.digest,) if mask is not None else ()))
        self.clen_m = np.full(len(file.panels), clen_m)
        self.origin_m = np.array(
            [
                (
                    placed.corner_px[0] / placed.res_per_m + shift_m[0],
                    placed.corner_px[1] / placed.res_per_m + shift_m[1],
                    clen_m + placed.coffset_m,
                )
                for placed in file.panels
            ]
        )
        self.static_bad = placements.unshifted_bad
        in_laboratory = [region for region in file.bad_regions if region.in_laboratory]
        if in_laboratory:
            self.static_bad = tuple(mask.copy() for mask in self.static_bad)
            for region in in_laboratory:
                paint_laboratory_region(region, file.panels, shift_m, self.static_bad)
        self._panels = tuple(placed.panel for placed in file.panels)
        if mask is not None:
            self.static_bad = tuple(
                bad | panel.view(mask.bad) for bad, panel in zip(self.static_bad, self._panels, strict=True)
            )
        self._flagged = placements.flagged
        self._latest: dict[int, NDArray[np.uint8]] = {}
        self._with_own: dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}

    def with_flags(self, image: Image) -> tuple[NDArray[np.uint8], ...]:
        """Return masks with the flags, sentinels and masks of this image; the same arrays as long as nothing changes."""
        masks = list(self.static_bad)
        sentinels = image.sentinels
        for i, panel in enumerate(self._panels):
            static = masks[i] = self._with_mask_of(i, image)
            if panel.no_index or not (self._flagged[i] or sentinels):
                continue
            pixels = as_message_buffer(panel.view(image.array(panel.data)))
            less = max(panel.flag_lessthan, sentinels.below)
            equal = (*panel.flag_equal, *sentinels.equal_in(pixels.dtype))
            if not self._flagged[i] and not equal and less == -math.inf:
                continue
            rule = (less, panel.flag_morethan, np.array(equal, np.float64))
            latest = self._latest.get(i, static)
            if kernel.flag(pixels, static, *rule, latest, False):
                masks[i] = latest
            else:
                masks[i] = np.empty_like(static)
                kernel.flag(pixels, static, *rule, masks[i], True)
                self._latest[i] = masks[i]
        same = all(mask is static for mask, static in zip(masks, self.static_bad, strict=True))
        return self.static_bad if same else tuple(masks)

    def _with_mask_of(self, number: int, image: Image) -> NDArray[np.uint8]:
        """A panel's bad pixels with those that the image's own file says are bad."""
        own = image.bad.get(number)
        if own is None:
            return self.static_bad[number]
        of, both = self._with_own.get(number, (None, self.static_bad[number]))
        if of is not own:
            both = self.static_bad[number] | own
            self._with_own[number] = own, both
        return both


class Placements:
    """The placements of a detector that were used last, by camera length and shift.

    Attributes
    ----------
    file
        What the geometry file says.
    flagged
        For each panel, whether its pixels can be bad by their values.
    """

    def __init__(self, file: GeometryFile) -> None:
        self.file = file
        self.flagged = tuple(
            not p.no_index and (np.isfinite(p.flag_lessthan) or np.isfinite(p.flag_morethan) or bool(p.flag_equal))
            for p in (placed.panel for placed in file.panels)
        )
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[float, float, float, str], Placement] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, clen_m: float, shift_m: tuple[float, float], mask: PixelMask | None = None) -> Placement:
        """Return the placement at a camera length and shift, in metres, with a series' mask; rejects one that is too small."""
        key = (clen_m, *shift_m, "" if mask is None else mask.digest)
        with self._lock:
            placement = self._kept.get(key)
            if placement is None:
                placement = self._kept[key] = Placement(self, clen_m, shift_m, mask)
                if len(self._kept) > KEPT_PLACEMENTS:
                    self._kept.popitem(last=False)
            else:
                self._kept.move_to_end(key)
            return placement

    @cached_property
    def unshifted_bad(self) -> tuple[NDArray[np.uint8], ...]:
        """Bad pixels that do not depend on the placement; reads mask files, raises UserError."""
        copies = copies_of(Path(self.file.filename), self.file.text)
        return unshifted_bad(self.file.panels, self.file.bad_regions, copies)

    @cached_property
    def digest(self) -> str:
        """Stands for the text of the file."""
        return hashlib.blake2b(self.file.text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def warm_up() -> None:
    """Compile the flag kernels for the pixel types that come over the wire; for the first alone if others do the rest."""
    mask, equal = np.zeros((2, 2), np.uint8), np.empty(0)
    for dtype in COMMON_TYPES:
        pixels = np.zeros((2, 3), dtype)
        for view in (pixels[:, :2], np.ascontiguousarray(pixels[:, :2])):
            kernel.flag(as_message_buffer(view), mask, 0.0, 1.0, equal, mask, False)
        if code_on_disk.is_left_to_others():
            return
