"""What pixels tell: gaps that nobody masks, hot pixels, saturation, and how many ADU a photon really is.

Some thousand pixels of a frame, the same ones in every frame, are looked at, and not in every frame.

**Gaps.** A pixel of a gap has the same extreme value in every frame: the largest of its type, or -1, or -2. A saturated
pixel has it in one frame and not in the next.

**ADU per photon.** Photons are counted with a variance that is their mean number (Poisson), so that over pixels that are bright
and less bright the variance of a pixel from one frame to the next grows by G for each ADU of the mean, G being the ADU of
a photon; read noise and a pedestal do not change that slope.

**Hot pixels.** A peak that is in the same pixel in frame after frame is no crystal's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import Frame, RejectFrame
from stages.diagnosis.finding import Finding
from stages.diagnosis.subject import About
from stages.files.geom.edits import Edit
from stages.records.geometry import DetGeom
from stages.records.image import Image
from stages.records.peaklist import PeakList

Floats = NDArray[np.float64]

_FIRST, _EVERY = 16, 100
"""In each replica the pixels of so many frames are looked at, and then of one in so many."""
_SAMPLE = 40_000
"""So many pixels of a frame."""
_EXTREMES = (
    65535,
    65534,
    2**32 - 1,
    2**32 - 2,
    2**31 - 1,
    2**16 - 3,
    2**20 - 1,
    -1,
    -2,
    -3,
    -(2**31),
    -32768,
    32767,
    255,
)
"""Values that detectors give pixels that are none; the largest and the smallest of the type besides."""
_LEAST_GAP = 1e-3
"""Such a part of the pixels is a gap; fewer are bad pixels."""
_FEWEST_FRAMES = 5

_PEAKS_FIRST, _PEAKS_EVERY, _MOST_PEAKS = 200, 5, 200
_HOT, _FEWEST_TO_BE_HOT = 0.4, 20
"""A peak in the same pixel in such a part of so many frames is a hot pixel's."""
_MOST_EDITS = 20
_FEWEST_SATURATED, _SHARE_SATURATED = 20, 0.02

_GROUPS = 6
"""Of pixels of like brightness."""
_FEWEST_PAIRS = 8
_CONTRADICTION, _PRECISE = 1.5, 0.1
"""A gain that differs by this factor contradicts the file, if it is known to this part and by five errors."""


@dataclass(frozen=True, eq=False)
class PixelsSeen:
    """What the pixels and the peaks of a frame say.

    Attributes
    ----------
    same
        Value -> part of the good pixels that have had this extreme value in this frame and in the one before.
    groups
        float64 (2, n): mean, and variance from the frame before to this one, of groups of pixels, in ADU; None where there
        is none.
    places
        int64, of each peak, panel and pixel in one number; None where nobody looked.
    peaks, saturated
        Strong peaks whose highest pixel is known, and those of them that are at the panel's max_adu.
    tops
        The highest pixels of the strongest peaks, ADU.
    adu_per_photon
        As the geometry file has it, on the average.
    """

    same: Mapping[int, float] | None
    groups: Floats | None
    places: NDArray[np.int64] | None
    peaks: int
    saturated: int
    tops: NDArray[np.float32]
    adu_per_photon: float


class Pixels:
    """Gaps, hot pixels, saturation and gain."""

    name = "pixels"

    def look(self, about: About) -> PixelsLook:
        """Return what looks at pixels."""
        return PixelsLook()

    def watch(self, about: About) -> PixelsWatch:
        """Return what adds up."""
        names = () if about.detector is None else tuple(placed.panel for placed in about.detector.panels)
        return PixelsWatch(names)


class PixelsLook:
    """Looks at some pixels of some frames, and keeps those of the last one to compare them with."""

    def __init__(self) -> None:
        self._num = self._num_with_peaks = 0
        self._before: NDArray[Any] | None = None

    def __call__(self, frame: Frame) -> PixelsSeen | None:
        """Return what this frame says; None of one that is not looked at."""
        geom, image, peaks = frame.get(DetGeom), frame.get(Image), frame.get(PeakList)
        if geom is None:
            return None
        same, groups = None, None
        if image is not None:
            self._num += 1
            if self._num <= _FIRST or self._num % _EVERY < 2:  # two in a row: the second is compared with the first
                same, groups = self._compared(image, geom)
        places, num, saturated, tops = self._of_peaks(peaks, geom)
        if same is None and places is None:
            return None
        gain = float(np.mean([geom.adu_per_photon(p) for p in range(len(geom.panels))]))
        return PixelsSeen(same, groups, places, num, saturated, tops, gain)

    def _compared(self, image: Image, geom: DetGeom) -> tuple[Mapping[int, float] | None, Floats | None]:
        """Compare the good pixels of a sample with themselves in the frame before."""
        try:
            values = _sampled(image, geom)
        except RejectFrame:
            return None, None
        before, self._before = self._before, values
        if before is None or before.shape != values.shape or before.dtype != values.dtype or not len(values):
            return None, None
        same = values == before
        extremes = set(_EXTREMES)
        if values.dtype.kind in "iu":
            limits = np.iinfo(values.dtype)
            extremes |= {int(limits.max), int(limits.min)}
            extremes = {value for value in extremes if limits.min <= value <= limits.max and value != 0}
        found = {}
        for value in sorted(extremes):
            num = int(np.count_nonzero(same & (values == value)))
            if num:
                found[value] = num / len(values)
        usable = ~np.isin(values, list(found)) if found else np.ones(len(values), np.bool_)
        return found, _groups(before[usable].astype(np.float64), values[usable].astype(np.float64))

    def _of_peaks(
        self, peaks: PeakList | None, geom: DetGeom
    ) -> tuple[NDArray[np.int64] | None, int, int, NDArray[np.float32]]:
        none = np.zeros(0, np.float32)
        if peaks is None or not len(peaks):
            return None, 0, 0, none
        self._num_with_peaks += 1
        if self._num_with_peaks > _PEAKS_FIRST and self._num_with_peaks % _PEAKS_EVERY:
            return None, 0, 0, none
        strong = peaks if len(peaks) <= _MOST_PEAKS else peaks.brightest(_MOST_PEAKS)
        places = (strong.panel.astype(np.int64) << 40) + (strong.fs.astype(np.int64) << 20) + strong.ss.astype(np.int64)
        top = strong.max_pixel
        known = np.isfinite(top)
        limit = np.array([panel.max_adu for panel in geom.panels])[strong.panel]
        saturated = int(np.count_nonzero(known & (top >= limit)))
        return places, int(known.sum()), saturated, top[known].astype(np.float32)


class PixelsWatch:
    """Adds up what looks have seen."""

    def __init__(self, panels: Sequence[Any]) -> None:
        self._panels = panels
        self._same: Counter[int] = Counter()
        self._part: Counter[int] = Counter()
        self._groups: list[Floats] = []
        self._places: Counter[int] = Counter()
        self._tops: Counter[float] = Counter()
        self._num_compared = self._num_with_peaks = self._num_peaks = self._num_saturated = 0
        self._adu_per_photon = math.nan

    def take(self, seen: PixelsSeen) -> None:
        """Take one frame into account."""
        self._adu_per_photon = seen.adu_per_photon
        if seen.same is not None:
            self._num_compared += 1
            for value, part in seen.same.items():
                self._same[value] += 1
                self._part[value] += part  # type: ignore[assignment]  # sums of parts
        if seen.groups is not None and len(self._groups) < 400:
            self._groups.append(seen.groups)
        if seen.places is not None:
            self._num_with_peaks += 1
            self._places.update(np.unique(seen.places).tolist())
            if len(self._places) > 100_000:
                self._places = Counter(dict(self._places.most_common(20_000)))
            self._num_peaks += seen.peaks
            self._num_saturated += seen.saturated
            self._tops.update(seen.tops.tolist())
            if len(self._tops) > 100_000:
                self._tops = Counter(dict(self._tops.most_common(20_000)))

    def findings(self) -> Sequence[Finding]:
        """Return what is wrong with the pixels."""
        return [*self._gaps(), *self._hot(), *self._saturation(), *self._gain()]

    conclude = findings

    def figures(self) -> Mapping[str, Any]:
        """Return what was counted."""
        gain, error = self._slope()
        return {
            "frames_compared": self._num_compared,
            "frames_with_peaks": self._num_with_peaks,
            "peaks": self._num_peaks,
            "saturated_peaks": self._num_saturated,
            "adu_per_photon": None if math.isnan(gain) else gain,
            "adu_per_photon_error": None if math.isnan(error) else error,
        }

    def close(self) -> None:
        """Nothing is open."""

    def _gaps(self) -> Iterator[Finding]:
        if self._num_compared < _FEWEST_FRAMES:
            return
        for value, num in self._same.items():
            part = self._part[value] / self._num_compared
            if num < 0.9 * self._num_compared or part < _LEAST_GAP:
                continue
            edit = Edit("flag_equal", str(value), f"{100 * part:.1f} % of the pixels have it in every frame")
            yield Finding(
                f"gaps_{value}",
                f"GAPS ARE NOT MASKED: {100 * part:.1f} % of the good pixels have the value {value} in every frame: write "
                f"'flag_equal = {value}' into the geometry file before the panels, or a mask; else peaks are found "
                "and reflections integrated there",
                f"GAPS NOT MASKED ({value})",
                self._num_compared,
                figures={"value": value, "part": part},
                edits=(edit,),
            )

    def _hot(self) -> Iterator[Finding]:
        if self._num_with_peaks < _FEWEST_TO_BE_HOT:
            return
        hot = [(place, n) for place, n in self._places.most_common(1000) if n >= _HOT * self._num_with_peaks]
        if not hot:
            return
        words, edits = [], []
        for number, (place, n) in enumerate(hot[:_MOST_EDITS]):
            panel, fs, ss = place >> 40, (place >> 20) & 0xFFFFF, place & 0xFFFFF
            name = f"panel {panel}"
            if panel < len(self._panels):
                one = self._panels[panel]
                name, fs, ss = one.name, fs + one.min_fs, ss + one.min_ss
                why = f"a peak in {100 * n / self._num_with_peaks:.0f} % of the frames"
                region = f"badhot{number}"
                edits += [Edit(f"{region}/panel", name, why)]
                edits += [
                    Edit(f"{region}/{e}_{axis}", str(v), why)
                    for axis, v in (("fs", fs), ("ss", ss))
                    for e in ("min", "max")
                ]
            if number < 3:
                words.append(f"{name} fs {fs} ss {ss}")
        more = f" and {len(hot) - 3} more" if len(hot) > 3 else ""
        yield Finding(
            "hot_pixels",
            f"HOT PIXELS: in {len(hot)} places a peak is in {100 * _HOT:.0f} % or more of {self._num_with_peaks} frames "
            f"({'; '.join(words)}{more}): mask them",
            f"{len(hot)} HOT PIXELS",
            self._num_with_peaks,
            figures={"places": len(hot)},
            edits=tuple(edits),
        )

    def _saturation(self) -> Iterator[Finding]:
        if self._num_saturated >= _FEWEST_SATURATED and self._num_saturated > _SHARE_SATURATED * self._num_peaks:
            share = 100.0 * self._num_saturated / self._num_peaks
            yield Finding(
                "saturation",
                f"SATURATION: {share:.0f} % of {self._num_peaks} peaks reach max_adu: their intensities are lost; "
                "attenuate the beam",
                f"SATURATED {share:.0f} %",
                self._num_with_peaks,
                figures={"share": share / 100},
            )
            return
        if not self._tops:
            return
        top = max(self._tops)
        num = self._tops[top]
        below = sum(n for value, n in self._tops.items() if 0.5 * top <= value < top)
        if num >= _FEWEST_SATURATED and num > max(below, _SHARE_SATURATED * self._num_peaks):
            share = 100.0 * num / self._num_peaks
            yield Finding(
                "saturation",
                f"SATURATION: {share:.0f} % of {self._num_peaks} peaks have the same highest pixel, {top:g} ADU, "
                f"and none a higher one: the detector ends there; write 'max_adu = {top:g}' into the geometry "
                "file, and attenuate the beam",
                f"SATURATED AT {top:g}",
                self._num_with_peaks,
                figures={"top_adu": top, "share": share / 100},
                edits=(Edit("max_adu", f"{top:g}", f"{num} peaks end there"),),
            )

    def _slope(self) -> tuple[float, float]:
        """Return the ADU of a photon and its error; NaN where too little is known."""
        if len(self._groups) < _FEWEST_PAIRS:
            return math.nan, math.nan
        every = np.array(self._groups)
        mean = every[:, 0].mean(axis=0)
        if np.ptp(mean) <= 0:
            return math.nan, math.nan
        centred = mean - mean.mean()
        slopes = (every[:, 1] * centred).sum(axis=1) / (centred**2).sum()
        middle = float(np.median(slopes))
        spread = 1.4826 * float(np.median(np.abs(slopes - middle)))
        return middle, 1.25 * spread / math.sqrt(len(slopes))

    def _gain(self) -> Iterator[Finding]:
        gain, error = self._slope()
        given = self._adu_per_photon
        if math.isnan(gain) or not gain > 0 or not given > 0 or error > _PRECISE * gain:
            return
        if max(gain / given, given / gain) < _CONTRADICTION or abs(gain - given) < 5 * error:
            return
        yield Finding(
            "adu_per_photon",
            f"ADU PER PHOTON: the geometry file has {given:g}, and the noise of the background says {gain:.3g} +- "
            f"{error:.1g} (as long as pixels do not share charge): sigma of every reflection depends on it; write "
            f"'adu_per_photon = {gain:.3g}'",
            f"adu_per_photon {gain:.3g}?",
            len(self._groups),
            figures={"adu_per_photon": gain, "error": error},
            edits=(Edit("adu_per_photon", f"{gain:.4g}", f"from the noise of {len(self._groups)} pairs of frames"),),
        )


def _sampled(image: Image, geom: DetGeom) -> NDArray[Any]:
    """Return every so many good pixels of all panels."""
    total = sum(panel.width * panel.height for panel in geom.panels)
    step = max(1, total // _SAMPLE)
    step += 1 - step % 2  # odd, so that not one column is taken again and again
    masks = geom.static_bad or geom.bad
    parts = []
    for view, bad in zip(geom.views(image), masks, strict=True):
        rows = max(1, int(math.sqrt(step)))
        columns = max(1, step // rows)
        good = bad[::rows, ::columns] == 0
        parts.append(view[::rows, ::columns][good])
    return np.concatenate(parts)


def _groups(before: Floats, now: Floats) -> Floats | None:
    """Return mean and variance of groups of pixels of like brightness, (2, n), from two frames; None where there are too few.

    The second frame is put on the scale of the first. Of each group those are left out that differ by more than five
    deviations: there are spots.
    """
    if len(now) < 200 * _GROUPS or not (now.mean() > 0 and before.mean() > 0):
        return None
    scaled = now * (np.median(before) / np.median(now)) if np.median(now) > 20 * _GROUPS else now
    mean = 0.5 * (before + scaled)
    order = np.argsort(mean, kind="stable")
    groups = []
    for chosen in np.array_split(order[: int(0.98 * len(order))], _GROUPS):
        off = before[chosen] - scaled[chosen]
        spread = 1.4826 * float(np.median(np.abs(off - np.median(off)))) or float(off.std())
        kept = np.abs(off) <= 5.0 * max(spread, 1e-12)
        groups.append((float(mean[chosen][kept].mean()), float(off[kept].var() / 2.0)))
    return np.array(groups).T
