"""Pixels, from a bounded sample of frames: which are looked at follows from their serials, the same in every run."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import Frame
from stages.diagnosis.finding import Finding
from stages.diagnosis.pixels.bright import Bright, Hot
from stages.diagnosis.pixels.gain import gain_finding
from stages.diagnosis.pixels.gaps import gap_findings
from stages.diagnosis.pixels.peaks import PeakPixels, Peaks
from stages.diagnosis.pixels.probe import Probe, Prober
from stages.diagnosis.steps import Steps, at_once
from stages.diagnosis.subject import About
from stages.records.geometry import DetGeom
from stages.records.image import Image
from stages.records.peaklist import PeakList, is_hit

FIRST_FRAMES = 96
"""Of so many frames at the beginning more are looked at, so that mistakes are named within the first hundred."""
EVERY_PROBE, EVERY_BRIGHT, EVERY_PEAKS = (3, 96), (10, 640), (2, 48)
"""One frame in so many, at the beginning and afterwards: windows (0.3 ms), all pixels (some ms), peaks (0.05 ms)."""
FEWEST_PROBES, MOST_PROBES = 8, 32
"""Windows are judged when there are so many frames of them; the latest are kept."""


class Pixels:
    """Gaps, hot and dead pixels, saturation, the gain."""

    name = "pixels"

    def look(self, about: About) -> LookAtPixels:
        """Open the half that sees frames."""
        return LookAtPixels()

    def watch(self, about: About) -> WatchPixels:
        """Open the half that gathers."""
        names = [] if about.detector is None else [region.name for region in about.detector.bad_regions]
        return WatchPixels(frozenset(names))


Seen = tuple[Probe | None, Bright | None, PeakPixels | None]


class LookAtPixels:
    """Takes a sample of a frame's pixels and peaks, if it is this frame's turn."""

    def __init__(self) -> None:
        self._prober = Prober()

    def __call__(self, frame: Frame) -> Seen | None:
        """Return windows of pixels, bright single pixels and places of peaks; None if it is not this frame's turn."""
        serial, late = frame.serial, frame.serial >= FIRST_FRAMES
        probes, looks = serial % EVERY_PROBE[late] == 0, serial % EVERY_BRIGHT[late] == 0
        counts = serial % EVERY_PEAKS[late] == 0
        if not (probes or looks or counts):
            return None
        geom, image, peaks = frame.get(DetGeom), frame.get(Image), frame.get(PeakList)
        if geom is None:
            return None
        if image is not None and (image.before is not None or not image.arrays):
            image = None  # filtered, or there are no pixels
        probe = self._prober(image, geom, is_hit(frame)) if probes and image is not None else None
        bright = Bright.of(image, geom) if looks and image is not None else None
        at_peaks = PeakPixels.of(peaks, geom, frame) if counts and peaks is not None else None
        if probe is None and bright is None and at_peaks is None:
            return None
        return probe, bright, at_peaks


class WatchPixels:
    """Gathers the samples."""

    def __init__(self, regions: frozenset[str]) -> None:
        self._probes: deque[Probe] = deque(maxlen=MOST_PROBES)
        self._num_probes = 0
        self._judged = 0
        self._next_judgement = FEWEST_PROBES
        self._of_windows: list[Finding] = []
        self._figures: dict[str, Any] = {}
        self._hot = Hot(regions)
        self._peaks = Peaks()

    def take(self, seen: Seen) -> bool:
        """Keep a frame's sample; when the first of them are together, that is worth a look."""
        probe, bright, at_peaks = seen
        if probe is not None:
            if self._probes and probe.pixels.shape != self._probes[-1].pixels.shape:
                self._probes.clear()
            self._probes.append(probe)
            self._num_probes += 1
        if bright is not None:
            self._hot.take(bright)
        if at_peaks is not None:
            self._peaks.take(at_peaks)
        return probe is not None and self._num_probes == MOST_PROBES

    def findings(self) -> Sequence[Finding]:
        """Return what is known; windows are judged when they are enough, and when all have been replaced."""
        return at_once(self.findings_in_steps())

    def findings_in_steps(self) -> Steps[Sequence[Finding]]:
        """Return the same, a step for each judgement of the windows."""
        if self._num_probes >= self._next_judgement:
            yield from self._judge_windows()
        return self._known()

    def conclude(self) -> Sequence[Finding]:
        """Return what is known, with all windows, unless most of them have been judged already."""
        new = self._num_probes - self._judged
        if len(self._probes) >= FEWEST_PROBES and (new >= MOST_PROBES // 2 or (new and self._judged < MOST_PROBES)):
            at_once(self._judge_windows())
        return self._known()

    def figures(self) -> Mapping[str, Any]:
        """Return the gain that the noise shows, and how many frames were looked at."""
        return {"frames_with_windows": self._num_probes, **self._figures, **self._peaks.figures()}

    def close(self) -> None:
        """Nothing is held."""

    def _known(self) -> list[Finding]:
        return [*self._of_windows, *self._hot.findings(), *self._peaks.findings(self._hot.places())]

    def _judge_windows(self) -> Steps[None]:
        self._judged = self._num_probes
        self._next_judgement = MOST_PROBES * (1 + self._num_probes // MOST_PROBES)
        probes = list(self._probes)
        yield 0.5
        gain, self._figures = yield from gain_finding(probes)
        yield 0.5
        self._of_windows = [*gap_findings(probes), *([gain] if gain else [])]
