"""Do thresholds in ADU make sense on this detector? The first frame tells: its noise, and what a photon is in ADU.

What a search asks of one pixel can be counted in photons. Few photons may be noise: Poisson's distribution has a longer tail
than a normal one with the same standard deviation, and a deviation that is measured where hardly a photon fell is too small.
Many photons let weak peaks go, if the noise would allow to see them.

:data:`FEWEST_PHOTONS` is what keeps peakfinder9 with ``min_snr_biggest_pix`` = 7 below four false peaks a megapixel whatever
the background (``docs/studies/peaks``: at 2 photons a pixel, where it is worst; with half of it there are 30).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import numpy as np

from pipeline import Context
from stages.peaks._kernels.panels import LARGEST
from stages.records.geometry import DetGeom
from stages.records.image import Image

FEWEST_PHOTONS = 9.0
"""A single pixel with so many photons more than its surroundings is hardly ever an accident."""
MANY_PHOTONS = 3.0 * FEWEST_PHOTONS
"""Who asks for more than this of one pixel lets weak peaks go."""
MANY_SIGMA = 20.0
"""So many standard deviations of the noise are more than any search needs."""
WINDOW = 7
"""Noise is measured in squares of so many pixels a side."""
WINDOWS = 1000
"""At most so many of them."""
QUIET = 10.0
"""Percentage of the squares that are the quietest part of the detector."""


@dataclass(frozen=True)
class Noise:
    """What the background of a frame is like, in ADU.

    Attributes
    ----------
    level
        Mean of the background, median over the detector.
    sigma
        Standard deviation of pixels, median over the detector.
    quiet_sigma
        The same where the detector is quietest: a tenth of it has less.
    photon
        ADU of a photon, the least of all panels.
    """

    level: float
    sigma: float
    quiet_sigma: float
    photon: float

    @staticmethod
    def of(image: Image, geom: DetGeom) -> Noise | None:
        """Measure it in squares spread over the detector; None if no square is free of bad pixels."""
        total = sum(panel.width * panel.height for panel in geom.panels)
        step = max(WINDOW, int(np.sqrt(total / WINDOWS)))
        squares = []
        for panel, view, bad in zip(geom.panels, geom.views(image), geom.bad, strict=True):
            if panel.no_index or panel.width < WINDOW or panel.height < WINDOW:
                continue
            windows, masks = (
                np.lib.stride_tricks.sliding_window_view(a, (WINDOW, WINDOW))[::step, ::step] for a in (view, bad)
            )
            pixels = windows.reshape(-1, WINDOW**2).astype(np.float64)
            squares.append(pixels[(np.abs(pixels) <= LARGEST).all(axis=1) & ~masks.reshape(-1, WINDOW**2).any(axis=1)])
        if not sum(map(len, squares)):
            return None
        values = np.concatenate(squares)
        sigma = values.std(axis=1, ddof=1)
        photon = min(geom.adu_per_photon(number) for number in range(len(geom.panels)))
        return Noise(
            float(np.median(values.mean(axis=1))),
            float(np.median(sigma)),
            float(np.percentile(sigma, QUIET)),
            photon,
        )

    @property
    def threshold(self) -> float:
        """What goes with this frame: so far above the background that neither few photons nor noise reach it, in ADU."""
        return self.level + max(FEWEST_PHOTONS * self.photon, 5.0 * self.sigma)

    def threshold_is_high(self, name: str, threshold: float) -> str | None:
        """Say so, if a pixel must reach a value that is far above the background."""
        above = threshold - self.level
        if above <= max(MANY_PHOTONS * self.photon, MANY_SIGMA * self.sigma):
            return None
        return (
            f"{name}={threshold:g} ADU asks for {above / self.photon:.3g} photons more than the background in each pixel of "
            f"a peak (background {self.level:.3g} ADU, noise {self.sigma:.2g} ADU, {self.photon:g} ADU per photon): weak peaks "
            f"are missed; about {self.threshold:.3g} ADU goes with this frame"
        )


Judge = Callable[[Noise], str | None]


class FirstLook:
    """Judges a search's parameters by the first frame that any replica of the node searches, and says it once in the log."""

    def __init__(self, context: Context, judge: Judge) -> None:
        self._log = context.log
        self._judge = judge
        self._pending = True
        self._turn: Lock = context.tables.get(("peaks/_first_look", context.node), Lock)

    def __call__(self, image: Image, geom: DetGeom) -> None:
        """Look at a frame, if it is the first."""
        if not self._pending:
            return
        self._pending = False
        if not self._turn.acquire(blocking=False):
            return
        noise = Noise.of(image, geom)
        said = None if noise is None else self._judge(noise)
        if said:
            self._log.warning("%s", said)
