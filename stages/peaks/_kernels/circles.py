"""Measuring a peak with three circles around a pixel: for the gradient peak search and for peak validation.

What is measured is the sum inside the inner circle, above the mean of the ring between the middle and the outer one. Pixel
values are taken as float32, whatever their type on the wire; sums are float64.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.panels import PanelPixels
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

GOOD, LEAVES_PANEL, BAD_PIXEL, NO_BACKGROUND, NO_SIGNAL, BAD_VARIANCE = range(6)
"""What came of a measurement."""
INTENSITY, SNR, HIGHEST, FS, SS = range(5)
"""Columns of the table of peaks; :func:`validate` fills the first N_MEASURED alone."""
N_MEASURED, N_COLUMNS = 3, 5

Array = NDArray[Any]


class Circles(NamedTuple):
    """Their radii in pixels."""

    inner: float
    middle: float
    outer: float


class Detection(NamedTuple):
    """How a panel counts: the size of a photon, and the largest value that is not saturated, both in ADU."""

    adu_per_photon: float
    max_adu: float


class Acceptance(NamedTuple):
    """Which measured peaks are accepted: those of this snr at least, and only with `use_saturated` saturated ones."""

    min_snr: float
    use_saturated: bool


class Measurement(NamedTuple):
    """What a peak's measurement gave.

    Attributes
    ----------
    outcome
        GOOD, or why there is none; the rest is 0 then.
    fs, ss
        Its centre.
    intensity, sigma
        The sum above the background and its standard deviation.
    highest
        Its highest pixel.
    saturated
        Whether a pixel of the inner circle or the ring is saturated.
    """

    outcome: int
    fs: float
    ss: float
    intensity: float
    sigma: float
    highest: float
    saturated: bool


@kernel
def look_at(panel: PanelPixels, fs: int, ss: int) -> tuple[int, float]:
    """Return GOOD and a pixel's value, or why it has none that can be used."""
    flat, where, bad = panel
    width = where[WIDTH]
    if fs < 0 or fs >= width or ss < 0 or ss >= where[HEIGHT]:
        return LEAVES_PANEL, 0.0
    value = np.float64(np.float32(flat[where[OFFSET] + ss * where[STRIDE_SS] + fs * where[STRIDE_FS]]))
    if bad[where[START] + ss * width + fs] or not math.isfinite(value):
        return BAD_PIXEL, 0.0
    return GOOD, value


@kernel
def background_of(
    panel: PanelPixels, fs: int, ss: int, circles: Circles, max_adu: float
) -> tuple[int, float, float, bool]:
    """Return the outcome, mean and variance of the ring's pixels, and whether one is saturated."""
    middle, outer = circles.middle, circles.outer
    total = 0.0
    total_sq = 0.0
    count = 0
    saturated = False
    reach = int(outer)
    for dss in range(-reach, reach + 1):
        for dfs in range(-reach, reach + 1):
            distance_sq = dfs * dfs + dss * dss
            if distance_sq > outer * outer or distance_sq < middle * middle:
                continue
            outcome, value = look_at(panel, fs + dfs, ss + dss)
            if outcome != GOOD:
                return outcome, 0.0, 0.0, False
            if value > max_adu:
                saturated = True
            total += value
            total_sq += value * value
            count += 1
    if count == 0:
        return NO_BACKGROUND, 0.0, 0.0, False
    mean = total / count
    return GOOD, mean, total_sq / count - mean * mean, saturated


@kernel
def measure(panel: PanelPixels, fs: int, ss: int, circles: Circles, detection: Detection) -> Measurement:
    """Measure the peak around pixel (fs, ss).

    With S pixels v_i in the inner circle and background mean b and variance s^2 in the ring::

        I = sum(v_i - b)         sigma^2 = S s^2 + adu_per_photon I         centre = sum((v_i - b) x_i) / I + 1/2

    The outcome is not GOOD if the circles leave the panel, touch a bad or non-finite pixel, or sigma^2 < 0 or I = 0.
    """
    inner = circles.inner
    outcome, background, background_var, saturated = background_of(panel, fs, ss, circles, detection.max_adu)
    if outcome != GOOD:
        return Measurement(outcome, 0.0, 0.0, 0.0, 0.0, 0.0, False)
    intensity = 0.0
    highest = -np.inf
    sum_fs = 0.0
    sum_ss = 0.0
    count = 0
    reach = int(inner)
    for dss in range(-reach, reach + 1):
        for dfs in range(-reach, reach + 1):
            if dfs * dfs + dss * dss > inner * inner:
                continue
            outcome, value = look_at(panel, fs + dfs, ss + dss)
            if outcome != GOOD:
                return Measurement(outcome, 0.0, 0.0, 0.0, 0.0, 0.0, False)
            if value > detection.max_adu:
                saturated = True
            highest = max(highest, value)
            value -= background
            intensity += value
            sum_fs += value * dfs
            sum_ss += value * dss
            count += 1
    variance = count * background_var + detection.adu_per_photon * intensity
    if intensity == 0.0 or variance < 0.0:
        return Measurement(NO_SIGNAL if intensity == 0.0 else BAD_VARIANCE, 0.0, 0.0, 0.0, 0.0, 0.0, False)
    centre_fs = fs + sum_fs / intensity + 0.5
    centre_ss = ss + sum_ss / intensity + 0.5
    return Measurement(GOOD, centre_fs, centre_ss, intensity, math.sqrt(variance), highest, saturated)


@kernel
def accept(peak: Measurement, acceptance: Acceptance, row: Array) -> bool:
    """Return whether the peak is accepted, and fill its first N_MEASURED columns."""
    row[INTENSITY] = peak.intensity
    row[SNR] = abs(peak.intensity) / peak.sigma if peak.sigma > 0 else np.inf
    row[HIGHEST] = peak.highest
    if peak.outcome != GOOD or row[SNR] < acceptance.min_snr:
        return False
    return acceptance.use_saturated or not peak.saturated


@kernel
def validate(
    panel: PanelPixels,
    peak_fs: Array,
    peak_ss: Array,
    circles: Circles,
    acceptance: Acceptance,
    detection: Detection,
    out: Array,
) -> None:
    """Measure each peak of one panel; fill rows of `out` (n, N_MEASURED), with INTENSITY not a number if it is rejected."""
    for i in range(peak_fs.size):
        peak = measure(panel, int(peak_fs[i]), int(peak_ss[i]), circles, detection)
        if not accept(peak, acceptance, out[i]):
            out[i, INTENSITY] = np.nan
