"""live/diagnosis: what is wrong with the experiment, said while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from pipeline import Context, Findings, Frame, Outcome, stage
from stages.diagnosis.finding import Finding
from stages.diagnosis.subject import About, Look, Watch
from stages.diagnosis.subjects import SUBJECTS
from stages.files.cell import TargetCell
from stages.files.geom.detector import Detector
from stages.records.told import IndexingStages

_FIRST_LOOK, _GROWTH = 25, 1.25
"""Conclusions are drawn when so many frames have come, and whenever there are more by this factor."""

Seen = tuple[Any, ...]
"""What each subject's look has to say of one frame."""


@stage("live/diagnosis", uses=(Detector, TargetCell, IndexingStages))
class Diagnosis:
    """Say what is wrong with the experiment: where the detector is, energy and units, pixels, rings, thresholds.

    Single frames cannot tell; hundreds together can. Each finding is a sentence that says what, by how much, how sure, and what
    to do: in the log when it is found, in a few words on the progress line while it holds, in the report, in JSON. Nothing is
    said that the frames do not carry.

    The node comes after the last one that changes crystals, beside the stream's sink (``after:``).
    """

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
        return DiagnosisWriter({subject.name: subject.watch(about) for subject in SUBJECTS}, context)


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

    def __init__(self, watches: Mapping[str, Watch], context: Context) -> None:
        self._watches = watches
        self._log = context.log
        self._num_frames = 0
        self._next_look = _FIRST_LOOK
        self._found: dict[str, Sequence[Finding]] = dict.fromkeys(watches, ())
        self._known: dict[str, Finding] = {}

    def write(self, encoded: Seen) -> None:
        """Take one frame into account."""
        self._num_frames += 1
        asked = [
            name
            for (name, watch), seen in zip(self._watches.items(), encoded, strict=True)
            if seen is not None and watch.take(seen)
        ]
        if self._num_frames >= self._next_look:
            self._next_look = max(self._num_frames + 1, int(_GROWTH * self._num_frames))
            asked = list(self._watches)
        if asked:
            self._found.update({name: self._watches[name].findings() for name in asked})
            self._learn([finding for found in self._found.values() for finding in found])

    def status(self) -> str:
        """What is wrong, in a few words."""
        return ", ".join(finding.brief for finding in self._known.values() if finding.is_wrong)

    def findings(self) -> Findings:
        """The whole account."""
        found = [finding for watch in self._watches.values() for finding in watch.conclude()]
        self._learn(found)
        lines = [finding.text for finding in found] or [f"nothing wrong was seen in {self._num_frames} frames"]
        figures = {
            "frames": self._num_frames,
            "findings": [_figures(finding) for finding in found],
            **{name: watch.figures() for name, watch in self._watches.items()},
        }
        return Findings("\n".join(lines), figures)

    def close(self) -> None:
        """Let go of what watches hold."""
        for watch in self._watches.values():
            watch.close()

    def _learn(self, found: Sequence[Finding]) -> None:
        """Say what is new, and what holds no longer."""
        now = {finding.key: finding for finding in found}
        for key, finding in now.items():
            if key not in self._known:
                self._log.log(30 if finding.is_wrong else 20, "%s", finding.text)
        for key, finding in self._known.items():
            if key not in now and finding.is_wrong:
                self._log.info("no longer: %s", finding.brief)
        self._known = now


def _figures(finding: Finding) -> dict[str, Any]:
    return {
        "key": finding.key,
        "text": finding.text,
        "is_wrong": finding.is_wrong,
        "frames": finding.num_frames,
        **finding.figures,
        "edits": [{"directive": e.directive, "value": e.value, "why": e.why} for e in finding.edits],
    }
