"""Whether peaks and hits are what they should be: none, too many, hits without crystals, crystals that explain little."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline import Frame
from stages.diagnosis.finding import Finding
from stages.diagnosis.subject import About
from stages.records.crystal import Crystals
from stages.records.geometry import DetGeom, q_on_shifted
from stages.records.image import Image
from stages.records.peaklist import FEWEST_TO_INDEX, PeakList, is_hit

_FEWEST_FRAMES, _FEWEST_HITS = 10, 25
"""So many frames, or hits, make it a matter of the run."""
_MANY_PEAKS = 1000
"""A frame of more peaks is seldom a crystal's."""
_ENOUGH_PEAKS = 15
"""From so many peaks on a hit should index."""
_HARDLY = 0.05
"""A smaller part of the hits is hardly any."""
_LITTLE = 0.4
"""A crystal explains little if it explains a smaller part of the peaks."""
_NEAR = 0.25
"""Peaks so near to whole indices are explained; one of eight is by chance."""
_FIRST, _EVERY = 40, 100
"""In each replica it is asked of so many frames with crystals what these explain, and then of one in so many."""
_PIXELS_EVERY = 17
"""The highest pixel of a frame is looked for in every so many, as long as no frame has had a peak."""


class CountsSeen(NamedTuple):
    """How many there are of what in a frame; `explained` is NaN, `highest` -inf where nobody looked."""

    peaks: int
    is_hit: bool
    crystals: int
    explained: float
    highest: float


class Thresholds:
    """Peaks, hits and crystals, counted."""

    name = "thresholds"

    def look(self, about: About) -> ThresholdsLook:
        """Return what counts in a frame."""
        return ThresholdsLook()

    def watch(self, about: About) -> ThresholdsWatch:
        """Return what adds up."""
        from_messages = about.detector is not None and bool(about.detector.peak_list)
        return ThresholdsWatch(bool(about.indexing.stages), about.target is not None, from_messages)


class ThresholdsLook:
    """Counts what is in a frame."""

    def __init__(self) -> None:
        self._num_crystals = self._num_empty = 0
        self._has_peaks = False

    def __call__(self, frame: Frame) -> CountsSeen | None:
        """Return the counts; None of a frame in which no peaks were looked for."""
        peaks, crystals, geom = frame.get(PeakList), frame.get(Crystals), frame.get(DetGeom)
        if peaks is None or geom is None:
            return None
        num_peaks, num_crystals = len(peaks), 0 if crystals is None else len(crystals.found)
        explained, highest = math.nan, -math.inf
        if num_peaks:
            self._has_peaks = True
            if num_crystals:
                self._num_crystals += 1
                if self._num_crystals <= _FIRST or self._num_crystals % _EVERY == 0:
                    explained = _explained(crystals, peaks, geom)
        elif not self._has_peaks and (image := frame.get(Image)) is not None:
            self._num_empty += 1
            if self._num_empty <= _FEWEST_FRAMES:
                highest = _highest(image, geom)
        return CountsSeen(num_peaks, is_hit(frame), num_crystals, explained, highest)


class ThresholdsWatch:
    """Adds up what frames have."""

    def __init__(self, is_indexed: bool, has_cell: bool, from_messages: bool) -> None:
        self._is_indexed, self._has_cell, self._from_messages = is_indexed, has_cell, from_messages
        self._peaks = array("i")
        self._explained = array("d")
        self._highest = -math.inf
        self._num_hits = self._num_good_hits = self._num_indexed = self._num_empty_hits = self._num_small = 0

    def take(self, seen: CountsSeen) -> None:
        """Take one frame into account."""
        if len(self._peaks) < 100_000:
            self._peaks.append(seen.peaks)
        if seen.is_hit:
            self._num_hits += 1
            self._num_good_hits += seen.peaks >= _ENOUGH_PEAKS
            self._num_indexed += seen.crystals > 0
            self._num_empty_hits += seen.peaks == 0
            self._num_small += seen.peaks < FEWEST_TO_INDEX
        if not math.isnan(seen.explained) and len(self._explained) < 100_000:
            self._explained.append(seen.explained)
        self._highest = max(self._highest, seen.highest)

    def findings(self) -> Sequence[Finding]:
        """Return what is out of the ordinary."""
        if len(self._peaks) < _FEWEST_FRAMES:
            return ()
        return [*self._of_peaks(), *self._of_hits()]

    conclude = findings

    def _of_peaks(self) -> Iterator[Finding]:
        peaks = np.frombuffer(self._peaks, np.int32)
        num = len(peaks)
        if not peaks.any():
            if np.isfinite(self._highest):
                why = (
                    f"the highest pixel of the first ones has {self._highest:.0f} ADU: lower --threshold and --min-snr "
                    "(threshold, min_snr of the peak search)"
                )
            elif self._from_messages:
                why = "they come from the messages: does the sender send them under the geometry file's peak_list?"
            else:
                why = "lower --threshold and --min-snr (threshold, min_snr of the peak search)"
            yield Finding("no_peaks", f"NO PEAKS: not one of {num} frames has any; {why}", "NO PEAKS", num)
        median = float(np.median(peaks))
        if num >= _FEWEST_HITS and median > _MANY_PEAKS and self._num_indexed < 0.5 * self._num_hits:
            few = ", and few of them index" if self._is_indexed else ""
            yield Finding(
                "many_peaks",
                f"TOO MANY PEAKS: half of {num} frames have {median:.0f} or more{few}: most are noise; raise --min-snr, "
                "--threshold or --min-pix-count (min_snr, threshold, min_pix_count of the peak search), or mask what is hot",
                f"TOO MANY PEAKS {median:.0f}",
                num,
            )

    def _of_hits(self) -> Iterator[Finding]:
        if 5 <= self._num_empty_hits < len(self._peaks) and self._num_empty_hits > 0.05 * self._num_hits:
            share = 100.0 * self._num_empty_hits / self._num_hits
            yield Finding(
                "empty_hits",
                f"BLANKS COUNT AS HITS: {share:.0f} % of {self._num_hits} hits have no peak at all; give --min-peaks=10 or so "
                "(min_peaks of peaks/hit)",
                "BLANKS COUNT AS HITS",
                self._num_hits,
            )
        if (
            self._is_indexed
            and self._num_good_hits >= _FEWEST_HITS
            and self._num_indexed < _HARDLY * self._num_good_hits
        ):
            share = 100.0 * self._num_indexed / self._num_good_hits
            first = (
                "is it this cell (leave -p out to find it)?" if self._has_cell else "do few peaks belong to a lattice?"
            )
            yield Finding(
                "hits_without_crystals",
                f"HITS DO NOT INDEX: {self._num_indexed} of {self._num_good_hits} that have {_ENOUGH_PEAKS} peaks or more "
                f"did; {first} "
                "Are the peaks spots, or rings, gaps and hot pixels? Are photon energy, distance and beam centre right?",
                f"HITS DO NOT INDEX {share:.0f} %",
                self._num_good_hits,
            )
        explained = np.frombuffer(self._explained, np.float64)
        if len(explained) >= _FEWEST_HITS and float(np.median(explained)) < _LITTLE:
            share = 100.0 * float(np.median(explained))
            yield Finding(
                "unexplained_peaks",
                f"CRYSTALS EXPLAIN LITTLE: half of {len(explained)} explain less than {share:.0f} % of their frame's peaks; "
                "several lattices in one frame (--multi, multi of index/...)? Spurious peaks (--min-snr)? Another cell?",
                f"CRYSTALS EXPLAIN {share:.0f} %",
                len(explained),
            )

    def figures(self) -> Mapping[str, Any]:
        """Return what was counted."""
        peaks = np.frombuffer(self._peaks, np.int32)
        explained = np.frombuffer(self._explained, np.float64)
        return {
            "frames": len(peaks),
            "median_peaks": float(np.median(peaks)) if len(peaks) else None,
            "hits": self._num_hits,
            "hits_without_peaks": self._num_empty_hits,
            "hits_with_too_few_peaks": self._num_small,
            "indexed": self._num_indexed,
            "median_explained": float(np.median(explained)) if len(explained) else None,
        }

    def close(self) -> None:
        """Nothing is open."""


def _explained(crystals: Crystals | None, peaks: PeakList, geom: DetGeom) -> float:
    """Return which part of the peaks belong to one of the crystals."""
    near = np.zeros(len(peaks), np.bool_)
    for crystal in () if crystals is None else crystals:
        index = q_on_shifted(peaks, geom, crystal.det_shift_m) @ crystal.real_space_angstrom.T
        near |= np.abs(index - np.rint(index)).max(axis=1) < _NEAR
    return float(near.mean())


def _highest(image: Image, geom: DetGeom) -> float:
    """Return the highest of every so many good pixels."""
    highest = -np.inf
    for view, bad in zip(geom.views(image), geom.bad, strict=True):
        sampled, good = view.ravel()[::_PIXELS_EVERY], bad.ravel()[::_PIXELS_EVERY] == 0
        if good.any():
            highest = max(highest, float(np.percentile(sampled[good], 99.99)))
    return highest
