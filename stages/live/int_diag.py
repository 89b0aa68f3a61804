"""live/int_diag: how reflections were integrated, in the report, with the frames that they are of."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from toolz import concat

from pipeline import Context, Findings, Frame, Outcome, stage
from stages.records.crystal import Crystals
from stages.records.diagnosis import LEGEND, Diagnosis

Shown = tuple[int, str, tuple[Diagnosis, ...]]
"""Serial, event, and what is shown of the frame."""


@stage("live/int_diag")
class IntDiag:
    """Report how reflections were integrated: the pixels of each box, what each counted for, background, sum and sigma.

    The integrating stage chooses them: integrate/rings and integrate/prof2d have a parameter ``int_diag`` for the condition and
    ``int_diag_most`` for how many (indexamajig's ``--int-diag``, which prints them as they come). The node comes after it. The
    report has them as text, and with ``--json`` as numbers.
    """

    most: int = Field(default=20, ge=1, description="Report so many at most; the rest are counted.")
    in_order: bool = Field(default=True, description="In the order of the frames: the same in every run.")

    reads: ClassVar[tuple[type, ...]] = (Crystals,)
    may_read: ClassVar[tuple[type, ...]] = ()

    def open(self, context: Context) -> RunningIntDiag:
        """Return what takes the diagnoses out of a frame."""
        return RunningIntDiag()

    def open_writer(self, context: Context) -> IntDiagWriter:
        """Return what keeps them."""
        return IntDiagWriter(self.most)


class RunningIntDiag:
    """Takes the diagnoses out of a frame."""

    def __call__(self, outcome: Outcome) -> Shown | None:
        """Return them with the frame's names; None where there are none."""
        if not isinstance(outcome, Frame):
            return None
        found = [crystal.reflections.diagnoses for crystal in outcome[Crystals] if crystal.reflections is not None]
        shown = tuple(concat(found))
        return (outcome.serial, outcome.event, shown) if shown else None


class IntDiagWriter:
    """Keeps the first diagnoses, and counts all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._num = 0
        self._kept: list[tuple[int, str, Diagnosis]] = []

    def write(self, encoded: Shown) -> None:
        """Keep what is shown of one frame."""
        serial, event, shown = encoded
        self._num += len(shown)
        self._kept += [(serial, event, one) for one in shown[: self._most - len(self._kept)]]

    def status(self) -> str:
        """How many so far."""
        return f"{self._num} reflections shown" if self._num else ""

    def findings(self) -> Findings:
        """All that was kept."""
        lines = [f"{self._num} reflections chosen" + (f"; {LEGEND}" if self._kept else "")]
        if self._num > len(self._kept):
            lines[0] += f"; the first {len(self._kept)} follow"
        figures: list[dict[str, Any]] = []
        for serial, event, one in self._kept:
            lines += ["", f"frame {serial} ({event}), {one.text()}"]
            figures.append({"serial": serial, "event": event, **one.figures()})
        return Findings("\n".join(lines), {"chosen": self._num, "reflections": figures})

    def close(self) -> None:
        """Nothing is open."""
