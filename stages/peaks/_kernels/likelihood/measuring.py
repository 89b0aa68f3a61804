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

Array = NDArray[Any]


@kernel
def measure(
    raw: Array, kind: int, where: Array, is_bad: Array, gain: Array, panel: Array, label: Array, parent: Array,
    summit_of: Array, usual: float, narrowest: float, widest: float, out: Array,
) -> None:  # fmt: skip
    """Measure the intensity of each peak in a circle of twice its width, made up for what lies outside or cannot be seen.

    The width is the peak's own, drawn towards the frame's `usual` one the more the weaker the peak is (NaN: own alone).
    A Gaussian tells which part of the peak the circle's good pixels see (SEEN). COMPACT says by how many standard
    deviations the highest pixel exceeds what the narrowest peak would have in one pixel: above 0 for a defective pixel.
    """
    in_centre = math.erf(0.5 / (math.sqrt(2.0) * narrowest)) ** 2
    for i in range(summit_of.size):
        row = out[i]
        k = summit_of[i]
        here = where[panel[k]]
        g = gain[panel[k]]
        own = row[SIGNIFICANCE] ** 2
        sigma = row[SIGMA]
        if not math.isnan(usual):
            sigma = math.exp((own * math.log(sigma) + 400.0 * math.log(usual)) / (own + 400.0))
        sigma = min(max(sigma, narrowest), widest)
        reach = max(2.0 * sigma, 1.5)
        total = 0.0
        seen = 0.0
        pixels = 0
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
                pixels += 1
                highest = max(highest, value)
        scatter = g * max(total, 0.0) + pixels * row[VARIANCE] * (1.0 + pixels / row[AROUND])
        above = highest - row[BACKGROUND]
        row[INTENSITY] = total / seen if seen > 0 else 0.0
        row[SNR] = total / math.sqrt(scatter) if scatter > 0 else 0.0
        row[HIGHEST] = highest
        row[NUM_PIXELS] = pixels
        row[SEEN] = seen
        row[COMPACT] = (above - in_centre * total) / math.sqrt(g * max(above, 0.0) + row[VARIANCE]) - 2.0


@kernel
def wipe(candidate: Array, label: Array) -> None:
    """Clear the map of candidates."""
    for k in range(candidate.size):
        label[candidate[k]] = 0
