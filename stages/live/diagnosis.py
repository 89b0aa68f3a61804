"""live/diagnosis: what is wrong with the experiment, said while it runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from pipeline import Context, Findings, Frame, Outcome, UserError, stage
from stages.diagnosis.finding import Finding
from stages.diagnosis.subject import About, Look, Watch
from stages.diagnosis.subjects import SUBJECTS
from stages.files.cell import TargetCell
from stages.files.geom.detector import Detector
from stages.files.geom.displaced import displacement_edits
from stages.files.geom.edits import with_edits
from stages.files.own_file import check_own, write_own
from stages.records.displacement import NOT_DISPLACED, Displacement
from stages.records.told import DetectorMoved, IndexingStages

MARK = "; corrected by streamajig"
"""Begins the geometry files that are written here, and says that they may be overwritten."""

_FIRST_LOOKS, _GROWTH = (10, 25), 1.25
"""Conclusions are drawn when so many frames have come, and then whenever there are more by this factor, or a watch asks."""

_NEWS_PX, _NEWS_ALONG, _NEWS_RAD = 0.2, 5e-4, 3e-4
"""A displacement is posted again when it differs by more: in pixels, as a part of the distance, and as an angle."""

Seen = tuple[Any, ...]
"""What each subject's look has to say of one frame."""


@stage("live/diagnosis", uses=(Detector, TargetCell, IndexingStages), posts=(DetectorMoved,))
class Diagnosis:
    """Say what is wrong with the experiment: where the detector is, energy and units, pixels, rings, thresholds.

    Single frames cannot tell; hundreds together can. Each finding is a sentence that says what, by how much, how sure, and what
    to do: in the log when it is found, in a few words on the progress line while it holds, in the report, in JSON. Nothing is
    said that the frames do not carry. Conclusions are drawn after 10 and 25 frames, and whenever there are a quarter more.

    **The detector.** All crystals share one place of the detector: shift, distance and tilt are fitted to the peaks of all
    of them, with the errors that follow from how crystals differ. Where fewer than 30 % of the hits are indexed, up to 30
    of them in each replica are searched without a cell; that does not care for the distance, and the true shift is the one
    on which all agree.

    What should change in the geometry file is written to `corrected`: the user's file with as few lines changed as
    possible, each with a comment. With `follow` the displacement stands on the run's noticeboard, and
    ``geometry_map/follow_detector`` moves the geometry of the frames that follow.

    The node comes after the last one that changes crystals, beside the stream's sink (``after:``).
    """

    corrected: Path | None = Field(
        default=None, description="Write the geometry file with all corrections there, if there are any."
    )
    follow: bool = Field(
        default=False, description="Let the run go on with the detector where it was found (--follow-detector)."
    )
    in_order: bool = Field(
        default=True, description="Take frames in the order of their serials: the same in every run."
    )

    reads: ClassVar[tuple[type, ...]] = ()

    def open(self, context: Context) -> RunningDiagnosis:
        """Return what takes out of a frame what it has to say."""
        about = _about(context)
        return RunningDiagnosis(tuple(subject.look(about) for subject in SUBJECTS))

    def open_writer(self, context: Context) -> DiagnosisWriter:
        """Return what draws the conclusions."""
        about = _about(context)
        if self.corrected is not None:
            check_own(self.corrected, MARK, "the corrected geometry")
        return DiagnosisWriter({subject.name: subject.watch(about) for subject in SUBJECTS}, about, self)


def _about(context: Context) -> About:
    target = context.upstream.get(TargetCell)
    return About(
        detector=context.upstream.get(Detector),
        target=target.cell if target is not None else None,
        indexing=context.upstream.get(IndexingStages, IndexingStages()),
        context=context,
    )


class RunningDiagnosis:
    """Asks each subject what a frame has to say."""

    def __init__(self, looks: Sequence[Look]) -> None:
        self._looks = looks

    def __call__(self, outcome: Outcome) -> Seen | None:
        """Return what each says; None for a frame that was rejected."""
        if not isinstance(outcome, Frame):
            return None
        return tuple(look(outcome) for look in self._looks)


class DiagnosisWriter:
    """Gathers what frames have to say, and says what follows when it is new."""

    def __init__(self, watches: Mapping[str, Watch], about: About, stage: Diagnosis) -> None:
        self._watches = watches
        self._stage = stage
        self._detector = about.detector
        self._log = about.context.log
        self._board = about.context.board
        self._num_frames = 0
        self._looks = list(_FIRST_LOOKS)
        self._found: dict[str, Sequence[Finding]] = dict.fromkeys(watches, ())
        self._known: dict[str, Finding] = {}
        self._posted: DetectorMoved | None = None

    def write(self, encoded: Seen) -> None:
        """Take one frame into account."""
        self._num_frames += 1
        asked = [
            name
            for (name, watch), seen in zip(self._watches.items(), encoded, strict=True)
            if seen is not None and watch.take(seen)
        ]
        if self._num_frames >= self._looks[0]:
            self._looks = self._looks[1:] or [int(_GROWTH * self._num_frames) + 1]
            asked = list(self._watches)
        if asked:
            self._found.update({name: self._asked(name, self._watches[name].findings) for name in asked})
            self._learn([finding for found in self._found.values() for finding in found])

    def status(self) -> str:
        """What is wrong, in a few words."""
        return ", ".join(finding.brief for finding in self._known.values() if finding.is_wrong)

    def findings(self) -> Findings:
        """The whole account; the corrected geometry file is written here."""
        found = [finding for name, watch in self._watches.items() for finding in self._asked(name, watch.conclude)]
        self._learn(found)
        lines = [finding.text for finding in found] or [f"nothing wrong was seen in {self._num_frames} frames"]
        if self._posted is not None:
            lines.append(
                "the run has followed the detector: the last frames were processed with it moved by "
                f"{self._posted.displacement}"
            )
        written = self._write_corrected(found)
        if written:
            lines.append(written)
        figures = {
            "frames": self._num_frames,
            "findings": [_figures(finding) for finding in found],
            "followed": None if self._posted is None else str(self._posted.displacement),
            "corrected": str(self._stage.corrected) if written else None,
            **{name: watch.figures() for name, watch in self._watches.items()},
        }
        return Findings("\n".join(lines), figures)

    def close(self) -> None:
        """Let go of what watches hold."""
        for watch in self._watches.values():
            watch.close()

    def _asked(self, name: str, ask: Callable[[], Sequence[Finding]]) -> Sequence[Finding]:
        """Ask a watch what it has found. An error of ours in one must not end a run, or keep the others from being asked."""
        try:
            return ask()
        except Exception:
            self._log.exception("the diagnosis of %s failed; this is an error of streamajig", name)
            return ()

    def _learn(self, found: Sequence[Finding]) -> None:
        """Say what is new, and what holds no longer; let the run follow the detector."""
        now = {finding.key: finding for finding in found}
        when = f"{time.strftime('%H:%M:%S')}, {self._num_frames} frames"
        for key, finding in now.items():
            if key not in self._known:
                level = logging.WARNING if finding.is_wrong else logging.INFO
                self._log.log(level, "%s: %s", when, finding.text, extra={"finding": key})
        for key, finding in self._known.items():
            if key not in now and finding.is_wrong:
                self._log.info("%s: no longer: %s", when, finding.brief)
        self._known = now
        if self._stage.follow:
            self._follow(now.values())

    def _follow(self, found: Any) -> None:
        moved = next((finding for finding in found if finding.displacement is not None), None)
        before = NOT_DISPLACED if self._posted is None else self._posted.displacement
        if moved is None or not _is_news(moved, before):
            return
        number = 1 if self._posted is None else self._posted.number + 1
        self._posted = DetectorMoved(moved.displacement, number, moved.num_frames)
        self._board.post(self._posted)

    def _write_corrected(self, found: Sequence[Finding]) -> str:
        """Write the geometry file with all corrections; return what the report says of it."""
        detector, path = self._detector, self._stage.corrected
        if detector is None or path is None:
            return ""
        edits = [edit for finding in found for edit in finding.edits]
        for finding in found:
            if finding.displacement is not None:
                edits += displacement_edits(detector, finding.displacement, f"{finding.num_frames} crystals tell")
        if not edits:
            return ""
        text = with_edits(detector.text, edits, (f"{MARK[2:]}: {len(edits)} changes",))
        try:
            write_own(path, text, "the corrected geometry")
        except UserError as error:  # the stream and the report matter more
            self._log.error("%s", error)
            return ""
        return f"the geometry file with these corrections is {path}"


def _is_news(finding: Finding, before: Displacement) -> bool:
    """Whether a displacement differs from the one that was posted by what matters."""
    now = finding.displacement
    assert now is not None
    pixel_m, clen_m = finding.figures["pixel_m"], finding.figures["clen_m"]
    shift, tilt = (
        np.abs(np.subtract(a, b)).max() for a, b in ((now.shift_m, before.shift_m), (now.tilt_rad, before.tilt_rad))
    )
    along = abs(now.along_m - before.along_m)
    return bool(shift > _NEWS_PX * pixel_m or along > _NEWS_ALONG * clen_m or tilt > _NEWS_RAD)


def _figures(finding: Finding) -> dict[str, Any]:
    return {
        "key": finding.key,
        "text": finding.text,
        "is_wrong": finding.is_wrong,
        "frames": finding.num_frames,
        **finding.figures,
        "edits": [{"directive": e.directive, "value": e.value, "why": e.why} for e in finding.edits],
    }
