"""ADU per photon from the noise: the slope of the variance over the mean (photon transfer).

Photons that fall on a pixel vary as many as they are, so that in ADU variance = constant + g * mean; a pedestal and read
noise go into the constant (Janesick, Photon Transfer, SPIE 2007, doi:10.1117/3.725073). The variance is taken over frames. Two
corrections keep it to photons: the covariance of adjacent pixels is added, as charge that spreads lowers the variance of one
by what it makes two of them share; the covariance of pixels that are 4 to 6 apart is taken away from each term, as all that
changes the whole background (intensity, common mode) raises both. Bragg spots are few; the median over windows passes them
by, and blanks alone are taken if there are enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.diagnosis.finding import Finding
from stages.diagnosis.pixels.probe import HEIGHT, WIDTH, Probe, Range
from stages.diagnosis.steps import Steps
from stages.files.geom.edits import Edit

Floats = NDArray[np.float64]

FEWEST_FRAMES, FEWEST_WINDOWS = 8, 200
BINS = 12
"""Groups of windows of about the same mean."""
SIGMAS = 5.0
"""A slope is known, and contradicts, by so many of its errors."""
TOO_NOISY, TOO_QUIET = 1.5, 2.5
"""By which factor the noise must exceed, or fall short of, what is given: spread charge beyond adjacent pixels hides noise."""
_AT_A_TIME = 50
"""Windows: they stay where the processor has them at hand."""
STEADY = 0.4
"""In standard deviations; what 32 frames of noise keep to in 19 of 20 windows."""
_NEAR, _FAR = 1, range(4, 7)


def gain_finding(probes: Sequence[Probe]) -> Steps[tuple[Finding | None, dict[str, Any]]]:
    """Return what contradicts adu_per_photon, and the gain with its error for JSON if it is known."""
    blanks = [probe for probe in probes if not probe.is_hit]
    chosen = blanks if len(blanks) >= FEWEST_FRAMES else list(probes)
    given = chosen[-1].adu_per_photon
    known = yield from measured_gain(chosen)
    if known is None:
        return None, {}
    gain, error = known
    figures = {"adu_per_photon": gain, "adu_per_photon_error": error}
    is_contradicted = gain - SIGMAS * error > TOO_NOISY * given or gain + SIGMAS * error < given / TOO_QUIET
    if not is_contradicted:
        return None, figures
    value = f"{gain:.2g}" if error > 0.02 * gain else f"{gain:.3g}"
    text = (
        f"adu_per_photon = {given:g}, and the noise of the background says {gain:.3g} +- {error:.1g} ADU per photon "
        f"({len(chosen)} frames): sigmas and thresholds in photons are off by that; write 'adu_per_photon = {value}', or what "
        "the detector's manual says"
    )
    edit = Edit("adu_per_photon", value, f"from the noise of the background, {gain:.3g} +- {error:.1g}")
    return Finding(
        "adu_per_photon", text, f"noise says {gain:.3g} ADU per photon", len(chosen), True, figures, (edit,)
    ), figures


def measured_gain(probes: Sequence[Probe]) -> Steps[tuple[float, float] | None]:
    """Return ADU per photon and its error; None where the background does not tell."""
    if len(probes) < FEWEST_FRAMES:
        return None
    seen = Range.of(probes)
    # neither dead nor a gap
    good = np.flatnonzero(seen.good.all(axis=1) & ((~seen.is_still).mean(axis=1) > 0.5))
    good = good[_is_steady(np.array([probe.pixels[good].sum(axis=1, dtype=np.float64) for probe in probes]))]
    if len(good) < FEWEST_WINDOWS:
        return None
    yield 0.5
    level, variance = _means_and_variances(probes, good)
    yield 0.5
    groups = np.array_split(np.argsort(level), BINS)
    x, y = (np.array([np.median(of[group]) for group in groups]) for of in (level, variance))
    spread = np.array([np.subtract(*np.percentile(variance[group], (75, 25))) / 1.349 for group in groups])
    error = 1.253 * spread / np.sqrt([len(group) for group in groups])
    if not (error > 0).all():
        return None
    return _slope(x, y, error)


def _means_and_variances(probes: Sequence[Probe], good: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Of each window, (W,): the mean of its pixels over all frames, and the variance of the charge on one pixel.

    Some windows at a time, one product of small matrices for each: those of large ones are shared out among threads, which
    wait for each other for longer than they work.
    """
    means, variances = [], []
    for some in np.array_split(good, max(1, len(good) // _AT_A_TIME)):
        off = np.array([probe.pixels[some] for probe in probes], np.float64).transpose(1, 0, 2)
        mean = off.mean(axis=1, keepdims=True)
        off -= mean
        # (off @ weights) * off summed is the quadratic form whose expectation is that variance
        variances.append(np.einsum("wti,wti->w", off @ _WEIGHTS, off) / (len(probes) - 1))
        means.append(mean.mean(axis=(1, 2)))
    return np.concatenate(means), np.concatenate(variances)


def _is_steady(sums: Floats) -> NDArray[np.bool_]:
    """Whether a window's sums (frames, W) scatter about a mean; a few Bragg spots raise it above the median."""
    median = np.median(sums, axis=0)
    sigma = 1.4826 * np.median(np.abs(sums - median), axis=0)
    steady: NDArray[np.bool_] = sums.mean(axis=0) - median < STEADY * sigma
    return steady


def _slope(x: NDArray[Any], y: NDArray[Any], error: NDArray[Any]) -> tuple[float, float] | None:
    """Weighted least squares of y = a + g x; the error grows with what the line does not explain."""
    weight = error**-2
    centre = np.sum(weight * x) / np.sum(weight)
    power = float(np.sum(weight * (x - centre) ** 2))
    if not power > 0:
        return None
    height = np.sum(weight * y) / np.sum(weight)
    gain = float(np.sum(weight * (x - centre) * (y - height)) / power)
    chi2 = float(np.sum(weight * (y - height - gain * (x - centre)) ** 2)) / (len(x) - 2)
    sigma = float(np.sqrt(max(1.0, chi2) / power))
    return (gain, sigma) if gain > SIGMAS * sigma else None


def _weights() -> Floats:
    """float64 (n, n) over the pixels of a window: each lag's mean over its pairs, near ones added, far ones taken away."""
    fs, ss = np.tile(np.arange(WIDTH), HEIGHT), np.repeat(np.arange(HEIGHT), WIDTH)
    dx, dy = (np.abs(a[:, None] - a[None, :]) for a in (fs, ss))
    near, far = np.maximum(dx, dy) <= _NEAR, np.isin(dx, _FAR)
    both_signs = np.where(dx > 0, 2, 1) * np.where(dy > 0, 2, 1)
    pairs = (WIDTH - dx) * (HEIGHT - dy) * both_signs  # as many entries have this lag, up to its sign
    num_lags = (2 * _NEAR + 1) ** 2
    weights: Floats = near * both_signs / pairs - num_lags * far / far.sum()
    return weights


_WEIGHTS = _weights()
