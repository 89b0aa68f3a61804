"""live/verdict: several ways compared frame by frame, and which is better."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydantic
from numpy.typing import NDArray
from pydantic import Field
from toolz import unique

from pipeline import Context, Findings, Frame, Joined, Outcome, UserError, Variant, stage
from pipeline.hints import did_you_mean
from stages.comparison.blocks import NUM_BLOCKS, compare_blocks
from stages.comparison.files import check_outputs, figures_of, write_best, write_json, write_page, write_table
from stages.comparison.means import Means
from stages.comparison.measured import Measured, Measuring
from stages.comparison.paired import CONFIDENCE, Difference
from stages.comparison.report_text import text_of
from stages.comparison.sequential import Deciding
from stages.comparison.standing import Standing
from stages.comparison.table import MEASURES, PLACE, FrameTable
from stages.comparison.verdict import Verdict as Judgement
from stages.comparison.verdict import judge
from stages.live._deciding import UntilDecided, groups_of
from stages.live._observing import RunningMerge
from stages.live.merge import Merge, MergeWriter
from stages.merging.crystals import Observed, Polarisation
from stages.merging.point_group import point_group
from stages.merging.shells import Quality
from stages.prediction.predict import warm_up
from stages.records import Crystals, DetGeom
from stages.simulation.truth import TrueCrystals

Intensities = dict[str, tuple[tuple[Observed, ...], ...]]
"""Of one frame, by variant: an extract of each crystal, in each of the settings it may be in."""


@stage("live/verdict")
class Verdict:
    """Compare several ways of doing the same thing on the same frames, and say which is better.

    A graph with `variants:` gets this stage by itself, behind a join of all of them. By hand it comes after a graph/join whose
    branches are compared; their names are those of the branches' last nodes.

    Of each frame and variant it is measured whether it is a hit, whether it is indexed and how many crystals there are; how
    many peaks were found, and which part of them the crystals explain; which resolution is reached; how far peaks are off their
    reflections; and how long the stages have worked on it, those that variants share counting for each. Orientations of each
    two variants are compared up to the lattice's rotations. Simulated frames say what is true: then it is measured too whether
    a crystal lies within half a degree of the truth. A frame that a variant rejects is no hit and not indexed there; one that
    is rejected before the variants part is so in all.

    Each pair of variants is compared in the frames that both have seen, so that what makes frames differ drops out. A
    difference is told with its uncertainty; if none is seen, it is told how large it could be, and how many frames would show
    one of `size`. With `until` the run ends as soon as the question is answered; the answer holds although it was looked at
    all the time. With a `symmetry` the intensities of each variant are merged, as live/merge does, and CC1/2 is told.

    The report has the result as text, and with ``--json`` as figures. `table` writes all frames, a row for each frame and
    variant, `page` the whole result with plots as one HTML file, `keep_best` the graph of the variant that is best for `aim`.
    """

    aim: str = Field(default="indexed", description="What the best variant is best in: " + ", ".join(MEASURES) + ".")
    size: float | None = Field(
        default=None,
        gt=0,
        description="The smallest difference of interest in `aim`: 0.01 is 1 % of all frames for a rate, and 1 % of the number "
        "for times, resolutions and residuals; by default what people care for.",
    )
    until: UntilDecided | None = Field(default=None, description="End the run when this is decided.")
    page: Path | None = Field(default=None, description="Write the result there, as one HTML file.")
    table: Path | None = Field(default=None, description="Write all frames there: FILE.csv or FILE.parquet.")
    json: Path | None = Field(default=None, description="Write the figures there, as JSON.")
    keep_best: Path | None = Field(default=None, description="Write the graph of the best variant there, as YAML.")
    truth: Path | None = Field(
        default=None,
        description="What is true of the frames, as simulate --truth writes it; simulated frames say it themselves.",
    )
    symmetry: str = Field(
        default="", description="Merge the intensities of each variant over this point group, as live/merge does."
    )
    polarisation: str = Field(
        default="horiz", description="Polarisation of the beam for merging, as process_hkl takes it."
    )
    highres: float | None = Field(default=None, gt=0, description="High resolution limit of CC1/2 in Angstrom.")
    in_order: bool = Field(default=True, description="Take frames in their order: the same table in every run.")

    reads: ClassVar[tuple[type, ...]] = (Joined,)
    compares_variants: ClassVar[bool] = True
    output_files: ClassVar[tuple[str, ...]] = ("page", "table", "json", "keep_best")

    @pydantic.field_validator("aim")
    @classmethod
    def _is_a_measure(cls, name: str) -> str:
        if name not in MEASURES:
            raise ValueError(
                f"{name!r} is not measured{did_you_mean(name, MEASURES)}; there are: {', '.join(MEASURES)}"
            )
        return name

    @pydantic.field_validator("symmetry", "polarisation")
    @classmethod
    def _is_known(cls, text: str, info: pydantic.ValidationInfo) -> str:
        try:
            if text or info.field_name == "polarisation":
                (point_group if info.field_name == "symmetry" else Polarisation.parse)(text)
        except UserError as error:
            raise ValueError(str(error)) from None
        return text

    def open(self, context: Context) -> RunningVerdict:
        """Compile the kernels, read the truth so far, and return what measures frames."""
        warm_up()
        truth = self.truth
        known = None if truth is None else context.tables.get(("truth", truth), lambda: TrueCrystals(truth))
        merging = self.merging()
        return RunningVerdict(Measuring(known), None if merging is None else merging.open(context))

    def open_writer(self, context: Context) -> VerdictWriter:
        """Return what keeps the table."""
        check_outputs(page=self.page, table=self.table, json=self.json, keep_best=self.keep_best)
        if self.keep_best is not None and not context.variants:
            raise UserError(
                f"{context.node or 'verdict'}: keep_best writes the graph of a variant, and branches that are joined by hand "
                "have none of their own: write `variants:`, or leave keep_best out"
            )
        return VerdictWriter(self, context.variants)

    def merging(self) -> Merge | None:
        """How the intensities of each variant are merged; None if they are not."""
        if not self.symmetry:
            return None
        return Merge(symmetry=self.symmetry, polarisation=self.polarisation, highres=self.highres)

    @staticmethod
    def warm_up() -> None:
        """Compile the kernels."""
        warm_up()
        Merge.warm_up()


class RunningVerdict:
    """Measures a frame in all variants, and takes their intensities out of it."""

    def __init__(self, measuring: Measuring, merging: RunningMerge | None) -> None:
        self._measuring = measuring
        self._merging = merging

    def __call__(self, outcome: Outcome) -> tuple[Measured, Intensities]:
        """Return what was measured, and the crystals' intensities where they are to be merged."""
        intensities: Intensities = {}
        if self._merging is not None and isinstance(outcome, Frame):
            for name, one in outcome[Joined].items():
                whole = isinstance(one, Frame) and Crystals in one and DetGeom in one
                found = self._merging(one) if whole else None
                if found is not None:
                    intensities[name] = tuple(
                        tuple(replace(observed, frame=outcome.serial) for observed in settings) for settings in found
                    )
        return self._measuring(outcome), intensities


@dataclass(frozen=True)
class Result:
    """What is said at the end: the verdict, on which frames, and how good each variant's merged intensities are."""

    verdict: Judgement
    rows: FrameTable
    merged: Mapping[str, Quality]


class VerdictWriter:
    """Keeps the table of all frames, and judges by it.

    Attributes
    ----------
    rows
        The table; None as long as no frame has said which variants there are.
    """

    def __init__(self, stage: Verdict, variants: tuple[Variant, ...] = ()) -> None:
        self._stage = stage
        self._variants = variants
        self.rows: FrameTable | None = None
        self._early: list[Measured] = []
        self._standing: Standing | None = None
        self._means: Means | None = None
        self._deciding: list[tuple[list[int], Deciding]] = []
        self._enough = ""
        self._merging: dict[str, MergeWriter] = {}
        self._write_ns = 0
        self._result: Result | None = None
        self._is_closed = False
        if stage.until is not None and variants:
            groups_of(stage.until.decided, variants, [variant.name for variant in variants])

    def write(self, encoded: tuple[Measured, Intensities]) -> None:
        """Add one frame to the table, and its intensities to those of each variant."""
        started = time.perf_counter_ns()
        measured, intensities = encoded
        if self.rows is None and measured.variants:
            self._begin(measured.variants)
        if self.rows is None:
            self._early.append(measured)
        else:
            self._append(self.rows, measured)
        for name, crystals in intensities.items():
            self._merging[name].write(crystals)
        self._write_ns += time.perf_counter_ns() - started

    def status(self) -> str:
        """How the variants stand."""
        return "" if self._standing is None else self._standing.words()

    def figures_now(self) -> dict[str, Any]:
        """How the variants stand, and the mean of each measure; without the tests, which are made when all frames are here."""
        until = self._stage.until
        return {
            "headline": self.status(),
            "why": self._enough or ("" if until is None else f"{until}: not yet"),
            "aim": self._stage.aim,
            "rows": [] if self._means is None else self._means.rows(),
            "columns": [
                {"name": measure.name, "words": measure.words, "unit": measure.unit, "is_rate": measure.is_rate}
                for measure in MEASURES.values()
            ],
        }

    def enough(self) -> str:
        """Why the run may end; empty as long as it should go on."""
        return self._enough

    def findings(self) -> Findings:
        """The whole account."""
        result = self._judged()
        if result is None:
            what = f"all {len(self._early)} frames were rejected" if self._early else "no frame came"
            return Findings(f"nothing to compare: {what}", {"frames": len(self._early)})
        lines = [text_of(result.verdict, result.rows, result.merged)]
        if self._stage.until is not None:
            lines.append(self._enough or f"{self._stage.until}: not reached")
        return Findings("\n".join(lines), self._figures(result))

    def close(self) -> None:
        """Write the files that were asked for."""
        stage, result = self._stage, self._judged()
        if self._is_closed or result is None:
            return
        self._is_closed = True
        verdict, rows = result.verdict, result.rows
        if stage.table is not None:
            write_table(stage.table, rows)
        if stage.json is not None:
            write_json(stage.json, self._figures(result))
        if stage.keep_best is not None:
            write_best(stage.keep_best, self._variants, verdict)
        if stage.page is not None:
            write_page(stage.page, verdict, rows, self._variants, result.merged, stage.keep_best)

    def _judged(self) -> Result | None:
        """The verdict on all frames, made once when they are here; None if nothing says which variants there are."""
        if self.rows is None and self._variants and self._early:
            self._begin(tuple(variant.name for variant in self._variants))
        if self._result is None and self.rows is not None:
            stage = self._stage
            also = self._merged_differ(self.rows)
            verdict = judge(self.rows, stage.aim, size=stage.size, sequential=stage.until is not None, also=also)
            self._result = Result(verdict, self.rows, {name: of.quality() for name, of in self._merging.items()})
        return self._result

    def _merged_differ(self, rows: FrameTable) -> list[Difference]:
        """How the variants' merged intensities differ, by leaving out the same frames in all of them."""
        if not self._merging:
            return []
        whole, without = zip(*(self._merging[name].cc_half_in_blocks() for name in rows.variants), strict=True)
        return compare_blocks(rows.variants, np.array(whole), np.stack(without, axis=1), len(rows))

    def _figures(self, result: Result) -> dict[str, Any]:
        until = self._stage.until
        return {
            **figures_of(result.verdict, result.rows, result.merged),
            "until": None if until is None else str(until),
            "reached": self._enough or None,
            "us_per_frame": self._write_ns / 1e3 / max(1, len(result.rows)),
        }

    def _begin(self, names: tuple[str, ...]) -> None:
        """Make the table, now that it is known which variants there are."""
        stage, measure = self._stage, MEASURES[self._stage.aim]
        self.rows = FrameTable(names)
        self._standing, self._means = Standing(self.rows, stage.aim), Means(self.rows)
        merging = stage.merging()
        if merging is not None:
            # 1 kB for each reflection and variant: what they are like without each block tells how sure they are
            self._merging = {name: MergeWriter(merging, blocks=NUM_BLOCKS) for name in names}
        if stage.until is not None:
            groups = groups_of(stage.until.decided, self._variants, names)
            confidence = 1 - (1 - CONFIDENCE) / len(groups)  # of all answers together it is CONFIDENCE
            self._deciding = [
                (group, Deciding(measure, tuple(names[n] for n in group), size=stage.size, confidence=confidence))
                for group in groups
            ]
        for measured in self._early:
            self._append(self.rows, measured)
        self._early.clear()

    def _append(self, rows: FrameTable, measured: Measured) -> None:
        values, angles = measured.values, measured.angles
        if not measured.variants:
            v = len(rows.variants)
            values, angles = np.repeat(values, v, axis=1), np.full(v * (v - 1) // 2, np.nan)
        rows.append(measured.serial, measured.event, values, angles)
        self._decide(values[PLACE[self._stage.aim]], len(rows))

    def _decide(self, row: NDArray[np.float64], num_frames: int) -> None:
        """Look whether the run may end."""
        until = self._stage.until
        if until is None or self._enough:
            return
        for group, deciding in self._deciding:
            deciding.add(row[None, group])
        reasons = [deciding.decided() for _, deciding in self._deciding]
        if all(reasons):
            self._enough = f"{until.decided} decided after {num_frames} frames: " + "; ".join(unique(reasons))
        elif until.frames is not None and num_frames >= until.frames:
            self._enough = f"{num_frames} frames, and {until.decided} not decided"
