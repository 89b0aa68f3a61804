"""What findings have to say of the geometry file: the file with their corrections, and where the detector is.

The file is the user's, changed where a finding says so and nowhere else, each change with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline import UserError
from stages.diagnosis.finding import Finding
from stages.files.geom.detector import Detector
from stages.files.geom.displaced import displacement_edits
from stages.files.geom.edits import Edit, with_edits
from stages.files.own_file import check_own, write_own
from stages.records.displacement import Displacement

MARK = "; corrected by streamajig"
"""Begins the files that are written here, and says that they may be overwritten."""

FROM_CRYSTALS = "detector"
"""Key of the finding that tells best where the detector is: from crystals, where there are any; else powder rings may tell."""

_WIDEST = 1.0
"""Tangent of the angle to which a detector whose distance is not known beforehand is taken to reach."""


def where_it_is(found: Sequence[Finding]) -> Finding | None:
    """Return the finding that says where the detector is, if one says that it is not where the file has it."""
    placed = [finding for finding in found if finding.is_wrong and finding.displacement is not None]
    return min(placed, key=lambda finding: finding.key != FROM_CRYSTALS, default=None)


def corrected_text(detector: Detector, found: Sequence[Finding]) -> str | None:
    """Return the geometry file with what findings correct; None if they correct nothing."""
    placed = where_it_is(found)
    edits: list[Edit] = []
    if placed is not None and placed.displacement is not None:
        edits += displacement_edits(detector, placed.displacement, placed.brief)
    correcting = [finding for finding in found if finding.is_wrong and (finding is placed or finding.edits)]
    edits += [edit for finding in correcting for edit in finding.edits]
    if not edits:
        return None
    mark = f"{MARK.removeprefix('; ')}; what a line was stands behind it. Found:"
    text = with_edits(detector.text, edits, [mark, *(finding.text for finding in correcting)])
    Detector.parse(text, f"{detector.filename}, corrected")
    return text


class CorrectedFile:
    """The corrected geometry file of a run: there while something is to be corrected, and never that of an earlier run.

    Parameters
    ----------
    path
        Where it is written. A file that somebody else has made is refused; one of streamajig's own is removed.
    detector
        What is corrected.
    force
        Whether a file that somebody else has made is written over, once there is something to write.
    """

    def __init__(self, path: Path, detector: Detector, force: bool = False) -> None:
        self.path = path
        self._detector = detector
        self._written: str | None = None
        instead = "move it away, or write to another place (--corrected-geometry)"
        if check_own(path, MARK, "the corrected geometry file", instead, force):
            self._remove()

    @property
    def is_written(self) -> bool:
        """Whether it is there now."""
        return self._written is not None

    def say(self, found: Sequence[Finding]) -> None:
        """Write what is to be corrected now; raises UserError if that cannot be."""
        text = corrected_text(self._detector, found)
        if text == self._written:
            return
        if text is None:
            self._remove()
            return
        write_own(self.path, text, "the corrected geometry file")
        self._written = text

    def _remove(self) -> None:
        self._written = None
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot remove the geometry file {self.path} of an earlier run: {error.strerror}"
            ) from error


def moved_by_px(detector: Detector, one: Displacement, other: Displacement) -> float:
    """Return by how many pixels spots are elsewhere, at most, if the detector is at one place and not at the other.

    A detector that is dz farther away has a spot at the angle 2 theta dz tan(2 theta) farther out, and a tilt moves its edge at
    radius r along the beam by r times the tilt.
    """
    reach = [
        float(np.hypot(*np.array(placed.corner_px))) / placed.res_per_m
        + float(np.hypot(placed.panel.width, placed.panel.height)) / placed.res_per_m
        for placed in detector.panels
    ]
    distance = detector.geom_ahead().mean_clen_m
    tangent = max(reach) / distance if distance > 0 else _WIDEST
    shift = np.hypot(*np.subtract(one.shift_m, other.shift_m))
    along = abs(one.along_m - other.along_m) + max(reach) * np.hypot(*np.subtract(one.tilt_rad, other.tilt_rad))
    finest = max(placed.res_per_m for placed in detector.panels)
    return float((shift + along * tangent) * finest)
