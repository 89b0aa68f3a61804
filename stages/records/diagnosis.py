"""How one reflection was integrated: its box of pixels, what each pixel counted for, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BESIDE, CIRCLE, RING, CLAIMED, BAD, OUTSIDE = range(6)
"""What a pixel of the box is: of no account, of the circle, of the ring; claimed by another reflection, bad, off the panel."""

_MARKS = " *o!x "

LEGEND = "pixels in ADU; * circle, o ring, ! claimed by another reflection, x bad or not finite"


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """One reflection.

    Attributes
    ----------
    hkl
        Its indices.
    panel
        The panel's name.
    fs, ss
        Where the circle is, pixels from the panel's corner; `moved_px` is how far centring has moved it.
    verdict
        ``kept``, ``saturated``, ``implausible`` (both left out unless asked for) or ``not measured``.
    intensity, sigma
        ADU, as in the stream.
    plane
        Background a + b dx + c dy in ADU, dx and dy counted from the circle's pixel; its `variance` about the pixels used.
    pixels
        float64 (w, w), the box in ADU, rows along ss; NaN off the panel.
    kinds
        uint8 (w, w), what each pixel is (BESIDE, CIRCLE, RING, CLAIMED, BAD, OUTSIDE).
    """

    hkl: tuple[int, int, int]
    panel: str
    fs: float
    ss: float
    moved_px: tuple[float, float]
    verdict: str
    intensity: float
    sigma: float
    plane: tuple[float, float, float]
    variance: float
    pixels: NDArray[np.float64]
    kinds: NDArray[np.uint8]

    def text(self) -> str:
        """All of it for people, a line for each row of pixels."""
        h, k, l = self.hkl  # noqa: E741
        moved = f", moved by {self.moved_px[0]:+.0f} {self.moved_px[1]:+.0f}" if any(self.moved_px) else ""
        lines = [
            f"reflection {h} {k} {l} on {self.panel} at fs {self.fs:.2f} ss {self.ss:.2f}{moved}: {self.verdict}",
        ]
        if self.verdict != "not measured":
            a, b, c = self.plane
            slope = f" {b:+.3g} dx {c:+.3g} dy" if b or c else ""
            lines.append(
                f"I {self.intensity:.2f} sigma {self.sigma:.2f} (I/sigma {self.intensity / self.sigma:.1f}); background "
                f"{a:.3f}{slope}, variance {self.variance:.3f}; pixels: circle {np.sum(self.kinds == CIRCLE)}, ring "
                f"{np.sum(self.kinds == RING)}"
            )
        width = max(4, *(len(_number(v)) for v in self.pixels.ravel()))
        for values, kinds in zip(self.pixels, self.kinds, strict=True):
            cells = (_number(v).rjust(width) + _MARKS[kind] for v, kind in zip(values, kinds, strict=True))
            lines.append("".join(cells).rstrip())
        return "\n".join(lines)

    def figures(self) -> dict[str, object]:
        """All of it for programs."""
        return {
            "hkl": list(self.hkl),
            "panel": self.panel,
            "fs": self.fs,
            "ss": self.ss,
            "moved_px": list(self.moved_px),
            "verdict": self.verdict,
            "intensity": self.intensity,
            "sigma": self.sigma,
            "plane": list(self.plane),
            "variance": self.variance,
            "pixels": self.pixels.tolist(),
            "kinds": self.kinds.tolist(),
        }


def _number(value: float) -> str:
    """A pixel in few letters.

    >>> _number(12.0), _number(3.14159), _number(float("nan"))
    ('12', '3.1', '-')
    """
    if np.isnan(value):
        return "-"
    return f"{value:.0f}" if value == round(value) else f"{value:.1f}"
