"""Peaks are measured: intensity and its error, highest pixel, how compact it is."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.likelihood.columns import (
    AROUND,
    BACKGROUND,
    COMPACT,
    FS,
    HIGHEST,
    INTENSITY,
    NUM_PIXELS,
    SEEN,
    SIGMA,
    SIGNIFICANCE,
    SNR,
    SS,
    VARIANCE,
)
from stages.peaks._kernels.likelihood.summit_search import value_at
from stages.peaks._kernels.likelihood.tuples import Candidates, RawPixels, Widths

Array = NDArray[Any]

MUCH = 2.0
"""Standard deviations by which the highest pixel may exceed what it should have."""
USUAL_WEIGHT = 400.0
"""So much counts the usual width beside a peak's own: as much as that of a peak whose significance is 20."""


@kernel
def measure(
    pixels: RawPixels, gain: Array, candidates: Candidates, summit_of: Array, widths: Widths, out: Array
) -> None:
    """Measure the intensity of each peak in a circle of twice its width, made up for what lies outside or cannot be seen.

    `gain` is the size of a photon in ADU, for each panel. The width is the peak's own, drawn towards the frame's usual one the
    more the weaker the peak is: its own counts with the square of its significance, the usual one with USUAL_WEIGHT.
    A Gaussian tells which part of the peak the circle's good pixels see (SEEN). COMPACT says by how many standard
    deviations, beyond MUCH of them, the highest pixel exceeds what the narrowest peak would have in one pixel: it is above 0
    for a defective pixel.
    """
    raw, kind, where, is_bad = pixels  # taken apart here, because they are needed for every pixel
    panel, parent, label = candidates.panel, candidates.parent, candidates.label
    usual, narrowest, widest = widths
    in_centre = math.erf(0.5 / (math.sqrt(2.0) * narrowest)) ** 2
    for i in range(summit_of.size):
        row = out[i]
        k = summit_of[i]
        here = where[panel[k]]
        g = gain[panel[k]]
        own = row[SIGNIFICANCE] ** 2
        sigma = row[SIGMA]
        if not math.isnan(usual):
            sigma = math.exp((own * math.log(sigma) + USUAL_WEIGHT * math.log(usual)) / (own + USUAL_WEIGHT))
        sigma = min(max(sigma, narrowest), widest)
        reach = max(2.0 * sigma, 1.5)
        total = 0.0
        seen = 0.0
        num_pixels = 0
        highest = -np.inf
        centre_fs = int(np.rint(row[FS]))
        centre_ss = int(np.rint(row[SS]))
        half = math.ceil(reach) + 1
        scale = 1.0 / (math.sqrt(2.0) * sigma)
        for y in range(centre_ss - half, centre_ss + half + 1):
            for x in range(centre_fs - half, centre_fs + half + 1):
                if (x - row[FS]) ** 2 + (y - row[SS]) ** 2 > reach * reach:
                    continue
                value = value_at(raw, kind, here, is_bad, label, parent, k, x, y)
                if math.isnan(value):
                    continue
                part_fs = math.erf((x + 0.5 - row[FS]) * scale) - math.erf((x - 0.5 - row[FS]) * scale)
                part_ss = math.erf((y + 0.5 - row[SS]) * scale) - math.erf((y - 0.5 - row[SS]) * scale)
                seen += 0.25 * part_fs * part_ss
                total += value - row[BACKGROUND]
                num_pixels += 1
                highest = max(highest, value)
        scatter = g * max(total, 0.0) + num_pixels * row[VARIANCE] * (1.0 + num_pixels / row[AROUND])
        above = highest - row[BACKGROUND]
        row[INTENSITY] = total / seen if seen > 0 else 0.0
        row[SNR] = total / math.sqrt(scatter) if scatter > 0 else 0.0
        row[HIGHEST] = highest
        row[NUM_PIXELS] = num_pixels
        row[SEEN] = seen
        row[COMPACT] = (above - in_centre * total) / math.sqrt(g * max(above, 0.0) + row[VARIANCE]) - MUCH


@kernel
def wipe(candidates: Candidates) -> None:
    """Clear the map of candidates."""
    for k in range(candidates.place.size):
        candidates.label[candidates.place[k]] = 0
