"""Does what was found on one frame tell the cores of the rings for the next?

Whatever the cores are, the thresholds are the same; good ones save time, and so does not having to look for them: samples of
each frame are a sixth of the exact search. Where the background stays as it is, or drifts, each frame tells those of the next.
Where it jumps from frame to frame it does not, and a frame with wrong cores takes twice as long: so after each such frame
samples are taken for twice as many frames as the last time.
"""

from __future__ import annotations

MORE = 2.0
"""Twice as many pixels outside the cores as on the frame before are no longer few."""
FEW = 1e-3
"""Nor is this part of all pixels, which Bragg peaks of a strong frame may have, beyond them."""
LONGEST = 1024
"""Frames for which samples are taken at most, until the frame before is asked again."""


class CoreTrust:
    """Remembers how well the frame before has served."""

    def __init__(self, pixels: int) -> None:
        self._few = FEW * pixels
        self._limit: float | None = None
        self._wait, self._pause, self._served = 0, 1, 0

    @property
    def holds(self) -> bool:
        """Whether the cores of the next frame may follow from this one."""
        return self._limit is not None and self._wait == 0

    def sampled(self, listed: int, *, good: bool) -> None:
        """Note that cores were chosen from a frame's samples, how many of its pixels were outside, and whether they served."""
        self._limit = MORE * listed + self._few if good else None
        self._wait = max(self._wait - 1, 0)

    def followed(self, listed: int, *, good: bool) -> None:
        """Note the same of a frame whose cores followed from the one before."""
        assert self._limit is not None
        if good and listed <= self._limit:
            self._limit = MORE * listed + self._few
            self._served += 1
            if self._served >= LONGEST:
                self._pause = 1
            return
        self._limit, self._served = None, 0
        self._wait, self._pause = self._pause, min(2 * self._pause, LONGEST)
