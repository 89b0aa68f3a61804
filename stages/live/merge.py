"""live/merge: merged intensities while they are measured, and the end of the run when there are enough."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray
from pydantic import Field

from pipeline import Context, Findings, UserError, stage
from stages.files.cell import TargetCell
from stages.live._grouping import Grouping
from stages.live._growth import Growth, Look
from stages.live._merged_groups import MergedGroups
from stages.live._milestones import milestones
from stages.live._observing import RunningMerge
from stages.live._seen_crystals import SeenCrystals
from stages.live._settling import Settling
from stages.live._until import Until
from stages.merging import stream_crystals
from stages.merging.ambiguity import NO_AMBIGUITY, Settings, settings_of
from stages.merging.crystals import Observed, Polarisation
from stages.merging.merger import Merged, Merger, warm_up
from stages.merging.point_group import point_group
from stages.merging.shells import Quality, cc_half_of, quality
from stages.merging.tables import CAVEAT, HEADINGS, merit, number, percent, shell_rows, text_table
from stages.records.crystal import Crystals
from stages.records.geometry import DetGeom
from stages.records.header import Header

_FIRST_LOOK = 10
_LOOKS_PER_FOLD = 20
"""After that, a look is taken whenever there are 5 % more crystals."""


@stage("live/merge", uses=(TargetCell,))
class Merge:
    """Merge the crystals over a point group as they arrive; report how good the data are, and end the run when they suffice.

    An intensity is taken as I = g p J, J being that of the reflection, g the scale of the crystal, and p = exp(-e^2 / 2 s^2)
    the part that is recorded at the excitation error e. J is the mean of I / (g p) over equivalents and crystals, with weights
    (g p)^1.5; g = sum I / sum p J over the reflections that have been measured twice before. The first `scale_after` crystals
    are scaled among each other, and tell the width s by how their intensities fall with e. Without `partiality` p is 1 and
    the weights are sqrt(g); without `scale` all g are 1 too, and J is the mean that CrystFEL's process_hkl makes (Monte Carlo,
    White et al. 2012, doi:10.1107/S0021889812002312). The crystals go alternately into two halves: CC1/2 is the correlation,
    and Rsplit the difference, of the two halves' means, over reflections that each half has measured `min_measurements` times.

    The report says how completeness, multiplicity, CC1/2, Rsplit and I/sigma(I) have grown with the number of crystals, and
    what they are in shells of equal volume. `until` ends the run, as if it had been stopped, as soon as what it asks for is
    there; it is looked at whenever there are 5 % more crystals (10 at the beginning). No outliers are rejected, and
    nothing is refined: it is a look at the data, not a replacement for partialator.

    A crystal that is there twice, with the same intensities, is left out once, as by ``streamajig merge``. Whether cells are
    of several samples, or contradict the point group, is said; all are merged, since only the end tells which sample is meant.

    With `ambiguity` the crystals may be indexed in several settings that the lattice cannot tell apart. The first `scale_after`
    ones wait, and are put into theirs together, by the correlation of their intensities (Brehm & Diederichs 2014,
    doi:10.1107/S1399004713025431); each further one goes into the setting in which it correlates best with what is there.
    As long as the waiting ones do not tell their settings, twice as many are waited for, up to 16 times `scale_after`.

    With `group_by` the crystals of each value of a header key are merged by themselves, too: light and dark of a pump-probe
    experiment, as live/groups counts its frames. The report has the figures of each group, and how each differs from the first
    (the dark): correlation, R_iso, and the mean difference over its sigma, each beside what noise alone would make of two such
    groups, as their halves tell. The groups are brought on one scale for that, by a factor and a B factor. `until` with
    `each_group` asks for enough in every group.

    Crystals need integrated reflections, so the node comes after integrate/rings; the stream's sink comes after the same node
    (``after:``).
    """

    symmetry: str = Field(
        description="Point group as CrystFEL's programs take it (-y): 4/mmm, mmm, 2/m_uab, -3m1_H ..."
    )
    until: Until | None = Field(default=None, description="End the run when the merged data are like this.")
    scale: bool = Field(default=True, description="Put the crystals on a common scale.")
    partiality: bool = Field(
        default=True, description="Scale reflections too, by how far off the Ewald sphere they are (with scale)."
    )
    scale_after: int = Field(default=100, ge=1, description="Scale so many crystals among each other to begin with.")
    polarisation: str = Field(
        default="horiz", description="Polarisation of the beam as process_hkl takes it: horiz, vert, none, 45deg90."
    )
    highres: float | None = Field(default=None, gt=0, description="High resolution limit in Angstrom.")
    lowres: float | None = Field(default=None, gt=0, description="Low resolution limit in Angstrom.")
    shells: int = Field(default=10, ge=1, le=1000, description="Shells of resolution in the report.")
    min_measurements: int = Field(default=2, ge=1, description="Merge what has been measured so often.")
    ambiguity: str = Field(
        default="",
        description="Resolve an indexing ambiguity: auto (by the given cell), the point group that the lattice seems to have "
        "(6/mmm), or an operator (k,h,-l).",
    )
    keep_duplicates: bool = Field(
        default=False, description="Merge crystals that are there twice, with the same intensities, twice."
    )
    group_by: str = Field(
        default="", description="Merge the crystals of each value of this header key by themselves, too, e.g. laser_on."
    )
    group_step: float = Field(
        default=0.0, ge=0, description="Round numbers under that key to multiples of this; 0 leaves them as they are."
    )
    in_order: bool = Field(
        default=True, description="Take crystals in the order of their frames: the same in every run."
    )

    reads: ClassVar[tuple[type, ...]] = (Crystals, DetGeom)
    may_read: ClassVar[tuple[type, ...]] = (Header,)

    @pydantic.field_validator("symmetry", "polarisation")
    @classmethod
    def _is_known(cls, text: str, info: pydantic.ValidationInfo) -> str:
        try:
            (point_group if info.field_name == "symmetry" else Polarisation.parse)(text)
        except UserError as error:
            raise ValueError(str(error)) from None
        return text

    @pydantic.model_validator(mode="after")
    def _has_groups(self) -> Merge:
        if self.until is not None and self.until.each_group and not self.group_by:
            raise ValueError("until: each_group asks for enough in every group, and nothing is grouped: give group_by")
        return self

    def open(self, context: Context) -> RunningMerge:
        """Compile the kernels and return what takes the reflections out of a frame."""
        quality(warm_up().merged())
        grouping = Grouping(self.group_by, self.group_step) if self.group_by else None
        polarisation = Polarisation.parse(self.polarisation)
        return RunningMerge(point_group(self.symmetry), polarisation, self.settings(context), grouping)

    def open_writer(self, context: Context) -> MergeWriter:
        """Return what merges."""
        return MergeWriter(self, self.settings(context))

    def settings(self, context: Context) -> Settings:
        """Return in which ways crystals may be indexed; UserError if `ambiguity` and `symmetry` do not go together."""
        if not self.ambiguity:
            return NO_AMBIGUITY
        target = context.upstream.get(TargetCell)
        return settings_of(self.ambiguity, point_group(self.symmetry), None if target is None else target.cell)

    def of_one_group(self) -> Merge:
        """The same for crystals of one group, which are in their settings and there once."""
        until = None if self.until is None else self.until.of_one_group()
        return replace(self, group_by="", until=until, ambiguity="", keep_duplicates=True)

    @staticmethod
    def warm_up() -> None:
        """Compile the kernels, and the one that ``streamajig merge`` reads with."""
        quality(warm_up().merged())
        stream_crystals.warm_up()


class MergeWriter:
    """Merges what comes, and looks at it now and then."""

    def __init__(self, stage: Merge, settings: Settings = NO_AMBIGUITY, blocks: int = 0) -> None:
        self._stage = stage
        self._blocks = blocks
        self._settling = Settling(settings, stage.scale_after)
        self._until = stage.until
        self._groups = MergedGroups(
            stage.group_by,
            lambda: MergeWriter(stage.of_one_group()),
            d_min_angstrom=stage.highres,
            d_max_angstrom=stage.lowres,
            min_measurements=stage.min_measurements,
        )
        self._group = point_group(stage.symmetry)
        self._merger = Merger(self._group, partial=stage.scale and stage.partiality, blocks=blocks)
        self._seen = SeenCrystals(keep_duplicates=stage.keep_duplicates)
        self._held: list[Observed] = []
        self._scaling_together = stage.scale
        self._num_taken = 0
        self._num_empty = 0
        self._num_dark = 0
        self._next_look = _FIRST_LOOK
        self._enough = ""
        self._write_ns = 0
        self._together_ns = 0
        self._look_ns = 0
        self._unlooked = False
        self._growth = Growth(stage.until, stage.min_measurements)

    @property
    def looks(self) -> list[Look]:
        """What was seen at each look."""
        return self._growth.looks

    def write(self, encoded: tuple[tuple[Observed, ...], ...]) -> None:
        """Merge the crystals of one frame."""
        started = time.perf_counter_ns()
        for settings in encoded:
            if not len(settings[0]):
                self._num_empty += 1
            elif not settings[0].has_signal:
                self._num_dark += 1
            elif self._seen.is_to_merge(settings[0]):
                self._take_all(self._settling.add(settings))
        self._write_ns += time.perf_counter_ns() - started
        if self._num_taken >= self._next_look:
            self._look()

    def status(self) -> str:
        """The last look in a few words."""
        if not self.looks:
            return ""
        last = self.looks[-1]
        return (
            f"merged {last.crystals}: {percent(last.overall.completeness)} complete, "
            f"CC1/2 {number(last.overall.cc_half, 3)}"
        )

    def enough(self) -> str:
        """Why the run may end; empty as long as it should go on."""
        return self._enough

    def merged(self) -> Merged:
        """The intensities with all that has come."""
        return self._current().merged()

    def figures_now(self) -> dict[str, Any]:
        """What the looks have seen, and how far it is to what `until` asks for; of each group, too."""
        crystals = self._merger.num_crystals + len(self._held)
        of_all = {"symmetry": self._stage.symmetry, "crystals": crystals, **self._growth.figures(crystals)}
        return of_all | self._groups.figures_now(is_each_asked=self._until is not None and self._until.each_group)

    def quality(self) -> Quality:
        """How good the data are with all that has come."""
        self._take_all(self._settling.rest())
        return self._quality(self._current())

    def cc_half_in_blocks(self) -> tuple[float, NDArray[np.float64]]:
        """CC1/2 of all frames, and float64 (blocks,) of all but those of each block, the halves being frames."""
        merger, stage = self._current(), self._stage
        of_all, *others = (
            cc_half_of(
                merger.merged_in_blocks(without), d_min_angstrom=stage.highres, min_measurements=stage.min_measurements
            )
            for without in (None, *range(self._blocks))
        )
        return of_all, np.array(others)

    def findings(self) -> Findings:
        """The whole account."""
        self._take_all(self._settling.rest())
        if self._unlooked:
            self._look()
        merger = self._current()
        found = self._quality(merger)
        return Findings("\n".join(self._lines(merger, found)), self._figures(merger, found))

    def close(self) -> None:
        """Nothing is open."""

    def _take_all(self, crystals: list[Observed]) -> None:
        for crystal in crystals:
            self._take(crystal)

    def _take(self, crystal: Observed) -> None:
        self._num_taken += 1
        self._unlooked = True
        self._groups.take(crystal)
        if self._scaling_together:
            self._held.append(crystal)
            if len(self._held) >= self._stage.scale_after:
                started = time.perf_counter_ns()
                self._merger.add_together(self._held)
                self._held, self._scaling_together = [], False
                self._together_ns = time.perf_counter_ns() - started
        elif self._stage.scale:
            self._merger.add_scaled(crystal)
        else:
            self._merger.add(crystal)

    def _current(self) -> Merger:
        if not self._held:
            return self._merger
        merger = Merger(self._group, partial=self._stage.partiality, blocks=self._blocks)
        merger.add_together(self._held)
        return merger

    def _quality(self, merger: Merger) -> Quality:
        stage = self._stage
        resolution = self._until.resolution if self._until and self._until.resolution else stage.highres
        return quality(
            merger.merged(),
            d_min_angstrom=resolution,
            d_max_angstrom=stage.lowres,
            num_shells=stage.shells,
            min_measurements=stage.min_measurements,
        )

    def _look(self) -> None:
        started = time.perf_counter_ns()
        found = self._quality(self._current())
        self._unlooked = False
        self._growth.add(found)
        self._groups.look()
        self._next_look = self._num_taken + max(_FIRST_LOOK, self._num_taken // _LOOKS_PER_FOLD)
        if self._until is not None and not self._enough and self._until.holds(found, self._groups.enough):
            self._enough = f"{self._until} reached with {found.num_crystals} crystals"
        self._look_ns += time.perf_counter_ns() - started

    def _lines(self, merger: Merger, found: Quality) -> list[str]:
        stage = self._stage
        how = merger.how if stage.scale else "not scaled"
        lines = [
            f"merged over {stage.symmetry}, {how}: {merger.num_crystals} crystals, {found.overall.observations} "
            f"observations of {found.overall.measured} reflections"
        ]
        if self._until is not None:
            lines.append(self._enough or f"{self._until} not reached")
        lines += self._seen.lines(self._group)
        lines += self._settling.lines()
        lines += self._left_out(merger)
        if self.looks:
            headings = ("crystals", *HEADINGS[3:])
            rows = [(str(look.crystals), *merit(look.overall)) for look in milestones(self.looks)]
            lines += ["", *text_table(headings, rows), "", *text_table(HEADINGS, shell_rows(found))]
            lines += [*self._groups.lines(), ""]
            lines.append(
                f"{self._us_per_crystal():.0f} us to merge a crystal, {self._together_ns / 1e6:.0f} ms to scale the first "
                f"among each other, {self._look_ns / len(self.looks) / 1e6:.1f} ms for each of "
                f"{len(self.looks)} looks"
            )
            lines.append(CAVEAT)
        return lines

    def _left_out(self, merger: Merger) -> list[str]:
        lines = []
        if self._num_empty:
            lines.append(
                f"{self._num_empty} crystals have no reflections that could be used: this node belongs after "
                "integrate/rings, and the beam's energy must be known"
            )
        if self._num_dark:
            lines.append(
                f"{self._num_dark} crystals have no intensity but 0: reflections were predicted and not integrated "
                "(--no-image-data?)"
            )
        if merger.num_unscaled:
            lines.append(f"{merger.num_unscaled} crystals left out: too little in common with the others to scale them")
        if merger.num_left_out:
            lines.append(f"{merger.num_left_out} reflections left out: not finite, or no sensible indices")
        return lines

    def _us_per_crystal(self) -> float:
        return (self._write_ns - self._together_ns - self._groups.spent_ns) / max(1, self._num_taken) / 1e3

    def _figures(self, merger: Merger, found: Quality) -> dict[str, Any]:
        return {
            "symmetry": self._stage.symmetry,
            "scaled": self._stage.scale,
            "width_per_angstrom": merger.width,
            "crystals": merger.num_crystals,
            "crystals_without_reflections": self._num_empty,
            "crystals_without_intensity": self._num_dark,
            "crystals_not_scaled": merger.num_unscaled,
            "reflections_left_out": merger.num_left_out,
            **self._seen.figures(),
            "overall": found.overall.figures(),
            "shells": [shell.figures() for shell in found.shells],
            "looks": [{"crystals": look.crystals, **look.overall.figures()} for look in self.looks],
            **self._groups.figures(),
            "ambiguity": self._stage.ambiguity or None,
            **self._settling.figures(),
            "until": str(self._until) if self._until else None,
            "reached": bool(self._enough),
            "us_per_crystal": self._us_per_crystal(),
            "ms_to_begin": self._together_ns / 1e6,
            "ms_per_look": self._look_ns / max(1, len(self.looks)) / 1e6,
        }
