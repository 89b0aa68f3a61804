"""The parts of a diagnosis: each looks for one kind of mistake, with one half in the replicas and one that gathers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pipeline import Context, Frame
from stages.diagnosis.finding import Finding
from stages.diagnosis.steps import Steps
from stages.files.geom.detector import Detector
from stages.lattices.cell import UnitCell
from stages.records.told import IndexingStages


@dataclass(frozen=True)
class About:
    """What is known of a run before its first frame.

    Attributes
    ----------
    detector
        What the geometry file says; None where nobody has told.
    target
        The cell that is given; None if there is none.
    indexing
        The indexing stages of the run, to be opened with `context` by whoever wants to index on a geometry of its own.
    context
        Of the node that diagnoses.
    """

    detector: Detector | None
    target: UnitCell | None
    indexing: IndexingStages
    context: Context


class Look(Protocol):
    """The half that sees frames: one in each replica, quick, and keeping nothing that its result would depend on."""

    def __call__(self, frame: Frame) -> Any:
        """Return what this frame has to say, small and picklable; None if that is nothing.

        A frame has what its graph has made of it: ask with ``frame.get`` for Image, DetGeom, PeakList, Hit, Crystals, Header.
        """
        ...


class Watch(Protocol):
    """The half that gathers what looks have seen, in one place, and draws conclusions."""

    def take(self, seen: Any) -> bool | None:
        """Keep what one frame had to say; microseconds, and bounded memory. True asks for a look at the findings at once."""
        ...

    def findings(self) -> Sequence[Finding]:
        """Return what is known so far; asked at growing intervals, and a matter of a few milliseconds, or see `InSteps`."""
        ...

    def conclude(self) -> Sequence[Finding]:
        """Return what is known at the end, once; may take seconds where something is wrong."""
        ...

    def figures(self) -> Mapping[str, Any]:
        """Return what was counted, also where nothing is wrong, for JSON."""
        ...

    def close(self) -> None:
        """Let go of threads; may be called twice."""
        ...


@runtime_checkable
class InSteps(Protocol):
    """A watch whose findings take longer, while frames wait: it is asked for them in steps."""

    def findings_in_steps(self) -> Steps[Sequence[Finding]]:
        """Return what `findings` does. Frames are taken in between: what is judged is what there was at the beginning."""
        ...


class Subject(Protocol):
    """One kind of mistake."""

    name: str

    def look(self, about: About) -> Look:
        """Open the half that sees frames."""
        ...

    def watch(self, about: About) -> Watch:
        """Open the half that gathers."""
        ...
