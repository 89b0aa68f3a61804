"""Profile fitting: the shape of a crystal's strong reflections, and its fit to all of them."""

import math
from typing import Any

from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.integrate._kernels.marks import CLAIM, RELEASE, claims_at, mark_some, value_at
from stages.integrate._kernels.tuples import (
    FS,
    HIGHEST_OF_CIRCLE,
    IMPLAUSIBLE,
    IMPLAUSIBLE_BELOW,
    INTENSITY,
    LEVEL,
    MEASURED,
    NUM_RING,
    SATURATED,
    SIGMA,
    SLOPE_FS,
    SLOPE_SS,
    SS,
    STANDS_OUT,
    TOTAL,
    UNMEASURABLE,
    VARIANCE,
    Measured,
    Pixels,
    Places,
)

Array = NDArray[Any]

STEEPEST = 0.1
"""A plane that rises in a pixel by more than this part of the peak's height is too steep."""


@kernel
def net_at(flat: Array, where: Array, x0: int, y0: int, dx: int, dy: int, fit: Array) -> float:
    """Return the pixel at (dx, dy) from the central one, above the background."""
    value = value_at(flat, where, x0 + dx, y0 + dy)
    return float(value - fit[LEVEL] - fit[SLOPE_FS] * dx - fit[SLOPE_SS] * dy)


@kernel
def add_to_profile(
    flat: Array,
    where: Array,
    marks: Array,
    x0: int,
    y0: int,
    inner: Array,
    claims: int,
    fit: Array,
    total: float,
    profile: Array,
) -> None:
    """Add the reflection's pixels that at most `claims` reflections claim, and its intensity, to the sums of each pixel."""
    for j in range(inner.shape[0]):
        dx, dy = inner[j, 0], inner[j, 1]
        if claims_at(marks, where, x0 + dx, y0 + dy) > claims:
            continue
        profile[0, j] += net_at(flat, where, x0, y0, dx, dy, fit)
        profile[1, j] += total


@kernel
def collect_profile(
    pixels: Pixels, places: Places, inner: Array, cen: bool, sat: bool, measured: Measured, profile: Array
) -> None:
    """Add the suitable ones of the reflections in one array to a profile, after they were integrated above planes.

    `profile` (2, pixels of the circle) gains, for each pixel, the sum over suitable reflections of v, the pixel above
    background, and of S, the intensity by summation. A reflection is suitable if S exceeds STANDS_OUT of its standard
    deviations, the plane is not steep, and no pixel is saturated (unless `sat`). The status of one with a steep plane becomes
    UNMEASURABLE.
    """
    flat, where, row_of_panel, marks = pixels
    panel = places.panel
    results, fits, status = measured
    claims = 0 if cen else 1
    for i in range(panel.size):
        row = row_of_panel[panel[i]]
        if row < 0 or status[i] == UNMEASURABLE:
            continue
        fit, total = fits[i], results[i, TOTAL]
        height = abs(fit[HIGHEST_OF_CIRCLE] - fit[LEVEL])
        if max(abs(fit[SLOPE_FS]), abs(fit[SLOPE_SS])) > STEEPEST * height:
            status[i] = UNMEASURABLE
            continue
        if not total > STANDS_OUT * results[i, SIGMA] or (status[i] & SATURATED and not sat):
            continue
        if cen:
            mark_some(pixels, places, i, i + 1, inner, RELEASE)
        x0, y0 = math.floor(results[i, FS]), math.floor(results[i, SS])
        add_to_profile(flat, where[row], marks, x0, y0, inner, claims, fit, total, profile)
        if cen:
            mark_some(pixels, places, i, i + 1, inner, CLAIM)


@kernel
def sums_of_fit(
    flat: Array, where: Array, marks: Array, x0: int, y0: int, inner: Array, claims: int, fit: Array, shape: Array
) -> tuple[float, float, float, float]:
    """Return the sums of P, P^2, P^3 and P v over the pixels of the circle that count."""
    s_p = s_pp = s_ppp = s_pv = 0.0
    for j in range(inner.shape[0]):
        dx, dy = inner[j, 0], inner[j, 1]
        if claims_at(marks, where, x0 + dx, y0 + dy) > claims:
            continue
        s_p += shape[j]
        s_pp += shape[j] * shape[j]
        s_ppp += shape[j] * shape[j] * shape[j]
        s_pv += shape[j] * net_at(flat, where, x0, y0, dx, dy, fit)
    return s_p, s_pp, s_ppp, s_pv


@kernel
def fit_profile(
    pixels: Pixels,
    places: Places,
    inner: Array,
    adu_per_photon: Array,
    cen: bool,
    shape: Array,
    measured: Measured,
) -> None:
    """Replace intensity and sigma of the reflections in one array by those of a fit of the profile `shape`, whose sum is 1.

    With pixels v above background, J = sum(P v) / sum(P^2) over the pixels that count, and the intensity is J. Each pixel has
    the variance s^2 + adu_per_photon J P, and the background that they share s^2 / m.
    """
    flat, where, row_of_panel, marks = pixels
    panel = places.panel
    results, fits, status = measured
    claims = 0 if cen else 1
    for i in range(panel.size):
        p = panel[i]
        row = row_of_panel[p]
        if row < 0 or status[i] == UNMEASURABLE:
            continue
        fit = fits[i]
        if cen:
            mark_some(pixels, places, i, i + 1, inner, RELEASE)
        x0, y0 = math.floor(results[i, FS]), math.floor(results[i, SS])
        s_p, s_pp, s_ppp, s_pv = sums_of_fit(flat, where[row], marks, x0, y0, inner, claims, fit, shape)
        if cen:
            mark_some(pixels, places, i, i + 1, inner, CLAIM)
        if not s_pp > 0.0:
            status[i] = UNMEASURABLE
            continue
        total = s_pv / s_pp
        gain = adu_per_photon[p]
        variance = gain * max(abs(total), gain) * max(s_ppp, 0.0) + fit[VARIANCE] * (s_pp + s_p * s_p / fit[NUM_RING])
        sigma = math.sqrt(variance) / s_pp
        results[i, INTENSITY], results[i, SIGMA] = total, sigma
        status[i] = (status[i] & SATURATED) | (IMPLAUSIBLE if total < IMPLAUSIBLE_BELOW * sigma else MEASURED)
