"""live/diagnosis: what is wrong with the experiment, said while it runs."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from pipeline import Context, Findings, Frame, Outcome, UserError, stage
from pipeline.jsonable import jsonable
from stages.diagnosis.finding import Finding
from stages.diagnosis.place.subject import DetectorPlace
from stages.diagnosis.rings.words import beside_crystals
from stages.diagnosis.steps import Steps, at_once
from stages.diagnosis.subject import About, InSteps, Look, Watch
from stages.diagnosis.subjects import SUBJECTS
from stages.files.cell import TargetCell
from stages.files.geom.detector import Detector
from stages.live._correction import CorrectedFile, moved_by_px, where_it_is
from stages.records.crystal import Crystals
from stages.records.displacement import Displacement
from stages.records.geometry import DetGeom
from stages.records.header import Header
from stages.records.image import Image
from stages.records.peaklist import Hit, PeakList
from stages.records.told import DetectorMoved, IndexingStages

_FIRST_LOOKS, _GROWTH = (10, 25), 1.25
"""Conclusions are drawn when so many frames have come, and then whenever there are more by this factor, or a watch asks.

They are drawn in steps, some with each frame: all at once they would take as long as several frames, and these would wait."""

_AGAIN = 2.0
"""What is known already is said again when it reads otherwise and rests on more frames by this factor."""

_FOLLOWED_PX = 0.3
"""A detector that is known to be elsewhere by more than this, at its edge, is posted again."""

_SHOWN = 2
"""So many findings stand on the progress line; the others are counted."""

Seen = tuple[Any, ...]
"""What each subject's look has to say of one frame."""


@stage("live/diagnosis", uses=(Detector, TargetCell, IndexingStages), posts=(DetectorMoved,))
class Diagnosis:
    """Say what is wrong with the experiment: where the detector is, energy and units, pixels, rings, thresholds.

    Single frames cannot tell; hundreds together can. Each finding is a sentence that says what, by how much, how sure, and what
    to do: in the log when it is found, in a few words on the progress line while it holds, in the report, in JSON. Nothing is
    said that the frames do not carry.

    What should change in the geometry file is written to `path`: the user's file with those lines changed and no others, each
    with a comment that says why and what it was. The file is there while something is to be corrected. One of that name which
    streamajig has not written is never overwritten.

    Where the detector is found to be is posted on the run's noticeboard once it is significant, and again when it is known to
    be elsewhere by 0.3 pixels; geometry_map/follow_detector moves the geometry there.

    The node comes after the last one that changes crystals, beside the stream's sink (``after:``).
    """

    path: Path | None = Field(default=None, description="Write the geometry file there with what should change in it.")
    force: bool = Field(default=False, description="Write over a file that streamajig has not written (--force).")
    in_order: bool = Field(
        default=True, description="Take frames in the order of their serials: the same in every run."
    )

    reads: ClassVar[tuple[type, ...]] = ()
    may_read: ClassVar[tuple[type, ...]] = (Hit, Header, Image, DetGeom, PeakList, Crystals)

    def open(self, context: Context) -> RunningDiagnosis:
        """Return what takes out of a frame what it has to say."""
        about = _about(context)
        return RunningDiagnosis(tuple(subject.look(about) for subject in SUBJECTS))

    def open_writer(self, context: Context) -> DiagnosisWriter:
        """Return what draws the conclusions."""
        about = _about(context)
        if self.path is not None and about.detector is None:
            raise UserError(
                f"{context.node or 'diagnosis'}: there is no geometry file to be corrected in {self.path}; put "
                "geometry_map/map_panels before this node, or leave `path` out"
            )
        corrected = None
        if self.path is not None and about.detector is not None:
            corrected = CorrectedFile(self.path, about.detector, self.force)
        watches = {subject.name: subject.watch(about) for subject in SUBJECTS}
        return DiagnosisWriter(watches, context, about.detector, corrected)


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

    def __call__(self, outcome: Outcome) -> Seen | str:
        """Return what each says; of a frame that was rejected, where and why."""
        if not isinstance(outcome, Frame):
            return f"at {outcome.node} ({outcome.reason})"
        return tuple([look(outcome) for look in self._looks])


@dataclass(frozen=True)
class _Said:
    """What was said of something, and when."""

    finding: Finding
    since_frame: int
    since: float


class DiagnosisWriter:
    """Gathers what frames have to say, and says what follows when it is new."""

    def __init__(
        self,
        watches: Mapping[str, Watch],
        context: Context,
        detector: Detector | None = None,
        corrected: CorrectedFile | None = None,
    ) -> None:
        self._watches = dict(watches)
        self._log = context.log
        self._board = context.board
        self._detector = detector
        self._corrected = corrected
        self._num_frames = 0
        self._rejected: Counter[str] = Counter()
        self._looks = list(_FIRST_LOOKS)
        self._found: dict[str, Sequence[Finding]] = dict.fromkeys(watches, ())
        self._known: tuple[Finding, ...] = ()
        self._said: dict[str, _Said] = {}
        self._moved: DetectorMoved | None = None
        self._moves: list[tuple[float, Displacement]] = []
        self._broken: dict[str, str] = {}
        self._unwritten = ""
        self._to_ask: dict[str, None] = {}
        self._asking: Steps[None] | None = None

    def write(self, encoded: Seen | str) -> None:
        """Take one frame into account; of one that was rejected it is kept why."""
        if isinstance(encoded, str):
            self._rejected[encoded] += 1
            return
        self._num_frames += 1
        for (name, watch), seen in zip(self._watches.items(), encoded, strict=True):
            if seen is not None and name not in self._broken and self._guarded(name, partial(watch.take, seen)):
                self._to_ask[name] = None
        if self._num_frames >= self._looks[0]:
            self._looks = self._looks[1:] or [int(_GROWTH * self._num_frames) + 1]
            self._to_ask = dict.fromkeys(self._watches)
        self._go_on()

    def _go_on(self) -> None:
        """Take those steps of the conclusions that are being drawn which may be taken with one frame."""
        taken, has_heard = 0.0, False
        while taken < 1.0 and (self._asking is not None or self._to_ask):
            if self._asking is None:
                name = next(iter(self._to_ask))
                del self._to_ask[name]
                self._asking = self._ask(name)
            try:
                taken += next(self._asking)
            except StopIteration:
                self._asking, has_heard = None, True
        if has_heard:
            self._learn()

    def status(self) -> str:
        """What is wrong, in a few words."""
        briefs = [finding.brief for finding in self._known if finding.is_wrong]
        more = [f"and {len(briefs) - _SHOWN} more"] if len(briefs) > _SHOWN else []
        return ", ".join([*briefs[:_SHOWN], *more])

    def figures_now(self) -> dict[str, Any]:
        """What is known, where the detector is found to be, and where it was found before, seconds since 1970 and mm."""
        place = where_it_is(self._known)
        times = [at for at, _ in self._moves]
        columns = zip(
            ("x_mm", "y_mm", "z_mm"), zip(*(_in_mm(moved) for _, moved in self._moves), strict=True), strict=False
        )
        return {
            "frames": self._num_frames,
            "findings": [
                {"subject": found.key, "text": found.text, "brief": found.brief, "is_wrong": found.is_wrong}
                for found in self._known
            ],
            "shift_mm": None if place is None or place.displacement is None else list(_in_mm(place.displacement)),
            "follows": {"time": times, **{name: list(column) for name, column in columns}},
        }

    def findings(self) -> Findings:
        """The whole account; the corrected geometry file is written here for the last time."""
        if self._asking is not None:
            at_once(self._asking)
        for name, watch in self._watches.items():
            self._found[name] = self._guarded(name, watch.conclude) or ()
        self._learn()
        lines = [finding.text for finding in self._known]
        if not any(finding.is_wrong for finding in self._known):
            lines.append(self._nothing_wrong())
        if self._corrected is not None and self._corrected.is_written:
            lines.append(f"the corrections are in {self._corrected.path}")
        lines += [self._unwritten] if self._unwritten else []
        lines += [f"{name} could not be told: {error}" for name, error in self._broken.items()]
        return Findings("\n".join(lines), jsonable(self._figures()))

    def _nothing_wrong(self) -> str:
        if not self._num_frames:
            return f"nothing could be judged: {self._why_none()}"
        return f"nothing wrong was seen in {_frames(self._num_frames)}"

    def _why_none(self) -> str:
        num = self._rejected.total()
        if not num:
            return "there was no frame"
        where, most = self._rejected.most_common(1)[0]
        whole = "the only frame was" if num == 1 else f"all {num} frames were"
        return f"{whole} rejected{'' if most == num else f', {most} of them'} {where}"

    def close(self) -> None:
        """Let go of what watches hold."""
        for watch in self._watches.values():
            watch.close()

    # --- what watches say -------------------------------------------------------------------------------------------

    def _ask(self, name: str) -> Steps[None]:
        """Ask a watch what it knows."""
        watch = self._watches[name]
        if isinstance(watch, InSteps):
            steps = watch.findings_in_steps()
            while isinstance(found := self._guarded(name, partial(_next, steps)), float):
                yield found
        else:
            found = self._guarded(name, watch.findings)
        self._found[name] = found or ()

    def _guarded(self, name: str, do: Callable[[], Any]) -> Any:
        """Do something with a watch; one that fails is asked nothing more, since a diagnosis must not end a run."""
        if name in self._broken:
            return None
        try:
            return do()
        except Exception as error:
            self._broken[name] = f"{type(error).__name__}: {error}"
            self._log.exception("the diagnosis of %s has failed, and is left out from now on", name)
            return None

    def _learn(self) -> None:
        """Say what is new, and what holds no longer; follow the detector; write down what should change."""
        every = tuple(finding for found in self._found.values() for finding in found)
        found = self._known = beside_crystals(every, getattr(self._watches.get(DetectorPlace.name), "place", None))
        now = {finding.key: finding for finding in found}
        for key, finding in now.items():
            said = self._said.get(key)
            if said is None or _is_news(finding, said.finding):
                is_same = said is not None and said.finding.is_wrong == finding.is_wrong
                since = (
                    (said.since_frame, said.since) if said is not None and is_same else (self._num_frames, time.time())
                )
                self._said[key] = _Said(finding, *since)
                self._say(logging.WARNING if finding.is_wrong else logging.INFO, key, finding.text)
        for key in [key for key in self._said if key not in now]:
            gone = self._said.pop(key).finding
            if gone.is_wrong:
                self._say(logging.INFO, key, f"no longer: {gone.brief}")
        self._post(where_it_is(found))
        if self._corrected is not None:
            self._correct(self._corrected)

    def _say(self, level: int, key: str, text: str) -> None:
        self._log.log(level, "after %d frames: %s", self._num_frames, text, extra={"finding": key})

    def _post(self, found: Finding | None) -> None:
        if found is None or found.displacement is None or self._detector is None:
            return
        last = self._moved.displacement if self._moved is not None else Displacement()
        if moved_by_px(self._detector, found.displacement, last) <= _FOLLOWED_PX:
            return
        number = 1 if self._moved is None else self._moved.number + 1
        self._moved = DetectorMoved(found.displacement, number, found.num_frames)
        self._moves.append((time.time(), found.displacement))
        self._board.post(self._moved)

    def _correct(self, corrected: CorrectedFile) -> None:
        before, self._unwritten = self._unwritten, ""
        try:
            corrected.say(self._known)
        except UserError as error:
            self._unwritten = str(error)
            if self._unwritten != before:
                self._log.warning("%s", error)

    def _figures(self) -> dict[str, Any]:
        moved = self._moved
        corrected = self._corrected
        return {
            "frames": self._num_frames,
            "frames_rejected": self._rejected.total(),
            "findings": [self._figures_of(finding) for finding in self._known],
            "detector_moved": None if moved is None else _figures_of_displacement(moved.displacement),
            "corrected_geometry": str(corrected.path) if corrected is not None and corrected.is_written else None,
            **{name: self._guarded(name, watch.figures) or {} for name, watch in self._watches.items()},
        }

    def _figures_of(self, finding: Finding) -> dict[str, Any]:
        said = self._said[finding.key]
        return {
            "key": finding.key,
            "text": finding.text,
            "brief": finding.brief,
            "is_wrong": finding.is_wrong,
            "frames": finding.num_frames,
            "since_frame": said.since_frame,
            "since": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(said.since)),
            "figures": dict(finding.figures),
            "edits": [{"directive": edit.directive, "value": edit.value, "why": edit.why} for edit in finding.edits],
            "displacement": None if finding.displacement is None else _figures_of_displacement(finding.displacement),
        }


def _next(steps: Steps[Sequence[Finding]]) -> float | Sequence[Finding]:
    """Take a step, and return what it has been of a frame's turn; the findings after the last one."""
    try:
        return next(steps)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def _frames(num: int) -> str:
    return f"{num} frame" if num == 1 else f"{num} frames"


def _is_news(finding: Finding, said: Finding) -> bool:
    if finding.is_wrong != said.is_wrong:
        return True
    return finding.brief != said.brief and finding.num_frames >= _AGAIN * said.num_frames


def _in_mm(moved: Displacement) -> tuple[float, float, float]:
    x, y = moved.shift_m
    return 1e3 * x, 1e3 * y, 1e3 * moved.along_m


def _figures_of_displacement(displacement: Displacement) -> dict[str, Any]:
    return {
        "shift_m": list(displacement.shift_m),
        "along_m": displacement.along_m,
        "tilt_rad": list(displacement.tilt_rad),
    }
